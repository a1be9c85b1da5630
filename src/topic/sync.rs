//! The topics on which history is asked for and answered.

use std::fmt;
use std::str::FromStr;

use super::UnknownTopic;
use crate::model::{DeviceId, SensorId};

/// A topic of history on demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncTopic {
    /// `/device/<did>/tmpo/sync`: "tell me what you have".
    Offer(DeviceId),
    /// `/d/device/<did>/tmpo/sync`: what somebody has, and that he wants the rest.
    Request(DeviceId),
    /// `/query/<sid>/tmpo`: a span of time that somebody wants.
    Query(SensorId),
    /// `/sensor/<sid>/query/<from>/<to>`: a block of that span, which is in Unix seconds.
    Answer(SensorId, i64, i64),
}

impl SyncTopic {
    /// The filter for all requests.
    pub const REQUESTS: &str = "/d/device/+/tmpo/sync";
    /// The filter for all queries.
    pub const QUERIES: &str = "/query/+/tmpo";
}

impl fmt::Display for SyncTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SyncTopic::Offer(id) => write!(f, "/device/{id}/tmpo/sync"),
            SyncTopic::Request(id) => write!(f, "/d/device/{id}/tmpo/sync"),
            SyncTopic::Query(id) => write!(f, "/query/{id}/tmpo"),
            SyncTopic::Answer(id, from, to) => write!(f, "/sensor/{id}/query/{from}/{to}"),
        }
    }
}

impl FromStr for SyncTopic {
    type Err = UnknownTopic;

    fn from_str(text: &str) -> Result<SyncTopic, UnknownTopic> {
        parse(text).ok_or_else(|| UnknownTopic(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<SyncTopic> {
    let levels: Vec<&str> = text.split('/').collect();
    Some(match levels[..] {
        ["", "device", id, "tmpo", "sync"] => SyncTopic::Offer(id.parse().ok()?),
        ["", "d", "device", id, "tmpo", "sync"] => SyncTopic::Request(id.parse().ok()?),
        ["", "query", id, "tmpo"] => SyncTopic::Query(id.parse().ok()?),
        ["", "sensor", id, "query", from, to] => {
            SyncTopic::Answer(id.parse().ok()?, from.parse().ok()?, to.parse().ok()?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_reads_back() {
        let id = "00112233445566778899aabbccddeeff";
        let topics = [
            format!("/device/{id}/tmpo/sync"),
            format!("/d/device/{id}/tmpo/sync"),
            format!("/query/{id}/tmpo"),
            format!("/sensor/{id}/query/1404223488/1404225280"),
        ];
        for text in topics {
            assert_eq!(text.parse::<SyncTopic>().map(|topic| topic.to_string()), Ok(text));
        }
        for text in ["", "/d/device/1/tmpo/sync", "/query/+/tmpo", "d/device/x/tmpo/sync"] {
            assert!(text.parse::<SyncTopic>().is_err(), "{text:?}");
        }
    }
}
