//! Which configuration entry a meter belongs to.

use std::collections::HashMap;
use std::sync::Arc;

use super::settings::{LinkId, MeterSettings};
use crate::model::Model;

/// The entries of the configuration, and who has taken those that name no serial number.
#[derive(Debug)]
pub(super) struct Entries {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    settings: MeterSettings,
    taken_by: Option<String>,
}

/// What a meter is called and how it is read.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) settings: MeterSettings,
    /// No entry names it.
    pub(super) adopted: bool,
}

impl Entries {
    /// `kept`: the names that meters had in earlier runs, by serial number. An entry without a
    /// serial number stays with the meter that had its name, so that two meters on one link do not
    /// change names because the other one was heard first after a restart.
    pub(super) fn new(settings: &[MeterSettings], kept: &HashMap<String, Arc<str>>) -> Entries {
        let claimed =
            |serial: &str| settings.iter().any(|other| other.serial.as_deref() == Some(serial));
        let entries = settings
            .iter()
            .map(|settings| {
                let earlier = kept
                    .iter()
                    .filter(|(serial, name)| **name == settings.name && !claimed(serial))
                    .map(|(serial, _)| serial.clone())
                    .min();
                let taken_by = settings.serial.clone().or(earlier);
                Entry { settings: settings.clone(), taken_by }
            })
            .collect();
        Entries { entries }
    }

    /// The entry of a meter heard on `link`, or an adoption.
    pub(super) fn claim(&mut self, serial: &str, model: Model, link: LinkId) -> Claim {
        let own = self.entries.iter().position(|entry| entry.taken_by.as_deref() == Some(serial));
        let free = || {
            self.entries
                .iter()
                .position(|entry| entry.taken_by.is_none() && entry.settings.link == link)
        };
        let Some(place) = own.or_else(free) else {
            let name = self.adopted_name(serial, model);
            self.explain(serial, &name, link);
            let mut settings = MeterSettings::adopted(name, link);
            let of_link = self.entries.iter().find(|entry| entry.settings.link == link);
            settings.poll = of_link.and_then(|entry| entry.settings.poll);
            return Claim { settings, adopted: true };
        };
        let entry = &mut self.entries[place];
        entry.taken_by = Some(serial.to_owned());
        Claim { settings: entry.settings.clone(), adopted: false }
    }

    fn adopted_name(&self, serial: &str, model: Model) -> Arc<str> {
        let mut name = format!("{}-{serial}", model.as_str());
        while self.entries.iter().any(|entry| *entry.settings.name == *name) {
            name.push_str("-new");
        }
        name.into()
    }

    fn explain(&self, serial: &str, name: &str, link: LinkId) {
        let waiting = self
            .entries
            .iter()
            .find(|entry| entry.settings.link == link && entry.settings.serial.is_none());
        match waiting {
            Some(entry) => tracing::info!(
                serial,
                name,
                "a new meter was adopted; the entry {:?} belongs to meter {}: to give it to this \
                 one, write serial_number: {serial:?} there",
                entry.settings.name,
                entry.taken_by.as_deref().unwrap_or("none"),
            ),
            None => tracing::info!(
                serial,
                name,
                "a new meter was adopted; an entry under `meters` with this serial_number gives \
                 it a name of your own",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, serial: Option<&str>, link: usize) -> MeterSettings {
        let adopted = MeterSettings::adopted(name.into(), LinkId(link));
        MeterSettings { serial: serial.map(str::to_owned), ..adopted }
    }

    fn names(entries: &mut Entries, heard: &[(&str, usize)]) -> Vec<String> {
        heard
            .iter()
            .map(|(serial, link)| {
                entries.claim(serial, Model::Gem, LinkId(*link)).settings.name.to_string()
            })
            .collect()
    }

    #[test]
    fn serial_numbers_bind_the_first_left_over_fills_a_free_entry_and_the_rest_is_adopted() {
        let settings = [entry("any", None, 0), entry("bound", Some("B"), 0), entry("far", None, 1)];
        let mut entries = Entries::new(&settings, &HashMap::new());
        assert_eq!(
            names(&mut entries, &[("B", 0), ("A", 0), ("C", 0), ("D", 1), ("A", 0)]),
            ["bound", "any", "gem-C", "far", "any"]
        );
    }

    #[test]
    fn an_entry_stays_with_its_meter_over_a_restart() {
        let settings = [entry("any", None, 0)];
        let kept = HashMap::from([("A".to_owned(), "any".into())]);
        let mut entries = Entries::new(&settings, &kept);
        assert_eq!(names(&mut entries, &[("B", 0), ("A", 0)]), ["gem-B", "any"]);
    }

    #[test]
    fn a_name_that_an_entry_has_is_not_given_to_an_adopted_meter() {
        let mut entries = Entries::new(&[entry("gem-A", Some("B"), 0)], &HashMap::new());
        assert_eq!(names(&mut entries, &[("A", 0)]), ["gem-A-new"]);
    }
}
