//! Every meter by name, with its latest values: what commands are answered from.
//!
//! Fed from the bus like the publisher, read by the [`router`](super::router) and the web server.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::bus::Queue;
use crate::model::{
    Device, DeviceId, Latest, Make, ReadingSet, SensorId, Timestamp, Update, Value,
};

/// The meters as of now. Shared; no lock is held for longer than one look.
#[derive(Debug, Default)]
pub struct Directory {
    table: RwLock<Table>,
}

/// A meter that is expected before it is heard: an entry of the configuration, or one kept on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The `<name>` in `powermeter/<name>/…`.
    pub name: Arc<str>,
    /// Its make.
    pub make: Make,
    /// Its serial number, where that is known.
    pub serial: Option<Arc<str>>,
}

/// What is known of one meter.
#[derive(Debug, Clone)]
pub enum Meter {
    /// Nothing came from it since the gateway started.
    Expected(Expected),
    /// It was heard.
    Heard(Arc<Heard>),
}

/// A meter that was heard since the gateway started.
#[derive(Debug, Clone)]
pub struct Heard {
    /// The meter and its sensors.
    pub device: Arc<Device>,
    /// The latest values, one for each of the device's sensors.
    pub latest: Vec<Latest>,
    /// What its bare pulse inputs have counted, by input.
    pub pulses: [Option<u64>; 4],
    /// When it last said something.
    pub at: Timestamp,
    /// Whether it can be heard now.
    pub online: bool,
    /// Whether its relay is closed; `None`: that is not known, or there is none.
    pub relay: Option<bool>,
}

#[derive(Debug, Default)]
struct Table {
    expected: BTreeMap<Arc<str>, Expected>,
    heard: HashMap<DeviceId, Arc<Heard>>,
    names: BTreeMap<Arc<str>, DeviceId>,
    online: HashMap<Arc<str>, bool>,
    relays: HashMap<Arc<str>, bool>,
}

impl Directory {
    /// A directory in which nobody has been heard yet.
    pub fn new(expected: impl Iterator<Item = Expected>) -> Arc<Directory> {
        let mut table = Table::default();
        for one in expected {
            // The first says more: the configuration comes before the disk.
            let name = Arc::clone(&one.name);
            let known = table.expected.entry(name).or_insert_with(|| one.clone());
            if known.serial.is_none() {
                known.serial = one.serial;
            }
        }
        Arc::new(Directory { table: RwLock::new(table) })
    }

    /// Takes in updates until the bus is closed.
    ///
    /// # Errors
    /// None.
    pub async fn follow(self: Arc<Self>, updates: Arc<Queue<Update>>) -> Result<(), Infallible> {
        let mut waiting = VecDeque::new();
        while updates.drain(&mut waiting).await {
            for update in waiting.drain(..) {
                self.take(&update);
            }
        }
        Ok(())
    }

    /// Takes in one update.
    pub fn take(&self, update: &Update) {
        match update {
            Update::Readings(set) => self.table.write().hear(set),
            Update::Availability { name, online } => self.table.write().note(name, *online),
            Update::Relay { name, closed } => self.table.write().note_relay(name, *closed),
            Update::Renamed { from, to } => self.table.write().rename(from, to),
            Update::Described(device) => self.table.write().describe(device),
            Update::Forgotten { name, device } => self.table.write().forget(name, *device),
            Update::Correction(_) | Update::Notice(_) | Update::Backlog(_) => {}
        }
    }

    /// The meter of this name.
    pub fn find(&self, name: &str) -> Option<Meter> {
        self.table.read().find(name)
    }

    /// The meter with this id, if it was heard.
    pub fn device(&self, id: DeviceId) -> Option<Arc<Heard>> {
        self.table.read().heard.get(&id).map(Arc::clone)
    }

    /// The meter that has this sensor, if it was heard, and the sensor's place in it.
    pub fn sensor(&self, id: SensorId) -> Option<(Arc<Heard>, usize)> {
        let table = self.table.read();
        table.heard.values().find_map(|heard| {
            let place = heard.device.sensors.iter().position(|sensor| sensor.id == id)?;
            Some((Arc::clone(heard), place))
        })
    }

    /// All meters, by name.
    pub fn all(&self) -> Vec<Meter> {
        let table = self.table.read();
        let mut names: Vec<&Arc<str>> = table.expected.keys().chain(table.names.keys()).collect();
        names.sort();
        names.dedup();
        names.into_iter().filter_map(|name| table.find(name)).collect()
    }
}

impl Table {
    fn find(&self, name: &str) -> Option<Meter> {
        let heard = self.names.get(name).and_then(|id| self.heard.get(id));
        heard
            .map(|heard| Meter::Heard(Arc::clone(heard)))
            .or_else(|| self.expected.get(name).map(|expected| Meter::Expected(expected.clone())))
    }

