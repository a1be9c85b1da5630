//! `switchTS`: a relay's state with the time at which it was asked for is done once while it is fresh, and
//! never late.

use meterbridge::model::Timestamp;
use rumqttc::QoS;
use serde_json::json;

use super::clashes::guest_of;
use super::commands::{entry, over_http, reply, started, tell};
use super::device::{Device, Kind};
use crate::subscriber::{Message, Subscriber};
use crate::support::Site;

const RELAY: &str = "powermeter/plug/state/switch";

fn timed(word: &str, ago: i64) -> String {
    format!(r#"["{word}",{}]"#, Timestamp::now().seconds() - ago)
}

async fn leave(device: &Device, topic: &str, payload: &str) {
    device.client.publish(topic, QoS::AtLeastOnce, true, payload).await.unwrap();
}

/// Waits for so many messages on `topic` that hold `words`.
async fn words(subscriber: &Subscriber, topic: &str, words: &str, count: usize) {
    let is_it = |one: &&Message| one.topic == topic && one.payload.contains(words);
    subscriber
        .messages
        .until(words, |all| (all.iter().filter(is_it).count() >= count).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_another_name_it_is_passed_on_while_it_is_fresh() {
    let (_site, gateway, subscriber, device) = started("plug").await;
    let topic = "powermeter/plug/switchTS";
    subscriber.until(RELAY, "true").await;
    leave(&device, topic, &timed("off", 5)).await;
    words(&subscriber, "powermeter/plug/state/info", "Handle switch cmd at", 1).await;
    subscriber.until(RELAY, "false").await;
    // What was taken lies there no longer.
    subscriber.until(topic, "-").await;
    assert_eq!(device.count("switchTS"), 1, "{:?}", device.obeyed.all());

    // Too old, too far ahead, and no such thing.
    leave(&device, topic, &timed("on", 61)).await;
    words(&subscriber, "powermeter/plug/state/info", " s old: it is done within 60 s only", 1)
        .await;
    tell(&device, topic, &timed("on", -4000)).await;
    words(&subscriber, "powermeter/plug/state/info", " s ahead", 1).await;
    for payload in ["on", r#"["toggle",5]"#] {
        tell(&device, topic, payload).await;
    }
    words(&subscriber, "powermeter/plug/state/info", "switchTS takes ", 2).await;
    tell(&device, topic, "-").await;

    let by_http =
        |value| json!({"cmd": "switchTS", "value": value, "ts": Timestamp::now().seconds()});
    let told = over_http(&gateway, "plug", by_http("on")).await;
    assert_eq!(told["error"], false, "{told}");
    assert!(device.relay());
    let late = json!({"cmd": "switchTS", "payload": ["off", 1_700_000_000], "id": 3});
    tell(&device, "powermeter/plug/cmd", &late.to_string()).await;
    let told = reply(&subscriber, "plug", 3).await;
    assert!(told["msg"].as_str().unwrap().contains(" s old"), "{told}");
    assert!(device.relay());
    assert_eq!(device.count("switchTS"), 2, "{:?}", device.obeyed.all());
    assert_eq!(device.count("cmd"), 0);

    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_there_from_before_is_not_done() {
    let site = Site::new(&entry("plug"));
    let gateway = site.start().await;
    let device = Device::start(gateway.broker(), "powermeter27", Kind::Plug).await;
    let subscriber = gateway.subscriber().await;
    // Of a meter that nobody has here yet.
    leave(&device, "powermeter/other/switchTS", &timed("off", 100)).await;
    subscriber.on("powermeter/other/switchTS", 1).await;
    let other_site = guest_of(&gateway, "other");
    let other = other_site.start().await;
    subscriber.until("powermeter/other/switchTS", "-").await;
    assert_eq!(subscriber.payloads("powermeter/other/state/info").len(), 0);
    assert!(device.relay());
    other.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_its_own_name_the_device_does_it_and_its_relay_stays_known() {
    let (_site, gateway, subscriber, device) = started("powermeter27").await;
    let (topic, relay) =
        ("powermeter/powermeter27/switchTS", "powermeter/powermeter27/state/switch");
    leave(&device, topic, &timed("off", 5)).await;
    // It hides its relay behind a mark; what it answers when it is asked stands there in the end.
    assert_eq!(subscriber.on(relay, 3).await, ["false", "-", "false"]);
    // As a command, which the firmware does not know, the gateway brings it there.
    let on = json!({"cmd": "switchTS", "value": "on", "ts": Timestamp::now().seconds(), "id": 4});
    tell(&device, "powermeter/powermeter27/cmd", &on.to_string()).await;
    let told = reply(&subscriber, "powermeter27", 4).await;
    assert_eq!(told["error"], false, "{told}");
    assert_eq!(subscriber.on(relay, 6).await[3..], ["true", "-", "true"]);
    tell(&device, "powermeter/powermeter27/cmd", r#"{"cmd":"poll","id":5}"#).await;
    reply(&subscriber, "powermeter27", 5).await;
    // Too old, it says so itself.
    leave(&device, topic, &timed("off", 100)).await;
    words(&subscriber, "powermeter/powermeter27/state/info", "Switch message too old", 1).await;
    over_http(&gateway, "powermeter27", json!({"cmd": "getVoltage"})).await;
    let own = subscriber.payloads("powermeter/powermeter27/state/info");
    assert!(!own.iter().any(|one| one.contains("within 60 s")), "{own:#?}");
    assert!(device.relay());
    let timed = |all: Vec<(String, String)>| {
        all.into_iter().filter(|(leaf, text)| leaf == "switchTS" && text != "-").count()
    };
    assert_eq!(timed(device.obeyed.all()), 3, "{:?}", device.obeyed.all());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_all_are_told_is_the_devices_own_affair() {
    let site = Site::new(&entry("plug"));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let device = Device::start(gateway.broker(), "powermeter27", Kind::Plug).await;
    device.measure_plug(900.29, 10_149.83).await;
    subscriber.until(RELAY, "true").await;
    tell(&device, "powermeter/switchTS", &timed("off", 1)).await;
    subscriber.until(RELAY, "false").await;
    over_http(&gateway, "plug", json!({"cmd": "getVoltage"})).await;
    assert_eq!(device.count("switchTS"), 1, "{:?}", device.obeyed.all());
    gateway.stop().await;
}
