//! Home Assistant over time: which entities it has, by which topic, and whether what comes next
//! would cost one of them its history.

use std::collections::BTreeMap;

use super::{Complaints, Taken, judge, topic_parts};

/// What happened, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A discovery message.
    Published { topic: String, payload: String },
    /// Home Assistant said that it is there.
    Birth,
}

/// A component as it is known: platform, node id, object id.
type Hash = (String, String, String);

/// An entity that Home Assistant has.
#[derive(Debug, Clone)]
struct Known {
    unique_id: String,
    topic: String,
    /// Its topic said that it moves.
    moving: bool,
}

/// Home Assistant.
#[derive(Debug)]
pub(crate) struct Replay {
    prefix: String,
    known: BTreeMap<Hash, Known>,
    /// Every id that was ever given to a component.
    ids: BTreeMap<Hash, String>,
    /// Topics that say that their entities move, and whether they may be cleared.
    old: BTreeMap<String, bool>,
    complaints: Complaints,
}

impl Replay {
    pub(crate) fn new(prefix: &str) -> Replay {
        Replay {
            prefix: prefix.to_owned(),
            known: BTreeMap::new(),
            ids: BTreeMap::new(),
            old: BTreeMap::new(),
            complaints: Vec::new(),
        }
    }

    /// Everything that is wrong so far.
    pub(crate) fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// The unique ids with the topics they are announced on.
    pub(crate) fn entities(&self) -> BTreeMap<String, String> {
        self.known.values().map(|one| (one.unique_id.clone(), one.topic.clone())).collect()
    }

    pub(crate) fn take_all(&mut self, events: &[Event]) {
        events.iter().for_each(|event| self.take(event));
    }

    pub(crate) fn take(&mut self, event: &Event) {
        match event {
            Event::Birth => {
                // Only what has arrived at its new topic may leave the old one.
                for (topic, free) in &mut self.old {
                    let waiting = |one: &Known| one.moving && one.topic == *topic;
                    *free = !self.known.values().any(waiting);
                }
            }
            Event::Published { topic, payload } => match judge(&self.prefix, topic, payload) {
                Err(complaints) => {
                    let all = complaints.into_iter().map(|one| format!("{topic}: {one}"));
                    self.complaints.extend(all);
                }
                Ok(taken) => self.apply(topic, taken),
            },
        }
    }

    fn apply(&mut self, topic: &str, taken: Taken) {
        match taken {
            Taken::Migrating => {
                for one in self.known.values_mut().filter(|one| one.topic == topic) {
                    one.moving = true;
                }
                self.old.insert(topic.to_owned(), false);
            }
            Taken::Cleared => self.clear(topic),
            Taken::Entities { entities, removed } => {
                for (platform, object) in removed {
                    self.known.retain(|(known, _, key), one| {
                        !(*known == platform && *key == object && one.topic == topic)
                    });
                }
                self.old.remove(topic);
                for entity in entities {
                    let id = entity.config["unique_id"].as_str().unwrap_or_default().to_owned();
                    self.add((entity.platform, entity.node, entity.object), id, topic);
                }
            }
        }
    }

    fn add(&mut self, hash: Hash, unique_id: String, topic: &str) {
        let name = format!("{} {} {}", hash.0, hash.1, hash.2);
        if let Some(before) = self.ids.insert(hash.clone(), unique_id.clone())
            && before != unique_id
        {
            self.complaints.push(format!("{name} was {before} and is {unique_id} now"));
        }
        let twice = |(other, one): (&Hash, &Known)| one.unique_id == unique_id && *other != hash;
        if self.known.iter().any(twice) {
            self.complaints.push(format!("{unique_id} is announced twice"));
        }
        if let Some(known) = self.known.get(&hash)
            && known.topic != topic
            && !known.moving
        {
            let elsewhere = &known.topic;
            self.complaints.push(format!("{name} is announced twice: on {topic} and {elsewhere}"));
        }
        let known = Known { unique_id, topic: topic.to_owned(), moving: false };
        self.known.insert(hash, known);
    }

    fn clear(&mut self, topic: &str) {
        match self.old.remove(topic) {
            Some(false) => self.complaints.push(format!("{topic} is cleared too early")),
            Some(true) => {}
            None => {
                let before = self.known.len();
                self.known.retain(|_, one| one.topic != topic);
                let parts = topic_parts(&self.prefix, topic);
                if before == self.known.len() && parts.is_ok_and(|(first, ..)| first == "device") {
                    self.complaints.push(format!("{topic} is cleared and had nothing"));
                }
            }
        }
    }
}
