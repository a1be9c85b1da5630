//! Who can be heard, and how it ends: `availability`, time-outs, the clean stop.

use std::time::Duration;

use meterbridge::gateway::GatewayError;

use crate::meters::{bytes, gem, gem_ch1};
use crate::subscriber::Subscriber;
use crate::support::{HOUSE, Running, Site, free_port};

const AVAILABILITY: &str = "powermeter/house/state/availability";
const STATE: &str = "meterbridge/bridge/state";
/// What the contract allows a stop to take.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

async fn stop_in_time(mut gateway: Running) {
    gateway.begin_stop();
    let stopped = tokio::time::timeout(STOP_DEADLINE, gateway.stopped());
    stopped.await.expect("a clean stop takes ten seconds at most");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offline_until_heard_and_again_after_the_time_out() {
    let site = Site::new(&format!("{HOUSE}    timeout: 1s\n"));
    let gateway = site.start().await;
    let subscriber = Subscriber::to(gateway.broker(), AVAILABILITY).await;
    subscriber.on(AVAILABILITY, 1).await;
    let mut meter = gateway.dial().await;
    meter.send(&bytes(&gem_ch1(100, 36_000, 0))).await;
    // The connection stays, and nothing more comes over it.
    assert_eq!(changes(&subscriber, 3).await, ["offline", "online", "offline"]);
    gateway.until_metric("meterbridge_meters_online", |online| online == 0).await;
    // Who comes now finds it so.
    let late = Subscriber::v5(gateway.broker(), AVAILABILITY).await;
    assert_eq!(late.on(AVAILABILITY, 1).await, ["offline"]);
    assert!(late.seen()[0].retain);
    meter.send(&bytes(&gem_ch1(110, 46_000, 0))).await;
    assert_eq!(changes(&subscriber, 4).await[3], "online");
    assert_eq!(late.on(AVAILABILITY, 2).await[1], "online");
}

/// The first states that differ from the one before. The same one may be told twice: who subscribes
/// at the very start gets what is retained, and again what the adapter begins with.
async fn changes(subscriber: &Subscriber, count: usize) -> Vec<String> {
    let mut told = count;
    loop {
        let mut states = subscriber.on(AVAILABILITY, told).await;
        states.dedup();
        if states.len() >= count {
            return states;
        }
        told += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn online_comes_before_the_first_reading() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    gateway.dial().await.send(&bytes(&gem_ch1(100, 36_000, 0))).await;
    subscriber.packets("house", 1).await;
    let seen = subscriber.seen();
    let place = |found: &dyn Fn(&str, &str) -> bool| {
        seen.iter().position(|message| found(&message.topic, &message.payload))
    };
    let online = place(&|topic, payload| topic == AVAILABILITY && payload == "online");
    let reading = place(&|topic, _| topic.starts_with("/sensor/"));
    assert!(online.is_some() && online < reading, "{online:?} {reading:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_tells_those_who_stay() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let subscribers = [gateway.subscriber().await, Subscriber::v5(gateway.broker(), "#").await];
    let mut meter = gateway.dial().await;
    // One that is adopted, and half a packet that will never be whole.
    meter.send(&bytes(&gem_ch1(100, 36_000, 0))).await;
    meter.send(&bytes(&gem(1, 100))).await;
    meter.send(&bytes(&gem(1, 110))[..200]).await;
    let silent = gateway.dial().await;
    for subscriber in &subscribers {
        subscriber.packets("gem-01100001", 1).await;
        subscriber.until(STATE, "online").await;
    }
    stop_in_time(gateway).await;
    for subscriber in &subscribers {
        subscriber.messages.closed("the end of the connection").await;
        for name in ["house", "gem-01100001"] {
            let topic = format!("powermeter/{name}/state/availability");
            assert_eq!(subscriber.last(&topic).as_deref(), Some("offline"), "{name}");
        }
        assert_eq!(subscriber.last(STATE).as_deref(), Some("offline"));
        assert_eq!(subscriber.seen().last().unwrap().topic, STATE, "said last");
    }
    drop((meter, silent));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_before_the_stop_is_published() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let stream: Vec<u8> = (0..200_u32)
        .flat_map(|n| bytes(&gem_ch1(100 + n, 36_000 + u64::from(n) * 360, 0)))
        .collect();
    gateway.dial().await.send(&stream).await;
    gateway.until_metric("meterbridge_packets_total", |packets| packets == 200).await;
    stop_in_time(gateway).await;
    subscriber.messages.closed("the end of the connection").await;
    let packets = subscriber.payloads("powermeter/house/state/channels").len();
    assert_eq!(packets, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_every_known_meter_is_offline_until_it_is_heard() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    gateway.dial().await.send(&[bytes(&gem(603, 100)), bytes(&gem(1, 100))].concat()).await;
    subscriber.packets("gem-01100001", 1).await;
    gateway.stop().await;

    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    for name in ["house", "gem-01100001"] {
        subscriber.until(&format!("powermeter/{name}/state/availability"), "offline").await;
    }
    gateway.dial().await.send(&bytes(&gem(1, 110))).await;
    subscriber.until("powermeter/gem-01100001/state/availability", "online").await;
    assert_eq!(subscriber.last(AVAILABILITY).as_deref(), Some("offline"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_port_is_free_again_after_the_stop() {
    let port = free_port();
    let site = Site::new(&HOUSE.replace("127.0.0.1:0", &format!("127.0.0.1:{port}")));
    for _ in 0..3 {
        let gateway = site.start().await;
        let mut meter = gateway.dial().await;
        meter.send(&bytes(&gem(603, 100))).await;
        stop_in_time(gateway).await;
        meter.closed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_told_before_anything_runs() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let site = Site::new(&HOUSE.replace("127.0.0.1:0", &address));
    let error = site.build().await.expect_err("the port is taken");
    assert!(matches!(error, GatewayError::Link(_)), "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
}
