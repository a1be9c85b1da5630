//! When what is announced, moved, or taken back. No sockets, no disk, no clock: what happens comes
//! in by calls, and [`take_work`](Announcer::take_work) gives what is to be done about it.

mod overview;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::describe;
use super::document::{Announcement, Document};
use super::heard::Heard;
use super::kept::{Change, Kept, Out, Stored};
use super::{BRIDGE, Form, Settings, bridge, energy};
use crate::model::{Device, DeviceId, ReadingSet};
use crate::topic::DiscoveryTopics;

/// See the module's words.
#[derive(Debug)]
pub struct Announcer {
    settings: Settings,
    topics: DiscoveryTopics,
    kept: Kept,
    meters: HashMap<DeviceId, Heard>,
    /// When everything is announced again, because Home Assistant said that it is there.
    due: Option<Instant>,
    /// Topics that were cleared by ourselves, and when: we hear of that as if somebody else had.
    cleared: HashMap<String, Instant>,
    /// The last that Home Assistant said of itself since the gateway started.
    there: Option<bool>,
    /// What there is to see has changed.
    news: bool,
    work: Work,
}

/// What is to be done, in this order.
#[derive(Debug, Default, PartialEq)]
pub struct Work {
    /// To keep before anything is published.
    pub first: Vec<Change>,
    /// To publish, retained.
    pub messages: Vec<Announcement>,
    /// To keep when that is done.
    pub then: Vec<Change>,
    /// Retained messages that somebody else has cleared, and that must not come again.
    pub forget: Vec<String>,
    /// What happened, for `meterbridge/bridge/event`.
    pub events: Vec<Value>,
}

/// Why a device is not offered again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// There is none.
    #[error("no meter is called {0:?}, and none has that id")]
    Unknown(String),
    /// Nothing is announced.
    #[error("nothing is announced: homeassistant.discovery is none")]
    Off,
    /// The gateway is stopping.
    #[error("the gateway could not do it")]
    Lost,
}

/// What a topic says whose entities move to another.
pub const MIGRATE: &str = r#"{"migrate_discovery": true}"#;

/// How long our own clearing of a topic may take to come back to us.
const ECHO: Duration = Duration::from_secs(30);

impl Announcer {
    /// An announcer that goes on from what was kept.
    pub fn new(settings: Settings, kept: Kept) -> Announcer {
        Announcer {
            topics: DiscoveryTopics::new(&*settings.prefix),
            settings,
            kept,
            meters: HashMap::new(),
            due: None,
            cleared: HashMap::new(),
            there: None,
            news: true,
            work: Work::default(),
        }
    }

    /// Begins: what is out in another form is told that it moves, what is out under another prefix
    /// is taken back, and all that is known is announced. Comes before anything else.
    pub fn begin(&mut self, now: Instant) {
        let all: Vec<(String, Out)> =
            self.kept.topics.iter().map(|(topic, out)| (topic.clone(), out.clone())).collect();
        let Some(form) = self.settings.form else {
            all.into_iter().for_each(|(topic, _)| self.clear(topic, now));
            return;
        };
        for (topic, out) in all {
            if !self.topics.owns(&topic) {
                self.clear(topic, now);
            } else if out.form() != form {
                let component = out.component.clone();
                self.put(topic, Out { migrating: true, ..out }, MIGRATE.to_owned(), component);
            }
        }
        self.update(BRIDGE, &bridge::document());
        self.announce_all(now);
    }

    /// Takes in what a meter said.
    pub fn readings(&mut self, set: &ReadingSet, now: Instant) {
        if self.settings.form.is_none() {
            return;
        }
        let heard = self.meters.entry(set.device.id).or_insert_with(|| Heard::new(set));
        heard.take(set);
        self.look_at(set.device.id, now);
    }

    /// What a meter is made of has changed, or what it is called.
    pub fn described(&mut self, device: &Arc<Device>, now: Instant) {
        if let Some(heard) = self.meters.get_mut(&device.id) {
            heard.describe(device);
            self.look_at(device.id, now);
        }
    }

