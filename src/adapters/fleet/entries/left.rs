//! The entries and meters at the start, from the configuration and what earlier runs have left.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Entries, Entry, Member};
use crate::adapters::fleet::settings::MeterSettings;
use crate::command::directory::Expected;
use crate::registry::Registry;
use crate::store::{Changes, MeterRow};

impl Entries {
    /// `rows`: what earlier runs have kept. An entry without a serial number stays with the meter
    /// that had its name, so that two meters on one link do not change names because the other one
    /// was heard first after a restart.
    pub(in crate::adapters::fleet) fn new(
        settings: &[MeterSettings],
        rows: &[MeterRow],
        registry: Registry,
    ) -> Entries {
        let mut entries = Entries {
            make: registry.make(),
            entries: Vec::with_capacity(settings.len()),
            registry,
            known: BTreeMap::new(),
            strangers: BTreeMap::new(),
            changes: Changes::default(),
            notices: Vec::new(),
        };
        let owners: Vec<Option<Arc<str>>> =
            settings.iter().map(|one| entries.owner(one, settings, rows)).collect();
        for (settings, taken_by) in settings.iter().zip(owners) {
            entries.entries.push(Entry { settings: settings.clone(), taken_by });
        }
        for place in 0..entries.entries.len() {
            if let Some(serial) = entries.entries[place].taken_by.clone() {
                let name = entries.settle(&serial, Some(place)).name;
                entries.known.insert(serial, Member { name, entry: Some(place) });
            }
        }
        for row in rows {
            entries.expect(row);
        }
        entries.await_the_named();
        entries
    }

    /// Who has an entry before anybody was heard.
    fn owner(
        &self,
        entry: &MeterSettings,
        all: &[MeterSettings],
        rows: &[MeterRow],
    ) -> Option<Arc<str>> {
        let named = |serial: &str| all.iter().any(|other| other.serial.as_deref() == Some(serial));
        if let Some(serial) = &entry.serial {
            let successor = self.registry.successor(serial);
            // A meter that has got an entry of its own since is no longer anybody's successor.
            return Some(if named(successor) { serial } else { successor }.into());
        }
        let claimed = |serial: &str| {
            all.iter().any(|other| {
                other.serial.as_deref().is_some_and(|own| {
                    own == serial || (self.registry.successor(own) == serial && !named(serial))
                })
            })
        };
        let is_free = |serial: &str| {
            let record = self.registry.get(serial);
            !claimed(serial) && !record.blocked && record.replaced_by.is_none()
        };
        let renamed = self.registry.records().filter(|(_, record)| {
            let name = record.name.as_ref().and_then(|name| name.file.as_deref());
            name == Some(&*entry.name)
        });
        let kept = rows.iter().filter(|row| row.name == *entry.name);
        renamed
            .map(|(serial, _)| serial)
            .filter(|serial| is_free(serial))
            .min()
            .or_else(|| kept.map(|row| &*row.serial).filter(|serial| is_free(serial)).min())
            .map(Arc::from)
    }

    /// A meter without an entry that was there in an earlier run.
    fn expect(&mut self, row: &MeterRow) {
        let serial: Arc<str> = row.serial.as_str().into();
        let record = self.registry.get(&serial);
        if self.known.contains_key(&serial) || record.blocked || record.replaced_by.is_some() {
            return;
        }
        // The name it had last, unless that has become somebody else's. What the configuration has
        // overruled is seen when it is heard: it may take a free entry then.
        let name: Arc<str> = row.name.as_str().into();
        if self.holder(&name).is_none() && !self.is_configured(&name, None) {
            self.known.insert(serial, Member { name, entry: None });
        }
    }

    /// The meters that were given a name by request before they were ever heard.
    fn await_the_named(&mut self) {
        let named = self.registry.records().filter_map(|(serial, record)| {
            let name = record.name.as_ref().filter(|name| name.file.is_none())?.now.as_deref()?;
            let is_wanted = record.accepted && !record.blocked && record.replaced_by.is_none();
            is_wanted.then(|| (Arc::from(serial), Arc::from(name)))
        });
        for (serial, name) in named.collect::<Vec<(Arc<str>, Arc<str>)>>() {
            let is_free = self.holder(&name).is_none() && !self.is_configured(&name, None);
            if is_free && !self.known.contains_key(&serial) {
                self.known.insert(serial, Member { name, entry: None });
            }
        }
    }

    /// The names of earlier runs that nobody has any more, each with the one in its place.
    pub(in crate::adapters::fleet) fn outdated(
        &self,
        rows: &[MeterRow],
    ) -> Vec<(Arc<str>, Arc<str>)> {
        let now = rows.iter().filter_map(|row| Some((row, self.known.get(row.serial.as_str())?)));
        now.filter(|(row, _)| {
            self.holder(&row.name).is_none() && !self.is_configured(&row.name, None)
        })
        .map(|(row, member)| (row.name.as_str().into(), Arc::clone(&member.name)))
        .collect()
    }

    /// The meters that can be expected, by name and by serial number where that is known.
    pub(in crate::adapters::fleet) fn expected(&self) -> Vec<Expected> {
        let make = self.make;
        let of_nobody = self.entries.iter().filter(|entry| entry.taken_by.is_none());
        let of_nobody = of_nobody.map(|entry| Expected {
            name: Arc::clone(&entry.settings.name),
            make,
            serial: None,
        });
        let known = self.known.iter().map(|(serial, member)| Expected {
            name: Arc::clone(&member.name),
            make,
            serial: Some(Arc::clone(serial)),
        });
        known.chain(of_nobody).collect()
    }
}
