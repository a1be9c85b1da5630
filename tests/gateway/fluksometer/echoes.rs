//! The gateway's own messages come back in many ways, and are never taken for a Fluksometer's.

use serde_json::Value;

use super::bridge::Bridge;
use super::device::{DEVICE, Flm, parts, session};
use super::until_described;
use crate::meters::{GEM, bytes, counter, device_id, gem_ch1};
use crate::subscriber::Subscriber;
use crate::support::{Meter, Running, Site};

const BOTH: &str = "
  - name: house
    kind: brultech
    link: {listen: 127.0.0.1:0}
  - name: cellar
    kind: fluksometer
    link: {mqtt: embedded}
";

/// The names of the meters that the gateway knows.
async fn names(subscriber: &Subscriber, wanted: &[&str]) -> Vec<String> {
    let find = |text: &str| -> Vec<String> {
        let list: Value = serde_json::from_str(text).unwrap();
        let names = list.as_array().unwrap().iter();
        names.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    subscriber
        .messages
        .until(&format!("the meters {wanted:?}"), |all| {
            let mut lists = all.iter().filter(|one| one.topic == "meterbridge/bridge/devices");
            let last = lists.next_back().map(|one| find(&one.payload))?;
            wanted.iter().all(|name| last.iter().any(|one| one == name)).then_some(last)
        })
        .await
}

async fn send_packets(meter: &mut Meter, from: u32) {
    for n in 0..3_u32 {
        meter.send(&bytes(&gem_ch1(from + 10 * n, 36_000 + u64::from(from + n) * 5_000, 0))).await;
    }
}

/// Lets a Fluksometer speak, which comes after everything that was said before it, and looks at who
/// is known then.
async fn only_two(gateway: &Running, subscriber: &Subscriber, bridge: &Bridge) {
    let (documents, readings) = parts(session("flm02b"));
    bridge.say(&documents).await;
    bridge.say(&readings).await;
    subscriber.packets("cellar", 1).await;
    assert_eq!(names(subscriber, &["house", "cellar"]).await, ["cellar", "house"]);
    assert_eq!(gateway.metric("meterbridge_strange_packets_total").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_bridge_brings_back_is_not_taken_for_a_fluksometers() {
    let site = Site::new(BOTH);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let bridge = Bridge::both(gateway.broker()).await;
    let mut meter = gateway.dial().await;
    send_packets(&mut meter, 100).await;
    // Everything once by the gateway and once by the bridge.
    subscriber.on(&format!("/device/{}/config/sensor", device_id(GEM)), 2).await;
    subscriber.on(&counter(GEM, "ch1", "pplus"), 6).await;
    only_two(&gateway, &subscriber, &bridge).await;
    gateway.stop().await;

    // After a restart the documents are there before the meter is heard.
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let bridge = Bridge::both(gateway.broker()).await;
    let (_, readings) = parts(session("flm02b"));
    bridge.say(&readings).await;
    subscriber.packets("cellar", 1).await;
    let mut meter = gateway.dial().await;
    send_packets(&mut meter, 200).await;
    subscriber.packets("house", 3).await;
    assert_eq!(names(&subscriber, &["house", "cellar"]).await, ["cellar", "house"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_of_a_gateway_that_is_gone_are_not_taken_for_a_fluksometers() {
    let broker = Flm::start().await;
    let port = broker.address.port();
    let site = |meters: &str| {
        let site = Site::bare();
        let text = format!(
            "data_dir: {:?}\nbroker:\n  mode: external\n  external: {{url: \"mqtt://127.0.0.1:{port}\", \
             client_id: gateway-{}}}\nweb: {{listen: 127.0.0.1:0}}\nmeters:{meters}",
            site.path().join("data"),
            fastrand::u32(..),
        );
        std::fs::write(site.config_file(), text).unwrap();
        site
    };
    let (house, cellar) = BOTH.split_at(BOTH.find("  - name: cellar").unwrap());
    let first = site(house);
    let gateway = first.start().await;
    let subscriber = Subscriber::new(broker.address).await;
    let mut meter = gateway.dial().await;
    send_packets(&mut meter, 100).await;
    subscriber.on(&format!("/device/{}/config/sensor", device_id(GEM)), 1).await;
    gateway.stop().await;

    // Another gateway with a disk of its own, and the first one's documents on the broker.
    let second = site(&format!("\n{cellar}"));
    let gateway = second.start().await;
    let (documents, readings) = parts(session("flm02b"));
    broker.say(&documents);
    // The device's own, and the gateway's in its place.
    subscriber.on(&format!("/device/{DEVICE}/config/sensor"), 2).await;
    broker.say(&readings);
    subscriber.packets("cellar", 1).await;
    let device = device_id(GEM);
    let last = names(&subscriber, &["cellar"]).await;
    assert_eq!(last, ["cellar"], "the meter {device} of another gateway");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fluksometer_that_is_read_elsewhere_is_one_meter() {
    let flm = Flm::start().await;
    let (documents, readings) = parts(session("flm03e"));
    flm.say(&documents);
    let site = Site::new(&format!(
        "{}  - name: any\n    kind: fluksometer\n    link: {{mqtt: embedded}}\n",
        flm.entry("cellar")
    ));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    until_described(&subscriber, DEVICE).await;
    flm.say(&readings);
    subscriber.packets("cellar", 1).await;
    for said in &readings {
        assert_eq!(subscriber.on(&said.topic, 1).await.len(), 1, "{}", said.topic);
    }
    gateway.stop().await;
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    subscriber.until("powermeter/cellar/state/availability", "online").await;
    let last = names(&subscriber, &["cellar"]).await;
    assert_eq!(last, ["cellar"], "its documents on the gateway's broker are the gateway's");
}
