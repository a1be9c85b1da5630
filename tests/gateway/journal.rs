//! The journal behind the gateway's doors: what was published is there, over a stop, a disk that
//! fails, and a kill -9.

mod kill;

use meterbridge::journal::{Journal, Record, Settings, database};
use meterbridge::metrics::Metrics;
use meterbridge::model::Value;
use serde_json::Value as Json;

use crate::meters::{bytes, decimal, gem_ch1, sensor_id};
use crate::subscriber::Subscriber;
use crate::support::{HOUSE, Site, get};

/// Who reads in the place of histories and outputs.
const READER: &str = "test";

/// The journal of a site whose gateway does not run, and how far the reader is.
fn open(site: &Site) -> (Journal, u64) {
    let data_dir = site.path().join("data");
    let (journal, _writer) =
        Journal::open(&data_dir, Settings::default(), Metrics::default()).unwrap();
    let done = journal.cursor(READER).unwrap();
    (journal, done)
}

/// Everything after `done`.
fn records(journal: &Journal, done: u64) -> Vec<Record> {
    journal.read(done, usize::MAX).unwrap()
}

fn change(site: &Site, statements: &str) {
    let file = rusqlite::Connection::open(database::file(&site.path().join("data"))).unwrap();
    file.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    file.execute_batch(statements).unwrap();
}

/// The counters of channel 1, in the order of the records.
fn of_channel_1(records: &[Record]) -> Vec<i64> {
    let id = sensor_id("01100603", "ch1", "pplus").parse().unwrap();
    let of_set = |record: &Record| {
        record.set.iter().find_map(|(sensor, value)| match value {
            Value::Counter(value) if sensor.id == id => Some(value.0),
            _ => None,
        })
    };
    records.iter().filter_map(of_set).collect()
}

/// The same, as they were published.
async fn published(subscriber: &Subscriber, count: usize) -> Vec<i64> {
    let topic = format!("/sensor/{}/counter", sensor_id("01100603", "ch1", "pplus"));
    let payloads = subscriber.on(&topic, count).await;
    payloads.iter().map(|payload| decimal(payload.split(',').nth(1).unwrap())).collect()
}

fn packet(n: u32) -> Vec<u8> {
    bytes(&gem_ch1(100 + n, 36_000 * u64::from(n), 0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_clean_stop_everything_that_was_published_is_in_the_journal() {
    let site = Site::new(HOUSE);
    drop(open(&site));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut meter = gateway.dial().await;
    for n in 1..=50 {
        meter.send(&packet(n)).await;
    }
    let seen = published(&subscriber, 50).await;
    gateway.stop().await;
    let (journal, done) = open(&site);
    let records = records(&journal, done);
    assert_eq!(of_channel_1(&records), seen);
    assert!(records.iter().all(|record| record.live && &*record.set.device.name == "house"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_nothing_holds_no_reading_up_and_is_shown() {
    let site = Site::new(HOUSE);
    drop(open(&site));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut meter = gateway.dial().await;
    change(&site, "ALTER TABLE journal RENAME TO away");
    for n in 1..=20 {
        meter.send(&packet(n)).await;
    }
    let seen = published(&subscriber, 20).await;
    gateway.until_metric("meterbridge_journal_failures_total", |failures| failures > 0).await;
    let what = "health that tells of the journal";
    let health = subscriber.messages.until(what, |all| {
        let mut healths = all.iter().filter(|one| one.topic == "meterbridge/bridge/health");
        let told = |one: &crate::subscriber::Message| {
            let health: Json = serde_json::from_str(&one.payload).unwrap();
            (health["journal"]["failures"].as_u64() > Some(0)).then_some(health)
        };
        healths.find_map(told)
    });
    let health = health.await;
    assert_eq!(health["journal"]["lost"], 0, "{health}");
    assert!(
        get(gateway.web(), "/metrics").await.contains("meterbridge_journal_lag{cursor=\"test\"} 0")
    );
    change(&site, "ALTER TABLE away RENAME TO journal");
    gateway.until_metric("meterbridge_journal_last", |last| last == 20).await;
    gateway.stop().await;
    let (journal, done) = open(&site);
    assert_eq!(of_channel_1(&records(&journal, done)), seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_keeps_the_gateway_from_starting_and_is_left_as_it_is() {
    let site = Site::new(HOUSE);
    drop(open(&site));
    let file = database::file(&site.path().join("data"));
    std::fs::write(&file, vec![7; 8192]).unwrap();
    let refusal = site.build().await.unwrap_err().to_string();
    assert!(refusal.contains("history.db is damaged"), "{refusal}");
    assert!(refusal.contains("backup"), "{refusal}");
    assert_eq!(std::fs::read(&file).unwrap(), vec![7; 8192]);
}
