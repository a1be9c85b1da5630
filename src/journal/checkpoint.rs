//! Moving what is committed from the write-ahead log into the file, beside the writer.
//!
//! SQLite does this within a commit, when the log is long enough, and flushes the disk for it. On a
//! memory card that takes a second now and then, in which nothing else would be committed.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::task::JoinHandle;

use super::{JournalError, Shared};
use crate::error::chain;

/// Starts one after the other, each in a thread where blocking harms nobody.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    running: Option<JoinHandle<Result<(), JournalError>>>,
    failing: bool,
}

impl Checkpoints {
    /// Begins one, unless the last still runs.
    pub(super) async fn begin(&mut self, shared: &Arc<Shared>) {
        if self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        if let Some(ended) = self.running.take() {
            // A panic in there is SQLite's, and the next commit will meet it, too.
            self.report(ended.await.unwrap_or(Ok(())));
        }
        let shared = Arc::clone(shared);
        self.running = Some(tokio::task::spawn_blocking(move || {
            let connection = shared.connection()?;
            let outcome = checkpoint(&connection);
            shared.give_back(connection, outcome)
        }));
    }

    fn report(&mut self, outcome: Result<(), JournalError>) {
        match outcome {
            Ok(()) => self.failing = false,
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(
                        error = chain(&error),
                        "the write-ahead log of history.db cannot be moved into the file and grows; \
                         check the disk of data_dir"
                    );
                }
            }
        }
    }
}

/// As far as no reader is in the way; waits for nobody.
fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

/// The writer does it by itself only when this much, in pages of 4 KiB, has come together.
pub(super) const LAST_RESORT: i64 = 16_384;
