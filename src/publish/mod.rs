//! From readings to the unified tree: the last step before the broker.
//!
//! One batch a packet: first the documents that describe the meter, when it is new or has
//! changed, then its readings, then what is summed up of them.

mod authored;
mod balance;
mod batch;
mod bridge;
mod channels;
mod documents;
mod guests;
mod health;
mod log;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::broker::{BrokerStats, Crowded, Link};
use crate::bus::Queue;
use crate::metrics::Metrics;
use crate::model::{Device, DeviceId, Latest, ReadingSet, Timestamp, Update, Value};
use crate::topic::{BridgeTopic, MeterState, Topic};

pub use authored::{Authored, Holder};
use batch::Batch;
use bridge::Bridge;
pub(crate) use bridge::{Described, describe};
pub(crate) use channels::write_channels;
pub(crate) use documents::section_text as sensor_section_text;
pub use guests::Guests;
pub(crate) use health::Health;
use log::Log;

/// Turns updates into messages until the bus is closed.
#[derive(Debug)]
pub struct Publisher {
    link: Link,
    metrics: Metrics,
    authored: Authored,
    bridge: Bridge,
    meters: HashMap<DeviceId, Known>,
    online: BTreeMap<Arc<str>, bool>,
    /// Whether a relay is closed, by the name of the meter.
    relays: HashMap<Arc<str>, bool>,
    batch: Batch,
    devices_changed: bool,
    /// Whom the latest batch was too much for.
    crowded: Crowded,
    health: Health,
    log: Log,
    /// What was last told of [`Metrics::restart_required`].
    restart_required: bool,
}

/// A meter whose documents are out, and its latest values by the place of the sensor.
#[derive(Debug)]
struct Known {
    device: Arc<Device>,
    latest: Vec<Latest>,
    pulses: [Option<u64>; 4],
    heard: Option<Timestamp>,
    sampled: Option<Timestamp>,
}

impl Publisher {
    /// A publisher over this link.
    pub fn new(link: Link, metrics: Metrics) -> Publisher {
        Publisher {
            link,
            metrics,
            authored: Authored::default(),
            bridge: Bridge::new(Timestamp::now()),
            meters: HashMap::new(),
            online: BTreeMap::new(),
            relays: HashMap::new(),
            batch: Batch::default(),
            devices_changed: true,
            crowded: Crowded::default(),
            health: Health::new(),
            log: Log::new(),
            restart_required: false,
        }
    }

    /// Lets `meterbridge/bridge/health` tell of the embedded broker as well.
    #[must_use]
    pub fn with_broker(mut self, stats: Arc<BrokerStats>) -> Publisher {
        self.health = self.health.with_broker(stats);
        self
    }

    /// Whose messages are written here, for those who listen on the same broker.
    pub fn authored(&self) -> Authored {
        self.authored.clone()
    }

