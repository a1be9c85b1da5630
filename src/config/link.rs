//! `link:`, the way to a meter.
//!
//! In the file a link is a set of keys of which exactly one says the way (`listen`, `connect`,
//! `serial`, `mqtt`, `http`) and the others belong to it. Here it is an enum, so that no later
//! code meets a combination that has no meaning.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::scalar::{Addresses, HostPort, Network};
use super::secret::SecretUrl;

/// The way to a meter, or to several behind one another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Keys", into = "Keys")]
pub enum Link {
    /// Meters dial in.
    Listen(Listen),
    /// The gateway dials out to a serial server, or to a meter. Port 0: none is written.
    Connect(HostPort),
    /// A serial port of this machine.
    Serial {
        /// The device file, best one of `/dev/serial/by-id/`.
        device: PathBuf,
        /// Bits per second; `None`: what the make of meter uses.
        baud: Option<u32>,
    },
    /// The meter publishes to a broker.
    Mqtt(MqttSource),
    /// The meter is asked over HTTP.
    Http(SecretUrl),
}

/// A listener for meters, and whom it takes in.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// Where to listen. Never empty in a checked configuration.
    pub addresses: Addresses,
    /// Networks that may connect; empty: all.
    pub allow: Vec<IpNet>,
    /// Connections at a time, at least one.
    pub connections: usize,
    /// A connection silent for so long is closed; zero: never.
    pub idle_timeout: Duration,
}

/// Which broker a meter publishes to.
#[derive(Clone, Debug, PartialEq)]
pub enum MqttSource {
    /// Ours.
    Embedded,
    /// One of its own, or any other.
    At(SecretUrl),
}

/// The keys as they stand in the file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[serde(
    expecting = "a way such as {listen: 0.0.0.0:8083}, {connect: 192.0.2.7:5000} or {serial: /dev/ttyUSB0}"
)]
struct Keys {
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<Addresses>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allow: Option<Vec<Network>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none", with = "super::duration::option")]
    idle_timeout: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<Target>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baud: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mqtt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<SecretUrl>,
}

/// A host to dial, with or without a port.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Target(HostPort);

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_host = !text.contains(':') && format!("{text}:1").parse::<HostPort>().is_ok();
        match is_host {
            true => Ok(Self(HostPort { host: text, port: 0 })),
            false => text.parse().map(Self),
        }
    }
}

impl From<Target> for String {
    fn from(Target(target): Target) -> String {
        if target.port == 0 { target.host } else { target.to_string() }
    }
}

impl Default for Link {
    /// A listener without an address: what an entry has whose `link` is missing or wrong. The
    /// check refuses it, so nothing behind the check meets it.
    fn default() -> Self {
        Self::Listen(Listen::at(Addresses::default()))
    }
}

impl Listen {
    /// A listener that takes in everybody, with the default bounds.
    pub fn at(addresses: Addresses) -> Self {
        let idle_timeout = Duration::from_secs(3600);
        Self { addresses, allow: Vec::new(), connections: 1000, idle_timeout }
    }
}

impl Link {
    /// The key that says the way.
    pub(super) fn way(&self) -> &'static str {
        match self {
            Self::Listen(_) => "listen",
            Self::Connect(_) => "connect",
            Self::Serial { .. } => "serial",
            Self::Mqtt(_) => "mqtt",
            Self::Http(_) => "http",
        }
    }

    /// Whether both have the same options, written or by default; `baud` is the default.
    pub(super) fn agrees(&self, other: &Self, default: u32) -> bool {
        let speed = |baud: &Option<u32>| baud.unwrap_or(default);
        match (self, other) {
            (Self::Serial { baud: one, .. }, Self::Serial { baud: two, .. }) => {
                speed(one) == speed(two)
            }
            (one, two) => one == two,
        }
    }

    /// Whether both use the same socket, dial the same place or open the same port.
    pub fn same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Listen(one), Self::Listen(two)) => {
                let sorted = |listen: &Listen| {
                    let mut addresses = listen.addresses.0.clone();
                    addresses.sort();
                    addresses
                };
                sorted(one) == sorted(two)
            }
            (Self::Serial { device: one, .. }, Self::Serial { device: two, .. }) => one == two,
            (one, two) => one == two,
        }
    }
}

