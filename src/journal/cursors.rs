//! Who reads, and how far it is: the table `journal_cursor`.

use rusqlite::{Connection, Transaction, params};

use super::{signed, unsigned};
use crate::model::Timestamp;

/// A cursor as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) name: String,
    /// The last record that it is done with.
    pub(super) done: u64,
    /// Records that were taken from it for the size limit.
    pub(super) missed: u64,
    /// When it is known to have been in use last.
    pub(super) used: Timestamp,
}

/// Where `name` goes on; at the end of what is there when it is new.
pub(super) fn register(
    transaction: &Transaction<'_>,
    name: &str,
    now: Timestamp,
) -> rusqlite::Result<u64> {
    transaction.execute(
        "INSERT INTO journal_cursor (name, done, used) SELECT ?1, last, ?2 FROM journal_state WHERE true
         ON CONFLICT (name) DO UPDATE SET used = ?2",
        params![name, now.0],
    )?;
    let done = "SELECT done FROM journal_cursor WHERE name = ?1";
    transaction.query_row(done, [name], |row| row.get(0)).map(unsigned)
}

/// Moves the cursor `name` on to `done` as part of a transaction on `history.db`; never back.
/// `false`: there is no such cursor.
///
/// # Errors
/// Those of the database.
pub fn advance_in(transaction: &Transaction<'_>, name: &str, done: u64) -> rusqlite::Result<bool> {
    // Where it stands already nothing is written: readers do this every second.
    let advance = "UPDATE journal_cursor SET done = ?2 WHERE name = ?1 AND done < ?2";
    let mut advance = transaction.prepare_cached(advance)?;
    if advance.execute(params![name, signed(done)])? > 0 {
        return Ok(true);
    }
    let known = "SELECT EXISTS (SELECT 1 FROM journal_cursor WHERE name = ?1)";
    transaction.prepare_cached(known)?.query_row([name], |row| row.get(0))
}

/// All of them.
pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<Cursor>> {
    let list = "SELECT name, done, missed, used FROM journal_cursor ORDER BY name";
    let mut list = connection.prepare_cached(list)?;
    let rows = list.query_map([], |row| {
        Ok(Cursor {
            name: row.get(0)?,
            done: unsigned(row.get(1)?),
            missed: unsigned(row.get(2)?),
            used: Timestamp(row.get(3)?),
        })
    })?;
    rows.collect()
}

/// Notes that `name` is in use.
pub(super) fn touch(connection: &Connection, name: &str, now: Timestamp) -> rusqlite::Result<()> {
    let touch = "UPDATE journal_cursor SET used = ?2 WHERE name = ?1";
    connection.execute(touch, params![name, now.0]).map(drop)
}

/// Lets go of `name`.
pub(super) fn remove(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM journal_cursor WHERE name = ?1", [name]).map(drop)
}

/// Moves whoever is behind to `cut`, and counts what it misses by that.
pub(super) fn skip(transaction: &Transaction<'_>, cut: u64) -> rusqlite::Result<()> {
    let skip = "UPDATE journal_cursor SET missed = missed + ?1 - done, done = ?1 WHERE done < ?1";
    transaction.execute(skip, [signed(cut)]).map(drop)
}
