//! Captures of real meters on the port, the right numbers on MQTT: whole, in pieces, mixed, with
//! noise around them, and over restarts.

use std::collections::BTreeMap;

use crate::meters::{
    Capture, ECM, ECM_CAPTURE, GEM, GEM_CAPTURES, bytes, counter, ecm, gauge, gem, reading,
    watt_hours,
};
use crate::process::Process;
use crate::subscriber::Subscriber;
use crate::support::{HOUSE, Running, Site};

/// What lies on a line between packets: noise, half a header, a footer, a keep-alive.
const GARBAGE: &[u8] = b"\x00\xFE\x17Alive\r\n\xFF\xFE\xFE\xFE\xFF\x63\xFE";
/// The head of a packet that does not come; what follows it must not be lost.
const FALSE_HEAD: &[u8] = b"\xFE\xFF\x05\x04\xB2";

fn captures() -> impl Iterator<Item = (&'static str, Capture)> {
    GEM_CAPTURES.into_iter().chain([ECM_CAPTURE]).map(|name| (name, Capture::load(name)))
}

fn name_of(capture: &Capture) -> String {
    let model = if capture.serial() == ECM { "ecm1240" } else { "gem" };
    format!("{model}-{}", capture.serial())
}

/// Everything under `/sensor` so far, the last of each topic.
fn sensors(subscriber: &Subscriber) -> BTreeMap<String, (i64, String)> {
    let seen = subscriber.seen().into_iter();
    seen.filter(|message| message.topic.starts_with("/sensor/") && !message.topic.ends_with("/gz"))
        .map(|message| {
            let (_, value, unit) = reading(&message.payload);
            (message.topic, (value, unit))
        })
        .collect()
}

