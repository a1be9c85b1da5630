//! One line with one meter or several: what leaves it, and when, and what arrives.
//!
//! Without any input or output: bytes and the time come in as arguments.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use meter_protocols::brultech::Packet;
use tokio::time::Instant;

use super::brultech::{Chunk, EcmEar, GemCommand, GemEar, Kind, Said, SimulatedMeter, State};
use super::heard::Heard;
use super::manners::{LINGER, Manners};
use super::watched::Watched;

/// A line and what is under way on it.
#[derive(Debug)]
pub(super) struct Line {
    stations: Vec<Station>,
    manners: Manners,
    heard: Watched<Heard>,
    gem_ear: GemEar,
    ecm_ear: EcmEar,
    /// When an unfinished command is given up.
    ear_until: Option<Instant>,
    /// What is to leave, by time and then by order.
    scheduled: BTreeMap<(Instant, u64), Item>,
    order: u64,
    /// The item that is leaving.
    pieces: VecDeque<Piece>,
    /// Answers to chunks that have not left.
    acks_owed: usize,
    closes: Option<Instant>,
    random: fastrand::Rng,
}

/// A meter on the line.
#[derive(Debug)]
struct Station {
    meter: SimulatedMeter,
    next_packet: Instant,
    next_alive: Option<Instant>,
    /// Packets that were due while they were to be held back.
    held: VecDeque<Item>,
    /// An HTTP request has had no answer.
    unanswered: bool,
}

/// Bytes that leave together.
#[derive(Debug, Default)]
struct Item {
    bytes: Vec<u8>,
    /// The station whose packet it is, and what it says where it is binary.
    packet: Option<(usize, Option<Packet>)>,
    /// Counts as an answer to a chunk.
    ack: bool,
    /// Pieces of so many bytes, with a pause after each.
    chunks: Option<(usize, Duration)>,
}

/// A part of an item. The last has what is to be noted once it has left.
#[derive(Debug)]
struct Piece {
    at: Instant,
    bytes: Vec<u8>,
    packet: Option<(usize, Option<Packet>)>,
    ack: bool,
}

impl Line {
    /// A line that has just been opened; its first packets are due now.
    pub(super) fn new(
        meters: Vec<SimulatedMeter>,
        manners: Manners,
        heard: Watched<Heard>,
        now: Instant,
    ) -> Line {
        let lingers = manners.one_packet;
        let station = |meter: SimulatedMeter| {
            // With a connection for each packet, the next one is as far off as it ever was.
            let due = meter.look(|state| state.next_packet).filter(|_| lingers);
            Station {
                next_packet: due.unwrap_or(now),
                next_alive: None,
                held: VecDeque::new(),
                unanswered: false,
                meter,
            }
        };
        Line {
            stations: meters.into_iter().map(station).collect(),
            manners,
            heard,
            gem_ear: GemEar::default(),
            ecm_ear: EcmEar::default(),
            ear_until: None,
            scheduled: BTreeMap::new(),
            order: 0,
            pieces: VecDeque::new(),
            acks_owed: 0,
            closes: None,
            random: fastrand::Rng::with_seed(0x6E6F_6973),
        }
    }

