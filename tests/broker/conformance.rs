//! What the standard promises, as foreign test suites look at it: exchanges told packet by packet.

use meterbridge::broker::{Message, QoS};

use crate::support::{Raw, TestBroker, connect_with, packet, string, within};

/// An MQTT 5 client with properties in its CONNECT; answers the CONNACK's body as well.
async fn client5(broker: &TestBroker, id: &str, properties: &[u8]) -> (Raw, Vec<u8>) {
    let mut raw = Raw::open(broker.address).await;
    raw.send(&connect_with(5, id, 0x02, 0, properties, &[])).await;
    let (first, body) = raw.packet().await;
    assert_eq!((first, body[1]), (0x20, 0), "CONNACK for {id}");
    raw.level = 5;
    (raw, body)
}

fn say(broker: &TestBroker, topic: &str, payload: &[u8], qos: QoS) {
    broker.link.publish(Message { topic, payload, qos, retain: false });
}

/// A PUBLISH of MQTT 5 taken apart.
struct Published {
    topic: String,
    properties: Vec<u8>,
    payload: Vec<u8>,
}

async fn published(client: &mut Raw) -> Published {
    let (first, body) = client.packet().await;
    assert_eq!(first >> 4, 3, "PUBLISH, not {first:#x} {body:?}");
    let (topic, rest) = body[2..].split_at(usize::from(body[1]));
    let rest = if first & 0x06 == 0 { rest } else { &rest[2..] };
    let (properties, payload) = rest[1..].split_at(usize::from(rest[0]));
    Published {
        topic: String::from_utf8(topic.to_vec()).unwrap(),
        properties: properties.to_vec(),
        payload: payload.to_vec(),
    }
}

#[tokio::test]
async fn a_client_that_takes_topic_aliases_is_told_a_topic_once() {
    let broker = TestBroker::start().await;
    // Topic alias maximum 2.
    let (mut client, _) = client5(&broker, "c", &[0x22, 0, 2]).await;
    client.subscribe("sensor/#", 2).await;
    let all = [Some(QoS::AtMostOnce), Some(QoS::AtLeastOnce), None];
    for (topic, alias) in [("sensor/one", 1), ("sensor/two", 2)] {
        for (n, qos) in all.into_iter().enumerate() {
            match qos {
                Some(qos) => say(&broker, topic, b"x", qos),
                None => broker.publish_with_qos_2(&[(topic, b"x")], false).await,
            }
            let message = published(&mut client).await;
            assert_eq!(message.topic, if n == 0 { topic } else { "" });
            assert_eq!(
                (message.properties, message.payload),
                (vec![0x23, 0, alias], b"x".to_vec())
            );
        }
    }
    say(&broker, "sensor/three", b"x", QoS::AtMostOnce);
    let message = published(&mut client).await;
    assert_eq!((message.topic.as_str(), message.properties.len()), ("sensor/three", 0));
    // Aliases belong to a connection: none without leave, and none left from the one before.
    let (mut again, _) = client5(&broker, "c", &[]).await;
    again.subscribe("sensor/#", 0).await;
    say(&broker, "sensor/one", b"x", QoS::AtMostOnce);
    let message = published(&mut again).await;
    assert_eq!((message.topic.as_str(), message.properties.len()), ("sensor/one", 0));
}

#[tokio::test]
async fn an_alias_is_left_out_where_telling_it_would_make_the_packet_too_large() {
    let broker = TestBroker::start().await;
    // Maximum packet size 20, topic alias maximum 9: the packet is 20 bytes without an alias.
    let (mut client, _) = client5(&broker, "c", &[0x27, 0, 0, 0, 20, 0x22, 0, 9]).await;
    client.subscribe("a/bcd", 0).await;
    say(&broker, "a/bcd", &[b'x'; 10], QoS::AtMostOnce);
    let message = published(&mut client).await;
    assert_eq!((message.topic.as_str(), message.properties.len()), ("a/bcd", 0));
    say(&broker, "a/bcd", b"small", QoS::AtMostOnce);
    assert_eq!(published(&mut client).await.properties, [0x23, 0, 1]);
    say(&broker, "a/bcd", &[b'x'; 11], QoS::AtMostOnce);
    assert_eq!(published(&mut client).await.topic, "", "the alias itself makes room");
}

