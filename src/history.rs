//! Histories: every sensor's readings in TMPO blocks, as a Fluksometer keeps them.
//!
//! The `recorder` reads the journal, keeps the blocks of running windows in memory and puts what is
//! over away, in one transaction with the journal's cursor. Blocks are merged sixteen to one, over
//! three levels. Everything is published once it is safe.
//!
//! | module | has |
//! |---|---|
//! | `recorder` | records to blocks: taking in, closing, replay |
//! | `pushing` | what becomes of one reading |
//! | `plan` | what closing and merging comes to, for one source |
//! | `open` | blocks whose window is not over |
//! | `tables` | the stored ones |
//! | `cells`, `summary` | what lies between readings, shared out over quarters of an hour |
//! | `query`, `buckets`, `flows` | what readers ask |
//! | `meters` | the meters that were heard, also before the start |
//! | `takeover` | blocks that a Fluksometer has made |
//! | `retention` | what is kept how long |
//! | `task` | the task that drives it |

mod buckets;
mod cells;
mod flows;
mod meters;
mod open;
mod plan;
mod pushing;
mod query;
mod recorder;
mod retention;
mod summary;
mod tables;
mod takeover;
mod task;
#[cfg(test)]
mod tests;
mod varint;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::mpsc;

use self::meters::Meters;
use self::open::Open;
use self::plan::Plan;
use self::pushing::Became;
pub(crate) use self::recorder::CURSOR;
use crate::journal::{JournalError, database};
use crate::metrics::Metrics;
use crate::model::{Device, Milli, SensorId};

pub use self::flows::{Flow, Limits};
pub use self::takeover::{Refused, Taken};
pub use self::task::Task;

/// How histories are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Seconds after which a block goes; `None`: it stays as long as there is room.
    pub keep: Option<i64>,
    /// The bytes that all blocks may take, about; above it the oldest go.
    pub size: u64,
    /// How many seconds after the end of a window its block is closed.
    pub grace: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { keep: None, size: 4_000_000_000, grace: 10 }
    }
}

/// The place of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockKey {
    /// Whose readings it has.
    pub sensor: SensorId,
    /// The recycle id of their source.
    pub rid: u32,
    /// Its window has 2^`level` seconds.
    pub level: u8,
    /// Where its window begins, Unix seconds.
    pub bid: i64,
}

/// The last block that somebody has; all 0: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tail {
    /// The recycle id.
    pub rid: u32,
    /// The level.
    pub level: u8,
    /// Where its window begins, Unix seconds.
    pub bid: i64,
}

/// Readings of one source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Series {
    /// The recycle id of the source.
    pub rid: u32,
    /// Unix seconds and values, in the order of time.
    pub points: Vec<(i64, Milli)>,
}

/// What is known of a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bucket {
    /// Where it begins, Unix seconds.
    pub from: i64,
    /// Where the next one begins.
    pub to: i64,
    /// Of a counter: where it stood at the begin, between the readings around it; at its first
    /// reading where there is none before. Carried on over resets, so that it never falls unless
    /// the quantity can.
    pub begin: Option<Milli>,
    /// The same at the end. `end` - `begin` is what was counted, and adds up exactly from span to
    /// span.
    pub end: Option<Milli>,
    /// Of a gauge: the mean over the time that it is known for, in the sensor's unit. Of a counter:
    /// the change per hour over the time between readings, so W where it counts Wh.
    pub mean: Option<f64>,
    /// The greatest: of gauges a reading, of counters the change per hour over a minute or more.
    pub peak: Option<f64>,
    /// Seconds that lie between two readings at most an hour apart.
    pub known: u64,
}

/// A history could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The file failed.
    #[error(transparent)]
    File(#[from] JournalError),
    /// It was written by a later version of this program.
    #[error(
        "the histories in {path} were written by a newer meterbridge; use that one, or another data_dir"
    )]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// A thread that worked on it was lost.
    #[error("a thread that worked on the history was lost")]
    Lost,
}

