//! The retained documents that describe a meter the way a Fluksometer describes itself, so that
//! the programs that know one find every meter.

use serde_json::{Map, Value, json};

use super::batch::Batch;
use crate::model::{Channel, Device, DeviceId, OwnDocuments, Quantity, Sensor, SensorType};
use crate::topic::{ConfigDocument, Topic};

/// Publishes all documents. `sensor` comes last: what it refers to is there before it.
pub(super) fn publish(batch: &mut Batch, device: &Device) {
    if let Some(own) = &device.own {
        return publish_own(batch, device.id, own);
    }
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

/// Publishes a Fluksometer's own documents, as far as there is something to publish.
fn publish_own(batch: &mut Batch, id: DeviceId, own: &OwnDocuments) {
    let documents = [
        (Topic::Tap(id), &own.tap),
        (Topic::Config(id, ConfigDocument::Kube), &own.kube),
        (Topic::Config(id, ConfigDocument::Flx), &own.flx),
        (Topic::Config(id, ConfigDocument::Sensor), &own.sensor),
    ];
    for (topic, text) in documents {
        if !text.is_empty() {
            batch.retained(&topic, text);
        }
    }
}

/// Takes back all documents of a meter.
pub(super) fn clear(batch: &mut Batch, device: DeviceId) {
    batch.retained(&Topic::Tap(device), "");
    for document in ConfigDocument::ALL {
        batch.retained(&Topic::Config(device, document), "");
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
        Channel::T(_) | Channel::Kube(_) => "uart",
        Channel::Ch(_) | Channel::Aux(_) | Channel::Line | Channel::L(_) => "ct",
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

/// The section as histories carry it, JSON text: without `enable`, which is about publishing. A
/// Fluksometer's sensor has its own.
pub(crate) fn section_text(sensor: &Sensor) -> String {
    if let Some(own) = &sensor.own {
        return own.text.clone();
    }
    let mut section = sensor_section(sensor);
    if let Value::Object(section) = &mut section {
        section.shift_remove("enable");
    }
    section.to_string()
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
    let known = is_known(sensor);
    section.insert("enable".to_owned(), json!(u8::from(known)));
    Value::Object(section)
}

/// Whether consumers find the sensor's type and subtype in their tables: a power without energy is not
/// there.
fn is_known(sensor: &Sensor) -> bool {
    use SensorType::{Fuel, Heat, Other, Pellet, Time};
    let power_alone = sensor.quantity.counter_unit().is_some() && sensor.counter.is_none();
    !matches!(sensor.kind, Fuel | Heat | Other | Pellet | Time)
        && !matches!(sensor.quantity, Quantity::Net | Quantity::Frequency | Quantity::Apparent)
        && !power_alone
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
        Channel::L(n) => 80 + u16::from(n),
        Channel::Kube(n) => 100 + u16::from(n),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Make, Model, Role, SensorId, Unit};

    fn sensor(channel: Channel, quantity: Quantity, kind: SensorType) -> Sensor {
        let counted = matches!(quantity, Quantity::PPlus | Quantity::Pulse);
        Sensor {
            id: SensorId::derive(Make::Brultech, "01100603", channel, quantity),
            channel,
            quantity,
            kind,
            name: channel.to_string().into(),
            role: Role::Load,
            gauge: (!counted).then_some(Unit::Volt),
            counter: counted.then_some(Unit::WattHour),
            constant: (kind == SensorType::Gas).then_some(500),
            own: None,
        }
    }

    #[test]
    fn documents_describe_every_sensor_as_a_fluksometer_does() {
        let device = Device {
            id: DeviceId::derive(Make::Brultech, "01100603"),
            make: Make::Brultech,
            model: Model::Gem,
            serial: "01100603".into(),
            name: "house".into(),
            adopted: false,
            new: false,
            sensors: vec![
                sensor(Channel::Ch(1), Quantity::PPlus, SensorType::Electricity),
                sensor(Channel::Line, Quantity::Vrms, SensorType::Electricity),
                sensor(Channel::Pulse(1), Quantity::Pulse, SensorType::Gas),
                sensor(Channel::Pulse(2), Quantity::Pulse, SensorType::Other),
            ],
            own: None,
        };
        let mut batch = Batch::default();
        publish(&mut batch, &device);
        let messages = batch.take();
        let topics: Vec<&str> =
            messages.iter().map(|(topic, _)| topic.rsplit('/').next().unwrap()).collect();
        assert_eq!(topics, ["tap", "kube", "flx", "sensor"]);
        let ids: Vec<String> = device.sensors.iter().map(|one| one.id.to_string()).collect();
        assert_eq!(messages[0].1.lines().next(), Some("# serial: 01100603"));
        assert_eq!(messages[1].1, r#"{"main":{"encryption":0,"max_nodes":0}}"#);
        assert_eq!(
            messages[2].1,
            r#"{"1":{"enable":1,"class":"ct","name":"ch1"},"49":{"enable":1,"class":"ct","name":"line"},"51":{"enable":1,"class":"pulse","name":"pulse1","constant":0.5,"trigger":"edge"},"52":{"enable":1,"class":"pulse","name":"pulse2"},"main":{"phase":"1p","led_mode":255}}"#
        );
        assert_eq!(
            messages[3].1,
            format!(
                r#"{{"1":{{"id":"{}","type":"electricity","subtype":"pplus","port":[1],"data_type":"counter","rid":0,"enable":1}},"2":{{"id":"{}","type":"electricity","subtype":"vrms","port":[49],"data_type":"gauge","rid":0,"enable":1}},"3":{{"id":"{}","type":"gas","port":[51],"data_type":"counter","rid":0,"enable":1}},"4":{{"id":"{}","type":"other","port":[52],"data_type":"counter","rid":0,"enable":0}}}}"#,
                ids[0], ids[1], ids[2], ids[3]
            )
        );
    }
}
