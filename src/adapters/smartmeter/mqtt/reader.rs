//! From messages of devices on the gateway's broker to frames. No socket in here, and `now` is passed in.
//!
//! On these topics speak devices, the gateway itself, and perhaps other gateways about meters of their own.
//! Who is who: a name that the gateway writes under is a device's only if the device is called the same;
//! another gateway's meter has `state/availability`, which no device has.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use meter_protocols::smartmeter::mqtt::{self, InfoMessage, StreamSample};
use meter_protocols::smartmeter::{Kind, Message, Reply};
use tokio::time::{Duration, Instant};

use super::device::{Device, Due};
use super::said::{self, Sampled};
use crate::adapters::smartmeter::{EntrySettings, Frame};
use crate::broker::Received;
use crate::metrics::Metrics;
use crate::publish::{Authored, Holder};
use crate::topic::{DeviceState, DeviceTopics};

/// What is known of devices from elsewhere.
pub(super) trait Elsewhere {
    /// Whether the gateway has a connection to the device, and what it is by that.
    fn connected(&self, device: &str) -> Option<Kind>;

    /// Whether an entry or the disk knows a device of this name.
    fn known(&self, device: &str) -> bool;

    /// What is configured of it.
    fn entry(&self, device: &str) -> Arc<EntrySettings>;
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Work {
    /// Goes to the adapter.
    Frame(Box<Frame>),
    /// The device can be spoken to from here on.
    Arrived(Arc<str>, Kind, Arc<DeviceTopics>),
    /// It cannot any more.
    Left(Arc<str>),
    /// It replied to a command.
    Replied(Arc<str>, Reply),
    /// It has sent a sample of a stream.
    Streamed(Arc<str>, Kind, StreamSample),
    /// Its stream is over.
    StreamOver(Arc<str>),
    /// It is to be asked how it is.
    Ask(String),
    /// Its relay, which it hides under the name that the gateway's meter has as well.
    Unhidden(Arc<str>, bool),
}

/// Listens to all devices.
#[derive(Debug)]
pub(super) struct Reader {
    bases: Vec<Arc<DeviceTopics>>,
    /// Devices that nobody knows are taken in.
    open: bool,
    authored: Authored,
    metrics: Metrics,
    devices: HashMap<Arc<str>, Device>,
    /// Names of other gateways' meters.
    foreign: HashSet<String>,
    /// Names under which a mark stands in the place of the relay's state.
    hidden: HashSet<String>,
    /// Names of which something was said.
    told: HashSet<String>,
    work: Vec<Work>,
}

impl Reader {
    pub(super) fn new(
        bases: Vec<Arc<DeviceTopics>>,
        open: bool,
        authored: Authored,
        metrics: Metrics,
    ) -> Reader {
        Reader {
            bases,
            open,
            authored,
            metrics,
            devices: HashMap::new(),
            foreign: HashSet::new(),
            hidden: HashSet::new(),
            told: HashSet::new(),
            work: Vec::new(),
        }
    }

    /// Takes a message.
    pub(super) fn take(&mut self, received: &Received, now: Instant, elsewhere: &impl Elsewhere) {
        let found = self.bases.iter().find_map(|base| {
            let (device, state) = base.parse(&received.topic)?;
            Some((Arc::clone(base), device.to_owned(), state))
        });
        let Some((base, name, state)) = found else { return };
        if state == DeviceState::Availability {
            return self.note_gateway(&base, name, &received.payload);
        }
        // What was said at some earlier time counts for nothing; only a relay stays as it is.
        if received.retained && state != DeviceState::Switch {
            return;
        }
        match state {
            DeviceState::Sample => self.sampled(&base, &name, &received.payload, now, elsewhere),
            DeviceState::Info => self.told(&name, &received.payload, now),
            DeviceState::Switch => {
                let closed = mqtt::switch(&received.payload);
                self.note_hidden(&base, &name, closed.is_none());
                if let Some(device) = self.devices.get_mut(&*name) {
                    device.switched(closed, received.retained, now);
                }
            }
            DeviceState::Temperature
            | DeviceState::Humidity
            | DeviceState::Light
            | DeviceState::Movement => self.sensed(&name, state, &received.payload, now),
            DeviceState::Availability => {}
        }
        self.collect(&name, now, elsewhere);
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Instant, elsewhere: &impl Elsewhere) {
        let names: Vec<Arc<str>> = self.devices.keys().map(Arc::clone).collect();
        for name in names {
            self.collect(&name, now, elsewhere);
        }
    }

