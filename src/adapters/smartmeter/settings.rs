//! What the configuration says of SmartMeters and PowerMeters, and which entry a device has.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::adapters::fleet::{LinkId, MeterSettings};
use crate::bus::Waveforms;
use crate::config::meter::{EnergySource, EnergyUnit};
use crate::config::stream::Stream;
use crate::model::{Channel, DeviceId};

/// What the configuration comes to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// One per entry, for the adapter.
    pub(crate) meters: Vec<MeterSettings>,
    /// One per entry, in the same order, for connections.
    pub(crate) entries: Vec<Arc<EntrySettings>>,
    /// The link of devices that no entry names and that publish to the gateway's broker; `None`: no
    /// entry is open to such devices.
    pub(crate) broker: Option<LinkId>,
    /// The first levels of their topics, each once.
    pub(crate) base_topics: Vec<String>,
}

/// What an entry says of how its device is spoken to.
#[derive(Debug, Clone)]
pub(crate) struct EntrySettings {
    /// The `<name>` in topics.
    pub(crate) name: Arc<str>,
    /// The name that the device has given itself; `None`: the first that no other entry claims.
    pub(crate) serial: Option<Arc<str>>,
    /// Where it is heard.
    pub(crate) link: LinkId,
    /// Overrides the derived device id.
    pub(crate) id: Option<DeviceId>,
    /// How often it is asked while it does not sample.
    pub(crate) poll: Duration,
    /// What it samples.
    pub(crate) stream: Option<Stream>,
    /// Whose energy is believed.
    pub(crate) energy: EnergySource,
    /// The unit of the energy in a PowerMeter's messages.
    pub(crate) energy_unit: EnergyUnit,
    /// Factors on sampled voltage and current, by channel.
    pub(crate) scales: HashMap<Channel, (f64, f64)>,
}

impl EntrySettings {
    /// What holds for a device that no entry names.
    pub(crate) fn adopted(link: LinkId) -> EntrySettings {
        EntrySettings {
            name: "".into(),
            serial: None,
            link,
            id: None,
            poll: POLL,
            stream: None,
            energy: EnergySource::Auto,
            energy_unit: EnergyUnit::Auto,
            scales: HashMap::new(),
        }
    }
}

/// Which entry each device has, as the adapter gives them out: by the name that the device has given
/// itself, else the first that comes to a link. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roster(Arc<Mutex<Places>>);

#[derive(Debug, Default)]
struct Places {
    entries: Vec<Arc<EntrySettings>>,
    taken_by: Vec<Option<Arc<str>>>,
    /// Where samples go: who wants those of an entry is told whose they are.
    waveforms: Waveforms,
}

impl Roster {
    /// `owners`: who has each entry before anybody was heard.
    pub(crate) fn new(
        entries: Vec<Arc<EntrySettings>>,
        owners: Vec<Option<Arc<str>>>,
        waveforms: Waveforms,
    ) -> Roster {
        let mut taken_by = owners;
        taken_by.resize(entries.len(), None);
        for (entry, owner) in entries.iter().zip(&taken_by) {
            if let Some(owner) = owner {
                waveforms.know(&entry.name, owner);
            }
        }
        Roster(Arc::new(Mutex::new(Places { entries, taken_by, waveforms })))
    }

    /// The entry of a device that was heard on `link`.
    pub(crate) fn entry(&self, serial: &str, link: LinkId) -> Arc<EntrySettings> {
        let mut places = self.0.lock();
        let owned = |one: &Option<Arc<str>>| one.as_deref() == Some(serial);
        let own = places.taken_by.iter().position(owned);
        let free = || {
            let free = places.entries.iter().zip(&places.taken_by);
            free.enumerate().find_map(|(place, (entry, taken))| {
                let is_for_it = entry.serial.as_deref().is_none_or(|named| named == serial);
                (taken.is_none() && is_for_it && entry.link == link).then_some(place)
            })
        };
        // Who is called as the device calls itself is meant, as in the adapter.
        let namesake = || {
            let mut free = places.entries.iter().zip(&places.taken_by);
            free.position(|(entry, taken)| {
                taken.is_none() && entry.link == link && *entry.name == *serial
            })
        };
        match own.or_else(namesake).or_else(free) {
            Some(place) => {
                let entry = Arc::clone(&places.entries[place]);
                if own.is_none() {
                    let serial: Arc<str> = serial.into();
                    places.waveforms.know(&entry.name, &serial);
                    places.taken_by[place] = Some(serial);
                }
                entry
            }
            None => Arc::new(EntrySettings::adopted(link)),
        }
    }
}

/// How often an idle device is asked unless its entry says otherwise: as often as it publishes itself.
pub(crate) const POLL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Whose;

    #[test]
    fn a_name_holds_everywhere_and_the_first_to_come_takes_what_is_free() {
        let entry = |name: &str, serial: Option<&str>, link| {
            let adopted = EntrySettings::adopted(LinkId(link));
            Arc::new(EntrySettings { name: name.into(), serial: serial.map(Arc::from), ..adopted })
        };
        let entries = vec![
            entry("mains", Some("smartmeter001"), 0),
            entry("plug", None, 1),
            entry("old", None, 0),
        ];
        let owners = vec![Some("smartmeter001".into()), None, Some("gone".into())];
        let waveforms = Waveforms::default();
        let roster = Roster::new(entries, owners, waveforms.clone());
        assert_eq!(&*roster.entry("smartmeter001", LinkId(1)).name, "mains");
        assert_eq!(&*roster.entry("powermeter01", LinkId(1)).name, "plug");
        assert_eq!(&*roster.entry("powermeter02", LinkId(1)).name, "");
        assert_eq!(&*roster.entry("powermeter02", LinkId(0)).name, "");
        let whose = |name: &str| waveforms.serial(&Whose::Name(name.into()));
        assert_eq!(whose("mains").as_deref(), Some("smartmeter001"));
        assert_eq!(whose("plug").as_deref(), Some("powermeter01"));
    }
}
