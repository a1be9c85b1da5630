//! What is counted of each meter, for `meterbridge/bridge/health`.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::{Device, DeviceId, Timestamp, Update};

/// The counts of all meters; clones are the same counts.
#[derive(Debug, Clone, Default)]
pub struct Tallies(Arc<Mutex<Book>>);

/// The counts of one meter since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it can be heard now.
    pub online: bool,
    /// Packets that were published.
    pub packets: u64,
    /// Packets whose readings were dropped on their way there.
    pub dropped: u64,
    /// Corrections of its counters.
    pub corrections: u64,
    /// When its last packet came.
    pub last_seen: Timestamp,
}

#[derive(Debug, Default)]
struct Book {
    meters: HashMap<DeviceId, Tally>,
    /// By name, because a meter is said to be there before it is heard.
    online: HashMap<Arc<str>, bool>,
}

impl Tallies {
    /// Counts what is published.
    pub fn note(&self, update: &Update) {
        let mut book = self.0.lock();
        match update {
            Update::Readings(set) if set.is_of_attached() => {}
            Update::Readings(set) => {
                let tally = book.tally(&set.device);
                tally.packets += 1;
                tally.last_seen = set.at;
            }
            Update::Availability { name, online } => {
                book.online.insert(Arc::clone(name), *online);
            }
            Update::Correction(correction) => {
                let is_it = |tally: &&mut Tally| tally.name == correction.name;
                if let Some(tally) = book.meters.values_mut().find(is_it) {
                    tally.corrections += 1;
                }
            }
            Update::Renamed { from, to } => {
                if let Some(online) = book.online.remove(from) {
                    book.online.insert(Arc::clone(to), online);
                }
            }
            Update::Described(device) => {
                if let Some(tally) = book.meters.get_mut(&device.id) {
                    tally.name = Arc::clone(&device.name);
                }
            }
            Update::Forgotten { name, device } => {
                book.meters.remove(device);
                book.online.remove(name);
            }
            Update::Notice(_) | Update::Backlog(_) | Update::Relay { .. } => {}
        }
    }

    /// Counts what is dropped with this update.
    pub fn note_drop(&self, update: &Update) {
        if let Update::Readings(set) = update {
            self.0.lock().tally(&set.device).dropped += 1;
        }
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<(DeviceId, Tally)> {
        let book = self.0.lock();
        let mut list: Vec<(DeviceId, Tally)> = book
            .meters
            .iter()
            .map(|(id, tally)| {
                let online = book.online.get(&tally.name).copied().unwrap_or(false);
                (*id, Tally { online, ..tally.clone() })
            })
            .collect();
        list.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name));
        list
    }
}

impl Book {
    fn tally(&mut self, device: &Device) -> &mut Tally {
        let tally = self.meters.entry(device.id).or_default();
        if tally.name != device.name {
            tally.name = Arc::clone(&device.name);
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::directory::tests::{device, online, readings};

    #[test]
    fn a_meter_is_counted_by_what_it_is_and_told_by_its_name() {
        let tallies = Tallies::default();
        tallies.note(&online("house", true));
        tallies.note(&readings("house"));
        tallies.note(&readings("house"));
        tallies.note_drop(&readings("house"));
        let renamed = Update::Renamed { from: "house".into(), to: "main".into() };
        tallies.note(&renamed);
        tallies.note(&Update::Described(Arc::new(device("main"))));
        let list = tallies.list();
        let [(id, tally)] = &list[..] else { panic!("{list:?}") };
        assert_eq!(*id, device("main").id);
        assert_eq!((&*tally.name, tally.online), ("main", true));
        assert_eq!((tally.packets, tally.dropped), (2, 1));
        tallies.note(&Update::Forgotten { name: "main".into(), device: *id });
        assert_eq!(tallies.list(), []);
    }
}
