//! The outbox on disk: one table, in the order of publication.
//!
//! A message that is not retained leaves when the broker has acknowledged it. Of a retained topic
//! the latest message stays, marked as done, so that a broker that has forgotten it gets it again.

mod copy;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// A message with its place in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) seq: i64,
    pub(super) topic: Box<str>,
    pub(super) payload: Bytes,
    pub(super) retain: bool,
}

impl Entry {
    /// Bytes of topic and payload.
    pub(super) fn size(&self) -> usize {
        self.topic.len() + self.payload.len()
    }
}

/// The open table.
#[derive(Debug)]
pub(super) struct Shelf {
    connection: Connection,
}

/// What one turn does, all or nothing.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Messages to keep, their `seq` not given yet.
    pub(super) fresh: Vec<Entry>,
    /// Messages that are done with.
    pub(super) done: Vec<i64>,
    /// Messages that are not to be sent again, whether or not they are retained.
    pub(super) given_up: Vec<i64>,
    /// A connection has begun: everything is to be sent again.
    pub(super) rewind: bool,
    /// What was taken up to now.
    pub(super) cursor: i64,
    /// How many messages to take from there.
    pub(super) want: usize,
}

/// What it came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The next messages, in order.
    pub(super) page: Vec<Entry>,
    /// The last of them, or the cursor as it was.
    pub(super) cursor: i64,
    /// Messages without an acknowledgement.
    pub(super) waiting: u64,
    /// Messages that have left for good, and their bytes: those that count against the limit.
    pub(super) left: (usize, usize),
}

/// The outbox cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShelfError {
    #[error("the outbox {path} cannot be used: {source}; it must be writable for this user")]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error(
        "the outbox {path} has schema version {found}, this program knows {VERSION}: it was \
         written by a newer meterbridge; use that one, or another data_dir"
    )]
    Newer { path: PathBuf, found: i64 },
}

impl Shelf {
    /// Opens `outbox.db` in `data_dir`.
    pub(super) fn open(data_dir: &Path) -> Result<Self, ShelfError> {
        let path = data_dir.join("outbox.db");
        let shelf = Self::at(&path, PATIENCE)?;
        // State that the broker has is the running gateway's to say again, not its predecessor's.
        let clear = shelf.connection.execute("DELETE FROM message WHERE done", []);
        clear.map_err(|source| ShelfError::Open { path, source })?;
        Ok(shelf)
    }

    /// Opens the file, and makes it if there is none. `patience`: how long it may be locked.
    fn at(path: &Path, patience: Duration) -> Result<Self, ShelfError> {
        let failed = |source| ShelfError::Open { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(failed)?;
        let shelf = Self { connection };
        let found: i64 = shelf
            .prepare(patience)
            .and_then(|()| shelf.connection.query_row("PRAGMA user_version", [], |row| row.get(0)))
            .map_err(failed)?;
        if found > VERSION {
            return Err(ShelfError::Newer { path: path.to_owned(), found });
        }
        shelf.connection.execute_batch(TABLES).map_err(failed)?;
        Ok(shelf)
    }

    fn prepare(&self, patience: Duration) -> rusqlite::Result<()> {
        self.connection.busy_timeout(patience)?;
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        self.connection.pragma_update(None, "cache_size", -256)
    }

    /// The messages that count against the limit, and their bytes; and all that wait.
    pub(super) fn count(&self) -> rusqlite::Result<((usize, usize), u64)> {
        let sum = "SELECT count(*), coalesce(sum(octet_length(topic) + length(payload)), 0)
                   FROM message WHERE NOT retain";
        let counted = self
            .connection
            .query_row(sum, [], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))))?;
        Ok((counted, waiting(&self.connection)? as u64))
    }

    /// Does a turn in one transaction.
    pub(super) fn turn(&mut self, turn: &Turn) -> rusqlite::Result<Outcome> {
        let transaction = self.connection.transaction()?;
        let mut outcome = Outcome { cursor: turn.cursor, ..Outcome::default() };
        for seq in &turn.done {
            finish(&transaction, *seq, false, &mut outcome.left)?;
        }
        for seq in &turn.given_up {
            finish(&transaction, *seq, true, &mut outcome.left)?;
        }
        if turn.rewind {
            transaction.execute("UPDATE message SET done = 0 WHERE done", [])?;
            outcome.cursor = 0;
        }
        for entry in &turn.fresh {
            insert(&transaction, entry, outcome.cursor)?;
        }
        if turn.want > 0 {
            outcome.page = page(&transaction, outcome.cursor, turn.want)?;
        }
        if let Some(last) = outcome.page.last() {
            outcome.cursor = last.seq;
        }
        outcome.waiting = waiting(&transaction)? as u64;
        transaction.commit()?;
        Ok(outcome)
    }
}

/// A count, which SQLite gives as a signed number.
fn unsigned(count: i64) -> usize {
    usize::try_from(count).unwrap_or(0)
}

fn waiting(connection: &Connection) -> rusqlite::Result<usize> {
    let count = "SELECT count(*) FROM message WHERE NOT done";
    connection.prepare_cached(count)?.query_row([], |row| row.get(0)).map(unsigned)
}

