//! Which way reaches which device: a connection of its own before the broker.
//!
//! A way says when it opens and takes what is asked of it from a queue; whoever has something to ask
//! finds it here. Everything is a short look under a lock.

use std::collections::HashMap;
use std::sync::Arc;

use meter_protocols::smartmeter::{Command, Kind};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::command::{Answer, CommandError};

/// A command for one device.
#[derive(Debug)]
pub(crate) struct Ask {
    /// What to do.
    pub(crate) command: Command,
    /// Where the outcome goes: told by the way's own deadlines, also when the way ends.
    pub(crate) outcome: oneshot::Sender<Result<Answer, CommandError>>,
}

/// The ways to a device, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    /// A connection of its own, TCP or serial: every command, and every answer.
    Connection,
    /// Messages on the gateway's broker: answers of up to 256 bytes.
    Broker,
}

/// Knows the ways that are open; clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Switchboard(Arc<Mutex<Ways>>);

#[derive(Debug, Default)]
struct Ways {
    next: u64,
    open: HashMap<(Arc<str>, Way), Open>,
}

#[derive(Debug)]
struct Open {
    number: u64,
    kind: Kind,
    peer: String,
    asks: mpsc::Sender<Ask>,
    leave: CancellationToken,
}

/// A way that is open until this is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    switchboard: Switchboard,
    serial: Arc<str>,
    way: Way,
    number: u64,
    /// What is asked of the device. At most [`ASKS`] wait.
    pub(crate) asks: mpsc::Receiver<Ask>,
    /// Cancelled when the device has opened the same way anew.
    pub(crate) replaced: CancellationToken,
    /// Whom this way has taken the place of: the peer of the older one.
    pub(crate) in_place_of: Option<String>,
}

impl Switchboard {
    /// Opens a way to the device that calls itself `serial`, in place of an older one of the same kind.
    /// `peer` names the other end in the log.
    pub(crate) fn register(
        &self,
        way: Way,
        serial: &Arc<str>,
        kind: Kind,
        peer: &str,
    ) -> Registration {
        let (sender, asks) = mpsc::channel(ASKS);
        let leave = CancellationToken::new();
        let mut ways = self.0.lock();
        ways.next += 1;
        let number = ways.next;
        let (peer, replaced) = (peer.to_owned(), leave.clone());
        let open = Open { number, kind, peer, asks: sender, leave };
        let before = ways.open.insert((Arc::clone(serial), way), open);
        drop(ways);
        let in_place_of = before.map(|before| {
            before.leave.cancel();
            before.peer
        });
        let (switchboard, serial) = (self.clone(), Arc::clone(serial));
        Registration { switchboard, serial, way, number, asks, replaced, in_place_of }
    }

    /// Whether something can be said to the device.
    pub(crate) fn reaches(&self, serial: &str) -> bool {
        self.best(serial).is_some()
    }

    /// The best way to the device that is open, and what kind of device it is.
    pub(crate) fn best(&self, serial: &str) -> Option<(Way, Kind)> {
        let serial: Arc<str> = serial.into();
        let ways = self.0.lock();
        [Way::Connection, Way::Broker].into_iter().find_map(|way| {
            let open = ways.open.get(&(Arc::clone(&serial), way))?;
            Some((way, open.kind))
        })
    }

    /// Asks by one way and waits for the outcome.
    ///
    /// # Errors
    /// Why it was not done.
    pub(crate) async fn ask(
        &self,
        serial: &str,
        way: Way,
        command: Command,
    ) -> Result<Answer, CommandError> {
        let key = (Arc::from(serial), way);
        let asks = self.0.lock().open.get(&key).map(|open| open.asks.clone());
        let (outcome, told) = oneshot::channel();
        let asks = asks.ok_or(CommandError::Offline)?;
        match asks.try_send(Ask { command, outcome }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(CommandError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(CommandError::Offline),
        }
        told.await.unwrap_or_else(|_| Err(cut_off()))
    }
}

/// The way ended when the command was out already.
pub(crate) fn cut_off() -> CommandError {
    let words = "the connection to the meter ended before it answered: it may have obeyed";
    CommandError::Unreachable(words.to_owned())
}

impl Drop for Registration {
    fn drop(&mut self) {
        let key = (Arc::clone(&self.serial), self.way);
        let mut ways = self.switchboard.0.lock();
        if ways.open.get(&key).is_some_and(|open| open.number == self.number) {
            ways.open.remove(&key);
        }
    }
}

/// Commands that may wait at one way.
const ASKS: usize = 16;
