//! The retained documents that describe a meter the way a Fluksometer describes itself, so that
//! the programs that know one find every meter.

use serde_json::{Map, Value, json};

use super::batch::Batch;
use crate::model::{Channel, Device, Quantity, Sensor, SensorType};
use crate::topic::{ConfigDocument, Topic};

/// Publishes all documents. `sensor` comes last: what it refers to is there before it.
pub(super) fn publish(batch: &mut Batch, device: &Device) {
    let tap = format!(
        "# serial: {}\n# firmware: {} by meterbridge {}\n",
        device.serial,
        device.model.title(),
        env!("CARGO_PKG_VERSION"),
    );
    batch.retained(&Topic::Tap(device.id), tap);
    for document in ConfigDocument::ALL {
        let text = match document {
            // The keys of a radio network are nobody's business, and there is none.
            ConfigDocument::Kube => json!({"main": {"encryption": 0, "max_nodes": 0}}),
            ConfigDocument::Flx => ports(device),
            ConfigDocument::Sensor => sensors(device),
        };
        batch.retained(&Topic::Config(device.id, document), text);
    }
}

/// `config/flx`: one port per channel, which is where a channel's name is found.
fn ports(device: &Device) -> Value {
    let mut ports = Map::new();
    for sensor in &device.sensors {
        let key = port(sensor.channel).to_string();
        if !ports.contains_key(&key) {
            ports.insert(key, port_section(sensor));
        }
    }
    ports.insert("main".to_owned(), json!({"phase": "1p", "led_mode": 255}));
    Value::Object(ports)
}

fn port_section(sensor: &Sensor) -> Value {
    let class = match sensor.channel {
        Channel::Pulse(_) => "pulse",
        Channel::T(_) => "uart",
        Channel::Ch(_) | Channel::Aux(_) | Channel::Line => "ct",
    };
    let mut section = json!({"enable": 1, "class": class, "name": *sensor.name});
    if let (Some(thousandths), Value::Object(section)) = (sensor.constant, &mut section) {
        section.insert("constant".to_owned(), constant(thousandths));
        section.insert("trigger".to_owned(), json!("edge"));
    }
    section
}

fn constant(thousandths: i64) -> Value {
    if thousandths % 1000 == 0 {
        json!(thousandths / 1000)
    } else {
        json!(thousandths as f64 / 1000.0)
    }
}

/// `config/sensor`: numbered sections, one per sensor.
fn sensors(device: &Device) -> Value {
    let sections = device.sensors.iter().zip(1..);
    Value::Object(sections.map(|(sensor, n)| (n.to_string(), sensor_section(sensor))).collect())
}

fn sensor_section(sensor: &Sensor) -> Value {
    let mut section = Map::new();
    section.insert("id".to_owned(), json!(sensor.id.to_string()));
    section.insert("type".to_owned(), json!(sensor.kind.as_str()));
    if let Some(subtype) = subtype(sensor) {
        section.insert("subtype".to_owned(), json!(subtype));
    }
    section.insert("port".to_owned(), json!([port(sensor.channel)]));
    let data_type = if sensor.counter.is_some() { "counter" } else { "gauge" };
    section.insert("data_type".to_owned(), json!(data_type));
    section.insert("rid".to_owned(), json!(0));
    // Consumers look types up in a fixed table, and one that they do not know stops all of them.
    let known = sensor.kind != SensorType::Other;
    section.insert("enable".to_owned(), json!(u8::from(known)));
    Value::Object(section)
}

/// Electricity always has a subtype; that of a pulse input is what its pulses count.
fn subtype(sensor: &Sensor) -> Option<&'static str> {
    match (sensor.kind, sensor.quantity) {
        (SensorType::Electricity, Quantity::Pulse) => Some(Quantity::PPlus.as_str()),
        (SensorType::Electricity, quantity) => Some(quantity.as_str()),
        _ => None,
    }
}

/// The port number of a channel: fixed, so that it stays when another channel appears.
fn port(channel: Channel) -> u16 {
    match channel {
        Channel::Ch(n) => n.into(),
        Channel::Line => 49,
        Channel::Pulse(n) => 50 + u16::from(n),
        Channel::Aux(n) => 60 + u16::from(n),
        Channel::T(n) => 70 + u16::from(n),
    }
}
