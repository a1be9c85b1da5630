//! Identity of meters and sensors, and what a meter is made of.
//!
//! An id is derived from make, serial number and physical channel alone, so that renaming a meter
//! or giving a channel another role never starts a second history.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::{Quantity, SensorType, Unit};

/// The maker's family of a meter; the second part of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Make {
    /// GreenEye Monitor, ECM-1240 and ECM-1220.
    Brultech,
    /// Flukso's FLM02 and FLM03.
    Fluksometer,
    /// A customer port of a smart meter: P1 (DSMR and its kin) or TIC.
    P1,
    /// voelkerb's SmartMeter and PowerMeter.
    Smartmeter,
}

impl Make {
    /// The spelling used in identities and in the state on disk.
    pub fn as_str(self) -> &'static str {
        match self {
            Make::Brultech => "brultech",
            Make::Fluksometer => "fluksometer",
            Make::P1 => "p1",
            Make::Smartmeter => "smartmeter",
        }
    }
}

/// The model of a meter, which gives an adopted meter its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// Brultech GreenEye Monitor.
    Gem,
    /// Brultech ECM-1240.
    Ecm1240,
    /// Brultech ECM-1220.
    Ecm1220,
    /// Fluksometer of the second generation: FLM02A, B, C and W.
    Flm02,
    /// Fluksometer of the third generation: FLM03E.
    Flm03,
    /// A smart meter behind its customer port.
    P1,
    /// voelkerb's three-phase SmartMeter.
    Smartmeter,
    /// voelkerb's PowerMeter, a plug with a relay.
    Powermeter,
}

impl Model {
    /// The short name in `<model>-<serial>`.
    pub fn as_str(self) -> &'static str {
        match self {
            Model::Gem => "gem",
            Model::Ecm1240 => "ecm1240",
            Model::Ecm1220 => "ecm1220",
            Model::Flm02 => "flm02",
            Model::Flm03 => "flm03",
            Model::P1 => "p1",
            Model::Smartmeter => "smartmeter",
            Model::Powermeter => "powermeter",
        }
    }

    /// The maker's name and the product's.
    pub fn title(self) -> &'static str {
        match self {
            Model::Gem => "Brultech GreenEye Monitor",
            Model::Ecm1240 => "Brultech ECM-1240",
            Model::Ecm1220 => "Brultech ECM-1220",
            Model::Flm02 => "Flukso FLM02",
            Model::Flm03 => "Flukso FLM03",
            Model::P1 => "DSMR smart meter",
            Model::Smartmeter => "voelkerb SmartMeter",
            Model::Powermeter => "voelkerb PowerMeter",
        }
    }
}

/// A device id: 16 bytes, shown as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceId([u8; 16]);

/// A sensor id: 16 bytes, shown as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SensorId([u8; 16]);

impl DeviceId {
    /// The id of the meter with this serial number: SHA-256 over `meterbridge/<make>/<serial>`. A
    /// Fluksometer's serial number is its own id, which is kept.
    pub fn derive(make: Make, serial: &str) -> DeviceId {
        if let (Make::Fluksometer, Ok(own)) = (make, serial.parse()) {
            return own;
        }
        DeviceId(digest(&format!("meterbridge/{}/{serial}", make.as_str())))
    }
}

impl SensorId {
    /// The id of one quantity on one physical channel: SHA-256 over
    /// `meterbridge/<make>/<serial>/<channel>/<quantity>`.
    pub fn derive(make: Make, serial: &str, channel: Channel, quantity: Quantity) -> SensorId {
        let make = make.as_str();
        SensorId(digest(&format!("meterbridge/{make}/{serial}/{channel}/{quantity}")))
    }
}

fn digest(text: &str) -> [u8; 16] {
    let hash = Sha256::digest(text.as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    id
}

/// Kept on disk as it is spelled everywhere else.
macro_rules! spelled {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! hex_id {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0_u8; 32];
                for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
                    pair[0] = DIGITS[usize::from(byte >> 4)];
                    pair[1] = DIGITS[usize::from(byte & 15)];
                }
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        spelled!($name);

        impl From<[u8; 16]> for $name {
            fn from(bytes: [u8; 16]) -> Self {
                $name(bytes)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                parse_id(text).map($name).ok_or_else(|| NotAnId(text.to_owned()))
            }
        }
    };
}

