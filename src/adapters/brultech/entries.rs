//! Which meters are known, which configuration entry each belongs to, and what it is called.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::settings::{LinkId, MeterSettings, Standing};
use crate::command::directory::Expected;
use crate::ledger::Pending;
use crate::model::{DeviceId, Make, Model, Notice, NoticeKind, Update};
use crate::registry::Registry;
use crate::store::{Changes, MeterRow};

/// The entries of the configuration with who has taken them, and what requests have changed.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) entries: Vec<Entry>,
    pub(super) registry: Registry,
    /// The meters by serial number: those that were ever heard, and those that are configured.
    pub(super) known: BTreeMap<Arc<str>, Member>,
    /// Who was heard and not let in.
    pub(super) strangers: BTreeMap<Arc<str>, Stranger>,
    /// What is to be kept of what was found out on the way.
    pub(super) changes: Changes,
    /// What is to be told of it.
    pub(super) notices: Vec<Notice>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) settings: MeterSettings,
    pub(super) taken_by: Option<Arc<str>>,
}

/// A meter that is known.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) name: Arc<str>,
    /// Its place in the list of entries; `None`: adopted.
    pub(super) entry: Option<usize>,
}

/// A meter that was heard and not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stranger {
    pub(super) model: Model,
    pub(super) reason: Reason,
}

/// Why a meter is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// It was removed with `block`.
    Blocked,
    /// Nobody named it, and such meters are not let in.
    NotPermitted,
    /// Another meter goes on in its place.
    Replaced,
}

/// What a meter is called and how it is read.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) settings: MeterSettings,
    pub(super) standing: Standing,
    /// The name that it was expected under, where that is another.
    pub(super) before: Option<Arc<str>>,
}

impl Reason {
    /// The word in the list of meters that were not let in.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Reason::Blocked => "blocked",
            Reason::NotPermitted => "not_permitted",
            Reason::Replaced => "replaced",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Reason::Blocked => {
                "a blocked meter was heard and is not let in; the request adopt lets it in"
            }
            Reason::NotPermitted => {
                "an unknown meter was heard and is not let in; the request adopt lets it in, the \
                 request permit all of them"
            }
            Reason::Replaced => {
                "a meter was heard in whose place another goes on: it is not let in, since both would \
                 count as one; the request replace puts it back in its place"
            }
        }
    }
}

