//! The journal: sets a second into it and out of it, and what one reading takes on disk.
//!
//! `cargo bench --bench journal` writes to a directory below the target directory, so that the disk
//! is a real one, through the queue and the task that the gateway has; then it reads everything
//! back as a reader would and lets it go.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use meterbridge::bus::Queue;
use meterbridge::journal::{Commit, Journal, Settings, database, queue};
use meterbridge::metrics::Metrics;
use meterbridge::model::{
    Channel, Device, DeviceId, Make, Milli, Model, Quantity, Reading, ReadingSet, Role, Sensor,
    SensorId, SensorType, Timestamp, Update, Value,
};

/// Meters that take turns.
const METERS: usize = 100;

fn main() {
    run("group", Commit::Group, 200_000);
    run("always", Commit::Always, 20_000);
}

fn run(name: &str, commit: Commit, sets: usize) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let metrics = Metrics::default();
    let settings = Settings { commit, ..Settings::default() };
    let (journal, writer) =
        Journal::open(dir.path(), settings, metrics.clone()).expect("a new journal");
    journal.cursor("bench").expect("a new cursor");
    let mut meters: Vec<Meter> = (0..METERS).map(Meter::new).collect();
    let readings_a_set = meters[0].next(0).readings.len();
    let said: Vec<Arc<ReadingSet>> =
        (0..sets).map(|n| meters[n % METERS].next(n as i64 * 10)).collect();

    let updates = queue(&metrics);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    let begin = Instant::now();
    runtime.block_on(async {
        let (written, ()) = tokio::join!(writer.run(Arc::clone(&updates)), feed(&updates, &said));
        written.expect("the journal is written");
    });
    let written = begin.elapsed().as_secs_f64();
    let readings = (sets * readings_a_set) as f64;
    let size = file_size(dir.path());

    let begin = Instant::now();
    let (mut done, mut count) = (0, 0);
    loop {
        let records = journal.read(done, 1000).expect("what was written");
        let Some(last) = records.last() else { break };
        done = last.seq;
        count += records.len();
        journal.advance("bench", done).expect("a cursor");
    }
    let read = begin.elapsed().as_secs_f64();
    assert_eq!((count, metrics.journal_lost.get()), (sets, 0), "nothing is lost");
    println!(
        "{name}: {sets} sets of {readings_a_set} readings, {METERS} meters\n  \
         in: {:.0} sets/s = {:.2} million readings/s, {} commits\n  \
         on disk: {:.1} MB = {:.2} bytes a reading\n  \
         out: {:.0} sets/s = {:.2} million readings/s",
        sets as f64 / written,
        readings / written / 1e6,
        metrics.journal_commits.get(),
        size as f64 / 1e6,
        size as f64 / readings,
        sets as f64 / read,
        readings / read / 1e6,
    );
}

async fn feed(updates: &Queue<Update>, said: &[Arc<ReadingSet>]) {
    for set in said {
        updates.push(Update::Readings(Arc::clone(set))).await;
    }
    updates.close();
}

fn file_size(dir: &Path) -> u64 {
    let connection = database::open(dir).expect("the file");
    // What waits in the write-ahead log belongs to the file.
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("a checkpoint");
    std::fs::metadata(database::file(dir)).expect("the file").len()
}

/// A GEM with 32 clamps, four pulse inputs and eight probes.
struct Meter {
    device: Arc<Device>,
    random: fastrand::Rng,
    watts: Vec<i64>,
    totals: Vec<i64>,
}

impl Meter {
    fn new(n: usize) -> Meter {
        let serial = format!("{:08}", 1_100_000 + n);
        let mut random = fastrand::Rng::with_seed(n as u64);
        let mut sensors = Vec::new();
        for clamp in 1..=32 {
            sensors.push(sensor(&serial, Channel::Ch(clamp), Quantity::PPlus));
            sensors.push(sensor(&serial, Channel::Ch(clamp), Quantity::Irms));
        }
        sensors.extend((1..=4).map(|n| sensor(&serial, Channel::Pulse(n), Quantity::Pulse)));
        sensors.extend((1..=8).map(|n| sensor(&serial, Channel::T(n), Quantity::Temperature)));
        sensors.push(sensor(&serial, Channel::Line, Quantity::Vrms));
        let watts = sensors.iter().map(|_| random.i64(0..2_000_000)).collect();
        let totals = sensors.iter().map(|_| random.i64(0..20_000_000_000)).collect();
        let device = Arc::new(Device {
            id: DeviceId::derive(Make::Brultech, &serial),
            make: Make::Brultech,
            model: Model::Gem,
            name: format!("gem-{serial}").into(),
            serial: serial.into(),
            adopted: true,
            new: false,
            sensors,
            own: None,
        });
        Meter { device, random, watts, totals }
    }

    fn next(&mut self, at: i64) -> Arc<ReadingSet> {
        let mut readings = Vec::new();
        for (place, sensor) in self.device.sensors.iter().enumerate() {
            let reading = |value| Reading { sensor: place as u16, value };
            self.watts[place] = (self.watts[place] + self.random.i64(-20_000..20_000)).max(0);
            self.totals[place] += self.watts[place] / 3600;
            if sensor.counter.is_some() {
                readings.push(reading(Value::Counter(Milli(self.totals[place]))));
            }
            if sensor.gauge.is_some() {
                let value = match sensor.quantity {
                    Quantity::PPlus => self.watts[place],
                    Quantity::Vrms => 230_000 + self.watts[place] / 1000,
                    _ => self.watts[place] / 100,
                };
                readings.push(reading(Value::Gauge(Milli(value))));
            }
        }
        let pulses = [Some(12_345), Some(0), None, None];
        let (device, at) = (Arc::clone(&self.device), Timestamp(1_790_000_000_000 + at));
        Arc::new(ReadingSet { device, at, pulses, readings })
    }
}

fn sensor(serial: &str, channel: Channel, quantity: Quantity) -> Sensor {
    Sensor {
        id: SensorId::derive(Make::Brultech, serial, channel, quantity),
        channel,
        quantity,
        kind: SensorType::Electricity,
        name: channel.to_string().into(),
        role: Role::Load,
        gauge: quantity.gauge_unit(),
        counter: quantity.counter_unit(),
        constant: None,
        own: None,
    }
}
