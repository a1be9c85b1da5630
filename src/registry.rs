//! What is changed by request while the gateway runs: names, channels, which meters are let in, and
//! which meter goes on where another has ended.
//!
//! Everything that a user can write in the configuration file stays there; a request lays a change
//! over it, and the change is kept in `meterbridge.db` together with what the file said then. Should
//! the file say something else at a later start, it was edited after the request and wins.
//!
//! | module | has |
//! |---|---|
//! | [`record`] | what is kept of one meter, and what it comes to on top of the configuration |
//! | [`change`] | a change on its way to the adapter that owns the meter |
//!
//! The adapter of a make owns the registry of its meters, so that a change and a packet never meet.
//! It hands changes to the [ledger](crate::ledger), which commits them before anybody hears of them.

pub mod change;
pub mod record;

use std::collections::BTreeMap;

use crate::model::Make;
use crate::store::{Changes, Store, StoreError};

use self::record::Record;

/// What requests have changed of the meters of one make.
#[derive(Debug, Clone)]
pub struct Registry {
    make: Make,
    records: BTreeMap<String, Record>,
    permit: bool,
}

impl Registry {
    /// A registry in which nobody has changed anything.
    pub fn new(make: Make) -> Registry {
        Registry { make, records: BTreeMap::new(), permit: true }
    }

    /// What is on disk.
    ///
    /// # Errors
    /// When the database cannot be read. A record that makes no sense is logged and passed over.
    pub fn load(store: &Store, make: Make) -> Result<Registry, StoreError> {
        let mut registry = Registry::new(make);
        for (serial, text) in store.records(make)? {
            match serde_json::from_str(&text) {
                Ok(record) => drop(registry.records.insert(serial, record)),
                Err(error) => tracing::error!(
                    serial,
                    %error,
                    "what requests have changed of this meter cannot be read: the configuration holds"
                ),
            }
        }
        registry.permit = store.setting(PERMIT)?.as_deref() != Some("false");
        Ok(registry)
    }

    /// Whose meters these are.
    pub fn make(&self) -> Make {
        self.make
    }

    /// What is kept of the meter with this serial number.
    pub fn get(&self, serial: &str) -> Record {
        self.records.get(serial).cloned().unwrap_or_default()
    }

    /// Everything that is kept, by serial number.
    pub fn records(&self) -> impl Iterator<Item = (&str, &Record)> {
        self.records.iter().map(|(serial, record)| (serial.as_str(), record))
    }

    /// Keeps this of a meter from now on.
    pub fn put(&mut self, serial: &str, record: Record, changes: &mut Changes) {
        if record == Record::default() {
            if self.records.remove(serial).is_some() {
                changes.record(self.make, serial, None);
            }
            return;
        }
        // A record is maps, texts and numbers, none of which JSON refuses.
        if let Ok(text) = serde_json::to_string(&record) {
            changes.record(self.make, serial, Some(text));
        }
        self.records.insert(serial.to_owned(), record);
    }

    /// The meter that stands today where the one with this serial number once stood.
    pub fn successor<'a>(&'a self, serial: &'a str) -> &'a str {
        let mut last = serial;
        // Each replacement is one record, so a ring would be found by its length.
        for _ in 0..=self.records.len() {
            match self.records.get(last).and_then(|record| record.replaced_by.as_deref()) {
                Some(next) => last = next,
                None => return last,
            }
        }
        serial
    }

    /// Forgets that others were replaced by this meter: they are as new.
    pub fn forget_predecessors(&mut self, serial: &str, changes: &mut Changes) {
        let before: Vec<String> = self
            .records
            .keys()
            .filter(|before| *before != serial && self.successor(before) == serial)
            .cloned()
            .collect();
        for before in before {
            let record = Record { replaced_by: None, ..self.get(&before) };
            self.put(&before, record, changes);
        }
    }

    /// Whether meters that nobody named are let in.
    pub fn permits(&self) -> bool {
        self.permit
    }

    /// Lets them in, or not.
    pub fn permit(&mut self, permit: bool, changes: &mut Changes) {
        self.permit = permit;
        changes.setting(PERMIT, permit.to_string());
    }
}

/// The setting's key in the database.
const PERMIT: &str = "permit";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_replacements_ends_at_the_last_also_when_it_comes_back() {
        let (mut registry, mut changes) = (Registry::new(Make::Brultech), Changes::default());
        let mut replaced = |registry: &mut Registry, one: &str, by: Option<&str>| {
            let record = Record { replaced_by: by.map(str::to_owned), ..registry.get(one) };
            registry.put(one, record, &mut changes);
        };
        replaced(&mut registry, "A", Some("B"));
        replaced(&mut registry, "B", Some("C"));
        assert_eq!(registry.successor("A"), "C");
        replaced(&mut registry, "C", Some("A"));
        assert_eq!(registry.successor("A"), "A", "a ring, which no request makes");
        replaced(&mut registry, "A", None);
        assert_eq!(["A", "B", "C"].map(|one| registry.successor(one)), ["A"; 3]);
        assert_eq!(registry.records().count(), 2);
    }

    #[test]
    fn what_is_kept_comes_back_and_nonsense_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let (mut registry, mut changes) = (Registry::new(Make::Brultech), Changes::default());
        let record = Record { blocked: true, ..Record::default() };
        registry.put("1", record.clone(), &mut changes);
        registry.permit(false, &mut changes);
        changes.record(Make::Brultech, "2", Some("{\"blocked\":7}".into()));
        let mut store = Store::open(dir.path()).unwrap();
        store.keep(&changes).unwrap();
        let registry = Registry::load(&store, Make::Brultech).unwrap();
        assert_eq!((registry.get("1"), registry.get("2")), (record, Record::default()));
        assert!(!registry.permits());
    }
}
