//! Changes that were asked for while the adapter runs: names, channels, who is let in, who goes on
//! in whose place.
//!
//! Each is looked at whole before anything is touched. What it comes to goes to the ledger as one
//! entry, so that it is on disk as a whole or not at all, and told in order with the readings.

mod leaving;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::Meter;
use super::adapter::{Listening, Meters};
use super::entries::Member;
use super::settings::{MeterSettings, Standing};
use crate::config::{channel_faults, name_fault, serial_fault};
use crate::ledger::{Entry, Pending};
use crate::model::{Channel, NoticeKind, Update};
use crate::registry::change::{Asked, Change, ChangeError, Done};
use crate::registry::record::{Changed, ChannelRequest};
use crate::store::Changes;

/// What a change comes to.
#[derive(Debug, Default)]
struct Outcome {
    data: Map<String, Value>,
    changes: Changes,
    updates: Vec<Update>,
}

impl<M: Meter> Meters<M> {
    /// Does what was asked and answers it, as far as the disk has no part in it.
    pub(super) fn answer(&mut self, asked: Asked) -> Option<Entry> {
        match self.change(asked.change) {
            Ok(Outcome { data, mut changes, mut updates }) => {
                if let Some(found) = self.entries.found(&mut updates) {
                    changes.extend(found.changes);
                }
                let (kept, told) = oneshot::channel();
                // Whoever asked may be gone; the change holds.
                let _ = asked.reply.send(Ok(Done { data, kept: told }));
                let change = Some(Box::new(Pending { changes, kept: Some(kept) }));
                Some(Entry { keep: None, change, updates })
            }
            Err(error) => {
                let _ = asked.reply.send(Err(error));
                None
            }
        }
    }

