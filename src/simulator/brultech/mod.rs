//! Simulated GEMs, ECM-1240s and ECM-1220s: what they count, their settings, and what they answer.
//!
//! Written from the vendor's papers and apart from the gateway's own side of the wire, so that a
//! misreading on either side shows.

mod command;
mod counts;
mod ecm;
mod gem;
mod obey;
mod reading;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use meter_protocols::brultech::{Format, Packet};
use tokio::time::Instant;

use super::house::House;
use super::watched::Watched;

pub(super) use command::{GemCommand, GemEar, Said};
pub use counts::{CHANNELS, Counts};
pub use ecm::Ecm;
pub(super) use ecm::{Chunk, EcmEar};
pub use gem::Gem;
pub use settings::{PASSWORD, Settings};

/// A simulated meter, as a test holds it: look at its state and change it while it speaks.
pub type SimulatedMeter = Watched<State>;

/// Everything a meter knows.
#[derive(Debug)]
pub struct State {
    /// Its counters and its clock.
    pub counts: Counts,
    /// What its kind has of its own.
    pub kind: Kind,
    /// The unit id, which is a part of the serial number.
    pub unit_id: u8,
    /// The numeric part of the serial number.
    pub serial_number: u16,
    /// Whether it sends by itself.
    pub real_time: bool,
    /// The time from packet to packet.
    pub interval: Duration,
    /// Packets that have gone out, in whatever format.
    pub packets_sent: u64,
    /// The last binary packet that has gone out.
    pub last_packet: Option<Packet>,
    /// Packets to send at once, whatever the interval; see [`State::send_now`].
    pub(super) wanted: u32,
    /// When the next packet is due, as a line that opens anew must know.
    pub(super) next_packet: Option<Instant>,
    /// Requests of the HTTP format that had no answer by the time of the next.
    pub http_unanswered: u64,
}

/// The kinds of Brultech meters.
#[derive(Debug)]
pub enum Kind {
    /// A GreenEye Monitor.
    Gem(Box<Gem>),
    /// An ECM-1240 or ECM-1220.
    Ecm(Ecm),
}

/// What a command makes a meter do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// The bytes to answer.
    pub(super) bytes: Vec<u8>,
    /// A packet comes after them.
    pub(super) packet: bool,
}

impl Reply {
    fn bytes(bytes: impl Into<Vec<u8>>) -> Reply {
        Reply { bytes: bytes.into(), packet: false }
    }
}

/// Meter `n` of a simulation; its serial number depends on `n` and the model alone.
pub(super) fn meter(n: u32, format: Format, house: Arc<House>, interval: Duration) -> State {
    let (unit, serial) = (n / PER_UNIT, n % PER_UNIT);
    // Both models of ECM write their serial numbers in one way, so these must differ.
    let first_unit = if format == Format::Ecm1220 { 3 } else { 1 };
    let serial_number = (FIRST_SERIAL + serial) as u16;
    let kind = if format.is_ecm() {
        Kind::Ecm(Ecm::new(n, format, interval))
    } else {
        Kind::Gem(Box::new(Gem::new(format, interval)))
    };
    State {
        counts: Counts::new(house, f64::from(serial_number) * 1234.5),
        kind,
        unit_id: (first_unit + unit) as u8,
        serial_number,
        real_time: true,
        interval,
        packets_sent: 0,
        last_packet: None,
        wanted: 0,
        next_packet: None,
        http_unanswered: 0,
    }
}

impl State {
    /// The serial number as the meter's own pages show it.
    pub fn serial(&self) -> String {
        match self.kind {
            Kind::Gem(_) => format!("{:03}{:05}", self.unit_id, self.serial_number),
            Kind::Ecm(_) => format!("{}{:05}", self.unit_id, self.serial_number),
        }
    }

    /// Has a packet sent as soon as the line is free, also with real-time mode off.
    pub fn send_now(&mut self) {
        self.wanted += 1;
    }

    /// The GEM's own state.
    pub fn gem(&mut self) -> Option<&mut Gem> {
        match &mut self.kind {
            Kind::Gem(gem) => Some(gem),
            Kind::Ecm(_) => None,
        }
    }

    /// The ECM's own state.
    pub fn ecm(&mut self) -> Option<&mut Ecm> {
        match &mut self.kind {
            Kind::Ecm(ecm) => Some(ecm),
            Kind::Gem(_) => None,
        }
    }

    /// The bytes of the packet that is due, and what they say where they are binary. Empty where
    /// the meter is set to a format that sends nothing.
    pub(super) fn packet(&mut self, tick: bool) -> (Vec<u8>, Option<Packet>) {
        if tick {
            self.counts.tick(self.interval);
        } else {
            self.counts.update();
        }
        let (unit_id, serial_number) = (self.unit_id, self.serial_number);
        let mut bytes = Vec::new();
        let mut packet = match &self.kind {
            Kind::Ecm(ecm) => ecm.packet(&self.counts),
            Kind::Gem(gem) => match gem.sends() {
                Sends::Binary(format) => gem.packet(format, &self.counts),
                Sends::Posing(burst) => return (gem.posing(burst, &self.counts, self), None),
                Sends::Text => return (reading::ascii(gem, &self.counts, &self.serial()), None),
                Sends::Http => return (reading::http(gem, &self.counts, &self.serial()), None),
                Sends::Nothing => return (bytes, None),
            },
        };
        packet.unit_id = unit_id;
        packet.serial_number = serial_number;
        packet.encode(&mut bytes);
        (bytes, Some(packet))
    }
}

/// What a packet format puts on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sends {
    /// A binary packet.
    Binary(Format),
    /// Format 1: so many ECM-1240 packets.
    Posing(u8),
    /// Format 2.
    Text,
    /// Format 3, a request that wants an answer.
    Http,
    /// Format 12, and those that are not simulated.
    Nothing,
}

const FIRST_SERIAL: u32 = 10_001;
const PER_UNIT: u32 = 50_000;
