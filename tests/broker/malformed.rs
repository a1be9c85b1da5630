//! Packets that break a rule: each ends its own connection, and nobody else notices.

use std::sync::atomic::Ordering;

use crate::support::{Raw, TestBroker, connect, connect_with, packet, publish, string};

/// Sent after a good CONNECT.
fn wrong_packets(level: u8) -> Vec<(&'static str, Vec<u8>)> {
    let none: &[u8] = if level == 5 { &[0] } else { &[] };
    let join = |parts: &[&[u8]]| parts.concat();
    let a = string("a");
    let subscribe = |rest: &[u8]| packet(0x82, &join(&[&[0, 1], none, rest]));
    vec![
        ("type 0", vec![0x00, 0]),
        ("CONNACK from a client", vec![0x20, 2, 0, 0]),
        ("SUBACK from a client", vec![0x90, 3, 0, 1, 0]),
        ("UNSUBACK from a client", vec![0xB0, 2, 0, 1]),
        ("UNSUBACK with much in it", packet(0xB0, &[0; 40])),
        ("PINGRESP from a client", vec![0xD0, 0]),
        ("AUTH", vec![0xF0, 0]),
        ("AUTH with a body", vec![0xF0, 2, 0x18, 0]),
        ("second CONNECT", connect(level, "again", 2, 0, &[])),
        ("PUBLISH with QoS 3", publish(level, "a", b"", 0x06, 1)),
        ("PUBLISH with DUP and QoS 0", publish(level, "a", b"", 0x08, 0)),
        ("PUBLISH with packet id 0", publish(level, "a", b"", 0x02, 0)),
        ("PUBLISH to a wildcard", publish(level, "a/+", b"", 0, 0)),
        ("PUBLISH to #", publish(level, "#", b"", 0, 0)),
        ("PUBLISH to nothing", publish(level, "", b"", 0, 0)),
        ("PUBLISH with NUL in its topic", publish(level, "a\0b", b"", 0, 0)),
        (
            "PUBLISH with a topic that is no UTF-8",
            packet(0x30, &join(&[&[0, 2, 0xC3, 0x28], none])),
        ),
        ("PUBLISH with a surrogate", packet(0x30, &join(&[&[0, 3, 0xED, 0xA0, 0x80], none]))),
        ("PUBLISH whose topic is longer than it", packet(0x30, &[0, 9, b'a'])),
        ("PUBLISH without a body", vec![0x30, 0]),
        ("PUBLISH that ends in its id", packet(0x32, &join(&[&a, &[0]]))),
        ("PUBACK with flags", vec![0x41, 2, 0, 1]),
        ("PUBACK without an id", vec![0x40, 0]),
        ("PUBACK with id 0", vec![0x40, 2, 0, 0]),
        ("PUBREL without its flags", vec![0x60, 2, 0, 1]),
        ("PUBCOMP that is short", vec![0x70, 1, 0]),
        ("SUBSCRIBE without its flags", packet(0x80, &join(&[&[0, 1], none, &a, &[0]]))),
        ("SUBSCRIBE with id 0", packet(0x82, &join(&[&[0, 0], none, &a, &[0]]))),
        ("SUBSCRIBE to nothing", subscribe(&[])),
        ("SUBSCRIBE with QoS 3", subscribe(&join(&[&a, &[3]]))),
        ("SUBSCRIBE with reserved options", subscribe(&join(&[&a, &[0x80]]))),
        ("SUBSCRIBE without options", subscribe(&a)),
        ("SUBSCRIBE with NUL", subscribe(&join(&[&string("\0"), &[0]]))),
        ("SUBSCRIBE with no UTF-8", subscribe(&[0, 1, 0xFF, 0])),
        ("UNSUBSCRIBE without its flags", packet(0xA0, &join(&[&[0, 1], none, &a]))),
        ("UNSUBSCRIBE from nothing", packet(0xA2, &join(&[&[0, 1], none]))),
        ("UNSUBSCRIBE with id 0", packet(0xA2, &join(&[&[0, 0], none, &a]))),
        ("UNSUBSCRIBE of one byte", packet(0xA2, &[0])),
        ("PINGREQ with a body", vec![0xC0, 1, 0]),
        ("PINGREQ with flags", vec![0xC1, 0]),
        ("DISCONNECT with flags", vec![0xE1, 0]),
        ("a length of five bytes", vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
        ("a packet beyond the limit", vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F]),
    ]
}

