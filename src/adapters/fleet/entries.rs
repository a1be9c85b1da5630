//! Which meters are known, which configuration entry each belongs to, and what it is called.

mod left;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::settings::{LinkId, MeterSettings, Standing};
use crate::ledger::Pending;
use crate::model::{DeviceId, Make, Model, Notice, NoticeKind, Update};
use crate::registry::Registry;
use crate::store::Changes;

/// The entries of the configuration with who has taken them, and what requests have changed.
#[derive(Debug)]
pub(super) struct Entries {
    /// Whose meters these are.
    pub(super) make: Make,
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
            let is_free = |entry: &Entry| entry.taken_by.is_none() && entry.settings.link == link;
            // Who is called as the meter calls itself is meant.
            let namesake = |entry: &Entry| is_free(entry) && *entry.settings.name == **serial;
            let namesake = self.entries.iter().position(namesake);
            namesake.or_else(|| self.entries.iter().position(is_free))
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
            DeviceId::derive(self.make, identity.as_deref().unwrap_or(serial))
        })
    }

    fn adopted_name(&self, serial: &str, model: Model) -> Arc<str> {
        // A serial number may have characters that no topic should.
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let serial_part: String = serial.chars().map(|c| if fits(c) { c } else { '_' }).collect();
        let mut name = format!("{}-{serial_part}", model.as_str());
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
mod tests;
