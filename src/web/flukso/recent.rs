//! The gauges of the last minute, of every meter: what a Fluksometer serves by itself.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::bus::Queue;
use crate::model::{Device, DeviceId, ReadingSet, SensorId, Update, Value};

/// The last minute. A row a second and meter, four bytes a sensor: 17 kB for a GEM that sends each
/// second.
#[derive(Debug, Default)]
pub struct Recent {
    meters: RwLock<HashMap<DeviceId, Minute>>,
}

#[derive(Debug)]
struct Minute {
    device: Arc<Device>,
    /// Since when each sensor has had a gauge, Unix seconds.
    since: Vec<Option<i64>>,
    /// Oldest first, one a second.
    rows: VecDeque<Row>,
}

#[derive(Debug)]
struct Row {
    second: i64,
    /// By the place of the sensor; [`NONE`] where it said nothing.
    gauges: Box<[i32]>,
}

impl Recent {
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
            Update::Readings(set) => {
                let mut meters = self.meters.write();
                let meter = meters.entry(set.device.id).or_insert_with(|| Minute::new(&set.device));
                meter.hear(set);
            }
            Update::Forgotten { device, .. } => {
                self.meters.write().remove(device);
            }
            Update::Backlog(_)
            | Update::Availability { .. }
            | Update::Relay { .. }
            | Update::Correction(_)
            | Update::Renamed { .. }
            | Update::Described(_)
            | Update::Notice(_) => {}
        }
    }

    /// Every second of the minute that ends at `now` (Unix seconds) since the sensor first had a
    /// gauge. A gauge stands for the seconds before it as well, back to the gauge before; `None`
    /// stands for the seconds after the last. `None` for the whole: no meter has such a sensor.
    pub(in crate::web) fn minute(
        &self,
        sensor: SensorId,
        now: i64,
    ) -> Option<Vec<(i64, Option<i32>)>> {
        let meters = self.meters.read();
        let find = |minute: &Minute| minute.device.sensors.iter().position(|one| one.id == sensor);
        let (minute, place) = meters.values().find_map(|minute| Some((minute, find(minute)?)))?;
        let Some(since) = minute.since.get(place).copied().flatten() else {
            return Some(Vec::new());
        };
        let gauges = minute.rows.iter().filter_map(|row| {
            let value = row.gauges.get(place).copied().filter(|value| *value != NONE);
            Some((row.second, value?))
        });
        let mut gauges = gauges.peekable();
        let seconds = (now - LENGTH + 1).max(since)..=now;
        let values = seconds.map(|second| {
            while gauges.next_if(|(at, _)| *at < second).is_some() {}
            (second, gauges.peek().map(|(_, value)| *value))
        });
        Some(values.collect())
    }
}

impl Minute {
    fn new(device: &Arc<Device>) -> Minute {
        let since = vec![None; device.sensors.len()];
        Minute { device: Arc::clone(device), since, rows: VecDeque::new() }
    }

    fn hear(&mut self, set: &ReadingSet) {
        if !Arc::ptr_eq(&self.device, &set.device) {
            let ids = |device: &Device| device.sensors.iter().map(|one| one.id).collect::<Vec<_>>();
            if ids(&self.device) != ids(&set.device) {
                *self = Minute::new(&set.device);
            }
            self.device = Arc::clone(&set.device);
        }
        let second = set.at.seconds();
        let gauges = set.readings.iter().filter_map(|reading| match reading.value {
            Value::Gauge(value) => Some((usize::from(reading.sensor), whole(value.to_f64()))),
            Value::Counter(_) => None,
        });
        let mut gauges = gauges.peekable();
        if gauges.peek().is_none() {
            return;
        }
        let Some(at) = self.row(second) else { return };
        let Minute { since, rows, .. } = self;
        let Some(row) = rows.get_mut(at) else { return };
        for (place, value) in gauges {
            if let Some(gauge) = row.gauges.get_mut(place) {
                *gauge = value;
            }
            if let Some(since) = since.get_mut(place) {
                *since = Some(since.map_or(second, |first| first.min(second)));
            }
        }
    }

