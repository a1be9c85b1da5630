//! What the broker keeps on disk: retained messages, and sessions that outlive their connection.
//!
//! Memory is what the broker works with; the disk follows. Whoever changes something that is to
//! outlive the process notes it here, under the same lock that guards the thing itself, and gets a
//! [`Ticket`]: the number of the commit that will hold it. One task takes all that has been noted,
//! commits it and says so; acknowledgements wait for the ticket of what they acknowledge, and nothing
//! else waits. A message that meets neither a retain flag nor a kept session never comes here.
//!
//! When a commit fails, whoever waits is refused and the commit is tried again and again, with
//! everything noted since behind it: memory and disk agree as soon as the disk works.

mod batch;
mod clock;
mod database;
mod load;
mod write;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::publication::Publication;
use super::queue::Queued;
use super::stats::BrokerStats;
use batch::Batch;

pub(crate) use batch::{FilterChange, SessionRow};
pub(crate) use database::Database;
pub use database::StorageError;
pub(crate) use load::KeptSession;
pub(crate) use writer::WriterLost;

/// The commit that will hold a change, and with it everything noted before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

impl Ticket {
    /// Of what need not be on disk.
    pub(crate) const NONE: Self = Self(0);
}

/// How a ticket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// On disk.
    Kept,
    Waiting,
    /// The disk did not take it. It is tried again, but nobody should count on it.
    Refused,
}

/// The way to the disk. Noting never waits.
#[derive(Debug)]
pub(crate) struct Store {
    /// `None`: memory only.
    book: Option<Mutex<Book>>,
    /// Something was noted, or somebody waits for it.
    changed: Notify,
    progress: watch::Sender<Progress>,
    quota: Quota,
    stats: Arc<BrokerStats>,
}

/// What all kept sessions together may have waiting on disk.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Quota {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// What has been noted and not been taken to the disk.
#[derive(Debug)]
struct Book {
    batch: Batch,
    /// The number of the commit that `batch` will be.
    number: u64,
    since: Option<Instant>,
    /// Somebody waits for it.
    urgent: bool,
    next_message: u64,
}

/// How far the disk is.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    kept: u64,
    refused: u64,
}

impl Store {
    /// Nothing is kept; every ticket stands at once.
    pub(crate) fn memory_only(stats: Arc<BrokerStats>) -> Self {
        let (changed, progress) = (Notify::new(), watch::Sender::default());
        Self { book: None, changed, progress, quota: Quota::default(), stats }
    }

    /// What is noted goes to `database`, once `run` runs with it.
    pub(crate) fn on_disk(database: &Database, quota: Quota, stats: Arc<BrokerStats>) -> Self {
        let book = Book {
            batch: Batch::default(),
            number: 1,
            since: None,
            urgent: false,
            next_message: database.next_message(),
        };
        Self { book: Some(Mutex::new(book)), quota, ..Self::memory_only(stats) }
    }

    /// Whether anything is kept at all.
    pub(crate) fn keeps(&self) -> bool {
        self.book.is_some()
    }

    /// Whether one more message of `size` bytes may wait. `own`: messages and bytes that the session
    /// has already. When all sessions together hold what they may, those below an equal share go on,
    /// so that one client that stays away does not take the room of all others; together they hold
    /// at most twice the limit.
    pub(crate) fn has_room(&self, own: (usize, usize), size: usize) -> bool {
        let all = |gauge: &AtomicU64| usize::try_from(gauge.load(Ordering::Relaxed)).unwrap_or(0);
        let sessions = all(&self.stats.sessions).max(1);
        let room = |all, own, more, limit| all + more <= limit || own + more <= limit / sessions;
        room(all(&self.stats.kept_messages), own.0, 1, self.quota.messages)
            && room(all(&self.stats.kept_bytes), own.1, size, self.quota.bytes)
    }

    /// Notes that kept sessions hold more.
    pub(crate) fn count(&self, messages: usize, bytes: usize) {
        BrokerStats::add(&self.stats.kept_messages, messages as u64);
        BrokerStats::add(&self.stats.kept_bytes, bytes as u64);
    }

