//! Who is who where several speak on the same topics.

use serde_json::Value;

use super::device::{Device, Kind};
use super::measured::ANY;
use crate::meters::{bytes, gem_ch1};
use crate::subscriber::Subscriber;
use crate::support::{Running, Site};

/// Waits until the gateway tells of so many meters, and answers their names.
async fn names(subscriber: &Subscriber, wanted: usize) -> Vec<String> {
    subscriber
        .messages
        .until(&format!("{wanted} meters"), |all| {
            let mut lists = all.iter().filter(|one| one.topic == "meterbridge/bridge/devices");
            let list: Value = serde_json::from_str(&lists.next_back()?.payload).ok()?;
            let list = list.as_array()?.iter();
            let names: Vec<String> =
                list.map(|one| one["name"].as_str().unwrap().to_owned()).collect();
            (names.len() >= wanted).then_some(names)
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_own_meters_are_no_devices() {
    let site = Site::new(&format!("{}{ANY}", crate::support::HOUSE.trim_end()));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut meter = gateway.dial().await;
    for n in 0..3_u32 {
        meter.send(&bytes(&gem_ch1(100 + 10 * n, 36_000 + u64::from(n) * 5_000, 0))).await;
    }
    subscriber.on("powermeter/house/state/sample", 1).await;
    // A device that calls itself as the other meter is called here.
    let same = Device::start(gateway.broker(), "house", Kind::Smart).await;
    same.measure(5.0, 1.0).await;
    let device = Device::start(gateway.broker(), "smartmeter001", Kind::Smart).await;
    device.measure(6.0, 2.0).await;
    subscriber.packets("mains", 1).await;
    let last = subscriber.packets("mains", 1).await;
    assert!(last[0].contains("\"power\":6,"), "{last:?}");
    assert_eq!(names(&subscriber, 2).await, ["house", "mains"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_gateways_meters_are_not_taken_in() {
    let site = Site::new(ANY);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let other = Device::start(gateway.broker(), "attic", Kind::Smart).await;
    other.publish("state/availability", "online", true).await;
    other.measure(5.0, 1.0).await;
    let device = Device::start(gateway.broker(), "smartmeter001", Kind::Smart).await;
    device.measure(6.0, 2.0).await;
    let last = subscriber.packets("mains", 1).await;
    assert!(last[0].contains("\"power\":6,"), "{last:?}");
    other.measure(5.0, 1.0).await;
    device.measure(7.0, 2.0).await;
    subscriber.packets("mains", 2).await;
    assert_eq!(names(&subscriber, 1).await, ["mains"]);
    gateway.stop().await;
}

/// A gateway whose broker is another's.
pub(super) fn guest_of(gateway: &Running, name: &str) -> Site {
    let site = Site::bare();
    let text = format!(
        "data_dir: {:?}\nbroker:\n  mode: external\n  external: {{url: \"mqtt://{}\", client_id: {name}}}\n\
         web: {{listen: 127.0.0.1:0}}\nmeters:{}",
        site.path().join("data"),
        gateway.broker(),
        ANY.replace("mains", name),
    );
    std::fs::write(site.config_file(), text).unwrap();
    site
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_on_one_broker_have_one_device_each_once() {
    let site = Site::new(&format!("{}{ANY}", crate::support::HOUSE.trim_end()));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut meter = gateway.dial().await;
    for n in 0..2_u32 {
        meter.send(&bytes(&gem_ch1(100 + 10 * n, 36_000 + u64::from(n) * 5_000, 0))).await;
    }
    subscriber.on("powermeter/house/state/sample", 1).await;
    let other_site = guest_of(&gateway, "other");
    let other = other_site.start().await;
    subscriber.until("powermeter/other/state/availability", "offline").await;
    let device = Device::start(gateway.broker(), "powermeter27", Kind::Plug).await;
    device.measure_plug(6.0, 2.0).await;
    subscriber.packets("mains", 1).await;
    subscriber.packets("other", 1).await;
    // Turned round once, by whichever of its names.
    for (n, name) in (1..).zip(["other", "mains"]) {
        let order = r#"{"cmd":"switch","payload":{"value":-1}}"#;
        let topic = format!("powermeter/{name}/cmd");
        device.client.publish(topic, rumqttc::QoS::AtLeastOnce, false, order).await.unwrap();
        subscriber.on(&format!("powermeter/{name}/state/info"), 1).await;
        assert_eq!(device.count("cmd"), n, "{:?}", device.obeyed.all());
    }
    assert!(device.relay());
    // What each says of its own meters comes to the other, and is nobody's.
    meter.send(&bytes(&gem_ch1(130, 60_000, 0))).await;
    device.measure_plug(7.0, 2.0).await;
    subscriber.packets("other", 2).await;
    subscriber.packets("mains", 2).await;
    for (gateway, own) in [(&gateway, 2), (&other, 1)] {
        let answer = crate::support::get(gateway.web(), "/api/meters").await;
        let (_, list) = answer.split_once("\r\n\r\n").unwrap();
        let list: Value = serde_json::from_str(list).unwrap();
        assert_eq!(list.as_array().unwrap().len(), own, "{list:#}");
    }
    other.stop().await;
    gateway.stop().await;
}