fn finish(
    transaction: &Transaction<'_>,
    seq: i64,
    for_good: bool,
    left: &mut (usize, usize),
) -> rusqlite::Result<()> {
    // Cleared, or replaced while it was under way: nothing to say again.
    let query = "SELECT retain, octet_length(topic) + length(payload), length(payload) = 0
                     OR EXISTS (SELECT 1 FROM message later WHERE later.retain
                                AND later.topic = message.topic AND later.seq > message.seq)
                 FROM message WHERE seq = ?1";
    let row = transaction
        .prepare_cached(query)?
        .query_row([seq], |row| Ok((row.get(0)?, unsigned(row.get(1)?), row.get(2)?)))
        .optional()?;
    let Some((retain, bytes, gone)): Option<(bool, usize, bool)> = row else {
        return Ok(());
    };
    if retain && !gone && !for_good {
        transaction.prepare_cached("UPDATE message SET done = 1 WHERE seq = ?1")?.execute([seq])?;
    } else {
        transaction.prepare_cached("DELETE FROM message WHERE seq = ?1")?.execute([seq])?;
        if !retain {
            left.0 += 1;
            left.1 += bytes;
        }
    }
    Ok(())
}

/// A retained message takes the place of the topic's earlier ones, except of those under way.
fn insert(transaction: &Transaction<'_>, entry: &Entry, cursor: i64) -> rusqlite::Result<()> {
    if entry.retain {
        let replace = "DELETE FROM message WHERE topic = ?1 AND retain AND (done OR seq > ?2)";
        transaction.prepare_cached(replace)?.execute(params![entry.topic, cursor])?;
    }
    let insert = "INSERT INTO message (topic, payload, retain, done) VALUES (?1, ?2, ?3, 0)";
    transaction.prepare_cached(insert)?.execute(params![
        entry.topic,
        &entry.payload[..],
        entry.retain
    ])?;
    Ok(())
}

fn page(transaction: &Transaction<'_>, after: i64, want: usize) -> rusqlite::Result<Vec<Entry>> {
    let query = "SELECT seq, topic, payload, retain FROM message
                 WHERE seq > ?1 AND NOT done ORDER BY seq LIMIT ?2";
    let mut statement = transaction.prepare_cached(query)?;
    let mut rows = statement.query(params![after, want as i64])?;
    let (mut page, mut bytes) = (Vec::new(), 0);
    while bytes < PAGE_BYTES
        && let Some(row) = rows.next()?
    {
        let topic: String = row.get(1)?;
        let payload: Vec<u8> = row.get(2)?;
        bytes += topic.len() + payload.len();
        page.push(Entry {
            seq: row.get(0)?,
            topic: topic.into(),
            payload: payload.into(),
            retain: row.get(3)?,
        });
    }
    Ok(page)
}

/// How long the file may be locked by somebody else.
const PATIENCE: Duration = Duration::from_secs(5);
const PAGE_BYTES: usize = 1024 * 1024;
const VERSION: i64 = 1;

const TABLES: &str = "
    BEGIN;
    CREATE TABLE IF NOT EXISTS message (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        topic TEXT NOT NULL,
        payload BLOB NOT NULL,
        retain INTEGER NOT NULL,
        done INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS message_retained ON message (topic) WHERE retain;
    CREATE INDEX IF NOT EXISTS message_waiting ON message (seq) WHERE NOT done;
    PRAGMA user_version = 1;
    COMMIT;
";

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(topic: &str, payload: &'static str, retain: bool) -> Entry {
        Entry { seq: 0, topic: topic.into(), payload: payload.into(), retain }
    }

    fn payloads(outcome: &Outcome) -> Vec<&[u8]> {
        outcome.page.iter().map(|entry| &entry.payload[..]).collect()
    }

    #[test]
    fn of_a_retained_topic_the_latest_stays_and_comes_again_after_a_rewind() {
        let directory = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(directory.path()).unwrap();
        let fresh = vec![entry("doc", "1", true), entry("x", "2", false), entry("doc", "3", true)];
        let outcome = shelf.turn(&Turn { fresh, want: 9, ..Turn::default() }).unwrap();
        assert_eq!((payloads(&outcome), outcome.waiting), (vec![&b"2"[..], b"3"], 2));
        let done = outcome.page.iter().map(|entry| entry.seq).collect();
        let turn = Turn { done, cursor: outcome.cursor, want: 9, ..Turn::default() };
        let outcome = shelf.turn(&turn).unwrap();
        assert_eq!((payloads(&outcome), outcome.waiting, outcome.left), (vec![], 0, (1, 2)));
        let rewind = Turn { rewind: true, want: 9, ..Turn::default() };
        assert_eq!(payloads(&shelf.turn(&rewind).unwrap()), [b"3"]);
        drop(shelf);
        // The broker did not confirm it a second time, so it is for the next run to send.
        let mut shelf = Shelf::open(directory.path()).unwrap();
        assert_eq!(payloads(&shelf.turn(&rewind).unwrap()), [b"3"]);
        shelf.connection.pragma_update(None, "user_version", 9).unwrap();
        drop(shelf);
        assert!(Shelf::open(directory.path()).unwrap_err().to_string().contains("version 9"));
    }
}
