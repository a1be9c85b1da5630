//! What the configuration says of a link with Brultech meters.

use std::time::Duration;

use super::identity::Unit;
use crate::adapters::fleet::Left;

/// What is configured of a link as a whole, where entries share it for all of them.
#[derive(Debug, Clone, Default)]
pub struct LinkSettings {
    /// It is one and the same line each time it is opened: dialled or serial. On a port that is
    /// dialled, each connection is a line of its own.
    pub one_line: bool,
    /// Ask at this interval.
    pub poll: Option<Duration>,
    /// The meters to ask; empty: those that were heard, or whoever answers.
    pub units: Vec<Unit>,
    /// The serial numbers of the entries that have one.
    pub serials: Vec<String>,
    /// Which meters are set to degrees Fahrenheit, by the entry's serial number.
    pub fahrenheit: Vec<(Option<String>, bool)>,
}

impl LinkSettings {
    /// Expects the meters that go on in the place of those that the configuration names.
    pub fn pass_on(&mut self, left: &Left) {
        let in_entries = self.fahrenheit.iter_mut().filter_map(|(serial, _)| serial.as_mut());
        for serial in self.serials.iter_mut().chain(in_entries) {
            *serial = left.registry.successor(serial).to_owned();
        }
    }
}
