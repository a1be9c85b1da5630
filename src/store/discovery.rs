//! What Home Assistant was told, on disk.

use rusqlite::{Transaction, params};

use super::{Store, StoreError};
use crate::homeassistant::{Change, Kept, Out, Stored};

/// Its tables.
pub(super) const TABLES: &str = "
    BEGIN;
    CREATE TABLE IF NOT EXISTS discovery_device (
        device TEXT PRIMARY KEY NOT NULL,
        document TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS discovery_topic (
        topic TEXT PRIMARY KEY NOT NULL,
        device TEXT NOT NULL,
        component TEXT,
        migrating INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS discovery_deleted (
        device TEXT NOT NULL,
        component TEXT NOT NULL,
        PRIMARY KEY (device, component)
    ) WITHOUT ROWID;
    COMMIT;
";

impl Store {
    /// Everything that was kept. A document that makes no sense is passed over: the meter's next
    /// packets make another.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn discovery(&self) -> Result<Kept, StoreError> {
        let read = || {
            let mut kept = Kept::default();
            let mut statement =
                self.connection.prepare("SELECT device, document FROM discovery_device")?;
            let rows =
                statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
            for row in rows {
                let (device, text): (String, String) = row?;
                match Stored::read(&text) {
                    Ok(document) => drop(kept.documents.insert(device, document)),
                    Err(error) => tracing::error!(device, %error, "kept discovery cannot be read"),
                }
            }
            let mut statement = self
                .connection
                .prepare("SELECT topic, device, component, migrating FROM discovery_topic")?;
            let rows = statement.query_map([], |row| {
                let out =
                    Out { device: row.get(1)?, component: row.get(2)?, migrating: row.get(3)? };
                Ok((row.get(0)?, out))
            })?;
            kept.topics = rows.collect::<rusqlite::Result<_>>()?;
            let mut statement =
                self.connection.prepare("SELECT device, component FROM discovery_deleted")?;
            let rows = statement.query_map([], |row| {
                let component: String = row.get(1)?;
                Ok((row.get(0)?, Some(component).filter(|text| !text.is_empty())))
            })?;
            kept.deleted = rows.collect::<rusqlite::Result<_>>()?;
            Ok(kept)
        };
        read().map_err(|source| self.failed(source))
    }

    /// Makes these changes, all or nothing.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn change_discovery(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let path = self.path.clone();
        let mut write = || {
            let transaction = self.connection.transaction()?;
            for change in changes {
                apply(&transaction, change)?;
            }
            transaction.commit()
        };
        write().map_err(|source| StoreError::Statement { path, source })
    }
}

fn apply(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
        transaction.prepare_cached(sql)?.execute(values).map(drop)
    };
    match change {
        Change::Document(device, Some(document)) => run(
            "INSERT OR REPLACE INTO discovery_device VALUES (?1, ?2)",
            params![device, document.text()],
        ),
        Change::Document(device, None) => {
            run("DELETE FROM discovery_device WHERE device = ?1", params![device])
        }
        Change::Topic(topic, Some(out)) => run(
            "INSERT OR REPLACE INTO discovery_topic VALUES (?1, ?2, ?3, ?4)",
            params![topic, out.device, out.component, out.migrating],
        ),
        Change::Topic(topic, None) => {
            run("DELETE FROM discovery_topic WHERE topic = ?1", params![topic])
        }
        Change::Deleted(device, component, deleted) => {
            let component = component.as_deref().unwrap_or_default();
            let sql = if *deleted {
                "INSERT OR REPLACE INTO discovery_deleted VALUES (?1, ?2)"
            } else {
                "DELETE FROM discovery_deleted WHERE device = ?1 AND component = ?2"
            };
            run(sql, params![device, component])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let out = |component: Option<&str>, migrating| Out {
            device: "d".into(),
            component: component.map(str::to_owned),
            migrating,
        };
        let changes = [
            Change::Topic("a".into(), Some(out(None, false))),
            Change::Topic("b".into(), Some(out(Some("c"), true))),
            Change::Topic("gone".into(), Some(out(None, false))),
            Change::Topic("gone".into(), None),
            Change::Deleted("d".into(), None, true),
            Change::Deleted("d".into(), Some("c".into()), true),
            Change::Deleted("e".into(), None, true),
            Change::Deleted("e".into(), None, false),
        ];
        store.change_discovery(&changes).unwrap();
        drop(store);
        let kept = Store::open(dir.path()).unwrap().discovery().unwrap();
        let topics = [("a".into(), out(None, false)), ("b".into(), out(Some("c"), true))];
        assert_eq!(kept.topics, topics.into());
        assert_eq!(kept.deleted, [("d".into(), None), ("d".into(), Some("c".into()))].into());
    }
}
