//! Whose documents and readings the gateway publishes itself, so that it never takes its own messages
//! for those of a Fluksometer: not as they come back from its own broker, nor by way of a bridge, nor
//! as they were retained in an earlier run.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::RwLock;

use super::Guests;
use crate::model::{Device, DeviceId, Make, SensorId};

/// The devices, sensors and names that the gateway writes of. Clones are the same list.
#[derive(Debug, Clone, Default)]
pub struct Authored {
    ids: Arc<RwLock<Ids>>,
    guests: Guests,
}

#[derive(Debug, Default)]
struct Ids {
    devices: HashSet<DeviceId>,
    sensors: HashSet<SensorId>,
    names: HashMap<Arc<str>, Holder>,
}

/// Whose name it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The make of the meter.
    pub make: Make,
    /// Its serial number, where that is known.
    pub serial: Option<Arc<str>>,
}

impl Holder {
    /// Whether it may be a meter that calls itself by this name, and no other.
    pub(crate) fn is_called_as_itself(&self, name: &str) -> bool {
        let itself = self.serial.as_deref().is_none_or(|own| own == name);
        self.make == Make::Smartmeter && itself
    }
}

impl Authored {
    /// The gateway writes of this device.
    pub fn add(&self, device: DeviceId) {
        self.ids.write().devices.insert(device);
    }

    /// The gateway writes under `powermeter/<name>/…`, of this meter. Once it has, a name stays: what was
    /// written is still on its way.
    pub fn add_name(&self, name: &Arc<str>, make: Make, serial: Option<&Arc<str>>) {
        let holder = Holder { make, serial: serial.cloned() };
        self.ids.write().names.insert(Arc::clone(name), holder);
    }

    /// Whose name this is, if the gateway writes under it.
    pub fn holder(&self, name: &str) -> Option<Holder> {
        self.ids.read().names.get(name).cloned()
    }

    /// Who writes under such names as well.
    pub fn guests(&self) -> &Guests {
        &self.guests
    }

    /// The same, with its sensors, before anything of it is published.
    pub fn add_all(&self, device: &Device) {
        self.add_name(&device.name, device.make, Some(&device.serial));
        if device.own.as_ref().is_some_and(|own| own.on_our_broker) {
            return;
        }
        let mut ids = self.ids.write();
        ids.devices.insert(device.id);
        ids.sensors.extend(device.sensors.iter().map(|sensor| sensor.id));
    }

    /// Whether it writes of this device.
    pub fn has(&self, device: DeviceId) -> bool {
        self.ids.read().devices.contains(&device)
    }

    /// Whether it writes of this sensor.
    pub fn has_sensor(&self, sensor: SensorId) -> bool {
        self.ids.read().sensors.contains(&sensor)
    }
}
