//! Who is polled.

use std::sync::Arc;

use super::super::identity::Identity;
use super::super::settings::LinkSettings;
use crate::model::Model;

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
            // Whatever of the make is no GEM is an ECM.
            _ => Whom::Ecm(meter.serial),
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
