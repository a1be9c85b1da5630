//! What `/api` tells, as it is written in JSON.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::tokens::Tokens;
use crate::broker::{Caller, ClientInfo};
use crate::command::directory::{Directory, Heard, Meter};
use crate::model::{Milli, Sensor, Sum};
use crate::publish::{self, Described};
use crate::topic::{MeterState, Topic};

/// One meter with its latest values.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MeterView {
    #[serde(flatten)]
    pub(super) described: Described,
    /// Maker and product in words; null until it is heard.
    pub(super) title: Option<&'static str>,
    /// When its last packet came, Unix seconds; null if it was not heard since the gateway started.
    pub(super) last_seen: Option<i64>,
    /// Its channels, in the order of the meter.
    pub(super) channels: Vec<ChannelView>,
    #[serde(flatten)]
    pub(super) now: Now,
}

/// The latest values of a meter.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Now {
    /// W: its grid channels if any has that role, else the sum of its loads; null until it is known.
    power: Option<f64>,
    /// Every channel's values, as on `powermeter/<name>/state/channels`; null until it is heard.
    #[schema(value_type = Option<Object>)]
    state: Option<Box<RawValue>>,
}

/// One physical input of a meter.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct ChannelView {
    /// `ch1`…, `aux1`…, `pulse1`…, `t1`…, `line`.
    channel: String,
    /// Its name, a label.
    name: String,
    /// `grid`, `solar`, `battery` or `load`.
    #[schema(value_type = String)]
    role: crate::model::Role,
    /// `electricity`, `gas`, `water`, `temperature` or `other`.
    #[serde(rename = "type")]
    medium: &'static str,
    /// The unit of a pulse input's `total` in the state, if it has one.
    total_unit: Option<&'static str>,
}

/// One sensor: a quantity on a channel, with the id that its topics have.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SensorView {
    /// Sensor id, 32 hexadecimal digits.
    id: String,
    /// The token for this sensor's history.
    token: String,
    /// Device id, 32 hexadecimal digits.
    device: String,
    /// The physical input.
    channel: String,
    /// What is measured: `pplus`, `pminus`, `vrms`, `irms`, `temperature`, `pulse`.
    quantity: &'static str,
    /// The unit of its total, or of its value where it counts nothing.
    unit: &'static str,
    /// The name of the channel, a label.
    name: String,
}

/// A client of the broker.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct ClientView {
    /// Its client id.
    id: String,
    /// The user it logged in as.
    user: Option<String>,
    /// Whether it is connected now; else its session is kept for its return.
    connected: bool,
    /// Where it is connected from.
    address: Option<String>,
    /// `3.1.1` or `5`.
    version: Option<&'static str>,
    /// When it connected, Unix seconds.
    since: Option<u64>,
    /// Filters it is subscribed to.
    subscriptions: usize,
    /// Messages that wait for it.
    queued: usize,
    /// Whether its session outlives the connection.
    persistent: bool,
}

/// The gateway, and how to reach its broker.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InfoView {
    pub(super) version: &'static str,
    /// Unix seconds.
    pub(super) started: i64,
    /// The configuration file is not the one that runs any more.
    pub(super) restart_required: bool,
    pub(super) broker: BrokerView,
    /// Whether MQTT clients need a login.
    pub(super) login_needed: bool,
    /// The user who asks, if one logged in.
    pub(super) user: Option<String>,
    /// The token for every sensor, as Flukso's server has one for an account; null for those who may
    /// not read `/sensor/#`.
    pub(super) master_token: Option<String>,
}

/// The broker as clients find it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct BrokerView {
    /// `embedded` or `external`.
    pub(super) mode: &'static str,
    /// Addresses that take MQTT.
    #[schema(value_type = Vec<String>)]
    pub(super) listen: Vec<SocketAddr>,
    /// Addresses that take MQTT with TLS.
    #[schema(value_type = Vec<String>)]
    pub(super) tls: Vec<SocketAddr>,
    /// The broker elsewhere, host and port.
    pub(super) elsewhere: Option<String>,
    /// Whether the broker can be used now.
    pub(super) connected: bool,
    /// Why it cannot.
    pub(super) reason: Option<String>,
}

