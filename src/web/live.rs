//! What happens, for those who look at the status page: one hub, and a bounded queue for each of
//! them.
//!
//! Nobody is waited for. A listener that falls behind loses what it missed and gets everything anew
//! as it is then, so that what it shows is right again. A meter is told of twice a second at most.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::{MissedTickBehavior, interval};

use super::views::{ClientView, Now};
use crate::broker::{FilterError, Link, Received, Roster};
use crate::bus::Queue;
use crate::command::directory::{Directory, Meter};
use crate::log::{self, Line};
use crate::metrics::Metrics;
use crate::model::{Device, DeviceId, Update};
use crate::topic::{BridgeTopic, Topic};

/// The hub; see [`follow`](Live::follow).
#[derive(Debug)]
pub struct Live {
    directory: Arc<Directory>,
    roster: Option<Roster>,
    sender: broadcast::Sender<Happening>,
    /// The latest events and lines, for who comes later.
    recent: Mutex<VecDeque<Happening>>,
    /// What `meterbridge/bridge/homeassistant` says; JSON.
    announced: Mutex<Option<Arc<str>>>,
    /// The latest list of clients.
    clients: Mutex<Arc<[ClientView]>>,
    places: Arc<Semaphore>,
    metrics: Metrics,
}

/// Something to tell the listeners.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    /// New values of a meter; JSON.
    Readings(Arc<str>, Arc<str>),
    /// A meter came or went.
    Availability(Arc<str>, bool),
    /// There is another meter, or one that is not what it was.
    Meters,
    /// The clients of the broker.
    Clients(Arc<[ClientView]>),
    /// What `meterbridge/bridge/homeassistant` says; JSON.
    HomeAssistant(Arc<str>),
    /// What `meterbridge/bridge/event` says; JSON.
    Event(Arc<str>),
    /// A line of the log; JSON.
    Log(Arc<str>),
}

/// The place of one listener, and what it hears.
#[derive(Debug)]
pub(super) struct Ear {
    pub(super) receiver: broadcast::Receiver<Happening>,
    /// What happened before, oldest first.
    pub(super) before: Vec<Happening>,
    _place: OwnedSemaphorePermit,
    _counted: crate::metrics::Held,
}

impl Live {
    /// A hub about these meters and clients.
    pub fn new(directory: Arc<Directory>, roster: Option<Roster>, metrics: Metrics) -> Arc<Live> {
        Arc::new(Live {
            directory,
            roster,
            sender: broadcast::channel(WAITING).0,
            recent: Mutex::default(),
            announced: Mutex::default(),
            clients: Mutex::new(Arc::new([])),
            places: Arc::new(Semaphore::new(LISTENERS)),
            metrics,
        })
    }

    /// Passes on what happens until the bus is closed.
    ///
    /// # Errors
    /// When the gateway's own events cannot be subscribed to.
    pub async fn follow(
        self: Arc<Self>,
        updates: Arc<Queue<Update>>,
        link: Link,
    ) -> Result<(), FilterError> {
        let subscribe = |topic| link.subscribe(&Topic::Bridge(topic).to_string());
        let mut events = subscribe(BridgeTopic::Event)?;
        let mut announced = subscribe(BridgeTopic::HomeAssistant)?;
        let mut lines = log::subscribe();
        let mut waiting = VecDeque::new();
        let mut seen = Seen::default();
        let [mut tick, mut look] = [READINGS_EVERY, CLIENTS_EVERY].map(interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                open = updates.drain(&mut waiting) => {
                    for update in waiting.drain(..) {
                        self.take(&update, &mut seen);
                    }
                    if !open {
                        return Ok(());
                    }
                }
                Some(event) = events.recv() => {
                    // An event that is retained is not ours, or an old one.
                    if let Some(event) = json_of(&event).filter(|_| !event.retained) {
                        self.keep(Happening::Event(event));
                    }
                }
                Some(overview) = announced.recv() => {
                    if let Some(overview) = json_of(&overview) {
                        *self.announced.lock() = Some(Arc::clone(&overview));
                        self.tell(Happening::HomeAssistant(overview));
                    }
                }
                line = lines.recv() => {
                    if let Ok(line) = line {
                        self.keep(Happening::Log(text(&line)));
                    }
                }
                _ = tick.tick() => self.tell_readings(&mut seen),
                _ = look.tick() => self.look_at_clients(),
            }
        }
    }

    fn take(&self, update: &Update, seen: &mut Seen) {
        match update {
            Update::Readings(set) => {
                if seen.is_new(&set.device) {
                    seen.changed = TELL_TWICE;
                }
                seen.hear(&set.device.name);
            }
            Update::Availability { name, online } => {
                self.tell(Happening::Availability(Arc::clone(name), *online));
            }
            Update::Renamed { .. } | Update::Described(_) | Update::Forgotten { .. } => {
                seen.changed = TELL_TWICE;
            }
            // They come back as events.
            Update::Relay { name, .. } => seen.hear(name),
            Update::Correction(_) | Update::Notice(_) | Update::Backlog(_) => {}
        }
    }

    /// Tells of every meter that spoke since the last time.
    fn tell_readings(&self, seen: &mut Seen) {
        if seen.changed > 0 {
            seen.changed -= 1;
            self.tell(Happening::Meters);
        }
        if self.sender.receiver_count() == 0 {
            seen.take_spoke(usize::MAX);
            return;
        }
        // Some at a time: the bus waits for this task.
        for name in seen.take_spoke(METERS_AT_A_TIME) {
            if let Some(Meter::Heard(heard)) = self.directory.find(&name) {
                let values = Now::of(&heard);
                let text = json!({
                    "name": *name, "last_seen": heard.at.seconds(), "online": heard.online,
                });
                let text = merge(text, &values);
                self.tell(Happening::Readings(name, text.into()));
            }
        }
    }

    fn look_at_clients(&self) {
        let Some(roster) = self.roster.as_ref().filter(|_| self.sender.receiver_count() > 0) else {
            return;
        };
        let list = clients(roster);
        let changed = {
            let mut before = self.clients.lock();
            let changed = **before != *list;
            before.clone_from(&list);
            changed
        };
        if changed {
            self.tell(Happening::Clients(list));
        }
    }

    fn keep(&self, happening: Happening) {
        let mut recent = self.recent.lock();
        if recent.len() >= KEPT {
            recent.pop_front();
        }
        recent.push_back(happening.clone());
        // Under the lock, so that who begins to listen gets it once.
        self.tell(happening);
    }

    fn tell(&self, happening: Happening) {
        // There may be nobody.
        let _ = self.sender.send(happening);
    }

    /// A place for one more listener; `None` when all are taken.
    pub(super) fn listen(&self) -> Option<Ear> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let recent = self.recent.lock();
        let (receiver, before) = (self.sender.subscribe(), recent.iter().cloned().collect());
        drop(recent);
        let counted = self.metrics.web_viewers.hold();
        Some(Ear { receiver, before, _place: place, _counted: counted })
    }

    /// What `meterbridge/bridge/homeassistant` says.
    pub(super) fn announced(&self) -> Option<Arc<str>> {
        self.announced.lock().clone()
    }

    /// The clients of the broker; none where it is elsewhere.
    pub(super) fn clients(&self) -> Arc<[ClientView]> {
        self.roster.as_ref().map_or_else(|| Arc::new([]) as Arc<[_]>, clients)
    }
}

