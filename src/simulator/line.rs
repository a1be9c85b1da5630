//! One line with one meter or several: what leaves it, and when, and what arrives.
//!
//! Without any input or output: bytes and the time come in as arguments.

mod outgoing;
mod station;

use std::time::Duration;

use meter_protocols::brultech::Packet;
use tokio::time::Instant;

use self::outgoing::{Item, Outgoing};
use self::station::Station;
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
    outgoing: Outgoing,
    closes: Option<Instant>,
    random: fastrand::Rng,
}

impl Line {
    /// A line that has just been opened; its first packets are due now.
    pub(super) fn new(
        meters: Vec<SimulatedMeter>,
        manners: Manners,
        heard: Watched<Heard>,
        now: Instant,
    ) -> Line {
        let station = |meter| Station::new(meter, &manners, now);
        Line {
            stations: meters.into_iter().map(station).collect(),
            outgoing: Outgoing::new(&manners),
            manners,
            heard,
            gem_ear: GemEar::default(),
            ecm_ear: EcmEar::default(),
            ear_until: None,
            closes: None,
            random: fastrand::Rng::with_seed(0x6E6F_6973),
        }
    }

    /// When something is to be done again without anything arriving.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let over = self.manners.one_packet && self.has_its_packet();
        let stations = self.stations.iter().filter(|_| !over).filter_map(Station::deadline).min();
        [stations, self.outgoing.deadline(), self.ear_until, self.closes]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether the connection is to be closed now.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.closes.is_some_and(|at| at <= now)
    }

    /// The next bytes to write, if any are due.
    pub(super) fn transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.advance(now);
        let piece = self.outgoing.next(now)?;
        if let Some((station, packet)) = piece.packet {
            self.note_packet(station, packet, now);
        } else if self.manners.linger.is_some() && self.closes.is_some() {
            self.closes = Some(now);
        }
        Some(piece.bytes)
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
            self.closes = Some(now + self.manners.linger.unwrap_or(LINGER));
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
        let owed = self.outgoing.acks_owed;
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
        let at = self.stations[station].answer_at(&self.manners, now);
        self.outgoing.acks_owed += usize::from(ack && !bytes.is_empty());
        let middle = bytes.len() / 2;
        if self.manners.split_replies && !bytes.is_empty() {
            let (first, second) = bytes.split_at(middle);
            if !first.is_empty() {
                self.outgoing.schedule(at, Item { bytes: first.to_vec(), ..Item::default() });
            }
            let inserted = self.packet(station, true);
            self.outgoing.schedule(at, inserted);
            self.outgoing.schedule(at, Item { bytes: second.to_vec(), ack, ..Item::default() });
        } else if !bytes.is_empty() {
            self.outgoing.schedule(at, Item { bytes, ack, ..Item::default() });
        }
        if packet {
            let item = self.packet(station, true);
            self.outgoing.schedule(at, item);
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
            let forced = self.manners.keep_alive;
            if let Some(text) = self.stations[station].keep_alive(forced, now) {
                self.outgoing.schedule(now, text);
            }
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
                self.outgoing.schedule(now, item);
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
        self.closes.is_some() || self.outgoing.has_packet()
    }

    fn send_unless_held(&mut self, station: usize, held: bool, now: Instant) {
        if !held {
            self.send(station, now);
            return;
        }
        let item = self.packet(station, true);
        self.stations[station].hold(item);
    }

    fn send(&mut self, station: usize, now: Instant) {
        let item = self.packet(station, true);
        let is_http = item.bytes.starts_with(b"GET ");
        self.outgoing.schedule(now, item);
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
            self.outgoing.schedule(now, Item { bytes, ..Item::default() });
        }
    }
}

/// How long an unfinished command is kept in mind.
const PATIENCE: Duration = Duration::from_secs(2);
