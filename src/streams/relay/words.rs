//! The words of a relay to a client that speaks: JSON and log lines as a meter writes them.

use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::measures;
use crate::model::{StreamInfo, Timestamp};

/// What a `sample` asks for.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) measures: Option<String>,
    pub(super) rate: f64,
    pub(super) framed: bool,
    pub(super) flow_control: bool,
}

impl Wish {
    pub(super) fn read(payload: &Map<String, Value>) -> Result<Wish, String> {
        let kind = payload.get("type").and_then(Value::as_str);
        let rate = payload.get("rate").and_then(Value::as_f64);
        let (Some(kind), Some(rate)) = (kind, rate) else {
            return Err("Required sampling keys: type and rate".to_owned());
        };
        if kind != "TCP" {
            let kind: String = kind.chars().take(16).collect();
            return Err(format!("{kind}: samples of this port go to this connection: type TCP"));
        }
        let flag = |key, default| match payload.get(key) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(format!("{key} is to be true or false, without quotes")),
        };
        Ok(Wish {
            measures: payload.get("measures").and_then(Value::as_str).map(str::to_owned),
            rate,
            framed: flag("prefix", true)?,
            flow_control: flag("flowCtr", false)?,
        })
    }
}

/// The answer to `sample`, its keys in a meter's order.
pub(super) fn begun(
    wish: &Wish,
    stream: &StreamInfo,
    columns: Option<&[usize]>,
    chunk: usize,
    start: Timestamp,
) -> Value {
    let chosen: Vec<_> = match columns {
        None => stream.channels.to_vec(),
        Some(columns) => {
            columns.iter().filter_map(|at| stream.channels.get(*at).copied()).collect()
        }
    };
    let mut reply = json!({
        "error": false,
        "cmd": "sample",
        "measures": measures::echo(&chosen),
        "chunksize": chunk,
        "samplingrate": number(stream.rate_hz),
        "conn_type": "TCP",
        "measurements": chosen.len(),
        "prefix": wish.framed,
        "flowCtr": wish.flow_control,
        "unit": measures::units(&chosen),
        "startTs": seconds(start),
    });
    if wish.rate != stream.rate_hz
        && let Some(reply) = reply.as_object_mut()
    {
        let msg = format!("the stream has {} Hz, whatever rate is asked for", stream.rate_hz);
        reply.insert("msg".into(), msg.into());
    }
    reply
}

pub(super) fn refused(cmd: &str, msg: &str) -> Value {
    json!({"error": true, "cmd": cmd, "msg": msg})
}

pub(super) fn line(value: &Value) -> Vec<u8> {
    format!("Info:{value}\r\n").into_bytes()
}

/// What is no JSON gets no answer, only a line of the log.
pub(super) fn complaint(said: &[u8], now: Timestamp) -> Vec<u8> {
    let safe = |byte: &u8| match byte {
        b'{' | b'}' | b'"' | b'\'' => '_',
        byte if byte.is_ascii_graphic() || *byte == b' ' => char::from(*byte),
        _ => '?',
    };
    let text: String = said.iter().take(30).map(safe).collect();
    let time = clock(now, "%m/%d %H:%M:%S");
    format!("Info:[E]{time}: deserializeJson() failed: {text}\r\n").into_bytes()
}

/// The gateway's own local time; an empty text for a time that no calendar has.
pub(super) fn clock(now: Timestamp, format: &str) -> String {
    jiff::Timestamp::from_millisecond(now.0)
        .map(|at| at.to_zoned(TimeZone::system()).strftime(format).to_string())
        .unwrap_or_default()
}

/// Seconds since 1970 to the millisecond, as meters write them.
pub(super) fn seconds(at: Timestamp) -> String {
    format!("{}.{:03}", at.0.div_euclid(1000), at.0.rem_euclid(1000))
}

/// A whole number without a fraction, as meters write it.
pub(super) fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e9 { json!(value as i64) } else { json!(value) }
}
