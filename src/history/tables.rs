//! The history's tables in `history.db`, beside the journal's.
//!
//! A block is one row: its place, what is told of it in short, its packed bytes last, so that a
//! query that needs the summary alone reads no further. A block that was merged into another stays
//! for [`READABLE`] seconds, `retired`: who was told of it before can still fetch it.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::open::Source;
use crate::model::SensorId;

/// How long a merged block can still be read, seconds.
pub(super) const READABLE: i64 = 600;

/// Makes the tables where they are not there yet. `false`: they are of a newer version.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<bool> {
    connection.execute_batch(TABLES)?;
    let version: i64 =
        connection.query_row("SELECT version FROM history_state", [], |row| row.get(0))?;
    Ok(version <= VERSION)
}

/// A stored block without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) id: i64,
    pub(super) level: u8,
    pub(super) begin: i64,
    /// It came from the meter itself.
    pub(super) taken: bool,
    /// The last record of the journal that it has regarded, for the readings of its window.
    pub(super) regarded: u64,
}

/// A block to be stored.
#[derive(Debug, Clone)]
pub(super) struct Put {
    pub(super) level: u8,
    pub(super) begin: i64,
    pub(super) taken: bool,
    pub(super) regarded: u64,
    /// Merged already, at this time.
    pub(super) retired: Option<i64>,
    pub(super) summary: Vec<u8>,
    pub(super) gzip: Vec<u8>,
}

/// The rows of sensors, remembered.
#[derive(Debug, Default)]
pub(super) struct Rows(HashMap<SensorId, i64>);

impl Rows {
    /// The sensor's row, if it has any block.
    pub(super) fn find(
        &mut self,
        connection: &Connection,
        sensor: SensorId,
    ) -> rusqlite::Result<Option<i64>> {
        if let Some(row) = self.0.get(&sensor) {
            return Ok(Some(*row));
        }
        let row = row_of(connection, sensor)?;
        if let Some(row) = row {
            self.0.insert(sensor, row);
        }
        Ok(row)
    }
}

/// The sensor's row, made when it is not there.
pub(super) fn make_row(transaction: &Transaction<'_>, sensor: SensorId) -> rusqlite::Result<i64> {
    let id = sensor.to_string();
    transaction
        .prepare_cached("INSERT OR IGNORE INTO history_sensor (sid) VALUES (?1)")?
        .execute([&id])?;
    let find = "SELECT id FROM history_sensor WHERE sid = ?1";
    transaction.prepare_cached(find)?.query_row([&id], |row| row.get(0))
}

/// The sensor's row, if there is one.
pub(super) fn row_of(connection: &Connection, sensor: SensorId) -> rusqlite::Result<Option<i64>> {
    let find = "SELECT id FROM history_sensor WHERE sid = ?1";
    let mut find = connection.prepare_cached(find)?;
    find.query_row([sensor.to_string()], |row| row.get(0)).optional()
}

const LISTED: &str = "SELECT id, level, bid, taken, regarded FROM history_block";

fn listed(row: &rusqlite::Row<'_>) -> rusqlite::Result<Listed> {
    Ok(Listed {
        id: row.get(0)?,
        level: row.get(1)?,
        begin: row.get(2)?,
        taken: row.get(3)?,
        regarded: row.get::<_, i64>(4)?.try_into().unwrap_or(0),
    })
}

