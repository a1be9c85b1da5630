//! Messages from publishers to subscribers: QoS, wildcards, retained, properties, the gateway's link.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use meterbridge::broker::{Message, QoS};

use crate::support::{Raw, TestBroker, connect_with, packet, string, within};

fn message<'a>(topic: &'a str, payload: &'a str, qos: QoS, retain: bool) -> Message<'a> {
    Message { topic, payload: payload.as_bytes(), qos, retain }
}

#[tokio::test]
async fn every_pair_of_qos_and_version_delivers_with_the_lower_qos() {
    let broker = TestBroker::start().await;
    for (publisher_level, subscriber_level) in [(4, 4), (4, 5), (5, 4), (5, 5)] {
        let mut publisher = broker.client(publisher_level, "publisher").await;
        for granted in 0..3 {
            let mut subscriber = broker.client(subscriber_level, "subscriber").await;
            subscriber.subscribe("/sensor/+/gauge", granted).await;
            for sent in 0..3_u8 {
                publisher.publish("/sensor/1/gauge", &[sent], sent << 1, 5).await;
                finish_publishing(&mut publisher, sent, 5).await;
                let (flags, topic, id, payload) = subscriber.message().await;
                assert_eq!(flags, granted.min(sent) << 1);
                assert_eq!((topic.as_str(), payload), ("/sensor/1/gauge", vec![sent]));
                finish_receiving(&mut subscriber, granted.min(sent), id).await;
            }
            subscriber.ping().await;
        }
    }
}

/// The publisher's side of the exchange.
async fn finish_publishing(publisher: &mut Raw, qos: u8, id: u8) {
    match qos {
        0 => {}
        1 => assert_eq!(publisher.packet().await.0, 0x40),
        _ => {
            let (first, body) = publisher.packet().await;
            assert_eq!((first, &body[..2]), (0x50, &[0, id][..]));
            publisher.send(&[0x62, 2, 0, id]).await;
            let (first, body) = publisher.packet().await;
            assert_eq!((first, &body[..]), (0x70, &[0, id][..]));
        }
    }
}

/// The subscriber's side of the exchange.
async fn finish_receiving(subscriber: &mut Raw, qos: u8, id: u16) {
    let [high, low] = id.to_be_bytes();
    match qos {
        0 => {}
        1 => subscriber.send(&[0x40, 2, high, low]).await,
        _ => {
            subscriber.send(&[0x50, 2, high, low]).await;
            assert_eq!(subscriber.packet().await, (0x62, vec![high, low]));
            subscriber.send(&[0x70, 2, high, low]).await;
        }
    }
}

#[tokio::test]
async fn overlapping_subscriptions_deliver_once_with_the_highest_qos_and_all_ids() {
    let broker = TestBroker::start().await;
    let mut subscriber = broker.client(5, "s").await;
    for (id, filter, qos) in [(1, "a/#", 0), (2, "a/+", 1), (200, "a/b", 0)] {
        let id: &[u8] = if id < 128 { &[2, 0x0B, id] } else { &[3, 0x0B, 0xC8, 0x01] };
        let body = [&[0, 3], id, &string(filter), &[qos]].concat();
        subscriber.send(&packet(0x82, &body)).await;
        assert_eq!(subscriber.packet().await.0, 0x90);
    }
    broker.publish_with_qos_2(&[("a/b", b"x")], false).await;
    let (first, body) = subscriber.packet().await;
    assert_eq!(first, 0x32, "QoS 1, the highest granted");
    let mut ids = body[7 + 1..body.len() - 1].to_vec();
    assert_eq!(ids.len(), 2 + 2 + 3);
    ids.sort_unstable();
    assert_eq!(ids, [0x01, 0x01, 0x02, 0x0B, 0x0B, 0x0B, 0xC8]);
    subscriber.ping().await;
}

