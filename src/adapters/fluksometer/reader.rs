//! From messages of one link to frames. No socket and no clock in here: `now` is passed in.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use meter_protocols::flukso::Id;
use meter_protocols::flukso::payload::Reading as Said;
use meter_protocols::flukso::topic::{Document, Topic};
use parking_lot::Mutex;

use super::documents::{State, is_marked};
use super::known::Known;
use super::layout::Layout;
use super::meter::{Frame, Presence};
use super::past::{Ask, Recorded};
use crate::broker::Received;
use crate::metrics::Metrics;
use crate::model::{DeviceId, Milli, Reading, SensorId, Timestamp, Unit, Value};
use crate::publish::Authored;

/// Which link has which device: one device may be seen on several, and is read on one.
pub(super) type Claims = Arc<Mutex<HashMap<Id, usize>>>;

/// Listens on one link.
pub(super) struct Reader {
    place: usize,
    key: String,
    ours: bool,
    claims: Claims,
    authored: Authored,
    metrics: Metrics,
    devices: HashMap<Id, Known>,
    /// The sensors in use: their device and their place there.
    sensors: HashMap<Id, (Id, u16)>,
    recorded: Recorded,
    /// Readings of sensors that are not known yet: their documents may be on the way.
    early: VecDeque<(Timestamp, Arc<str>, bytes::Bytes)>,
}

impl Reader {
    pub(super) fn new(
        place: usize,
        key: String,
        ours: bool,
        claims: Claims,
        authored: Authored,
        metrics: Metrics,
    ) -> Reader {
        Reader {
            place,
            key,
            ours,
            claims,
            authored,
            metrics,
            devices: HashMap::new(),
            sensors: HashMap::new(),
            recorded: Recorded::default(),
            early: VecDeque::new(),
        }
    }

    /// The recorded sensors of this link.
    pub(super) fn recorded(&self) -> Recorded {
        Arc::clone(&self.recorded)
    }

    /// Takes up what an earlier run left of devices on this link.
    pub(super) fn remember(&mut self, states: &[(Id, State)]) {
        for (id, state) in states {
            if state.link == self.key && self.claim(*id) {
                let known = self.devices.entry(*id).or_insert_with(|| Known::new(*id));
                known.documents = state.documents.clone();
                self.understand(*id);
            }
        }
    }

    /// Takes a message that arrived at `now`.
    pub(super) fn take(&mut self, received: &Received, now: Timestamp) {
        let Some(topic) = Topic::parse(&received.topic) else { return };
        match topic {
            Topic::Gauge(sensor) | Topic::Counter(sensor) => {
                // What was said before is no reading, however new it is here.
                if !received.retained {
                    let counts = matches!(topic, Topic::Counter(_));
                    self.reading(sensor, counts, received, now);
                }
            }
            Topic::Config(device, document) => self.document(device, document, received, now),
            Topic::Tap(device) => self.tap(device, received, now),
            Topic::SyncWanted(device) => {
                if let Some(known) = self.devices.get_mut(&device).filter(|_| !received.retained) {
                    (known.ask, known.asked) = (true, None);
                }
            }
            Topic::Block { .. } | Topic::SyncList(_) => {}
        }
    }

    fn document(&mut self, device: Id, document: Document, received: &Received, now: Timestamp) {
        if self.is_not_for_us(device) {
            return;
        }
        let Ok(text) = std::str::from_utf8(&received.payload) else {
            return self.refuse(received, "it is not text");
        };
        if text.is_empty() {
            return;
        }
        if document == Document::Sensor && is_marked(text) {
            return;
        }
        // A message of another device's that was made safe comes back as it was published.
        if self.devices.get(&device).is_some_and(|known| known.published(document, text)) {
            return;
        }
        if let Err(error) = meter_protocols::flukso::document::object(&received.payload) {
            return self.refuse(received, &error.to_string());
        }
        let ours = self.ours;
        let Some(known) = self.make_room(device) else { return };
        let changed = known.documents.put(document, text);
        known.heard(received, ours);
        known.ask |= document == Document::Sensor && ours && !received.retained;
        if changed {
            self.understand_soon(device, now);
        }
    }

