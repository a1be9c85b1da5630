//! The file `history.db`: how it is opened, and the journal's tables in it.
//!
//! Histories lie in the same file, in tables of their own, so that whoever turns records into
//! something else moves its cursor in the same transaction ([`advance_in`](super::advance_in)).
//!
//! What is deleted is used again, and given back in steps where much of it is (`auto_vacuum =
//! INCREMENTAL`): a plain `VACUUM` would write everything anew, years of history, at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::JournalError;

/// The version of the tables in the file; a newer one on disk is refused.
pub const SCHEMA_VERSION: i64 = 1;

/// The file below `data_dir`.
pub fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("history.db")
}

/// Opens a connection to the file below `data_dir`, creating the directory, the file and the
/// journal's tables where they are not there yet.
///
/// Whoever writes begins with `TransactionBehavior::Immediate`: a transaction that reads first and
/// writes afterwards is refused, and not kept waiting, when another has written in between.
///
/// # Errors
/// When the file cannot be used; the message says what to do.
pub fn open(data_dir: &Path) -> Result<Connection, JournalError> {
    std::fs::create_dir_all(data_dir)
        .map_err(|source| JournalError::Directory { path: data_dir.to_owned(), source })?;
    let path = file(data_dir);
    let failed = |source| JournalError::of(&path, source);
    let connection = Connection::open(&path).map_err(failed)?;
    let found = prepare(&connection).map_err(failed)?;
    if found > SCHEMA_VERSION {
        return Err(JournalError::Newer { path, found });
    }
    if found < SCHEMA_VERSION {
        connection.execute_batch(TABLES).map_err(failed)?;
    }
    Ok(connection)
}

fn prepare(connection: &Connection) -> rusqlite::Result<i64> {
    connection.busy_timeout(PATIENCE)?;
    // Takes effect in a new file only.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024)?;
    // 512 KiB: memory is what a Raspberry Pi is short of.
    connection.pragma_update(None, "cache_size", -512)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Makes the file smaller by a step when a good part of it is empty; answers whether it did.
pub(super) fn give_back(connection: &Connection) -> rusqlite::Result<bool> {
    let number = |pragma| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let (free, all) = (number("PRAGMA freelist_count")?, number("PRAGMA page_count")?);
    if free <= FREE_PAGES || free * 4 <= all {
        return Ok(false);
    }
    connection.execute_batch(&format!("PRAGMA incremental_vacuum({STEP_PAGES})"))?;
    Ok(number("PRAGMA freelist_count")? < free)
}

/// How long a statement waits for another connection that writes.
const PATIENCE: Duration = Duration::from_secs(5);
/// 16 MiB may lie empty for the next outage of a reader.
const FREE_PAGES: i64 = 4096;
/// 4 MiB are given back at a time, so that no commit waits long.
const STEP_PAGES: i64 = 1024;

/// `journal.seq` has no gaps: record after record, whatever was deleted. `journal_state` has the
/// number of a record, not far from the newest, and the bytes that all up to there take; where there
/// are no records it is the last number given out. `journal_device.until` is the last
/// record that a description can belong to, once another has taken its place; ids are never given
/// out twice, since readers remember them.
const TABLES: &str = "
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS journal (
        seq INTEGER PRIMARY KEY,
        device INTEGER NOT NULL,
        at INTEGER NOT NULL,
        live INTEGER NOT NULL,
        body BLOB NOT NULL
    );
    CREATE TABLE IF NOT EXISTS journal_device (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        digest BLOB NOT NULL UNIQUE,
        until INTEGER,
        description TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS journal_cursor (
        name TEXT PRIMARY KEY,
        done INTEGER NOT NULL,
        missed INTEGER NOT NULL DEFAULT 0,
        used INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS journal_state (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        last INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    );
    INSERT OR IGNORE INTO journal_state (one, last, bytes) VALUES (1, 0, 0);
    PRAGMA user_version = 1;
    COMMIT;
";
