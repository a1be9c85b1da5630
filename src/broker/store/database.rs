//! The file `broker.db` and its tables.
//!
//! A message that waits for many sessions lies in `message` once, with the number of `copy` rows that
//! point to it. As in the gateway's own database a commit survives the end of the process at once, and
//! a power cut with the next checkpoint (WAL, `synchronous = NORMAL`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::batch::Batch;
use super::write::write_all;

/// The version of the tables below; a newer one on disk is refused.
const SCHEMA_VERSION: i64 = 1;

/// The open file.
#[derive(Debug)]
pub(crate) struct Database {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    next_message: u64,
}

/// The broker's file could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The directory is not there and cannot be made.
    #[error("data_dir {path} cannot be used: {source}; it must be writable for this user")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be opened, or its tables cannot be made.
    #[error(
        "the broker's file {path} cannot be used: {source}; it and its directory must be writable \
         for this user"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file was written by a later version of this program.
    #[error(
        "the broker's file {path} has schema version {found}, this program knows {SCHEMA_VERSION}: \
         it was written by a newer meterbridge; use that one, or another data_dir"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: i64,
    },
    /// What is in the file makes no sense.
    #[error(
        "the broker's file {path} is damaged: {fault}; move {path} and what begins with its name \
         away to begin with an empty one (retained messages and sessions are lost then), or \
         restore it from a backup"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        fault: String,
    },
    /// A statement failed.
    #[error("the broker's file {path} failed: {source}")]
    Statement {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl Database {
    /// Opens the file below `data_dir`, creating both when they are not there.
    ///
    /// # Errors
    /// When it cannot be used; the message says what to do.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, StorageError> {
        std::fs::create_dir_all(data_dir)
            .map_err(|source| StorageError::Directory { path: data_dir.to_owned(), source })?;
        let path = data_dir.join("broker.db");
        let connection = Connection::open(&path)
            .map_err(|source| StorageError::Open { path: path.clone(), source })?;
        let mut database = Self { connection, path, next_message: 1 };
        let found = database.prepare().map_err(|source| database.failed(source))?;
        if found > SCHEMA_VERSION {
            return Err(StorageError::Newer { path: database.path, found });
        }
        let tables = database.connection.execute_batch(TABLES);
        tables.map_err(|source| database.failed(source))?;
        database.next_message = database.find_next_message()?;
        Ok(database)
    }

    /// A number for a message that none on disk has.
    pub(crate) fn next_message(&self) -> u64 {
        self.next_message
    }

    fn prepare(&self) -> rusqlite::Result<i64> {
        let connection = &self.connection;
        connection.busy_timeout(Duration::from_secs(5))?;
        // Takes effect in a new file only: what is deleted is given back, piece by piece.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024)?;
        // 512 KiB: memory is what a Raspberry Pi is short of.
        connection.pragma_update(None, "cache_size", -512)?;
        connection.set_prepared_statement_cache_capacity(32);
        connection.query_row("PRAGMA user_version", [], |row| row.get(0))
    }

    fn find_next_message(&self) -> Result<u64, StorageError> {
        let largest = "SELECT ifnull(max(number), 0) FROM message";
        let largest: rusqlite::Result<i64> =
            self.connection.query_row(largest, [], |row| row.get(0));
        Ok(largest.map_err(|source| self.failed(source))?.max(0).cast_unsigned() + 1)
    }

    /// Names the file, and tells damage from other failures.
    pub(super) fn failed(&self, source: rusqlite::Error) -> StorageError {
        use rusqlite::ErrorCode::{CannotOpen, DatabaseCorrupt, NotADatabase, ReadOnly};
        let path = self.path.clone();
        match source.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => {
                StorageError::Damaged { path, fault: source.to_string() }
            }
            Some(CannotOpen | ReadOnly) => StorageError::Open { path, source },
            _ => StorageError::Statement { path, source },
        }
    }

    /// Puts all of `batch` on disk, or nothing.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        let mut write = || {
            let transaction = self.connection.transaction()?;
            write_all(&transaction, batch)?;
            transaction.commit()
        };
        write().map_err(|source| self.failed(source))?;
        // The batch is on disk: to fail now would have it written, and its copies counted, twice.
        if batch.purge
            && let Err(error) = self.give_back()
        {
            tracing::debug!(%error, "the broker's file was not made smaller");
        }
        Ok(())
    }

    /// Makes the file smaller when a good part of it is empty.
    fn give_back(&self) -> rusqlite::Result<()> {
        let number = |pragma| self.connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
        let (free, all) = (number("PRAGMA freelist_count")?, number("PRAGMA page_count")?);
        if free > FREE_PAGES && free * 4 > all {
            self.connection.execute_batch("PRAGMA incremental_vacuum(4096)")?;
        }
        Ok(())
    }
}

/// 4 MiB may lie empty for the next burst.
const FREE_PAGES: i64 = 1024;

const TABLES: &str = "
    BEGIN;
    CREATE TABLE IF NOT EXISTS retained (
        topic BLOB PRIMARY KEY,
        payload BLOB NOT NULL,
        properties BLOB NOT NULL,
        qos INTEGER NOT NULL,
        expires INTEGER
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS retained_expires ON retained (expires) WHERE expires IS NOT NULL;
    CREATE TABLE IF NOT EXISTS session (
        number INTEGER PRIMARY KEY,
        client_id TEXT NOT NULL,
        owner TEXT,
        expiry INTEGER NOT NULL,
        left_at INTEGER,
        will_topic TEXT,
        will_payload BLOB,
        will_properties BLOB,
        will_qos INTEGER,
        will_retain INTEGER,
        will_delay INTEGER,
        will_expiry INTEGER
    );
    CREATE TABLE IF NOT EXISTS subscription (
        session INTEGER NOT NULL,
        filter TEXT NOT NULL,
        qos INTEGER NOT NULL,
        no_local INTEGER NOT NULL,
        retain_as_published INTEGER NOT NULL,
        id INTEGER,
        feeding INTEGER NOT NULL,
        PRIMARY KEY (session, filter)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS message (
        number INTEGER PRIMARY KEY,
        copies INTEGER NOT NULL,
        topic_length INTEGER NOT NULL,
        image BLOB NOT NULL,
        properties BLOB NOT NULL,
        qos INTEGER NOT NULL,
        retain INTEGER NOT NULL,
        expires INTEGER
    );
    CREATE TABLE IF NOT EXISTS copy (
        session INTEGER NOT NULL,
        place INTEGER NOT NULL,
        message INTEGER,
        qos INTEGER NOT NULL,
        retain INTEGER NOT NULL,
        ids BLOB NOT NULL,
        packet_id INTEGER NOT NULL,
        share TEXT,
        PRIMARY KEY (session, place)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS received (
        session INTEGER NOT NULL,
        packet_id INTEGER NOT NULL,
        PRIMARY KEY (session, packet_id)
    ) WITHOUT ROWID;
    PRAGMA user_version = 1;
    COMMIT;
";