    fn tap(&mut self, device: Id, received: &Received, now: Timestamp) {
        if self.is_not_for_us(device) {
            return;
        }
        let text = String::from_utf8_lossy(&received.payload);
        if text.is_empty() || text.len() > MOST_TAP {
            return;
        }
        let ours = self.ours;
        let Some(known) = self.make_room(device) else { return };
        let changed = known.documents.put_tap(&text);
        known.heard(received, ours);
        if changed {
            self.understand_soon(device, now);
        }
    }

    /// Whether nothing of this device is to be read here: the gateway has published it itself, or
    /// another link has it.
    fn is_not_for_us(&self, device: Id) -> bool {
        let other = self.claims.lock().get(&device).is_some_and(|place| *place != self.place);
        other
            || (!self.devices.contains_key(&device) && self.authored.has(DeviceId::from(device.0)))
    }

    /// The device, if there is room for it.
    fn make_room(&mut self, device: Id) -> Option<&mut Known> {
        if self.devices.len() >= MOST_DEVICES && !self.devices.contains_key(&device) {
            return None;
        }
        Some(self.devices.entry(device).or_insert_with(|| Known::new(device)))
    }

    /// A device that was understood before is so at once; a new one when it is clear that no gateway
    /// has written its documents: by its tap, or when none has come for a moment.
    fn understand_soon(&mut self, device: Id, now: Timestamp) {
        let Some(known) = self.devices.get_mut(&device) else { return };
        if known.documents.sensor.is_empty() {
            return;
        }
        if known.layout.is_some() || known.documents.tap.is_some() {
            known.held = None;
            self.admit(device, now);
        } else if known.held.is_none() {
            known.held = Some(now);
        }
    }

    fn admit(&mut self, device: Id, now: Timestamp) {
        let is_new = self.devices.get(&device).is_some_and(|known| known.layout.is_none());
        if self.devices.get(&device).is_some_and(|known| known.documents.is_by_a_gateway()) {
            self.authored.add(DeviceId::from(device.0));
            self.devices.remove(&device);
            return;
        }
        if !self.claim(device) {
            self.devices.remove(&device);
            return;
        }
        self.understand(device);
        if is_new {
            if let Some(known) = self.devices.get_mut(&device) {
                known.ask = true;
            }
            self.replay(now);
        }
    }

    fn claim(&self, device: Id) -> bool {
        *self.claims.lock().entry(device).or_insert(self.place) == self.place
    }

    /// Makes sensors of the documents.
    fn understand(&mut self, device: Id) {
        let Some(known) = self.devices.get_mut(&device) else { return };
        let layout = match Layout::read(device, &known.documents, self.ours) {
            Ok(layout) => Arc::new(layout),
            Err(error) => {
                return tracing::warn!(%device, %error, "the configuration of a fluksometer cannot be read");
            }
        };
        if let Some(before) = &known.layout {
            if **before == *layout {
                return;
            }
            self.sensors.retain(|_, (owner, _)| *owner != device);
            let mut recorded = self.recorded.write();
            for slot in &before.slots {
                recorded.remove(&slot.id);
            }
            // Places may mean other sensors now.
            let gates = std::mem::take(&mut known.gates);
            for ((place, counts), gate) in gates {
                let id = before.slots.get(usize::from(place)).map(|slot| slot.id);
                let now = layout.slots.iter().position(|slot| Some(slot.id) == id);
                if let Some(now) = now.and_then(|now| u16::try_from(now).ok()) {
                    known.gates.insert((now, counts), gate);
                }
            }
            known.groups.clear();
        }
        for (slot, place) in layout.slots.iter().zip(0_u16..) {
            // An id is burned in at the factory; whoever has it first keeps it.
            self.sensors.entry(slot.id).or_insert((device, place));
            if slot.own.as_ref().is_some_and(|own| own.record.is_some()) {
                self.recorded.write().insert(slot.id);
            }
        }
        known.layout = Some(layout);
        known.news = true;
    }