    fn look_at(&mut self, meter: DeviceId, now: Instant) {
        let Some(heard) = self.meters.get_mut(&meter) else { return };
        let id = meter.to_string();
        // A meter's first packet has no power yet.
        let enough = heard.sets >= 2 || self.kept.documents.contains_key(&id);
        if !enough || !std::mem::take(&mut heard.news) {
            return;
        }
        let silence = self.settings.silence.as_secs();
        let before = self.kept.documents.get(&id).and_then(Stored::document);
        let document = describe::meter(&heard.device, &heard.seen, before.as_ref(), silence);
        heard.energy = energy::set(&heard.device, |key| document.components.contains_key(key));
        self.news = true;
        if self.update(&id, &document) {
            self.announce(&id, now);
        }
    }

    /// Home Assistant says that it is there, or that it goes. `delay`: how long to wait, so that
    /// not everybody talks to it at once.
    pub fn status(&mut self, online: bool, now: Instant, delay: Duration) {
        self.there = Some(online);
        self.news = true;
        if online && self.settings.form.is_some() {
            self.due.get_or_insert(now + delay);
        }
    }

    /// When [`timeout`](Self::timeout) is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Announces everything again if that is due, and clears the topics that nothing is on any more.
    pub fn timeout(&mut self, now: Instant) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        self.due = None;
        self.announce_all(now);
        let moved = self.kept.topics.iter().filter(|(_, out)| out.migrating);
        let moved: Vec<String> = moved.map(|(topic, _)| topic.clone()).collect();
        moved.into_iter().for_each(|topic| self.clear(topic, now));
        // Home Assistant has been told what is gone.
        for (id, stored) in self.kept.documents.iter_mut().filter(|(_, one)| one.removes) {
            let Some(mut document) = stored.document() else { continue };
            document.removed.clear();
            if let Some(less) = Stored::of(&document) {
                *stored = less.clone();
                self.work.then.push(Change::Document(id.clone(), Some(less)));
            }
        }
    }

    /// Somebody published on a topic of discovery. An empty one of ours: the user deleted it.
    pub fn published(&mut self, topic: &str, payload: &[u8], now: Instant) {
        if !payload.is_empty() {
            return;
        }
        self.cleared.retain(|_, at| now.duration_since(*at) < ECHO);
        let Some(out) = self.kept.topics.get(topic).filter(|out| !out.migrating) else { return };
        if self.cleared.remove(topic).is_some() {
            return;
        }
        let Out { device, component, .. } = out.clone();
        let name = self.name(&device);
        self.news = true;
        self.kept.topics.remove(topic);
        self.work.first.push(Change::Topic(topic.to_owned(), None));
        self.work.first.push(Change::Deleted(device.clone(), component.clone(), true));
        self.work.forget.push(topic.to_owned());
        let what = component.as_deref().map_or_else(String::new, |key| format!("{key} of "));
        self.work.events.push(json!({
            "type": "homeassistant",
            "kind": "deleted",
            "meter": name,
            "id": device,
            "component": component,
            "message": format!(
                "{what}{name} was deleted in home assistant and is not announced again; the request \
                 announce offers it again"
            ),
        }));
        self.kept.deleted.insert((device, component));
    }

    /// Offers again what the user deleted: of one device, by id or name, or everything. Answers the
    /// ids of what is announced.
    ///
    /// # Errors
    /// When there is no such device, or nothing is announced at all.
    pub fn offer(&mut self, device: Option<&str>, now: Instant) -> Result<Vec<String>, OfferError> {
        if self.settings.form.is_none() {
            return Err(OfferError::Off);
        }
        let ids: BTreeSet<String> = match device {
            None => self.kept.deleted.iter().map(|(id, _)| id.clone()).collect(),
            Some(wanted) => {
                let is_it = |id: &str| id == wanted || self.name(id) == wanted;
                let ids = self.kept.documents.keys().filter(|id| is_it(id));
                let ids: BTreeSet<String> = ids.cloned().collect();
                if ids.is_empty() {
                    let wanted: String = wanted.chars().take(64).collect();
                    return Err(OfferError::Unknown(wanted));
                }
                ids
            }
        };
        self.news = true;
        let again: Vec<_> =
            self.kept.deleted.iter().filter(|(id, _)| ids.contains(id)).cloned().collect();
        for (id, component) in again {
            self.work.first.push(Change::Deleted(id.clone(), component.clone(), false));
            self.kept.deleted.remove(&(id, component));
        }
        ids.iter().for_each(|id| self.announce(id, now));
        Ok(ids.into_iter().collect())
    }

    /// A meter is not known any more: nothing of it stays.
    pub fn forget(&mut self, id: DeviceId, now: Instant) {
        self.news = true;
        self.meters.remove(&id);
        let id = id.to_string();
        let topics = self.kept.topics.iter().filter(|(_, out)| out.device == id);
        let topics: Vec<String> = topics.map(|(topic, _)| topic.clone()).collect();
        topics.into_iter().for_each(|topic| self.clear(topic, now));
        let deleted: Vec<_> =
            self.kept.deleted.iter().filter(|(device, _)| *device == id).cloned().collect();
        for (device, component) in deleted {
            self.work.first.push(Change::Deleted(device.clone(), component.clone(), false));
            self.kept.deleted.remove(&(device, component));
        }
        if self.kept.documents.remove(&id).is_some() {
            self.work.then.push(Change::Document(id, None));
        }
    }

    /// What is to be done now.
    pub fn take_work(&mut self) -> Work {
        std::mem::take(&mut self.work)
    }

    /// Keeps a document; answers whether it is another than before.
    fn update(&mut self, id: &str, document: &Document) -> bool {
        let Some(stored) = Stored::of(document) else { return false };
        if self.kept.documents.get(id) == Some(&stored) {
            return false;
        }
        self.news = true;
        self.work.first.push(Change::Document(id.to_owned(), Some(stored.clone())));
        self.kept.documents.insert(id.to_owned(), stored);
        true
    }

    /// The gateway first, so that the others have something to hang on.
    fn announce_all(&mut self, now: Instant) {
        self.announce(BRIDGE, now);
        let others = self.kept.documents.keys().filter(|id| *id != BRIDGE);
        let others: Vec<String> = others.cloned().collect();
        others.iter().for_each(|id| self.announce(id, now));
    }

    fn announce(&mut self, id: &str, now: Instant) {
        let document = self.kept.documents.get(id).and_then(Stored::document);
        let (Some(form), Some(document)) = (self.settings.form, document) else { return };
        let wanted = |key: &str| {
            let deleted = |component| self.kept.deleted.contains(&(id.to_owned(), component));
            !deleted(None) && !deleted(Some(key.to_owned()))
        };
        let messages = document.announce(id, form, &self.topics, wanted);
        let said: BTreeSet<&str> = messages.iter().map(|one| &*one.topic).collect();
        let stale = self.kept.topics.iter().filter(|(topic, out)| {
            out.device == id && out.form() == form && !said.contains(&***topic)
        });
        let stale: Vec<String> = stale.map(|(topic, _)| topic.clone()).collect();
        for Announcement { topic, component, payload } in messages {
            let out = Out { device: id.to_owned(), component: component.clone(), migrating: false };
            self.put(topic, out, payload, component);
        }
        stale.into_iter().for_each(|topic| self.clear(topic, now));
    }

    fn put(&mut self, topic: String, out: Out, payload: String, component: Option<String>) {
        if self.kept.topics.get(&topic) != Some(&out) {
            self.news = true;
            self.work.first.push(Change::Topic(topic.clone(), Some(out.clone())));
            self.kept.topics.insert(topic.clone(), out);
        }
        self.work.messages.push(Announcement { topic, component, payload });
    }

    fn clear(&mut self, topic: String, now: Instant) {
        self.news = true;
        let out = self.kept.topics.remove(&topic);
        self.cleared.insert(topic.clone(), now);
        self.work.then.push(Change::Topic(topic.clone(), None));
        let component = out.and_then(|out| out.component);
        self.work.messages.push(Announcement { topic, component, payload: String::new() });
    }

    fn is_deleted(&self, id: &str) -> bool {
        self.kept.deleted.contains(&(id.to_owned(), None))
    }

    /// What people call a device.
    fn name(&self, id: &str) -> String {
        self.kept.documents.get(id).map_or_else(|| id.to_owned(), |one| one.name.to_string())
    }
}

impl Out {
    fn form(&self) -> Form {
        if self.component.is_some() { Form::Component } else { Form::Device }
    }
}

#[cfg(test)]
mod tests;
