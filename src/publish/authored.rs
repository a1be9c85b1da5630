//! Whose documents and readings the gateway publishes itself, so that it never takes its own messages
//! for those of a Fluksometer: not as they come back from its own broker, nor by way of a bridge, nor
//! as they were retained in an earlier run.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::model::{Device, DeviceId, SensorId};

/// The devices and sensors that the gateway writes of. Clones are the same list.
#[derive(Debug, Clone, Default)]
pub struct Authored(Arc<RwLock<Ids>>);

#[derive(Debug, Default)]
struct Ids {
    devices: HashSet<DeviceId>,
    sensors: HashSet<SensorId>,
}

impl Authored {
    /// The gateway writes of this device.
    pub fn add(&self, device: DeviceId) {
        self.0.write().devices.insert(device);
    }

    /// The same, with its sensors, before anything of it is published.
    pub fn add_all(&self, device: &Device) {
        if device.own.as_ref().is_some_and(|own| own.on_our_broker) {
            return;
        }
        let mut ids = self.0.write();
        ids.devices.insert(device.id);
        ids.sensors.extend(device.sensors.iter().map(|sensor| sensor.id));
    }

    /// Whether it writes of this device.
    pub fn has(&self, device: DeviceId) -> bool {
        self.0.read().devices.contains(&device)
    }

    /// Whether it writes of this sensor.
    pub fn has_sensor(&self, sensor: SensorId) -> bool {
        self.0.read().sensors.contains(&sensor)
    }
}