/// All histories. Clones are the same.
#[derive(Debug, Clone)]
pub struct History {
    shared: Arc<Shared>,
}

/// What recorder and readers share.
#[derive(Debug)]
struct Shared {
    data_dir: PathBuf,
    settings: Settings,
    /// Whoever changes stored blocks has this. Taken before `open`.
    writer: Mutex<Connection>,
    open: Mutex<Open>,
    /// Connections that nobody uses at the moment.
    idle: Mutex<Vec<Connection>>,
    /// What all blocks take on disk, about.
    bytes: AtomicI64,
    /// Sensors whose blocks are on our broker anyway.
    quiet: Mutex<HashSet<SensorId>>,
    /// The meters as they were heard last, now or before the start.
    meters: Mutex<Meters>,
    news: mpsc::Sender<Published>,
    metrics: Metrics,
}

/// A block to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Published {
    key: BlockKey,
    gzip: Vec<u8>,
}

impl History {
    /// Opens the histories below `data_dir`, beside the journal. The [`Task`] is to be run.
    ///
    /// # Errors
    /// When the file cannot be used; the message says what to do.
    pub fn open(
        data_dir: &Path,
        settings: Settings,
        metrics: Metrics,
    ) -> Result<(History, Task), HistoryError> {
        let connection = database::open(data_dir)?;
        let path = database::file(data_dir);
        let failed = |source| JournalError::of(&path, source);
        if !tables::prepare(&connection).map_err(failed)? {
            return Err(HistoryError::Newer { path });
        }
        let bytes = tables::totals(&connection).map_err(failed)?;
        let meters = Meters::load(&connection).map_err(failed)?;
        metrics.history_bytes.set(bytes.unsigned_abs());
        let (news, told) = mpsc::channel(WAITING_NEWS);
        let shared = Arc::new(Shared {
            data_dir: data_dir.to_owned(),
            settings,
            writer: Mutex::new(connection),
            open: Mutex::default(),
            idle: Mutex::default(),
            bytes: AtomicI64::new(bytes),
            quiet: Mutex::default(),
            meters: Mutex::new(meters),
            news,
            metrics,
        });
        Ok((History { shared: Arc::clone(&shared) }, Task::new(shared, told)))
    }
}

impl Shared {
    fn connection(&self) -> Result<Connection, HistoryError> {
        let idle = self.idle.lock().pop();
        idle.map_or_else(|| database::open(&self.data_dir).map_err(HistoryError::from), Ok)
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(connection);
        }
    }

    fn failed(&self, source: rusqlite::Error) -> HistoryError {
        JournalError::of(&database::file(&self.data_dir), source).into()
    }

    fn count(&self, became: Became) {
        match became {
            Became::Taken => self.metrics.history_readings.increment(),
            Became::Late => {
                self.metrics.history_readings.increment();
                self.metrics.history_late.increment();
            }
            Became::Dropped => self.metrics.history_dropped.increment(),
            Became::Regarded => {}
        }
    }

    fn count_plans(&self, plans: &[Plan]) {
        for plan in plans {
            self.metrics.history_blocks.add(plan.puts.len() as u64);
            self.metrics.history_malformed.add(plan.unreadable);
        }
    }

    fn grow(&self, bytes: i64) {
        let now = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.metrics.history_bytes.set(now.max(0).unsigned_abs());
    }

    /// Keeps in mind what a meter is, and whose blocks need not be published, because the meter does so itself.
    fn note_device(&self, device: &Arc<Device>) {
        self.meters.lock().note(device);
        let on_our_broker = device.own.as_ref().is_some_and(|own| own.on_our_broker);
        let mut quiet = self.quiet.lock();
        for sensor in &device.sensors {
            if on_our_broker {
                quiet.insert(sensor.id);
            } else {
                quiet.remove(&sensor.id);
            }
        }
    }
}

/// More are opened when more is asked at a time, and closed afterwards.
const IDLE_CONNECTIONS: usize = 4;
/// Blocks taken over that may wait to be published.
const WAITING_NEWS: usize = 32;
