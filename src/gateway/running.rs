//! A gateway that runs: its tasks, and their end in the order of the data.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::makes::Mailboxes;
use crate::ledger::LedgerQueue;
use crate::streams::Recorders;
use crate::task::{Ended, Group};

/// The tasks in the order in which they end, and what each group waits for.
pub(super) struct Running {
    /// Connections to meters, and readers of samples.
    pub(super) links: Group,
    /// Where links leave frames: the adapters end when nobody can leave one any more.
    pub(super) mailboxes: Mailboxes,
    /// Adapters, and who takes commands and requests.
    pub(super) adapters: Group,
    /// They end after the last sample.
    pub(super) recorders: Recorders,
    /// Closed when no adapter can tell anything any more: the pipeline ends with what it holds.
    pub(super) ledger: LedgerQueue,
    /// From the ledger to the publisher and the journal.
    pub(super) pipeline: Group,
    /// The broker and the web port.
    pub(super) servers: Group,
    pub(super) stop_links: CancellationToken,
    pub(super) stop_servers: CancellationToken,
}

impl Running {
    /// Waits for the end of something that everything else needs.
    pub(super) async fn ended(&mut self) -> Option<Ended> {
        tokio::select! {
            ended = self.servers.ended() => ended,
            ended = self.pipeline.ended() => ended,
        }
    }

    /// Ends all of it in order, within ten seconds.
    pub(super) async fn stop(mut self) {
        tracing::info!("stopping");
        self.stop_links.cancel();
        self.links.finish(GRACE).await;
        drop(self.mailboxes);
        self.adapters.finish(GRACE).await;
        self.recorders.end();
        self.ledger.close();
        self.pipeline.finish(GRACE).await;
        self.stop_servers.cancel();
        self.servers.finish(GRACE).await;
        tracing::info!("stopped");
    }
}

/// How long each stage may take; five stages stay below ten seconds.
const GRACE: Duration = Duration::from_millis(1900);
