//! Which command byte an ECM has. It is in no packet, so it is learnt: from the answer to a poll as a
//! guess, from its settings for sure.

use super::super::exchange::Connection;
use super::super::identity::Unit;
use super::super::settings::LinkSettings;
use super::Switchboard;

impl Switchboard {
    /// The command byte of an ECM, once it is known.
    pub(in super::super) fn unit(&self, serial: &str) -> Option<u8> {
        self.0.places.lock().meters.get(serial).and_then(|known| known.unit)
    }

    /// Remembers the command byte of an ECM; nobody else on its line has the same.
    pub(in super::super) fn note_unit(&self, connection: &Connection, serial: &str, unit: u8) {
        let line = self.heard_on(connection);
        let mut places = self.0.places.lock();
        for meter in line {
            if let Some(known) = places.meters.get_mut(&meter.serial) {
                known.unit = match known.unit {
                    _ if *meter.serial == *serial => Some(unit),
                    Some(other) if other == unit => None,
                    kept => kept,
                };
            }
        }
    }

    /// An ECM did not answer to its command byte: it is to be looked for again.
    pub(in super::super) fn forget_unit(&self, serial: &str) {
        if let Some(known) = self.0.places.lock().meters.get_mut(serial) {
            known.unit = None;
        }
    }
}

impl LinkSettings {
    /// The command bytes that `units` names.
    pub(in super::super) fn ecm_units(&self) -> Vec<u8> {
        self.units
            .iter()
            .filter_map(|unit| match unit {
                Unit::Ecm(byte) => Some(*byte),
                Unit::Gem(_) => None,
            })
            .collect()
    }
}
