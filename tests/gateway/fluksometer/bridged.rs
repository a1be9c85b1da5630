//! Fluksometers that publish on the gateway's broker.

use serde_json::{Value, json};

use super::bridge::Bridge;
use super::device::{DEVICE, Said, parts, session};
use crate::meters::reading;
use crate::subscriber::Subscriber;
use crate::support::{Running, Site};

const ANY: &str = "
  - name: any
    kind: fluksometer
    link: {mqtt: embedded}
";

async fn started() -> (Site, Running, Subscriber, Bridge) {
    let site = Site::new(ANY);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let bridge = Bridge::out(gateway.broker()).await;
    (site, gateway, subscriber, bridge)
}

fn documents(subscriber: &Subscriber, what: &str) -> Vec<Value> {
    let payloads = subscriber.payloads(&format!("/device/{DEVICE}/config/{what}")).into_iter();
    payloads.map(|text| serde_json::from_str(&text).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_readings_are_there_once_and_its_documents_are_made_whole() {
    let (_site, gateway, subscriber, bridge) = started().await;
    let (own, readings) = parts(session("flm02b"));
    bridge.say(&own).await;
    // Before the documents are understood: nothing is lost of what comes meanwhile.
    bridge.say(&readings).await;
    subscriber.packets("any", 1).await;
    subscriber.until("powermeter/any/state/availability", "online").await;
    for said in &readings {
        assert_eq!(
            subscriber.payloads(&said.topic),
            std::slice::from_ref(&said.payload),
            "{}",
            said.topic
        );
    }
    // It has no `flx`, and a port that is no list.
    let flx = &documents(&subscriber, "flx")[0];
    let sensor = documents(&subscriber, "sensor").pop().unwrap();
    for (key, section) in sensor.as_object().unwrap() {
        if section["enable"] == 1 && section["class"] != "kube" {
            let port = section["port"][0].to_string();
            assert!(flx[&port]["name"].is_string(), "{key}: {section} {flx}");
        }
    }
    assert_eq!(sensor["7"]["port"], json!([7]));
    assert_eq!(sensor["1"]["id"], "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1");
    // Its own, as it is.
    assert_eq!(documents(&subscriber, "kube").len(), 1);

    // What the gateway has published is not taken for the device's, however often it comes.
    // The device's, and the gateway's in its place.
    let before = subscriber.on(&format!("/device/{DEVICE}/config/sensor"), 2).await;
    assert_eq!(before.len(), 2);
    let ours = Said {
        topic: format!("/device/{DEVICE}/config/sensor"),
        payload: before.last().unwrap().clone(),
        retain: true,
    };
    bridge.say(&[ours.clone(), ours]).await;
    let later = readings.last().unwrap();
    let time = reading(&later.payload).0 + 5;
    bridge.publish(&later.topic, &format!("[{time},-2,\"°C\"]"), true).await;
    let now = format!("{{\"ts\":{time},");
    let is_it = |all: &[crate::subscriber::Message]| {
        all.iter().any(|one| one.topic.ends_with("/channels") && one.payload.starts_with(&now))
    };
    subscriber.messages.until("what is so then", |all| is_it(all).then_some(())).await;
    let after = subscriber.payloads(&format!("/device/{DEVICE}/config/sensor"));
    assert_eq!(after.len(), before.len() + 2, "and is not answered");
    assert_eq!(gateway.metric("meterbridge_flukso_refused_total").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_no_entry_is_left_for_is_adopted_and_known_after_a_restart() {
    let (site, gateway, subscriber, bridge) = started().await;
    bridge.say(&session("flm03e")).await;
    subscriber.packets("any", 1).await;
    // A second one.
    let other = "00000000000000000000000000000042";
    let second: Vec<Said> = session("flm02b")
        .into_iter()
        .map(|said| Said { topic: said.topic.replace(DEVICE, other), ..said })
        .collect();
    bridge.say(&second).await;
    let adopted = format!("flm02-{other}");
    subscriber.packets(&adopted, 1).await;
    subscriber.until(&format!("powermeter/{adopted}/state/availability"), "online").await;
    gateway.stop().await;

    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let bridge = Bridge::out(gateway.broker()).await;
    // No document comes again: the broker has kept them, and they are on disk.
    let (_, readings) = parts(second);
    bridge.say(&readings[..1]).await;
    subscriber.packets(&adopted, 1).await;
    assert_eq!(subscriber.last("powermeter/any/state/availability").as_deref(), Some("offline"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_retained_is_no_reading_and_what_cannot_be_is_passed_over() {
    let (_site, gateway, subscriber, bridge) = started().await;
    let (own, readings) = parts(session("flm02b"));
    bridge.say(&own).await;
    bridge.say(&readings).await;
    subscriber.packets("any", 1).await;
    let stale = gateway.metric("meterbridge_flukso_stale_total").await;
    let main = &readings[0];
    let now = meterbridge::model::Timestamp::now().seconds();
    for payload in [
        main.payload.clone(),
        format!("[{},157,\"W\"]", now - 3000),
        format!("[{},157,\"W\"]", now + 3600),
        format!("[{},157,\"W\"]", now - 16 * 86_400),
        format!("[{now},157,\"kW\"]"),
        format!("[{now},null,\"W\"]"),
    ] {
        bridge.publish(&main.topic, &payload, true).await;
    }
    bridge.publish(&main.topic, &format!("[{},158,\"W\"]", now + 10), true).await;
    subscriber.on(&main.topic, 8).await;
    gateway.until_metric("meterbridge_flukso_refused_total", |count| count == 2).await;
    assert_eq!(gateway.metric("meterbridge_flukso_wrong_time_total").await, 2);
    // What is new about an earlier block is no news, and not stale either.
    assert_eq!(gateway.metric("meterbridge_flukso_stale_total").await, stale + 1);
}
