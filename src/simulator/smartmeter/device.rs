//! A meter at work, without any input or output: the time and what arrives come in as arguments, and
//! what is to be done goes into a queue.
//!
//! It has one loop for all connections: while one of them owes the rest of a line, all others wait.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::mains::{LineLevel, Mains};
use super::manners::SmartManners;
use super::sampling::Sampling;
use super::say::{self, Level};
use super::settings::{Energy, Settings};
use super::{SmartKind, SmartSimulation, SmartWays};

/// A simulated SmartMeter or PowerMeter, as a test sees it and changes it.
#[derive(Debug)]
pub struct SmartDevice {
    /// Which of the two it is.
    pub kind: SmartKind,
    /// The name that it has given itself.
    pub name: String,
    /// The name in its topics: the old one until it connects anew.
    pub topic_name: String,
    /// Whether the relay is closed; a SmartMeter has none.
    pub relay: bool,
    /// How it misbehaves.
    pub manners: SmartManners,
    /// The commands that it has taken in, the last ones: the line, or over MQTT topic and payload.
    pub heard: VecDeque<String>,
    /// Times that it has started.
    pub starts: u32,
    /// Samples that were sent of streams, this one and those before.
    pub samples_sent: u64,
    /// Connections that were closed at once, for there were three.
    pub refused: u32,
    pub(super) place: u32,
    pub(super) ip: String,
    pub(super) mains: Arc<Mains>,
    pub(super) settings: Settings,
    pub(super) energy: Energy,
    pub(super) sampling_rate: u32,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) sampling: Option<Sampling>,
    /// Its log, rows without prefix.
    pub(super) rows: VecDeque<String>,
    pub(super) out: VecDeque<Out>,
    /// The last connection that has sent a command.
    pub(super) last_client: Option<u64>,
    /// Time of the last `state/sample`, and of the next one.
    pub(super) next_publish: f64,
    /// On a broker.
    pub(super) on_mqtt: bool,
    pub(super) late: VecDeque<(f64, Out)>,
    next_second: f64,
    next_restart: Option<f64>,
    restarting: bool,
    pub(super) noise: usize,
}

/// A connection, whoever has opened it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) role: Role,
    pub(super) peer: Option<IpAddr>,
    pub(super) level: Level,
    pub(super) input: Vec<u8>,
    /// Until when the rest of a line is waited for.
    pub(super) patience: Option<f64>,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Commands,
    /// Reads the stream, and says nothing.
    Reader,
    Serial,
}

/// What is to be done outside.
#[derive(Debug)]
pub(super) enum Out {
    Bytes(u64, Vec<u8>),
    Close(u64),
    Datagram(SocketAddr, Vec<u8>),
    Publish { topic: String, payload: String, retain: bool },
}

impl SmartDevice {
    pub(super) fn new(
        simulation: &SmartSimulation,
        place: u32,
        mains: Mains,
        ways: &SmartWays,
        manners: SmartManners,
    ) -> SmartDevice {
        let kind = simulation.kind;
        let name = kind.name(place);
        let mut settings = Settings::new(kind, simulation.interval.as_secs_f64());
        settings.mqtt_server = ways.mqtt.as_ref().map_or("-".to_owned(), |to| to.host.clone());
        settings.mqtt_port = ways.mqtt.as_ref().map_or(manners.mqtt_port, |to| to.port);
        settings.stream_server = ways.connect.as_ref().map_or("-".to_owned(), |to| to.host.clone());
        settings.stream_port = ways.connect.as_ref().map(|to| to.port);
        SmartDevice {
            kind,
            topic_name: name.clone(),
            name,
            relay: true,
            heard: VecDeque::new(),
            starts: 0,
            samples_sent: 0,
            refused: 0,
            place,
            ip: ways.listen.map_or("192.168.0.138".to_owned(), |at| at.ip().to_string()),
            mains: Arc::new(mains),
            energy: Energy::new(kind),
            settings,
            sampling_rate: 0,
            connections: BTreeMap::new(),
            sampling: None,
            rows: VecDeque::new(),
            out: VecDeque::new(),
            last_client: None,
            next_publish: 0.0,
            on_mqtt: false,
            late: VecDeque::new(),
            next_second: 0.0,
            next_restart: None,
            restarting: false,
            noise: 0,
            manners,
        }
    }

    /// The true values of each line at a time, in seconds since 1970, by the relay as it is now.
    pub fn levels(&self, seconds: f64) -> Vec<LineLevel> {
        let mut levels = self.mains.at(seconds);
        if !self.relay {
            levels.iter_mut().for_each(LineLevel::interrupt);
        }
        levels
    }

    /// Whether it samples.
    pub fn is_sampling(&self) -> bool {
        self.sampling.is_some()
    }

    /// Whether it is connected with its broker, and has subscribed.
    pub fn on_broker(&self) -> bool {
        self.on_mqtt
    }

    /// Whether it says that it is busy.
    pub(super) fn is_busy(&self) -> bool {
        self.sampling.is_some() || self.manners.busy
    }