    fn hear(&mut self, set: &ReadingSet) {
        let id = set.device.id;
        if self.heard.get(&id).is_none_or(|known| !is_same(&known.device, &set.device)) {
            self.introduce(&set.device);
        }
        let Some(known) = self.heard.get_mut(&id) else { return };
        // Copied only while somebody looks at it.
        let heard = Arc::make_mut(known);
        if !set.is_of_attached() {
            heard.at = set.at;
            heard.pulses = set.pulses;
        }
        for reading in &set.readings {
            if let Some(latest) = heard.latest.get_mut(usize::from(reading.sensor)) {
                match reading.value {
                    Value::Counter(value) => latest.counter = Some(value),
                    Value::Gauge(value) => latest.gauge = Some(value),
                }
            }
        }
    }

    /// A meter that is new, or not what it was; values stay with their sensors.
    fn introduce(&mut self, device: &Arc<Device>) {
        let before = self.heard.remove(&device.id);
        if let Some(before) = &before
            && self.names.get(&before.device.name) == Some(&device.id)
        {
            self.names.remove(&before.device.name);
        }
        self.expected.retain(|name, expected| {
            let is_it =
                expected.make == device.make && expected.serial.as_deref() == Some(&*device.serial);
            !is_it && *name != device.name
        });
        let values: HashMap<_, Latest> = before.iter().flat_map(|one| one.by_sensor()).collect();
        let latest = device.sensors.iter().map(|one| values.get(&one.id).copied());
        let heard = Heard {
            device: Arc::clone(device),
            latest: latest.map(Option::unwrap_or_default).collect(),
            pulses: [None; 4],
            at: Timestamp::default(),
            online: self.online.get(&device.name).copied().unwrap_or(false),
            relay: self.relays.get(&device.name).copied(),
        };
        self.names.insert(Arc::clone(&device.name), device.id);
        self.heard.insert(device.id, Arc::new(heard));
    }

    /// A meter that was heard gets its name with its next description or reading.
    fn rename(&mut self, from: &Arc<str>, to: &Arc<str>) {
        if let Some(expected) = self.expected.remove(from) {
            let expected = Expected { name: Arc::clone(to), ..expected };
            self.expected.insert(Arc::clone(to), expected);
        }
        if let Some(online) = self.online.remove(from) {
            self.online.insert(Arc::clone(to), online);
        }
        if let Some(closed) = self.relays.remove(from) {
            self.relays.insert(Arc::clone(to), closed);
        }
    }

    fn describe(&mut self, device: &Arc<Device>) {
        if let Some(at) = self.heard.get(&device.id).map(|known| known.at) {
            self.introduce(device);
            if let Some(known) = self.heard.get_mut(&device.id) {
                Arc::make_mut(known).at = at;
            }
        }
    }

    fn forget(&mut self, name: &Arc<str>, device: DeviceId) {
        self.expected.remove(name);
        self.online.remove(name);
        self.relays.remove(name);
        self.names.remove(name);
        self.heard.remove(&device);
    }

    fn note_relay(&mut self, name: &Arc<str>, closed: bool) {
        self.relays.insert(Arc::clone(name), closed);
        let heard = self.names.get(name).and_then(|id| self.heard.get_mut(id));
        if let Some(heard) = heard {
            Arc::make_mut(heard).relay = Some(closed);
        }
    }

    fn note(&mut self, name: &Arc<str>, online: bool) {
        self.online.insert(Arc::clone(name), online);
        let heard = self.names.get(name).and_then(|id| self.heard.get_mut(id));
        if let Some(heard) = heard {
            Arc::make_mut(heard).online = online;
        }
    }
}

