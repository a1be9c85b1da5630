//! A meter for openHAB: the texts of a `.things` and an `.items` file, to be copied there.
//!
//! The thing is a generic one of openHAB's MQTT binding, which reads the meter's one JSON state.
//! Names in openHAB are made of the meter's name and the channel's key, so they stay when a channel
//! gets another label.

use std::fmt::Write;

use crate::model::{Channel, Device, Quantity, Role, Sensor, SensorType};
use crate::topic::{MeterState, Topic};

/// One value of a channel, as openHAB knows it.
struct Value<'a> {
    sensor: &'a Sensor,
    /// The key in the channel's object of the state.
    key: &'static str,
    /// What the label says besides the channel's name.
    label: &'static str,
    /// The type of the item.
    item: &'static str,
    unit: &'static str,
    /// How many decimals are shown.
    decimals: u8,
    icon: &'static str,
    /// The property of openHAB's semantic model.
    property: &'static str,
}

/// The text of a `.things` file: the meter behind a broker bridge `mqtt:broker:meterbridge`.
pub fn things(device: &Device) -> String {
    let (name, state) = (&*device.name, topic(device, MeterState::Channels));
    let availability = topic(device, MeterState::Availability);
    let mut text = format!(
        "Thing mqtt:topic:meterbridge:{name} \"{}\" (mqtt:broker:meterbridge) [\n    \
         availabilityTopic=\"{availability}\", payloadAvailable=\"online\", \
         payloadNotAvailable=\"offline\"\n] {{\n    Channels:\n",
        quoted(name)
    );
    for value in values(device) {
        let unit = if value.unit.is_empty() {
            String::new()
        } else {
            format!(", unit=\"{}\"", value.unit)
        };
        let (id, key, channel) = (value.id(), value.key, value.sensor.channel);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "        Type number : {id} \"{}\" [stateTopic=\"{state}\", \
             transformationPattern=\"JSONPATH:$.{channel}.{key}\"{unit}]",
            value.title()
        );
    }
    text.push_str("}\n");
    text
}

/// The text of an `.items` file: one item for each channel of the thing, in a group of their own.
pub fn items(device: &Device) -> String {
    let name = item_name(&device.name);
    let mut text = format!("Group {name} \"{}\" <energy> [\"Sensor\"]\n\n", quoted(&device.name));
    for value in values(device) {
        let id = value.id();
        let unit = if value.unit.is_empty() { "" } else { " %unit%" };
        let metadata = match value.unit {
            "" => String::new(),
            unit => format!(", unit=\"{unit}\""),
        };
        let _ = writeln!(
            text,
            "{} {name}_{id} \"{} [%.{}f{unit}]\" <{}> ({name}) [\"Measurement\", \"{}\"] \
             {{ channel=\"mqtt:topic:meterbridge:{}:{id}\"{metadata} }}",
            value.item,
            // In the label of an item this would begin a format.
            value.title().replace('%', "%%"),
            value.decimals,
            value.icon,
            value.property,
            device.name
        );
    }
    text
}

fn topic(device: &Device, state: MeterState) -> Topic {
    Topic::Meter(device.name.to_string(), state)
}