    /// Notes that kept sessions hold less.
    pub(crate) fn discount(&self, messages: usize, bytes: usize) {
        self.stats.kept_messages.fetch_sub(messages as u64, Ordering::Relaxed);
        self.stats.kept_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// The value of a topic, or that it has none any more.
    pub(crate) fn retain(&self, topic: &[u8], value: Option<&Arc<Publication>>) -> Ticket {
        // Made anew by every broker.
        if topic.starts_with(b"$SYS/") {
            return Ticket::NONE;
        }
        self.note(|book| {
            book.batch.retained.insert(topic.into(), value.cloned());
        })
    }

    /// Retained messages that have expired may go.
    pub(crate) fn purge(&self) {
        self.note(|book| book.batch.purge = true);
    }

    /// A session as it is now. `new`: it was not kept before.
    pub(crate) fn keep_session(&self, number: u64, row: SessionRow, new: bool) -> Ticket {
        self.note(|book| book.batch.keep_session(number, row, new))
    }

    /// A session is over.
    pub(crate) fn end_session(&self, number: u64) -> Ticket {
        self.note(|book| book.batch.end_session(number))
    }

    /// A subscription of a kept session changes.
    pub(crate) fn subscribe(&self, session: u64, filter: &str, change: FilterChange) -> Ticket {
        self.note(|book| book.batch.subscribe(session, filter, change))
    }

    /// A message waits for a kept session. `place`: its number in the session's queue.
    pub(crate) fn queue(&self, session: u64, place: u64, copy: Queued) -> Ticket {
        self.note(|book| {
            if copy.publication.number.load(Ordering::Relaxed) == 0 {
                copy.publication.number.store(book.next_message, Ordering::Relaxed);
                book.next_message += 1;
            }
            book.batch.queue(session, place, copy);
        })
    }

    /// A queued message gets its packet id.
    pub(crate) fn sent(&self, session: u64, place: u64, packet_id: u16) -> Ticket {
        self.note(|book| book.batch.sent(session, place, packet_id))
    }

    /// A message of QoS 2 has arrived at its client: only its packet id is still open.
    pub(crate) fn released(
        &self,
        session: u64,
        place: u64,
        publication: &Arc<Publication>,
    ) -> Ticket {
        self.note(|book| book.batch.released(session, place, publication))
    }

    /// A queued message is done with. `publication`: `None` when it was released before.
    pub(crate) fn done(
        &self,
        session: u64,
        place: u64,
        publication: Option<&Arc<Publication>>,
    ) -> Ticket {
        self.note(|book| book.batch.done(session, place, publication))
    }

    /// An incoming QoS 2 exchange is open, or no longer is.
    pub(crate) fn received(&self, session: u64, packet_id: u16, open: bool) -> Ticket {
        self.note(|book| {
            book.batch.session(session).received.insert(packet_id, open);
        })
    }

    /// The ticket of everything noted so far.
    pub(crate) fn so_far(&self) -> Ticket {
        self.book.as_ref().map_or(Ticket::NONE, |book| {
            let book = book.lock();
            Ticket(if book.batch.is_empty() { book.number - 1 } else { book.number })
        })
    }

    pub(crate) fn standing(&self, ticket: Ticket) -> Standing {
        let progress = *self.progress.borrow();
        if progress.kept >= ticket.0 {
            Standing::Kept
        } else if progress.refused >= ticket.0 {
            Standing::Refused
        } else {
            Standing::Waiting
        }
    }

    /// Waits until the ticket stands; whether it is on disk.
    pub(crate) async fn settled(&self, ticket: Ticket) -> bool {
        self.hurry(ticket);
        let mut progress = self.progress.subscribe();
        loop {
            match self.standing(ticket) {
                Standing::Kept => return true,
                Standing::Refused => return false,
                // The sender lives in `self`, so this ends only with a change.
                Standing::Waiting => drop(progress.changed().await),
            }
        }
    }

    /// Waits until the ticket is on disk, however often it is refused before.
    pub(crate) async fn kept(&self, ticket: Ticket) {
        self.hurry(ticket);
        let mut progress = self.progress.subscribe();
        while self.standing(ticket) != Standing::Kept {
            // The sender lives in `self`, so this ends only with a change.
            drop(progress.changed().await);
        }
    }

    /// Has the ticket's commit made at once: somebody waits for it.
    pub(crate) fn hurry(&self, ticket: Ticket) {
        if let Some(book) = &self.book {
            let mut book = book.lock();
            if ticket.0 < book.number || book.urgent {
                return;
            }
            book.urgent = true;
        }
        self.changed.notify_one();
    }

    fn note(&self, change: impl FnOnce(&mut Book)) -> Ticket {
        let Some(book) = &self.book else { return Ticket::NONE };
        let mut book = book.lock();
        change(&mut book);
        let ticket = Ticket(book.number);
        if book.since.is_none() {
            book.since = Some(Instant::now());
            drop(book);
            self.changed.notify_one();
        }
        ticket
    }
}

impl Book {
    /// Takes what is noted, to be commit `.1`.
    fn take(&mut self) -> (Batch, u64) {
        let number = self.number;
        self.number += 1;
        self.since = None;
        self.urgent = false;
        (std::mem::take(&mut self.batch), number)
    }
}
