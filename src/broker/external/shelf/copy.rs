//! The outbox between disk and memory, with the numbers of its messages.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::{Shelf, ShelfError, TABLES};

impl Shelf {
    /// One that forgets at the end, for when the disk fails. Its numbers are far from those of the
    /// one before, of which `cursor` is one, since acknowledgements for these may still come.
    pub(in super::super) fn in_memory(cursor: i64) -> rusqlite::Result<Self> {
        let shelf = Self { connection: Connection::open_in_memory()? };
        shelf.connection.execute_batch(TABLES)?;
        set_sequence(&shelf.connection, cursor + (1 << 40))?;
        Ok(shelf)
    }

    /// The same messages in memory, for when the disk can be read but not written.
    pub(in super::super) fn copy_in_memory(&self) -> rusqlite::Result<Self> {
        let mut copy = Self { connection: Connection::open_in_memory()? };
        copy.connection.execute_batch(TABLES)?;
        copy_messages(&self.connection, &mut copy.connection, true)?;
        Ok(copy)
    }

    /// Writes these messages to the outbox in `data_dir`; the outbox there. `whole`: in the place of
    /// those that are there, else beside them.
    pub(in super::super) fn copy_to_disk(
        &self,
        data_dir: &Path,
        whole: bool,
    ) -> Result<Self, ShelfError> {
        let path = data_dir.join("outbox.db");
        let mut shelf = Self::at(&path, TRIAL)?;
        copy_messages(&self.connection, &mut shelf.connection, whole)
            .and_then(|()| shelf.connection.busy_timeout(super::PATIENCE))
            .map_err(|source| ShelfError::Open { path, source })?;
        Ok(shelf)
    }
}

/// All or nothing.
fn copy_messages(from: &Connection, to: &mut Connection, replace: bool) -> rusqlite::Result<()> {
    let transaction = to.transaction()?;
    if replace {
        transaction.execute("DELETE FROM message", [])?;
    }
    {
        let mut read =
            from.prepare("SELECT seq, topic, payload, retain, done FROM message ORDER BY seq")?;
        let mut rows = read.query([])?;
        let mut write = transaction.prepare("INSERT INTO message VALUES (?1, ?2, ?3, ?4, ?5)")?;
        while let Some(row) = rows.next()? {
            let value = |index| row.get::<_, Value>(index);
            write.execute(params![value(0)?, value(1)?, value(2)?, value(3)?, value(4)?])?;
        }
    }
    // A number that was given once is not given again: its acknowledgement may be on its way.
    let last = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'message'";
    let last_read: i64 = from.query_row(last, [], |row| row.get(0))?;
    let last_written: i64 = transaction.query_row(last, [], |row| row.get(0))?;
    set_sequence(&transaction, last_read.max(last_written))?;
    transaction.commit()
}

fn set_sequence(connection: &Connection, last: i64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'message'", [])?;
    let insert = "INSERT INTO sqlite_sequence (name, seq) VALUES ('message', ?1)";
    connection.execute(insert, [last]).map(|_| ())
}

/// How long a trial waits for a disk that somebody else has locked.
const TRIAL: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::super::{Entry, Turn};
    use super::*;

    fn put(shelf: &mut Shelf, topics: &[&str]) -> Vec<i64> {
        let entry = |topic: &&str| Entry {
            seq: 0,
            topic: (*topic).into(),
            payload: "x".into(),
            retain: false,
        };
        let fresh = topics.iter().map(entry).collect();
        let outcome = shelf.turn(&Turn { fresh, want: 9, ..Turn::default() }).unwrap();
        outcome.page.iter().map(|entry| entry.seq).collect()
    }

    #[test]
    fn messages_and_numbers_go_to_memory_and_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut disk = Shelf::open(directory.path()).unwrap();
        let all = put(&mut disk, &["a", "b", "c"]);
        disk.turn(&Turn { done: vec![all[2]], ..Turn::default() }).unwrap();
        let mut memory = disk.copy_in_memory().unwrap();
        drop(disk);
        assert_eq!(put(&mut memory, &["d"]), [all[0], all[1], all[2] + 1], "c's number is not d's");
        memory.turn(&Turn { done: vec![all[0]], ..Turn::default() }).unwrap();
        let mut disk = memory.copy_to_disk(directory.path(), true).unwrap();
        assert_eq!(put(&mut disk, &["e"]), [all[1], all[2] + 1, all[2] + 2]);
    }

    #[test]
    fn what_could_not_be_read_is_kept_beside_what_came_later() {
        let directory = tempfile::tempdir().unwrap();
        let all = put(&mut Shelf::open(directory.path()).unwrap(), &["a"]);
        let mut memory = Shelf::in_memory(all[0]).unwrap();
        put(&mut memory, &["b"]);
        let mut disk = memory.copy_to_disk(directory.path(), false).unwrap();
        let outcome = disk.turn(&Turn { want: 9, ..Turn::default() }).unwrap();
        let topics: Vec<&str> = outcome.page.iter().map(|entry| &*entry.topic).collect();
        assert_eq!(topics, ["a", "b"]);
    }
}