    /// Has it restart now.
    pub fn restart(&mut self) {
        self.restarting = true;
    }

    pub(super) fn version(&self) -> &'static str {
        match (self.kind, self.manners.old_firmware) {
            (SmartKind::SmartMeter, _) => "2.2",
            (SmartKind::PowerMeter, false) => "2.3",
            (SmartKind::PowerMeter, true) => "1.3",
        }
    }

    /// The energy of each line up to now, Wh.
    pub fn energy_wh(&self, seconds: f64) -> Vec<f64> {
        let since = self.mains.taken_wh(self.energy.at, seconds);
        let closed = f64::from(u8::from(self.relay));
        self.energy
            .stored
            .iter()
            .zip(since)
            .map(|(stored, since)| stored + since * closed)
            .collect()
    }

    /// Switched off: what was in its memory is gone.
    pub(super) fn switch_off(&mut self) {
        self.connections.clear();
        self.out.clear();
        self.late.clear();
        self.sampling = None;
        self.last_client = None;
        self.on_mqtt = false;
    }

    /// Switched on: what was stored is there again.
    pub(super) fn boot(&mut self, now: f64) {
        self.starts += 1;
        self.restarting = false;
        self.sampling_rate = if self.kind.is_smart() { 8000 } else { 4000 };
        self.topic_name.clone_from(&self.name);
        if self.starts == 1 {
            self.energy.at = now;
            self.energy.since = now - 86_400.0;
        } else {
            // It measures nothing while it starts.
            self.energy.at = now;
        }
        self.next_second = now + 1.0;
        self.next_publish = now + self.settings.publish.unwrap_or(5.0);
        self.next_restart = self.manners.restarts.map(|every| now + every.as_secs_f64());
        let row = say::row(Level::Info, "Reboot - inited SPIFFS Logger", now);
        self.rows.push_back(row.get(3..).unwrap_or_default().to_owned());
    }

    /// Whether it restarts now.
    pub(super) fn restarts(&self) -> bool {
        self.restarting
    }

    pub(super) fn hear(&mut self, what: String) {
        if self.heard.len() == HEARD {
            self.heard.pop_front();
        }
        self.heard.push_back(what);
    }

    /// Does what is due; `room`: bytes that the sink of a stream takes before it is behind.
    pub(super) fn tick(&mut self, now: f64, room: usize) {
        self.read_lines(now);
        if self.next_restart.is_some_and(|at| at <= now) {
            self.restarting = true;
        }
        if self.sampling.as_ref().is_some_and(|sampling| sampling.overflows(now)) {
            tracing::warn!(name = self.name, "the buffer is full: the meter restarts");
            self.restarting = true;
        }
        if self.restarting || self.is_blocked() {
            return;
        }
        while self.late.front().is_some_and(|(at, _)| *at <= now) {
            self.out.extend(self.late.pop_front().map(|(_, out)| out));
        }
        self.store(now, false);
        self.stream(now, room);
        self.let_reader_in(now);
        if now >= self.next_second {
            self.next_second = (self.next_second + 1.0).max(now);
            self.each_second(now);
        }
        self.publish_due(now);
    }

    /// When something is to be done again without anything arriving, seconds since 1970.
    pub(super) fn deadline(&self, now: f64) -> f64 {
        let patience = self.connections.values().filter_map(|connection| connection.patience);
        if let Some(until) = patience.reduce(f64::min) {
            return until;
        }
        let late = self.late.front().map(|(at, _)| *at);
        let stream = self.sampling.as_ref().map(|sampling| sampling.next(now));
        [late, stream, self.next_restart, self.on_mqtt.then_some(self.next_publish)]
            .into_iter()
            .flatten()
            .fold(self.next_second, f64::min)
    }

    fn each_second(&mut self, now: f64) {
        let Some(sampling) = &self.sampling else {
            self.log(Level::Info, "", now);
            return;
        };
        let rate = f64::from(sampling.request.rate) + 0.12;
        let text = match self.kind {
            SmartKind::SmartMeter => format!("{rate:.2}Hz, {}s", sampling.taken(now)),
            SmartKind::PowerMeter => format!("{rate:.2}Hz"),
        };
        self.log(Level::Info, &text, now);
        self.make_noise(now);
    }

    /// Opens or closes the relay.
    pub(super) fn switch(&mut self, closed: bool, now: f64) {
        self.store(now, true);
        self.relay = closed;
        if let Some(sampling) = &mut self.sampling {
            sampling.switch(closed, now);
        }
        self.log(Level::Info, if closed { "Switched on" } else { "Switched off" }, now);
        self.publish("state/switch", if closed { "true" } else { "false" }, true);
    }

    /// The refusal of a command while it samples.
    pub(super) fn busy(&self, command: &str) -> Map<String, Value> {
        say::object([
            ("error", json!(true)),
            ("cmd", json!(command)),
            ("msg", json!(format!("Device with IP: {} currently sampling", self.ip))),
            ("state", json!("busy")),
        ])
    }
}

/// Commands that are remembered.
const HEARD: usize = 1000;
