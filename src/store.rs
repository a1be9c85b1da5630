//! The directory `data_dir` and its SQLite database: what outlives the process.
//!
//! Write-ahead logging with `synchronous = NORMAL`: what is committed survives the end of the
//! process, however sudden; only a power cut can take back the last commits.

mod changes;
mod discovery;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};

use crate::model::Make;

pub use self::changes::Changes;

/// The version of the tables below; a newer one on disk is refused. 2 has `registry` and `setting`
/// beside the `meter` of 1, which stays as it is.
const SCHEMA_VERSION: i64 = 2;

/// The open database.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

/// What is kept of one meter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterRow {
    /// The maker's family.
    pub make: Make,
    /// The meter's own serial number.
    pub serial: String,
    /// The name it had last.
    pub name: String,
    /// The adapter's counter state, in the adapter's own form.
    pub state: Vec<u8>,
}

/// The database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory is not there and cannot be made.
    #[error("data_dir {path} cannot be used; it must be there or be made, and be writable")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error(
        "data_dir {path} is in use by another meterbridge: two would count the same meters; stop \
         that one, or give this one a data_dir of its own"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The file cannot be opened or its tables not be made.
    #[error(
        "the database {path} cannot be used; it and its directory must be readable and writable"
    )]
    Open {
        /// The database file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file was written by a later version of this program.
    #[error(
        "the database {path} has schema version {found}, this program knows {SCHEMA_VERSION}: \
         it was written by a newer meterbridge; use that one, or another data_dir"
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The version found.
        found: i64,
    },
    /// A statement failed.
    #[error("the database {path} failed")]
    Statement {
        /// The database file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

/// The right of this process alone to use a directory, for as long as it lives.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the directory, creating it when it is not there.
    pub fn take(data_dir: &Path) -> Result<DirectoryLock, StoreError> {
        let directory = |source| StoreError::Directory { path: data_dir.to_owned(), source };
        std::fs::create_dir_all(data_dir).map_err(directory)?;
        let file = File::create(Self::file(data_dir)).map_err(directory)?;
        match file.try_lock() {
            Ok(()) => Ok(DirectoryLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: data_dir.to_owned() }),
            Err(TryLockError::Error(source)) => Err(directory(source)),
        }
    }
}

impl DirectoryLock {
    /// The file that is locked.
    pub fn file(data_dir: &Path) -> PathBuf {
        data_dir.join("lock")
    }

    /// Whether a process has the directory. Makes and changes nothing.
    pub fn is_held(data_dir: &Path) -> bool {
        let Ok(file) = File::open(Self::file(data_dir)) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}

impl Store {
    /// Opens the database below `data_dir`, creating both when they are not there.
    pub fn open(data_dir: &Path) -> Result<Store, StoreError> {
        std::fs::create_dir_all(data_dir)
            .map_err(|source| StoreError::Directory { path: data_dir.to_owned(), source })?;
        let path = data_dir.join("meterbridge.db");
        let open = |source| StoreError::Open { path: path.clone(), source };
        let connection = Connection::open(&path).map_err(open)?;
        let store = Store { connection, path: path.clone() };
        store.prepare().map_err(open)?;
        let found = store.version().map_err(open)?;
        if found > SCHEMA_VERSION {
            return Err(StoreError::Newer { path, found });
        }
        store.connection.execute_batch(TABLES).map_err(open)?;
        store.connection.execute_batch(discovery::TABLES).map_err(open)?;
        Ok(store)
    }

    fn prepare(&self) -> rusqlite::Result<()> {
        self.connection.busy_timeout(std::time::Duration::from_secs(5))?;
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        // 256 KiB: the tables are small, and memory is what a Raspberry Pi is short of.
        self.connection.pragma_update(None, "cache_size", -256)
    }

    fn version(&self) -> rusqlite::Result<i64> {
        self.connection.query_row("PRAGMA user_version", [], |row| row.get(0))
    }

    /// Everything kept of the meters of `make`.
    pub fn meters(&self, make: Make) -> Result<Vec<MeterRow>, StoreError> {
        let read = || {
            let mut statement = self
                .connection
                .prepare("SELECT serial, name, state FROM meter WHERE make = ?1 ORDER BY serial")?;
            let rows = statement.query_map([make.as_str()], |row| {
                Ok(MeterRow { make, serial: row.get(0)?, name: row.get(1)?, state: row.get(2)? })
            })?;
            rows.collect::<rusqlite::Result<Vec<MeterRow>>>()
        };
        read().map_err(|source| self.failed(source))
    }

