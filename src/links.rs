//! From the configuration's `meters:` and `broker:` to what adapters, transports and the broker
//! want to know.

mod fluksometer;
mod smartmeter;
mod streams;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use meter_protocols::dsmr;

use crate::adapters::brultech::{LinkSettings, Unit};
use crate::adapters::fleet::{ChannelSettings, LinkId, MeterSettings};
use crate::broker::{
    self, AccessRule, AccessSettings, Broker, BrokerError, BrokerSettings, ExternalSettings, Gate,
    Login, ProtocolVersion, Service, TlsSettings, Who, Will,
};
use crate::config::broker::{self as broker_section, Mode};
use crate::config::link::Link;
use crate::config::meter::{self, Kind, Meter, Polarity, TemperatureUnit, Timeout};
use crate::config::{Config, Discovery, WebAccess, WebSocketMqtt};
use crate::gateway::Addresses;
use crate::homeassistant;
use crate::model::{Channel, Make, SensorType, Timestamp};
use crate::topic::{BridgeTopic, Topic};
use crate::transport::{Dial, Framing, ListenOptions, SerialLine};
use crate::web::{About, ApiAccess, MqttAccess};

pub(crate) use self::fluksometer::{mdns, plan as fluksometers};
pub(crate) use self::smartmeter::plan as smartmeters;
pub(crate) use self::streams::streams;

/// What the meter entries come to.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The links, each once with the make of its meters; a [`LinkId`] is a place in this list.
    pub(crate) links: Vec<(Make, MeterLink)>,
    /// What is configured of each link as a whole, in the same order.
    pub(crate) settings: Vec<LinkSettings>,
    /// What opens the telegrams of encrypting customer ports on each link, in the same order.
    pub(crate) keys: Vec<Vec<dsmr::Key>>,
    /// One per entry, with the make of the meter.
    pub(crate) meters: Vec<(Make, MeterSettings)>,
}

/// A way to meters that this version can go.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MeterLink {
    Listen { addresses: Vec<SocketAddr>, options: ListenOptions },
    Dial(Dial),
    Serial(SerialLine),
}

/// How meters are announced to Home Assistant. A meter that is asked seldom, or may be silent for
/// long, has powers that live as long.
pub(crate) fn homeassistant(config: &Config) -> homeassistant::Settings {
    let rare = config.meters.iter().flat_map(|meter| {
        let timeout = match meter.timeout {
            Timeout::After(span) => Some(span),
            Timeout::Auto => None,
        };
        [timeout, meter.poll.map(|poll| poll.saturating_mul(3))].into_iter().flatten()
    });
    homeassistant::Settings {
        form: match config.homeassistant.discovery {
            Discovery::None => None,
            Discovery::Device => Some(homeassistant::Form::Device),
            Discovery::Component => Some(homeassistant::Form::Component),
        },
        prefix: config.homeassistant.prefix.clone(),
        silence: rare.fold(homeassistant::Settings::SILENCE, Duration::max),
    }
}

/// Entries with the same link share it. Kinds and links that this version cannot serve were
/// refused when the configuration was checked.
pub(crate) fn plan(entries: &[Meter]) -> Plan {
    let mut plan =
        Plan { links: Vec::new(), settings: Vec::new(), keys: Vec::new(), meters: Vec::new() };
    let mut known: Vec<&Link> = Vec::new();
    for entry in entries {
        let (Some(make), Some(link)) = (make(entry.kind), meter_link(entry)) else { continue };
        // Port 0 is another port each time it is asked for.
        let shared =
            known.iter().position(|known| known.same_place(&entry.link) && !link.is_any_port());
        let place = shared.unwrap_or_else(|| {
            known.push(&entry.link);
            let one_line = !matches!(link, MeterLink::Listen { .. });
            plan.settings.push(LinkSettings { one_line, ..LinkSettings::default() });
            plan.keys.push(Vec::new());
            plan.links.push((make, link));
            plan.links.len() - 1
        });
        add_to_link(&mut plan.settings[place], entry);
        add_key(&mut plan.keys[place], entry);
        plan.meters.push((make, meter_settings(entry, LinkId(place))));
    }
    plan
}

/// The make of a kind's meters; `None`: no adapter is there for it yet.
fn make(kind: Kind) -> Option<Make> {
    match kind {
        Kind::Brultech => Some(Make::Brultech),
        Kind::Fluksometer => Some(Make::Fluksometer),
        Kind::P1 => Some(Make::P1),
        Kind::Smartmeter => Some(Make::Smartmeter),
    }
}

impl Plan {
    /// The entries of one make.
    pub(crate) fn meters_of(&self, make: Make) -> Vec<MeterSettings> {
        let of_make = self.meters.iter().filter(|(one, _)| *one == make);
        of_make.map(|(_, settings)| settings.clone()).collect()
    }
}