#[tokio::test]
async fn system_topics_are_kept_from_leading_wildcards() {
    let broker = TestBroker::start().await;
    let mut subscriber = broker.client(4, "s").await;
    subscriber.subscribe("#", 0).await;
    subscriber.subscribe("+/x", 0).await;
    broker.link.publish(message("$SYS/x", "hidden", QoS::AtMostOnce, false));
    broker.link.publish(message("ä/x", "seen", QoS::AtMostOnce, false));
    assert_eq!(subscriber.message().await.1, "ä/x");
    subscriber.subscribe("$SYS/x", 0).await;
    broker.link.publish(message("$SYS/x", "now", QoS::AtMostOnce, false));
    assert_eq!(subscriber.message().await.3, b"now");
}

async fn retain_many(broker: &TestBroker, count: usize) {
    let topics: Vec<String> = (0..count).map(|n| format!("/sensor/{n:05}/gauge")).collect();
    let payload = &b"[1,2,\"W\"]"[..];
    let messages: Vec<_> = topics.iter().map(|topic| (topic.as_str(), payload)).collect();
    broker.publish_with_qos_2(&messages, true).await;
}

#[tokio::test]
async fn a_thousand_retained_messages_reach_a_new_subscriber_once_at_every_qos() {
    let broker = TestBroker::start().await;
    retain_many(&broker, 1_000).await;
    for (level, qos) in [(4, 0), (4, 1), (4, 2), (5, 0), (5, 1), (5, 2)] {
        let mut subscriber = broker.client(level, "s").await;
        subscriber.subscribe("#", qos).await;
        read_retained(&mut subscriber, qos, 1_000).await;
    }
}

#[tokio::test]
async fn fifty_thousand_retained_messages_reach_a_new_subscriber_once_at_every_qos() {
    // A queue far smaller than the retained set: it is fed as it empties.
    let broker = TestBroker::with(|settings| settings.limits.queued_messages = 1_500).await;
    retain_many(&broker, 50_000).await;
    for qos in [0, 1, 2] {
        let mut subscriber = broker.client(4, "s").await;
        subscriber.subscribe("#", qos).await;
        read_retained(&mut subscriber, qos, 50_000).await;
    }
}

/// Takes `count` retained messages, acknowledging them, and looks that each topic came once.
async fn read_retained(subscriber: &mut Raw, qos: u8, count: usize) {
    let mut topics = Vec::new();
    let mut acks = Vec::new();
    while topics.len() < count {
        let (first, body) = subscriber.packet().await;
        match first >> 4 {
            3 => {
                assert_eq!(first & 0x0F, (qos << 1) | 1, "retain flag set, DUP not");
                topics.push(String::from_utf8(body[2..21].to_vec()).unwrap());
                let id = [body[21], body[22]];
                match qos {
                    0 => {}
                    1 => acks.extend([0x40, 2, id[0], id[1]]),
                    _ => acks.extend([0x50, 2, id[0], id[1]]),
                }
            }
            6 => acks.extend([0x70, 2, body[0], body[1]]),
            kind => panic!("packet of type {kind}"),
        }
        if acks.len() > 200 {
            subscriber.send(&acks).await;
            acks.clear();
        }
    }
    topics.sort();
    topics.dedup();
    assert_eq!(topics.len(), count, "each topic once");
}

#[tokio::test]
async fn retained_messages_are_set_replaced_and_cleared() {
    let broker = TestBroker::start().await;
    let mut live = broker.client(4, "live").await;
    live.subscribe("a", 0).await;
    let mut publisher = broker.client(4, "p").await;
    for payload in ["1", "2"] {
        publisher.publish("a", payload.as_bytes(), 1, 0).await;
        assert_eq!(live.message().await.0, 0, "a live message has no retain flag");
    }
    let mut late = broker.client(4, "late").await;
    late.subscribe("a", 0).await;
    assert_eq!(late.message().await, (1, "a".into(), 0, b"2".to_vec()));
    late.subscribe("a", 0).await;
    assert_eq!(late.message().await.0, 1, "3.1.1 sends it with every SUBSCRIBE");
    publisher.publish("a", b"", 1, 0).await;
    assert_eq!(live.message().await.3, b"", "clearing is delivered");
    assert_eq!(late.message().await.3, b"");
    let mut last = broker.client(4, "last").await;
    last.subscribe("a", 0).await;
    last.ping().await;
}

