//! Packet formats of a GEM by number and name.

use meter_protocols::brultech::PacketFormat;
use serde_json::Value;

use super::invalid;
use crate::command::CommandError;

/// The vendor's numbers; 11 goes by radio only, 12 sends nothing.
const NAMES: [(u8, &str); 14] = [
    (0, "list"),
    (1, "ecm1240"),
    (2, "ascii_wh"),
    (3, "http"),
    (4, "bin48_net_time"),
    (5, "bin48_net"),
    (6, "seg"),
    (7, "bin48_abs"),
    (8, "bin32_net"),
    (9, "bin32_abs"),
    (10, "emon"),
    (11, "isy"),
    (12, "none"),
    (13, "cosm"),
];

/// The name of a format, if it has one.
pub(super) fn name(number: u8) -> Option<&'static str> {
    match number {
        14 => Some("new_seg"),
        _ => NAMES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name),
    }
}

/// A format by its number or name.
pub(super) fn parse(value: &Value) -> Result<PacketFormat, CommandError> {
    if let Value::String(text) = value {
        let text = text.to_ascii_lowercase().replace('-', "_");
        return (0..=14)
            .find(|number| name(*number) == Some(text.as_str()))
            .and_then(|number| PacketFormat::new(number.into()).ok())
            .ok_or_else(|| {
                let known: Vec<&str> = (0..=14).filter_map(name).collect();
                invalid(format!("packet format {value} is unknown; known are {}", known.join(", ")))
            });
    }
    let number = super::arguments::number(value, "packet format")?;
    PacketFormat::new(number).map_err(|error| invalid(error.to_string()))
}

/// Whether the gateway can read it as the same meter.
pub(super) fn is_readable(number: u8) -> bool {
    matches!(number, 4 | 5 | 7..=9)
}
