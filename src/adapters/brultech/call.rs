//! One command's way to its meter: finds the connection, waits for its turn, asks.

mod ecm;

use std::sync::Arc;
use std::time::Duration;

use meter_protocols::brultech::{ExchangeError, GemCommand, Reply, Request};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::exchange::{Answered, Connection, Failure};
use super::identity::Identity;
use super::switchboard::Switchboard;
use crate::command::CommandError;

/// A meter that is being asked; the line is its own from the first question on.
#[derive(Debug)]
pub(super) struct Call {
    switchboard: Switchboard,
    meter: Identity,
    begun: Instant,
    deadline: Instant,
    way: Option<Way>,
}

/// The connection that questions go by, with the turn on it.
#[derive(Debug)]
struct Way {
    connection: Arc<Connection>,
    _turn: OwnedSemaphorePermit,
    /// Packets need not be held back: none is due, or there is no time for it.
    prompt: bool,
    /// The ECM called has told its serial number on this connection.
    confirmed: bool,
}

impl Call {
    /// A call to a meter that is over within `limit`.
    pub(super) fn new(switchboard: &Switchboard, meter: Identity, limit: Duration) -> Call {
        let begun = Instant::now();
        let deadline = begun + limit;
        Call { switchboard: switchboard.clone(), meter, begun, deadline, way: None }
    }

    /// Who is called.
    pub(super) fn meter(&self) -> &Identity {
        &self.meter
    }

    /// Whether its time is over.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// How long packets will be held back before a command goes out.
    pub(super) async fn hold(&mut self) -> Result<Duration, CommandError> {
        let way = self.way().await?;
        Ok(if way.prompt { Duration::ZERO } else { HOLD_WAIT })
    }

    /// Asks a GEM.
    pub(super) async fn gem(&mut self, command: GemCommand) -> Result<Reply, CommandError> {
        let prompt = self.way().await?.prompt;
        self.ask_gem(command, !prompt).await
    }

    /// Asks a GEM without holding its packets back: a packet is what is wanted.
    pub(super) async fn gem_promptly(
        &mut self,
        command: GemCommand,
    ) -> Result<Reply, CommandError> {
        self.ask_gem(command, false).await
    }

    async fn ask_gem(&mut self, command: GemCommand, hold: bool) -> Result<Reply, CommandError> {
        let (switchboard, number) = (self.switchboard.clone(), self.meter.number);
        let again = command.is_query();
        let answered = self
            .ask(again, |connection| {
                let target = switchboard.is_shared(connection).then_some(number);
                Request::Gem { command: command.clone(), target, hold }
            })
            .await?;
        Ok(answered.reply)
    }

    /// One exchange, on the way that is there or the next that comes. A connection that ends before
    /// the command is out costs nothing, and `again` says that it may be sent twice.
    async fn ask(
        &mut self,
        again: bool,
        request: impl Fn(&Connection) -> Request,
    ) -> Result<Answered, CommandError> {
        loop {
            let connection = Arc::clone(&self.way().await?.connection);
            let request = request(&connection);
            let exchange = timeout_at(self.deadline, connection.exchange(request)).await;
            match exchange {
                Ok(Ok(answered)) => return Ok(answered),
                Ok(Err(Failure::NotSent)) => self.way = None,
                Ok(Err(Failure::CutOff)) if again => self.way = None,
                Ok(Err(Failure::CutOff)) => {
                    self.way = None;
                    return Err(CommandError::Unreachable(CUT_OFF.to_owned()));
                }
                Ok(Err(Failure::Exchange(error))) => return Err(self.refusal(error)),
                Err(_) => return Err(CommandError::Silent(self.waited())),
            }
        }
    }

    /// The way to the meter; waits for a connection and for the turn on it.
    async fn way(&mut self) -> Result<&Way, CommandError> {
        if self.way.as_ref().is_some_and(|way| way.connection.ended.is_cancelled()) {
            self.way = None;
        }
        if self.way.is_none() {
            let found = timeout_at(self.deadline, find_way(&self.switchboard, &self.meter)).await;
            self.way = Some(found.ok().flatten().ok_or_else(|| self.no_way())?);
        }
        self.way.as_ref().ok_or(CommandError::Lost)
    }

    fn no_way(&self) -> CommandError {
        let waited = self.waited().as_secs();
        CommandError::Unreachable(match self.switchboard.way_to(&self.meter.serial) {
            Some(_) => format!("other commands kept the line busy for {waited} s"),
            None => format!("the meter did not connect within {waited} s"),
        })
    }

    fn waited(&self) -> Duration {
        self.begun.elapsed()
    }

    fn refusal(&self, error: ExchangeError) -> CommandError {
        match error {
            ExchangeError::Silent { waited } => {
                CommandError::Silent(Duration::from_secs(waited.as_secs_f64().ceil() as u64))
            }
            ExchangeError::NotAcknowledged { acknowledged: 0, .. } => {
                CommandError::Unreachable(format!("{error}; {UNIT_HINT}"))
            }
            error @ (ExchangeError::NotSent | ExchangeError::Unsettled { .. }) => {
                CommandError::Unreachable(error.to_string())
            }
            other => CommandError::Refused(other.to_string()),
        }
    }
}

/// The connection to a meter, once it is one's turn there; none where a meter that used to stay
/// connected is gone for too long to be waited for.
async fn find_way(switchboard: &Switchboard, meter: &Identity) -> Option<Way> {
    let mut moves = switchboard.moves();
    let mut waited = false;
    let patience = Instant::now() + ABSENCE;
    loop {
        moves.borrow_and_update();
        if let Some((connection, fleeting)) = switchboard.way_to(&meter.serial)
            && let Some(turn) = connection.turn().await
        {
            // While others had their turn the meter may have come back by another connection.
            let now = switchboard.way_to(&meter.serial);
            if now.is_some_and(|(newest, _)| newest.number != connection.number) {
                continue;
            }
            let polled = switchboard.link(connection.link).poll.is_some();
            let prompt = fleeting || waited || polled;
            return Some(Way { connection, _turn: turn, prompt, confirmed: false });
        }
        // The connection comes with a packet, and the next one is a while away.
        waited = true;
        if switchboard.is_fleeting(&meter.serial) {
            moves.changed().await.ok()?;
        } else {
            timeout_at(patience, moves.changed()).await.ok()?.ok()?;
        }
    }
}

/// What the meter said, when it fits nothing that it could have been asked.
pub(super) fn unexpected(reply: &Reply) -> CommandError {
    CommandError::Refused(format!("the meter gave an answer to another question: {reply:?}"))
}

/// How long a command waits for a meter whose connection is lost: a module dials in again, or is
/// dialled again, within seconds, and its first packet tells that it is there.
const ABSENCE: Duration = Duration::from_secs(20);
/// As in the protocol's timing.
const HOLD_WAIT: Duration = Duration::from_secs(3);
const CUT_OFF: &str = "the connection ended before the meter had answered; it may have taken the \
                       command all the same";
const UNIT_HINT: &str = "its command byte may be another one: write it as `units` in the \
                         configuration, such as units: [fd]";