/// What `state/channels` has of each sensor.
fn values(device: &Device) -> impl Iterator<Item = Value<'_>> {
    device.sensors.iter().flat_map(|sensor| {
        let value = |key, label, item, unit, decimals, icon, property| Value {
            sensor,
            key,
            label,
            item,
            unit,
            decimals,
            icon,
            property,
        };
        let values = match sensor.quantity {
            Quantity::PPlus => {
                let energy = if sensor.role == Role::Load { "energy" } else { "energy taken" };
                vec![
                    value("power", "power", "Number:Power", "W", 0, "energy", "Power"),
                    value("energy", energy, "Number:Energy", "kWh", 3, "energy", "Energy"),
                ]
            }
            Quantity::PMinus => {
                let label = "energy given back";
                vec![value("energy_export", label, "Number:Energy", "kWh", 3, "energy", "Energy")]
            }
            Quantity::Irms => {
                let item = "Number:ElectricCurrent";
                vec![value("current", "current", item, "A", 2, "energy", "Current")]
            }
            Quantity::Vrms => {
                let item = "Number:ElectricPotential";
                vec![value("voltage", "voltage", item, "V", 1, "energy", "Voltage")]
            }
            Quantity::Temperature => {
                let (item, icon) = ("Number:Temperature", "temperature");
                vec![value("temperature", "temperature", item, "°C", 1, icon, "Temperature")]
            }
            Quantity::Net => {
                let item = "Number:Energy";
                vec![
                    value("power", "power", "Number:Power", "W", 0, "energy", "Power"),
                    value("energy", "net energy", item, "kWh", 3, "energy", "Energy"),
                ]
            }
            Quantity::Frequency => {
                let item = "Number:Frequency";
                vec![value("frequency", "frequency", item, "Hz", 2, "energy", "Frequency")]
            }
            Quantity::Pf => vec![value("pf", "power factor", "Number", "", 2, "energy", "Level")],
            Quantity::Humidity => {
                let item = "Number:Dimensionless";
                vec![value("humidity", "humidity", item, "%", 1, "humidity", "Humidity")]
            }
            Quantity::Battery => {
                let item = "Number:ElectricPotential";
                vec![value("battery", "battery", item, "V", 1, "battery", "Voltage")]
            }
            Quantity::Light => {
                let item = "Number:Illuminance";
                vec![value("light", "light", item, "lx", 0, "sun", "Illuminance")]
            }
            Quantity::Pressure => {
                let item = "Number:Pressure";
                vec![value("pressure", "pressure", item, "Pa", 0, "pressure", "Pressure")]
            }
            Quantity::Apparent => {
                let item = "Number:Power";
                vec![value("apparent", "apparent power", item, "VA", 0, "energy", "Power")]
            }
            Quantity::Q1 if matches!(sensor.channel, Channel::Line | Channel::L(_)) => {
                let item = "Number:Power";
                vec![value("reactive", "reactive power", item, "var", 0, "energy", "Power")]
            }
            Quantity::Q1
            | Quantity::Q2
            | Quantity::Q3
            | Quantity::Q4
            | Quantity::Vthd
            | Quantity::Ithd
            | Quantity::Alpha
            | Quantity::Error
            | Quantity::Movement
            | Quantity::Vibration
            | Quantity::Proximity => Vec::new(),
            Quantity::Pulse => {
                let (volume, flow) = ("Number:Volume", "Number:VolumetricFlowRate");
                match sensor.kind {
                    SensorType::Gas => vec![
                        value("total", "total", volume, "l", 0, "gas", "Gas"),
                        value("flow", "flow", flow, "l/min", 1, "gas", "Gas"),
                    ],
                    SensorType::Water => vec![
                        value("total", "total", volume, "l", 0, "water", "Water"),
                        value("flow", "flow", flow, "l/min", 1, "water", "Water"),
                    ],
                    SensorType::Electricity => vec![
                        value("total", "energy", "Number:Energy", "kWh", 3, "energy", "Energy"),
                        value("power", "power", "Number:Power", "W", 0, "energy", "Power"),
                    ],
                    SensorType::Heat => {
                        vec![value("total", "heat", "Number:Energy", "kWh", 3, "heating", "Energy")]
                    }
                    _ => vec![value("count", "count", "Number", "", 0, "line", "Level")],
                }
            }
        };
        // A phase has a power, and its energy is the meter's.
        let counts = sensor.counter.is_some();
        values
            .into_iter()
            .filter(move |one| counts || !matches!(one.key, "energy" | "energy_export"))
    })
}

impl Value<'_> {
    /// The channel's id in openHAB: `ch1_power`.
    fn id(&self) -> String {
        format!("{}_{}", self.sensor.channel, self.key)
    }

    /// What people read: `Mains power`.
    fn title(&self) -> String {
        quoted(&format!("{} {}", self.sensor.name, self.label))
    }
}

/// A name that openHAB takes for an item: letters, digits and `_`, no digit first.
fn item_name(name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if plain.starts_with(|c: char| c.is_ascii_digit()) { format!("_{plain}") } else { plain }
}

/// Text for between quotes. Brackets would begin openHAB's format of a value.
fn quoted(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => safe.extend(['\\', c]),
            '[' => safe.push('('),
            ']' => safe.push(')'),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::directory::tests::device;
    use crate::model::{Channel, Make, SensorId, Unit};

    fn house() -> Device {
        let mut device = device("big-house");
        let pulse = |n, kind, name: &str| Sensor {
            id: SensorId::derive(Make::Brultech, "1", Channel::Pulse(n), Quantity::Pulse),
            channel: Channel::Pulse(n),
            quantity: Quantity::Pulse,
            kind,
            name: name.into(),
            role: Role::Load,
            gauge: None,
            counter: Some(Unit::Litre),
            constant: None,
            own: None,
        };
        device.sensors.push(pulse(1, SensorType::Gas, "Gas"));
        device.sensors.push(pulse(2, SensorType::Other, "Door \"50 %\" [x]"));
        device
    }

    /// Compares with a file of `tests/expected`, or writes it with `UPDATE_EXPECTED=1`.
    fn expect(name: &str, text: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/expected/openhab")
            .join(name);
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, expected, "{}", path.display());
    }

    #[test]
    fn a_meter_is_a_thing_and_items() {
        expect("house.things", &things(&house()));
        expect("house.items", &items(&house()));
    }

    #[test]
    fn names_are_such_that_openhab_takes_them() {
        assert_eq!(item_name("big-house"), "big_house");
        assert_eq!(item_name("2nd"), "_2nd");
    }
}