impl TryFrom<Keys> for Link {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Self, String> {
        let way = keys.way()?;
        keys.refuse_foreign(way)?;
        let impossible = || "no way to the meter is given".to_owned();
        Ok(match way {
            "listen" => {
                let mut listen = Listen::at(keys.listen.ok_or_else(impossible)?);
                listen.allow = keys.allow.into_iter().flatten().map(|Network(net)| net).collect();
                listen.connections = keys.connections.unwrap_or(listen.connections);
                listen.idle_timeout = keys.idle_timeout.unwrap_or(listen.idle_timeout);
                Self::Listen(listen)
            }
            "connect" => Self::Connect(keys.connect.ok_or_else(impossible)?.0),
            "serial" => {
                Self::Serial { device: keys.serial.ok_or_else(impossible)?, baud: keys.baud }
            }
            "mqtt" => Self::Mqtt(match keys.mqtt.ok_or_else(impossible)?.as_str() {
                "embedded" => MqttSource::Embedded,
                url => SecretUrl::parse(url, &["mqtt", "mqtts"])
                    .map(MqttSource::At)
                    .map_err(|message| format!("mqtt: {message}, or embedded"))?,
            }),
            _ => Self::Http(keys.http.ok_or_else(impossible)?),
        })
    }
}

impl Keys {
    /// The one key that says the way.
    fn way(&self) -> Result<&'static str, String> {
        let given: Vec<&str> = [
            ("listen", self.listen.is_some()),
            ("connect", self.connect.is_some()),
            ("serial", self.serial.is_some()),
            ("mqtt", self.mqtt.is_some()),
            ("http", self.http.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, given)| given.then_some(key))
        .collect();
        match given.as_slice() {
            [one] => Ok(one),
            [] => Err("says no way to the meter: write one of {listen: 0.0.0.0:8083}, {connect: 192.0.2.7:5000}, {serial: /dev/serial/by-id/…}".to_owned()),
            many => Err(format!("has {}: a link has one of them", many.join(" and "))),
        }
    }

    /// Options that mean nothing for this way would be ignored silently, so they are refused.
    fn refuse_foreign(&self, way: &str) -> Result<(), String> {
        let foreign: Vec<String> = [
            ("allow", "listen", self.allow.is_some()),
            ("connections", "listen", self.connections.is_some()),
            ("idle_timeout", "listen", self.idle_timeout.is_some()),
            ("baud", "serial", self.baud.is_some()),
        ]
        .into_iter()
        .filter(|(_, owner, given)| *given && *owner != way)
        .map(|(key, owner, _)| format!("{key} belongs to {owner}, not to {way}"))
        .collect();
        if foreign.is_empty() { Ok(()) } else { Err(foreign.join("; ")) }
    }
}

impl From<Link> for Keys {
    fn from(link: Link) -> Self {
        let mut keys = Self::default();
        match link {
            Link::Listen(listen) => {
                keys.listen = Some(listen.addresses);
                keys.allow = Some(listen.allow.into_iter().map(Network).collect());
                keys.connections = Some(listen.connections);
                keys.idle_timeout = Some(listen.idle_timeout);
            }
            Link::Connect(address) => keys.connect = Some(Target(address)),
            Link::Serial { device, baud } => {
                keys.serial = Some(device);
                keys.baud = baud;
            }
            Link::Mqtt(MqttSource::Embedded) => keys.mqtt = Some("embedded".to_owned()),
            // The keys are only ever shown: the mask is meant to stay.
            Link::Mqtt(MqttSource::At(url)) => keys.mqtt = Some(url.to_string()),
            Link::Http(url) => keys.http = Some(url),
        }
        keys
    }
}
