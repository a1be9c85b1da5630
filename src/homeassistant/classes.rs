//! Which entities a sensor is, and what Home Assistant has to know of each: the tables.
//!
//! Values come from `powermeter/<name>/state/channels`, so a field here is a field there.

use crate::model::{Channel, Quantity, Role, Sensor, SensorType};

/// One entity of a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entity {
    /// The field of the channel in `state/channels`, and the end of the entity's key.
    pub(super) field: &'static str,
    /// Which of the sensor's values it is.
    pub(super) of: Of,
    /// What follows the channel's name.
    pub(super) name: &'static str,
    pub(super) device_class: Option<&'static str>,
    pub(super) state_class: &'static str,
    pub(super) unit: Option<&'static str>,
    /// Decimals that are shown.
    pub(super) decimals: u8,
    /// Whether it tells of the meter's work more than of the house.
    pub(super) diagnostic: bool,
    /// Whether it is worth nothing when it is old.
    pub(super) expires: bool,
    /// Whether the sign is turned round: what a source gives is positive.
    pub(super) negated: bool,
}

/// The value of a sensor that an entity shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Its gauge.
    Gauge,
    /// Its counter.
    Counter,
    /// The bare count of its pulse input.
    Count,
}

/// The entities of a sensor.
pub(super) fn entities(sensor: &Sensor) -> Vec<Entity> {
    match sensor.quantity {
        Quantity::PPlus => vec![power(sensor.role), taken(sensor.role)],
        Quantity::PMinus => vec![given(sensor.role)],
        Quantity::Vrms => vec![diagnostic("voltage", "voltage", "voltage", "V", 1)],
        Quantity::Irms => vec![diagnostic("current", "current", "current", "A", 2)],
        Quantity::Temperature => {
            vec![diagnostic("temperature", "temperature", "temperature", "°C", 1)]
        }
        // What may fall is no total of the Energy dashboard.
        Quantity::Net => {
            let net = Entity { state_class: "total", ..energy("energy", "net energy") };
            vec![power(sensor.role), net]
        }
        Quantity::Frequency => vec![diagnostic("frequency", "frequency", "frequency", "Hz", 2)],
        Quantity::Pf => {
            vec![Entity { unit: None, ..diagnostic("pf", "power factor", "power_factor", "", 2) }]
        }
        Quantity::Apparent => {
            vec![diagnostic("apparent", "apparent power", "apparent_power", "VA", 0)]
        }
        // One quadrant stands for all four: the field has their sum with its sign.
        Quantity::Q1 if matches!(sensor.channel, Channel::Line | Channel::L(_)) => {
            vec![diagnostic("reactive", "reactive power", "reactive_power", "var", 0)]
        }
        Quantity::Humidity => vec![diagnostic("humidity", "humidity", "humidity", "%", 1)],
        Quantity::Battery => vec![diagnostic("battery", "battery", "voltage", "V", 1)],
        Quantity::Light => vec![diagnostic("light", "light", "illuminance", "lx", 0)],
        Quantity::Pressure => {
            vec![diagnostic("pressure", "pressure", "atmospheric_pressure", "Pa", 0)]
        }
        // For those who study a meter: they have topics of their own, and no place on a dashboard.
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
        Quantity::Pulse => pulses(sensor.kind),
    }
}

/// Every key that the channel could ever have, whatever it is set to.
pub(super) fn fields(channel: Channel) -> &'static [&'static str] {
    match channel {
        Channel::Ch(_) | Channel::Aux(_) => {
            &["power", "energy", "energy_export", "current", "voltage", "pf"]
        }
        Channel::Line | Channel::L(_) => &[
            "power",
            "energy",
            "energy_export",
            "current",
            "voltage",
            "frequency",
            "pf",
            "apparent",
            "reactive",
        ],
        Channel::Kube(_) => &["temperature", "humidity", "battery", "light", "pressure"],
        Channel::Pulse(_) => &["count", "total", "power", "flow"],
        Channel::T(_) => &["temperature"],
    }
}

fn power(role: Role) -> Entity {
    Entity {
        field: "power",
        of: Of::Gauge,
        name: "power",
        device_class: Some("power"),
        state_class: "measurement",
        unit: Some("W"),
        decimals: 0,
        diagnostic: false,
        expires: true,
        // The Energy dashboard wants what a panel or a battery gives as positive.
        negated: matches!(role, Role::Solar | Role::Battery),
    }
}

fn taken(role: Role) -> Entity {
    let name = match role {
        Role::Grid => "import",
        Role::Solar => "consumption",
        Role::Battery => "charged",
        Role::Load => "energy",
    };
    energy("energy", name)
}

fn given(role: Role) -> Entity {
    let name = match role {
        Role::Solar => "production",
        Role::Battery => "discharged",
        Role::Grid | Role::Load => "export",
    };
    energy("energy_export", name)
}

fn energy(field: &'static str, name: &'static str) -> Entity {
    Entity {
        field,
        of: Of::Counter,
        name,
        device_class: Some("energy"),
        state_class: "total_increasing",
        unit: Some("kWh"),
        decimals: 2,
        diagnostic: false,
        expires: false,
        negated: false,
    }
}

fn diagnostic(
    field: &'static str,
    name: &'static str,
    class: &'static str,
    unit: &'static str,
    decimals: u8,
) -> Entity {
    Entity {
        field,
        of: Of::Gauge,
        name,
        device_class: Some(class),
        state_class: "measurement",
        unit: Some(unit),
        decimals,
        diagnostic: true,
        expires: false,
        negated: false,
    }
}

/// The bare count, and what it stands for where that is known.
fn pulses(kind: SensorType) -> Vec<Entity> {
    let count = Entity {
        field: "count",
        of: Of::Count,
        name: "pulses",
        device_class: None,
        unit: None,
        decimals: 0,
        diagnostic: true,
        ..energy("count", "pulses")
    };
    let volume = |class| Entity {
        name: "total",
        device_class: Some(class),
        unit: Some("L"),
        decimals: 0,
        ..energy("total", "total")
    };
    let flow = Entity {
        field: "flow",
        name: "flow",
        device_class: Some("volume_flow_rate"),
        unit: Some("L/min"),
        decimals: 1,
        ..power(Role::Load)
    };
    match kind {
        SensorType::Electricity => {
            vec![count, energy("total", "energy"), power(Role::Load)]
        }
        SensorType::Gas => vec![count, volume("gas"), flow],
        SensorType::Water => vec![count, volume("water"), flow],
        SensorType::Heat => vec![count, energy("total", "heat")],
        _ => vec![count],
    }
}
