//! Who is polled: as the configuration names it, and as it was heard.

use std::str::FromStr;
use std::sync::Arc;

use super::super::call::ALL_UNITS;
use super::super::settings::LinkSettings;
use super::super::switchboard::Identity;
use crate::model::Model;

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

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Whom {
    /// The GEM with this number.
    Gem(u16),
    /// The ECM with this command byte.
    Unit(u8),
    /// The ECM with this serial number, whatever its command byte.
    Ecm(Arc<str>),
    /// Nobody is known yet: whoever answers.
    Anybody,
}

impl Whom {
    pub(super) fn of(meter: Identity) -> Whom {
        match meter.model {
            Model::Gem => Whom::Gem(meter.number),
            Model::Ecm1240 | Model::Ecm1220 => Whom::Ecm(meter.serial),
        }
    }

    /// From the serial number of an entry: that of a GEM has eight digits.
    pub(super) fn named(serial: &str) -> Option<Whom> {
        if serial.len() < 8 {
            return Some(Whom::Ecm(serial.into()));
        }
        serial.get(serial.len() - 5..)?.parse().ok().map(Whom::Gem)
    }
}

impl std::fmt::Display for Whom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Whom::Gem(number) => write!(f, "gem {number:05}"),
            Whom::Unit(unit) => write!(f, "ecm {unit:x}"),
            Whom::Ecm(serial) => write!(f, "ecm {serial}"),
            Whom::Anybody => f.write_str("any"),
        }
    }
}

impl LinkSettings {
    /// How the GEM with this number is to be set, by the entry that it belongs to.
    pub(super) fn is_fahrenheit(&self, number: u16) -> bool {
        let belongs = |serial: &str| Whom::named(serial) == Some(Whom::Gem(number));
        let entries = &self.fahrenheit;
        let bound = entries.iter().find(|(serial, _)| serial.as_deref().is_some_and(belongs));
        let free = || entries.iter().find(|(serial, _)| serial.is_none());
        bound.or_else(free).is_some_and(|(_, fahrenheit)| *fahrenheit)
    }
}

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