hex_id!(DeviceId);
hex_id!(SensorId);

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an id: 32 lower-case hexadecimal digits")]
pub struct NotAnId(String);

fn parse_id(text: &str) -> Option<[u8; 16]> {
    let value = |digit: u8| DIGITS.iter().position(|known| *known == digit).map(|at| at as u8);
    let bytes = text.as_bytes();
    if bytes.len() != 32 {
        return None;
    }
    let mut id = [0; 16];
    for (byte, pair) in id.iter_mut().zip(bytes.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(id)
}

/// A physical input of a meter, numbered from 1 as the meter's own papers number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// What belongs to the whole meter: voltage, frequency, totals.
    Line,
    /// A current clamp.
    Ch(u8),
    /// An auxiliary clamp of an ECM-1240.
    Aux(u8),
    /// A pulse input.
    Pulse(u8),
    /// A temperature probe.
    T(u8),
    /// A phase of the mains.
    L(u8),
    /// A radio node of a Fluksometer.
    Kube(u8),
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Channel::Line => f.write_str("line"),
            Channel::Ch(n) => write!(f, "ch{n}"),
            Channel::Aux(n) => write!(f, "aux{n}"),
            Channel::Pulse(n) => write!(f, "pulse{n}"),
            Channel::T(n) => write!(f, "t{n}"),
            Channel::L(n) => write!(f, "l{n}"),
            Channel::Kube(n) => write!(f, "kube{n}"),
        }
    }
}

spelled!(Channel);

impl FromStr for Channel {
    type Err = NotAChannel;

    fn from_str(text: &str) -> Result<Channel, NotAChannel> {
        let digits = text.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
        let (kind, number) = (&text[..text.len() - digits.len()], digits.parse().ok());
        match (kind, number) {
            ("line", None) if digits.is_empty() => Ok(Channel::Line),
            ("ch", Some(n @ 1..)) => Ok(Channel::Ch(n)),
            ("aux", Some(n @ 1..)) => Ok(Channel::Aux(n)),
            ("pulse", Some(n @ 1..)) => Ok(Channel::Pulse(n)),
            ("t", Some(n @ 1..)) => Ok(Channel::T(n)),
            ("l", Some(n @ 1..=3)) => Ok(Channel::L(n)),
            ("kube", Some(n @ 1..)) => Ok(Channel::Kube(n)),
            _ => Err(NotAChannel(text.to_owned())),
        }
    }
}

/// A text that names no channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no channel: ch1…, aux1…, pulse1…, t1…, l1-l3, kube1… and line are")]
pub struct NotAChannel(String);

/// What a channel is for, as its owner configures it; never part of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The connection to the grid: counts both ways.
    Grid,
    /// A solar inverter: counts both ways.
    Solar,
    /// A battery: counts both ways.
    Battery,
    /// A consumer: counts one way.
    #[default]
    Load,
}

impl Role {
    /// Whether import and export are counted apart.
    pub fn counts_both_ways(self) -> bool {
        self != Role::Load
    }
}

/// One quantity on one channel: what has an id, a topic and a history.
///
/// What is on disk is read by later versions: a field that is added gets `#[serde(default)]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sensor {
    /// Its identity.
    pub id: SensorId,
    /// The physical input it reads.
    pub channel: Channel,
    /// What it measures.
    pub quantity: Quantity,
    /// Its medium.
    pub kind: SensorType,
    /// The channel's name, a label.
    pub name: Arc<str>,
    /// The channel's role.
    pub role: Role,
    /// The unit of its momentary value, if it has one.
    pub gauge: Option<Unit>,
    /// The unit of its running total, if it has one.
    pub counter: Option<Unit>,
    /// What one pulse stands for, in thousandths of the counter's unit.
    pub constant: Option<i64>,
    /// What a Fluksometer itself says of it; `None` for every other make.
    pub own: Option<Arc<OwnSection>>,
}