#[tokio::test]
async fn subscription_options_of_mqtt_5() {
    let broker = TestBroker::start().await;
    broker.link.publish(message("a", "old", QoS::AtMostOnce, true));
    let mut client = broker.client(5, "c").await;
    // No-local, retain as published, retained messages never.
    client.subscribe("a", 0x04 | 0x08 | 0x20).await;
    client.publish("a", b"own", 1, 0).await;
    client.ping().await;
    broker.link.publish(message("a", "new", QoS::AtMostOnce, true));
    assert_eq!(client.message().await.0, 1, "the publisher's retain flag is kept");
    // Retained messages only to new subscriptions: this one is not.
    client.subscribe("a", 0x10).await;
    client.ping().await;
    client.subscribe("+", 0x10).await;
    assert_eq!(client.message().await.3, b"new");
}

#[tokio::test]
async fn properties_travel_and_expired_messages_do_not() {
    let broker = TestBroker::start().await;
    let mut subscriber = broker.client(5, "s").await;
    subscriber.subscribe("a", 0).await;
    let mut publisher = broker.client(5, "p").await;
    let travelling = [
        &[0x01, 1][..],
        &[0x03, 0, 1, b't'],
        &[0x08, 0, 1, b'r'],
        &[0x09, 0, 2, 0, 0xFF],
        &[0x26, 0, 1, b'k', 0, 1, b'2'],
        &[0x26, 0, 1, b'k', 0, 1, b'1'],
    ]
    .concat();
    let properties = [&[0x02, 0, 0, 0, 100][..], &[0x23, 0, 2], &travelling].concat();
    let length = [u8::try_from(properties.len()).unwrap()];
    publisher.send(&packet(0x30, &[&string("a")[..], &length, &properties, b"x"].concat())).await;
    let (_, body) = subscriber.packet().await;
    let length = u8::try_from(travelling.len() + 5).unwrap();
    assert_eq!(body[3..5], [length, 0x02]);
    assert_eq!(&body[9..], [&travelling[..], b"x"].concat());
    // By the alias that was set above, retained, and dead on arrival.
    publisher
        .send(&packet(0x31, &[&[0, 0, 8, 0x23, 0, 2, 0x02, 0, 0, 0, 0][..], b"y"].concat()))
        .await;
    publisher.ping().await;
    let mut late = broker.client(5, "late").await;
    late.subscribe("a", 0).await;
    late.ping().await;
}

#[tokio::test]
async fn packets_beyond_the_clients_maximum_are_left_out() {
    let broker = TestBroker::start().await;
    let mut client = Raw::open(broker.address).await;
    client.send(&connect_with(5, "c", 2, 0, &[0x27, 0, 0, 0, 40], &[])).await;
    client.packet().await;
    client.level = 5;
    client.subscribe("a", 1).await;
    for payload in ["x".repeat(100), "fits".to_owned()] {
        broker.link.publish(message("a", &payload, QoS::AtLeastOnce, false));
    }
    assert_eq!(client.message().await.3, b"fits");
}

#[tokio::test]
async fn a_shared_subscription_hands_each_message_to_one_member() {
    let broker = TestBroker::start().await;
    let mut members = [broker.client(5, "m1").await, broker.client(5, "m2").await];
    for member in &mut members {
        member.subscribe("$share/g/work/+", 0).await;
    }
    for n in 0..10 {
        broker.link.publish(message("work/x", &n.to_string(), QoS::AtMostOnce, false));
    }
    let mut seen = Vec::new();
    for member in &mut members {
        for _ in 0..5 {
            seen.push(member.message().await.3);
        }
        member.ping().await;
    }
    seen.sort();
    assert_eq!(seen, (0..10).map(|n| n.to_string().into_bytes()).collect::<Vec<_>>());
}

