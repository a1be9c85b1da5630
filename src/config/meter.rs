//! The entries under `meters:`: which meter, over which link, and what its channels measure.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::duration;
use super::link::Link;
use super::scalar::{HexId, Power};
use super::secret::Secret;
use super::stream::Stream;
use crate::model::{Role, SensorType};

/// One meter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Meter {
    /// The `<name>` in `powermeter/<name>/…`: letters, digits, `_` and `-`, unique.
    pub name: String,
    /// Its make, and with that its protocol.
    pub kind: Kind,
    /// How it is reached. Several entries may share one link.
    pub link: Link,
    /// Binds the entry to one meter of its link; `None`: the first one no other entry claims.
    pub serial_number: Option<String>,
    /// Ask at this interval instead of listening.
    #[serde(with = "duration::option")]
    pub poll: Option<Duration>,
    /// The units to ask, where several meters share a line.
    pub units: Vec<String>,
    /// Which way the polarised counter counts.
    pub polarity: Polarity,
    /// How long without a packet makes it offline.
    pub timeout: Timeout,
    /// Overrides the device id, so that the history of a replaced meter goes on.
    pub id: Option<HexId>,
    /// Opens the telegrams of a customer port that encrypts: 32 hex digits, from the network operator.
    pub key: Option<Secret>,
    /// No channel can draw more than this; a counter that says so is wrong, and not believed.
    pub power_ceiling: Power,
    /// What the meter's temperatures are in.
    pub temperature_unit: TemperatureUnit,
    /// Samples, some thousand a second, and where they go; a SmartMeter or PowerMeter only.
    pub stream: Option<Stream>,
    /// Whose energy is believed; a SmartMeter or PowerMeter only.
    pub energy: EnergySource,
    /// The unit of the energy in a PowerMeter's messages on a broker.
    pub energy_unit: EnergyUnit,
    /// The first level of the topics that a SmartMeter or PowerMeter uses on a broker.
    pub base_topics: Vec<String>,
    /// What each physical channel measures, by the channel's key (`ch1`, `aux1`, `pulse1`, `t1`).
    pub channels: BTreeMap<String, Channel>,
}

/// The make of a meter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// GEM, ECM-1240, ECM-1220.
    #[default]
    Brultech,
    /// SmartMeter and its PowerMeter kin.
    Smartmeter,
    /// Fluksometer FLM02 and FLM03.
    Fluksometer,
    /// A P1 (DSMR) port.
    P1,
}

/// Which way the polarised counter of a Brultech meter counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Polarity {
    /// As the maker's own tools read it.
    #[default]
    Vendor,
    /// As btmon reads it: the other way round.
    Btmon,
}

/// When a silent meter counts as offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timeout {
    /// After five times the interval seen, at least 30 s.
    #[default]
    Auto,
    /// After this span.
    After(Duration),
}

/// The unit a meter's temperature inputs are set to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TemperatureUnit {
    /// °C.
    #[default]
    Celsius,
    /// °F; converted on the way in.
    Fahrenheit,
}

/// Whose energy is believed of a SmartMeter or PowerMeter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnergySource {
    /// The meter's own total where it gives one, else that of its powers over time.
    #[default]
    Auto,
    /// The meter's own total, or none.
    Meter,
    /// That of its powers over time.
    Integrated,
}

/// The unit of the energy in a PowerMeter's messages on a broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnergyUnit {
    /// Found out by the power.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// Firmware 2 and later.
    Wh,
    /// Firmware 1.
    #[serde(rename = "kWh")]
    KWh,
}

/// What one physical channel measures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Channel {
    /// What people call it.
    pub name: Option<String>,
    /// Its place in the house; decides whether it counts both ways.
    pub role: Role,
    /// Factor on power, energy and current, for a clamp with another ratio.
    pub multiplier: f64,
    /// Factor on sampled voltages.
    pub scale_v: f64,
    /// Factor on sampled currents.
    pub scale_i: f64,
    /// What a pulse counts.
    #[serde(rename = "type")]
    pub medium: Option<Medium>,
    /// Litres or watt-hours per pulse.
    pub constant: Option<f64>,
    /// Overrides the id of the channel's sensor.
    pub id: Option<HexId>,
}

/// What is counted, as Flukso spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Medium {
    /// Watt-hours.
    Electricity,
    /// Litres of gas.
    Gas,
    /// Litres of water.
    Water,
}

impl From<Medium> for SensorType {
    fn from(medium: Medium) -> SensorType {
        match medium {
            Medium::Electricity => SensorType::Electricity,
            Medium::Gas => SensorType::Gas,
            Medium::Water => SensorType::Water,
        }
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: Kind::default(),
            link: Link::default(),
            serial_number: None,
            poll: None,
            units: Vec::new(),
            polarity: Polarity::default(),
            timeout: Timeout::default(),
            id: None,
            key: None,
            power_ceiling: Power { watts: 250_000.0 },
            temperature_unit: TemperatureUnit::default(),
            stream: None,
            energy: EnergySource::default(),
            energy_unit: EnergyUnit::default(),
            base_topics: vec!["powermeter".to_owned(), "SmartMeter".to_owned()],
            channels: BTreeMap::new(),
        }
    }
}

impl Default for Channel {
    fn default() -> Self {
        let role = Role::default();
        Self {
            name: None,
            role,
            multiplier: 1.0,
            scale_v: 1.0,
            scale_i: 1.0,
            medium: None,
            constant: None,
            id: None,
        }
    }
}

impl Kind {
    /// Bits per second on a serial line, unless the link says otherwise.
    ///
    /// Source: Brultech ECM-1240 manual (19200, and a GEM's COM1 as delivered); SmartMeter's USB
    /// port; DSMR 4.0 and later.
    #[must_use]
    pub fn baud(self) -> u32 {
        match self {
            Self::Brultech => 19_200,
            Self::Smartmeter => 2_000_000,
            Self::Fluksometer | Self::P1 => 115_200,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Brultech => "brultech",
            Self::Smartmeter => "smartmeter",
            Self::Fluksometer => "fluksometer",
            Self::P1 => "p1",
        })
    }
}

impl Serialize for Timeout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::After(span) => duration::serialize(span, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "auto" => Ok(Self::Auto),
            text => duration::parse(text)
                .map(Self::After)
                .map_err(|message| de::Error::custom(format!("{message}; or auto"))),
        }
    }
}
