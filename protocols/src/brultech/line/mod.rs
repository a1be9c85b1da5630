//! The command side of one link: one exchange at a time, and no late answer for the next one.
//!
//! * `gem.rs`: an exchange with a GEM; `hold.rs`: holding its packets back meanwhile; `answer.rs` and
//!   `parse.rs`: reading its text; `doubt.rs`: answers that may still come late
//! * `ecm.rs`: an exchange with an ECM
//! * `reply.rs`: what an exchange comes to; `timing.rs`: how long things take; `shared.rs`: what one
//!   exchange leaves to the next

mod answer;
mod doubt;
mod ecm;
mod gem;
mod hold;
mod parse;
mod reply;
mod shared;
mod timing;

use std::time::Duration;

pub(super) use parse::hex_values;
pub use reply::{ExchangeError, GemValues, Reply};
pub use shared::Owed;
pub use timing::Timing;

use self::ecm::EcmExchange;
use self::gem::GemExchange;
use self::shared::Shared;
use super::{EcmCommand, GemCommand, KeepAliveText, Packet, TextReading};

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
///
/// [`Line::begin`] an exchange, then call [`Line::step`] and do as it says until it answers
/// [`Step::Done`]. While an exchange is under way, hand in what the link's
/// [`Decoder`](super::Decoder) finds: the bytes between frames ([`Line::take`]) and the packets
/// ([`Line::packet`]), which may come in the middle of an answer. What came before the exchange began
/// is no answer: throw away what the decoder has kept until then.
///
/// `now` is the time since any fixed moment, and never goes back.
///
/// An answer does not say what it answers. So after a time-out the meter is first asked something
/// else, whose answer cannot be taken for the missing one, and all that comes before it is thrown
/// away. For an ECM it is a pause that separates.
///
/// Sources: GEM-CMD 10.0; the set-up sequences of programs that poll.
#[derive(Debug)]
pub struct Line {
    shared: Shared,
    exchange: Option<Exchange>,
}

#[derive(Debug)]
enum Exchange {
    Gem(GemExchange),
    Ecm(EcmExchange),
}

/// How an exchange goes on.
enum Progress {
    Send(Vec<u8>),
    Wait(Duration),
    Over(Result<Reply, ExchangeError>),
    /// Look once more.
    Again,
}

impl Line {
    /// The command side of a link that has just been opened.
    #[must_use]
    pub fn new(timing: Timing) -> Self {
        Self { shared: Shared::new(timing), exchange: None }
    }

    /// Begins an exchange. False: another one is under way, and nothing was done.
    pub fn begin(&mut self, request: Request, now: Duration) -> bool {
        if self.exchange.is_some() {
            return false;
        }
        self.exchange = Some(match request {
            Request::Gem { command, target, hold } => {
                Exchange::Gem(GemExchange::new(command, target, hold, now, &self.shared))
            }
            Request::Ecm { unit, command } => {
                if self.shared.unsettled {
                    // However long ago the last byte came: what was asked may be answered just now.
                    self.shared.heard = now;
                }
                Exchange::Ecm(EcmExchange::new(unit, command, now, &self.shared))
            }
        });
        true
    }

    /// What to do at `now`. An exchange is over at its [`Line::deadline`] at the latest.
    pub fn step(&mut self, now: Duration) -> Step {
        loop {
            let progress = match &mut self.exchange {
                None => return Step::Idle,
                Some(Exchange::Gem(exchange)) => exchange.advance(&mut self.shared, now),
                Some(Exchange::Ecm(exchange)) => exchange.advance(&mut self.shared, now),
            };
            match progress {
                Progress::Send(bytes) => return Step::Send(bytes),
                Progress::Wait(until) => {
                    return Step::Wait(Some(self.deadline().map_or(until, |end| until.min(end))));
                }
                Progress::Over(outcome) => {
                    self.exchange = None;
                    return Step::Done(outcome);
                }
                Progress::Again => {}
            }
        }
    }

    /// Bytes came that belong to no frame. While no exchange is under way they need not be handed
    /// in; they are of no use then.
    pub fn take(&mut self, between: &[u8], now: Duration) {
        if between.is_empty() {
            return;
        }
        self.shared.heard = now;
        match &mut self.exchange {
            Some(Exchange::Gem(exchange)) => exchange.take(between, now, &mut self.shared),
            Some(Exchange::Ecm(exchange)) => exchange.take(between, &self.shared, now),
            None => {}
        }
    }

    /// A packet came. Hand in each one, also while no exchange is under way: packets are let through
    /// between two holds.
    pub fn packet(&mut self, packet: &Packet, now: Duration) {
        self.shared.hold.packet(now, &self.shared.timing);
        match &mut self.exchange {
            Some(Exchange::Gem(exchange)) => exchange.packet(packet.serial_number),
            Some(Exchange::Ecm(exchange)) if packet.format.is_ecm() => {
                exchange.packet(&self.shared, now);
            }
            _ => {}
        }
    }

    /// A reading in a text format came; as [`Line::packet`].
    pub fn text(&mut self, reading: &TextReading, now: Duration) {
        self.shared.hold.packet(now, &self.shared.timing);
        let digits = reading.serial.len().saturating_sub(5);
        let number = reading.serial.get(digits..).and_then(|digits| digits.parse().ok());
        if let (Some(Exchange::Gem(exchange)), Some(number)) = (&mut self.exchange, number) {
            exchange.packet(number);
        }
    }

    /// The keep-alive text that meters of this link send, if it is not the default `Alive`. One that
    /// is set through this line is learnt.
    pub fn keep_alive(&mut self, text: &KeepAliveText) {
        text.as_str().clone_into(&mut self.shared.keep_alive);
    }

    /// Gives up the exchange under way, if there is one. What was sent may still be answered; that
    /// answer is kept from the next exchange.
    pub fn cancel(&mut self, now: Duration) {
        match self.exchange.take() {
            Some(Exchange::Gem(mut exchange)) => exchange.give_up(&mut self.shared, now),
            Some(Exchange::Ecm(exchange)) => exchange.give_up(&mut self.shared),
            None => {}
        }
    }

    /// Whether the command under way was sent. One that was not can be sent elsewhere: what goes
    /// before it only asks.
    #[must_use]
    pub const fn is_out(&self) -> bool {
        match &self.exchange {
            Some(Exchange::Gem(exchange)) => exchange.is_out(),
            Some(Exchange::Ecm(exchange)) => exchange.is_out(),
            None => false,
        }
    }

    /// What may still be answered late. [`Line::cancel`] the exchange under way first.
    #[must_use]
    pub fn owed(&self) -> Owed {
        self.shared.owed()
    }

    /// What is known to be owed by the meters of this link, here and elsewhere; it takes the place of
    /// what this line knew.
    pub fn set_owed(&mut self, owed: Owed) {
        self.shared.set_owed(owed);
    }

    /// When the exchange under way will be over at the latest; `None` when there is none. It moves
    /// as the exchange goes on: a command that waits for a hold has its time yet before it.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        match &self.exchange {
            Some(Exchange::Gem(exchange)) => Some(exchange.deadline()),
            Some(Exchange::Ecm(exchange)) => Some(exchange.deadline()),
            None => None,
        }
    }
}

/// Takes an outcome out of the stage that holds it.
fn ended(outcome: &mut Result<Reply, ExchangeError>) -> Result<Reply, ExchangeError> {
    std::mem::replace(outcome, Err(ExchangeError::NotSent))
}
