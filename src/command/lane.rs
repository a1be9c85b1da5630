//! The queue of one meter: one command is with its adapter at a time, in the order they came.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::grammar::Request;
use super::outbox::{Asker, Outbox, reply};
use super::{Answer, Command, CommandError, Job, Jobs};

/// A command in a lane.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) name: Arc<str>,
    pub(super) request: Request,
    pub(super) asker: Asker,
    /// What the gateway knows to answer by itself; the meter's own words are added.
    pub(super) known: Option<Answer>,
}

/// The commands of one meter, one after the other.
pub(super) struct Lane {
    pub(super) serial: Arc<str>,
    pub(super) jobs: Jobs,
    pub(super) out: Outbox,
    pub(super) stop: CancellationToken,
}

impl Lane {
    /// Serves until every sender of the queue is gone.
    pub(super) async fn run(self, mut queue: mpsc::Receiver<Waiting>) {
        while let Some(Waiting { name, request, asker, known }) = queue.recv().await {
            let outcome = tokio::select! {
                biased;
                () = self.stop.cancelled() => Err(CommandError::Lost),
                outcome = self.hand_over(request.command) => outcome,
            };
            let outcome = match (known, outcome) {
                (None, outcome) => outcome,
                (Some(known), Ok(more)) => Ok(joined(known, more)),
                // What the gateway knows stands also without the meter.
                (Some(known), Err(_)) => Ok(known),
            };
            self.out.reply(&name, reply(&request.echo, outcome), asker).await;
        }
    }

    /// Waits for the adapter to take the command, and for what comes of it.
    async fn hand_over(&self, command: Command) -> Result<Answer, CommandError> {
        let handing = async {
            let (reply, outcome) = oneshot::channel();
            let job = Job { serial: Arc::clone(&self.serial), command, reply };
            self.jobs.send(job).await.map_err(|_| CommandError::Lost)?;
            outcome.await.unwrap_or(Err(CommandError::Lost))
        };
        tokio::time::timeout(LAST_RESORT, handing).await.unwrap_or_else(|_| {
            tracing::error!(serial = %self.serial, "a command was left without an answer");
            Err(CommandError::Silent(LAST_RESORT))
        })
    }
}

/// One answer of two; where both say something, the first holds.
fn joined(mut known: Answer, more: Answer) -> Answer {
    for (key, value) in more {
        known.entry(key).or_insert(value);
    }
    known
}

/// Commands of one meter that may wait.
pub(super) const LANE: usize = 16;
/// An adapter answers by its own deadlines; this is for when it does not.
const LAST_RESORT: Duration = Duration::from_secs(60);