/// What was seen of the meters.
#[derive(Debug, Default)]
struct Seen {
    devices: HashMap<DeviceId, Arc<Device>>,
    /// Who spoke since it was told, each once, the first first.
    spoke: VecDeque<Arc<str>>,
    waiting: HashSet<Arc<str>>,
    /// How often the list is still to be told.
    changed: u8,
}

impl Seen {
    fn hear(&mut self, name: &Arc<str>) {
        if self.waiting.insert(Arc::clone(name)) {
            self.spoke.push_back(Arc::clone(name));
        }
    }

    fn take_spoke(&mut self, most: usize) -> Vec<Arc<str>> {
        let count = self.spoke.len().min(most);
        let taken: Vec<_> = self.spoke.drain(..count).collect();
        for name in &taken {
            self.waiting.remove(name);
        }
        taken
    }

    fn is_new(&mut self, device: &Arc<Device>) -> bool {
        let known = self.devices.get(&device.id);
        if known.is_some_and(|known| Arc::ptr_eq(known, device)) {
            return false;
        }
        let changed = known.is_none_or(|known| **known != **device);
        self.devices.insert(device.id, Arc::clone(device));
        changed
    }
}

/// The message, if it is one line of JSON and not too long: nothing else fits into the stream. Another
/// program may have written to the topic.
fn json_of(message: &Received) -> Option<Arc<str>> {
    let text = std::str::from_utf8(&message.payload).ok()?;
    let fits = text.len() <= LONGEST_MESSAGE
        && !text.contains(['\r', '\n'])
        && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
    fits.then(|| text.into())
}

fn text(line: &Line) -> Arc<str> {
    line.to_json().to_string().into()
}

fn clients(roster: &Roster) -> Arc<[ClientView]> {
    roster.list().into_iter().map(ClientView::from).collect()
}

/// Both objects in one.
fn merge(head: serde_json::Value, values: &Now) -> String {
    let mut text = head.to_string();
    // Plain data that was parsed or counted here always has a JSON form.
    let rest = serde_json::to_string(values).unwrap_or_default();
    if let (true, Some(rest)) = (text.ends_with('}'), rest.strip_prefix('{')) {
        text.pop();
        text.push(',');
        text.push_str(rest);
    }
    text
}

/// Of how many meters is told each time: a thousand a second need not be read by anybody.
const METERS_AT_A_TIME: usize = 200;
/// How often a meter is told of at most.
const READINGS_EVERY: Duration = Duration::from_millis(500);
/// The directory hears of a change by a queue of its own, and may be behind at the first time.
const TELL_TWICE: u8 = 2;
const CLIENTS_EVERY: Duration = Duration::from_secs(2);
/// What may wait for a listener.
const WAITING: usize = 256;
/// Events and lines kept for who comes later.
const KEPT: usize = 100;
/// Listeners at a time.
const LISTENERS: usize = 64;
const LONGEST_MESSAGE: usize = 1024 * 1024;