    /// The place of this second's row, made where there is none; `None` when it is over already. What
    /// is too old is dropped.
    fn row(&mut self, second: i64) -> Option<usize> {
        let newest = self.rows.back().map_or(second, |row| row.second.max(second));
        while self.rows.front().is_some_and(|row| row.second <= newest - LENGTH) {
            self.rows.pop_front();
        }
        if second <= newest - LENGTH {
            return None;
        }
        let place = self.rows.partition_point(|row| row.second < second);
        if self.rows.get(place).is_none_or(|row| row.second != second) {
            let gauges = vec![NONE; self.device.sensors.len()].into_boxed_slice();
            self.rows.insert(place, Row { second, gauges });
        }
        Some(place)
    }
}

fn whole(value: f64) -> i32 {
    // The cast keeps to what an i32 can hold; the lowest means that there is none.
    (value.round() as i32).max(NONE + 1)
}

/// Seconds that are kept.
const LENGTH: i64 = 60;
const NONE: i32 = i32::MIN;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::directory::tests::device;
    use crate::model::{Milli, Reading, Timestamp};

    fn gauge(device: &Arc<Device>, place: u16, second: i64, thousandths: i64) -> Update {
        let reading = Reading { sensor: place, value: Value::Gauge(Milli(thousandths)) };
        Update::Readings(Arc::new(ReadingSet {
            device: Arc::clone(device),
            at: Timestamp(second * 1000 + 999),
            pulses: [None; 4],
            readings: vec![reading],
        }))
    }

    /// `captures/flukso/localapi/pulse.json`.
    #[test]
    fn the_minute_is_what_a_fluksometer_serves() {
        let text = include_str!("../../../tests/captures/flukso/pulse.json");
        let case: serde_json::Value = serde_json::from_str(text).unwrap();
        let messages = case["gauge_messages"].as_array().unwrap().iter().map(|message| {
            let message: (i64, i64, String) =
                serde_json::from_str(message.as_str().unwrap()).unwrap();
            (message.0, message.1)
        });
        let messages: Vec<_> = messages.collect();
        let house = Arc::new(device("house"));
        let sensor = house.sensors[1].id;
        for served in case["served"].as_array().unwrap() {
            let recent = Recent::default();
            let now = served["now"].as_i64().unwrap();
            for (second, value) in messages.iter().filter(|(second, _)| *second <= now) {
                recent.take(&gauge(&house, 1, *second, *value * 1000));
                // Another sensor of the meter changes nothing.
                recent.take(&gauge(&house, 0, *second, 5000));
            }
            let minute = recent.minute(sensor, now).unwrap();
            assert_eq!(super::super::local::body(&minute), served["body"], "{now}");
        }
    }

    #[test]
    fn odd_times_and_values_do_no_harm() {
        let recent = Recent::default();
        let house = Arc::new(device("house"));
        let sensor = house.sensors[1].id;
        assert_eq!(recent.minute(sensor, 100), None);
        recent.take(&gauge(&house, 0, 100, 1));
        assert_eq!(recent.minute(sensor, 100), Some(Vec::new()));
        for (second, value) in [(200, 2_500), (198, 1_400), (100, 9_000), (200, i64::MAX)] {
            recent.take(&gauge(&house, 1, second, value));
        }
        let minute = recent.minute(sensor, 201).unwrap();
        let wanted = [(198, Some(1)), (199, Some(i32::MAX)), (200, Some(i32::MAX)), (201, None)];
        assert_eq!(minute, wanted);
        let mut other = device("house");
        other.sensors.swap(0, 1);
        recent.take(&gauge(&Arc::new(other), 0, 202, 7_000));
        assert_eq!(recent.minute(sensor, 202), Some(vec![(202, Some(7))]));
        recent.take(&Update::Forgotten { name: "house".into(), device: house.id });
        assert_eq!(recent.minute(sensor, 202), None);
    }
}
