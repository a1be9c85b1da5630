//! Every topic the gateway speaks, as a type. Nothing else builds a topic or takes one apart.

mod device;
mod discovery;
mod sync;

use std::fmt;
use std::str::FromStr;

use crate::model::{DeviceId, SensorId};

pub use device::{DeviceState, DeviceTopics};
pub use discovery::DiscoveryTopics;
pub use sync::SyncTopic;

/// A topic of the unified tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    /// `/sensor/<sid>/gauge`
    Gauge(SensorId),
    /// `/sensor/<sid>/counter`
    Counter(SensorId),
    /// `/sensor/<sid>/tmpo/<rid>/<level>/<begin>/gz`: a history block.
    Tmpo {
        /// Whose readings it has.
        sensor: SensorId,
        /// The recycle id of their source.
        rid: u32,
        /// The level: its window has 2^`level` seconds.
        level: u8,
        /// Where its window begins, Unix seconds.
        begin: i64,
    },
    /// `/device/<did>/config/{sensor,flx,kube}`
    Config(DeviceId, ConfigDocument),
    /// `/device/<did>/test/tap`
    Tap(DeviceId),
    /// `powermeter/<name>/state/…`
    Meter(String, MeterState),
    /// `powermeter/<name>/…`, or `powermeter/…` for all meters: what is asked of them.
    Order(Option<String>, Leaf),
    /// `meterbridge/bridge/…`
    Bridge(BridgeTopic),
    /// `meterbridge/bridge/request/<what>`: what is asked of the gateway.
    Request(String),
    /// `meterbridge/bridge/response/<what>`: what became of it.
    Response(String),
}

/// What meters are asked by the last level of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf {
    /// A command, JSON.
    Cmd,
    /// One momentary value.
    Sample,
    /// The relay.
    Switch,
    /// The relay with a time, after which it is not done any more.
    SwitchTs,
}

/// The configuration documents of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigDocument {
    /// The list of sensors.
    Sensor,
    /// The ports they are attached to.
    Flx,
    /// The radio nodes, of which there are none.
    Kube,
}

/// What a meter publishes below its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeterState {
    /// The meter's sum, every 5 s.
    Sample,
    /// Every channel's latest values.
    Channels,
    /// `online` or `offline`.
    Availability,
    /// Replies to what was asked.
    Info,
    /// Whether what comes in agrees with what the loads take.
    Balance,
    /// Whether the relay is closed: `true` or `false`.
    Switch,
}

/// What the gateway publishes about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BridgeTopic {
    /// `online` or `offline`.
    State,
    /// What runs here.
    Info,
    /// The meters.
    Devices,
    /// Corrections and other things that happen once.
    Event,
    /// How the gateway and its broker are.
    Health,
    /// Warnings and errors of the gateway.
    Log,
    /// What is announced to Home Assistant.
    HomeAssistant,
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topic::Gauge(id) => write!(f, "/sensor/{id}/gauge"),
            Topic::Counter(id) => write!(f, "/sensor/{id}/counter"),
            Topic::Tmpo { sensor, rid, level, begin } => {
                write!(f, "/sensor/{sensor}/tmpo/{rid}/{level}/{begin}/gz")
            }
            Topic::Config(id, document) => write!(f, "/device/{id}/config/{}", document.as_str()),
            Topic::Tap(id) => write!(f, "/device/{id}/test/tap"),
            Topic::Meter(name, state) => write!(f, "powermeter/{name}/state/{}", state.as_str()),
            Topic::Order(Some(name), leaf) => write!(f, "powermeter/{name}/{}", leaf.as_str()),
            Topic::Order(None, leaf) => write!(f, "powermeter/{}", leaf.as_str()),
            Topic::Request(what) => write!(f, "meterbridge/bridge/request/{what}"),
            Topic::Response(what) => write!(f, "meterbridge/bridge/response/{what}"),
            Topic::Bridge(topic) => write!(f, "meterbridge/bridge/{}", topic.as_str()),
        }
    }
}

/// A topic that is none of the gateway's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no topic of the gateway")]
pub struct UnknownTopic(String);

impl FromStr for Topic {
    type Err = UnknownTopic;

