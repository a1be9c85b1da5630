//! One simulated Fluksometer as it is made: its ids, its documents, and what its sensors have
//! measured at any time. What changes while it runs is in `live.rs`.

use std::sync::Arc;

use serde_json::json;

use super::sensor::{Sections, Sensor, hex};
use super::{Generation, flm02, flm03, flukso_id};
use crate::simulator::house::{EPOCH, House};

/// A simulated Fluksometer; nothing in it changes.
#[derive(Debug)]
pub struct Fluksometer {
    /// Which generation.
    pub generation: Generation,
    /// The device id: 32 hex digits.
    pub id: String,
    /// Ten characters.
    pub serial: String,
    pub(super) sensors: Vec<Sensor>,
    /// Retained messages about the device, in the order in which they are published.
    pub(super) documents: Vec<Retained>,
    pub(super) house: Arc<House>,
    /// Seconds from reading to reading.
    pub(super) step: i64,
    /// Its history begins here: a multiple of 65,536.
    pub(super) begin: i64,
}

/// A message that its broker keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Retained {
    pub(super) topic: String,
    pub(super) payload: String,
    /// At least once, else at most once.
    pub(super) acknowledged: bool,
}

impl Fluksometer {
    /// Fluksometer `n` of a simulation: its ids depend on `n` and the generation alone. `past`: the
    /// seconds of history that it has at `now`, at least.
    pub(super) fn new(
        n: u32,
        generation: Generation,
        house: Arc<House>,
        step: i64,
        (now, past): (i64, i64),
    ) -> Fluksometer {
        let (serial, id) = (serial(generation, n), flukso_id(generation, n));
        let sections = match generation {
            Generation::Flm02 => flm02::sensors(&serial),
            Generation::Flm03 => flm03::sensors(&serial),
        };
        let Sections { document, sensors, .. } = sections;
        let documents = documents(generation, &id, &serial, &json!(document).to_string());
        // There is none from before the house began to count.
        let begin =
            (now - past).max(EPOCH as i64 + FIRST_WINDOW).div_euclid(FIRST_WINDOW) * FIRST_WINDOW;
        Fluksometer { generation, id, serial, sensors, documents, house, step, begin }
    }

    /// The enabled sensor with this id.
    pub(super) fn sensor(&self, id: &str) -> Option<&Sensor> {
        self.sensors.iter().find(|sensor| sensor.id == id)
    }

    /// Ids of the sensors that are enabled, in the order of the device.
    pub fn sensor_ids(&self) -> Vec<&str> {
        self.sensors.iter().map(|sensor| sensor.id.as_str()).collect()
    }

    /// What the device has recorded of a sensor from `from` on and before `to`: Unix seconds and
    /// thousandths, rising in time.
    pub(super) fn recorded(&self, sensor: &Sensor, from: i64, to: i64) -> Vec<(i64, i64)> {
        let period = self.step.max(sensor.source.period());
        // Where the first message within the window is due.
        let first = from.max(self.begin).div_euclid(period) * period;
        let steps = sensor.source.counts_steps();
        let read = |at| {
            let value = match sensor.data_type() {
                "counter" => sensor.source.counter(&self.house, at),
                _ => sensor.source.gauge(&self.house, at),
            };
            value.map(super::value::Value::as_read)
        };
        let mut before = if steps { read(first - period) } else { None };
        let mut found = Vec::new();
        let mut at = first;
        while at < to {
            let value = read(at);
            if at >= from.max(self.begin)
                && let Some(value) = value.filter(|_| !steps || value != before)
            {
                found.push((at, value));
            }
            before = value;
            at += period;
        }
        found
    }
}

/// Ten characters.
pub(super) fn serial(generation: Generation, n: u32) -> String {
    let kind = match generation {
        Generation::Flm02 => "FL02",
        Generation::Flm03 => "FL03",
    };
    format!("{kind}{:06}", 10_001 + n)
}

fn documents(generation: Generation, id: &str, serial: &str, sensor: &str) -> Vec<Retained> {
    let document = |end: &str, payload: String, acknowledged| Retained {
        topic: format!("/device/{id}/{end}"),
        payload,
        acknowledged,
    };
    let kube = document("config/kube", kube(serial), false);
    match generation {
        Generation::Flm02 => vec![kube, document("config/sensor", sensor.to_owned(), false)],
        Generation::Flm03 => {
            let tap = format!("# serial: {serial}\n# firmware: 3.4.0\nok 1 - flash\n");
            vec![
                document("config/flx", flm03::ports().to_string(), true),
                kube,
                document("config/sensor", sensor.to_owned(), true),
                document("test/tap", tap, false),
            ]
        }
    }
}

/// The radio sensors. The keys are not zero as those of a new device are, so that one shows where
/// it should not be.
fn kube(serial: &str) -> String {
    json!({
        "main": {"pair_group": 212, "collect_group": 16, "max_nodes": 30,
            "key": hex(&format!("{serial}/key")), "null_key": hex(&format!("{serial}/null")),
            "encryption": 0, "cache": "/usr/share/kube"},
        "1": {"hw_id": hex(&format!("{serial}/kube/1")), "hw_type": 19218, "sw_version": 1,
            "enable": 1, "name": "garden"}
    })
    .to_string()
}

/// A window of level 16: histories of simulators started on the same day mostly begin alike.
const FIRST_WINDOW: i64 = 65_536;
