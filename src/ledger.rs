//! Between adapters and bus: what a packet changed in the counters is on disk before anybody
//! hears of it, so that no total that was ever published can go back, not even over a kill -9.
//!
//! Everything that waits is committed as one group: a single packet costs one small write, a
//! burst shares one. When the disk fails, readings go on without it and the failure is counted
//! and logged; the state is written with the next group that can be.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::bus::{Bus, Queue};
use crate::error::chain;
use crate::metrics::Metrics;
use crate::model::Update;
use crate::store::{Changes, MeterRow, Store, StoreError};

/// What an adapter hands over after a frame: what must be kept, then what may be told.
#[derive(Debug)]
pub struct Entry {
    /// The meter's state after it.
    pub keep: Option<MeterRow>,
    /// What somebody changed by request, and waits for.
    pub change: Option<Box<Pending>>,
    /// What it said, in order.
    pub updates: Vec<Update>,
}

/// A change that is to be on disk before whoever asked for it hears that it was done.
#[derive(Debug)]
pub struct Pending {
    /// What is to be kept.
    pub changes: Changes,
    /// Gets whether it is on disk. Dropped, it is not known.
    pub kept: Option<oneshot::Sender<bool>>,
}

impl Entry {
    /// Something to tell, and nothing to keep.
    pub fn telling(updates: Vec<Update>) -> Entry {
        Entry { keep: None, change: None, updates }
    }
}

/// The queue that adapters write to. Full for longer than a moment (a disk that hangs), it drops
/// the oldest entries; the state they held comes again with the meter's next packet.
pub type LedgerQueue = Arc<Queue<Entry>>;

/// Makes the queue.
pub fn queue(metrics: &Metrics) -> LedgerQueue {
    let meters = metrics.meters.clone();
    Queue::watched(CAPACITY, metrics.dropped_updates.clone(), move |entry: &Entry| {
        entry.updates.iter().for_each(|update| meters.note_drop(update));
    })
}

const CAPACITY: usize = 4096;

/// Moves entries from the queue to disk and then to the bus, until the queue is closed.
///
/// # Errors
/// Only when the thread that writes was lost; a failing disk is not an error here.
pub async fn run(
    queue: LedgerQueue,
    mut store: Store,
    bus: Bus,
    metrics: Metrics,
) -> Result<(), LedgerError> {
    let mut batch = VecDeque::new();
    let mut unsaved = Changes::default();
    let mut failing = false;
    while queue.drain(&mut batch).await {
        let mut updates = Vec::with_capacity(batch.len());
        let mut waiting = Vec::new();
        for entry in batch.drain(..) {
            if let Some(row) = entry.keep {
                unsaved.keep_meter(row);
            }
            if let Some(change) = entry.change {
                unsaved.extend(change.changes);
                waiting.extend(change.kept);
            }
            updates.extend(entry.updates);
        }
        if !unsaved.is_empty() {
            let write = move || {
                let outcome = store.keep(&unsaved);
                if outcome.is_ok() {
                    unsaved = Changes::default();
                }
                (store, unsaved, outcome)
            };
            let outcome;
            (store, unsaved, outcome) =
                tokio::task::spawn_blocking(write).await.map_err(|_| LedgerError)?;
            report(outcome, &mut failing, &metrics);
        }
        for waiting in waiting {
            // Whoever asked may be gone.
            let _ = waiting.send(unsaved.is_empty());
        }
        for update in &updates {
            bus.send(update).await;
        }
    }
    bus.close();
    Ok(())
}

/// The thread that writes to disk was lost.
#[derive(Debug, thiserror::Error)]
#[error("the thread that writes counter state was lost")]
pub struct LedgerError;

/// Logs the change from working to failing and back, not every failure.
fn report(outcome: Result<(), StoreError>, failing: &mut bool, metrics: &Metrics) {
    metrics.state_writes.increment();
    match outcome {
        Ok(()) if *failing => tracing::info!("counter state is written to disk again"),
        Err(error) => {
            metrics.state_write_failures.increment();
            if !*failing {
                tracing::error!(
                    error = chain(&error),
                    "counter state cannot be written: readings go on, but a restart would lose \
                     what the meters do while they cannot be heard; check the disk of data_dir"
                );
            }
            *failing = true;
            return;
        }
        Ok(()) => {}
    }
    *failing = false;
}
