//! Who is at the other end, and whether it still lives.
//!
//! A device tells who it is when a connection opens, and a line of log each second while it is idle.
//! One that is silent is asked `?`, which it answers whatever it does; one that does not answer is dead,
//! since a restart says no goodbye.
//!
//! Source: protocol note, sections 2.2, 2.3 and 4.10.

use meter_protocols::smartmeter::{Info, LogLine};
use serde_json::{Map, Value};
use tokio::time::{Duration, Instant};

use super::super::measured::{EnergyUnit, Measured};
use super::{Device, Session};
use crate::model::Timestamp;

/// What was heard and said when.
#[derive(Debug)]
pub(super) struct Life {
    last_byte: Instant,
    last_keepalive: Instant,
    /// When the device was asked last who it is, and how often it was.
    hello: (Instant, u32),
    /// `?` was sent then, and nothing has come since.
    probe: Option<Instant>,
    /// When something came after such a question.
    answered: Instant,
    /// The relay, as it was told last.
    relay: Option<bool>,
    /// The device has a clock chip.
    pub(super) rtc: bool,
    anything: bool,
}

impl Life {
    pub(super) fn new(now: Instant) -> Life {
        Life {
            last_byte: now,
            last_keepalive: now,
            hello: (now, 0),
            probe: None,
            answered: now,
            relay: None,
            rtc: true,
            anything: false,
        }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.last_byte = now;
        if self.probe.take().is_some() {
            self.answered = now;
        }
        self.anything = true;
    }

    /// Something was sent, so the connection is used.
    pub(super) fn said(&mut self, now: Instant) {
        self.last_keepalive = now;
    }
}

impl Session {
    /// When something about the device's life is to be looked at.
    pub(super) fn life_deadline(&self) -> Instant {
        if self.device.is_none() {
            return self.life.hello.0 + HELLO;
        }
        let keepalive = self.life.last_keepalive + KEEPALIVE;
        match self.life.probe {
            Some(sent) => keepalive.min(sent + PROBE.max(self.buffered())),
            None => keepalive.min(self.life.last_byte + self.patience()),
        }
    }

    /// How long the device may be silent before it is asked whether it lives. One that works on a
    /// command may stand still for as long as the command may take.
    fn patience(&self) -> Duration {
        SILENCE.max(self.turns.patience().unwrap_or(SILENCE)).max(self.stream_patience())
    }

    pub(super) fn watch_life(&mut self, now: Instant) {
        if self.device.is_none() {
            return self.watch_hello(now);
        }
        match self.life.probe {
            Some(sent) if now >= sent + PROBE.max(self.buffered()) => {
                self.finish("the meter has said nothing for too long, not even to `?`");
            }
            None if now >= self.life.last_byte + self.patience() => self.probe(now),
            _ if now >= self.life.last_keepalive + KEEPALIVE => self.send(b"!\n".to_vec(), now),
            _ => {}
        }
    }

    /// When the device has answered last whether it lives; `None`: it has been asked and has not.
    pub(super) fn answered(&self) -> Option<Instant> {
        self.life.probe.is_none().then_some(self.life.answered)
    }

    /// Asks whether the device lives.
    pub(super) fn probe(&mut self, now: Instant) {
        self.life.probe.get_or_insert(now);
        self.send(b"?\n".to_vec(), now);
    }

    /// A device that does not say by itself who it is is asked, and given up at last.
    fn watch_hello(&mut self, now: Instant) {
        let (since, tries) = self.life.hello;
        if now < since + HELLO {
            return;
        }
        self.life.hello = (now, tries + 1);
        if tries >= HELLOS {
            self.finish("nobody has said who is there: is it a SmartMeter or PowerMeter?");
        } else {
            self.send(b"{\"cmd\":\"info\"}\n".to_vec(), now);
        }
    }

    /// The device's own dictionary.
    pub(super) fn informed(&mut self, info: &Info, now: Instant, at: Timestamp) {
        let Some(kind) = info.likely_kind() else { return };
        let serial = info.name.trim();
        if serial.is_empty() {
            return;
        }
        if self.device.as_ref().is_none_or(|known| *known.serial != *serial) {
            self.end_stream(None, now, at);
            let entry = self.context.roster.entry(serial, self.context.link);
            let device = Device { serial: serial.into(), kind, entry };
            self.news = Some(device.clone());
            self.device = Some(device);
            self.idle.restart(now);
            self.tell_who(info);
        }
        self.idle.informed(now);
        self.state(info, now, at);
        self.note_state(info);
        let energy = self.energy(info);
        self.life.rtc = info.rtc != Some(false);
        let relay = info.relay;
        self.life.relay = relay.or(self.life.relay);
        let Some(mut frame) = self.frame() else { return };
        frame.relay = relay;
        frame.message_unit = info.energy_unit_is_wh().map(EnergyUnit::of_messages);
        frame.now = energy.map(|energy| Measured { energy: Some(energy), ..Measured::default() });
        self.frames.push_back(frame);
    }

    /// A connection that was closed without a word.
    pub(super) fn tell_of_silence(&self) {
        let peer = &self.context.peer;
        let by_us = !self.context.listens && !self.context.serial_line;
        if !self.life.anything && by_us && self.context.told.first(format!("silent {peer}")) {
            tracing::warn!(
                peer,
                "the meter has closed the connection without a word: it has three places for connections, that \
                 to its stream server among them, and they may all be taken"
            );
        }
    }

    fn tell_who(&self, info: &Info) {
        let (serial, peer) = (self.serial(), &self.context.peer);
        let version = info.version.as_deref().unwrap_or("unknown");
        tracing::info!(serial, peer, version, "connected to a {}", self.kind());
        let known = info.firmware().is_some_and(|version| version.is_known(self.kind()));
        if !known && self.context.told.first(format!("version {serial} {version}")) {
            tracing::warn!(
                serial,
                version,
                "this firmware is not one that the gateway knows (SmartMeter 2.2, PowerMeter 1.3 and 2.3): \
                 what it says is read as theirs"
            );
        }
    }

    /// A line of log.
    pub(super) fn log_line(&mut self, line: &LogLine, now: Instant, at: Timestamp) {
        if line.is_lifeness() {
            return self.lifeness(now, at);
        }
        if let Some(trouble) = line.quality() {
            self.trouble(line, &trouble, now);
        }
        if let Some(on) = line.switched() {
            self.life.relay = Some(on);
            if let Some(mut frame) = self.frame() {
                frame.relay = Some(on);
                self.frames.push_back(frame);
            }
        }
        tracing::trace!(serial = self.serial(), text = line.text, "log of the meter");
    }

    /// The relay as it was told last, for the answer to `switch`, whose own words say nothing.
    pub(super) fn with_relay(&self, mut answer: Map<String, Value>) -> Map<String, Value> {
        if let Some(on) = self.life.relay {
            answer.insert("relay".to_owned(), on.into());
        }
        answer
    }
}

/// An idle device says something each second.
const SILENCE: Duration = Duration::from_secs(5);
/// How long it has for the answer to `?`: both together are longer than the 10 s for which half a line of
/// another client can make it stand still.
const PROBE: Duration = Duration::from_secs(6);
const KEEPALIVE: Duration = Duration::from_secs(30);
const HELLO: Duration = Duration::from_secs(3);
const HELLOS: u32 = 5;
