//! The recorder with an explicit clock, on a file of its own.

mod flows;
mod kills;
mod queries;
mod readers;
mod run;
mod taking;

use std::sync::Arc;

use meter_protocols::flukso::tmpo::Block;
use tempfile::TempDir;

use super::recorder::{CURSOR, Recorder};
use super::{BlockKey, History, Published, Settings, Shared};
use crate::journal::{self, Journal, Record};
use crate::metrics::Metrics;
use crate::model::{
    Channel, Device, DeviceId, Make, Milli, Model, OwnSection, Quantity, Reading, ReadingSet,
    Recorded, Role, Sensor, SensorId, SensorType, Timestamp, Unit, Value,
};

/// A history on a disk of its own, with the records that its journal would have.
struct Bench {
    dir: TempDir,
    history: History,
    recorder: Recorder,
    journal: Vec<Record>,
    grace: i64,
}

impl Bench {
    fn new(grace: i64) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        // The journal's cursor is moved by the history, so it has to be there.
        let (journal, _writer) =
            Journal::open(dir.path(), journal::Settings::default(), Metrics::default()).unwrap();
        journal.cursor(CURSOR).unwrap();
        let (history, recorder) = open(&dir, 0, grace);
        Bench { dir, history, recorder, journal: Vec::new(), grace }
    }

    /// A reading, as the journal's next record.
    fn push(
        &mut self,
        device: &Arc<Device>,
        sensor: u16,
        at: i64,
        milli: i64,
        live: bool,
        now: i64,
    ) {
        let recorded = device.sensors[usize::from(sensor)].recorded().unwrap();
        let value = match recorded {
            Recorded::Counter => Value::Counter(Milli(milli)),
            Recorded::Gauge => Value::Gauge(Milli(milli)),
        };
        let set = ReadingSet {
            device: Arc::clone(device),
            at: Timestamp(at * 1000),
            pulses: [None; 4],
            readings: vec![Reading { sensor, value }],
        };
        let record = Record { seq: self.journal.len() as u64 + 1, live, set: Arc::new(set) };
        self.journal.push(record.clone());
        self.recorder.push(&[record], now).unwrap();
    }

    /// Ticks until nothing is left to do.
    fn tick(&mut self, now: i64) -> Vec<Published> {
        let mut all = Vec::new();
        loop {
            let (mut published, more) = self.recorder.tick(now).unwrap();
            all.append(&mut published);
            if !more {
                return all;
            }
        }
    }

    /// Loses everything in memory, and begins again from disk and journal.
    fn kill(&mut self, now: i64) {
        let connection = journal::database::open(self.dir.path()).unwrap();
        let done: i64 = connection
            .query_row("SELECT done FROM journal_cursor WHERE name = ?1", [CURSOR], |row| {
                row.get(0)
            })
            .unwrap();
        let end = self.journal.len() as u64;
        let (history, mut recorder) = open(&self.dir, done as u64, self.grace);
        recorder.set_replay(end);
        recorder.push(&self.journal[done as usize..], now).unwrap();
        (self.history, self.recorder) = (history, recorder);
    }

    fn shared(&self) -> &Shared {
        &self.history.shared
    }
}

fn open(dir: &TempDir, position: u64, grace: i64) -> (History, Recorder) {
    let settings = Settings { grace, ..Settings::default() };
    let (history, _task) = History::open(dir.path(), settings, Metrics::default()).unwrap();
    let recorder = Recorder::new(Arc::clone(&history.shared), position, position, grace);
    (history, recorder)
}

/// A meter whose sensors have sections of their own.
fn device(sensors: Vec<Sensor>) -> Arc<Device> {
    Arc::new(Device {
        id: DeviceId::from([7; 16]),
        make: Make::Fluksometer,
        model: Model::Flm02,
        serial: "0123456789".into(),
        name: "flm".into(),
        adopted: false,
        new: false,
        sensors,
        own: None,
    })
}

fn sensor(id: SensorId, record: Recorded, rid: u32, text: String) -> Sensor {
    Sensor {
        id,
        channel: Channel::Ch(1),
        quantity: Quantity::PPlus,
        kind: SensorType::Electricity,
        name: "main".into(),
        role: Role::Load,
        gauge: Some(Unit::Watt),
        counter: Some(Unit::WattHour),
        constant: None,
        own: Some(Arc::new(OwnSection { rid, record: Some(record), text })),
    }
}

fn counter(id: u8) -> Sensor {
    sensor(SensorId::from([id; 16]), Recorded::Counter, 0, "{}".to_owned())
}

fn points(block: &[u8]) -> Vec<(i64, i64)> {
    let block = Block::from_gzip(block).unwrap();
    block.points().iter().map(|point| (point.at, point.milli)).collect()
}

fn series(history: &History, sensor: SensorId) -> Vec<(i64, i64)> {
    let series = history.series(sensor, None, 0, i64::MAX / 4).unwrap();
    series.points.iter().map(|(at, value)| (*at, value.0)).collect()
}

fn key(sensor: SensorId, level: u8, bid: i64) -> BlockKey {
    BlockKey { sensor, rid: 0, level, bid }
}

/// The begin of a window of the highest level.
const BEGIN: i64 = 1_405_091_840;
