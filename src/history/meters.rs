//! The meters whose readings are in the history, as they were heard last: what a sensor is can be told
//! also before its meter is heard again. One row a meter, written with the step that its readings are in.

use std::collections::HashMap;
use std::sync::Arc;

use meter_protocols::flukso::tmpo::Block;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::query::View;
use super::{History, HistoryError};
use crate::model::{Device, DeviceId, Sensor, SensorId};

/// The meters in memory, and what is not on disk yet.
#[derive(Debug, Default)]
pub(super) struct Meters {
    known: HashMap<DeviceId, Arc<Device>>,
    unwritten: HashMap<DeviceId, Arc<Device>>,
}

impl History {
    /// A meter whose readings are recorded, as it was heard last, before the start if need be.
    pub fn meter(&self, id: DeviceId) -> Option<Arc<Device>> {
        self.shared.meters.lock().known.get(&id).map(Arc::clone)
    }

    /// The meter that has or had this sensor, as it was heard last, and the sensor's place in it.
    pub fn meter_of(&self, id: SensorId) -> Option<(Arc<Device>, usize)> {
        let meters = self.shared.meters.lock();
        let is_it = |sensor: &Sensor| sensor.id == id;
        meters.known.values().find_map(|device| {
            let place = device.sensors.iter().position(is_it)?;
            Some((Arc::clone(device), place))
        })
    }
}

impl History {
    /// A sensor's section in the newest block of its newest source, as JSON text: what there is where no
    /// meter has the sensor any more. Blocking.
    ///
    /// # Errors
    /// When the file fails.
    pub fn section(&self, sensor: SensorId) -> Result<Option<String>, HistoryError> {
        let Some(rid) = self.rids(sensor)?.pop() else { return Ok(None) };
        let open = |open: &super::Open| {
            let blocks = open.sources.get(&(sensor, rid))?;
            blocks.last().map(|block| block.config.to_string())
        };
        let stored = |view: &View<'_>| {
            let newest = view.listed(Some(rid))?.into_iter().max_by_key(|(_, place)| place.begin);
            let Some((_, place)) = newest else { return Ok(None) };
            let block = Block::from_gzip(&view.body(place.id)?).ok();
            Ok(block.map(|block| block.config().to_owned()))
        };
        let (stored, open) = self.view(sensor, stored, open)?;
        Ok(open.or(stored))
    }
}

impl Meters {
    /// What is on disk. A file of before there was such a table has descriptions in the journal's.
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Meters> {
        let mut meters = Meters::default();
        let ours = "SELECT description FROM history_meter ORDER BY id DESC LIMIT ?1";
        for device in descriptions(connection, ours)? {
            meters.known.insert(device.id, Arc::new(device));
        }
        let there = "SELECT 1 FROM sqlite_master WHERE name = 'journal_device'";
        let there: Option<i64> = connection.query_row(there, [], |row| row.get(0)).optional()?;
        if there.is_some() {
            let theirs = "SELECT description FROM journal_device ORDER BY id DESC LIMIT ?1";
            for device in descriptions(connection, theirs)? {
                if meters.known.len() < MOST && !meters.known.contains_key(&device.id) {
                    let device = Arc::new(device);
                    meters.unwritten.insert(device.id, Arc::clone(&device));
                    meters.known.insert(device.id, device);
                }
            }
        }
        Ok(meters)
    }

    /// A meter as it says now that it is.
    pub(super) fn note(&mut self, device: &Arc<Device>) {
        let known = self.known.get(&device.id);
        let is_new = known.is_none();
        if known.is_some_and(|known| known == device) || (is_new && self.known.len() >= MOST) {
            return;
        }
        self.known.insert(device.id, Arc::clone(device));
        self.unwritten.insert(device.id, Arc::clone(device));
    }

    /// What is to be written with the next step.
    pub(super) fn unwritten(&self) -> Vec<Arc<Device>> {
        self.unwritten.values().map(Arc::clone).collect()
    }

    /// These are on disk; what changed in the meantime is not.
    pub(super) fn written(&mut self, devices: &[Arc<Device>]) {
        for device in devices {
            if self.unwritten.get(&device.id).is_some_and(|one| Arc::ptr_eq(one, device)) {
                self.unwritten.remove(&device.id);
            }
        }
    }
}

/// Puts meters into their rows.
pub(super) fn write(
    transaction: &Transaction<'_>,
    devices: &[Arc<Device>],
) -> rusqlite::Result<()> {
    let mut put = transaction.prepare_cached(
        "INSERT INTO history_meter (did, description) VALUES (?1, ?2)
         ON CONFLICT (did) DO UPDATE SET description = ?2",
    )?;
    for device in devices {
        let description = serde_json::to_string(&**device)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        put.execute(params![device.id.to_string(), description])?;
    }
    Ok(())
}

/// Those that can be read: another version may have written more than this one knows.
fn descriptions(connection: &Connection, select: &str) -> rusqlite::Result<Vec<Device>> {
    let mut select = connection.prepare(select)?;
    let rows = select.query_map([MOST as i64], |row| row.get::<_, String>(0))?;
    let devices = rows.filter_map(|text| match text {
        Ok(text) => serde_json::from_str(&text).ok().map(Ok),
        Err(error) => Some(Err(error)),
    });
    devices.collect()
}

/// More meters than that are not remembered.
const MOST: usize = 4096;
