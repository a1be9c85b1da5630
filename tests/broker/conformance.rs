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
    let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for (topic, alias) in [("sensor/one", 1), ("sensor/two", 2)] {
        for (n, qos) in all.into_iter().enumerate() {
            say(&broker, topic, b"x", qos);
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
