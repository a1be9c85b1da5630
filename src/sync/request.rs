//! What is asked: payloads of requests and queries.

use serde::Deserialize;

use crate::history::Tail;
use crate::model::SensorId;

/// One sensor of a request, and the last block that the asker has of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) sensor: SensorId,
    pub(super) after: Tail,
}

/// A payload that asks for nothing, or one of its entries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRequest {
    /// It is no such list.
    #[error("not a list of {{\"sid\",\"rid\",\"lvl\",\"bid\"}}: {0}")]
    List(String),
    /// It is longer than anybody's list.
    #[error("a list of {0} sensors: at most {MOST} may be asked for at once")]
    TooLong(usize),
    /// An entry of it is not.
    #[error("entry {place} is not {{\"sid\",\"rid\",\"lvl\",\"bid\"}}: {reason}")]
    Entry {
        /// From 0.
        place: usize,
        /// Why not.
        reason: String,
    },
    /// It is no span.
    #[error("not [from,to] in Unix seconds: {0}")]
    Span(String),
}

#[derive(Deserialize)]
struct Entry {
    sid: String,
    rid: u32,
    lvl: u8,
    bid: i64,
}

/// The payload of `/d/device/<did>/tmpo/sync`. What is wrong with some entries does not concern the
/// others.
pub(super) fn list(payload: &[u8]) -> Result<(Vec<Wanted>, Option<BadRequest>), BadRequest> {
    let entries: Vec<serde_json::Value> =
        serde_json::from_slice(payload).map_err(|error| BadRequest::List(error.to_string()))?;
    if entries.len() > MOST {
        return Err(BadRequest::TooLong(entries.len()));
    }
    let (mut wanted, mut bad) = (Vec::new(), None);
    for (place, value) in entries.into_iter().enumerate() {
        match entry(value) {
            Ok(one) => wanted.push(one),
            Err(reason) => {
                bad.get_or_insert(BadRequest::Entry { place, reason });
            }
        }
    }
    Ok((wanted, bad))
}

fn entry(value: serde_json::Value) -> Result<Wanted, String> {
    let entry: Entry = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let Ok(sensor) = entry.sid.parse() else {
        return Err("sid is no id of 32 lower-case hexadecimal digits".to_owned());
    };
    let Entry { rid, lvl: level, bid, .. } = entry;
    if level > 20 || bid < 0 {
        return Err(format!("there is no block {level}/{bid}"));
    }
    Ok(Wanted { sensor, after: Tail { rid, level, bid } })
}

/// The payload of `/query/<sid>/tmpo`.
pub(super) fn span(payload: &[u8]) -> Result<(i64, i64), BadRequest> {
    let (from, to): (i64, i64) =
        serde_json::from_slice(payload).map_err(|error| BadRequest::Span(error.to_string()))?;
    if (0..=LAST).contains(&from) && (from..=LAST).contains(&to) {
        return Ok((from, to));
    }
    Err(BadRequest::Span(format!("[{from},{to}] is none")))
}

/// Sensors that one request may ask for.
const MOST: usize = 10_000;
/// Beyond any block's time, and far from where sums overflow.
const LAST: i64 = 1 << 48;

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn a_list_is_read_and_bad_entries_are_passed_over() {
        let payload = format!(
            r#"[{{"sid":"{SID}","rid":1,"lvl":8,"bid":1404225536,"more":null}},
                {{"sid":"{SID}","rid":-1,"lvl":8,"bid":0}},{{"sid":"x","rid":0,"lvl":0,"bid":0}},
                {{"sid":"{SID}","rid":0,"lvl":21,"bid":0}},7,
                {{"sid":"{SID}","rid":0,"lvl":0,"bid":0}}]"#
        );
        let (wanted, bad) = list(payload.as_bytes()).unwrap();
        let sensor = SID.parse().unwrap();
        let after = Tail { rid: 1, level: 8, bid: 1_404_225_536 };
        assert_eq!(
            wanted,
            [Wanted { sensor, after }, Wanted { sensor, after: Tail { rid: 0, level: 0, bid: 0 } }]
        );
        assert!(matches!(bad, Some(BadRequest::Entry { place: 1, .. })), "{bad:?}");
        assert_eq!(list(b"[]"), Ok((Vec::new(), None)));
        for junk in [&b""[..], b"{}", b"null", b"[", b"\xff", b"[]x"] {
            assert!(matches!(list(junk), Err(BadRequest::List(_))), "{junk:?}");
        }
        let long = format!("[{}0]", "0,".repeat(MOST));
        assert_eq!(list(long.as_bytes()), Err(BadRequest::TooLong(MOST + 1)));
    }

    #[test]
    fn a_span_is_two_times_in_their_order() {
        assert_eq!(span(b" [1404223488, 1404225280]"), Ok((1_404_223_488, 1_404_225_280)));
        for junk in [
            &b""[..],
            b"[1]",
            b"[1,2,3]",
            b"[2,1]",
            b"[-1,2]",
            b"[1.5,2]",
            b"[1,9223372036854775807]",
            b"[1,99999999999999999999]",
            b"{\"from\":1}",
        ] {
            assert!(matches!(span(junk), Err(BadRequest::Span(_))), "{junk:?}");
        }
    }
}