    fn from_str(text: &str) -> Result<Topic, UnknownTopic> {
        parse(text).ok_or_else(|| UnknownTopic(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Topic> {
    let levels: Vec<&str> = text.split('/').collect();
    Some(match levels[..] {
        ["", "sensor", id, "gauge"] => Topic::Gauge(id.parse().ok()?),
        ["", "sensor", id, "counter"] => Topic::Counter(id.parse().ok()?),
        ["", "sensor", id, "tmpo", rid, level, begin, "gz"] => Topic::Tmpo {
            sensor: id.parse().ok()?,
            rid: rid.parse().ok()?,
            level: level.parse().ok()?,
            begin: begin.parse().ok()?,
        },
        ["", "device", id, "config", document] => {
            Topic::Config(id.parse().ok()?, find(&ConfigDocument::ALL, document)?)
        }
        ["", "device", id, "test", "tap"] => Topic::Tap(id.parse().ok()?),
        ["powermeter", name, "state", state] => {
            Topic::Meter(name.to_owned(), find(&MeterState::ALL, state)?)
        }
        ["powermeter", leaf] => Topic::Order(None, find(&Leaf::ALL, leaf)?),
        ["powermeter", name, leaf] => Topic::Order(Some(name.to_owned()), find(&Leaf::ALL, leaf)?),
        ["meterbridge", "bridge", "request", what] => Topic::Request(what.to_owned()),
        ["meterbridge", "bridge", "response", what] => Topic::Response(what.to_owned()),
        ["meterbridge", "bridge", topic] => Topic::Bridge(find(&BridgeTopic::ALL, topic)?),
        _ => return None,
    })
}

/// A topic level out of a closed list.
trait Level: Copy + 'static {
    fn as_str(self) -> &'static str;
}

fn find<L: Level>(all: &[L], text: &str) -> Option<L> {
    all.iter().copied().find(|level| level.as_str() == text)
}

impl ConfigDocument {
    /// All documents of a device, in the order they are published.
    pub const ALL: [ConfigDocument; 3] =
        [ConfigDocument::Kube, ConfigDocument::Flx, ConfigDocument::Sensor];
}

impl MeterState {
    const ALL: [MeterState; 6] = [
        MeterState::Sample,
        MeterState::Channels,
        MeterState::Availability,
        MeterState::Info,
        MeterState::Balance,
        MeterState::Switch,
    ];
}

impl Leaf {
    const ALL: [Leaf; 4] = [Leaf::Cmd, Leaf::Sample, Leaf::Switch, Leaf::SwitchTs];

    /// The filters for what is asked of one meter and of all.
    pub fn filters() -> impl Iterator<Item = String> {
        Leaf::ALL
            .iter()
            .flat_map(|leaf| ["+/", ""].map(|name| format!("powermeter/{name}{}", leaf.as_str())))
    }
}

impl Topic {
    /// The filter for everything that is asked of the gateway.
    pub const REQUESTS: &str = "meterbridge/bridge/request/+";
    /// The filter for everything of every sensor.
    pub const SENSORS: &str = "/sensor/#";
}

impl BridgeTopic {
    const ALL: [BridgeTopic; 7] = [
        BridgeTopic::State,
        BridgeTopic::Info,
        BridgeTopic::Devices,
        BridgeTopic::Event,
        BridgeTopic::Health,
        BridgeTopic::Log,
        BridgeTopic::HomeAssistant,
    ];
}

impl Level for ConfigDocument {
    fn as_str(self) -> &'static str {
        match self {
            ConfigDocument::Sensor => "sensor",
            ConfigDocument::Flx => "flx",
            ConfigDocument::Kube => "kube",
        }
    }
}

impl Level for MeterState {
    fn as_str(self) -> &'static str {
        match self {
            MeterState::Sample => "sample",
            MeterState::Channels => "channels",
            MeterState::Availability => "availability",
            MeterState::Info => "info",
            MeterState::Balance => "balance",
            MeterState::Switch => "switch",
        }
    }
}

impl Level for Leaf {
    fn as_str(self) -> &'static str {
        match self {
            Leaf::Cmd => "cmd",
            Leaf::Sample => "sample",
            Leaf::Switch => "switch",
            Leaf::SwitchTs => "switchTS",
        }
    }
}

impl Level for BridgeTopic {
    fn as_str(self) -> &'static str {
        match self {
            BridgeTopic::State => "state",
            BridgeTopic::Info => "info",
            BridgeTopic::Devices => "devices",
            BridgeTopic::Event => "event",
            BridgeTopic::Health => "health",
            BridgeTopic::Log => "log",
            BridgeTopic::HomeAssistant => "homeassistant",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_reads_back() {
        let id = "00112233445566778899aabbccddeeff";
        let topics = [
            format!("/sensor/{id}/gauge"),
            format!("/sensor/{id}/counter"),
            format!("/sensor/{id}/tmpo/0/8/1404225536/gz"),
            format!("/device/{id}/config/sensor"),
            format!("/device/{id}/config/flx"),
            format!("/device/{id}/config/kube"),
            format!("/device/{id}/test/tap"),
            "powermeter/house/state/sample".to_owned(),
            "powermeter/house/state/channels".to_owned(),
            "powermeter/house/state/availability".to_owned(),
            "powermeter/house/state/info".to_owned(),
            "powermeter/house/state/balance".to_owned(),
            "powermeter/house/state/switch".to_owned(),
            "powermeter/house/cmd".to_owned(),
            "powermeter/cmd".to_owned(),
            "powermeter/house/sample".to_owned(),
            "powermeter/sample".to_owned(),
            "powermeter/house/switch".to_owned(),
            "powermeter/house/switchTS".to_owned(),
            "meterbridge/bridge/state".to_owned(),
            "meterbridge/bridge/info".to_owned(),
            "meterbridge/bridge/devices".to_owned(),
            "meterbridge/bridge/event".to_owned(),
            "meterbridge/bridge/health".to_owned(),
            "meterbridge/bridge/log".to_owned(),
            "meterbridge/bridge/homeassistant".to_owned(),
            "meterbridge/bridge/request/rename".to_owned(),
            "meterbridge/bridge/response/rename".to_owned(),
        ];
        for text in topics {
            assert_eq!(text.parse::<Topic>().map(|topic| topic.to_string()), Ok(text));
        }
        for text in ["", "/", "/sensor/12/gauge", "powermeter//state/x", "sensor/a/gauge"] {
            assert!(text.parse::<Topic>().is_err(), "{text:?}");
        }
    }
}
