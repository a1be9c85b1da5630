//! What of a meter belongs into the Energy dashboard, so that nothing is counted twice.
//!
//! What a house takes is measured where it comes in: grid, solar and battery. Loads are behind that,
//! so they are devices of the dashboard and never a second source.

use serde_json::{Map, Value, json};

use crate::model::{Device, Quantity, Role, Sensor, SensorType, is_clamp};

/// The set of one meter: unique ids by their place in the dashboard. `None` when it has nothing
/// for it.
pub(super) fn set(device: &Device, has: impl Fn(&str) -> bool) -> Option<Value> {
    let unique = |key: String| has(&key).then(|| json!(format!("{}_{key}", device.id)));
    let mut set = Map::new();
    let mut add = |place: &str, entry: Value| {
        let list = set.entry(place).or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(entry);
        }
    };
    for sensor in
        device.sensors.iter().filter(|one| one.quantity == Quantity::PPlus && is_clamp(one))
    {
        let energy = |field: &str| unique(format!("{}_{field}", sensor.channel));
        let (taken, given, power) = (energy("energy"), energy("energy_export"), energy("power"));
        let entry = |pairs: &[(&str, Option<Value>)]| {
            let known = pairs.iter().filter_map(|(key, id)| Some(((*key).to_owned(), id.clone()?)));
            let name = ("name".to_owned(), json!(*sensor.name));
            Value::Object(std::iter::once(name).chain(known).collect())
        };
        match sensor.role {
            Role::Grid => {
                add("grid", entry(&[("from", taken), ("to", given), ("power", power)]));
            }
            Role::Solar => add("solar", entry(&[("production", given), ("power", power)])),
            Role::Battery => {
                add("battery", entry(&[("from", given), ("to", taken), ("power", power)]));
            }
            Role::Load => add("devices", entry(&[("energy", taken), ("power", power)])),
        }
    }
    for sensor in &device.sensors {
        let total = || unique(format!("{}_total", sensor.channel));
        if let Some((place, id)) = pulse_place(sensor).and_then(|place| Some((place, total()?))) {
            add(place, json!({"name": *sensor.name, "energy": id}));
        }
    }
    if set.is_empty() {
        return None;
    }
    set.insert("meter".to_owned(), json!(*device.name));
    Some(Value::Object(set))
}

/// Electricity that is counted in pulses is a device: what it is behind is not known.
fn pulse_place(sensor: &Sensor) -> Option<&'static str> {
    match (sensor.quantity, sensor.kind) {
        (Quantity::Pulse, SensorType::Gas) => Some("gas"),
        (Quantity::Pulse, SensorType::Water) => Some("water"),
        (Quantity::Pulse, SensorType::Electricity) => Some("devices"),
        _ => None,
    }
}
