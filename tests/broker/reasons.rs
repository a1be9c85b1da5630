//! Which reason code a fault gets, where the standard names one, and what is no fault.

use crate::support::{Raw, TestBroker, connect_with, packet, publish, string};

/// A packet that an MQTT 5 client sends after its CONNECT, and the code of the DISCONNECT it gets.
fn faults() -> Vec<(&'static str, Vec<u8>, u8)> {
    let publish_with = |properties: &[u8]| {
        packet(0x30, &[&string("a"), &length(properties)[..], properties].concat())
    };
    vec![
        ("a property of another packet", publish_with(&[0x11, 0, 0, 0, 1]), MALFORMED),
        ("a property that nobody knows", publish_with(&[0x7F, 0]), MALFORMED),
        ("a property cut off", publish_with(&[0x02, 0, 0]), MALFORMED),
        ("a property twice", publish_with(&[0x01, 0, 0x01, 0]), PROTOCOL_ERROR),
        ("a payload format of 2", publish_with(&[0x01, 2]), PROTOCOL_ERROR),
        ("a response topic of nothing", publish_with(&[0x08, 0, 0]), PROTOCOL_ERROR),
        ("a response topic with a wildcard", publish_with(&[0x08, 0, 1, b'#']), PROTOCOL_ERROR),
        ("PUBLISH with packet id 0", publish(5, "a", b"", 0x02, 0), PROTOCOL_ERROR),
        ("PUBACK with packet id 0", vec![0x40, 2, 0, 0], PROTOCOL_ERROR),
        ("PUBACK with an unknown reason", vec![0x40, 3, 0, 1, 0x55], PROTOCOL_ERROR),
        ("PUBREC with an unknown reason", vec![0x50, 3, 0, 1, 0xFF], PROTOCOL_ERROR),
        ("neither topic nor alias", publish(5, "", b"", 0, 0), PROTOCOL_ERROR),
        ("an alias that was never set", packet(0x30, &[0, 0, 3, 0x23, 0, 1]), PROTOCOL_ERROR),
        ("topic alias 0", publish_with(&[0x23, 0, 0]), ALIAS_INVALID),
        ("a topic alias above the maximum", publish_with(&[0x23, 0, 200]), ALIAS_INVALID),
    ]
}

#[tokio::test]
async fn a_fault_gets_the_code_that_the_standard_names() {
    let broker = TestBroker::start().await;
    for (name, bytes, code) in faults() {
        let mut client = broker.client(5, "c").await;
        client.send(&bytes).await;
        assert_eq!(client.until_closed().await, [(0xE0, vec![code])], "{name}");
    }
    for (name, properties, code) in [
        ("a property of another packet", &[0x23, 0, 1][..], MALFORMED),
        ("authentication data without a method", &[0x16, 0, 1, 1], PROTOCOL_ERROR),
        ("a receive maximum of 0", &[0x21, 0, 0], PROTOCOL_ERROR),
    ] {
        let mut client = Raw::open(broker.address).await;
        client.send(&connect_with(5, "c", 0x02, 0, properties, &[])).await;
        assert_eq!(client.packet().await.1[1], code, "{name}");
    }
}

/// A server reference may stand in a DISCONNECT; a client that sends one has left all the same.
#[tokio::test]
async fn a_disconnect_with_a_server_reference_is_a_disconnect() {
    let broker = TestBroker::start().await;
    let mut watcher = broker.client(5, "watcher").await;
    watcher.subscribe("will", 0).await;
    let mut client = Raw::open(broker.address).await;
    let will = [vec![0], string("will"), string("gone")].concat();
    client.send(&connect_with(5, "c", 0x06, 0, &[], &will)).await;
    assert_eq!(client.packet().await.1[1], 0);
    client.send(&packet(0xE0, &[&[0, 4, 0x1C][..], &string("b")].concat())).await;
    assert_eq!(client.until_closed().await, [], "nothing to complain of");
    watcher.ping().await;
}

/// No packet goes beyond what the client takes, and CONNACK is a packet (MQTT-3.1.2-24).
#[tokio::test]
async fn a_client_that_cannot_take_a_connack_is_not_let_in() {
    let broker = TestBroker::start().await;
    for (maximum, let_in) in [(2, false), (15, false), (16, true)] {
        let mut client = Raw::open(broker.address).await;
        client.send(&connect_with(5, "tiny", 0x02, 0, &[0x27, 0, 0, 0, maximum], &[])).await;
        if let_in {
            assert_eq!(client.packet().await.1[1], 0, "{maximum}");
        } else {
            assert_eq!(client.until_closed().await, [], "{maximum}");
        }
    }
    // A refusal in words goes without its words.
    let mut client = Raw::open(broker.address).await;
    client.send(&connect_with(5, "c", 2, 0, &[0x27, 0, 0, 0, 5, 0x15, 0, 1, b'm'], &[])).await;
    assert_eq!(client.packet().await, (0x20, vec![0, 0x8C, 0]));
}

/// In MQTT 3.1 the first byte of CONNACK and the lowest flag of CONNECT are reserved and mean nothing.
#[tokio::test]
async fn mqtt_3_1_has_no_session_present() {
    let broker = TestBroker::start().await;
    for (flags, clean) in [(0x00, false), (0x00, false), (0x01, false), (0x02, true)] {
        let mut old = Raw::open(broker.address).await;
        let body = [string("MQIsdp"), vec![3, flags, 0, 0], string("old")].concat();
        old.send(&packet(0x10, &body)).await;
        assert_eq!(old.packet().await, (0x20, vec![0, 0]), "clean {clean}");
        old.send(&[0xE0, 0]).await;
        assert_eq!(old.until_closed().await, []);
    }
}

/// As deep as other brokers go.
#[tokio::test]
async fn a_filter_may_have_201_levels() {
    let broker = TestBroker::start().await;
    for level in [4, 5] {
        let mut client = broker.client(level, "deep").await;
        let topic = "/".repeat(200);
        client.subscribe(&topic, 0).await;
        client.publish(&topic, b"x", 0, 0).await;
        assert_eq!(client.message().await.1, topic);
    }
}

fn length(properties: &[u8]) -> Vec<u8> {
    vec![u8::try_from(properties.len()).unwrap()]
}

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;
const ALIAS_INVALID: u8 = 0x94;