    /// When something is to be done again without anything arriving.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let over = self.manners.one_packet && self.has_its_packet();
        let stations = self.stations.iter().filter(|_| !over).filter_map(Station::deadline).min();
        let leaving = match self.pieces.front() {
            Some(piece) => Some(piece.at),
            None => self.scheduled.keys().next().map(|(at, _)| *at),
        };
        [stations, leaving, self.ear_until, self.closes].into_iter().flatten().min()
    }

    /// Whether the connection is to be closed now.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.closes.is_some_and(|at| at <= now)
    }

    /// The next bytes to write, if any are due.
    pub(super) fn transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.advance(now);
        if self.pieces.is_empty() {
            let (key, _) = self.scheduled.first_key_value()?;
            if key.0 > now {
                return None;
            }
            let (_, item) = self.scheduled.pop_first()?;
            self.cut(item, now);
        }
        if self.pieces.front()?.at > now {
            return None;
        }
        let piece = self.pieces.pop_front()?;
        self.acks_owed -= usize::from(piece.ack);
        if let Some((station, packet)) = piece.packet {
            self.note_packet(station, packet, now);
        }
        Some(piece.bytes)
    }

    fn cut(&mut self, item: Item, now: Instant) {
        let (size, pause) = match (self.manners.chunks, item.chunks) {
            (Some(size), Some((other, _))) if other < size => item.chunks.unwrap_or_default(),
            (Some(size), _) => (size, self.manners.pause),
            (None, chunks) => chunks.unwrap_or((usize::MAX, Duration::ZERO)),
        };
        let mut at = now;
        for bytes in item.bytes.chunks(size.max(1)) {
            self.pieces.push_back(Piece { at, bytes: bytes.to_vec(), packet: None, ack: false });
            at += pause;
        }
        if let Some(last) = self.pieces.back_mut() {
            last.packet = item.packet;
            last.ack = item.ack;
        }
    }

    fn note_packet(&mut self, station: usize, packet: Option<Packet>, now: Instant) {
        let Some(station) = self.stations.get_mut(station) else { return };
        station.meter.update(|state| {
            state.packets_sent += 1;
            state.next_packet = Some(station.next_packet);
            if packet.is_some() {
                state.last_packet = packet;
            }
        });
        if self.manners.one_packet && self.closes.is_none() {
            self.closes = Some(now + LINGER);
        }
    }

    /// Takes in what arrived.
    pub(super) fn received(&mut self, bytes: &[u8], now: Instant) {
        self.heard.update(|heard| heard.add_bytes(bytes));
        if self.manners.swallow {
            return;
        }
        for said in self.gem_ear.hear(bytes) {
            match said {
                Said::HttpAnswer(200) => {
                    self.stations.iter_mut().for_each(|station| station.unanswered = false);
                }
                Said::HttpAnswer(status) => {
                    tracing::warn!(status, "the answer to an HTTP request was not 200");
                }
                Said::Command(command) => {
                    self.heard.update(|heard| heard.add_command(command.bytes.clone()));
                    for station in 0..self.stations.len() {
                        self.obey(station, &command, now);
                    }
                }
            }
        }
        for byte in bytes {
            self.hear_for_ecm(*byte, now);
        }
        let waits = self.gem_ear.waits() || self.ecm_ear.waits();
        self.ear_until = waits.then(|| now + PATIENCE + self.manners.slow);
    }

    fn obey(&mut self, station: usize, command: &GemCommand, now: Instant) {
        let meter = &self.stations[station].meter;
        let reply = meter.update(|state| {
            let is_gem = matches!(state.kind, Kind::Gem(_));
            let is_meant = command.address.is_none_or(|serial| serial == state.serial_number);
            (is_gem && is_meant).then(|| state.obey(command, now)).flatten()
        });
        if let Some(reply) = reply {
            self.answer(station, reply.bytes, reply.packet, false, now);
        }
    }

    fn hear_for_ecm(&mut self, byte: u8, now: Instant) {
        let is_ecm =
            |station: &Station| station.meter.look(|state| matches!(state.kind, Kind::Ecm(_)));
        if !self.stations.iter().any(is_ecm) {
            return;
        }
        let owed = self.acks_owed;
        let Some(chunk) = self.ecm_ear.hear(byte) else { return };
        if owed > 0 {
            self.heard.update(|heard| heard.hasty += 1);
        }
        let called = |station: &Station| {
            station.meter.update(|state| state.ecm().and_then(|ecm| ecm.unit) == Some(chunk.unit))
        };
        let step = self.stations.iter().position(called).and_then(|station| {
            let meter = &self.stations[station].meter;
            Some((station, meter.update(|state| state.obey_chunk(&chunk))?))
        });
        let Some((station, step)) = step else {
            self.end_of_chunks(chunk);
            return;
        };
        if step.over {
            self.end_of_chunks(chunk);
        }
        self.answer(station, step.reply, step.packet, true, now);
    }

    fn end_of_chunks(&mut self, chunk: Chunk) {
        self.ecm_ear.reset();
        self.heard.update(|heard| heard.add_command(chunk.bytes));
    }

    /// Schedules an answer, and the packet that belongs to it.
    fn answer(&mut self, station: usize, bytes: Vec<u8>, packet: bool, ack: bool, now: Instant) {
        if self.manners.silent {
            return;
        }
        let at = now + self.manners.slow;
        self.acks_owed += usize::from(ack && !bytes.is_empty());
        let middle = bytes.len() / 2;
        if self.manners.split_replies && !bytes.is_empty() {
            let (first, second) = bytes.split_at(middle);
            if !first.is_empty() {
                self.schedule(at, Item { bytes: first.to_vec(), ..Item::default() });
            }
            let inserted = self.packet(station, true);
            self.schedule(at, inserted);
            self.schedule(at, Item { bytes: second.to_vec(), ack, ..Item::default() });
        } else if !bytes.is_empty() {
            self.schedule(at, Item { bytes, ack, ..Item::default() });
        }
        if packet {
            let item = self.packet(station, true);
            self.schedule(at, item);
        }
    }

    /// A line that is slower than what is to leave loses what comes last.
    fn schedule(&mut self, at: Instant, item: Item) {
        if self.scheduled.len() >= WAITING {
            self.acks_owed -= usize::from(item.ack);
        } else if !item.bytes.is_empty() {
            self.order += 1;
            self.scheduled.insert((at, self.order), item);
        }
    }

    /// A packet of a station, of its counters now.
    fn packet(&mut self, station: usize, tick: bool) -> Item {
        let meter = &self.stations[station].meter;
        let ((bytes, packet), chunks) = meter.update(|state| {
            let chunks = state.gem().map(|gem| gem.chunks());
            (state.packet(tick), chunks)
        });
        Item { bytes, packet: Some((station, packet)), ack: false, chunks }
    }

    /// Does what is due.
    fn advance(&mut self, now: Instant) {
        if self.ear_until.is_some_and(|until| until <= now) {
            self.gem_ear.quiet();
            self.ecm_ear.reset();
            self.ear_until = None;
        }
        for station in 0..self.stations.len() {
            self.send_due(station, now);
            self.keep_alive(station, now);
        }
    }

    fn send_due(&mut self, station: usize, now: Instant) {
        if self.manners.one_packet && !self.may_send_its_one(station) {
            return;
        }
        let wanted = self.stations[station].meter.look(|state| state.wanted);
        for _ in 0..wanted {
            self.stations[station].meter.update(|state| state.wanted -= 1);
            self.send(station, now);
        }
        let (interval, real_time, held) = self.stations[station].meter.look(State::rhythm);
        let held = held.is_some_and(|until| until > now);
        let due = &mut self.stations[station].next_packet;
        // A shorter interval takes effect at once.
        *due = (*due).min(now + interval);
        if *due <= now {
            *due += interval;
            if *due <= now {
                *due = now + interval;
            }
            if real_time {
                self.send_unless_held(station, held, now);
            }
        }
        if !held {
            while let Some(item) = self.stations[station].held.pop_front() {
                self.schedule(now, item);
            }
        }
    }

    /// Of several meters that have one connection for each packet, the one whose turn it is.
    fn may_send_its_one(&self, station: usize) -> bool {
        let turn = self.stations.iter().map(|station| station.next_packet).min();
        !self.has_its_packet() && turn == Some(self.stations[station].next_packet)
    }

    /// Whether a packet is leaving or has left.
    fn has_its_packet(&self) -> bool {
        self.closes.is_some()
            || !self.pieces.is_empty()
            || self.scheduled.values().any(|item| item.packet.is_some())
    }

    fn send_unless_held(&mut self, station: usize, held: bool, now: Instant) {
        if !held {
            self.send(station, now);
            return;
        }
        let item = self.packet(station, true);
        let station = &mut self.stations[station];
        let room = station.meter.update(|state| state.gem().map_or(0, |gem| gem.buffer.into()));
        station.held.push_back(item);
        let bytes = |held: &VecDeque<Item>| held.iter().map(|item| item.bytes.len()).sum::<usize>();
        while station.held.len() > 1 && bytes(&station.held) > room {
            station.held.pop_front();
        }
    }

    fn send(&mut self, station: usize, now: Instant) {
        let item = self.packet(station, true);
        let is_http = item.bytes.starts_with(b"GET ");
        self.schedule(now, item);
        if is_http {
            let station = &mut self.stations[station];
            if std::mem::replace(&mut station.unanswered, true) {
                station.meter.update(|state| state.http_unanswered += 1);
                let serial = station.meter.look(State::serial);
                tracing::warn!(serial, "an HTTP request was not answered by the time of the next");
            }
        }
        if self.manners.noise {
            let length = self.random.usize(1..=24);
            let bytes = (0..length).map(|_| self.random.u8(..)).collect();
            self.schedule(now, Item { bytes, ..Item::default() });
        }
    }

    fn keep_alive(&mut self, station: usize, now: Instant) {
        let forced = self.manners.keep_alive;
        let station = &mut self.stations[station];
        let (every, text) = station.meter.look(|state| match &state.kind {
            Kind::Gem(gem) => {
                let own = gem.keep_alive_time().filter(|_| !state.real_time);
                (forced.or(own), gem.keep_alive_text.clone())
            }
            Kind::Ecm(_) => (None, String::new()),
        });
        let Some(every) = every else {
            station.next_alive = None;
            return;
        };
        let next = station.next_alive.get_or_insert(now + every);
        *next = (*next).min(now + every);
        if *next <= now {
            *next = now + every;
            self.schedule(now, Item { bytes: text.into_bytes(), ..Item::default() });
        }
    }
}

impl Station {
    fn deadline(&self) -> Option<Instant> {
        let held = self.meter.look(|state| state.rhythm().2).filter(|_| !self.held.is_empty());
        [Some(self.next_packet), held, self.next_alive].into_iter().flatten().min()
    }
}

impl State {
    /// Interval, whether packets are sent at all, and until when they are held back.
    fn rhythm(&self) -> (Duration, bool, Option<Instant>) {
        let held = match &self.kind {
            Kind::Gem(gem) => gem.held_until,
            Kind::Ecm(_) => None,
        };
        (self.interval.max(Duration::from_millis(1)), self.real_time, held)
    }
}

/// How long an unfinished command is kept in mind.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many packets and answers wait to leave.
const WAITING: usize = 1000;