fn is_same(one: &Arc<Device>, other: &Arc<Device>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

impl Heard {
    fn by_sensor(&self) -> impl Iterator<Item = (SensorId, Latest)> {
        self.device.sensors.iter().map(|sensor| sensor.id).zip(self.latest.iter().copied())
    }
}

impl Meter {
    /// The `<name>` in `powermeter/<name>/…`.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Meter::Expected(expected) => &expected.name,
            Meter::Heard(heard) => &heard.device.name,
        }
    }

    /// Its make.
    pub fn make(&self) -> Make {
        match self {
            Meter::Expected(expected) => expected.make,
            Meter::Heard(heard) => heard.device.make,
        }
    }

    /// Its own serial number, where that is known.
    pub fn serial(&self) -> Option<&Arc<str>> {
        match self {
            Meter::Expected(expected) => expected.serial.as_ref(),
            Meter::Heard(heard) => Some(&heard.device.serial),
        }
    }

    /// Whether it can be heard now.
    pub fn is_online(&self) -> bool {
        matches!(self, Meter::Heard(heard) if heard.online)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::{Channel, Milli, Model, Quantity, Reading, Role, Sensor, SensorType, Unit};

    fn sensor(serial: &str, channel: Channel, quantity: Quantity, role: Role) -> Sensor {
        let (gauge, counter) = match quantity {
            Quantity::PPlus | Quantity::PMinus => (Some(Unit::Watt), Some(Unit::WattHour)),
            Quantity::Vrms => (Some(Unit::Volt), None),
            _ => (Some(Unit::Ampere), None),
        };
        Sensor {
            id: SensorId::derive(Make::Brultech, serial, channel, quantity),
            channel,
            quantity,
            kind: SensorType::Electricity,
            name: channel.to_string().into(),
            role,
            gauge,
            counter,
            constant: None,
            own: None,
        }
    }

    /// A grid clamp, two loads and the voltage.
    pub(crate) fn device(name: &str) -> Device {
        use Quantity::{Irms, PMinus, PPlus, Vrms};
        let serial = "01100603";
        let mut sensors = Vec::new();
        for (n, role) in [(1, Role::Grid), (2, Role::Load), (3, Role::Load)] {
            sensors.push(sensor(serial, Channel::Ch(n), PPlus, role));
            if role == Role::Grid {
                sensors.push(sensor(serial, Channel::Ch(n), PMinus, role));
            }
            sensors.push(sensor(serial, Channel::Ch(n), Irms, role));
        }
        sensors.push(sensor(serial, Channel::Line, Vrms, Role::Load));
        Device {
            id: DeviceId::derive(Make::Brultech, serial),
            make: Make::Brultech,
            model: Model::Gem,
            serial: serial.into(),
            name: name.into(),
            adopted: false,
            new: false,
            sensors,
            own: None,
        }
    }

    /// Every counter and gauge, with values that grow with the place.
    pub(crate) fn readings(name: &str) -> Update {
        let device = Arc::new(device(name));
        let readings = device.sensors.iter().zip(0_u16..).flat_map(|(sensor, place)| {
            let value = Milli(1000 * (i64::from(place) + 1));
            let counter = sensor.counter.map(|_| Value::Counter(Milli(value.0 * 10)));
            let gauge = sensor.gauge.map(|_| Value::Gauge(value));
            counter.into_iter().chain(gauge).map(move |value| Reading { sensor: place, value })
        });
        let readings = readings.collect();
        let at = Timestamp(1_700_000_000_000);
        Update::Readings(Arc::new(ReadingSet { device, at, pulses: [None; 4], readings }))
    }

    pub(crate) fn online(name: &str, online: bool) -> Update {
        Update::Availability { name: name.into(), online }
    }

    fn expected(name: &str, serial: Option<&str>) -> Expected {
        Expected { name: name.into(), make: Make::Brultech, serial: serial.map(Arc::from) }
    }

    #[test]
    fn a_meter_is_renamed_and_forgotten_while_nothing_is_heard_of_it() {
        let directory = Directory::new([expected("any", Some("1"))].into_iter());
        let renamed = |from: &str, to: &str| Update::Renamed { from: from.into(), to: to.into() };
        directory.take(&renamed("any", "one"));
        assert!(directory.find("any").is_none());
        assert_eq!(&**directory.find("one").unwrap().name(), "one");

        directory.take(&online("house", true));
        directory.take(&readings("house"));
        directory.take(&renamed("house", "main"));
        directory.take(&Update::Described(Arc::new(device("main"))));
        let Some(Meter::Heard(main)) = directory.find("main") else { panic!() };
        assert!(main.online && main.at != Timestamp::default());
        assert!(main.latest.iter().any(|latest| latest.counter.is_some()), "values stay");
        assert!(directory.find("house").is_none());

        let forgotten = Update::Forgotten { name: "main".into(), device: device("main").id };
        directory.take(&forgotten);
        assert_eq!(directory.all().len(), 1);
    }

    #[test]
    fn a_meter_is_expected_then_heard_and_follows_its_name() {
        let entries = [expected("house", None), expected("house", Some("01100603"))];
        let directory = Directory::new(entries.into_iter());
        let Some(Meter::Expected(meter)) = directory.find("house") else { panic!() };
        assert_eq!(meter.serial.as_deref(), Some("01100603"));
        directory.take(&online("house", true));
        directory.take(&readings("house"));
        assert!(directory.find("house").unwrap().is_online());
        directory.take(&online("house", false));
        assert!(!directory.find("house").unwrap().is_online());

        directory.take(&online("main", true));
        directory.take(&readings("main"));
        assert!(directory.find("house").is_none());
        let main = directory.find("main").unwrap();
        assert!(main.is_online());
        assert_eq!(directory.all().len(), 1);
        assert_eq!(main.serial().map(|serial| &**serial), Some("01100603"));
    }
}
