//! Readings of a meter come out as the history blocks that a Fluksometer would publish.

use meter_protocols::flukso::tmpo::{self, Block};
use meterbridge::history::{History, Settings, Tail};
use meterbridge::journal::database;
use meterbridge::metrics::Metrics;
use meterbridge::model::SensorId;
use serde_json::Value as Json;

use crate::meters::{bytes, gem_ch1, reading, sensor_id};
use crate::support::{Site, get};

/// A meter, and how long after its window a block is closed.
fn house(grace: &str) -> String {
    format!(
        "
  - name: house
    kind: brultech
    link: {{listen: 127.0.0.1:0}}
history: {{grace: {grace}}}
"
    )
}

/// Puts the readings in the journal one second behind the other, from `begin` on.
fn move_back(site: &Site, begin: i64) {
    let file = rusqlite::Connection::open(database::file(&site.path().join("data"))).unwrap();
    let sql = "UPDATE journal SET at = (?1 + seq - (SELECT min(seq) FROM journal)) * 1000";
    file.execute(sql, [begin]).unwrap();
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn now() -> i64 {
    meterbridge::model::Timestamp::now().seconds()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_is_published_as_a_block_once_its_window_is_over() {
    let site = Site::new(&house("60s"));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut meter = gateway.dial().await;
    for n in 1..=20 {
        meter.send(&bytes(&gem_ch1(100 + n, 36_123 * u64::from(n), 0))).await;
    }
    let id = sensor_id("01100603", "ch1", "pplus");
    let read = subscriber.on(&format!("/sensor/{id}/counter"), 20).await;
    let read: Vec<i64> = read.iter().map(|payload| reading(payload).1).collect();
    let device = crate::meters::device_id("01100603");
    let sections = subscriber.last(&format!("/device/{device}/config/sensor")).unwrap();
    gateway.stop().await;

    let begin = tmpo::window(8, now()) - 1024;
    move_back(&site, begin + 5);
    site.configure(&house("1s"));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let topic = format!("/sensor/{id}/tmpo/0/8/{begin}/gz");
    let payload = subscriber.on(&topic, 1).await;
    let gzip = unhex(&payload[0]);
    let block = Block::from_gzip(&gzip).unwrap();
    let expected: Vec<(i64, i64)> =
        read.iter().zip(begin + 5..).map(|(milli, at)| (at, *milli)).collect();
    let found = block.points().iter().map(|point| (point.at, point.milli));
    assert_eq!(found.collect::<Vec<_>>(), expected);
    // The section is the document's, less what is about publishing.
    let sections: Json = serde_json::from_str(&sections).unwrap();
    let mut sections = sections.as_object().unwrap().values();
    let mut section = sections.find(|one| one["id"] == *id).unwrap().clone();
    section.as_object_mut().unwrap().shift_remove("enable");
    assert_eq!(block.config(), section.to_string());
    assert!(gateway.metric("meterbridge_history_readings_total").await >= 20);
    let page = get(gateway.web(), "/metrics").await;
    assert!(page.contains("meterbridge_history_failures_total 0"), "{page}");
    gateway.stop().await;

    let (history, _task) =
        History::open(&site.path().join("data"), Settings::default(), Metrics::default()).unwrap();
    let sensor: SensorId = id.parse().unwrap();
    let keys = history.sync(sensor, Tail::default()).unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert_eq!(history.block(&keys[0]).unwrap(), Some(gzip));
}
