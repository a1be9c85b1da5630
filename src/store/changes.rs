//! Changes on their way to disk.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Transaction, params};

use super::MeterRow;
use crate::model::Make;

/// What is to be on disk from now on; of several about the same thing the last one counts.
#[derive(Debug, Default)]
pub struct Changes {
    /// By make and serial number; `None`: it is to go.
    meters: HashMap<(Make, String), Option<MeterRow>>,
    /// What was asked for by request, in the registry's own form; `None`: it is to go.
    records: HashMap<(Make, String), Option<String>>,
    settings: BTreeMap<&'static str, String>,
}

impl Changes {
    /// Nothing is to change.
    pub fn is_empty(&self) -> bool {
        self.meters.is_empty() && self.records.is_empty() && self.settings.is_empty()
    }

    /// Keeps the state of a meter.
    pub fn keep_meter(&mut self, row: MeterRow) {
        self.meters.insert((row.make, row.serial.clone()), Some(row));
    }

    /// Forgets the state of a meter.
    pub fn drop_meter(&mut self, make: Make, serial: &str) {
        self.meters.insert((make, serial.to_owned()), None);
    }

    /// Keeps what the registry has of a meter, or forgets it.
    pub fn record(&mut self, make: Make, serial: &str, record: Option<String>) {
        self.records.insert((make, serial.to_owned()), record);
    }

    /// Keeps a setting of the gateway as a whole.
    pub fn setting(&mut self, key: &'static str, value: String) {
        self.settings.insert(key, value);
    }

    /// Adds what comes later.
    pub fn extend(&mut self, later: Changes) {
        self.meters.extend(later.meters);
        self.records.extend(later.records);
        self.settings.extend(later.settings);
    }

    pub(super) fn write(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        for ((make, serial), row) in &self.meters {
            match row {
                Some(row) => transaction.prepare_cached(KEEP_METER)?.execute(params![
                    make.as_str(),
                    serial,
                    row.name,
                    row.state
                ])?,
                None => transaction
                    .prepare_cached("DELETE FROM meter WHERE make = ?1 AND serial = ?2")?
                    .execute(params![make.as_str(), serial])?,
            };
        }
        for ((make, serial), record) in &self.records {
            match record {
                Some(record) => transaction.prepare_cached(KEEP_RECORD)?.execute(params![
                    make.as_str(),
                    serial,
                    record
                ])?,
                None => transaction
                    .prepare_cached("DELETE FROM registry WHERE make = ?1 AND serial = ?2")?
                    .execute(params![make.as_str(), serial])?,
            };
        }
        for (key, value) in &self.settings {
            transaction.prepare_cached(KEEP_SETTING)?.execute(params![key, value])?;
        }
        Ok(())
    }
}

const KEEP_METER: &str = "INSERT INTO meter (make, serial, name, state) VALUES (?1, ?2, ?3, ?4)
     ON CONFLICT (make, serial) DO UPDATE SET name = ?3, state = ?4";
const KEEP_RECORD: &str = "INSERT INTO registry (make, serial, record) VALUES (?1, ?2, ?3)
     ON CONFLICT (make, serial) DO UPDATE SET record = ?3";
const KEEP_SETTING: &str = "INSERT INTO setting (key, value) VALUES (?1, ?2)
     ON CONFLICT (key) DO UPDATE SET value = ?2";
