//! A meter that is swapped: the new one goes on in its place, to the watt-second.

use meter_protocols::brultech::Packet;
use serde_json::json;

use super::{Stage, availability, hear, retained, with_house};
use crate::meters::{GEM, bytes, counter, device_id, gem, gem_ch1, watt_hours};
use crate::process::Process;
use crate::support::{HOUSE, Site};

const SECOND: &str = "01100700";

/// A packet of the meter that comes in place of the GEM 603.
fn second(seconds: u32, energy: u64) -> Packet {
    let mut packet = gem(700, seconds);
    packet.absolute_watt_seconds[0] = energy;
    packet
}

/// The swap with the meters in either order: the new one is announced before it was heard, or it was
/// adopted by then.
async fn swap(meters: &str, is_heard_before: bool) {
    let site = Site::new(meters);
    let process = Process::run(&site, &["run"]).await;
    let mut stage = Stage::at(process.broker).await;
    let total = counter(GEM, "ch1", "pplus");
    let mut old = process.dial().await;
    old.send(&bytes(&gem_ch1(100, 36_001, 0))).await;
    old.send(&bytes(&gem_ch1(110, 46_007, 0))).await;
    stage.subscriber.packets("house", 2).await;

    let mut new = process.dial().await;
    let shadow = "gem-01100700";
    if is_heard_before {
        new.send(&bytes(&second(5_000, 900_000_000))).await;
        stage.subscriber.packets(shadow, 1).await;
    }
    let data = stage.done("replace", json!({"meter": "house", "serial": SECOND})).await;
    assert_eq!(data["id"], json!(device_id(GEM)), "{data}");
    stage.told("replaced", SECOND).await;
    if is_heard_before {
        stage.subscriber.until(&availability(shadow), "").await;
        assert_eq!(retained(process.broker, &availability(shadow)).await, None);
        let document = format!("/device/{}/config/sensor", device_id(SECOND));
        assert_eq!(retained(process.broker, &document).await, None);
    }
    // Nothing more than the response is waited for.
    process.kill().await;

    let process = Process::run(&site, &["run"]).await;
    let stage = Stage::at(process.broker).await;
    let mut new = process.dial().await;
    // Its counter stands where it wants: the first packet is the base.
    new.send(&bytes(&second(5_010, 900_000_003))).await;
    new.send(&bytes(&second(5_020, 900_010_010))).await;
    stage.subscriber.packets("house", 2).await;
    let expected = [46_007, 56_014].map(watt_hours);
    assert_eq!(stage.totals(&total), expected);
    let listed = stage.listed("the new serial number", |one| one["serial"] == SECOND).await;
    assert_eq!((&listed["name"], &listed["id"]), (&json!("house"), &json!(device_id(GEM))));
    // The old one, should somebody plug it in again, must not count as the same meter.
    process.dial().await.send(&bytes(&gem_ch1(500, 99_000_000, 0))).await;
    stage.told("blocked", GEM).await;
    new.send(&bytes(&second(5_030, 900_020_010))).await;
    stage.subscriber.packets("house", 3).await;
    assert_eq!(stage.totals(&total), [46_007, 56_014, 66_014].map(watt_hours));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_is_replaced_before_the_new_one_is_heard() {
    swap(HOUSE, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_is_replaced_after_the_new_one_was_adopted() {
    swap(HOUSE, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_its_entry_names_is_replaced() {
    swap(&format!("{HOUSE}    serial_number: \"{GEM}\"\n"), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacing_goes_on_and_comes_back_with_name_and_settings() {
    let site = Site::new(HOUSE);
    let total = counter(GEM, "ch1", "pplus");
    let (gateway, mut stage, _old) = with_house(&site, &gem_ch1(100, 3_600, 0)).await;
    stage.done("rename", json!({"from": "house", "to": "main"})).await;
    let grid = json!({"meter": "main", "channels": {"ch1": {"role": "grid"}}});
    stage.done("configure", grid).await;

    // While it runs, to a second, a third, and back to the first.
    let mut expected = vec![watt_hours(3_600)];
    let mut stood = 3_600;
    for (number, start) in [(700_u16, 50_000_u64), (701, 7), (603, 9_999_999)] {
        let serial = format!("011{number:05}");
        stage.done("replace", json!({"meter": "main", "serial": serial})).await;
        let mut meter = gateway.dial().await;
        let mut packet = gem(number, 100);
        for step in [0, 4_321, 1_111] {
            stood += step;
            packet.seconds += 10;
            packet.absolute_watt_seconds[0] =
                if step == 0 { start } else { packet.absolute_watt_seconds[0] + step };
            meter.send(&bytes(&packet)).await;
            expected.push(watt_hours(stood));
            stage.subscriber.on(&total, expected.len()).await;
        }
        let listed = stage.listed("its serial number", |one| one["serial"] == serial).await;
        assert_eq!((&listed["name"], &listed["online"]), (&json!("main"), &json!(true)));
    }
    assert_eq!(stage.totals(&total), expected);
    let given = counter(GEM, "ch1", "pminus");
    assert!(!stage.subscriber.payloads(&given).is_empty(), "the role stays");
    gateway.stop().await;

    // The file still has nothing but the entry: everything is as it was.
    let gateway = site.start().await;
    let stage = Stage::at(gateway.broker()).await;
    hear(&gateway, &gem_ch1(500, 9_999_999 + 5_432 + 1_000, 0)).await;
    stage.subscriber.packets("main", 1).await;
    assert_eq!(stage.totals(&total), [watt_hours(stood + 1_000)]);
    gateway.stop().await;
}
