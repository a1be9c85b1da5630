//! Meters that leave: removed, or with another that goes on in their place.

use std::sync::Arc;

use serde_json::Value;

use super::{Outcome, check_serial};
use crate::adapters::fleet::Meter;
use crate::adapters::fleet::adapter::{Listening, Meters};
use crate::adapters::fleet::kept;
use crate::model::{Device, Make, NoticeKind, Update};
use crate::registry::change::ChangeError;
use crate::registry::record::{Changed, Record};
use crate::store::MeterRow;

impl<M: Meter> Meters<M> {
    pub(super) fn remove(&mut self, meter: &str, block: bool) -> Result<Outcome, ChangeError> {
        let serial = self.find(meter)?;
        if let Some(entry) = self.entry_of(&serial) {
            return Err(ChangeError::Invalid(format!(
                "meter {serial} has an entry in the configuration (meters, name: {entry}): take it \
                 out there and restart"
            )));
        }
        let mut outcome = Outcome::default();
        self.identify(&serial, &mut outcome);
        let message = match block {
            true => "removed by request, and not let in again",
            false => "removed by request; should it be heard again, it is a new meter",
        };
        self.note(NoticeKind::Removed, &serial, message.to_owned());
        self.forget(&serial, &mut outcome);
        let record = Record { blocked: block, ..Record::default() };
        self.entries.registry.forget_predecessors(&serial, &mut outcome.changes);
        self.entries.registry.put(&serial, record, &mut outcome.changes);
        outcome.data.insert("blocked".to_owned(), Value::Bool(block));
        Ok(outcome)
    }

    pub(super) fn replace(&mut self, meter: &str, by: &str) -> Result<Outcome, ChangeError> {
        let old = self.find(meter)?;
        if M::MAKE == Make::Fluksometer {
            let words = "a Fluksometer brings its own ids and histories along, so none goes on in the place of another";
            return Err(ChangeError::Invalid(words.to_owned()));
        }
        let new = check_serial::<M>(by)?;
        self.check_successor(&old, &new)?;
        let Some(member) = self.entries.known.get(&old).cloned() else {
            return Err(ChangeError::Unknown(format!("no meter is called {meter:?}")));
        };
        let mut outcome = Outcome::default();
        // What the new one was so far ends here.
        let shadow = self.heard_as(&new).map(|listening| Arc::clone(listening.meter.device()));
        if self.entries.known.contains_key(&new) {
            self.forget(&new, &mut outcome);
        }
        self.hand_over(&old, &new, &member.name, &mut outcome);

        let registry = &mut self.entries.registry;
        let record = registry.get(&old);
        let identity = record.identity.clone().unwrap_or_else(|| old.to_string());
        // An adopted meter would be called after its own serial number.
        let name = || Changed { now: Some(member.name.to_string()), file: None };
        let record = Record {
            name: record.name.or_else(|| member.entry.is_none().then(name)),
            identity: (*identity != *new).then_some(identity),
            accepted: true,
            blocked: false,
            replaced_by: None,
            channels: record.channels,
        };
        let gone = Record { replaced_by: Some(new.to_string()), ..Record::default() };
        registry.put(&old, gone, &mut outcome.changes);
        registry.put(&new, record, &mut outcome.changes);
        self.entries.known.remove(&old);
        self.entries.known.insert(Arc::clone(&new), member.clone());
        if let Some(entry) = member.entry.and_then(|place| self.entries.entries.get_mut(place)) {
            entry.taken_by = Some(Arc::clone(&new));
        }
        self.entries.strangers.remove(&new);
        let before = shadow.map(|shadow| format!(", which was {} before,", shadow.name));
        let message = format!(
            "meter {new}{} goes on in the place of meter {old}; totals go on with its first packet",
            before.unwrap_or_default()
        );
        self.note(NoticeKind::Replaced, &new, message);
        outcome.tell("replaced", &old);
        self.identify(&new, &mut outcome);
        Ok(outcome)
    }

    fn check_successor(&self, old: &str, new: &str) -> Result<(), ChangeError> {
        let own = self.entries.known.get(old).and_then(|member| member.entry);
        let refusal = if old == new {
            format!("meter {new} is that meter already")
        } else if self.entries.is_named(new, own) {
            format!(
                "meter {new} has an entry of its own in the configuration: take it out there and \
                 restart"
            )
        } else if let Some(entry) = self.entry_of(new) {
            format!(
                "meter {new} is the one of the entry {entry:?} in the configuration, and cannot be \
                 two meters"
            )
        } else {
            return Ok(());
        };
        Err(ChangeError::Invalid(refusal))
    }

    /// Hands the totals of one meter to another. The next packet of either begins anew.
    fn hand_over(
        &mut self,
        old: &Arc<str>,
        new: &Arc<str>,
        name: &Arc<str>,
        outcome: &mut Outcome,
    ) {
        let (listening, row) = self.take(old);
        if let Some(row) = row {
            let row = kept::hand_over(row, new, name);
            outcome.changes.keep_meter(row.clone());
            self.kept.insert(Arc::clone(new), row);
        }
        outcome.changes.drop_meter(M::MAKE, old);
        let Some(listening) = listening else { return };
        if listening.online {
            let name = Arc::clone(name);
            outcome.updates.push(Update::Availability { name, online: false });
        }
        // The same meter to whoever looks at it, with another number on its case.
        let device = listening.meter.device();
        let device = Device { serial: Arc::clone(new), ..Device::clone(device) };
        outcome.updates.push(Update::Described(Arc::new(device)));
    }

    /// Forgets a meter: its state, its name and what is retained of it.
    fn forget(&mut self, serial: &Arc<str>, outcome: &mut Outcome) {
        let device = self.entries.device_id(serial);
        self.take(serial);
        outcome.changes.drop_meter(M::MAKE, serial);
        if let Some(member) = self.entries.known.remove(serial) {
            outcome.updates.push(Update::Forgotten { name: member.name, device });
        }
    }

    /// Takes a meter out of the list of those that were heard, with its state if there is one.
    fn take(&mut self, serial: &str) -> (Option<Listening<M>>, Option<MeterRow>) {
        let kept = self.kept.remove(serial);
        let heard = self.key_of(serial).and_then(|key| self.heard.remove(&key));
        if heard.as_ref().is_some_and(|listening| listening.online) {
            self.online -= 1;
        }
        let row = heard.as_ref().and_then(|listening| listening.row()).or(kept);
        (heard, row)
    }
}
