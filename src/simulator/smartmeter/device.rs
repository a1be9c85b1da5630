//! A meter at work, without any input or output: the time and what arrives come in as arguments, and
//! what is to be done goes into a queue.
//!
//! It has one loop for all connections: while one of them owes the rest of a line, all others wait.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::commands::Asker;
use super::layout::Layout;
use super::mains::{LineLevel, Mains};
use super::manners::SmartManners;
use super::sampling::{Request, Sampling, Sink, chunk};
use super::say::{self, Level, json_line, log_line};
use super::settings::{Energy, Settings};
use super::wave::Wave;
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
    late: VecDeque<(f64, Out)>,
    next_second: f64,
    next_restart: Option<f64>,
    restarting: bool,
    noise: usize,
}

/// A connection, whoever has opened it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) role: Role,
    pub(super) peer: Option<IpAddr>,
    pub(super) level: Level,
    input: Vec<u8>,
    /// Until when the rest of a line is waited for.
    patience: Option<f64>,
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

    /// Somebody has connected, or the meter has; `false`: there is no room.
    pub(super) fn connected(
        &mut self,
        id: u64,
        role: Role,
        peer: Option<SocketAddr>,
        now: f64,
    ) -> bool {
        let taken = self.connections.values().filter(|other| other.role == Role::Commands).count();
        if role == Role::Commands && taken >= SLOTS {
            self.refused += 1;
            return false;
        }
        if let (Role::Commands, Some(peer)) = (role, peer) {
            let text = format!("Client with IP {} connected on port {}", peer.ip(), peer.port());
            self.log(Level::Info, &text, now);
        }
        let connection = Connection {
            role,
            peer: peer.map(|peer| peer.ip()),
            level: Level::Info,
            input: Vec::new(),
            patience: None,
        };
        self.connections.insert(id, connection);
        if role == Role::Commands && !self.manners.silent {
            self.out.push_back(Out::Bytes(id, json_line(&self.dictionary(now))));
        }
        true
    }

    pub(super) fn closed(&mut self, id: u64, now: f64) {
        self.connections.remove(&id);
        if self.last_client == Some(id) {
            self.last_client = None;
        }
        let is_sink = |sampling: &Sampling| match sampling.request.sink {
            Sink::Connection(sink) | Sink::Reader(sink) | Sink::Datagrams(_, sink) => sink == id,
            Sink::Mqtt => false,
        };
        if self.sampling.as_ref().is_some_and(is_sink) {
            self.log(Level::Error, "TCP disconnected while streaming", now);
            self.end_sampling(now, false);
        }
    }

    pub(super) fn received(&mut self, id: u64, bytes: &[u8], now: f64) {
        if let Some(connection) = self.connections.get_mut(&id)
            && connection.role != Role::Reader
            && connection.input.len() < INPUT
        {
            connection.input.extend_from_slice(bytes);
        }
        self.read_lines(now);
    }

    /// Runs what has been said, as far as nobody owes the rest of a line.
    fn read_lines(&mut self, now: f64) {
        while let Some((id, line)) = self.next_line(now) {
            let words = line.trim_end();
            self.hear(words.to_owned());
            if !words.is_empty() {
                self.last_client = Some(id);
                self.obey(&line, Asker::Connection(id), now);
            }
            if self.restarting {
                return;
            }
        }
    }

    fn next_line(&mut self, now: f64) -> Option<(u64, String)> {
        let most = if self.kind.is_smart() { 599 } else { 499 };
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        // Whoever has begun a line has the meter for himself.
        let first = ids.iter().find(|id| self.connections[id].patience.is_some());
        for id in first.map_or(ids.clone(), |id| vec![*id]) {
            let connection = self.connections.get_mut(&id)?;
            if connection.input.is_empty() {
                continue;
            }
            let end = connection.input.iter().position(|byte| *byte == b'\n');
            let until = *connection.patience.get_or_insert(now + PATIENCE);
            let length = match end {
                Some(end) => end + 1,
                None if until <= now => connection.input.len(),
                None => return None,
            };
            connection.patience = None;
            let mut line: Vec<u8> = connection.input.drain(..length).collect();
            line.truncate(most);
            let line = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            return Some((id, line));
        }
        None
    }

    /// Whether its whole loop waits for the rest of a line.
    fn is_blocked(&self) -> bool {
        self.connections.values().any(|connection| connection.patience.is_some())
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

    /// Writes a log line to whoever wants to hear such, and keeps bad news.
    pub(super) fn log(&mut self, level: Level, text: &str, now: f64) {
        if level >= Level::Warning {
            if self.rows.len() == ROWS {
                self.rows.pop_front();
            }
            self.rows.push_back(say::row(level, text, now));
        }
        let line = log_line(level, text, now);
        for (id, connection) in &self.connections {
            if connection.role != Role::Reader && connection.level <= level {
                self.out.push_back(Out::Bytes(*id, line.clone()));
            }
        }
    }

    /// One of the log lines that make reading hard, if the manners are such.
    pub(super) fn make_noise(&mut self, now: f64) {
        if !self.manners.noise {
            return;
        }
        let long = "x".repeat(600);
        let lines = [
            (Level::Info, "{\"cmd\":\"getPower\",\"error\":true} Info:{\"cmd\":\"info\"}"),
            (Level::Warning, "Correcting: 2 samples"),
            (Level::Info, "MQTT: Data:\u{1}\u{2} \"quoted\" and Info:[E] inside"),
            (Level::Error, "MISSED 3 SAMPLES"),
            (Level::Info, long.as_str()),
            (Level::Warning, "Lost interrupt!"),
            (Level::Debug, "Loop 1200 ns behind"),
        ];
        let (level, text) = lines[self.noise % lines.len()];
        self.noise += 1;
        self.log(level, text, now);
    }

    /// A reply, now or late.
    pub(super) fn reply(&mut self, asker: Asker, mut keys: Map<String, Value>, now: f64) {
        if self.manners.silent {
            return;
        }
        if self.manners.wrong_keys && keys.contains_key("error") {
            keys.remove("cmd");
        }
        match asker {
            Asker::Connection(id) => {
                self.make_noise(now);
                self.later(Out::Bytes(id, json_line(&keys)), now);
                if self.manners.slow.is_zero() {
                    self.make_noise(now);
                }
            }
            Asker::Mqtt => self.publish("state/info", &Value::Object(keys).to_string(), false),
        }
    }

    /// Done after what is late, so that the order stays.
    pub(super) fn later(&mut self, out: Out, now: f64) {
        if self.manners.slow.is_zero() && self.late.is_empty() {
            self.out.push_back(out);
        } else {
            self.late.push_back((now + self.manners.slow.as_secs_f64(), out));
        }
    }

    /// Sends what is due of the stream.
    fn stream(&mut self, now: f64, room: usize) {
        let Some(sampling) = &mut self.sampling else { return };
        if sampling.request.sink == Sink::Mqtt {
            self.stream_over_mqtt(now);
            return;
        }
        let before = sampling.sent();
        let pieces = sampling.take(now, room, &self.manners);
        self.samples_sent += sampling.sent() - before;
        self.send(pieces);
    }

    pub(super) fn send(&mut self, pieces: Vec<Vec<u8>>) {
        let Some(sink) = self.sampling.as_ref().map(|sampling| sampling.request.sink) else {
            return;
        };
        for bytes in pieces {
            match sink {
                Sink::Connection(id) | Sink::Reader(id) => {
                    self.out.push_back(Out::Bytes(id, bytes))
                }
                Sink::Datagrams(to, _) => self.out.push_back(Out::Datagram(to, bytes)),
                Sink::Mqtt => {}
            }
        }
    }

    /// Where datagrams go, if the stream is of such.
    fn datagrams_to(&self) -> Option<SocketAddr> {
        match self.sampling.as_ref()?.request.sink {
            Sink::Datagrams(to, _) => Some(to),
            _ => None,
        }
    }

    /// The connection whose backlog counts for the stream.
    pub(super) fn sink(&self) -> Option<u64> {
        match self.sampling.as_ref()?.request.sink {
            Sink::Connection(id) | Sink::Reader(id) => Some(id),
            _ => None,
        }
    }

    /// Begins to sample at a time.
    pub(super) fn begin_sampling(&mut self, request: Request, start: f64) {
        let (layout, rate) = (request.layout.clone(), request.rate);
        let wave = Wave::new(Arc::clone(&self.mains), layout, rate, start, self.relay);
        self.sampling_rate = rate;
        self.sampling = Some(Sampling::new(request, start, wave));
        self.publish("state/sample", "on", false);
    }

    /// Ends the stream; `flush`: what is left goes to its sink first. A reader is sent away.
    pub(super) fn end_sampling(&mut self, now: f64, flush: bool) -> Option<Sampling> {
        if flush && let Some(sampling) = &mut self.sampling {
            let before = sampling.sent();
            let rest = sampling.rest(now, &self.manners);
            self.samples_sent += sampling.sent() - before;
            self.send(rest);
            if let Some(to) = self.datagrams_to()
                && self.manners.shuffle
            {
                self.out.push_back(Out::Datagram(to, Vec::new()));
            }
        }
        let ended = self.sampling.take()?;
        if let Sink::Reader(id) = ended.request.sink {
            self.connections.remove(&id);
            self.out.push_back(Out::Close(id));
        }
        self.next_publish = now + self.settings.publish.unwrap_or(5.0);
        self.publish("state/sample", "off", false);
        Some(ended)
    }

    /// Whoever waits at the stream port is served once the meter is idle.
    fn let_reader_in(&mut self, now: f64) {
        if self.is_busy() {
            return;
        }
        let readers = self.connections.iter().filter(|(_, other)| other.role == Role::Reader);
        let Some(id) = readers.map(|(id, _)| *id).next() else { return };
        let layout = Layout::all(self.kind);
        let rate = if self.kind.is_smart() { 8000 } else { 4000 };
        let request = Request {
            sink: Sink::Reader(id),
            chunk: chunk(self.kind, rate, layout.bytes(), 1024),
            one_second: self.manners.no_rtc && self.kind.is_smart(),
            layout,
            rate,
            prefix: false,
            flow_control: false,
            slot: None,
            serial: false,
        };
        self.begin_sampling(request, now);
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

/// Connections for commands, the outgoing one among them.
const SLOTS: usize = 3;
/// How long the rest of a line is waited for, seconds.
const PATIENCE: f64 = 10.0;
/// Bytes of a connection that wait to be read.
const INPUT: usize = 65_536;
const HEARD: usize = 1000;
const ROWS: usize = 200;
