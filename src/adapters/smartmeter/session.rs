//! The conversation with one device, without sockets: bytes and the time go in, what is to be sent and
//! what was measured come out.
//!
//! | module | has |
//! |---|---|
//! | `context` | what a session is told of its link |
//! | `turns` | one command at a time, its reply or its deadline, and the fence against late replies |
//! | `life` | who the device is, keepalive, and whether it still lives |
//! | `apart` | streams that come as datagrams, or from the device's own stream port |
//! | `idle` | what is asked while it does not sample |
//! | `sampling` | streams: their start and their end |
//! | `flow` | the samples that come, and the seconds made of them |
//! | `watch` | whether samples still come |
//! | `quality` | log lines that tell of trouble, counted and told now and then |
//!
//! Source: protocol note, sections 2.2 to 2.5 and 4.

mod apart;
mod context;
mod flow;
mod idle;
mod life;
mod quality;
mod sampling;
#[cfg(test)]
mod tests;
mod turns;
mod watch;

use std::collections::VecDeque;
use std::sync::Arc;

use meter_protocols::smartmeter::{self as protocol, Decoder, Kind};
use tokio::time::Instant;

use self::apart::Apart;
pub(crate) use self::context::{Context, Told};
use self::idle::Idle;
use self::life::Life;
use self::quality::Quality;
use self::sampling::Sampling;
pub(super) use self::sampling::measures;
use self::turns::Turns;
use super::measured::{Frame, Presence};
use super::settings::EntrySettings;
use super::switchboard::Ask;
use crate::model::{Model, Timestamp};

/// One connection's conversation. Each method returns at once.
#[derive(Debug)]
pub(super) struct Session {
    context: Arc<Context>,
    decoder: Decoder,
    device: Option<Device>,
    /// Somebody has to be told who the device is.
    news: Option<Device>,
    life: Life,
    turns: Turns,
    idle: Idle,
    sampling: Sampling,
    apart: Apart,
    quality: Quality,
    out: VecDeque<Vec<u8>>,
    frames: VecDeque<Frame>,
    finished: Option<String>,
}

/// Who is at the other end.
#[derive(Debug, Clone)]
pub(super) struct Device {
    /// The name that it has given itself.
    pub(super) serial: Arc<str>,
    /// SmartMeter or PowerMeter.
    pub(super) kind: Kind,
    /// What is configured of it.
    pub(super) entry: Arc<EntrySettings>,
}

impl Device {
    fn model(&self) -> Model {
        match self.kind {
            Kind::SmartMeter => Model::Smartmeter,
            Kind::PowerMeter => Model::Powermeter,
        }
    }
}

impl Session {
    /// A connection that was opened just now.
    pub(super) fn new(context: Arc<Context>, now: Instant) -> Session {
        let mut decoder = Decoder::new();
        decoder.expect_line_ends(context.serial_line);
        Session {
            context,
            decoder,
            device: None,
            news: None,
            life: Life::new(now),
            turns: Turns::default(),
            idle: Idle::new(now),
            sampling: Sampling::new(now),
            apart: Apart::default(),
            quality: Quality::default(),
            out: VecDeque::new(),
            frames: VecDeque::new(),
            finished: None,
        }
    }

    /// Takes what the device has sent; `at` is the same moment by the clock.
    pub(super) fn handle_bytes(&mut self, bytes: &[u8], now: Instant, at: Timestamp) {
        self.life.heard(now);
        self.decoder.push(bytes);
        while let Some(found) = self.decoder.next_frame() {
            match found {
                Ok(protocol::Frame::Data(packet)) => self.packet(&packet, now, at),
                Ok(protocol::Frame::Raw(bytes)) => self.raw(&bytes, now, at),
                Ok(protocol::Frame::Json(text)) => self.json(&text, now, at),
                Ok(protocol::Frame::Log(line)) => self.log_line(&line, now, at),
                Ok(protocol::Frame::Text(text)) => self.text(&text, now),
                Err(error) => self.skipped(&error, now),
            }
        }
        self.go_on(now, at);
    }

    /// Takes the time: [`poll_timeout`](Session::poll_timeout) has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant, at: Timestamp) {
        self.go_on(now, at);
    }

    /// Takes a command; its outcome is told in every case.
    pub(super) fn ask(&mut self, ask: Ask, now: Instant) {
        self.turns.waiting.push_back(ask);
        self.go_on(now, Timestamp::now());
    }

    /// Whether one more command may come.
    pub(super) fn has_room(&self) -> bool {
        self.turns.waiting.is_empty()
    }

    /// What is to be sent now, in one piece.
    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// What was measured.
    pub(super) fn poll_frame(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// When the session wants to be told of the time.
    pub(super) fn poll_timeout(&self) -> Instant {
        let life = self.life_deadline();
        let others = [
            self.turns.deadline(self.buffered()),
            self.work_due(),
            self.sampling_deadline(),
            self.measuring_deadline(),
        ];
        others.into_iter().flatten().fold(life, Instant::min)
    }

    /// Who the device is, when that was just found out.
    pub(super) fn take_identified(&mut self) -> Option<Device> {
        self.news.take()
    }

    /// Why the connection is to be closed.
    pub(super) fn take_finished(&mut self) -> Option<String> {
        self.finished.take()
    }

    /// What is to be sent before the gateway closes the connection. A device stops sampling when a
    /// network connection is closed, and on a serial line it does not know.
    pub(super) fn farewell(&mut self) -> Vec<u8> {
        match self.context.serial_line && self.sampling.is_on() {
            true => b"{\"cmd\":\"stop\"}\n".to_vec(),
            false => Vec::new(),
        }
    }

    /// The connection is over. What was measured until then can still be taken out.
    pub(super) fn close(&mut self) {
        let at = Timestamp::now();
        self.tell_of_silence();
        self.end_stream(None, Instant::now(), at);
        self.give_up_turns();
    }

    /// What is due by now.
    fn go_on(&mut self, now: Instant, at: Timestamp) {
        self.watch_turn(now, at);
        self.watch_stream(now, at);
        self.watch_measuring(now);
        self.watch_life(now);
        self.next_turn(now, at);
    }

    fn send(&mut self, bytes: Vec<u8>, now: Instant) {
        self.life.said(now);
        self.out.push_back(bytes);
    }

    /// Closes the connection, for this reason.
    fn finish(&mut self, reason: impl Into<String>) {
        self.finished.get_or_insert(reason.into());
    }

    /// A frame of the device, empty but for who it is.
    fn frame(&self) -> Option<Frame> {
        let device = self.device.as_ref()?;
        Some(Frame {
            serial: Arc::clone(&device.serial),
            model: device.model(),
            presence: Presence::Here,
            on_our_broker: false,
            message_unit: None,
            now: None,
            past: Vec::new(),
            relay: None,
        })
    }

    fn serial(&self) -> &str {
        self.device.as_ref().map_or("", |device| &device.serial)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close();
    }
}