    /// Says that the gateway is there, and that no meter has been heard yet. Comes before the broker
    /// serves anybody: what is retained from the last run says what was true then.
    pub fn begin<'a>(&mut self, meters: impl Iterator<Item = &'a str>) {
        self.bridge.state(&mut self.batch, true);
        self.bridge.info(&mut self.batch, self.restart_required);
        for name in meters {
            let topic = Topic::Meter(name.to_owned(), MeterState::Availability);
            self.batch.retained(&topic, "offline");
        }
        self.send();
    }

    /// Publishes until `updates` is closed, then says that the gateway is gone.
    pub async fn run(
        mut self,
        updates: Arc<Queue<Update>>,
    ) -> Result<(), std::convert::Infallible> {
        let mut waiting = VecDeque::new();
        // The list of meters is published at most once a second, however many appear at once.
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut health = interval(HEALTH_INTERVAL);
        health.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                open = updates.drain(&mut waiting) => {
                    for update in waiting.drain(..) {
                        self.take(update);
                        std::mem::take(&mut self.crowded).wait().await;
                    }
                    if !open {
                        break;
                    }
                }
                _ = tick.tick() => {
                    self.publish_devices();
                    self.publish_info();
                }
                line = self.log.next() => self.publish_line(&line),
                _ = health.tick() => self.publish_health(),
            }
        }
        self.publish_devices();
        self.bridge.state(&mut self.batch, false);
        self.send();
        Ok(())
    }

    fn take(&mut self, update: Update) {
        self.metrics.meters.note(&update);
        match update {
            Update::Readings(set) => self.readings(&set),
            Update::Availability { name, online } => {
                let state = if online { "online" } else { "offline" };
                let topic = Topic::Meter(name.to_string(), MeterState::Availability);
                self.batch.retained(&topic, state);
                self.devices_changed |= self.online.insert(name, online) != Some(online);
            }
            Update::Correction(correction) => self.bridge.correction(&mut self.batch, &correction),
            Update::Renamed { from, to } => self.rename(&from, to),
            Update::Described(device) => self.describe(&device),
            Update::Forgotten { name, device } => self.forget(&name, device),
            Update::Relay { name, closed } => self.relay(&name, closed),
            Update::Backlog(_) => {}
            Update::Notice(notice) => self.bridge.notice(&mut self.batch, &notice),
        }
        self.send();
    }

    fn readings(&mut self, set: &ReadingSet) {
        let known = self.meters.entry(set.device.id).or_insert_with(|| Known::unknown(set));
        if known.is_changed(set) {
            self.authored.add_all(&set.device);
            documents::publish(&mut self.batch, &set.device);
            known.update(&set.device);
            self.devices_changed = true;
        }
        let seconds = set.at.seconds();
        // A Fluksometer that publishes here has done so already.
        let is_there = set.device.own.as_ref().is_some_and(|own| own.on_our_broker);
        for reading in &set.readings {
            let place = usize::from(reading.sensor);
            let (Some(sensor), Some(latest)) =
                (set.device.sensors.get(place), known.latest.get_mut(place))
            else {
                continue;
            };
            match reading.value {
                Value::Counter(value) => {
                    latest.counter = Some(value);
                    let unit = sensor.counter.map_or("", |unit| unit.as_str());
                    if !is_there {
                        self.batch.reading(&Topic::Counter(sensor.id), seconds, value, unit);
                    }
                }
                Value::Gauge(value) => {
                    latest.gauge = Some(value);
                    let unit = sensor.gauge.map_or("", |unit| unit.as_str());
                    if !is_there {
                        self.batch.reading(&Topic::Gauge(sensor.id), seconds, value, unit);
                    }
                }
            }
        }
        // What a gas meter said an hour ago is summed up with the next telegram.
        if !set.is_of_attached() {
            known.pulses = set.pulses;
            let name = &set.device.name;
            let relay = self.relays.get(name).copied();
            let sums = !self.authored.guests().sums(name);
            channels::publish(&mut self.batch, known, relay, set.at, sums);
        }
    }

    /// Nothing of the meter is left under its old name.
    fn rename(&mut self, from: &Arc<str>, to: Arc<str>) {
        let online = self.online.remove(from).unwrap_or(false);
        let topic = |name: &str| Topic::Meter(name.to_owned(), MeterState::Availability);
        self.batch.retained(&topic(from), "");
        self.batch.retained(&topic(&to), if online { "online" } else { "offline" });
        if let Some(closed) = self.relays.remove(from) {
            self.clear_relay(from);
            self.relay(&to, closed);
        }
        self.online.insert(to, online);
        self.devices_changed = true;
    }

    /// A meter that speaks here under the same name has said so itself.
    fn relay(&mut self, name: &Arc<str>, closed: bool) {
        self.relays.insert(Arc::clone(name), closed);
        if !self.authored.guests().is_there(name) {
            self.batch.retained(&Topic::Meter(name.to_string(), MeterState::Switch), closed);
        }
    }

    fn clear_relay(&mut self, name: &str) {
        if !self.authored.guests().is_there(name) {
            self.batch.retained(&Topic::Meter(name.to_owned(), MeterState::Switch), "");
        }
    }

    /// A meter that was not heard yet is described with its first packet, unless it has described
    /// itself.
    fn describe(&mut self, device: &Arc<Device>) {
        if device.own.is_some() {
            self.meters.entry(device.id).or_insert_with(|| Known {
                device: Arc::clone(device),
                latest: Vec::new(),
                pulses: [None; 4],
                heard: None,
                sampled: None,
            });
        }
        if let Some(known) = self.meters.get_mut(&device.id)
            && (known.latest.is_empty() || known.device != *device)
        {
            self.authored.add_all(device);
            documents::publish(&mut self.batch, device);
            known.update(device);
            self.devices_changed = true;
        }
    }

    fn forget(&mut self, name: &Arc<str>, device: DeviceId) {
        let topic = Topic::Meter(name.to_string(), MeterState::Availability);
        self.batch.retained(&topic, "");
        if self.relays.remove(name).is_some() {
            self.clear_relay(name);
        }
        documents::clear(&mut self.batch, device);
        self.online.remove(name);
        self.meters.remove(&device);
        self.devices_changed = true;
    }

    fn publish_health(&mut self) {
        let health = self.health.look(&self.metrics);
        let topic = Topic::Bridge(BridgeTopic::Health);
        self.batch.live(&topic, |text| text.push_str(&health.to_string()));
        self.send();
    }

    fn publish_line(&mut self, line: &serde_json::Value) {
        let topic = Topic::Bridge(BridgeTopic::Log);
        self.batch.live(&topic, |text| text.push_str(&line.to_string()));
        self.send();
    }

    /// Says so when the configuration on disk is no longer the one that runs.
    fn publish_info(&mut self) {
        let required = self.metrics.restart_required.get() > 0;
        if std::mem::replace(&mut self.restart_required, required) != required {
            self.bridge.info(&mut self.batch, required);
            self.send();
        }
    }

    fn publish_devices(&mut self) {
        if std::mem::take(&mut self.devices_changed) {
            let devices = self.meters.values().map(|known| &*known.device);
            self.bridge.devices(&mut self.batch, devices, &self.online);
            self.send();
        }
    }

    fn send(&mut self) {
        self.metrics.published.add(self.batch.len() as u64);
        let (batch, link) = (&mut self.batch, &self.link);
        self.crowded = crate::log::while_publishing(|| batch.send(link));
    }
}

/// How often the gateway says how it is.
const HEALTH_INTERVAL: Duration = Duration::from_secs(10);

impl Known {
    fn unknown(set: &ReadingSet) -> Known {
        Known {
            device: Arc::clone(&set.device),
            latest: Vec::new(),
            pulses: set.pulses,
            heard: None,
            sampled: None,
        }
    }

    /// Whether the documents that are out, if any, describe another meter than the set's.
    fn is_changed(&self, set: &ReadingSet) -> bool {
        self.latest.is_empty()
            || (!Arc::ptr_eq(&self.device, &set.device) && self.device != set.device)
    }

    /// Takes over the device; values stay with their sensors.
    fn update(&mut self, device: &Arc<Device>) {
        let sensors = self.device.sensors.iter().map(|sensor| sensor.id);
        let before: HashMap<_, _> = sensors.zip(self.latest.iter().copied()).collect();
        let now = device.sensors.iter();
        self.latest = now.map(|one| before.get(&one.id).copied().unwrap_or_default()).collect();
        self.device = Arc::clone(device);
    }
}
