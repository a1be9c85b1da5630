//! The lines that a meter writes: replies, log lines, and the times in them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

/// How loud a log line is, and how much a connection wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    All,
    Debug,
    Info,
    Warning,
    Error,
}

impl Level {
    /// The level by the word of the command `log`.
    pub(super) fn named(word: &str) -> Option<Level> {
        Some(match word {
            "all" => Level::All,
            "debug" => Level::Debug,
            "info" => Level::Info,
            "warning" => Level::Warning,
            "error" => Level::Error,
            _ => return None,
        })
    }

    fn letter(self) -> char {
        match self {
            Level::All => 'A',
            Level::Debug => 'D',
            Level::Info => 'I',
            Level::Warning => 'W',
            Level::Error => 'E',
        }
    }
}

/// `[I]MM/DD HH:MM:SS: text`, without prefix and line end.
pub(super) fn row(level: Level, text: &str, now: f64) -> String {
    format!("[{}]{}: {text}", level.letter(), local(now, "%m/%d %H:%M:%S"))
}

/// A log line as it is sent; one that is too long loses its line end.
pub(super) fn log_line(level: Level, text: &str, now: f64) -> Vec<u8> {
    let mut line = format!("Info:{}\r\n", row(level, text, now)).into_bytes();
    line.truncate(LOG_LINE);
    line
}

/// A JSON line as it is sent.
pub(super) fn json_line(object: &Map<String, Value>) -> Vec<u8> {
    format!("Info:{}\r\n", Value::Object(object.clone())).into_bytes()
}

/// `MM/DD/YYYY HH:MM:SS.mmm`, local.
pub(super) fn date(now: f64) -> String {
    let milliseconds = (now * 1000.0).round() as i64;
    format!("{}.{:03}", local(now, "%m/%d/%Y %H:%M:%S"), milliseconds.rem_euclid(1000))
}

/// Seconds since 1970 with three decimals.
pub(super) fn stamp(seconds: f64) -> String {
    format!("{seconds:.3}")
}

/// The meter's local time: UTC+1 with Europe's summer time, fixed when the firmware was built.
fn local(now: f64, format: &str) -> String {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap_or(TimeZone::UTC);
    let milliseconds = (now * 1000.0).round() as i64;
    let at = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH);
    at.to_zoned(zone).strftime(format).to_string()
}

/// A number as the firmware's library prints it: whole ones without a fraction.
pub(super) fn number(value: f64) -> Value {
    let rounded = (value * 1e6).round() / 1e6;
    if !rounded.is_finite() {
        Value::Null
    } else if rounded.fract() == 0.0 && rounded.abs() < 9e15 {
        json!(rounded as i64)
    } else {
        json!(rounded)
    }
}

/// A number with at most two decimals.
pub(super) fn cents(value: f64) -> Value {
    number((value * 100.0 + 0.5).floor() / 100.0)
}

/// An object of these keys in their order.
pub(super) fn object<const N: usize>(keys: [(&str, Value); N]) -> Map<String, Value> {
    keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Bytes of the longest log line.
const LOG_LINE: usize = 529;