    /// What the registry has of the meters of `make`, by serial number.
    pub fn records(&self, make: Make) -> Result<Vec<(String, String)>, StoreError> {
        let read = || {
            let mut statement = self
                .connection
                .prepare("SELECT serial, record FROM registry WHERE make = ?1 ORDER BY serial")?;
            let rows =
                statement.query_map([make.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<(String, String)>>>()
        };
        read().map_err(|source| self.failed(source))
    }

    /// A setting of the gateway as a whole, if there is one.
    pub fn setting(&self, key: &str) -> Result<Option<String>, StoreError> {
        let read =
            self.connection
                .query_row("SELECT value FROM setting WHERE key = ?1", [key], |row| row.get(0));
        read.optional().map_err(|source| self.failed(source))
    }

    /// Makes these changes, all or nothing.
    pub fn keep(&mut self, changes: &Changes) -> Result<(), StoreError> {
        let path = self.path.clone();
        let mut write = || {
            let transaction = self.connection.transaction()?;
            changes.write(&transaction)?;
            transaction.commit()
        };
        write().map_err(|source| StoreError::Statement { path, source })
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Statement { path: self.path.clone(), source }
    }
}

const TABLES: &str = "
    BEGIN;
    CREATE TABLE IF NOT EXISTS meter (
        make TEXT NOT NULL,
        serial TEXT NOT NULL,
        name TEXT NOT NULL,
        state BLOB NOT NULL,
        PRIMARY KEY (make, serial)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS registry (
        make TEXT NOT NULL,
        serial TEXT NOT NULL,
        record TEXT NOT NULL,
        PRIMARY KEY (make, serial)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS setting (
        key TEXT NOT NULL PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID;
    PRAGMA user_version = 2;
    COMMIT;
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_meters_over_a_restart_and_refuses_a_newer_database() {
        let dir = tempfile::tempdir().unwrap();
        let row = |state: u8| MeterRow {
            make: Make::Brultech,
            serial: "01100603".into(),
            name: "house".into(),
            state: vec![state],
        };
        let keep = |state| {
            let mut changes = Changes::default();
            changes.keep_meter(row(state));
            changes
        };
        let mut store = Store::open(dir.path()).unwrap();
        store.keep(&keep(1)).unwrap();
        store.keep(&keep(2)).unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.meters(Make::Brultech).unwrap(), [row(2)]);
        store.connection.pragma_update(None, "user_version", 99).unwrap();
        drop(store);
        let refusal = Store::open(dir.path()).unwrap_err().to_string();
        assert!(refusal.contains("schema version 99"), "{refusal}");
    }

    #[test]
    fn the_registry_is_kept_beside_the_meters_and_the_last_change_counts() {
        let dir = tempfile::tempdir().unwrap();
        let mut changes = Changes::default();
        changes.record(Make::Brultech, "1", Some("{}".into()));
        changes.record(Make::Brultech, "2", Some("{}".into()));
        changes.setting("permit", "false".into());
        let mut later = Changes::default();
        later.record(Make::Brultech, "2", None);
        later.drop_meter(Make::Brultech, "2");
        changes.extend(later);
        Store::open(dir.path()).unwrap().keep(&changes).unwrap();
        let store = Store::open(dir.path()).unwrap();
        let records = store.records(Make::Brultech).unwrap();
        assert_eq!(records, [("1".to_owned(), "{}".to_owned())]);
        assert_eq!(store.setting("permit").unwrap().as_deref(), Some("false"));
        assert_eq!(store.setting("other").unwrap(), None);
    }

    #[test]
    fn tables_of_the_first_version_are_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let old = Connection::open(dir.path().join("meterbridge.db")).unwrap();
        old.execute_batch(
            "CREATE TABLE meter (make TEXT NOT NULL, serial TEXT NOT NULL, name TEXT NOT NULL,
             state BLOB NOT NULL, PRIMARY KEY (make, serial)) WITHOUT ROWID;
             INSERT INTO meter VALUES ('brultech', '01100603', 'house', x'01');
             PRAGMA user_version = 1;",
        )
        .unwrap();
        drop(old);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.meters(Make::Brultech).unwrap().len(), 1);
        assert_eq!(store.records(Make::Brultech).unwrap(), []);
        assert_eq!(store.version().unwrap(), SCHEMA_VERSION);
    }

    #[test]
    fn a_directory_has_one_user() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirectoryLock::take(dir.path()).unwrap();
        let refusal = DirectoryLock::take(dir.path()).unwrap_err().to_string();
        assert!(refusal.contains("in use by another"), "{refusal}");
        drop(lock);
        DirectoryLock::take(dir.path()).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let refusal = Store::open(&file.join("data")).unwrap_err().to_string();
        assert!(refusal.contains("file/data"), "{refusal}");
    }
}
