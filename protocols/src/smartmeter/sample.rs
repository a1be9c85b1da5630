//! Sampling: what a meter answers that it does, and how it ends.

use serde_json::{Map, Value};

use super::request::SampleRequest;
use super::values::{boolean, number};
use super::{Kind, Layout};

/// What a meter is going to send: the successful answer to `sample`. Layout, rate and sizes are taken
/// from here, not from what was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleReply {
    /// What each sample holds.
    pub layout: Layout,
    /// Samples a second.
    pub rate_hz: f64,
    /// Bytes of samples in a packet.
    pub chunk: usize,
    /// In numbered packets.
    pub framed: bool,
    /// Nothing comes until `cts` allows it.
    pub flow_control: bool,
    /// Where they go, as the meter writes it: `TCP`.
    pub conn: String,
    /// The port that datagrams go to.
    pub port: Option<u16>,
    /// The seconds in which data is sent.
    pub slot: Option<(u32, u32)>,
    /// The time of the first sample in Unix seconds; `None` before the meter's clock was set.
    pub start: Option<f64>,
    /// How exact a PowerMeter's clock is, ms.
    pub ntp_confidence: Option<f64>,
}

impl SampleReply {
    /// The reply in a message. `None`: it is none, or an error.
    ///
    /// `asked` fills in what the reply to a timed start may lack. A PowerMeter calls its successful timed
    /// start an error: it has `startTs`, where one that failed has not. A rate outside [`RATES_HZ`] is none.
    #[must_use]
    pub fn read(value: &Value, kind: Option<Kind>, asked: Option<&SampleRequest>) -> Option<Self> {
        let keys = value.as_object().filter(|keys| !is_error(keys))?;
        // As the README has it, a reply lacks its `cmd`.
        let is_sample = match keys.get("cmd") {
            Some(cmd) => cmd == "sample",
            None => keys.contains_key("measures") && keys.contains_key("samplingrate"),
        };
        if !is_sample {
            return None;
        }
        let text = |key: &str| keys.get(key).and_then(Value::as_str);
        let layout = (text("measures").and_then(|measures| Layout::of_measures(kind, measures)))
            .or_else(|| text("unit").and_then(|units| Layout::of_units(kind, units)))
            .or_else(|| asked.zip(kind).and_then(|(asked, kind)| asked.layout(kind)))?;
        let told = keys.get("samplingrate").and_then(number);
        let asked_hz = asked.map(|asked| f64::from(asked.rate));
        let can_be = |rate: &f64| RATES_HZ.contains(rate);
        let rate_hz = told.filter(can_be).or(asked_hz.filter(can_be))?;
        let chunk = whole(keys.get("chunksize")).filter(|chunk| *chunk > 0);
        let flag = |key: &str| keys.get(key).and_then(boolean);
        Some(Self {
            chunk: chunk.unwrap_or_else(|| chunk_size(rate_hz, layout.sample_bytes())),
            rate_hz,
            framed: flag("prefix").or(asked.map(|asked| asked.framed)).unwrap_or(true),
            flow_control: flag("flowCtr")
                .or(asked.map(|asked| asked.flow_control))
                .unwrap_or(false),
            conn: text("conn_type")
                .or(asked.map(|asked| asked.conn.name()))
                .unwrap_or("TCP")
                .to_owned(),
            port: whole(keys.get("port")).and_then(|port| u16::try_from(port).ok()),
            slot: keys.get("slot").and_then(slot),
            start: keys.get("startTs").and_then(number).filter(|start| *start > 0.0),
            ntp_confidence: keys.get("ntpConfidence").and_then(number),
            layout,
        })
    }

    /// Samples in a packet, for [`super::Sequence`].
    #[must_use]
    pub fn frames_per_packet(&self) -> u64 {
        (self.chunk / self.layout.sample_bytes().max(1)).max(1) as u64
    }
}

/// Samples a second that can be: no meter takes fewer than one or more than 32,000.
pub const RATES_HZ: std::ops::RangeInclusive<f64> = 0.5..=100_000.0;

/// Whether the reply to `sample` says that nothing was started.
pub(super) fn is_error(keys: &Map<String, Value>) -> bool {
    keys.get("error").and_then(boolean) == Some(true) && !keys.contains_key("startTs")
}

fn slot(value: &Value) -> Option<(u32, u32)> {
    let [slot, of] = value.as_array()?.as_slice() else { return None };
    let number = |value: &Value| value.as_u64().and_then(|one| u32::try_from(one).ok());
    number(slot).zip(number(of))
}

fn whole(value: Option<&Value>) -> Option<usize> {
    let number = number(value?)?;
    (number.fract() == 0.0 && (0.0..1e9).contains(&number)).then_some(number as usize)
}

/// Bytes of samples in a packet on TCP: a tenth of a second, rounded up to a power of two, at most 1024,
/// in whole samples.
///
/// Source: protocol note, section 4.3.
#[must_use]
pub fn chunk_size(rate_hz: f64, sample_bytes: usize) -> usize {
    let sample_bytes = sample_bytes.max(1);
    let tenth = (0.1 * rate_hz * sample_bytes as f64) as usize;
    let rounded = tenth.clamp(sample_bytes, 1024).next_power_of_two().min(1024);
    (rounded / sample_bytes * sample_bytes).max(sample_bytes)
}

/// What a meter says when sampling has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct StopSummary {
    /// Samples taken.
    pub samples: u64,
    /// Samples handed to the network.
    pub sent_samples: Option<u64>,
    /// How long, ms.
    pub duration_ms: Option<f64>,
    /// The first sample's time in Unix seconds.
    pub start: Option<f64>,
    /// The last one's.
    pub stop: Option<f64>,
    /// Samples a second, on average.
    pub average_rate_hz: Option<f64>,
}

impl StopSummary {
    /// The summary in the reply to `stop`, whatever the order of its keys. `None`: it is none, as where
    /// the meter was idle.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        let keys = value.as_object()?;
        let is_stop = match keys.get("cmd") {
            Some(cmd) => cmd == "stop",
            None => keys.contains_key("stop_ts"),
        };
        if !is_stop {
            return None;
        }
        let of = |key: &str| keys.get(key).and_then(number);
        let count = |key: &str| whole(keys.get(key)).map(|count| count as u64);
        Some(Self {
            samples: count("samples")?,
            sent_samples: count("sent_samples"),
            duration_ms: of("sample_duration"),
            start: of("start_ts"),
            stop: of("stop_ts"),
            average_rate_hz: of("avg_rate"),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rate_that_cannot_be_is_no_rate() {
        let read = |rate: Value| {
            let reply = json!({"cmd": "sample", "measures": "v,i", "samplingrate": rate});
            SampleReply::read(&reply, Some(Kind::PowerMeter), None).map(|reply| reply.rate_hz)
        };
        assert_eq!([read(json!(1)), read(json!("32000"))], [Some(1.0), Some(32_000.0)]);
        for rate in [json!(0), json!(-4000), json!(1e-300), json!(1e300), json!("inf")] {
            assert_eq!(read(rate.clone()), None, "{rate}");
        }
    }
}
