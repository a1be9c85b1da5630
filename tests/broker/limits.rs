//! Bounds: what a client can make the broker hold, and who pays for it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use meterbridge::broker::{Broker, BrokerSettings, Link, Message, QoS};

use crate::support::{Raw, TestBroker, connect, packet, string, within};

/// Publishes the same message many times over.
fn load(link: &Link, topic: &str, count: usize, size: usize, qos: QoS) {
    let payload = vec![b'x'; size];
    let message = Message { topic, payload: &payload, qos, retain: false };
    link.publish_all((0..count).map(|_| message));
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_loses_its_oldest_qos_0_and_harms_nobody() {
    let broker = TestBroker::with(|settings| settings.limits.queued_messages = 100).await;
    let mut slow = broker.client(4, "slow").await;
    slow.subscribe("a", 0).await;
    let mut quick = broker.client(4, "quick").await;
    quick.subscribe("a", 0).await;
    // Far more than the sockets' buffers hold.
    for _ in 0..200 {
        load(&broker.link, "a", 50, 10_000, QoS::AtMostOnce);
        for _ in 0..50 {
            quick.message().await;
        }
    }
    assert!(broker.stats.dropped_queue_full.load(Ordering::Relaxed) > 1_000);
    load(&broker.link, "a", 1, 3, QoS::AtMostOnce);
    // It is still a client, and what it reads ends with the newest.
    within(async { while slow.message().await.3.len() != 3 {} }).await;
    slow.ping().await;
}

#[tokio::test]
async fn a_queue_full_of_qos_1_ends_the_connection_with_a_reason() {
    let broker = TestBroker::with(|settings| settings.limits.queued_messages = 2_000).await;
    let mut slow = broker.client(5, "slow").await;
    slow.subscribe("a", 1).await;
    // The window takes 1,024 of them, the queue 2,000.
    load(&broker.link, "a", 5_000, 1, QoS::AtLeastOnce);
    let packets = slow.until_closed().await;
    assert_eq!(packets.last().unwrap(), &(0xE0, vec![0x97]));
    assert!(broker.stats.dropped_quota.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn connections_are_limited_in_all_and_by_address() {
    for per_address in [true, false] {
        let broker = TestBroker::with(|settings| match per_address {
            true => settings.limits.connections_per_address = 3,
            false => settings.limits.connections = 3,
        })
        .await;
        let mut held = Vec::new();
        for n in 0..3 {
            held.push(broker.client(4, &format!("c{n}")).await);
        }
        for _ in 0..5 {
            let mut refused = Raw::open(broker.address).await;
            refused.try_send(&connect(4, "too many", 2, 0, &[])).await;
            assert_eq!(refused.until_closed().await, [(0x20, vec![0, 3])], "server unavailable");
        }
        for client in &mut held {
            client.ping().await;
        }
        assert_eq!(broker.stats.refused_connections.load(Ordering::Relaxed), 5);
        held.pop();
        within(async {
            while broker.stats.connections.load(Ordering::Relaxed) == 3 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        broker.client(4, "room again").await.ping().await;
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let broker = TestBroker::with(|settings| {
        settings.limits.connect_timeout = Duration::from_millis(200);
    })
    .await;
    let mut silent = Raw::open(broker.address).await;
    let mut slow = Raw::open(broker.address).await;
    slow.send(&connect(4, "slow", 2, 0, &[])[..5]).await;
    assert_eq!(silent.until_closed().await, []);
    assert_eq!(slow.until_closed().await, []);
    assert_eq!(broker.stats.connect_timeouts.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn anonymous_clients_are_refused_where_they_are_not_allowed() {
    let broker = TestBroker::with(|settings| settings.access.allow_anonymous = false).await;
    for (level, code) in [(4, 5), (5, 0x87)] {
        let mut raw = Raw::open(broker.address).await;
        raw.send(&connect(level, "x", 2, 0, &[])).await;
        assert_eq!(raw.packet().await.1[1], code);
        assert_eq!(raw.until_closed().await, []);
    }
}

#[tokio::test]
async fn more_open_qos_2_than_announced_ends_the_connection() {
    let broker = TestBroker::with(|settings| settings.limits.inflight = 10).await;
    let mut client = broker.client(5, "c").await;
    for id in 1..=11 {
        client.publish("a", b"x", 0x04, id).await;
    }
    let packets = client.until_closed().await;
    assert_eq!(packets.len(), 11);
    assert_eq!(packets[10], (0xE0, vec![0x93]));
}

#[tokio::test]
async fn more_topics_than_may_be_retained_are_delivered_and_refused() {
    let broker = TestBroker::with(|settings| settings.limits.retained_messages = 2).await;
    let mut client = broker.client(5, "c").await;
    for (id, topic, code) in [(1, "a", 0x10), (2, "b", 0x10), (3, "c", 0x97), (4, "a", 0x10)] {
        client.publish(topic, b"x", 0x03, id).await;
        let (first, body) = client.packet().await;
        assert_eq!((first, body[2]), (0x40, code));
    }
    assert_eq!(broker.stats.dropped_retain.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn more_bytes_than_may_be_retained_are_delivered_and_refused() {
    let broker = TestBroker::with(|settings| settings.limits.retained_bytes = 20_000).await;
    let mut client = broker.client(5, "c").await;
    let steps = [
        (1, "a", 8_000, 0x10),
        (2, "b", 8_000, 0x10),
        (3, "c", 8_000, 0x97),
        (4, "a", 7_000, 0x10),
        (5, "b", 15_000, 0x97),
    ];
    for (id, topic, size, code) in steps {
        client.publish(topic, &vec![b'x'; size], 0x03, id).await;
        let (first, body) = client.packet().await;
        assert_eq!((first, body[2]), (0x40, code), "{topic} of {size}");
    }
    assert_eq!(broker.stats.dropped_retain.load(Ordering::Relaxed), 2);
    client.subscribe("#", 0).await;
    let (_, topic, _, payload) = client.message().await;
    assert_eq!((&*topic, payload.len()), ("a", 7_000));
    // A value that does not fit takes the old one with it: none is better than a wrong one.
    client.ping().await;
    assert!(broker.stats.retained_bytes.load(Ordering::Relaxed) < 8_000);
}

#[tokio::test]
async fn sessions_of_absent_clients_shut_nobody_out_who_leaves_none_behind() {
    let broker = TestBroker::with(|settings| settings.limits.connections = 3).await;
    let kept = async |id: &str| {
        let mut raw = Raw::open(broker.address).await;
        raw.send(&connect(4, id, 0, 0, &[])).await;
        let (_, body) = raw.packet().await;
        raw.send(&[0xE0, 0]).await;
        raw.until_closed().await;
        body[1]
    };
    for n in 0..30 {
        assert_eq!(kept(&format!("c{n}")).await, 0);
    }
    assert_eq!(kept("one too many").await, 3);
    assert_eq!(kept("c7").await, 0, "it has one");
    broker.client(4, "clean").await.ping().await;
    let _there = broker.client(4, "one too many").await;
    assert_eq!(kept("one too many").await, 3, "nor by way of one that is not kept");
}

#[tokio::test]
async fn a_client_may_subscribe_to_so_much_text_and_no_more() {
    let broker = TestBroker::start().await;
    let mut client = broker.client(5, "c").await;
    let long = "x".repeat(60_000);
    let mut granted = 0;
    for n in 0..100 {
        let filter = string(&format!("{long}{n}"));
        client.send(&packet(0x82, &[&[0, 1, 0], &*filter, &[0]].concat())).await;
        let (first, body) = client.packet().await;
        assert_eq!(first, 0x90);
        match body.last() {
            Some(0) => granted += 1,
            code => assert_eq!(code, Some(&0x97)),
        }
    }
    assert_eq!(granted, 69, "4 MiB");
    assert_eq!(broker.stats.refused_subscribes.load(Ordering::Relaxed), 31);
    let filter = string(&format!("{long}0"));
    client.send(&packet(0xA2, &[&[0, 1, 0], &*filter].concat())).await;
    client.packet().await;
    client.subscribe("room/again", 0).await;
}

#[tokio::test]
async fn a_subscription_of_the_gateway_that_ends_is_no_take_over() {
    let broker = TestBroker::start().await;
    drop(broker.link.subscribe("#").unwrap());
    let _first = broker.client(4, "c").await;
    let mut again = broker.client(4, "c").await;
    again.ping().await;
    assert_eq!(broker.stats.take_overs.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_filter_of_many_levels_is_refused_and_a_topic_of_many_is_not() {
    let broker = TestBroker::start().await;
    let mut client = broker.client(4, "c").await;
    client.subscribe("#", 0).await;
    let deep = "/".repeat(60_000);
    client.send(&packet(0x82, &[&[0, 1][..], &string(&deep), &[0]].concat())).await;
    assert_eq!(client.packet().await, (0x90, vec![0, 1, 0x80]));
    client.publish(&deep, b"x", 1, 0).await;
    assert_eq!(client.message().await.1, deep);
}

#[tokio::test]
async fn a_port_in_use_is_named_with_what_to_do() {
    let broker = TestBroker::start().await;
    let settings = BrokerSettings { listen: vec![broker.address], ..BrokerSettings::default() };
    let error = Broker::bind(settings).await.unwrap_err().to_string();
    assert!(
        error.contains(&broker.address.to_string()) && error.contains("another program"),
        "{error}"
    );
    let nowhere = BrokerSettings { listen: Vec::new(), ..BrokerSettings::default() };
    assert!(Broker::bind(nowhere).await.is_err());
}

#[tokio::test]
async fn several_addresses_are_one_broker() {
    let listen = ["127.0.0.1:0", "127.0.0.2:0"].map(|text| text.parse().unwrap()).to_vec();
    let broker = TestBroker::with(|settings| settings.listen = listen).await;
    assert_eq!(broker.addresses.len(), 2);
    let mut one = broker.client(4, "one").await;
    one.subscribe("a", 0).await;
    let mut other = Raw::open(broker.addresses[1]).await;
    other.send(&connect(5, "other", 2, 0, &[])).await;
    other.packet().await;
    other.level = 5;
    other.publish("a", b"x", 0, 0).await;
    assert_eq!(one.message().await.3, b"x");
}