/// All meters the caller may read.
pub(super) fn meters(directory: &Directory, caller: &Caller) -> Vec<MeterView> {
    let all = directory.all();
    all.iter().filter(|meter| may_read(caller, meter.name())).map(MeterView::of).collect()
}

/// Whether the caller may see the values of the meter of this name.
pub(super) fn may_read(caller: &Caller, name: &str) -> bool {
    caller.may_read(&Topic::Meter(name.to_owned(), MeterState::Channels).to_string())
}

/// All sensors the caller may read, meter by meter.
pub(super) fn sensors(directory: &Directory, caller: &Caller, tokens: &Tokens) -> Vec<SensorView> {
    let mut views = Vec::new();
    for meter in directory.all() {
        let Meter::Heard(heard) = meter else { continue };
        let may = |sensor: &&Sensor| {
            caller.may_read(&Topic::Counter(sensor.id).to_string())
                || caller.may_read(&Topic::Gauge(sensor.id).to_string())
        };
        views.extend(heard.device.sensors.iter().filter(may).map(|sensor| SensorView {
            id: sensor.id.to_string(),
            token: tokens.of(sensor.id),
            device: heard.device.id.to_string(),
            channel: sensor.channel.to_string(),
            quantity: sensor.quantity.as_str(),
            unit: sensor.counter.or(sensor.gauge).map_or("", |unit| unit.as_str()),
            name: sensor.name.to_string(),
        }));
    }
    views
}

impl MeterView {
    pub(super) fn of(meter: &Meter) -> MeterView {
        match meter {
            Meter::Heard(heard) => MeterView {
                described: publish::describe(&heard.device, heard.online),
                title: Some(heard.device.model.title()),
                last_seen: Some(heard.at.seconds()),
                channels: channels(&heard.device.sensors),
                now: Now::of(heard),
            },
            Meter::Expected(expected) => MeterView {
                described: Described {
                    id: None,
                    name: expected.name.to_string(),
                    make: expected.make.as_str(),
                    model: None,
                    serial: expected.serial.as_deref().map(str::to_owned),
                    adopted: false,
                    new: false,
                    online: false,
                    sensors: 0,
                },
                title: None,
                last_seen: None,
                channels: Vec::new(),
                now: Now { power: None, state: None },
            },
        }
    }
}

impl Now {
    pub(super) fn of(heard: &Heard) -> Now {
        let mut state = String::new();
        let device = &heard.device;
        publish::write_channels(
            &mut state,
            device,
            &heard.latest,
            &heard.pulses,
            heard.relay,
            heard.at,
        );
        Now {
            power: Sum::of(&device.sensors, &heard.latest)
                .map(|sum| Milli::to_f64(sum.power.hundredths())),
            state: RawValue::from_string(state).ok(),
        }
    }
}

fn channels(sensors: &[Sensor]) -> Vec<ChannelView> {
    let groups = sensors.chunk_by(|one, other| one.channel == other.channel);
    let first = groups.filter_map(|sensors| sensors.first());
    first.map(ChannelView::of).collect()
}

impl ChannelView {
    fn of(sensor: &Sensor) -> ChannelView {
        let total_unit = match sensor.kind.as_str() {
            "gas" | "water" => Some("L"),
            "electricity" => Some("kWh"),
            _ => None,
        };
        let counts = sensor.quantity == crate::model::Quantity::Pulse;
        ChannelView {
            channel: sensor.channel.to_string(),
            name: sensor.name.to_string(),
            role: sensor.role,
            medium: sensor.kind.as_str(),
            total_unit: total_unit.filter(|_| counts),
        }
    }
}

impl From<ClientInfo> for ClientView {
    fn from(client: ClientInfo) -> ClientView {
        let connection = client.connection;
        ClientView {
            id: client.id.to_string(),
            user: client.user.map(|user| user.to_string()),
            connected: connection.is_some(),
            address: connection.map(|one| one.peer.ip().to_canonical().to_string()),
            version: connection.map(|one| one.version),
            since: connection.map(|one| seconds(one.since)),
            subscriptions: client.subscriptions,
            queued: client.queued,
            persistent: client.persistent,
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