    /// The device was told to do something: how it is afterwards is to be seen.
    pub(super) fn look_again(&mut self, name: &str, now: Instant) {
        if let Some(device) = self.devices.get_mut(name) {
            device.look_again(now);
        }
    }

    /// What has come of it.
    pub(super) fn take_work(&mut self) -> Vec<Work> {
        std::mem::take(&mut self.work)
    }

    fn note_gateway(&mut self, base: &DeviceTopics, name: String, payload: &[u8]) {
        if !base.are_shared() || self.authored.holder(&name).is_some() {
            return;
        }
        if payload.is_empty() {
            self.foreign.remove(&name);
        } else if self.foreign.len() < MOST_NAMES {
            self.foreign.insert(name);
        }
    }

    /// Marks are retained, and may be here before the device is heard.
    fn note_hidden(&mut self, base: &DeviceTopics, name: &str, is_hidden: bool) {
        if !base.are_shared() || !is_hidden {
            self.hidden.remove(name);
        } else if self.hidden.len() < MOST_NAMES {
            self.hidden.insert(name.to_owned());
        }
    }

    /// A device has told how its relay is, where a mark of its own hides that from everybody else.
    fn unhide(&mut self, name: &str, relay: Option<bool>) {
        let Some(closed) = relay else { return };
        let is_ours = |holder: Holder| holder.is_called_as_itself(name);
        if self.authored.holder(name).is_some_and(is_ours) && self.hidden.remove(name) {
            self.work.push(Work::Unhidden(name.into(), closed));
        }
    }

    fn sampled(
        &mut self,
        base: &Arc<DeviceTopics>,
        name: &str,
        payload: &[u8],
        now: Instant,
        elsewhere: &impl Elsewhere,
    ) {
        let sampled = said::sampled(payload);
        let is_gateways = matches!(&sampled, Sampled::Measurement(_, looks) if looks.is_gateways);
        if matches!(sampled, Sampled::Other) && !self.devices.contains_key(name) {
            return;
        }
        if !self.devices.contains_key(name) {
            if !self.is_device(base, name, is_gateways, elsewhere) {
                return;
            }
            if self.devices.len() >= MOST_NAMES {
                return;
            }
            let device = Device::new(name.into(), Arc::clone(base), now);
            self.devices.insert(Arc::clone(device.name()), device);
        }
        let Some(device) = self.devices.get_mut(name) else { return };
        if base.base() != device.topics().base() {
            let text = format!("{} under two first levels of topics", device.topics().base());
            return self
                .say_once(name, &format!("a device publishes below {} and {text}", base.base()));
        }
        if base.are_shared() {
            match &sampled {
                // Ours under the same name, from the time before the device was here.
                Sampled::Measurement(..) if is_gateways && elsewhere.connected(name).is_some() => {
                    return;
                }
                Sampled::Measurement(..) => self.authored.guests().sum(device.name()),
                _ => self.authored.guests().arrive(device.name()),
            }
        }
        self.metrics.packets.increment();
        if matches!(sampled, Sampled::Sampling(false)) {
            self.work.push(Work::StreamOver(Arc::clone(device.name())));
        }
        device.sampled(sampled, now);
    }

    /// A device that is not known yet: whether this is one.
    fn is_device(
        &mut self,
        base: &DeviceTopics,
        name: &str,
        is_gateways: bool,
        elsewhere: &impl Elsewhere,
    ) -> bool {
        if RESERVED.contains(&name)
            || name.len() > LONGEST_NAME
            || name.chars().any(char::is_control)
        {
            self.say_once(
                name,
                "no device can have this name: topics for all devices are called so",
            );
            return false;
        }
        let known = elsewhere.known(name);
        let connected = elsewhere.connected(name).is_some();
        match self.authored.holder(name).filter(|_| base.are_shared()) {
            Some(holder) if !holder.is_called_as_itself(name) => {
                if !is_gateways {
                    self.tell_clash(name, &holder);
                }
                false
            }
            // What comes back of what the gateway writes for it, while it is spoken to elsewhere.
            Some(_) if is_gateways && connected => false,
            None if self.foreign.contains(name) && base.are_shared() && !known => {
                self.say_once(
                    name,
                    "another gateway publishes a meter of this name: it is not taken in here; an entry with this \
                     serial_number would do so",
                );
                false
            }
            _ => known || connected || self.open,
        }
    }

