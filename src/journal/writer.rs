//! The task that takes sets from the bus to the disk, one commit after the other.
//!
//! When the disk fails, what waits is tried again; when it hangs, the queue fills. What does not
//! fit any more is lost to the journal, oldest first, counted and said. Readings go on without it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::checkpoint::Checkpoints;
use super::keeper::{Entry, Keeper};
use super::{Commit, JournalError, Shared};
use crate::bus::Queue;
use crate::error::chain;
use crate::metrics::{Counter, Metrics};
use crate::model::{Timestamp, Update};

/// The writing side of the journal: there is one.
#[derive(Debug)]
pub struct Writer {
    /// Away while a thread works with it.
    keeper: Option<Keeper>,
    interval: Duration,
    shared: Arc<Shared>,
    committed: watch::Sender<u64>,
    failing: bool,
    lost: Lost,
    checkpoints: Checkpoints,
}

/// The thread that writes to disk was lost.
#[derive(Debug, thiserror::Error)]
#[error("the thread that writes the journal was lost")]
pub struct WriterLost;

/// The queue between bus and journal. It is to hold out while a disk hangs for a while; what is
/// dropped when it is full is counted.
pub fn queue(metrics: &Metrics) -> Arc<Queue<Update>> {
    let lost = metrics.journal_lost.clone();
    Queue::watched(CAPACITY, Counter::default(), move |update| {
        if entry(update).is_some() {
            lost.increment();
        }
    })
}

fn entry(update: &Update) -> Option<Entry> {
    match update {
        Update::Readings(set) => Some(Entry { live: true, set: Arc::clone(set) }),
        Update::Backlog(set) => Some(Entry { live: false, set: Arc::clone(set) }),
        _ => None,
    }
}

/// What has come and is not on disk.
#[derive(Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    /// When the oldest is to be on disk.
    due: Option<Instant>,
}

impl Writer {
    pub(super) fn new(
        keeper: Keeper,
        commit: Commit,
        shared: Arc<Shared>,
        committed: watch::Sender<u64>,
    ) -> Writer {
        let interval = match commit {
            Commit::Group => LAZY,
            Commit::Always => Duration::ZERO,
        };
        Writer {
            keeper: Some(keeper),
            interval,
            shared,
            committed,
            failing: false,
            lost: Lost::default(),
            checkpoints: Checkpoints::default(),
        }
    }

    /// Writes what comes by `queue` until it is closed, and then what is left.
    ///
    /// # Errors
    /// Only when the thread that writes was lost; a failing disk is not an error here.
    pub async fn run(mut self, queue: Arc<Queue<Update>>) -> Result<(), WriterLost> {
        let mut waiting = Waiting::default();
        let mut tidy_at = Instant::now() + TIDY;
        while self.wait(&queue, &mut waiting, tidy_at).await {
            let now = Instant::now();
            let full = waiting.entries.len() >= GROUP && !self.failing;
            if full || waiting.due.is_some_and(|due| due <= now) {
                self.commit(&mut waiting).await?;
            }
            if tidy_at <= now {
                self.checkpoints.begin(&self.shared).await;
                let more = self.tidy().await?;
                tidy_at = Instant::now() + if more { Duration::ZERO } else { TIDY };
            }
        }
        self.finish(waiting).await
    }

    /// Waits until something is to be done; `false` when nothing comes any more.
    async fn wait(
        &mut self,
        queue: &Queue<Update>,
        waiting: &mut Waiting,
        tidy_at: Instant,
    ) -> bool {
        let count = waiting.entries.len();
        if count >= GROUP && !self.failing {
            return true;
        }
        let mut arrived = VecDeque::new();
        let until = waiting.due.map_or(tidy_at, |due| due.min(tidy_at));
        tokio::select! {
            open = queue.drain(&mut arrived), if count < CAPACITY => {
                if self.shared.wanted.load(Ordering::Acquire) {
                    waiting.entries.extend(arrived.iter().filter_map(entry));
                }
                if !waiting.entries.is_empty() {
                    waiting.due.get_or_insert(Instant::now() + self.interval);
                }
                open
            }
            () = tokio::time::sleep_until(until) => true,
        }
    }

    #[cfg(test)]
    pub(super) fn keeper(&mut self) -> &mut Keeper {
        self.keeper.as_mut().expect("no thread works with it")
    }

