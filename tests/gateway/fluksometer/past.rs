//! What a Fluksometer has kept itself.

use meter_protocols::flukso::tmpo::{Block, Point};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::Value;

use super::device::{DEVICE, Flm, parts, session};
use crate::meters::reading;
use crate::subscriber::Subscriber;
use crate::support::Site;

/// The clamp of the FLM02.
const MAIN: &str = "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1";

/// A block of level 8 that ended some windows ago.
fn block(windows_ago: i64) -> (i64, Vec<u8>) {
    let now = meterbridge::model::Timestamp::now().seconds();
    let bid = now - now % 256 - 256 * windows_ago;
    let points = (0..10).map(|n| Point { at: bid + 10 * n, milli: 2_149_000_000 + 1000 * n });
    let config = format!("{{\"id\":\"{MAIN}\",\"class\":\"analog\",\"type\":\"electricity\"}}");
    let block = Block::new(config, points.collect()).unwrap();
    (bid, block.gzip())
}

async fn publish(flm: &Flm, topic: String, payload: Vec<u8>) {
    let address = flm.address;
    let mut options = MqttOptions::new("tmpo", address.ip().to_string(), address.port());
    options.set_max_packet_size(1 << 20, 1 << 20);
    let (client, mut events) = AsyncClient::new(options, 10);
    client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
    loop {
        if let Event::Incoming(Packet::PubAck(_)) = events.poll().await.unwrap() {
            return;
        }
    }
}

/// The entry for the clamp in the `n`th question.
async fn asked(asker: &Subscriber, n: usize) -> Value {
    let list = asker.on(&format!("/d/device/{DEVICE}/tmpo/sync"), n).await;
    let list: Value = serde_json::from_str(&list[n - 1]).unwrap();
    let entries = list.as_array().unwrap();
    assert_eq!(entries.len(), 6, "every sensor in use: {list}");
    entries.iter().find(|entry| entry["sid"] == MAIN).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_past_is_asked_for_taken_over_and_asked_for_from_there_on() {
    let flm = Flm::start().await;
    let (documents, readings) = parts(session("flm02b"));
    let asker = Subscriber::to(flm.address, "/d/#").await;
    flm.say(&documents);
    let site = Site::new(&flm.entry("cellar"));
    let gateway = site.start().await;
    let first = asked(&asker, 1).await;
    assert_eq!((&first["rid"], &first["lvl"], &first["bid"]), (&0.into(), &0.into(), &0.into()));
    let (bid, gzip) = block(5);
    publish(&flm, format!("/sensor/{MAIN}/tmpo/0/8/{bid}/gz"), gzip.clone()).await;
    gateway.until_metric("meterbridge_flukso_blocks_total", |count| count == 1).await;
    // Malformed ones, and those of sensors that it does not have, do no harm.
    let wrong = format!("/sensor/{MAIN}/tmpo/0/8/{}/gz", bid + 1);
    publish(&flm, wrong, gzip.clone()).await;
    publish(&flm, format!("/sensor/{MAIN}/tmpo/0/8/{}/gz", bid + 256), b"nonsense".to_vec()).await;
    publish(&flm, format!("/sensor/{}/tmpo/0/8/{bid}/gz", "ee".repeat(16)), gzip).await;
    gateway.until_metric("meterbridge_history_malformed_blocks_total", |count| count == 2).await;
    assert_eq!(gateway.metric("meterbridge_flukso_blocks_total").await, 1);
    gateway.stop().await;

    // The next run goes on behind it, and live readings make no difference to that.
    let gateway = site.start().await;
    let second = asked(&asker, 2).await;
    assert_eq!((&second["lvl"], &second["bid"]), (&8.into(), &bid.into()));
    let subscriber = Subscriber::to(gateway.broker(), "/sensor/+/counter").await;
    flm.say(&readings);
    let counter = readings.iter().find(|said| said.topic.ends_with("/counter")).unwrap();
    let got = subscriber.on(&counter.topic, 1).await;
    assert_eq!(reading(&got[0]).2, "Wh");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_asks_is_answered() {
    let flm = Flm::start().await;
    let (documents, _) = parts(session("flm03e"));
    let asker = Subscriber::to(flm.address, "/d/#").await;
    flm.say(&documents);
    let site = Site::new(&flm.entry("cellar"));
    let _gateway = site.start().await;
    let topic = format!("/d/device/{DEVICE}/tmpo/sync");
    let first: Value = serde_json::from_str(&asker.on(&topic, 1).await[0]).unwrap();
    // q2 and alpha are not recorded.
    assert_eq!(first.as_array().unwrap().len(), 22);
    flm.publish(&format!("/device/{DEVICE}/tmpo/sync"), "", false);
    asker.on(&topic, 2).await;
}
