//! The command side of one link: one exchange at a time, and no late answer for the next one.

mod reply;
mod timing;

use std::time::Duration;

pub use reply::{ExchangeError, GemValues, Reply};
pub use timing::Timing;

use super::{EcmCommand, GemCommand, Packet};

/// What is to be asked or told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A GEM's command.
    Gem {
        /// The command.
        command: GemCommand,
        /// The five-digit serial number of the meter meant, on a link with several of them.
        target: Option<u16>,
        /// Hold packets back first; for a meter in real-time mode.
        hold: bool,
    },
    /// An ECM's command.
    Ecm {
        /// The command byte of the unit, 0xFC to 0xFF.
        unit: u8,
        /// The command.
        command: EcmCommand,
    },
}

/// What a [`Line`] wants next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Send these bytes, then call [`Line::step`] again.
    Send(Vec<u8>),
    /// Call [`Line::step`] at that time, or as soon as something was handed in; `None`: only then.
    Wait(Option<Duration>),
    /// The exchange is over.
    Done(Result<Reply, ExchangeError>),
    /// No exchange is under way.
    Idle,
}

/// The command side of one link.
#[derive(Debug)]
pub struct Line {
    timing: Timing,
    under_way: bool,
}

impl Line {
    /// The command side of a link that has just been opened.
    #[must_use]
    pub const fn new(timing: Timing) -> Self {
        Self { timing, under_way: false }
    }

    /// Begins an exchange. False: another one is under way, and nothing was done.
    pub fn begin(&mut self, request: Request, now: Duration) -> bool {
        let _ = (request, now, self.timing);
        !std::mem::replace(&mut self.under_way, true)
    }

    /// What to do at `now`.
    pub fn step(&mut self, now: Duration) -> Step {
        if std::mem::take(&mut self.under_way) {
            return Step::Done(Err(ExchangeError::Silent { waited: now }));
        }
        Step::Idle
    }

    /// Bytes came that belong to no frame.
    pub fn take(&mut self, between: &[u8], now: Duration) {
        let _ = (between, now);
    }

    /// A packet came.
    pub fn packet(&mut self, packet: &Packet, now: Duration) {
        let _ = (packet, now);
    }

    /// Gives up the exchange under way, if there is one. What was sent may still be answered; the
    /// answer is kept from the next exchange.
    pub fn cancel(&mut self, now: Duration) {
        let _ = now;
        self.under_way = false;
    }

    /// When the exchange under way will have ended at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        None
    }
}