/// A sensor's section of a Fluksometer's own configuration, as far as histories go by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnSection {
    /// The recycle id: it rises when the sensor's slot is given to another source.
    pub rid: u32,
    /// Which of its values is recorded.
    pub record: Option<Recorded>,
    /// The section as JSON text without `enable`, `counter` and `tmpo`, its keys in their order.
    pub text: String,
}

/// Which value of a sensor has a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recorded {
    /// The running total.
    Counter,
    /// What is now.
    Gauge,
}

impl Sensor {
    /// Which of its values is recorded, if any: the total where there is one.
    pub fn recorded(&self) -> Option<Recorded> {
        let Some(own) = &self.own else {
            let counts = self.counter.map(|_| Recorded::Counter);
            return counts.or(self.gauge.map(|_| Recorded::Gauge));
        };
        own.record
    }

    /// The recycle id of its history: 0 but for a Fluksometer's sensors.
    pub fn rid(&self) -> u32 {
        self.own.as_ref().map_or(0, |own| own.rid)
    }
}

/// A meter and its sensors as they are now; replaced whole when something about it changes.
///
/// What is on disk is read by later versions: a field that is added gets `#[serde(default)]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its identity.
    pub id: DeviceId,
    /// The maker's family.
    pub make: Make,
    /// The model.
    pub model: Model,
    /// The meter's own serial number, as text.
    pub serial: Arc<str>,
    /// The `<name>` in `powermeter/<name>/…`, a label.
    pub name: Arc<str>,
    /// Whether no configuration entry names it.
    pub adopted: bool,
    /// Whether it was adopted, and nobody has said yet that it is wanted.
    pub new: bool,
    /// Its sensors; a [`Reading`](super::Reading) names one by its place in this list.
    pub sensors: Vec<Sensor>,
    /// What a Fluksometer says of itself; `None` for every other make.
    pub own: Option<Arc<OwnDocuments>>,
}

/// A Fluksometer's documents, as they are told on the gateway's broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnDocuments {
    /// The device publishes its readings and documents on the gateway's own broker: they are there
    /// already, and are not published a second time.
    pub on_our_broker: bool,
    /// `config/sensor`.
    pub sensor: Arc<str>,
    /// `config/flx`.
    pub flx: Arc<str>,
    /// `config/kube`.
    pub kube: Arc<str>,
    /// `test/tap`.
    pub tap: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_first_half_of_the_digest_and_read_back() {
        // `printf meterbridge/brultech/01100603 | sha256sum`
        let id = DeviceId::derive(Make::Brultech, "01100603");
        assert_eq!(id.to_string(), "451cfd7c3906c59356e7fd2bd0ab6cea");
        assert_eq!(id.to_string().parse(), Ok(id));
        // `printf meterbridge/brultech/01100603/ch1/pplus | sha256sum`
        let sensor = SensorId::derive(Make::Brultech, "01100603", Channel::Ch(1), Quantity::PPlus);
        assert_eq!(sensor.to_string(), "6f4225de13dcc0c7604a698085074c09");
    }

    #[test]
    fn channels_read_back() {
        for channel in [
            Channel::Line,
            Channel::Ch(32),
            Channel::Aux(5),
            Channel::Pulse(4),
            Channel::T(8),
            Channel::L(3),
            Channel::Kube(30),
        ] {
            assert_eq!(channel.to_string().parse(), Ok(channel));
        }
        for text in ["", "ch", "ch0", "ch256", "line1", "1", "chx1", "ché1", "l", "l4"] {
            assert!(text.parse::<Channel>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_text_that_is_no_id_is_refused() {
        for text in ["", "12", "A2", &"g".repeat(32), &"A".repeat(32), &"é".repeat(16)] {
            assert!(text.parse::<SensorId>().is_err(), "{text:?}");
        }
    }
}
