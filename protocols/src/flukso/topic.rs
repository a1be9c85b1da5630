//! The topics of a Fluksometer, as far as readings, documents and history blocks go by them.
//!
//! Every topic begins with a slash, so its first level is empty.

use std::fmt;

use super::Id;

/// A topic that a reader of Fluksometers listens to, or answers on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// `/sensor/<sid>/gauge`
    Gauge(Id),
    /// `/sensor/<sid>/counter`
    Counter(Id),
    /// `/sensor/<sid>/tmpo/<rid>/<lvl>/<bid>/gz`
    Block {
        /// The sensor.
        sensor: Id,
        /// The recycle id.
        rid: u32,
        /// The level: the block spans 2^level seconds.
        level: u8,
        /// Its begin, Unix seconds.
        bid: i64,
    },
    /// `/device/<dev>/config/sensor`, `…/kube` and `…/flx`
    Config(Id, Document),
    /// `/device/<dev>/test/tap`
    Tap(Id),
    /// `/device/<dev>/tmpo/sync`: the device asks what is known of its history.
    SyncWanted(Id),
    /// `/d/device/<dev>/tmpo/sync`: the answer.
    SyncList(Id),
}

/// A configuration document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Document {
    /// The sensors.
    Sensor,
    /// The radio nodes.
    Kube,
    /// The ports of an FLM03.
    Flx,
}

impl Document {
    fn as_str(self) -> &'static str {
        match self {
            Document::Sensor => "sensor",
            Document::Kube => "kube",
            Document::Flx => "flx",
        }
    }
}

impl Topic {
    /// Reads a topic; `None` for every other one, wrong ids included.
    pub fn parse(topic: &str) -> Option<Topic> {
        let mut levels = topic.split('/');
        let mut all = [""; 9];
        let mut count = 0;
        for level in &mut levels {
            *all.get_mut(count)? = level;
            count += 1;
        }
        Some(match all[..count] {
            ["", "sensor", id, "gauge"] => Topic::Gauge(id.parse().ok()?),
            ["", "sensor", id, "counter"] => Topic::Counter(id.parse().ok()?),
            ["", "sensor", id, "tmpo", rid, level, bid, "gz"] => Topic::Block {
                sensor: id.parse().ok()?,
                rid: number(rid)?,
                level: number(level)?,
                bid: number(bid)?,
            },
            ["", "device", id, "config", document] => {
                let all = [Document::Sensor, Document::Kube, Document::Flx];
                let document = all.into_iter().find(|one| one.as_str() == document)?;
                Topic::Config(id.parse().ok()?, document)
            }
            ["", "device", id, "test", "tap"] => Topic::Tap(id.parse().ok()?),
            ["", "device", id, "tmpo", "sync"] => Topic::SyncWanted(id.parse().ok()?),
            ["", "d", "device", id, "tmpo", "sync"] => Topic::SyncList(id.parse().ok()?),
            _ => return None,
        })
    }

    /// The filters for everything that a device says of itself and that is measured. Not `#`: an
    /// FLM03 publishes waveforms as well.
    ///
    /// Source: protocol note, section 10.
    pub const FILTERS: [&str; 5] = [
        "/device/+/config/+",
        "/device/+/test/tap",
        "/device/+/tmpo/sync",
        "/sensor/+/gauge",
        "/sensor/+/counter",
    ];

    /// The filter for history blocks.
    pub const BLOCKS: &str = "/sensor/+/tmpo/+/+/+/gz";
}

/// Plain decimal digits, as a device writes them.
fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    text.parse().ok().filter(|_| plain && canonical)
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topic::Gauge(id) => write!(f, "/sensor/{id}/gauge"),
            Topic::Counter(id) => write!(f, "/sensor/{id}/counter"),
            Topic::Block { sensor, rid, level, bid } => {
                write!(f, "/sensor/{sensor}/tmpo/{rid}/{level}/{bid}/gz")
            }
            Topic::Config(id, document) => write!(f, "/device/{id}/config/{}", document.as_str()),
            Topic::Tap(id) => write!(f, "/device/{id}/test/tap"),
            Topic::SyncWanted(id) => write!(f, "/device/{id}/tmpo/sync"),
            Topic::SyncList(id) => write!(f, "/d/device/{id}/tmpo/sync"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_read_back() {
        let id = Id([0xa1; 16]);
        let block = Topic::Block { sensor: id, rid: 2, level: 8, bid: 1_459_065_088 };
        for topic in [
            Topic::Gauge(id),
            Topic::Counter(id),
            block,
            Topic::Config(id, Document::Flx),
            Topic::Tap(id),
            Topic::SyncWanted(id),
            Topic::SyncList(id),
        ] {
            assert_eq!(Topic::parse(&topic.to_string()), Some(topic));
        }
    }

    #[test]
    fn what_is_nearly_a_topic_is_none() {
        let id = "a1".repeat(16);
        for topic in [
            format!("sensor/{id}/gauge"),
            format!("/sensor/{}/gauge", id.to_uppercase()),
            format!("/sensor/{id}/gauge/"),
            format!("/sensor/{id}/tmpo/+1/8/256/gz"),
            format!("/sensor/{id}/tmpo/0/08/256/gz"),
            format!("/sensor/{id}/tmpo/0/256/256/gz"),
            format!("/device/{id}/flx/time"),
            format!("/device/{id}/config/wifi"),
            "/".repeat(100),
            String::new(),
        ] {
            assert_eq!(Topic::parse(&topic), None, "{topic}");
        }
    }
}
