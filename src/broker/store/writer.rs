//! The task that takes what is noted to the disk, one commit after the other.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::database::{Database, StorageError};
use super::{Book, Store};
use crate::broker::stats::BrokerStats;

impl Store {
    /// Commits what is noted, until `stop` and then once more.
    ///
    /// # Errors
    /// [`WriterLost`] when the thread that writes panicked; a failing disk is not an error here.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut database: Database,
        stop: CancellationToken,
    ) -> Result<(), WriterLost> {
        let Some(book) = &self.book else { return Ok(()) };
        let mut failing = false;
        while self.due(book, &stop).await {
            let (mut batch, number) = book.lock().take();
            loop {
                let outcome;
                (database, batch, outcome) = write(database, batch).await?;
                BrokerStats::count(&self.stats.disk_commits);
                match outcome {
                    Ok(()) => {
                        self.accept(number, &mut failing);
                        break;
                    }
                    Err(error) => self.refuse(book, &error, &mut failing),
                }
                if stop.is_cancelled() {
                    return Ok(());
                }
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(RETRY) => {}
                }
            }
        }
        Ok(())
    }

    /// Waits until a commit is to be made; `false` when there is none and there will be none.
    async fn due(&self, book: &Mutex<Book>, stop: &CancellationToken) -> bool {
        loop {
            let (since, urgent) = {
                let book = book.lock();
                (book.since, book.urgent)
            };
            match since {
                Some(_) if urgent || stop.is_cancelled() => return true,
                None if stop.is_cancelled() => return false,
                Some(since) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep_until(since + LAZY) => return true,
                },
                None => tokio::select! {
                    () = self.changed.notified() => {}
                    () = stop.cancelled() => {}
                },
            }
        }
    }

    /// Tells everybody who waits that commit `number` is on disk. What is noted from now on waits for
    /// the next one, and is refused only if that fails.
    fn accept(&self, number: u64, failing: &mut bool) {
        if std::mem::take(failing) {
            tracing::info!("the broker's messages are written to disk again");
        }
        self.progress.send_modify(|progress| {
            progress.kept = number;
            progress.refused = progress.refused.min(number);
        });
    }

    /// Tells everybody who waits, whatever for, that the disk does not take it.
    fn refuse(&self, book: &Mutex<Book>, error: &StorageError, failing: &mut bool) {
        BrokerStats::count(&self.stats.disk_failures);
        if !std::mem::replace(failing, true) {
            tracing::error!(
                %error,
                "the broker cannot write to its disk: retained messages and kept sessions are in \
                 memory only, and QoS 1 and 2 that concerns them is not acknowledged, until it \
                 can; free some space or check the disk of data_dir"
            );
        }
        let refused = book.lock().number;
        self.progress.send_modify(|progress| progress.refused = refused);
    }
}

/// Writes in a thread where blocking harms nobody, and says so if that takes long.
async fn write(
    mut database: Database,
    batch: Batch,
) -> Result<(Database, Batch, Result<(), StorageError>), WriterLost> {
    let mut writing = tokio::task::spawn_blocking(move || {
        let outcome = database.write(&batch);
        (database, batch, outcome)
    });
    let begin = Instant::now();
    let written = match tokio::time::timeout(SLOW, &mut writing).await {
        Ok(written) => written,
        Err(_) => {
            tracing::warn!(
                "the disk of data_dir has not answered for {SLOW:?}: acknowledgements of retained \
                 messages and for kept sessions wait for it"
            );
            let written = writing.await;
            tracing::info!(after = ?begin.elapsed(), "the disk of data_dir answers again");
            written
        }
    };
    written.map_err(|_| WriterLost)
}

/// The thread that writes to disk was lost.
#[derive(Debug, thiserror::Error)]
#[error("the thread that writes the broker's messages to disk was lost")]
pub(crate) struct WriterLost;

/// How long a change that nobody waits for may stay in memory, so that many share a commit.
const LAZY: Duration = Duration::from_millis(200);
/// Between two attempts at a commit that failed.
const RETRY: Duration = Duration::from_secs(1);
/// A commit that takes longer is worth a line in the log.
const SLOW: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::store::{Quota, Standing};

    #[test]
    fn what_comes_after_the_disk_has_recovered_is_not_refused() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path()).unwrap();
        let store = Store::on_disk(&database, Quota::default(), Arc::default());
        let first = store.retain(b"a", None);
        let book = store.book.as_ref().unwrap();
        let (_, number) = book.lock().take();
        let (fault, mut failing) = ("full".to_owned(), false);
        let error = StorageError::Damaged { path: dir.path().to_owned(), fault };
        store.refuse(book, &error, &mut failing);
        assert_eq!(store.standing(first), Standing::Refused);
        let meanwhile = store.retain(b"b", None);
        assert_eq!(store.standing(meanwhile), Standing::Refused);
        store.accept(number, &mut failing);
        assert_eq!(store.standing(first), Standing::Kept);
        let later = store.retain(b"c", None);
        assert_eq!(store.standing(later), Standing::Waiting);
    }
}