#[tokio::test]
async fn the_broker_says_how_it_is_under_the_names_of_mosquitto() {
    let broker = TestBroker::with(|settings| settings.limits.retained_messages = 1).await;
    let mut client = broker.client(4, "c").await;
    client.subscribe("$SYS/broker/#", 0).await;
    let mut seen = std::collections::BTreeMap::new();
    while !seen.contains_key("$SYS/broker/version") {
        let (flags, topic, _, payload) = client.message().await;
        assert_eq!(flags, 1, "retained: {topic}");
        seen.insert(topic, String::from_utf8(payload).unwrap());
    }
    for name in [
        "uptime",
        "clients/connected",
        "clients/total",
        "messages/received",
        "messages/sent",
        "publish/messages/dropped",
        "retained messages/count",
        "subscriptions/count",
        "bytes/received",
        "load/messages/received/1min",
    ] {
        assert!(seen.contains_key(&format!("$SYS/broker/{name}")), "{name} in {seen:?}");
    }
    // They leave the whole limit to others.
    client.publish("a", b"x", 0x01, 0).await;
    client.ping().await;
    assert_eq!(broker.stats.dropped_retain.load(std::sync::atomic::Ordering::Relaxed), 0);
    assert_eq!(broker.stats.subscriptions.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn nobody_but_the_broker_publishes_system_topics() {
    let broker = TestBroker::start().await;
    let mut watcher = broker.client(4, "watcher").await;
    watcher.subscribe("$SYS/+", 0).await;
    let (mut client, _) = client5(&broker, "c", &[]).await;
    client.publish("$SYS/version", b"mine", 0x03, 1).await;
    assert_eq!(client.packet().await, (0x40, vec![0, 1, 0x87]), "not authorized");
    client.publish("$SYS", b"mine", 0x04, 2).await;
    assert_eq!(client.packet().await, (0x50, vec![0, 2, 0x87]));
    let mut old = broker.client(4, "old").await;
    old.publish("$SYS/x", b"mine", 0x02, 3).await;
    assert_eq!(old.packet().await, (0x40, vec![0, 3]), "MQTT 3.1.1 has no way to say so");
    watcher.ping().await;
    for (level, code) in [(4, 5), (5, 0x87)] {
        let mut willed = Raw::open(broker.address).await;
        let no_properties: &[u8] = if level == 5 { &[0] } else { &[] };
        let will = [no_properties, &string("$SYS/x"), &string("boo")].concat();
        willed.send(&connect_with(level, "willed", 0x06, 0, &[], &will)).await;
        assert_eq!(willed.packet().await.1[1], code);
    }
    // Other topics with a dollar are anybody's.
    client.publish("$mine/x", b"x", 0x02, 4).await;
    assert_eq!(client.packet().await, (0x40, vec![0, 4, 0x10]));
}

#[tokio::test]
async fn a_refusal_says_why_in_words() {
    let broker = TestBroker::start().await;
    // A reason string in DISCONNECT.
    let (mut client, _) = client5(&broker, "c", &[]).await;
    client.publish("a/+", b"x", 0, 0).await;
    assert_eq!(client.packet().await, (0xE0, vec![0x90]));
    let words = String::from_utf8(client.farewell[4..].to_vec()).unwrap();
    assert_eq!(client.farewell[1], 0x1F);
    assert!(words.contains("a/+"), "{words}");
    // None where the client takes no packet that large.
    let (mut client, _) = client5(&broker, "c", &[0x27, 0, 0, 0, 20]).await;
    client.publish("a/+", b"x", 0, 0).await;
    assert_eq!(client.packet().await, (0xE0, vec![0x90]));
    assert!(client.farewell.is_empty());
    // And one in CONNACK.
    let mut client = Raw::open(broker.address).await;
    client.send(&connect_with(5, "c", 0x02, 0, &[0x15, 0, 1, b'x'], &[])).await;
    let (first, body) = client.packet().await;
    assert_eq!((first, body[1], body[3]), (0x20, 0x8C, 0x1F));
    assert_eq!(usize::from(body[2]), body.len() - 3, "the property block is whole");
}

#[tokio::test]
async fn too_many_connections_are_told_so_in_both_versions() {
    let broker = TestBroker::with(|settings| settings.limits.connections = 1).await;
    let mut held = broker.client(4, "held").await;
    for (level, code) in [(4, 3), (5, 0x97)] {
        let mut refused = Raw::open(broker.address).await;
        refused.send(&connect_with(level, "refused", 0x02, 0, &[], &[])).await;
        let packets = refused.until_closed().await;
        assert_eq!((packets.len(), packets[0].0, packets[0].1[1]), (1, 0x20, code));
    }
    // One that says nothing is closed all the same.
    let mut silent = Raw::open(broker.address).await;
    assert_eq!(silent.until_closed().await, []);
    held.ping().await;
}

#[tokio::test]
async fn what_a_member_of_a_shared_subscription_leaves_behind_goes_to_the_others() {
    let broker = TestBroker::start().await;
    let (mut first, _) = client5(&broker, "first", &[0x21, 0, 2]).await;
    first.subscribe("$share/g/work/#", 2).await;
    // It takes two at a time: these are on their way to it, and three wait.
    for n in 0..5_u8 {
        match n {
            1 => broker.publish_with_qos_2(&[("work/x", &[n])], false).await,
            _ => say(&broker, "work/x", &[n], QoS::AtLeastOnce),
        }
    }
    assert_eq!(published(&mut first).await.payload, [0]);
    assert_eq!(published(&mut first).await.payload, [1]);
    let (mut second, _) = client5(&broker, "second", &[]).await;
    second.subscribe("$share/g/work/#", 1).await;
    drop(first);
    // All but the QoS 2 message that the first may have received.
    for n in [0, 2, 3, 4_u8] {
        let message = within(published(&mut second)).await;
        assert_eq!((message.topic.as_str(), message.payload), ("work/x", vec![n]));
    }
    second.ping().await;
}

#[tokio::test]
async fn response_topic_and_correlation_data_make_a_request() {
    let broker = TestBroker::start().await;
    let (mut server, _) = client5(&broker, "server", &[]).await;
    server.subscribe("service", 1).await;
    // The client asks for response information; the broker may give none.
    let (mut client, _) = client5(&broker, "client", &[0x19, 1]).await;
    client.subscribe("answers/client", 1).await;
    let properties = [&[0x08][..], &string("answers/client"), &[0x09], &string("id-7")].concat();
    let length = u8::try_from(properties.len()).unwrap();
    let request = [&string("service")[..], &[length], &properties, b"2+2"].concat();
    client.send(&packet(0x30, &request)).await;
    let request = published(&mut server).await;
    assert_eq!((request.properties, request.payload), (properties, b"2+2".to_vec()));
    server.publish("answers/client", b"4", 0, 0).await;
    assert_eq!(published(&mut client).await.payload, b"4");
}

#[tokio::test]
async fn a_stop_publishes_the_wills_of_those_who_had_not_said_goodbye() {
    let broker = TestBroker::start().await;
    let mut willed = Raw::open(broker.address).await;
    let will = [string("state/x"), string("offline")].concat();
    // Will, QoS 1, retained.
    willed.send(&connect_with(4, "willed", 0x2E, 0, &[], &will)).await;
    willed.packet().await;
    let link = broker.link.clone();
    broker.stop().await.unwrap();
    let mut kept = link.subscribe("state/#").unwrap();
    let message = within(kept.recv()).await.unwrap();
    assert_eq!(
        (&*message.topic, &message.payload[..], message.retained),
        ("state/x", &b"offline"[..], true)
    );
}

#[tokio::test]
async fn a_client_that_says_goodbye_and_comes_back_at_once_leaves_no_will() {
    let broker = TestBroker::start().await;
    let mut watcher = broker.client(4, "watcher").await;
    watcher.subscribe("state/#", 0).await;
    let will = [string("state/x"), string("gone")].concat();
    let connect = connect_with(4, "willed", 0x04, 0, &[], &will);
    for _ in 0..50 {
        let mut willed = Raw::open(broker.address).await;
        willed.send(&connect).await;
        assert_eq!(willed.packet().await.1[1], 0);
        willed.send(&[0xE0, 0]).await;
        let mut again = Raw::open(broker.address).await;
        again.send(&connect).await;
        assert_eq!(again.packet().await.1[1], 0);
        again.send(&[0xE0, 0]).await;
        again.until_closed().await;
    }
    watcher.ping().await;
}

#[tokio::test]
async fn a_client_is_sent_no_more_than_its_receive_maximum() {
    let broker = TestBroker::start().await;
    let (mut client, _) = client5(&broker, "c", &[0x21, 0, 2]).await;
    client.subscribe("a", 2).await;
    for n in 0..4_u8 {
        match n {
            1 => broker.publish_with_qos_2(&[("a", &[n])], false).await,
            _ => say(&broker, "a", &[n], QoS::AtLeastOnce),
        }
    }
    let (_, _, first, _) = client.message().await;
    let (_, _, second, _) = client.message().await;
    client.ping().await;
    client.send(&[[0x40, 2], first.to_be_bytes()].concat()).await;
    assert_eq!(client.message().await.3, [2]);
    // An exchange of QoS 2 is open until its end.
    client.send(&[[0x50, 2], second.to_be_bytes()].concat()).await;
    assert_eq!(client.packet().await.0, 0x62);
    client.ping().await;
    client.send(&[[0x70, 2], second.to_be_bytes()].concat()).await;
    assert_eq!(client.message().await.3, [3]);
}