/// What an entry says of its link. How often to ask was checked to be the same everywhere.
fn add_to_link(link: &mut LinkSettings, entry: &Meter) {
    link.poll = link.poll.or(entry.poll);
    for unit in entry.units.iter().filter_map(|unit| unit.parse::<Unit>().ok()) {
        if !link.units.contains(&unit) {
            link.units.push(unit);
        }
    }
    link.serials.extend(entry.serial_number.clone());
    let fahrenheit = entry.temperature_unit == TemperatureUnit::Fahrenheit;
    link.fahrenheit.push((entry.serial_number.clone(), fahrenheit));
}

/// A key that is none was refused when the configuration was checked.
fn add_key(keys: &mut Vec<dsmr::Key>, entry: &Meter) {
    let key = entry.key.as_ref().and_then(|key| key.reveal().parse().ok());
    if let Some(key) = key.filter(|key| !keys.contains(key)) {
        keys.push(key);
    }
}

impl MeterLink {
    fn is_any_port(&self) -> bool {
        match self {
            MeterLink::Listen { addresses, .. } => addresses.iter().any(|one| one.port() == 0),
            MeterLink::Dial(_) | MeterLink::Serial(_) => false,
        }
    }
}

fn meter_link(entry: &Meter) -> Option<MeterLink> {
    match &entry.link {
        Link::Listen(listen) => Some(MeterLink::Listen {
            addresses: listen.addresses.0.clone(),
            options: ListenOptions {
                allow: listen.allow.clone(),
                connections: listen.connections,
                idle: (!listen.idle_timeout.is_zero()).then_some(listen.idle_timeout),
            },
        }),
        Link::Connect(address) => {
            let idle = match entry.kind {
                Kind::P1 => Some(PORT_IDLE),
                // Its session asks whether it lives.
                Kind::Smartmeter => None,
                Kind::Brultech | Kind::Fluksometer => Some(DIAL_IDLE),
            };
            let address = address.or_port(COMMAND_PORT).to_string();
            Some(MeterLink::Dial(Dial { address, idle }))
        }
        Link::Serial { device, baud } => {
            let baud = baud.unwrap_or(entry.kind.baud());
            let framing = framing(entry.kind, baud);
            Some(MeterLink::Serial(SerialLine { device: device.clone(), baud, framing }))
        }
        Link::Mqtt(_) | Link::Http(_) => None,
    }
}

/// The customer ports that are slower than DSMR 4 have seven bits: DSMR 2.2 and 3, TIC.
fn framing(kind: Kind, baud: u32) -> Framing {
    match kind {
        Kind::P1 if baud <= 9600 => Framing::SevenEven,
        _ => Framing::EightNone,
    }
}

/// A customer port speaks every ten seconds and more often. A dongle that has started again on a poor
/// network says nothing of the connection that it forgot.
const PORT_IDLE: std::time::Duration = std::time::Duration::from_secs(60);
/// Where a SmartMeter listens for commands; no other meter can be written without a port.
pub(crate) const COMMAND_PORT: u16 = 54_321;
/// A meter that keeps a connection sends at least every 256 s.
const DIAL_IDLE: std::time::Duration = std::time::Duration::from_secs(600);

fn meter_settings(entry: &Meter, link: LinkId) -> MeterSettings {
    let btmon = entry.polarity == Polarity::Btmon;
    let channels: HashMap<Channel, ChannelSettings> = entry
        .channels
        .iter()
        .filter_map(|(key, channel)| Some((key.parse().ok()?, channel_settings(channel, btmon))))
        .collect();
    MeterSettings {
        name: entry.name.as_str().into(),
        serial: entry.serial_number.clone(),
        link,
        id: entry.id.map(|id| id.0.into()),
        identity: None,
        power_ceiling_w: entry.power_ceiling.watts,
        timeout: match entry.timeout {
            Timeout::Auto => None,
            Timeout::After(span) => Some(span),
        },
        poll: entry.poll,
        fahrenheit: entry.temperature_unit == TemperatureUnit::Fahrenheit,
        channels,
        other_channels: ChannelSettings { btmon, ..ChannelSettings::default() },
    }
}

fn channel_settings(channel: &meter::Channel, btmon: bool) -> ChannelSettings {
    ChannelSettings {
        name: channel.name.as_deref().map(Arc::from),
        role: channel.role,
        btmon,
        multiplier: channel.multiplier,
        scales: (channel.scale_v, channel.scale_i),
        kind: channel.medium.map(SensorType::from),
        constant: channel.constant,
        id: channel.id.map(|id| id.0.into()),
    }
}

/// What the broker is told of the section `broker:`.
pub(crate) fn broker_settings(config: &Config) -> BrokerSettings {
    let broker = &config.broker;
    BrokerSettings {
        listen: broker.listen.0.clone(),
        tls: broker.tls.as_ref().map(|tls| TlsSettings::new(tls.listen.0.clone(), tls.files())),
        limits: broker.limits.clone(),
        access: access_settings(config),
        data_dir: Some(config.data_dir.clone()),
    }
}