fn wrong_packets_v5() -> Vec<(&'static str, Vec<u8>)> {
    let a = string("a");
    let publish = |properties: &[u8]| {
        let length = u8::try_from(properties.len()).unwrap();
        packet(0x30, &[&a, &[length][..], properties].concat())
    };
    let subscribe = |properties: &[u8], options: u8, filter: &str| {
        let length = u8::try_from(properties.len()).unwrap();
        packet(0x82, &[&[0, 1, length], properties, &string(filter), &[options]].concat())
    };
    vec![
        ("a property that is unknown", publish(&[0x7F, 0])),
        ("a property above 63", publish(&[0xFF, 0])),
        ("a property of another packet", publish(&[0x11, 0, 0, 0, 1])),
        ("a subscription id from a client", publish(&[0x0B, 1])),
        ("a property twice", publish(&[0x01, 0, 0x01, 0])),
        ("a payload format of 2", publish(&[0x01, 2])),
        ("a response topic with a wildcard", publish(&[0x08, 0, 1, b'#'])),
        ("a property that is cut off", publish(&[0x02, 0, 0])),
        ("properties longer than the packet", packet(0x30, &[&a[..], &[50, 1]].concat())),
        (
            "a property length of five bytes",
            packet(0x30, &[&a[..], &[0x80, 0x80, 0x80, 0x80, 1]].concat()),
        ),
        (
            "a property length not in its shortest form",
            packet(0x30, &[&a[..], &[0x80, 0]].concat()),
        ),
        ("a user property with NUL", publish(&[0x26, 0, 1, 0, 0, 0])),
        ("topic alias 0", publish(&[0x23, 0, 0])),
        ("a topic alias above the maximum", publish(&[0x23, 0, 200])),
        ("a topic alias that was never set", packet(0x30, &[0, 0, 3, 0x23, 0, 1])),
        ("a subscription id of 0", subscribe(&[0x0B, 0], 0, "a")),
        ("two subscription ids", subscribe(&[0x0B, 1, 0x0B, 2], 0, "a")),
        ("retain handling 3", subscribe(&[], 0x30, "a")),
        ("no-local on a shared subscription", subscribe(&[], 0x04, "$share/g/a")),
        ("PUBACK with an unknown reason", vec![0x40, 3, 0, 1, 0x55]),
        ("PUBACK with bytes behind it", vec![0x40, 6, 0, 1, 0, 0, 9, 9]),
        ("DISCONNECT that raises the session expiry", vec![0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9]),
        ("DISCONNECT with bytes behind it", vec![0xE0, 3, 0, 0, 7]),
        ("a remaining length not in its shortest form", vec![0xC0, 0x80, 0x00]),
    ]
}