#[tokio::test]
async fn unsubscribing_ends_delivery_and_is_answered_once() {
    let broker = TestBroker::start().await;
    for level in [4, 5] {
        let mut client = broker.client(level, "c").await;
        client.subscribe("a", 0).await;
        client.subscribe("b", 0).await;
        let none: &[u8] = if level == 5 { &[0] } else { &[] };
        let body = [&[0, 4], none, &string("a"), &string("other"), &string("b")].concat();
        client.send(&packet(0xA2, &body)).await;
        let expected: &[u8] = if level == 5 { &[0, 4, 0, 0, 0x11, 0] } else { &[0, 4] };
        assert_eq!(client.packet().await, (0xB0, expected.to_vec()));
        broker.link.publish(message("a", "x", QoS::AtMostOnce, false));
        client.ping().await;
    }
}

#[tokio::test]
async fn each_filter_of_a_subscribe_gets_its_own_answer() {
    let broker = TestBroker::start().await;
    for (level, refused) in [(4, 0x80), (5, 0x8F)] {
        let mut client = broker.client(level, "c").await;
        let none: &[u8] = if level == 5 { &[0] } else { &[] };
        let filters = [string("a"), vec![2], string("b#"), vec![0], string("c"), vec![0]].concat();
        client.send(&packet(0x82, &[&[0, 8], none, &filters].concat())).await;
        let (_, body) = client.packet().await;
        assert_eq!(body[body.len() - 3..], [2, refused, 0]);
        client.ping().await;
    }
}

#[tokio::test]
async fn the_link_publishes_and_subscribes_without_a_socket() {
    let broker = TestBroker::start().await;
    retain_many(&broker, 3_000).await;
    let mut subscription = broker.link.subscribe("/sensor/+/gauge").unwrap();
    for n in 0..3_000 {
        let received = within(subscription.recv()).await.unwrap();
        assert_eq!(*received.topic, *format!("/sensor/{n:05}/gauge"));
        assert!(received.retained);
    }
    let mut client = broker.client(4, "c").await;
    client.publish("/sensor/new/gauge", b"hello", 0x02, 9).await;
    let received = within(subscription.recv()).await.unwrap();
    assert_eq!((&*received.topic, &*received.payload), ("/sensor/new/gauge", &b"hello"[..]));
    assert!(!received.retained);
    assert!(broker.link.subscribe("a#").is_err());
    // Nonsense from the gateway is dropped, and logged.
    broker.link.publish(message("a/+", "x", QoS::AtMostOnce, false));
    let _: Arc<str> = received.topic;
}

#[tokio::test]
async fn a_batch_fans_out_to_every_subscriber_whole_and_in_order() {
    let broker = TestBroker::start().await;
    let mut subscribers = Vec::new();
    for n in 0..20 {
        let mut client = broker.client(if n % 2 == 0 { 4 } else { 5 }, &format!("s{n}")).await;
        client.subscribe(if n < 10 { "#" } else { "load/+" }, n % 3).await;
        subscribers.push(client);
    }
    for batch in 0..10 {
        let numbers: Vec<String> = (batch * 50..(batch + 1) * 50).map(|n| n.to_string()).collect();
        let messages = numbers.iter().map(|n| message("load/x", n, QoS::AtLeastOnce, false));
        broker.link.publish_all(messages);
    }
    for subscriber in &mut subscribers {
        for n in 0..500 {
            assert_eq!(subscriber.message().await.3, n.to_string().as_bytes());
        }
    }
}

/// Nothing else may be needed to wake a client whose last messages were all dropped.
#[tokio::test]
async fn a_message_too_large_for_its_subscriber_holds_up_nothing_behind_it() {
    let broker = TestBroker::start().await;
    let mut subscriber = Raw::open(broker.address).await;
    subscriber.level = 5;
    subscriber.send(&connect_with(5, "small", 0x02, 0, &[0x27, 0, 0, 0, 20], &[])).await;
    assert_eq!(subscriber.packet().await.1[1], 0);
    subscriber.subscribe("a", 1).await;
    for (qos, round) in [(QoS::AtMostOnce, 1), (QoS::AtLeastOnce, 2)] {
        broker.link.publish(message("a", "twenty bytes are not enough", qos, false));
        within(async {
            while broker.stats.dropped_too_large.load(Ordering::Relaxed) < round {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        broker.link.publish(message("a", "enough", qos, false));
        assert_eq!(subscriber.message().await.3, b"enough");
    }
}
