//! The speaking half of a Brultech connection: requests to bytes, and what answers them.
//!
//! It drives the protocol's [`Line`], which knows holds, acknowledgements, fences and deadlines. The
//! ears hand it packets and the bytes between them while an exchange is under way.

use std::sync::Arc;
use std::time::Duration;

use meter_protocols::brultech::{ExchangeError, Line, Packet, Reply, Step, TextReading, Timing};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

use super::exchange::{Answered, Connection, Exchange, Failure};
use super::identity::Identity;
use super::switchboard::Switchboard;
use crate::adapters::fleet::LinkId;

/// What a connection says, and on whose behalf.
#[derive(Debug)]
pub(super) struct Voice {
    switchboard: Switchboard,
    connection: Arc<Connection>,
    exchanges: mpsc::Receiver<Exchange>,
    line: Line,
    asked: Option<Asked>,
}

/// The exchange under way.
#[derive(Debug)]
struct Asked {
    outcome: oneshot::Sender<Result<Answered, Failure>>,
    packet_of: Option<Identity>,
}

impl Voice {
    /// The voice of a connection that was just opened; it takes its place on the switchboard.
    pub(super) fn new(switchboard: &Switchboard, link: LinkId) -> Voice {
        let (connection, exchanges) = switchboard.open(link);
        let polled = switchboard.link(link).poll.is_some();
        let timing = if polled {
            Timing { reply: POLLED_REPLY, ..Timing::default() }
        } else {
            Timing::default()
        };
        Voice {
            switchboard: switchboard.clone(),
            connection,
            exchanges,
            line: Line::new(timing),
            asked: None,
        }
    }

    /// The line's time. All connections count from the same moment, since they tell each other of
    /// answers that may come late.
    fn now(&self) -> Duration {
        self.switchboard.begun().elapsed()
    }

    /// Whether an answer is waited for, so that the bytes between packets are wanted.
    pub(super) fn is_listening(&self) -> bool {
        self.asked.is_some()
    }

    /// Bytes that belong to no packet.
    pub(super) fn between(&mut self, bytes: &[u8]) {
        if self.is_listening() && !bytes.is_empty() {
            self.line.take(bytes, self.now());
        }
    }

    /// A packet was lifted out.
    pub(super) fn packet(&mut self, packet: &Packet) {
        let identity = Identity::of(packet);
        self.switchboard.heard(&self.connection, &identity);
        if let Some(asked) = &mut self.asked {
            asked.packet_of = Some(identity);
        }
        self.line.packet(packet, self.now());
    }

    /// A reading in a text format was lifted out: it may be the packet that is waited for, and its
    /// meter can be told to use another format.
    pub(super) fn text(&mut self, reading: &TextReading) {
        if let Some(identity) = Identity::by_serial(&reading.serial) {
            self.switchboard.heard(&self.connection, &identity);
        }
        self.line.text(reading, self.now());
    }

    /// What is to be sent now; `None`: somebody has asked something, or an exchange has ended, and
    /// more is to come. Safe to be cut off.
    pub(super) async fn speak(&mut self) -> Option<Vec<u8>> {
        match self.line.step(self.now()) {
            Step::Send(bytes) => Some(bytes),
            Step::Wait(Some(until)) => {
                sleep_until(self.switchboard.begun() + until).await;
                None
            }
            Step::Wait(None) => std::future::pending().await,
            Step::Done(outcome) => {
                self.done(outcome);
                None
            }
            Step::Idle => {
                let Some(exchange) = self.exchanges.recv().await else {
                    return std::future::pending().await;
                };
                self.begin(exchange);
                None
            }
        }
    }

    fn done(&mut self, outcome: Result<Reply, ExchangeError>) {
        self.switchboard.set_owed(&self.connection, self.line.owed());
        if let Some(Asked { outcome: told, packet_of }) = self.asked.take() {
            let answered = outcome.map(|reply| Answered { reply, packet_of });
            // Whoever asked may have given up since.
            let _ = told.send(answered.map_err(Failure::Exchange));
        }
    }

    fn begin(&mut self, exchange: Exchange) {
        let Exchange { request, outcome } = exchange;
        if outcome.is_closed() {
            return;
        }
        // The meter may owe answers to what was asked on another connection.
        let mut owed = self.line.owed();
        owed.join(&self.switchboard.owed(&self.connection));
        self.line.set_owed(owed);
        self.line.begin(request, self.now());
        self.asked = Some(Asked { outcome, packet_of: None });
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        // A module may hang up with its answer, and both are read in one go.
        if self.line.is_out()
            && let Step::Done(outcome) = self.line.step(self.now())
        {
            self.done(outcome);
        }
        let failure = if self.line.is_out() { Failure::CutOff } else { Failure::NotSent };
        self.line.cancel(self.now());
        self.switchboard.set_owed(&self.connection, self.line.owed());
        self.exchanges.close();
        // First of all, so that whoever is told looks for another connection.
        self.switchboard.close(&self.connection);
        while let Ok(exchange) = self.exchanges.try_recv() {
            let _ = exchange.outcome.send(Err(Failure::NotSent));
        }
        if let Some(asked) = self.asked.take() {
            let _ = asked.outcome.send(Err(failure));
        }
    }
}

/// How long a polled meter has for its answer. It is asked again soon, and others wait.
const POLLED_REPLY: Duration = Duration::from_secs(4);