/// Sent instead of a good CONNECT.
fn wrong_connects() -> Vec<(&'static str, Vec<u8>)> {
    let will = [string("w"), string("x")].concat();
    let will5 = [vec![0], will.clone()].concat();
    vec![
        ("noise", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("TLS", vec![0x16, 3, 1, 0, 200, 1]),
        ("PUBLISH first", publish(4, "a", b"", 0, 0)),
        ("PINGREQ first", vec![0xC0, 0]),
        ("CONNECT with flags", vec![0x11, 0]),
        ("CONNECT that is empty", vec![0x10, 0]),
        ("CONNECT with the reserved flag", connect(4, "x", 0x03, 0, &[])),
        ("will retain without a will", connect(4, "x", 0x22, 0, &[])),
        ("will QoS without a will", connect(4, "x", 0x0A, 0, &[])),
        ("will with QoS 3", connect(4, "x", 0x1E, 0, &will)),
        ("will to a wildcard", connect(4, "x", 0x06, 0, &[string("#"), string("x")].concat())),
        ("will to nothing", connect(4, "x", 0x06, 0, &[string(""), string("x")].concat())),
        ("will that is missing", connect(4, "x", 0x06, 0, &[])),
        ("a password without a user on 3.1.1", connect(4, "x", 0x42, 0, &string("p"))),
        ("a user that is missing", connect(4, "x", 0x82, 0, &[])),
        ("bytes behind the end", connect(4, "x", 0x02, 0, &[1, 2, 3])),
        ("a client id with NUL", connect(4, "\0", 0x02, 0, &[])),
        ("a level of 0", connect(0, "x", 0x02, 0, &[])),
        ("a level of 9", connect(9, "x", 0x02, 0, &[])),
        ("a receive maximum of 0", connect_with(5, "x", 2, 0, &[0x21, 0, 0], &[])),
        ("a maximum packet of 0", connect_with(5, "x", 2, 0, &[0x27, 0, 0, 0, 0], &[])),
        (
            "a session expiry twice",
            connect_with(5, "x", 2, 0, &[0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1], &[]),
        ),
        ("a topic alias in CONNECT", connect_with(5, "x", 2, 0, &[0x23, 0, 1], &[])),
        ("an authentication method", connect_with(5, "x", 2, 0, &[0x15, 0, 1, b'm'], &[])),
        ("will properties that are cut off", connect(5, "x", 0x06, 0, &[9, 0x18, 0])),
        (
            "bytes behind the end of an MQTT 5 will",
            connect(5, "x", 0x06, 0, &[will5, vec![1]].concat()),
        ),
    ]
}

#[tokio::test]
async fn a_wrong_packet_ends_its_own_connection_only() {
    let broker = TestBroker::start().await;
    let mut witness = broker.client(4, "witness").await;
    witness.subscribe("w", 1).await;
    for level in [4, 5] {
        let mut table = wrong_packets(level);
        if level == 5 {
            table.extend(wrong_packets_v5());
        }
        for (name, bytes) in table {
            let mut culprit = broker.client(level, "culprit").await;
            culprit.try_send(&bytes).await;
            let goodbye = culprit.until_closed().await;
            match level {
                4 => assert_eq!(goodbye, [], "{name}: 3.1.1 has no DISCONNECT to clients"),
                _ => assert!(
                    matches!(goodbye.as_slice(), [(0xE0, body)] if body[0] >= 0x80),
                    "{name}: DISCONNECT with a reason, not {goodbye:?}"
                ),
            }
            witness.publish("w", name.as_bytes(), 0x02, 7).await;
            let mut seen = [witness.packet().await.0 >> 4, witness.packet().await.0 >> 4];
            seen.sort_unstable();
            assert_eq!(seen, [3, 4], "{name}: the witness gets its message and its PUBACK");
            witness.send(&[0x40, 2, 0, 1]).await;
        }
    }
    assert_eq!(broker.stats.codec_failures.load(Ordering::Relaxed), 0);
    assert_eq!(broker.stats.connection_panics.load(Ordering::Relaxed), 0);
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_wrong_connect_gets_no_further() {
    let broker = TestBroker::start().await;
    let mut witness = broker.client(5, "witness").await;
    for (name, bytes) in wrong_connects() {
        let mut culprit = Raw::open(broker.address).await;
        culprit.try_send(&bytes).await;
        let answer = culprit.until_closed().await;
        assert!(
            answer.is_empty() || matches!(answer.as_slice(), [(0x20, body)] if body[1] != 0),
            "{name}: closed, or refused with a reason: {answer:?}"
        );
        witness.ping().await;
    }
    assert_eq!(broker.stats.clients.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn versions_not_spoken_are_refused_in_words_the_client_knows() {
    let broker = TestBroker::start().await;
    for (level, answer) in [(3, vec![0, 1]), (6, vec![0, 0x84, 0])] {
        let mut raw = Raw::open(broker.address).await;
        raw.send(&connect(level, "x", 2, 0, &[])).await;
        assert_eq!(raw.packet().await, (0x20, answer));
    }
    let mut old = Raw::open(broker.address).await;
    let body = [string("MQIsdp"), vec![3, 2, 0, 0], string("old")].concat();
    old.send(&packet(0x10, &body)).await;
    assert_eq!(old.packet().await, (0x20, vec![0, 0]), "MQTT 3.1 is spoken");
    old.ping().await;
}

#[tokio::test]
async fn a_binary_password_and_packets_in_pieces_are_fine() {
    let broker = TestBroker::start().await;
    let mut raw = Raw::open(broker.address).await;
    let login = [string("user"), vec![0, 3, 0xFF, 0, 0xFE]].concat();
    let bytes = [connect(5, "x", 0xC2, 0, &login), vec![0xC0, 0]].concat();
    for byte in bytes {
        raw.send(&[byte]).await;
    }
    assert_eq!(raw.packet().await.0, 0x20);
    assert_eq!(raw.packet().await.0, 0xD0);
    raw.level = 5;
    raw.subscribe("big", 0).await;
    let payload = vec![7; 1_500_000];
    raw.publish("big", &payload, 0, 0).await;
    assert_eq!(raw.message().await.3, payload);
}

#[tokio::test]
async fn noise_of_every_kind_harms_nobody() {
    let broker = TestBroker::start().await;
    let mut witness = broker.client(4, "witness").await;
    let mut random = fastrand::Rng::with_seed(2);
    for round in 0..400 {
        let level = if round % 2 == 0 { 4 } else { 5 };
        let mut culprit = broker.client(level, "noise").await;
        let mut bytes = match round % 3 {
            0 => publish(level, "some/topic", b"payload", 0x02, 5),
            1 => {
                packet(0x82, &[&[0, 1, 0][..usize::from(level) - 2], &string("a/+"), &[1]].concat())
            }
            _ => connect(level, "x", 0x02, 10, &[]),
        };
        for _ in 0..random.usize(1..4) {
            let index = random.usize(..bytes.len());
            bytes[index] = random.u8(..);
        }
        culprit.try_send(&bytes).await;
        drop(culprit);
    }
    witness.ping().await;
    assert_eq!(broker.stats.connection_panics.load(Ordering::Relaxed), 0);
    assert_eq!(broker.stats.codec_failures.load(Ordering::Relaxed), 0);
}
