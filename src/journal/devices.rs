//! The meters as they were when they said something: one row for each distinct description.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use sha2::{Digest, Sha256};

use super::{Shared, signed};
use crate::model::{Device, DeviceId};

/// The rows of the meters as they are now.
#[derive(Debug, Default)]
pub(super) struct Devices {
    current: HashMap<DeviceId, (Arc<Device>, i64)>,
}

impl Devices {
    /// The row that describes `device`, which record `seq` is about; made where there is none.
    pub(super) fn row(
        &mut self,
        transaction: &Transaction<'_>,
        shared: &Shared,
        device: &Arc<Device>,
        seq: u64,
    ) -> rusqlite::Result<i64> {
        let before = self.current.get(&device.id);
        if let Some((known, row)) = before
            && (Arc::ptr_eq(known, device) || known == device)
        {
            return Ok(*row);
        }
        if let Some((_, row)) = before {
            let replaced = "UPDATE journal_device SET until = ?2 WHERE id = ?1";
            transaction.execute(replaced, params![row, signed(seq.saturating_sub(1))])?;
        }
        let row = find_or_insert(transaction, device)?;
        self.current.insert(device.id, (Arc::clone(device), row));
        shared.devices.lock().insert(row, Arc::clone(device));
        Ok(row)
    }

    /// Forgets what a transaction that failed may have made.
    pub(super) fn forget(&mut self) {
        self.current.clear();
    }
}

fn find_or_insert(transaction: &Transaction<'_>, device: &Device) -> rusqlite::Result<i64> {
    let description = serde_json::to_string(device)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let digest = &Sha256::digest(description.as_bytes())[..16];
    let again = "UPDATE journal_device SET until = NULL WHERE digest = ?1 RETURNING id";
    let found = transaction.query_row(again, [digest], |row| row.get(0)).optional()?;
    if let Some(row) = found {
        return Ok(row);
    }
    transaction.execute(
        "INSERT INTO journal_device (digest, description) VALUES (?1, ?2)",
        params![digest, description],
    )?;
    Ok(transaction.last_insert_rowid())
}

/// At the start: no description is known to go on beyond `last`.
pub(super) fn close_all(connection: &Connection, last: u64) -> rusqlite::Result<()> {
    let close = "UPDATE journal_device SET until = ?1 WHERE until IS NULL";
    connection.execute(close, [signed(last)]).map(drop)
}

/// Lets go of descriptions that no record from `first` on can belong to.
pub(super) fn remove_unused(
    connection: &Connection,
    shared: &Shared,
    first: u64,
) -> rusqlite::Result<()> {
    let unused = "SELECT id FROM journal_device WHERE until < ?1";
    let mut unused = connection.prepare_cached(unused)?;
    let rows: rusqlite::Result<Vec<i64>> =
        unused.query_map([signed(first)], |row| row.get(0))?.collect();
    for row in rows? {
        connection.execute("DELETE FROM journal_device WHERE id = ?1", [row])?;
        shared.devices.lock().remove(&row);
    }
    Ok(())
}

/// The meter that a row describes; `None` when nobody can tell any more.
pub(super) fn load(
    transaction: &Transaction<'_>,
    shared: &Shared,
    row: i64,
) -> rusqlite::Result<Option<Arc<Device>>> {
    if let Some(device) = shared.devices.lock().get(&row) {
        return Ok(Some(Arc::clone(device)));
    }
    let find = "SELECT description FROM journal_device WHERE id = ?1";
    let find = transaction.query_row(find, [row], |row| row.get::<_, String>(0)).optional();
    let Some(description) = find? else { return Ok(None) };
    let Ok(device) = serde_json::from_str::<Device>(&description) else { return Ok(None) };
    let mut devices = shared.devices.lock();
    Ok(Some(Arc::clone(devices.entry(row).or_insert_with(|| Arc::new(device)))))
}
