//! Spans of time as the configuration and the command line write them: `500ms`, `10s`, `5m`, `1h`.
//!
//! Used as `#[serde(with = "duration")]`, so that the fields are plain [`Duration`]s.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;

/// Reads a number and its unit: `500ms`, `10s`, `1.5m`, `1h`, `7d`.
///
/// # Errors
/// What is wrong with the text and how to write it; longer than ten years counts as wrong, because
/// nothing here waits that long and sums of instants could overflow.
pub fn parse(text: &str) -> Result<Duration, String> {
    let example = "write a number and a unit, such as 500ms, 10s, 5m or 1h";
    let digits = text.trim_end_matches(|c: char| c.is_alphabetic() || c == ' ');
    let seconds = match text[digits.len()..].trim() {
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        "" if digits.parse::<f64>().is_ok() => {
            return Err(format!("\"{text}\" has no unit: write {digits}s for seconds"));
        }
        _ => return Err(format!("\"{text}\" is not a span of time: {example}")),
    };
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match digits.parse::<f64>() {
        Ok(number) if plain && number * seconds <= LONGEST.as_secs_f64() => {
            // Whole milliseconds: finer is noise of the binary fraction.
            Ok(Duration::from_millis((number * seconds * 1000.0).round() as u64))
        }
        Ok(number) if plain && number.is_finite() => {
            Err(format!("\"{text}\" is longer than ten years"))
        }
        _ => Err(format!("\"{text}\" is not a span of time: {example}")),
    }
}

/// Writes the span in the largest unit that gives a whole number.
pub fn display(span: Duration) -> String {
    let millis = span.as_millis();
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if millis >= size && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") }
}

/// For serde.
///
/// # Errors
/// The serializer's own.
pub fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&display(*span))
}

/// For serde.
///
/// # Errors
/// Those of [`parse`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_str(Text)
}

/// The same for a span that may be absent.
pub mod option {
    use super::{Deserializer, Duration, Serializer, display};

    /// For serde.
    ///
    /// # Errors
    /// The serializer's own.
    pub fn serialize<S: Serializer>(span: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => to.serialize_some(&display(*span)),
            None => to.serialize_none(),
        }
    }

    /// For serde.
    ///
    /// # Errors
    /// Those of [`parse`](super::parse).
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        super::deserialize(from).map(Some)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a span of time such as 10s or 5m")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).map_err(E::custom)
    }
}

const LONGEST: Duration = Duration::from_secs(10 * 366 * 86400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written_back() {
        for text in ["0s", "500ms", "10s", "5m", "1h", "90s", "36h"] {
            assert_eq!(display(parse(text).unwrap()), text);
        }
        assert_eq!(parse("1.5m").unwrap(), Duration::from_secs(90));
        assert_eq!(parse("0.3s").unwrap(), Duration::from_millis(300));
        assert_eq!(parse("2 d").unwrap(), Duration::from_secs(172_800));
    }

    #[test]
    fn what_is_not_a_span_is_explained() {
        for (text, hint) in [
            ("10", "10s"),
            ("", "10s"),
            ("s", "not a span"),
            ("-5s", "not a span"),
            ("5 weeks", "not a span"),
            ("1e9s", "not a span"),
            ("99999999h", "ten years"),
            ("NaNs", "not a span"),
            ("1.2.3s", "not a span"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(hint), "{text}: {message}");
        }
    }
}
