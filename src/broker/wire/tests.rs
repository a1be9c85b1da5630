use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::broker::packet::{Ack, AckKind, Connect, QoS};
use crate::broker::publication::Draft;

fn whole(version: Option<Version>, bytes: &[u8]) -> Result<Header, WireError> {
    match frame(bytes, version, 1 << 20)? {
        Framing::Whole(header) => Ok(header),
        Framing::Partial(_) => panic!("incomplete"),
    }
}

fn connect(bytes: &[u8]) -> Result<Connect, WireError> {
    decode_connect(whole(None, bytes)?, bytes)
}

fn connect_of(body: &[u8]) -> Connect {
    let length = u8::try_from(body.len()).unwrap();
    connect(&[&[0x10, length], body].concat()).unwrap()
}

#[test]
fn a_connect_of_each_version_is_read_whole() {
    let read = connect_of(b"\0\x04MQTT\x04\xee\0\x3c\0\x01c\0\x01w\0\x01m\0\x01u\0\x02\xff\0");
    assert_eq!((read.version, read.clean, read.keep_alive), (Version::V3, true, 60));
    assert_eq!((read.client_id.as_str(), read.session_expiry), ("c", 0));
    let will = read.will.unwrap();
    assert_eq!((will.topic.as_str(), &will.payload[..]), ("w", &b"m"[..]));
    assert_eq!((will.qos, will.retain), (QoS::AtLeastOnce, true));

    let properties = b"\x0b\x11\0\0\0\x09\x21\0\x07\x22\0\x01";
    let will = b"\x0b\x18\0\0\0\x05\x26\0\x01k\0\0\0\x01w\0\x01m";
    let read = connect_of(&[b"\0\x04MQTT\x05\x06\0\0", &properties[..], b"\0\x01c", will].concat());
    assert_eq!((read.version, read.session_expiry, read.receive_maximum), (Version::V5, 9, 7));
    let will = read.will.unwrap();
    assert_eq!((will.delay, will.properties.as_slice()), (5, &b"\x26\0\x01k\0\0"[..]));
}

#[test]
fn a_packet_in_pieces_is_waited_for_and_a_wrong_one_is_not() {
    let publish = b"\x30\x05\0\x01axy";
    for end in 0..publish.len() {
        assert!(matches!(frame(&publish[..end], Some(Version::V3), 100), Ok(Framing::Partial(_))));
    }
    assert!(frame(b"\x20", Some(Version::V3), 100).is_err(), "by its first byte");
    assert!(frame(b"\x30", None, 100).is_err(), "no CONNECT");
    assert_eq!(
        frame(b"\x30\xff\xff\x7f", Some(Version::V5), 100),
        Err(WireError::TooLarge { size: 2_097_155, limit: 100 })
    );
}

#[test]
fn a_bare_disconnect_reason_is_read() {
    let packet = b"\xe0\x01\x04";
    let header = whole(Some(Version::V5), packet).unwrap();
    let Ok(Incoming::Disconnect(read)) = decode(Version::V5, header, packet) else {
        panic!("not read")
    };
    assert_eq!(read.reason.0, 4);
}

#[test]
fn an_unsuback_on_3_1_1_is_written_by_hand() {
    let mut buffer = BytesMut::new();
    write_unsuback(Version::V3, 0x0102, &[Reason::SUCCESS; 3], &mut buffer).unwrap();
    assert_eq!(&buffer[..], [0xB0, 2, 1, 2]);
}

fn versions() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V3), Just(Version::V5)]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        version in versions(),
        qos in 0..3_u8,
        retain in any::<bool>(),
        packet_id in 1..=u16::MAX,
        topic in "[a-zä/$]{1,40}",
        payload in prop::collection::vec(any::<u8>(), 0..300),
        expiry in prop::option::of(1..1000_u32),
    ) {
        let qos = QoS::from_level(qos).unwrap();
        let expiry = expiry.filter(|_| version == Version::V5);
        let properties = if version == Version::V5 { b"\x01\x01\x26\0\x01k\0\x01v".to_vec() } else { Vec::new() };
        let publication = Draft {
            topic: &topic, payload: &payload, qos, retain, expiry: None, properties: properties.clone(),
        }.share();
        let packet_id = if qos == QoS::AtMostOnce { 0 } else { packet_id };
        let delivery = Delivery {
            publication: &publication, qos, retain, dup: false, packet_id, subscription_ids: &[], expiry, alias: None,
        };
        let mut buffer = BytesMut::new();
        write_publish(version, &delivery, &mut buffer);
        prop_assert_eq!(buffer.len(), publish_size(version, &delivery));
        let header = whole(Some(version), &buffer).unwrap();
        let Incoming::Publish(read) = decode(version, header, &buffer).unwrap() else {
            panic!("no PUBLISH")
        };
        prop_assert_eq!((read.qos, read.retain, read.packet_id), (qos, retain, packet_id));
        prop_assert_eq!((read.topic, read.payload), (topic.as_str(), payload.as_slice()));
        prop_assert_eq!((read.expiry, read.properties), (expiry, properties));
    }

    #[test]
    fn acknowledgements_are_read_again(version in versions(), kind in 0..4_usize, packet_id in 1..=u16::MAX) {
        let kind = [AckKind::Acknowledged, AckKind::Received, AckKind::Release, AckKind::Complete][kind];
        let reason = if version == Version::V5 && kind == AckKind::Complete { Reason::PACKET_ID_NOT_FOUND } else { Reason::SUCCESS };
        let ack = Ack { kind, packet_id, reason };
        let mut buffer = BytesMut::new();
        write_ack(version, ack, &mut buffer);
        let header = whole(Some(version), &buffer).unwrap();
        let Incoming::Ack(read) = decode(version, header, &buffer).unwrap() else {
            panic!("no acknowledgement")
        };
        prop_assert_eq!(read, ack);
    }

    /// A panic of the codec would be an error of its own kind.
    #[test]
    fn arbitrary_bodies_never_reach_a_panic(
        version in versions(),
        first in any::<u8>(),
        body in prop::collection::vec(prop_oneof![3 => 0..40_u8, 1 => any::<u8>()], 0..60),
    ) {
        let mut packet = vec![first, u8::try_from(body.len()).unwrap()];
        packet.extend(&body);
        let version = if first >> 4 == 1 { None } else { Some(version) };
        let Ok(header) = whole(version, &packet) else { return Ok(()) };
        let error = match version {
            None => decode_connect(header, &packet).err(),
            Some(version) => decode(version, header, &packet).err(),
        };
        let panicked = matches!(error, Some(WireError::CodecPanicked { .. }));
        prop_assert!(!panicked);
    }
}

#[test]
fn a_bridge_is_known_by_the_highest_bit_of_its_level() {
    for (name, level, bridge) in
        [("MQTT", 4, false), ("MQTT", 0x84, true), ("MQIsdp", 3, false), ("MQIsdp", 0x83, true)]
    {
        let mut body = vec![0, name.len() as u8];
        body.extend(name.bytes());
        body.extend([level, 2, 0, 60, 0, 1, b'c']);
        let connect = connect_of(&body);
        assert_eq!((connect.version, connect.bridge), (Version::V3, bridge), "{name} {level}");
    }
}
