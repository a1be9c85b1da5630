//! Who a meter is: as it says itself, and as `units` in the configuration names it.

use std::str::FromStr;
use std::sync::Arc;

use meter_protocols::brultech::Packet;

use super::sensors;
use crate::model::Model;

/// A meter as it was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// The whole serial number, as people see it.
    pub(super) serial: Arc<str>,
    /// Its numeric part, by which commands name a GEM.
    pub(super) number: u16,
    pub(super) model: Model,
}

impl Identity {
    /// Whose packet it is.
    pub(super) fn of(packet: &Packet) -> Identity {
        let (number, model) = (packet.serial_number, sensors::model(packet.format));
        Identity { serial: packet.serial().into(), number, model }
    }

    /// Of a meter that sends text, or was not heard yet: the serial number of a GEM has eight digits.
    pub(super) fn by_serial(serial: &str) -> Option<Identity> {
        let number = serial.get(serial.len().checked_sub(5)?..)?.parse().ok()?;
        let model = if serial.len() == 8 { Model::Gem } else { Model::Ecm1240 };
        Some(Identity { serial: serial.into(), number, model })
    }
}

/// A meter as `units` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// The command byte of an ECM: 0xFC to 0xFF.
    Ecm(u8),
    /// The last five digits of a GEM's serial number.
    Gem(u16),
}

impl FromStr for Unit {
    type Err = String;

    /// `fc` to `ff`, or five or eight digits of a serial number.
    fn from_str(text: &str) -> Result<Unit, String> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        if digits && matches!(text.len(), 5 | 8) {
            let number = text[text.len() - 5..].parse();
            return number.map(Unit::Gem).map_err(|_| {
                format!("\"{text}\" is no serial number: its last five digits go up to 65535")
            });
        }
        match u8::from_str_radix(text, 16) {
            Ok(byte) if text.len() == 2 && ALL_UNITS.contains(&byte) => Ok(Unit::Ecm(byte)),
            _ => Err(format!(
                "\"{text}\" names no meter: write fc, fd, fe or ff for an ECM, or the serial number \
                 of a GEM, in quotes"
            )),
        }
    }
}

/// The command bytes that an ECM can be set to.
pub(super) const ALL_UNITS: [u8; 4] = [0xFC, 0xFD, 0xFE, 0xFF];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_command_bytes_or_serial_numbers() {
        for (text, unit) in [
            ("fc", Ok(Unit::Ecm(0xFC))),
            ("FF", Ok(Unit::Ecm(0xFF))),
            ("00603", Ok(Unit::Gem(603))),
            ("01100603", Ok(Unit::Gem(603))),
            ("99999", Err(())),
            ("fb", Err(())),
            ("0fc", Err(())),
            ("603", Err(())),
            ("", Err(())),
            ("ü", Err(())),
        ] {
            assert_eq!(text.parse::<Unit>().map_err(|_| ()), unit, "{text}");
        }
    }
}
