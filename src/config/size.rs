//! Sizes on disk as the configuration writes them: `500MB`, `1GB`, `64KiB`, or a number of bytes.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Largest first; a size is written in the first that gives a whole number.
const UNITS: [(&str, u64); 8] = [
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("kB", 1000),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "write a number and a unit, such as 500MB or 1GB";
        let digits = text.trim_end_matches(|c: char| c.is_alphabetic() || c == ' ');
        let unit = match text[digits.len()..].trim() {
            "" => "B",
            unit => unit,
        };
        let known = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let Some((_, factor)) = known else {
            return Err(format!("\"{text}\" is not a size: {example}"));
        };
        let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        match digits.parse::<f64>() {
            Ok(number) if plain && number * *factor as f64 <= LARGEST => {
                Ok(Self((number * *factor as f64).round() as u64))
            }
            Ok(number) if plain && number.is_finite() => {
                Err(format!("\"{text}\" is more than any disk has: {example}"))
            }
            _ => Err(format!("\"{text}\" is not a size: {example}")),
        }
    }
}

/// A thousand terabytes: whole numbers up to here are exact as floats, and sums do not overflow.
const LARGEST: f64 = 1e15;

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, size): &&(&str, u64)| self.0 >= *size && self.0.is_multiple_of(*size);
        let (name, size) = UNITS.iter().find(whole).unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / size)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 500MB or 1GB")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_back() {
        for text in ["0B", "17B", "64KiB", "500MB", "1GB", "3GiB", "2TB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        assert_eq!("1.5 gb".parse(), Ok(ByteSize(1_500_000_000)));
        assert_eq!("4096".parse(), Ok(ByteSize(4096)));
        assert_eq!(ByteSize(4096).to_string(), "4KiB");
    }

    #[test]
    fn what_is_not_a_size_is_explained() {
        for (text, hint) in [
            ("", "500MB"),
            ("GB", "not a size"),
            ("-1GB", "not a size"),
            ("1e9", "not a size"),
            ("5 apples", "not a size"),
            ("9999999TB", "any disk"),
            ("1.2.3MB", "not a size"),
        ] {
            let message = text.parse::<ByteSize>().unwrap_err();
            assert!(message.contains(hint), "{text}: {message}");
        }
    }
}
