//! The writing connection: commits groups of sets, and knows what is in the file.

use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior, params};

use super::checkpoint::LAST_RESORT;
use super::devices::{self, Devices};
use super::truncate::Cutting;
use super::{Commit, JournalError, Settings, Shared, cursors, database, encode, signed, unsigned};
use crate::model::ReadingSet;

/// A set on its way to disk.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) live: bool,
    pub(super) set: Arc<ReadingSet>,
}

/// The file as the writer has it open.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) connection: Connection,
    pub(super) shared: Arc<Shared>,
    /// The bytes that records may take.
    pub(super) limit: u64,
    pub(super) extent: Extent,
    /// The last record that `journal_state` knows of.
    pub(super) noted: u64,
    pub(super) cutting: Cutting,
    devices: Devices,
}

/// The records that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// The oldest; one more than `last` when there is none.
    pub(super) first: u64,
    /// The newest that there ever was.
    pub(super) last: u64,
    /// What they take, about.
    pub(super) bytes: u64,
}

impl Extent {
    /// How many there are.
    pub(super) fn rows(self) -> u64 {
        (self.last + 1).saturating_sub(self.first)
    }
}

/// What a row takes beside its body: number, device, time, header, and its share of the pages above.
pub(super) const ROW_BYTES: u64 = 22;

impl Keeper {
    pub(super) fn open(shared: Arc<Shared>, settings: Settings) -> Result<Keeper, JournalError> {
        let connection = database::open(&shared.data_dir)?;
        let extent = begin(&connection, settings.commit).map_err(|source| shared.failed(source))?;
        let noted = extent.last;
        let cursors = cursors::list(&connection).map_err(|source| shared.failed(source))?;
        let (devices, cutting) = (Devices::default(), Cutting::default());
        let keeper =
            Keeper { connection, shared, limit: settings.size, extent, noted, cutting, devices };
        keeper.show(&cursors);
        Ok(keeper)
    }

    /// The number of the newest record.
    pub(super) fn last(&self) -> u64 {
        self.extent.last
    }

    /// Puts all of `entries` on disk, or none. Answers the number of the last.
    pub(super) fn write(&mut self, entries: &[Entry]) -> Result<u64, JournalError> {
        match self.commit(entries) {
            Ok(extent) => self.extent = extent,
            Err(source) => {
                self.devices.forget();
                return Err(self.shared.failed(source));
            }
        }
        self.show_extent();
        Ok(self.extent.last)
    }

    fn commit(&mut self, entries: &[Entry]) -> rusqlite::Result<Extent> {
        let mut extent = self.extent;
        let behavior = TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        {
            let insert =
                "INSERT INTO journal (seq, device, at, live, body) VALUES (?1, ?2, ?3, ?4, ?5)";
            let mut insert = transaction.prepare_cached(insert)?;
            let mut body = Vec::new();
            for Entry { live, set } in entries {
                extent.last += 1;
                let device =
                    self.devices.row(&transaction, &self.shared, &set.device, extent.last)?;
                body.clear();
                encode::encode(set, &mut body);
                insert.execute(params![signed(extent.last), device, set.at.0, live, body])?;
                extent.bytes += body.len() as u64 + ROW_BYTES;
            }
        }
        transaction.commit()?;
        Ok(extent)
    }

    /// Shows what is there to whoever looks at the metrics.
    pub(super) fn show(&self, cursors: &[cursors::Cursor]) {
        let (metrics, last) = (&self.shared.metrics, self.extent.last);
        let needed = cursors.iter().map(|cursor| cursor.done + 1).min();
        metrics.journal_needed.set(needed.unwrap_or(last + 1));
        metrics.readers.set(cursors, last);
        self.show_extent();
    }

    pub(super) fn show_extent(&self) {
        let metrics = &self.shared.metrics;
        metrics.journal_last.set(self.extent.last);
        metrics.journal_records.set(self.extent.rows());
        metrics.journal_bytes.set(self.extent.bytes);
    }
}

/// Sees what is there, and readies it for this run.
fn begin(connection: &Connection, commit: Commit) -> rusqlite::Result<Extent> {
    if commit == Commit::Always {
        connection.pragma_update(None, "synchronous", "FULL")?;
    }
    connection.pragma_update(None, "wal_autocheckpoint", LAST_RESORT)?;
    let state = "SELECT last, bytes FROM journal_state";
    let (noted, bytes): (i64, i64) =
        connection.query_row(state, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let since = "SELECT count(*), ifnull(sum(length(body)), 0) FROM journal WHERE seq > ?1";
    let (rows, bodies): (i64, i64) =
        connection.query_row(since, [noted], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let ends = "SELECT (SELECT min(seq) FROM journal), (SELECT max(seq) FROM journal)";
    let (first, newest): (Option<i64>, Option<i64>) =
        connection.query_row(ends, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let last = noted.max(newest.unwrap_or(0));
    devices::close_all(connection, unsigned(last))?;
    let last = unsigned(last);
    let bytes = unsigned(bytes) + unsigned(bodies) + unsigned(rows) * ROW_BYTES;
    let bytes = first.map_or(0, |_| bytes);
    let extent = Extent { first: first.map_or(last + 1, unsigned), last, bytes };
    keep(connection, extent)?;
    Ok(extent)
}

/// Notes what is there: as part of the transaction that takes records away, and now and then. Not
/// with each commit, which would be half as large again; what came since is counted at the start.
pub(super) fn keep(transaction: &Connection, extent: Extent) -> rusqlite::Result<()> {
    let keep = "UPDATE journal_state SET last = ?1, bytes = ?2";
    let mut keep = transaction.prepare_cached(keep)?;
    keep.execute(params![signed(extent.last), signed(extent.bytes)]).map(drop)
}
