//! Records from the file.

use std::sync::Arc;

use rusqlite::{Connection, Transaction, params};

use super::{Record, Shared, devices, encode, signed, unsigned};
use crate::model::{ReadingSet, Timestamp};

/// Up to `max` records after `after`; at least one, where there is one that can be read.
pub(super) fn records(
    connection: &mut Connection,
    shared: &Shared,
    after: u64,
    max: usize,
) -> rusqlite::Result<Vec<Record>> {
    // One view of the file: no meter goes between a record and what describes it.
    let transaction = connection.transaction()?;
    let mut records = Vec::new();
    let mut unreadable = Unreadable::default();
    {
        let select = "SELECT seq, device, at, live, body FROM journal WHERE seq > ?1 ORDER BY seq";
        let mut select = transaction.prepare_cached(select)?;
        let mut rows = select.query(params![signed(after)])?;
        while records.len() < max
            && let Some(row) = rows.next()?
        {
            let seq = unsigned(row.get(0)?);
            match set(&transaction, shared, row)? {
                Some(set) => records.push(Record { seq, live: row.get(3)?, set: Arc::new(set) }),
                None => unreadable.add(seq),
            }
        }
    }
    transaction.commit()?;
    unreadable.tell(shared);
    Ok(records)
}

fn set(
    transaction: &Transaction<'_>,
    shared: &Shared,
    row: &rusqlite::Row<'_>,
) -> rusqlite::Result<Option<ReadingSet>> {
    let Some(device) = devices::load(transaction, shared, row.get(1)?)? else { return Ok(None) };
    let body = row.get_ref(4)?.as_blob().ok().and_then(encode::decode);
    let Some((pulses, readings)) = body else { return Ok(None) };
    Ok(Some(ReadingSet { device, at: Timestamp(row.get(2)?), pulses, readings }))
}

/// Records that are passed over.
#[derive(Default)]
struct Unreadable {
    first: u64,
    count: u64,
}

impl Unreadable {
    fn add(&mut self, seq: u64) {
        if self.count == 0 {
            self.first = seq;
        }
        self.count += 1;
    }

    fn tell(&self, shared: &Shared) {
        if self.count == 0 {
            return;
        }
        shared.metrics.journal_unreadable.add(self.count);
        tracing::error!(
            first = self.first,
            count = self.count,
            "records of the journal cannot be read and are passed over: another version wrote them, \
             or the disk of data_dir has changed them"
        );
    }
}