/// The blocks of a source that are not merged, below the highest level.
pub(super) fn unmerged(
    connection: &Connection,
    row: i64,
    rid: u32,
) -> rusqlite::Result<Vec<Listed>> {
    let sql = format!(
        "{LISTED} WHERE sensor = ?1 AND rid = ?2 AND level IN (8, 12, 16) AND retired IS NULL
         ORDER BY level, bid"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map(params![row, rid], listed)?.collect()
}

/// The listed block at this place.
pub(super) fn at(
    connection: &Connection,
    row: i64,
    rid: u32,
    level: u8,
    begin: i64,
) -> rusqlite::Result<Option<Listed>> {
    let sql = format!(
        "{LISTED} WHERE sensor = ?1 AND rid = ?2 AND level = ?3 AND bid = ?4 AND retired IS NULL"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_row(params![row, rid, level, begin], listed).optional()
}

/// Packed bytes and summary of a stored block.
pub(super) fn body(connection: &Connection, id: i64) -> rusqlite::Result<(Vec<u8>, Vec<u8>)> {
    let mut statement =
        connection.prepare_cached("SELECT body, summary FROM history_block WHERE id = ?1")?;
    statement.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Stores a block, in place of one that is there; answers by how many bytes the whole has grown.
pub(super) fn put(
    transaction: &Transaction<'_>,
    row: i64,
    rid: u32,
    put: &Put,
) -> rusqlite::Result<i64> {
    let before = "SELECT bytes FROM history_block
         WHERE sensor = ?1 AND rid = ?2 AND level = ?3 AND bid = ?4";
    let place = params![row, rid, put.level, put.begin];
    let before: Option<i64> =
        transaction.prepare_cached(before)?.query_row(place, |row| row.get(0)).optional()?;
    let bytes = (put.gzip.len() + put.summary.len()) as i64 + ROW;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO history_block
             (sensor, rid, level, bid, taken, regarded, retired, bytes, summary, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (sensor, rid, level, bid) DO UPDATE SET taken = ?5, regarded = ?6,
             retired = ?7, bytes = ?8, summary = ?9, body = ?10",
    )?;
    let regarded = i64::try_from(put.regarded).unwrap_or(i64::MAX);
    insert.execute(params![
        row,
        rid,
        put.level,
        put.begin,
        put.taken,
        regarded,
        put.retired,
        bytes,
        put.summary,
        put.gzip
    ])?;
    Ok(bytes - before.unwrap_or(0))
}

/// Takes a block off the list: it is part of another now.
pub(super) fn retire(transaction: &Transaction<'_>, id: i64, now: i64) -> rusqlite::Result<()> {
    let retire = "UPDATE history_block SET retired = ?2 WHERE id = ?1";
    transaction.prepare_cached(retire)?.execute(params![id, now]).map(drop)
}

/// Removes blocks that were merged long enough ago, some at a time; answers their bytes.
pub(super) fn purge(transaction: &Transaction<'_>, now: i64) -> rusqlite::Result<i64> {
    delete(
        transaction,
        "DELETE FROM history_block WHERE id IN (SELECT id FROM history_block
             WHERE retired IS NOT NULL AND retired < ?1 LIMIT 2000) RETURNING bytes",
        now - READABLE,
    )
}

/// Removes blocks that end before `before`, some at a time; answers their bytes.
pub(super) fn forget(transaction: &Transaction<'_>, before: i64) -> rusqlite::Result<i64> {
    delete(
        transaction,
        "DELETE FROM history_block WHERE id IN (SELECT id FROM history_block
             WHERE bid + (1 << level) <= ?1 LIMIT 500) RETURNING bytes",
        before,
    )
}

/// Removes the oldest blocks of the highest level, all that begin together, some at a time.
/// Answers when they begin and their bytes; `None`: there are none.
pub(super) fn forget_oldest(transaction: &Transaction<'_>) -> rusqlite::Result<Option<(i64, i64)>> {
    let oldest = "SELECT min(bid) FROM history_block WHERE level = 20";
    let oldest: Option<i64> = transaction.query_row(oldest, [], |row| row.get(0))?;
    let Some(oldest) = oldest else { return Ok(None) };
    let bytes = delete(
        transaction,
        "DELETE FROM history_block WHERE id IN (SELECT id FROM history_block
             WHERE level = 20 AND bid = ?1 LIMIT 500) RETURNING bytes",
        oldest,
    )?;
    Ok(Some((oldest, bytes)))
}

fn delete(transaction: &Transaction<'_>, sql: &str, bound: i64) -> rusqlite::Result<i64> {
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([bound], |row| row.get::<_, i64>(0))?;
    rows.sum()
}

/// The sources that have blocks to be merged: of each level, those that begin before the window of
/// the level above that has `now`.
pub(super) fn waiting(connection: &Connection, now: i64) -> rusqlite::Result<Vec<Source>> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT sid, rid FROM history_block JOIN history_sensor ON history_sensor.id = sensor
         WHERE retired IS NULL AND level < 20
           AND ((level = 8 AND bid < ?1) OR (level = 12 AND bid < ?2) OR (level = 16 AND bid < ?3))",
    )?;
    let above = |level| meter_protocols::flukso::tmpo::window(level, now);
    let rows = statement.query_map([above(12), above(16), above(20)], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?))
    })?;
    let sources = rows.filter_map(|row| match row {
        Ok((sid, rid)) => sid.parse().ok().map(|sensor| Ok((sensor, rid))),
        Err(error) => Some(Err(error)),
    });
    sources.collect()
}

/// Blocks by level that are listed, and the bytes of all.
pub(super) fn totals(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT coalesce(sum(bytes), 0) FROM history_block", [], |row| row.get(0))
}

/// What a row takes beside its summary and its packed bytes, about.
const ROW: i64 = 64;
const VERSION: i64 = 1;

const TABLES: &str = "
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS history_state (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        version INTEGER NOT NULL
    );
    INSERT OR IGNORE INTO history_state (one, version) VALUES (1, 1);
    CREATE TABLE IF NOT EXISTS history_sensor (
        id INTEGER PRIMARY KEY,
        sid TEXT NOT NULL UNIQUE
    );
    CREATE TABLE IF NOT EXISTS history_block (
        id INTEGER PRIMARY KEY,
        sensor INTEGER NOT NULL,
        rid INTEGER NOT NULL,
        level INTEGER NOT NULL,
        bid INTEGER NOT NULL,
        taken INTEGER NOT NULL,
        regarded INTEGER NOT NULL,
        retired INTEGER,
        bytes INTEGER NOT NULL,
        summary BLOB NOT NULL,
        body BLOB NOT NULL
    );
    CREATE TABLE IF NOT EXISTS history_meter (
        id INTEGER PRIMARY KEY,
        did TEXT NOT NULL UNIQUE,
        description TEXT NOT NULL
    );
    CREATE UNIQUE INDEX IF NOT EXISTS history_place ON history_block (sensor, rid, level, bid);
    CREATE INDEX IF NOT EXISTS history_low ON history_block (level, bid)
        WHERE retired IS NULL AND level < 20;
    CREATE INDEX IF NOT EXISTS history_retired ON history_block (retired)
        WHERE retired IS NOT NULL;
    COMMIT;
";
