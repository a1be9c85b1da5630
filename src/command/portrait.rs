//! The answer to `info`: who the meter is, and what its channels are.
//!
//! The only answer that a meter which cannot be heard has as well.

use serde_json::{Map, Value};

use super::Answer;
use super::directory::Meter;
use crate::model::{Device, Quantity, SensorType, is_clamp};

/// Whatever is known of the meter; what is not is left out.
pub(super) fn info(meter: &Meter) -> Answer {
    let heard = match meter {
        Meter::Heard(heard) => Some(heard),
        Meter::Expected(_) => None,
    };
    let mut info = Map::new();
    let mut tell = |key: &str, value: Value| info.insert(key.to_owned(), value);
    if let Some(heard) = heard {
        tell("type", heard.device.model.as_str().into());
    }
    tell("name", (&**meter.name()).into());
    if let Some(serial) = meter.serial() {
        tell("serial", (&**serial).into());
    }
    tell("make", meter.make().as_str().into());
    if let Some(heard) = heard {
        tell("model", heard.device.model.title().into());
        tell("device", heard.device.id.to_string().into());
        tell("adopted", heard.device.adopted.into());
    }
    tell("online", meter.is_online().into());
    tell("last_seen", heard.map_or(Value::Null, |heard| heard.at.seconds().into()));
    if let Some(closed) = heard.and_then(|heard| heard.relay) {
        tell("relay", closed.into());
    }
    if let Some(heard) = heard {
        tell("channels", Value::Object(described(&heard.device)));
    }
    info
}

/// Name and role, or medium, of each channel.
fn described(device: &Device) -> Map<String, Value> {
    let groups = device.sensors.chunk_by(|one, other| one.channel == other.channel);
    let described = groups.filter_map(|sensors| {
        let sensor = sensors.first()?;
        let mut channel = Map::from_iter([("name".to_owned(), Value::from(&*sensor.name))]);
        if is_clamp(sensor) {
            let role = serde_json::to_value(sensor.role).unwrap_or_default();
            channel.insert("role".to_owned(), role);
        } else if sensor.kind != SensorType::Electricity || sensor.quantity == Quantity::Pulse {
            channel.insert("type".to_owned(), sensor.kind.as_str().into());
        }
        Some((sensor.channel.to_string(), Value::Object(channel)))
    });
    described.collect()
}
