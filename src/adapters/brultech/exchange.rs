//! One question to a meter and its answer, between whoever asks and the connection that speaks.

use std::sync::Arc;

use meter_protocols::brultech::{ExchangeError, Reply, Request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::identity::Identity;
use crate::adapters::fleet::LinkId;

/// A request for one connection; its outcome is always told, also when the connection ends.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) request: Request,
    pub(super) outcome: oneshot::Sender<Result<Answered, Failure>>,
}

/// What came of a request.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) reply: Reply,
    /// The meter of the last packet heard while it was waited for.
    pub(super) packet_of: Option<Identity>,
}

/// Why nothing came of it.
#[derive(Debug)]
pub(super) enum Failure {
    /// The meter's answer was none, or there was none.
    Exchange(ExchangeError),
    /// The connection ended when the command was out already; the meter may have obeyed.
    CutOff,
    /// The connection ended before the command was sent: it can go by another one.
    NotSent,
}

/// A live connection, as those see it who want something said on it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) number: u64,
    pub(super) link: LinkId,
    /// Cancelled when the connection has ended.
    pub(super) ended: CancellationToken,
    exchanges: mpsc::Sender<Exchange>,
    turn: Arc<Semaphore>,
}

impl Connection {
    /// A connection and the end of it that hears of exchanges.
    pub(super) fn new(number: u64, link: LinkId) -> (Connection, mpsc::Receiver<Exchange>) {
        let (exchanges, asked) = mpsc::channel(1);
        let turn = Arc::new(Semaphore::new(1));
        let ended = CancellationToken::new();
        (Connection { number, link, ended, exchanges, turn }, asked)
    }

    /// Waits for one's turn, first come first served; the line is one's own until the value
    /// returned is dropped. `None`: the connection has ended.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            turn = Arc::clone(&self.turn).acquire_owned() => turn.ok(),
            () = self.ended.cancelled() => None,
        }
    }

    /// Asks, and waits until the line has an outcome; it sees to that by its own deadlines. For
    /// whoever has the turn.
    pub(super) async fn exchange(&self, request: Request) -> Result<Answered, Failure> {
        let (outcome, told) = oneshot::channel();
        let exchange = Exchange { request, outcome };
        if self.exchanges.send(exchange).await.is_err() {
            return Err(Failure::NotSent);
        }
        told.await.unwrap_or(Err(Failure::CutOff))
    }
}
