//! The journal: every set of readings on disk, in order, for all who must not lose one.
//!
//! The [`Writer`] follows the bus and commits what it hears in groups. A reader (histories,
//! databases, uploads) has a *cursor*: the number of the last record that it is done with. It
//! [reads](Journal::read) on from there whenever [`Journal::committed`] moves, and moves its cursor
//! after what it made of the records is safe, so that neither a restart nor an outage on its side
//! loses or doubles anything. There is no other queue on disk.
//!
//! A record stays until every cursor has passed it. Above [`Settings::size`] the oldest go all the
//! same; whom they are taken from goes on at the oldest that is left, and it is counted and said.
//! Where there is no cursor at all nothing is written.
//!
//! | module | has |
//! |---|---|
//! | `writer` | the task: groups, what happens when the disk fails or hangs |
//! | `keeper` | commits, and what is in the file |
//! | `checkpoint` | from the write-ahead log into the file |
//! | `truncate` | what may go, and what has to |
//! | `cursors` | who reads, and how far it is |
//! | `devices` | the meters as they were when they said it |
//! | `encode` | a set as bytes |
//! | [`database`] | the file and its tables |

pub mod database;

mod checkpoint;
mod cursors;
mod devices;
mod encode;
mod error;
mod keeper;
mod read;
mod readers;
#[cfg(test)]
mod tests;
mod truncate;
mod writer;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rusqlite::{Connection, TransactionBehavior};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use self::keeper::Keeper;
use crate::metrics::Metrics;
use crate::model::{Device, ReadingSet, Timestamp};

pub use self::cursors::advance_in;
pub use self::error::JournalError;
pub(crate) use self::error::{DAMAGED_ADVICE, NEWER_ADVICE};
pub use self::readers::{Reader, Readers};
pub use self::writer::{Writer, WriterLost, queue};

/// How the journal is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// When a set is safe.
    pub commit: Commit,
    /// The bytes that records may take, about; above it the oldest go, needed or not.
    pub size: u64,
}

/// See [`Settings::commit`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Commit {
    /// A third of a second after it came, together with what came in between. Safe from
    /// the end of the process at once; a power cut may take the last commits.
    #[default]
    Group,
    /// At once, and safe from a power cut as well. What comes during a commit shares the next.
    Always,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { commit: Commit::default(), size: 1_000_000_000 }
    }
}

/// One set of readings, with its number.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Rises by one from record to record: whoever is given a greater one than the next has missed
    /// what lies between.
    pub seq: u64,
    /// Whether it was said when it was true; otherwise it is about a time that was over.
    pub live: bool,
    /// What was said, and the meter as it was then.
    pub set: Arc<ReadingSet>,
}

/// The reading side; clones are the same journal.
#[derive(Debug, Clone)]
pub struct Journal {
    shared: Arc<Shared>,
    committed: watch::Receiver<u64>,
}

/// What both sides know.
#[derive(Debug)]
struct Shared {
    data_dir: PathBuf,
    /// Connections that nobody uses at the moment.
    idle: Mutex<Vec<Connection>>,
    /// Meters as they were, by the row that describes them.
    devices: Mutex<HashMap<i64, Arc<Device>>>,
    /// The cursors that were asked for since the start.
    claimed: Mutex<HashSet<String>>,
    /// Whether there is a cursor: without one nothing has to be written. Taken for granted for the
    /// first seconds, in which readers register while meters speak already.
    wanted: AtomicBool,
    metrics: Metrics,
}

impl Journal {
    /// Opens the journal below `data_dir`, creating it when it is not there. The [`Writer`] is to be
    /// run with a queue of the bus.
    ///
    /// # Errors
    /// When the file cannot be used; the message says what to do.
    pub fn open(
        data_dir: &Path,
        settings: Settings,
        metrics: Metrics,
    ) -> Result<(Journal, Writer), JournalError> {
        let shared = Arc::new(Shared {
            data_dir: data_dir.to_owned(),
            idle: Mutex::default(),
            devices: Mutex::default(),
            claimed: Mutex::default(),
            wanted: AtomicBool::new(true),
            metrics,
        });
        let keeper = Keeper::open(Arc::clone(&shared), settings)?;
        let (sender, committed) = watch::channel(keeper.last());
        let writer = Writer::new(keeper, settings.commit, Arc::clone(&shared), sender);
        Ok((Journal { shared, committed }, writer))
    }

    /// Registers the cursor `name`, or goes on where it was: the last record that is done with. A new
    /// one begins at the end of what is there. Blocking.
    ///
    /// A cursor that nobody asks for after a start is let go a day later.
    ///
    /// # Errors
    /// When the file fails.
    pub fn cursor(&self, name: &str) -> Result<u64, JournalError> {
        self.shared.claimed.lock().insert(name.to_owned());
        let done =
            self.write(|transaction| cursors::register(transaction, name, Timestamp::now()))?;
        self.shared.wanted.store(true, Ordering::Release);
        Ok(done)
    }

    /// Up to `max` records after `after`, in order; fewer, or none, at the end of what is there. A
    /// record that cannot be read any more is counted, logged and passed over. Blocking.
    ///
    /// # Errors
    /// When the file fails.
    pub fn read(&self, after: u64, max: usize) -> Result<Vec<Record>, JournalError> {
        let mut connection = self.shared.connection()?;
        let records = read::records(&mut connection, &self.shared, after, max);
        self.shared.give_back(connection, records)
    }

    /// Moves the cursor `name` on: everything up to `done` is done with. It never goes back.
    /// Blocking. Who keeps what it made of the records in the same file moves it in the same
    /// transaction: [`advance_in`].
    ///
    /// # Errors
    /// [`JournalError::NoCursor`] when it was never registered; else when the file fails.
    pub fn advance(&self, name: &str, done: u64) -> Result<(), JournalError> {
        match self.write(|transaction| advance_in(transaction, name, done))? {
            true => Ok(()),
            false => Err(JournalError::NoCursor { name: name.to_owned() }),
        }
    }

    /// The number of the last record that is on disk. It changes with each commit; when its sender
    /// is gone, the journal is complete and nothing follows.
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.committed.clone()
    }

    /// Does something in a transaction of its own.
    fn write<T>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        let mut connection = self.shared.connection()?;
        let outcome = (|| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let outcome = work(&transaction)?;
            transaction.commit()?;
            Ok(outcome)
        })();
        self.shared.give_back(connection, outcome)
    }
}

impl Shared {
    fn connection(&self) -> Result<Connection, JournalError> {
        let idle = self.idle.lock().pop();
        idle.map_or_else(|| database::open(&self.data_dir), Ok)
    }

    /// Keeps a connection for the next one, and names the file in what failed on it.
    fn give_back<T>(
        &self,
        connection: Connection,
        outcome: rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(connection);
        }
        outcome.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: rusqlite::Error) -> JournalError {
        JournalError::of(&database::file(&self.data_dir), source)
    }
}

/// More are opened when more is asked at a time, and closed afterwards.
const IDLE_CONNECTIONS: usize = 2;

/// Numbers of records as SQLite has them. None comes near 2^63.
fn signed(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn unsigned(seq: i64) -> u64 {
    u64::try_from(seq).unwrap_or(0)
}
