//! Readings as a GEM's channels have them, and their way through journal and history.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use meter_protocols::flukso::tmpo::Point;
use meterbridge::broker::{Broker, BrokerSettings};
use meterbridge::history::{History, Settings};
use meterbridge::journal::{self, Journal};
use meterbridge::metrics::Metrics;
use meterbridge::model::{
    Channel, Device, DeviceId, Make, Milli, Model, Quantity, Reading, ReadingSet, Role, Sensor,
    SensorId, SensorType, Timestamp, Unit, Update, Value,
};

/// What a channel measures.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A house: some hundred watts that waver, and kilowatts now and then.
    Mains,
    /// Something that runs and stops.
    Fridge,
    /// A few watts, always.
    Standby,
    /// Nothing.
    Unused,
    /// The voltage, in tenths.
    Voltage,
}

impl Kind {
    pub(crate) const ALL: [Kind; 5] =
        [Kind::Mains, Kind::Fridge, Kind::Standby, Kind::Unused, Kind::Voltage];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Mains => "mains",
            Kind::Fridge => "fridge",
            Kind::Standby => "standby",
            Kind::Unused => "unused",
            Kind::Voltage => "voltage",
        }
    }

    /// A reading a second. Counters count whole watt-seconds, as a GEM does, and are told in Wh to
    /// the thousandth.
    pub(crate) fn points(self, begin: i64, seconds: i64) -> impl Iterator<Item = Point> {
        let mut random = fastrand::Rng::with_seed(self as u64 + 7);
        let (mut joules, mut base, mut wave, mut volts) = (3_600_000_000_u64, 300.0_f64, 0.0, 2300);
        (0..seconds).map(move |second| {
            let power = match self {
                Kind::Mains => {
                    if random.u32(0..600) == 0 {
                        base = [180.0, 300.0, 450.0, 2300.0, 3900.0][random.usize(0..5)];
                    }
                    wave = wave * 0.9 + (random.f64() - 0.5) * base * 0.02;
                    base + wave
                }
                Kind::Fridge if second % 2400 < 800 => 92.0 + random.f64() * 3.0,
                Kind::Fridge | Kind::Unused => 0.0,
                Kind::Standby => 4.0 + random.f64(),
                Kind::Voltage => {
                    volts += random.i64(-2..3) * i64::from(random.u32(0..3) == 0);
                    volts = volts.clamp(2230, 2380);
                    0.0
                }
            };
            joules += power.max(0.0) as u64;
            let milli = match self {
                Kind::Voltage => volts * 100,
                _ => ((joules + 1) * 10 / 36) as i64,
            };
            Point { at: begin + second, milli }
        })
    }
}

/// Records of `meters` meters with 38 sensors each through the journal into blocks; answers the
/// readings, the seconds it took, and the bytes that all blocks take.
pub(crate) fn ingest(dir: &Path, meters: usize, seconds: i64) -> (u64, f64, u64) {
    let metrics = Metrics::default();
    let (journal, writer) =
        Journal::open(dir, journal::Settings::default(), metrics.clone()).expect("a new journal");
    // The history's own cursor: what is written now is there when it begins.
    journal.cursor("history").expect("a new cursor");
    let (history, task) =
        History::open(dir, Settings::default(), metrics.clone()).expect("a new history");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let begin = Timestamp::now().seconds() - seconds - 60;
    let updates = journal::queue(&metrics);
    runtime.block_on(async {
        let feed = async {
            let mut houses: Vec<House> =
                (0..meters).map(|meter| House::new(meter, begin, seconds)).collect();
            for _ in 0..seconds {
                for house in &mut houses {
                    updates.push(Update::Readings(house.next())).await;
                }
            }
            updates.close();
        };
        let (written, ()) = tokio::join!(writer.run(Arc::clone(&updates)), feed);
        written.expect("the journal is written");
    });
    let all = meters as u64 * seconds as u64 * SENSORS as u64;
    let start = Instant::now();
    let took = runtime.block_on(async {
        let listen = vec![([127, 0, 0, 1], 0).into()];
        let settings = BrokerSettings { listen, ..BrokerSettings::default() };
        let broker = Broker::bind(settings).await.expect("a broker that nobody uses");
        let link = broker.link();
        let counted = metrics.clone();
        let watch = async {
            while counted.history_readings.get() < all {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            start.elapsed().as_secs_f64()
        };
        // The journal's writer is gone, so the task ends by itself once it has read everything.
        let (ran, took) = tokio::join!(task.run(journal, link), watch);
        ran.expect("the history is written");
        took
    });
    drop(history);
    (all, took, metrics.history_bytes.get())
}

/// A meter with its channels.
struct House {
    device: Arc<Device>,
    channels: Vec<Box<dyn Iterator<Item = Point>>>,
}

impl House {
    fn new(meter: usize, begin: i64, seconds: i64) -> House {
        let serial = format!("{meter:08}");
        let mut sensors: Vec<Sensor> = (1..=SENSORS as u8).map(|n| sensor(&serial, n)).collect();
        if let Some(voltage) = sensors.last_mut() {
            (voltage.quantity, voltage.counter) = (Quantity::Vrms, None);
            voltage.gauge = Some(Unit::Volt);
        }
        let kinds = (0..SENSORS).map(|n| match n {
            0 => Kind::Mains,
            1..=9 => Kind::Fridge,
            10..=24 => Kind::Standby,
            n if n + 1 == SENSORS => Kind::Voltage,
            _ => Kind::Unused,
        });
        let channels: Vec<Box<dyn Iterator<Item = Point>>> = kinds
            .map(|kind| Box::new(kind.points(begin, seconds)) as Box<dyn Iterator<Item = Point>>)
            .collect();
        let device = Device {
            id: DeviceId::derive(Make::Brultech, &serial),
            make: Make::Brultech,
            model: Model::Gem,
            serial: serial.into(),
            name: format!("m{meter}").into(),
            adopted: false,
            new: false,
            sensors,
            own: None,
        };
        House { device: Arc::new(device), channels }
    }

    fn next(&mut self) -> Arc<ReadingSet> {
        let mut at = 0;
        let readings = self.channels.iter_mut().enumerate().map(|(place, channel)| {
            let point = channel.next().expect("as many as were asked for");
            at = point.at;
            let value = match place + 1 {
                SENSORS => Value::Gauge(Milli(point.milli)),
                _ => Value::Counter(Milli(point.milli)),
            };
            Reading { sensor: place as u16, value }
        });
        let readings = readings.collect();
        let (device, pulses) = (Arc::clone(&self.device), [None; 4]);
        Arc::new(ReadingSet { device, at: Timestamp(at * 1000), pulses, readings })
    }
}

fn sensor(serial: &str, n: u8) -> Sensor {
    let (channel, quantity) = (Channel::Ch(n), Quantity::PPlus);
    Sensor {
        id: SensorId::derive(Make::Brultech, serial, channel, quantity),
        channel,
        quantity,
        kind: SensorType::Electricity,
        name: channel.to_string().into(),
        role: Role::Load,
        gauge: Some(Unit::Watt),
        counter: Some(Unit::WattHour),
        constant: None,
        own: None,
    }
}

const SENSORS: usize = 38;
