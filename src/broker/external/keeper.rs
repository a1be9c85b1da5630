//! Writing the outbox to disk, and keeping it in memory for as long as the disk fails.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::outbox::Outbox;
use super::shelf::{Outcome, Shelf, ShelfError, Turn};
use super::stats::ExternalStats;
use crate::transport::Backoff;

/// Does what the outbox wants done.
#[derive(Debug)]
pub(super) struct Keeper {
    outbox: Arc<Outbox>,
    place: Place,
}

/// Where the messages are: on disk, or in memory while it fails.
#[derive(Debug)]
struct Place {
    shelf: Shelf,
    data_dir: PathBuf,
    memory: Option<Memory>,
}

/// The disk has failed.
#[derive(Debug)]
struct Memory {
    /// All that was on disk could be read, so that memory has it too.
    whole: bool,
    pause: Backoff,
    /// When the disk is tried again.
    next: Instant,
}

impl Keeper {
    /// Opens the outbox of an earlier run, or a new one.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub(super) fn open(data_dir: &Path, outbox: Arc<Outbox>) -> Result<Self, ShelfError> {
        let shelf = Shelf::open(data_dir)?;
        let count = shelf.count();
        let (held, waiting) = count
            .map_err(|source| ShelfError::Open { path: data_dir.join("outbox.db"), source })?;
        outbox.recount(held, waiting);
        let place = Place { shelf, data_dir: data_dir.to_owned(), memory: None };
        Ok(Self { outbox, place })
    }

    /// Keeps until the outbox is closed and everything is written.
    ///
    /// # Errors
    /// Only when the thread that writes was lost.
    pub(super) async fn run(self) -> Result<(), tokio::task::JoinError> {
        let Self { outbox, mut place } = self;
        let (mut cursor, mut last_try) = (0, false);
        loop {
            let work = outbox.work();
            let closed = outbox.is_closed();
            let due = place.next_try();
            let is_due = due.is_some_and(|due| Instant::now() >= due);
            if is_due || (closed && !std::mem::replace(&mut last_try, closed)) {
                place = on_a_thread(&outbox, place, |outbox, place| place.return_to_disk(outbox))
                    .await?
                    .0;
            }
            let Some((turn, epoch)) = outbox.turn(cursor) else {
                if closed {
                    place.say_what_is_lost(&outbox);
                    return Ok(());
                }
                tokio::select! {
                    () = work => {}
                    () = time_for(due) => {}
                }
                continue;
            };
            let (back, (turn, outcome)) = on_a_thread(&outbox, place, move |outbox, place| {
                let outcome = place.turn(&turn, outbox);
                (turn, outcome)
            })
            .await?;
            place = back;
            match outcome {
                Some(outcome) => cursor = outbox.settle(&turn, outcome, epoch),
                None if closed => return Ok(()),
                None => {
                    outbox.put_back(turn);
                    sleep(FIRST_PAUSE).await;
                }
            }
        }
    }
}

async fn time_for(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Does something with the disk where it holds up nobody.
async fn on_a_thread<T: Send + 'static>(
    outbox: &Arc<Outbox>,
    mut place: Place,
    work: impl FnOnce(&Outbox, &mut Place) -> T + Send + 'static,
) -> Result<(Place, T), tokio::task::JoinError> {
    let outbox = Arc::clone(outbox);
    tokio::task::spawn_blocking(move || {
        let result = work(&outbox, &mut place);
        (place, result)
    })
    .await
}

impl Place {
    /// When the disk is to be tried again; `None` while it works.
    fn next_try(&self) -> Option<Instant> {
        self.memory.as_ref().map(|memory| memory.next)
    }

    /// Does a turn, in memory when the disk fails at it. `None`: not even there.
    fn turn(&mut self, turn: &Turn, outbox: &Outbox) -> Option<Outcome> {
        match self.shelf.turn(turn) {
            Ok(outcome) => return Some(outcome),
            Err(error) if self.memory.is_none() => self.fall_back(&error, turn, outbox),
            Err(error) => tracing::error!(%error, "there is no memory for the outbox"),
        }
        self.memory.as_ref()?;
        self.shelf.turn(turn).ok()
    }

    /// The disk fails: goes on in memory, with all that was on disk if that can be read at least,
    /// as it can when the disk is full.
    fn fall_back(&mut self, error: &rusqlite::Error, turn: &Turn, outbox: &Outbox) {
        ExternalStats::count(&outbox.stats().outbox_failures);
        tracing::error!(
            %error,
            data_dir = %self.data_dir.display(),
            "the outbox cannot be written: messages wait in memory, and a restart would lose them; \
             check the disk of data_dir, which is tried again and again"
        );
        let copy = self.shelf.copy_in_memory();
        let whole = copy.is_ok();
        let memory = copy.or_else(|error| {
            tracing::error!(
                %error,
                "the outbox cannot be read either: what was written before is sent when it can be"
            );
            outbox.recount_fresh(turn);
            Shelf::in_memory(turn.cursor)
        });
        match memory {
            Ok(memory) => {
                self.shelf = memory;
                let mut pause = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
                let next = Instant::now() + pause.next_pause();
                self.memory = Some(Memory { whole, pause, next });
                outbox.stats().outbox_in_memory.store(1, Ordering::Relaxed);
            }
            Err(error) => tracing::error!(%error, "there is no memory for the outbox either"),
        }
    }

    /// Writes what is in memory to the disk, and goes on there if that works.
    fn return_to_disk(&mut self, outbox: &Outbox) {
        let Some(memory) = &mut self.memory else { return };
        match self.shelf.copy_to_disk(&self.data_dir, memory.whole) {
            Ok(shelf) => {
                if let (false, Ok((held, waiting))) = (memory.whole, shelf.count()) {
                    outbox.recount(held, waiting);
                }
                self.shelf = shelf;
                self.memory = None;
                outbox.stats().outbox_in_memory.store(0, Ordering::Relaxed);
                tracing::info!("the outbox is written to disk again");
            }
            Err(error) => {
                memory.next = Instant::now() + memory.pause.next_pause();
                tracing::debug!(%error, "the outbox still cannot be written");
            }
        }
    }

    fn say_what_is_lost(&self, outbox: &Outbox) {
        let messages = outbox.stats().outbox_messages.load(Ordering::Relaxed);
        if self.memory.is_some() && messages > 0 {
            tracing::error!(messages, "the outbox ends in memory: what waits there is lost");
        }
    }
}

/// Before the disk is tried again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