    /// Something of a plug's sensor board: only a temperature has a place in the unified tree.
    fn sensed(&mut self, name: &str, state: DeviceState, payload: &[u8], now: Instant) {
        let Some(device) = self.devices.get_mut(name) else { return };
        let temperature =
            (state == DeviceState::Temperature).then(|| said::temperature(payload)).flatten();
        self.metrics.packets.increment();
        device.sensed(temperature, now);
        if state == DeviceState::Temperature && temperature.is_none() {
            let said = crate::log::shortened(&String::from_utf8_lossy(payload));
            let words = format!("the temperature of a device cannot be read: {said:?}");
            self.say_once(&format!("{name}/{}", state.as_str()), &words);
        }
    }

    fn told(&mut self, name: &str, payload: &[u8], now: Instant) {
        let Some(device) = self.devices.get_mut(name) else { return };
        match said::told(payload, Some(device.kind())) {
            // The gateway's replies carry the `id` that they were asked with, a device's have none.
            InfoMessage::Message(Message::Reply(reply)) if !reply.keys.contains_key("id") => {
                self.work.push(Work::Replied(Arc::clone(device.name()), reply));
            }
            InfoMessage::State { sampling, relay } => {
                device.state(sampling, relay, now);
                self.unhide(name, relay);
            }
            InfoMessage::Stream(sample) => {
                device.streamed(now);
                if device.has_arrived() {
                    let (name, kind) = (Arc::clone(device.name()), device.kind());
                    self.work.push(Work::Streamed(name, kind, sample));
                }
            }
            _ => {}
        }
    }

    /// What is due of a device.
    fn collect(&mut self, name: &str, now: Instant, elsewhere: &impl Elsewhere) {
        let Some(device) = self.devices.get_mut(name) else { return };
        let is_known = elsewhere.known(name) || elsewhere.connected(name).is_some();
        // Whoever else has this name says so within that time.
        if !is_known && self.foreign.contains(name) && device.topics().are_shared() {
            self.authored.guests().leave(name);
            self.devices.remove(name);
            return;
        }
        device.is_surely(elsewhere.connected(name));
        for due in device.due(now, is_known) {
            self.work.push(match due {
                Due::Arrived(kind) => {
                    Work::Arrived(Arc::clone(device.name()), kind, Arc::clone(device.topics()))
                }
                Due::Say => Work::Frame(Box::new(device.frame(
                    elsewhere.connected(name),
                    &elsewhere.entry(name),
                    now,
                ))),
                Due::Ask => Work::Ask(device.topics().state(name)),
                Due::Gone => Work::Left(Arc::clone(device.name())),
            });
        }
        if device.is_gone() {
            self.authored.guests().leave(name);
            self.devices.remove(name);
        }
    }

    fn tell_clash(&mut self, name: &str, holder: &Holder) {
        let serial = holder.serial.as_deref().unwrap_or("not known yet");
        let make = holder.make.as_str();
        self.say_once(
            name,
            &format!(
                "a device publishes under the name of another meter here ({make}, serial number {serial}): it is \
                 not taken in, since nobody could tell the two apart; give that meter another name, or write this \
                 name as the serial_number of its entry"
            ),
        );
    }

    /// Once, however often it happens.
    fn say_once(&mut self, name: &str, words: &str) {
        if self.told.len() < MOST_NAMES && self.told.insert(name.to_owned()) {
            tracing::warn!(device = crate::log::shortened(name), "{words}");
        }
    }
}

/// Last levels of topics for all devices.
const RESERVED: [&str; 5] = ["state", "cmd", "sample", "switch", "switchTS"];
/// Source: protocol note, section 2.5: the firmware stores 20 bytes; some more for others.
const LONGEST_NAME: usize = 64;
/// Whoever makes names up must not fill memory or log.
const MOST_NAMES: usize = 4096;

/// How long a device that nobody knows waits before it is taken in.
pub(super) const HOLD: Duration = Duration::from_secs(2);