    /// Readings that came before the documents.
    fn replay(&mut self, now: Timestamp) {
        for (at, topic, payload) in std::mem::take(&mut self.early) {
            if now.since(at).as_millis() > EARLY_MS {
                continue;
            }
            let received = Received { topic, payload, retained: false, to_retain: false };
            self.take(&received, at);
        }
    }

    fn reading(&mut self, sensor: Id, counts: bool, received: &Received, now: Timestamp) {
        let Some(&(device, place)) = self.sensors.get(&sensor) else {
            if !self.authored.has_sensor(SensorId::from(sensor.0)) {
                if self.early.len() >= MOST_EARLY {
                    self.early.pop_front();
                }
                let (topic, payload) = (Arc::clone(&received.topic), received.payload.clone());
                self.early.push_back((now, topic, payload));
            }
            return;
        };
        let Some(known) = self.devices.get_mut(&device) else { return };
        let Some(layout) = known.layout.clone() else { return };
        let Some(slot) = layout.slots.get(usize::from(place)) else { return };
        let said = match Said::read(&received.payload) {
            Ok(said) => said,
            Err(error) => return self.refuse(received, &error.to_string()),
        };
        let unit = if counts { slot.counter } else { slot.gauge };
        if unit.map(Unit::as_str) != Some(said.unit) && !is_bare(slot.kind, said.unit) {
            let fits = unit.map_or("it has no such value", Unit::as_str);
            return self.refuse(received, &format!("its unit does not fit the sensor: {fits:?}"));
        }
        let milli = if slot.clamp && !counts { said.clamp_milli() } else { said.milli };
        let value = if counts { Value::Counter(Milli(milli)) } else { Value::Gauge(Milli(milli)) };
        known.put(Reading { sensor: place, value }, counts, said.time, now, &self.metrics);
    }

    /// What is to be handed on of all devices, and whom to ask for the past.
    pub(super) fn flush(&mut self, now: Timestamp) -> (Vec<Frame>, Vec<Ask>) {
        let held: Vec<Id> = self
            .devices
            .iter()
            .filter(|(_, known)| {
                known.held.is_some_and(|since| now.since(since).as_millis() >= HOLD_MS)
            })
            .map(|(id, _)| *id)
            .collect();
        for device in held {
            if let Some(known) = self.devices.get_mut(&device) {
                known.held = None;
            }
            self.admit(device, now);
        }
        let (mut frames, mut asks) = (Vec::new(), Vec::new());
        for (id, known) in &mut self.devices {
            known.frames(*id, &self.key, &mut frames);
            asks.extend(known.question(*id, now));
        }
        (frames, asks)
    }

    /// Whether somebody waits for [`flush`](Reader::flush) at a later time.
    pub(super) fn is_holding(&self) -> bool {
        self.devices.values().any(|known| known.held.is_some())
    }

    /// The connection to the devices' broker is there, or lost.
    pub(super) fn connected(&mut self, there: bool) {
        for known in self.devices.values_mut() {
            if there {
                (known.ask, known.asked) = (true, None);
            } else {
                known.presence = Presence::Gone;
                known.news = true;
            }
        }
    }

    fn refuse(&self, received: &Received, reason: &str) {
        self.metrics.flukso_refused.increment();
        let before = self.metrics.flukso_refused.get();
        // Whoever sends nonsense sends it again and again.
        if before.is_power_of_two() {
            tracing::warn!(
                topic = &*received.topic,
                reason,
                before,
                "a message of a fluksometer is passed over"
            );
        } else {
            tracing::debug!(
                topic = &*received.topic,
                reason,
                "a message of a fluksometer is passed over"
            );
        }
    }
}

/// Pulses of a medium that has no unit.
fn is_bare(kind: crate::model::SensorType, unit: &str) -> bool {
    kind == crate::model::SensorType::Other && unit.is_empty()
}

/// How long the documents of an unknown device wait for its tap, which an FLM02 does not have.
const HOLD_MS: u128 = 2000;
/// How long readings wait for documents.
const EARLY_MS: u128 = 30_000;
const MOST_EARLY: usize = 4096;
/// Whoever makes devices up must not fill memory.
const MOST_DEVICES: usize = 1024;
const MOST_TAP: usize = 64 * 1024;

#[cfg(test)]
mod tests;