    fn change(&mut self, change: Change) -> Result<Outcome, ChangeError> {
        match change {
            Change::Rename { from, to } => self.rename(&from, &to),
            Change::Configure { meter, channels } => self.configure(&meter, &channels),
            Change::Remove { meter, block } => self.remove(&meter, block),
            Change::Adopt { serial, name } => self.adopt(&serial, name.as_deref()),
            Change::Replace { meter, serial } => self.replace(&meter, &serial),
            Change::Permit(value) => Ok(self.permit(value)),
            Change::Strangers => Ok(self.strangers()),
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<Outcome, ChangeError> {
        let serial = self.find(from)?;
        self.check_name(&serial, to)?;
        let mut outcome = Outcome::default();
        self.name(&serial, to, &mut outcome);
        self.apply(&serial, &mut outcome);
        outcome.tell("from", from);
        outcome.tell("to", to);
        self.identify(&serial, &mut outcome);
        Ok(outcome)
    }

    fn configure(
        &mut self,
        meter: &str,
        channels: &BTreeMap<String, ChannelRequest>,
    ) -> Result<Outcome, ChangeError> {
        let serial = self.find(meter)?;
        let entry = self.entries.known.get(&serial).and_then(|member| member.entry);
        let base = self.entries.base(&serial, entry, None);
        let mut record = self.entries.registry.get(&serial);
        let mut faults = Vec::new();
        let mut told = Map::new();
        for (key, request) in channels {
            let channel = key.parse::<Channel>().ok().filter(|channel| channel.to_string() == *key);
            let before = channel.map(|channel| base.channel(channel).values()).unwrap_or_default();
            record.ask(key, request, &before);
            let now = record.settle_channel(key, before, &mut Vec::new());
            let found = channel_faults(M::KIND, key, &now, request.scales());
            faults.extend(found.into_iter().map(|(part, message)| match part {
                Some(part) => format!("channels.{key}.{part}: {message}"),
                None => format!("channels.{key}: {message}"),
            }));
            told.insert(
                key.clone(),
                json!({
                    "name": now.name, "role": now.role, "multiplier": now.multiplier,
                    "type": now.medium, "constant": now.constant,
                }),
            );
        }
        if !faults.is_empty() {
            return Err(ChangeError::Invalid(faults.join("; ")));
        }
        let mut outcome = Outcome::default();
        record.accepted |= entry.is_none();
        self.entries.registry.put(&serial, record, &mut outcome.changes);
        self.apply(&serial, &mut outcome);
        let names: Vec<&str> = channels.keys().map(String::as_str).collect();
        let message = format!("changed by request: {}", names.join(", "));
        self.note(NoticeKind::Configured, &serial, message);
        self.identify(&serial, &mut outcome);
        outcome.data.insert("channels".to_owned(), Value::Object(told));
        Ok(outcome)
    }

    fn adopt(&mut self, serial: &str, name: Option<&str>) -> Result<Outcome, ChangeError> {
        let serial = check_serial::<M>(serial)?;
        if let Some(entry) = self.entry_of(&serial) {
            return Err(ChangeError::Invalid(format!(
                "meter {serial} has an entry in the configuration (meters, name: {entry})"
            )));
        }
        let mut record = self.entries.registry.get(&serial);
        if let Some(other) = &record.replaced_by {
            return Err(ChangeError::Invalid(format!(
                "meter {other} goes on in the place of meter {serial}: the request replace puts it \
                 back there, remove of the other sets it free"
            )));
        }
        if let Some(name) = name {
            self.check_name(&serial, name)?;
        }
        let mut outcome = Outcome::default();
        (record.accepted, record.blocked) = (true, false);
        self.entries.registry.put(&serial, record, &mut outcome.changes);
        self.entries.strangers.remove(&serial);
        if let Some(name) = name {
            self.name(&serial, name, &mut outcome);
            if !self.entries.known.contains_key(&serial) {
                // It is known by this name before it is heard.
                let name: Arc<str> = name.into();
                let member = Member { name: Arc::clone(&name), entry: None };
                self.entries.known.insert(Arc::clone(&serial), member);
                outcome.updates.push(Update::Availability { name, online: false });
            }
        }
        self.apply(&serial, &mut outcome);
        self.note(NoticeKind::Adopted, &serial, "accepted by request".to_owned());
        self.identify(&serial, &mut outcome);
        Ok(outcome)
    }

    fn permit(&mut self, value: bool) -> Outcome {
        let mut outcome = Outcome::default();
        self.entries.registry.permit(value, &mut outcome.changes);
        tracing::info!(value, "letting in meters that nobody named, by request");
        outcome.data.insert("value".to_owned(), Value::Bool(value));
        outcome
    }

    fn strangers(&self) -> Outcome {
        let strangers = self.entries.strangers.iter().map(|(serial, stranger)| {
            json!({
                "serial": **serial,
                "make": M::MAKE.as_str(),
                "model": stranger.model.as_str(),
                "reason": stranger.reason.as_str(),
            })
        });
        let mut outcome = Outcome::default();
        outcome.data.insert("not_let_in".to_owned(), strangers.collect());
        outcome.data.insert("permit".to_owned(), self.entries.registry.permits().into());
        outcome
    }

    /// The serial number of the meter with this name, serial number or device id.
    fn find(&self, who: &str) -> Result<Arc<str>, ChangeError> {
        let known = &self.entries.known;
        let by_serial = || known.get_key_value(who).map(|(serial, _)| serial);
        let by_id = || {
            let id = who.parse().ok()?;
            known.keys().find(|serial| self.entries.device_id(serial) == id)
        };
        let found = self.entries.holder(who).or_else(by_serial).or_else(by_id);
        found.cloned().ok_or_else(|| {
            ChangeError::Unknown(match self.entries.is_configured(who, None) {
                true => format!(
                    "no meter was heard yet that belongs to the entry {who:?}: till then, change \
                     the configuration"
                ),
                false => format!("no meter has the name, serial number or id {who:?}"),
            })
        })
    }

    /// The name in the configuration of a meter's entry.
    fn entry_of(&self, serial: &str) -> Option<Arc<str>> {
        let entry = self.entries.known.get(serial)?.entry?;
        self.entries.entries.get(entry).map(|entry| Arc::clone(&entry.settings.name))
    }

    fn check_name(&self, serial: &str, name: &str) -> Result<(), ChangeError> {
        if let Some(fault) = name_fault(name) {
            return Err(ChangeError::Invalid(fault));
        }
        let own = self.entries.known.get(serial).and_then(|member| member.entry);
        if self.entries.is_configured(name, own) {
            return Err(ChangeError::Invalid(format!(
                "\"{name}\" is the name of an entry in the configuration; names must be unique"
            )));
        }
        match self.entries.holder(name) {
            Some(holder) if **holder != *serial => Err(ChangeError::Invalid(format!(
                "\"{name}\" is the name of meter {holder}; names must be unique"
            ))),
            _ => Ok(()),
        }
    }

    /// Gives a meter a name that was checked.
    fn name(&mut self, serial: &Arc<str>, to: &str, outcome: &mut Outcome) {
        let file = self.entry_of(serial).map(|name| name.to_string());
        let mut record = self.entries.registry.get(serial);
        record.accepted |= file.is_none();
        let is_the_files = file.as_deref() == Some(to);
        let changed = Changed { now: Some(to.to_owned()), file };
        record.name = (!is_the_files).then_some(changed);
        self.entries.registry.put(serial, record, &mut outcome.changes);
        let Some(member) = self.entries.known.get_mut(serial) else { return };
        let from = std::mem::replace(&mut member.name, to.into());
        if *from != *to {
            outcome.updates.push(Update::Renamed { from: Arc::clone(&from), to: to.into() });
            let message = format!("renamed by request, {from} before");
            self.note(NoticeKind::Renamed, serial, message);
        }
    }

    /// Lets what holds now reach the meter, if it was heard, and what is on disk of it.
    fn apply(&mut self, serial: &Arc<str>, outcome: &mut Outcome) {
        let Some(member) = self.entries.known.get(serial).cloned() else { return };
        let now = self.heard_as(serial).map(|listening| listening.meter.settings().clone());
        if let Some(row) = self.kept.get_mut(serial) {
            row.name = member.name.to_string();
            outcome.changes.keep_meter(row.clone());
        }
        let Some(now) = now else { return };
        let base = self.entries.base(serial, member.entry, Some(&now));
        let settings = self.entries.settle_on(serial, base, member.entry);
        let settings = MeterSettings { name: member.name, ..settings };
        let standing = match member.entry {
            Some(_) => Standing::Configured,
            None if self.entries.registry.get(serial).accepted => Standing::Accepted,
            None => Standing::New,
        };
        let Some(key) = self.key_of(serial) else { return };
        let Some(listening) = self.heard.get_mut(&key) else { return };
        listening.meter.configure(settings, standing);
        if let Some(row) = listening.row() {
            outcome.changes.keep_meter(row);
        }
        outcome.updates.push(Update::Described(Arc::clone(listening.meter.device())));
    }

    fn key_of(&self, serial: &str) -> Option<M::Key> {
        let is_it = |listening: &Listening<M>| *listening.meter.device().serial == *serial;
        self.heard.iter().find(|(_, listening)| is_it(listening)).map(|(key, _)| key.clone())
    }

    fn heard_as(&self, serial: &str) -> Option<&Listening<M>> {
        self.key_of(serial).and_then(|key| self.heard.get(&key))
    }

    fn note(&mut self, kind: NoticeKind, serial: &Arc<str>, message: String) {
        let name = self.entries.known.get(serial).map(|member| Arc::clone(&member.name));
        self.entries.note(kind, name.as_ref(), serial, message);
    }

    /// Tells which meter it is about.
    fn identify(&self, serial: &str, outcome: &mut Outcome) {
        if let Some(member) = self.entries.known.get(serial) {
            outcome.tell("meter", &member.name);
        }
        outcome.tell("serial", serial);
        outcome.tell("id", &self.entries.device_id(serial).to_string());
    }
}

impl Outcome {
    fn tell(&mut self, key: &str, value: &str) {
        self.data.insert(key.to_owned(), Value::String(value.to_owned()));
    }
}

fn check_serial<M: Meter>(serial: &str) -> Result<Arc<str>, ChangeError> {
    match serial_fault(M::KIND, serial) {
        Some(fault) => Err(ChangeError::Invalid(fault)),
        None => Ok(serial.into()),
    }
}

#[cfg(test)]
mod tests;
