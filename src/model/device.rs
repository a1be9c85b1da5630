//! What a meter is made of.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Channel, DeviceId, Quantity, Role, SensorId, SensorType, Unit};

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