/// What was checked with the configuration; a hash that is none lets nobody in.
fn access_settings(config: &Config) -> AccessSettings {
    let section = &config.broker;
    let user = |user: &broker_section::User| {
        let password_hash = user.password_hash.reveal().parse().ok()?;
        Some(broker::User { name: user.name.clone(), password_hash })
    };
    let rule = |entry: &broker_section::Permission| AccessRule {
        who: match entry.user.as_deref() {
            None => Who::Anonymous,
            Some("*") => Who::AnyUser,
            Some(name) => Who::User(name.to_owned()),
        },
        read: entry.read.clone(),
        write: entry.write.clone(),
        deny: entry.deny.clone(),
    };
    AccessSettings {
        allow_anonymous: config.anonymous_allowed(),
        users: section.users.iter().filter_map(user).collect(),
        password_file: section.password_file.clone(),
        rules: section.acl.iter().map(rule).collect(),
    }
}

/// What the web port does about MQTT over WebSocket.
pub(crate) fn mqtt_access(config: &Config, broker: &Broker) -> MqttAccess {
    match config.mqtt_over_websocket() {
        WebSocketMqtt::Open => MqttAccess::Open(broker.door()),
        WebSocketMqtt::Off => MqttAccess::Off,
        WebSocketMqtt::Unguarded => MqttAccess::Unguarded,
    }
}

/// What the web port does about commands.
///
/// # Errors
/// When the password file cannot be read.
pub(crate) fn api_access(config: &Config, broker: &Service) -> Result<ApiAccess, BrokerError> {
    let anonymous = match config.web_access() {
        WebAccess::Open => true,
        WebAccess::Login => false,
        WebAccess::Unguarded => return Ok(ApiAccess::Unguarded),
    };
    Ok(ApiAccess::Guarded(match broker {
        Service::Embedded(broker) => broker.gate(anonymous),
        Service::External(_) => Gate::new(access_settings(config), anonymous)?,
    }))
}

/// What the status page tells.
pub(crate) fn about(config: &Config, addresses: &Addresses) -> About {
    let elsewhere =
        config.broker.external.as_ref().filter(|_| config.broker.mode == Mode::External);
    let elsewhere = elsewhere.and_then(|external| external.endpoint().ok());
    About {
        started: Timestamp::now(),
        listen: addresses.broker.clone(),
        tls: addresses.broker_tls.clone(),
        elsewhere: elsewhere.map(|endpoint| endpoint.address.to_string()),
        login_needed: !config.anonymous_allowed(),
        base_path: config.web.base_path.clone(),
    }
}

/// What the connection to a broker elsewhere is told of the section `broker:`.
///
/// # Errors
/// When the section does not say which broker, which the check of the configuration refuses.
pub(crate) fn external_settings(config: &Config) -> Result<ExternalSettings, String> {
    let (limits, external) = (&config.broker.limits, &config.broker.external);
    let external = external.as_ref().ok_or("broker.external is missing")?;
    let endpoint = external.endpoint().map_err(|error| format!("broker.external.url {error}"))?;
    let password = endpoint.password.or_else(|| external.password.clone());
    Ok(ExternalSettings {
        host: endpoint.address.host,
        port: endpoint.address.port,
        tls: endpoint.tls,
        ca: external.ca.clone(),
        login: endpoint.user.map(|user| Login { user, password: password.unwrap_or_default() }),
        client_id: external.client_id.clone(),
        version: if external.version == 4 { ProtocolVersion::V3 } else { ProtocolVersion::V5 },
        will: Some(Will {
            topic: Topic::Bridge(BridgeTopic::State).to_string(),
            payload: "offline".to_owned(),
        }),
        event_topic: Topic::Bridge(BridgeTopic::Event).to_string(),
        outbox_messages: external.outbox_messages,
        outbox_bytes: external.outbox_bytes,
        queued_messages: limits.queued_messages,
        queued_bytes: limits.queued_bytes,
        packet_size: limits.packet_size,
        inflight: limits.inflight,
        pauses: (Duration::from_secs(1), Duration::from_secs(30)),
        data_dir: config.data_dir.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::link::Listen;
    use crate::config::scalar::Addresses;

    fn entry(name: &str, ports: &[u16]) -> Meter {
        let address = |port: &u16| SocketAddr::from(([127, 0, 0, 1], *port));
        let addresses = Addresses(ports.iter().map(address).collect());
        Meter { name: name.into(), link: Link::Listen(Listen::at(addresses)), ..Meter::default() }
    }

    #[test]
    fn entries_with_the_same_link_share_it() {
        let entries =
            [entry("a", &[1, 2]), entry("b", &[2, 1]), entry("c", &[3]), entry("d", &[0])];
        let again = entry("e", &[0]);
        let plan = plan(&[&entries[..], &[again]].concat());
        let places: Vec<usize> = plan.meters.iter().map(|(_, meter)| meter.link.0).collect();
        assert_eq!((places, plan.links.len()), (vec![0, 0, 1, 2, 3], 4));
    }
}
