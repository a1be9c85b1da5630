//! A past without waiting for it: sets of readings put into the journal before the gateway starts.

use std::path::Path;
use std::sync::Arc;

use meterbridge::journal::{self, Journal};
use meterbridge::metrics::Metrics;
use meterbridge::model::{
    Channel, Device, DeviceId, Make, Milli, Model, Quantity, Reading, ReadingSet, Role, Sensor,
    SensorId, SensorType, Timestamp, Unit, Update, Value,
};

use crate::meters::GEM;

/// The sensor of the past: channel 1 of the GEM of [`crate::meters::gem_ch1`].
pub(crate) fn sensor() -> SensorId {
    SensorId::derive(Make::Brultech, GEM, Channel::Ch(1), Quantity::PPlus)
}

/// Writes a counter's readings (Unix seconds, thousandths of Wh) into the journal below `data_dir`, as
/// if the gateway had heard them live, and ended before it made anything of them.
pub(crate) async fn write(data_dir: &Path, readings: &[(i64, i64)]) {
    std::fs::create_dir_all(data_dir).unwrap();
    let metrics = Metrics::default();
    let settings = journal::Settings::default();
    let (journal, writer) = Journal::open(data_dir, settings, metrics.clone()).unwrap();
    journal.cursor("history").unwrap();
    let queue = journal::queue(&metrics);
    let device = Arc::new(device());
    let fill = async {
        for (at, milli) in readings {
            let counter = Reading { sensor: 0, value: Value::Counter(Milli(*milli)) };
            let set = ReadingSet {
                device: Arc::clone(&device),
                at: Timestamp(at * 1000),
                pulses: [None; 4],
                readings: vec![counter],
            };
            queue.push(Update::Readings(Arc::new(set))).await;
        }
        queue.close();
    };
    let (ended, ()) = tokio::join!(writer.run(Arc::clone(&queue)), fill);
    ended.unwrap();
    assert_eq!(metrics.journal_lost.get(), 0);
}

fn device() -> Device {
    let sensor = Sensor {
        id: sensor(),
        channel: Channel::Ch(1),
        quantity: Quantity::PPlus,
        kind: SensorType::Electricity,
        name: "ch1".into(),
        role: Role::Load,
        gauge: Some(Unit::Watt),
        counter: Some(Unit::WattHour),
        constant: None,
        own: None,
    };
    Device {
        id: DeviceId::derive(Make::Brultech, GEM),
        make: Make::Brultech,
        model: Model::Gem,
        serial: GEM.into(),
        name: "house".into(),
        adopted: false,
        new: false,
        sensors: vec![sensor],
        own: None,
    }
}
