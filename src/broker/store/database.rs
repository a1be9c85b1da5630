//! The file `broker.db`: its tables, and how a batch of changes gets into them.
//!
//! A message that waits for many sessions lies in `message` once, with the number of `copy` rows that
//! point to it. As in the gateway's own database a commit survives the end of the process at once, and
//! a power cut with the next checkpoint (WAL, `synchronous = NORMAL`).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, Transaction, params};

use super::batch::{Batch, CopyChange, FilterChange, MessageChange, SessionChange, SessionRow};
use crate::broker::publication::Publication;

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
            transaction.commit()?;
            if batch.purge {
                self.give_back()?;
            }
            Ok(())
        };
        write().map_err(|source| self.failed(source))
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

fn write_all(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    let clock = Clock::now();
    if batch.purge {
        let purge = "DELETE FROM retained WHERE expires <= ?1";
        transaction.prepare_cached(purge)?.execute([clock.now_ms])?;
    }
    for (number, change) in batch.sessions.iter().filter(|(_, change)| change.ended) {
        end_session(transaction, *number)?;
        debug_assert!(change.copies.is_empty());
    }
    for (number, change) in &batch.messages {
        count_copies(transaction, *number, change, &clock)?;
    }
    for (number, change) in &batch.sessions {
        write_session(transaction, *number, change)?;
    }
    for (topic, value) in &batch.retained {
        write_retained(transaction, topic, value.as_deref(), &clock)?;
    }
    Ok(())
}

fn end_session(transaction: &Transaction<'_>, session: u64) -> rusqlite::Result<()> {
    for statement in [
        "UPDATE message SET copies = copies - (SELECT count(*) FROM copy
             WHERE copy.session = ?1 AND copy.message = message.number)
         WHERE number IN (SELECT message FROM copy WHERE session = ?1)",
        "DELETE FROM message WHERE copies <= 0
         AND number IN (SELECT message FROM copy WHERE session = ?1)",
        "DELETE FROM copy WHERE session = ?1",
        "DELETE FROM subscription WHERE session = ?1",
        "DELETE FROM received WHERE session = ?1",
        "DELETE FROM session WHERE number = ?1",
    ] {
        transaction.prepare_cached(statement)?.execute([session.cast_signed()])?;
    }
    Ok(())
}

/// Writes a message with its first copies, and takes it away with its last.
fn count_copies(
    transaction: &Transaction<'_>,
    number: u64,
    change: &MessageChange,
    clock: &Clock,
) -> rusqlite::Result<()> {
    let number = number.cast_signed();
    let counted = transaction
        .prepare_cached("UPDATE message SET copies = copies + ?2 WHERE number = ?1")?
        .execute(params![number, change.copies])?;
    if counted == 0 && change.copies > 0 {
        let publication = &change.publication;
        transaction
            .prepare_cached(
                "INSERT INTO message
                 (number, copies, topic_length, image, properties, qos, retain, expires)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                number,
                change.copies,
                publication.topic_length(),
                publication.image(),
                publication.properties(),
                publication.qos as u8,
                publication.retain,
                clock.wall(publication.expires()),
            ])?;
    } else if change.copies < 0 {
        transaction
            .prepare_cached("DELETE FROM message WHERE number = ?1 AND copies <= 0")?
            .execute([number])?;
    }
    Ok(())
}

fn write_session(
    transaction: &Transaction<'_>,
    number: u64,
    change: &SessionChange,
) -> rusqlite::Result<()> {
    let session = number.cast_signed();
    if let Some(row) = &change.row {
        write_row(transaction, session, row)?;
    }
    for (filter, change) in &change.filters {
        match change {
            FilterChange::Set(grant, feeding) => transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO subscription
                     (session, filter, qos, no_local, retain_as_published, id, feeding)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    session,
                    filter,
                    grant.qos as u8,
                    grant.no_local,
                    grant.retain_as_published,
                    grant.id,
                    feeding,
                ])?,
            FilterChange::Fed => transaction
                .prepare_cached(
                    "UPDATE subscription SET feeding = 0 WHERE session = ?1 AND filter = ?2",
                )?
                .execute(params![session, filter])?,
            FilterChange::Gone => transaction
                .prepare_cached("DELETE FROM subscription WHERE session = ?1 AND filter = ?2")?
                .execute(params![session, filter])?,
        };
    }
    for (place, copy) in &change.copies {
        write_copy(transaction, session, place.cast_signed(), copy)?;
    }
    for (packet_id, open) in &change.received {
        let statement = if *open {
            "INSERT OR REPLACE INTO received (session, packet_id) VALUES (?1, ?2)"
        } else {
            "DELETE FROM received WHERE session = ?1 AND packet_id = ?2"
        };
        transaction.prepare_cached(statement)?.execute(params![session, packet_id])?;
    }
    Ok(())
}

