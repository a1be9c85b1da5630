//! A meter as far as it was heard since the gateway started.

use std::sync::Arc;

use serde_json::Value;

use super::classes::Of;
use super::describe::Seen;
use crate::model::{Channel, Device, ReadingSet, Value as Reading};

/// A meter that was heard since the gateway started.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) device: Arc<Device>,
    pub(super) seen: Seen,
    /// Something was seen that the document may lack.
    pub(super) news: bool,
    pub(super) sets: u32,
    /// What of it belongs into the Energy dashboard.
    pub(super) energy: Option<Value>,
}

impl Heard {
    pub(super) fn new(set: &ReadingSet) -> Heard {
        Heard {
            device: Arc::clone(&set.device),
            seen: Seen::none(set.device.sensors.len()),
            news: true,
            sets: 0,
            energy: None,
        }
    }

    pub(super) fn describe(&mut self, device: &Arc<Device>) {
        if !Arc::ptr_eq(&self.device, device) {
            if self.device != *device {
                // What was seen of it is in its document by now.
                self.seen = Seen::none(device.sensors.len());
                self.news = true;
            }
            self.device = Arc::clone(device);
        }
    }

    pub(super) fn take(&mut self, set: &ReadingSet) {
        self.sets = self.sets.saturating_add(1);
        self.describe(&set.device);
        for reading in &set.readings {
            let of = match reading.value {
                Reading::Counter(_) => Of::Counter,
                Reading::Gauge(_) => Of::Gauge,
            };
            self.news |= self.seen.note(usize::from(reading.sensor), of);
        }
        for (place, sensor) in set.device.sensors.iter().enumerate() {
            if let Channel::Pulse(n) = sensor.channel
                && set.pulses.get(usize::from(n) - 1).is_some_and(Option::is_some)
            {
                self.news |= self.seen.note(place, Of::Count);
            }
        }
    }
}
