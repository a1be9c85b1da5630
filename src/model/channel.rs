//! The physical inputs of a meter, and what they are for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::spelled::spelled;

/// A physical input of a meter, numbered from 1 as the meter's own papers number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// What belongs to the whole meter: voltage, frequency, totals.
    Line,
    /// A current clamp.
    Ch(u8),
    /// An auxiliary clamp of an ECM-1240.
    Aux(u8),
    /// A pulse input.
    Pulse(u8),
    /// A temperature probe.
    T(u8),
    /// A phase of the mains.
    L(u8),
    /// A radio node of a Fluksometer.
    Kube(u8),
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Channel::Line => f.write_str("line"),
            Channel::Ch(n) => write!(f, "ch{n}"),
            Channel::Aux(n) => write!(f, "aux{n}"),
            Channel::Pulse(n) => write!(f, "pulse{n}"),
            Channel::T(n) => write!(f, "t{n}"),
            Channel::L(n) => write!(f, "l{n}"),
            Channel::Kube(n) => write!(f, "kube{n}"),
        }
    }
}

spelled!(Channel);

impl FromStr for Channel {
    type Err = NotAChannel;

    fn from_str(text: &str) -> Result<Channel, NotAChannel> {
        let digits = text.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
        let (kind, number) = (&text[..text.len() - digits.len()], digits.parse().ok());
        match (kind, number) {
            ("line", None) if digits.is_empty() => Ok(Channel::Line),
            ("ch", Some(n @ 1..)) => Ok(Channel::Ch(n)),
            ("aux", Some(n @ 1..)) => Ok(Channel::Aux(n)),
            ("pulse", Some(n @ 1..)) => Ok(Channel::Pulse(n)),
            ("t", Some(n @ 1..)) => Ok(Channel::T(n)),
            ("l", Some(n @ 1..=3)) => Ok(Channel::L(n)),
            ("kube", Some(n @ 1..)) => Ok(Channel::Kube(n)),
            _ => Err(NotAChannel(text.to_owned())),
        }
    }
}

/// A text that names no channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no channel: ch1…, aux1…, pulse1…, t1…, l1-l3, kube1… and line are")]
pub struct NotAChannel(String);

/// What a channel is for, as its owner configures it; never part of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The connection to the grid: counts both ways.
    Grid,
    /// A solar inverter: counts both ways.
    Solar,
    /// A battery: counts both ways.
    Battery,
    /// A consumer: counts one way.
    #[default]
    Load,
}

impl Role {
    /// Whether import and export are counted apart.
    pub fn counts_both_ways(self) -> bool {
        self != Role::Load
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_read_back() {
        for channel in [
            Channel::Line,
            Channel::Ch(32),
            Channel::Aux(5),
            Channel::Pulse(4),
            Channel::T(8),
            Channel::L(3),
            Channel::Kube(30),
        ] {
            assert_eq!(channel.to_string().parse(), Ok(channel));
        }
        for text in ["", "ch", "ch0", "ch256", "line1", "1", "chx1", "ché1", "l", "l4"] {
            assert!(text.parse::<Channel>().is_err(), "{text:?}");
        }
    }
}