/// The total of a channel that was published last, in thousandths of a watt-hour.
fn total(subscriber: &Subscriber, serial: &str, channel: &str) -> i64 {
    let topic = counter(serial, channel, "pplus");
    let (_, value, unit) = reading(&subscriber.last(&topic).expect("a total"));
    assert_eq!(unit, "Wh");
    value
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_capture_gives_its_values_and_nothing_else() {
    for (name, capture) in captures() {
        let site = Site::new(HOUSE);
        let gateway = site.start().await;
        let subscriber = gateway.subscriber().await;
        let before = now();
        gateway.dial().await.send(&capture.bytes).await;
        subscriber.packets("house", 1).await;
        assert_eq!(sensors(&subscriber), capture.readings(), "{name}");
        for message in subscriber.seen() {
            if message.topic.starts_with("/sensor/") {
                let (at, _, _) = reading(&message.payload);
                assert!((before..=now()).contains(&at), "{message:?}");
                assert!(!message.retain, "{message:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_capture_byte_by_byte() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut meter = gateway.dial().await;
    for (at, (name, capture)) in captures().enumerate() {
        meter.trickle(&capture.bytes).await;
        let model = if capture.serial() == ECM { "ecm1240-500434" } else { "house" };
        subscriber.packets(model, if model == "house" { at + 1 } else { 1 }).await;
        let seen = sensors(&subscriber);
        for (topic, expected) in capture.readings() {
            assert_eq!(seen.get(&topic), Some(&expected), "{name} {topic}");
        }
    }
    assert_eq!(gateway.metric("meterbridge_packets_total").await, 5);
    assert_eq!(gateway.metric("meterbridge_skipped_bytes_total").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_before_between_and_after_costs_nothing_but_itself() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut meter = gateway.dial().await;
    meter.send(GARBAGE).await;
    for (_, capture) in captures() {
        meter.send(&capture.bytes).await;
        meter.send(GARBAGE).await;
    }
    subscriber.packets("house", 4).await;
    subscriber.packets("ecm1240-500434", 1).await;
    // The false head would wait for 600 bytes; the short packet behind it is found all the same.
    meter.send(&[FALSE_HEAD, &Capture::load(ECM_CAPTURE).bytes].concat()).await;
    subscriber.packets("ecm1240-500434", 2).await;

    let last = Capture::load("BIN32-NET");
    for n in 1..=32 {
        let expected = watt_hours(last.absolute(n));
        assert_eq!(total(&subscriber, GEM, &format!("ch{n}")), expected, "ch{n}");
    }
    let skipped = (GARBAGE.len() * 6 + FALSE_HEAD.len()) as u64;
    gateway.until_metric("meterbridge_skipped_bytes_total", |bytes| bytes == skipped).await;
    assert_eq!(gateway.metric("meterbridge_packets_total").await, 6);
}

/// Packets of a GEM (channel 1: 1 kW) and of an ECM (channel 1: 500 W), in turn.
fn two_meters() -> Vec<(Vec<u8>, Vec<u8>)> {
    (0..6_u32)
        .map(|n| {
            let (mut one, mut other) = (gem(603, 1000 + 5 * n), ecm(434, 70 + 5 * n));
            one.absolute_watt_seconds[0] = 1_000_000 + u64::from(n) * 5000;
            other.absolute_watt_seconds[0] = 2_000_000 + u64::from(n) * 2500;
            (bytes(&one), bytes(&other))
        })
        .collect()
}

async fn assert_two_meters(gateway: &Running, subscriber: &Subscriber) {
    for name in ["house", "ecm1240-500434"] {
        subscriber.packets(name, 6).await;
    }
    for (serial, start, step) in [(GEM, 1_000_000, 5000), (ECM, 2_000_000, 2500)] {
        let totals = subscriber.payloads(&counter(serial, "ch1", "pplus"));
        let totals: Vec<i64> = totals.iter().map(|payload| reading(payload).1).collect();
        let expected: Vec<i64> = (0..6).map(|n| watt_hours(start + n * step)).collect();
        assert_eq!(totals, expected, "{serial}");
        let powers = subscriber.payloads(&gauge(serial, "ch1", "pplus"));
        let powers: Vec<i64> = powers.iter().map(|payload| reading(payload).1).collect();
        assert_eq!(powers, vec![step as i64 * 1000 / 5; 5], "{serial}: from the second packet on");
    }
    assert_eq!(gateway.metric("meterbridge_counter_corrections_total").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_meters_take_turns_on_one_connection() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut line = gateway.dial().await;
    for (one, other) in two_meters() {
        line.send(&[&one[..], GARBAGE, &other].concat()).await;
    }
    assert_two_meters(&gateway, &subscriber).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_meters_on_connections_of_their_own_and_one_connection_a_packet() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut first = gateway.dial().await;
    for (count, (one, other)) in (1..).zip(two_meters()) {
        first.send(&one).await;
        subscriber.packets("house", count).await;
        gateway.dial().await.send(&other).await;
        subscriber.packets("ecm1240-500434", count).await;
    }
    assert_two_meters(&gateway, &subscriber).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_and_totals_go_on_after_a_clean_restart() {
    let site = Site::new(HOUSE);
    for (_, capture) in captures() {
        let gateway = site.start().await;
        let subscriber = gateway.subscriber().await;
        gateway.dial().await.send(&capture.bytes).await;
        let name = if capture.serial() == ECM { name_of(&capture) } else { "house".to_owned() };
        subscriber.packets(&name, 1).await;
        let seen = sensors(&subscriber);
        for (topic, expected) in capture.readings() {
            assert_eq!(seen.get(&topic), Some(&expected), "{name} {topic}");
        }
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_packet_after_a_restart_gives_power_over_the_gap() {
    let site = Site::new(HOUSE);
    let [before, after] = ["BIN48-NET", "BIN48-ABS"].map(Capture::load);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    gateway.dial().await.send(&before.bytes).await;
    subscriber.packets("house", 1).await;
    gateway.stop().await;

    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    // This format carries no polarized counters, which a load does not need.
    gateway.dial().await.send(&after.bytes).await;
    subscriber.packets("house", 1).await;
    let power = subscriber.last(&gauge(GEM, "ch3", "pplus")).expect("a power");
    let counted = after.absolute(3) - before.absolute(3);
    let seconds = after.seconds() - before.seconds();
    let expected = (counted as f64 / seconds as f64 * 1000.0).round() as i64;
    assert_eq!(reading(&power).1, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sudden_end_of_the_process_loses_and_doubles_nothing() {
    let site = Site::new(HOUSE);
    let mut expected = Vec::new();
    for (_, capture) in captures().take(4) {
        let process = Process::run(&site, &[]).await;
        let subscriber = Subscriber::new(process.broker).await;
        process.dial().await.send(&capture.bytes).await;
        subscriber.packets("house", 1).await;
        for (topic, value) in capture.readings() {
            let (_, published, unit) = reading(&subscriber.last(&topic).expect(&topic));
            assert_eq!((published, unit), value, "{topic}");
        }
        expected.push(total(&subscriber, GEM, "ch3"));
        process.kill().await;
    }
    assert!(expected.is_sorted(), "{expected:?}");
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_secs() as i64
}