fn write_row(
    transaction: &Transaction<'_>,
    session: i64,
    row: &SessionRow,
) -> rusqlite::Result<()> {
    let will = row.will.as_ref();
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO session
             (number, client_id, expiry, left_at, will_topic, will_payload, will_properties,
              will_qos, will_retain, will_delay, will_expiry)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            session,
            &*row.client_id,
            row.expiry,
            row.left.map(milliseconds),
            will.map(|will| &*will.topic),
            will.map(|will| &*will.payload),
            will.map(|will| &*will.properties),
            will.map(|will| will.qos as u8),
            will.map(|will| will.retain),
            will.map(|will| will.delay),
            will.and_then(|will| will.expiry),
        ])?;
    Ok(())
}

fn write_copy(
    transaction: &Transaction<'_>,
    session: i64,
    place: i64,
    change: &CopyChange,
) -> rusqlite::Result<()> {
    match change {
        CopyChange::Insert { copy, packet_id, released } => {
            let number = copy.publication.number.load(std::sync::atomic::Ordering::Relaxed);
            let ids: Vec<u8> = copy.ids.iter().flat_map(|id| id.to_be_bytes()).collect();
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO copy
                     (session, place, message, qos, retain, ids, packet_id)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    session,
                    place,
                    (!released).then_some(number.cast_signed()),
                    copy.qos as u8,
                    copy.retain,
                    ids,
                    packet_id,
                ])?;
        }
        CopyChange::Update { packet_id, released } => {
            transaction
                .prepare_cached(
                    "UPDATE copy SET packet_id = ifnull(?3, packet_id),
                     message = CASE WHEN ?4 THEN NULL ELSE message END
                     WHERE session = ?1 AND place = ?2",
                )?
                .execute(params![session, place, packet_id, released.is_some()])?;
        }
        CopyChange::Delete { .. } => {
            transaction
                .prepare_cached("DELETE FROM copy WHERE session = ?1 AND place = ?2")?
                .execute([session, place])?;
        }
    }
    Ok(())
}

fn write_retained(
    transaction: &Transaction<'_>,
    topic: &[u8],
    value: Option<&Publication>,
    clock: &Clock,
) -> rusqlite::Result<()> {
    match value {
        Some(publication) => transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO retained (topic, payload, properties, qos, expires)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                topic,
                publication.payload(),
                publication.properties(),
                publication.qos as u8,
                clock.wall(publication.expires()),
            ])?,
        None => {
            transaction.prepare_cached("DELETE FROM retained WHERE topic = ?1")?.execute([topic])?
        }
    };
    Ok(())
}

/// Both clocks at one moment: what is counted in memory by the one is kept on disk by the other.
#[derive(Debug)]
pub(super) struct Clock {
    now: Instant,
    wall: SystemTime,
    now_ms: i64,
}

impl Clock {
    pub(super) fn now() -> Self {
        let wall = SystemTime::now();
        Self { now: Instant::now(), wall, now_ms: milliseconds(wall) }
    }

    /// A moment as milliseconds since 1970.
    fn wall(&self, at: Option<Instant>) -> Option<i64> {
        let left = at?.saturating_duration_since(self.now);
        Some(self.now_ms.saturating_add(i64::try_from(left.as_millis()).unwrap_or(i64::MAX)))
    }

    /// What is left of the time until `at_ms`; nothing when it has passed.
    pub(super) fn instant(&self, at_ms: i64) -> Instant {
        let left = u64::try_from(at_ms.saturating_sub(self.now_ms)).unwrap_or(0);
        self.now + Duration::from_millis(left).min(LONGEST)
    }

    /// A moment that has passed, in the past also when the system's clock was set back since.
    pub(super) fn ago(&self, at_ms: i64) -> SystemTime {
        let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(at_ms).unwrap_or(0)).min(LONGEST);
        at.min(self.wall)
    }
}

fn milliseconds(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// 300 years: more than MQTT can ask for, and little enough for every clock.
const LONGEST: Duration = Duration::from_secs(300 * 365 * 24 * 60 * 60);
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