    /// Commits the oldest of what waits.
    async fn commit(&mut self, waiting: &mut Waiting) -> Result<(), WriterLost> {
        let count = waiting.entries.len().min(GROUP);
        let group: Vec<Entry> = waiting.entries.drain(..count).collect();
        let write = move |keeper: &mut Keeper| {
            let outcome = keeper.write(&group);
            (group, outcome)
        };
        let (group, outcome) = self.blocking(write).await?;
        let outcome = match outcome {
            Ok(last) => {
                self.committed.send_replace(last);
                if waiting.entries.is_empty() {
                    waiting.due = None;
                }
                Ok(())
            }
            Err(error) => {
                group.into_iter().rev().for_each(|entry| waiting.entries.push_front(entry));
                waiting.due = Some(Instant::now() + RETRY);
                Err(error)
            }
        };
        self.report(outcome);
        Ok(())
    }

    async fn tidy(&mut self) -> Result<bool, WriterLost> {
        let tidied = self.blocking(|keeper| keeper.tidy(Timestamp::now())).await?;
        match tidied {
            Ok(more) => Ok(more),
            Err(error) => {
                self.report(Err(error));
                Ok(false)
            }
        }
    }

    /// The end: what is left goes to disk, or is lost.
    async fn finish(&mut self, mut waiting: Waiting) -> Result<(), WriterLost> {
        let mut attempts = 2;
        while !waiting.entries.is_empty() && attempts > 0 {
            self.commit(&mut waiting).await?;
            if self.failing {
                attempts -= 1;
            }
        }
        self.shared.metrics.journal_lost.add(waiting.entries.len() as u64);
        self.lost.tell(&self.shared.metrics);
        Ok(())
    }

    /// Works in a thread where blocking harms nobody, and says so if that takes long.
    async fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Keeper) -> T + Send + 'static,
    ) -> Result<T, WriterLost> {
        let mut keeper = self.keeper.take().ok_or(WriterLost)?;
        let mut working = tokio::task::spawn_blocking(move || {
            let outcome = work(&mut keeper);
            (keeper, outcome)
        });
        let begin = Instant::now();
        let mut slow = false;
        let worked = loop {
            match tokio::time::timeout(SLOW, &mut working).await {
                Ok(worked) => break worked,
                Err(_) if !slow => {
                    slow = true;
                    tracing::warn!(
                        "the disk of data_dir has not answered the journal for {SLOW:?}: readings wait \
                         in memory for histories and outputs"
                    );
                }
                Err(_) => {}
            }
            self.lost.tell(&self.shared.metrics);
        };
        if slow {
            tracing::info!(after = ?begin.elapsed(), "the disk of data_dir answers the journal again");
        }
        let (keeper, outcome) = worked.map_err(|_| WriterLost)?;
        self.keeper = Some(keeper);
        Ok(outcome)
    }

    /// Logs the change from working to failing and back, not every failure.
    fn report(&mut self, outcome: Result<(), JournalError>) {
        let metrics = &self.shared.metrics;
        metrics.journal_commits.increment();
        match outcome {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the journal is written to disk again");
                    self.lost.end();
                }
            }
            Err(error) => {
                metrics.journal_failures.increment();
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(
                        error = chain(&error),
                        "the journal cannot be written: readings wait in memory for histories and \
                         outputs, and the oldest are lost to these when there are too many; free some \
                         space or check the disk of data_dir"
                    );
                }
            }
        }
        self.lost.tell(metrics);
    }
}

/// What of the losses has been said.
#[derive(Debug, Default)]
struct Lost {
    told: u64,
    telling: bool,
}

impl Lost {
    /// Says that sets are being lost, once for each time that it begins.
    fn tell(&mut self, metrics: &Metrics) {
        let lost = metrics.journal_lost.get();
        if lost > self.told && !std::mem::replace(&mut self.telling, true) {
            tracing::error!(
                lost,
                "sets of readings are lost to histories and outputs: the disk of data_dir does not \
                 take them and there are too many to wait; what was published is right all the same"
            );
        }
        self.told = lost;
    }

    fn end(&mut self) {
        self.telling = false;
    }
}

/// Sets in one commit.
const GROUP: usize = 1000;
/// How long a set may wait for others. A second is promised: the commit takes its time, too.
const LAZY: Duration = Duration::from_millis(300);
/// Between two attempts at a commit that failed.
const RETRY: Duration = Duration::from_secs(1);
/// How often it is seen to what may go.
const TIDY: Duration = Duration::from_secs(10);
/// A commit that takes longer is worth a line in the log.
const SLOW: Duration = Duration::from_secs(5);
/// Updates that may wait while a disk hangs: 16 s of a thousand meters, minutes of a house. About
/// 2 kB each with a large meter.
const CAPACITY: usize = 16_384;