impl Entries {
    /// `rows`: what earlier runs have kept. An entry without a serial number stays with the meter
    /// that had its name, so that two meters on one link do not change names because the other one
    /// was heard first after a restart.
    pub(super) fn new(
        settings: &[MeterSettings],
        rows: &[MeterRow],
        registry: Registry,
    ) -> Entries {
        let mut entries = Entries {
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

    /// The entry of a meter heard on `link`, or an adoption.
    ///
    /// # Errors
    /// Why it is not let in; the first time there is a notice of it.
    pub(super) fn claim(
        &mut self,
        serial: &Arc<str>,
        model: Model,
        link: LinkId,
    ) -> Result<Claim, Reason> {
        let own = self.entries.iter().position(|entry| entry.taken_by.as_ref() == Some(serial));
        let record = self.registry.get(serial);
        let refused = match own {
            Some(_) => None,
            None if record.blocked => Some(Reason::Blocked),
            None => record.replaced_by.is_some().then_some(Reason::Replaced),
        };
        let free = || {
            self.entries
                .iter()
                .position(|entry| entry.taken_by.is_none() && entry.settings.link == link)
        };
        let place = own.or_else(free);
        let is_known = self.known.contains_key(serial);
        let unnamed = place.is_none() && !is_known && !record.accepted;
        let refused =
            refused.or((unnamed && !self.registry.permits()).then_some(Reason::NotPermitted));
        if let Some(reason) = refused {
            self.turn_away(serial, model, reason);
            return Err(reason);
        }
        self.strangers.remove(serial);
        let (settings, standing) = match place {
            Some(place) => {
                self.entries[place].taken_by = Some(Arc::clone(serial));
                (self.settle(serial, Some(place)), Standing::Configured)
            }
            None => {
                let standing = if record.accepted { Standing::Accepted } else { Standing::New };
                (self.adopt(serial, model, link, is_known), standing)
            }
        };
        let member = Member { name: Arc::clone(&settings.name), entry: place };
        let before = self.known.insert(Arc::clone(serial), member).map(|member| member.name);
        let before = before.filter(|before| *before != settings.name);
        Ok(Claim { settings, standing, before })
    }

    fn adopt(
        &mut self,
        serial: &Arc<str>,
        model: Model,
        link: LinkId,
        is_known: bool,
    ) -> MeterSettings {
        let base = MeterSettings::adopted(self.adopted_name(serial, model), link);
        let of_link = self.entries.iter().find(|entry| entry.settings.link == link);
        let poll = of_link.and_then(|entry| entry.settings.poll);
        let settings = self.settle_on(serial, MeterSettings { poll, ..base }, None);
        let explanation = self.explain(serial, link);
        let name = &settings.name;
        if is_known {
            tracing::info!(%serial, %name, "an adopted meter is back; {explanation}");
        } else {
            let message = format!("a new meter was adopted; {explanation}");
            self.note(NoticeKind::Adopted, Some(name), serial, message);
        }
        settings
    }

    fn turn_away(&mut self, serial: &Arc<str>, model: Model, reason: Reason) {
        let stranger = Stranger { model, reason };
        let room = self.strangers.len() < MOST_STRANGERS;
        if (room || self.strangers.contains_key(serial))
            && self.strangers.insert(Arc::clone(serial), stranger) != Some(stranger)
        {
            self.note(NoticeKind::Blocked, None, serial, reason.words().to_owned());
        }
    }

    /// What holds for a meter: its entry with what was changed by request.
    pub(super) fn settle(&mut self, serial: &str, entry: Option<usize>) -> MeterSettings {
        let base = self.base(serial, entry, None);
        self.settle_on(serial, base, entry)
    }

    /// What a meter has before anything is changed by request. `now`: what it has at present, if it
    /// was heard: an adopted meter has its link from there.
    pub(super) fn base(
        &self,
        serial: &str,
        entry: Option<usize>,
        now: Option<&MeterSettings>,
    ) -> MeterSettings {
        if let Some(entry) = entry.and_then(|place| self.entries.get(place)) {
            return entry.settings.clone();
        }
        let name = self.known.get(serial).map_or_else(|| "".into(), |one| Arc::clone(&one.name));
        let adopted =
            MeterSettings::adopted(name, now.map_or(LinkId::NONE, |settings| settings.link));
        MeterSettings { poll: now.and_then(|settings| settings.poll), ..adopted }
    }

    /// The same on top of `base`. What the configuration has overruled is forgotten and told.
    pub(super) fn settle_on(
        &mut self,
        serial: &str,
        base: MeterSettings,
        entry: Option<usize>,
    ) -> MeterSettings {
        let before = self.registry.get(serial);
        let mut record = before.clone();
        let mut overruled = Vec::new();
        let of_entry = entry.and_then(|place| self.entries.get(place));
        let of_entry = of_entry.map(|entry| entry.settings.name.to_string());
        let (name, lost) = record.settle_name(of_entry.as_deref(), |name| {
            self.is_configured(name, entry)
                || self.holder(name).is_some_and(|holder| **holder != *serial)
        });
        overruled.extend(lost.then(|| "name".to_owned()));
        let mut settings = base.changed(&mut record, &mut overruled);
        settings.name = name.map_or_else(|| Arc::clone(&base.name), Arc::from);
        if record != before {
            self.registry.put(serial, record, &mut self.changes);
        }
        if !overruled.is_empty() {
            let message = format!(
                "the configuration was edited after a request had changed the same, and holds now: {}",
                overruled.join(", ")
            );
            self.note(NoticeKind::Overruled, Some(&settings.name), serial, message);
        }
        settings
    }

    /// Whether an entry other than `own` has this name in the configuration.
    pub(super) fn is_configured(&self, name: &str, own: Option<usize>) -> bool {
        let mut entries = self.entries.iter().enumerate();
        entries.any(|(place, entry)| *entry.settings.name == *name && Some(place) != own)
    }

    /// Whether an entry other than `own` has this serial number in the configuration.
    pub(super) fn is_named(&self, serial: &str, own: Option<usize>) -> bool {
        let mut entries = self.entries.iter().enumerate();
        entries.any(|(place, entry)| {
            entry.settings.serial.as_deref() == Some(serial) && Some(place) != own
        })
    }

    /// The names of earlier runs that nobody has any more, each with the one in its place.
    pub(super) fn outdated(&self, rows: &[MeterRow]) -> Vec<(Arc<str>, Arc<str>)> {
        let now = rows.iter().filter_map(|row| Some((row, self.known.get(row.serial.as_str())?)));
        now.filter(|(row, _)| {
            self.holder(&row.name).is_none() && !self.is_configured(&row.name, None)
        })
        .map(|(row, member)| (row.name.as_str().into(), Arc::clone(&member.name)))
        .collect()
    }

    /// Whose name this is.
    pub(super) fn holder(&self, name: &str) -> Option<&Arc<str>> {
        self.known.iter().find(|(_, member)| *member.name == *name).map(|(serial, _)| serial)
    }

    /// The identity of a meter.
    pub(super) fn device_id(&self, serial: &str) -> DeviceId {
        let entry = self.known.get(serial).and_then(|member| member.entry);
        let own = entry.and_then(|place| self.entries.get(place)?.settings.id);
        own.unwrap_or_else(|| {
            let identity = self.registry.get(serial).identity;
            DeviceId::derive(Make::Brultech, identity.as_deref().unwrap_or(serial))
        })
    }

    fn adopted_name(&self, serial: &str, model: Model) -> Arc<str> {
        let mut name = format!("{}-{serial}", model.as_str());
        while self.is_configured(&name, None)
            || self.holder(&name).is_some_and(|holder| **holder != *serial)
        {
            name.push_str("-new");
        }
        name.into()
    }

    fn explain(&self, serial: &str, link: LinkId) -> String {
        let waiting = self
            .entries
            .iter()
            .find(|entry| entry.settings.link == link && entry.settings.serial.is_none());
        match waiting {
            Some(entry) => format!(
                "the entry {:?} belongs to meter {}: to give it to this one, write serial_number: \
                 {serial:?} there, or send the request replace",
                entry.settings.name,
                entry.taken_by.as_deref().unwrap_or("none"),
            ),
            None => {
                "an entry under `meters` with this serial_number, or the request rename, gives \
                     it a name of your own"
                    .to_owned()
            }
        }
    }

    /// What was found out on the way: what is to be kept of it, and what is to be told.
    pub(super) fn found(&mut self, updates: &mut Vec<Update>) -> Option<Box<Pending>> {
        let notices = std::mem::take(&mut self.notices);
        updates.extend(notices.into_iter().map(|notice| Update::Notice(Arc::new(notice))));
        let changes = std::mem::take(&mut self.changes);
        (!changes.is_empty()).then(|| Box::new(Pending { changes, kept: None }))
    }

    /// The meters that can be expected, by name and by serial number where that is known.
    pub(super) fn expected(&self) -> Vec<Expected> {
        let make = Make::Brultech;
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

    /// Logs something and puts it down to be told.
    pub(super) fn note(
        &mut self,
        kind: NoticeKind,
        name: Option<&Arc<str>>,
        serial: &str,
        message: String,
    ) {
        let shown = name.map_or("none", |name| &**name);
        match kind {
            NoticeKind::Overruled | NoticeKind::Blocked => {
                tracing::warn!(serial, name = shown, "{message}");
            }
            _ => tracing::info!(serial, name = shown, "{message}"),
        }
        self.notices.push(Notice { kind, name: name.cloned(), serial: serial.into(), message });
    }
}

/// Meters remembered as not let in; whoever makes serial numbers up must not fill memory or log.
const MOST_STRANGERS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::record::{Changed, Record};

    fn entry(name: &str, serial: Option<&str>, link: usize) -> MeterSettings {
        let adopted = MeterSettings::adopted(name.into(), LinkId(link));
        MeterSettings { serial: serial.map(str::to_owned), ..adopted }
    }

    fn row(serial: &str, name: &str) -> MeterRow {
        let (serial, name) = (serial.to_owned(), name.to_owned());
        MeterRow { make: Make::Brultech, serial, name, state: Vec::new() }
    }

    fn make(settings: &[MeterSettings], rows: &[MeterRow]) -> Entries {
        Entries::new(settings, rows, Registry::new(Make::Brultech))
    }

    fn names(entries: &mut Entries, heard: &[(&str, usize)]) -> Vec<String> {
        heard
            .iter()
            .map(|(serial, link)| {
                let claim = entries.claim(&Arc::from(*serial), Model::Gem, LinkId(*link));
                claim.map_or_else(
                    |reason| reason.as_str().into(),
                    |one| one.settings.name.to_string(),
                )
            })
            .collect()
    }

    fn put(entries: &mut Entries, serial: &str, record: Record) {
        entries.registry.put(serial, record, &mut Changes::default());
    }

    #[test]
    fn serial_numbers_bind_the_first_left_over_fills_a_free_entry_and_the_rest_is_adopted() {
        let settings = [entry("any", None, 0), entry("bound", Some("B"), 0), entry("far", None, 1)];
        assert_eq!(
            names(&mut make(&settings, &[]), &[("B", 0), ("A", 0), ("C", 0), ("D", 1), ("A", 0)]),
            ["bound", "any", "gem-C", "far", "any"]
        );
    }

    #[test]
    fn an_entry_stays_with_its_meter_over_a_restart() {
        let mut entries = make(&[entry("any", None, 0)], &[row("A", "any")]);
        assert_eq!(names(&mut entries, &[("B", 0), ("A", 0)]), ["gem-B", "any"]);
    }

    #[test]
    fn a_name_that_an_entry_has_is_not_given_to_an_adopted_meter() {
        let mut entries = make(&[entry("gem-A", Some("B"), 0)], &[]);
        assert_eq!(names(&mut entries, &[("A", 0)]), ["gem-A-new"]);
    }

    #[test]
    fn a_renamed_meter_keeps_its_entry_and_its_name() {
        let mut registry = Registry::new(Make::Brultech);
        let changed = Changed { now: Some("main".into()), file: Some("any".into()) };
        let record = Record { name: Some(changed), ..Record::default() };
        registry.put("A", record, &mut Changes::default());
        let rows = [row("A", "main"), row("B", "gem-B")];
        let settings = [entry("any", None, 0)];
        let mut entries = Entries::new(&settings, &rows, registry.clone());
        assert_eq!(names(&mut entries, &[("B", 0), ("A", 0)]), ["gem-B", "main"]);
        // Edited since: the file wins, and it is said once.
        let mut entries = Entries::new(&[entry("home", None, 0)], &rows, registry);
        assert_eq!(names(&mut entries, &[("A", 0)]), ["home"]);
        assert_eq!(entries.registry.get("A"), Record::default());
        let kinds: Vec<NoticeKind> = entries.notices.iter().map(|notice| notice.kind).collect();
        assert_eq!(kinds, [NoticeKind::Overruled]);
    }

    #[test]
    fn who_is_blocked_replaced_or_not_permitted_is_turned_away_and_told_once() {
        let mut entries = make(&[entry("house", Some("A"), 0)], &[row("K", "gem-K")]);
        put(&mut entries, "B", Record { blocked: true, ..Record::default() });
        put(&mut entries, "R", Record { replaced_by: Some("A".into()), ..Record::default() });
        put(&mut entries, "W", Record { accepted: true, ..Record::default() });
        entries.registry.permit(false, &mut Changes::default());
        let heard = ["A", "K", "B", "R", "U", "U", "W"].map(|serial| (serial, 0));
        assert_eq!(
            names(&mut entries, &heard),
            ["house", "gem-K", "blocked", "replaced", "not_permitted", "not_permitted", "gem-W"]
        );
        let blocked = entries.notices.iter().filter(|one| one.kind == NoticeKind::Blocked);
        assert_eq!(blocked.count(), 3);
    }

    #[test]
    fn a_successor_has_the_entry_of_the_meter_before_it() {
        let mut registry = Registry::new(Make::Brultech);
        let replaced = Record { replaced_by: Some("B".into()), ..Record::default() };
        registry.put("A", replaced, &mut Changes::default());
        let settings = [entry("house", Some("A"), 0)];
        let mut entries = Entries::new(&settings, &[], registry.clone());
        assert_eq!(names(&mut entries, &[("B", 0), ("A", 0)]), ["house", "replaced"]);
        // The file has caught up.
        let mut entries = Entries::new(&[entry("house", Some("B"), 0)], &[], registry);
        assert_eq!(names(&mut entries, &[("B", 0), ("A", 0)]), ["house", "replaced"]);
    }
}
