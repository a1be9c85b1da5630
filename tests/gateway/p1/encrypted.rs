//! Encrypted ports: read with the key of their entry, told of where it is missing or wrong. The key is
//! in no log.

use std::time::Duration;

use meter_protocols::dsmr::Key;
use meterbridge::simulator::{PortManners, PortSimulation, PortSimulator, Standard};

use super::lines::{any_port, run};
use super::{PORT, counter, house, last, sensor_id, telegram};
use crate::meters::reading;
use crate::process::Process;
use crate::subscriber::Subscriber;
use crate::support::{Meter, Site, free_port, metric};

const KEY: &str = "8F14E45FCEEA167A5A36DEDD4BEA2543";
const OTHER: &str = "c4ca4238a0b923820dcc509a6f75849b";

fn encrypted(key: &str, counter: u32, telegram: &[u8]) -> Vec<u8> {
    key.parse::<Key>().unwrap().encrypt(*b"EXL99999", counter, telegram).unwrap()
}

fn told(gateway: &Process, words: &str) -> usize {
    gateway.log.all().iter().filter(|line| line.contains(words)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_is_read_with_its_key_and_a_wrong_key_is_told_once_a_connection() {
    let site = Site::new(&format!("{}    key: {KEY}\n", PORT.trim_end_matches(' ')));
    let gateway = Process::run(&site, &[]).await;
    let subscriber = Subscriber::new(gateway.broker).await;
    let wrong = "that no `key:` of this link opens";
    for connection in 1..=2 {
        let mut meter = gateway.dial().await;
        let others = encrypted(OTHER, 1, &house(900_000_000, &[]));
        meter.send(&[&others[..], &others].concat()).await;
        // One is cut, and the next one follows at once; then one over many segments, and one in the clear.
        let whole = encrypted(KEY, 2, &house(71_250, &[]));
        meter.send(&[&whole[..whole.len() / 2], &whole].concat()).await;
        meter.trickle(&encrypted(KEY, 3, &house(71_260, &[]))).await;
        meter.send(&house(71_270, &[])).await;
        // A wrong byte when the key is known to fit.
        let mut spoiled = whole.clone();
        spoiled[100] ^= 1;
        meter.send(&spoiled).await;
        meter.send(&encrypted(KEY, 4, &house(71_280, &[]))).await;
        subscriber.packets("grid", 4 * connection).await;
        assert_eq!(told(&gateway, wrong), connection, "{:#?}", gateway.log.all());
    }
    let totals = subscriber.on(&counter("line", "pplus"), 4).await;
    let totals: Vec<i64> = totals.iter().map(|payload| reading(payload).1).take(4).collect();
    assert_eq!(totals, [81_250_000, 81_260_000, 81_270_000, 81_280_000]);
    // Two of another key, one cut, one spoiled; on each connection.
    assert_eq!(metric(gateway.web, "meterbridge_bad_frames_total").await, 8);
    let log = gateway.log.all().join("\n").to_lowercase();
    assert!(!log.contains(&KEY.to_lowercase()), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_the_log_says_what_is_missing() {
    let site = Site::new(PORT);
    let gateway = Process::run(&site, &[]).await;
    let subscriber = Subscriber::new(gateway.broker).await;
    let mut meter = gateway.dial().await;
    let frame = encrypted(KEY, 1, &house(71_250, &[]));
    meter.send(&[&frame[..], &frame, &house(71_250, &[])].concat()).await;
    subscriber.packets("grid", 1).await;
    assert_eq!(told(&gateway, "write it as `key:`"), 1, "{:#?}", gateway.log.all());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn meters_that_share_a_link_have_keys_of_their_own() {
    let port = free_port();
    let entry = |name: &str, serial: &str, key: &str| {
        format!(
            "\n  - {{name: {name}, kind: p1, serial_number: \"{serial}\", key: {key:?}, link: {{listen: \"127.0.0.1:{port}\"}}}}"
        )
    };
    let site =
        Site::new(&format!("{}{}\n", entry("one", "0001", KEY), entry("two", "0002", OTHER)));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut meter = Meter::dial(([127, 0, 0, 1], port).into()).await;
    // Luxembourg has its meters' numbers under a code of its own, and totals of all tariffs.
    let of = |number: &str, import: &str| {
        telegram(&[&format!("0-0:42.0.0({number})"), &format!("1-0:1.8.0({import}*kWh)")])
    };
    meter.send(&encrypted(KEY, 1, &of("30303031", "000001.500"))).await;
    meter.send(&encrypted(OTHER, 1, &of("30303032", "000002.500"))).await;
    subscriber.packets("one", 1).await;
    subscriber.packets("two", 1).await;
    for (serial, total) in [("0001", 1_500_000), ("0002", 2_500_000)] {
        let topic = format!("/sensor/{}/counter", sensor_id(serial, "line", "pplus"));
        assert_eq!(last(&subscriber, &topic).0, total, "{serial}");
    }
    assert_eq!(gateway.metric("meterbridge_skipped_bytes_total").await, 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulated_port_encrypts_and_halves_cost_themselves_only() {
    let simulation = PortSimulation {
        standard: Standard::Luxembourg,
        meters: 1,
        interval: Duration::from_millis(20),
        seed: 1,
        key: Some(KEY.parse().unwrap()),
        manners: PortManners { halves: true, ..PortManners::default() },
    };
    let simulator = PortSimulator::build(&simulation, any_port()).await.unwrap();
    let address = simulator.address().unwrap();
    let site = Site::new(&format!(
        "\n  - name: grid\n    kind: p1\n    link: {{connect: \"{address}\"}}\n    key: {KEY}\n"
    ));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let _task = run(simulator);
    subscriber.packets("grid", 25).await;
    let bad = gateway.metric("meterbridge_bad_frames_total").await;
    let good = gateway.metric("meterbridge_packets_total").await;
    // Every tenth is cut, and no other is lost by it.
    assert!((2..=good / 9 + 1).contains(&bad), "{bad} of {good}");
    assert_eq!(gateway.metric("meterbridge_counter_corrections_total").await, 0);
    gateway.stop().await;
}
