//! Packets from a client that has connected.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::BytesMut;
use rumqttd::protocol as codec;
use rumqttd::protocol::Protocol;

use super::WireError;
use super::cursor::Cursor;
use super::header::{
    DISCONNECT, Header, PINGREQ, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBSCRIBE, UNSUBSCRIBE,
};
use super::property::{self, Place, Properties};
use crate::broker::filter;
use crate::broker::packet::{
    Ack, AckKind, Disconnect, Incoming, Publish, QoS, Reason, RetainHandling, Subscribe,
    SubscribeRequest, Unsubscribe, Version,
};

/// Reads one whole packet; see `wire::decode`.
pub(super) fn packet<'a>(
    version: Version,
    header: Header,
    packet: &'a [u8],
) -> Result<Incoming<'a>, WireError> {
    let body = packet.get(header.body..header.total).unwrap_or_default();
    let ack = |kind| read_ack(kind, version, header, packet).map(Incoming::Ack);
    match header.first >> 4 {
        PUBLISH => read_publish(version, header.first, body).map(Incoming::Publish),
        PUBACK => ack(AckKind::Acknowledged),
        PUBREC => ack(AckKind::Received),
        PUBREL => ack(AckKind::Release),
        PUBCOMP => ack(AckKind::Complete),
        SUBSCRIBE => read_subscribe(version, body, packet).map(Incoming::Subscribe),
        UNSUBSCRIBE => read_unsubscribe(version, body, packet).map(Incoming::Unsubscribe),
        PINGREQ if body.is_empty() => Ok(Incoming::PingRequest),
        PINGREQ => Err(WireError::Malformed("PINGREQ with a body")),
        DISCONNECT => read_disconnect(version, body, packet).map(Incoming::Disconnect),
        kind => Err(WireError::Forbidden { kind }),
    }
}

fn read_publish<'a>(version: Version, first: u8, body: &'a [u8]) -> Result<Publish<'a>, WireError> {
    let mut cursor = Cursor::new(body);
    let qos =
        QoS::from_level((first >> 1) & 0x03).ok_or(WireError::Malformed("PUBLISH with QoS 3"))?;
    let topic = cursor.string()?;
    let packet_id = if qos == QoS::AtMostOnce { 0 } else { cursor.packet_id()? };
    let properties = match version {
        Version::V3 => Properties::default(),
        Version::V5 => property::scan(&mut cursor, Place::Publish)?,
    };
    if topic.is_empty() && version == Version::V5 {
        if properties.topic_alias.is_none() {
            return Err(WireError::Protocol("PUBLISH with neither topic nor topic alias"));
        }
    } else {
        filter::check_topic(topic)?;
    }
    Ok(Publish {
        qos,
        retain: first & 0x01 != 0,
        packet_id,
        topic,
        payload: cursor.rest(),
        alias: properties.topic_alias,
        expiry: properties.message_expiry,
        properties: properties.forwarded,
    })
}

fn read_ack(
    kind: AckKind,
    version: Version,
    header: Header,
    packet: &[u8],
) -> Result<Ack, WireError> {
    let mut cursor = Cursor::new(packet.get(header.body..).unwrap_or_default());
    let packet_id = cursor.packet_id()?;
    if cursor.is_empty() {
        return Ok(Ack { kind, packet_id, reason: Reason::SUCCESS });
    }
    if version == Version::V3 {
        return Err(WireError::Malformed("acknowledgement with bytes behind its end"));
    }
    let reason = Reason(cursor.u8()?);
    if !cursor.is_empty() {
        property::scan(&mut cursor, Place::Ack)?;
    }
    end_of(cursor)?;
    // The codec is asked only whether it knows the reason code.
    read_by_codec(version, header.first >> 4, packet).map_err(|error| match error {
        WireError::Codec(_) => WireError::Protocol("acknowledgement with an unknown reason code"),
        other => other,
    })?;
    Ok(Ack { kind, packet_id, reason })
}

fn read_subscribe(version: Version, body: &[u8], packet: &[u8]) -> Result<Subscribe, WireError> {
    let mut cursor = Cursor::new(body);
    let packet_id = cursor.packet_id()?;
    let mut subscription_id = None;
    let mut reserved = 0xFC;
    if version == Version::V5 {
        subscription_id = property::scan(&mut cursor, Place::Subscribe)?.subscription_id;
        reserved = 0xC0;
    }
    if cursor.is_empty() {
        return Err(WireError::Protocol("SUBSCRIBE without a filter"));
    }
    while !cursor.is_empty() {
        cursor.string()?;
        if cursor.u8()? & reserved != 0 {
            return Err(WireError::Malformed("SUBSCRIBE with reserved option bits set"));
        }
    }
    let codec::Packet::Subscribe(subscribe, _) = read_by_codec(version, SUBSCRIBE, packet)? else {
        return Err(WireError::Malformed("SUBSCRIBE could not be read"));
    };
    let requests = subscribe.filters.into_iter().map(request).collect::<Result<_, _>>()?;
    Ok(Subscribe { packet_id, subscription_id, requests })
}

fn request(filter: codec::Filter) -> Result<SubscribeRequest, WireError> {
    if filter.nolocal && filter.path.starts_with("$share/") {
        return Err(WireError::Protocol("no-local on a shared subscription"));
    }
    Ok(SubscribeRequest {
        qos: QoS::from_level(filter.qos as u8)
            .ok_or(WireError::Malformed("SUBSCRIBE with QoS 3"))?,
        no_local: filter.nolocal,
        retain_as_published: filter.preserve_retain,
        retain_handling: match filter.retain_forward_rule {
            codec::RetainForwardRule::OnEverySubscribe => RetainHandling::Always,
            codec::RetainForwardRule::OnNewSubscribe => RetainHandling::OnlyNew,
            codec::RetainForwardRule::Never => RetainHandling::Never,
        },
        filter: filter.path,
    })
}

fn read_unsubscribe(
    version: Version,
    body: &[u8],
    packet: &[u8],
) -> Result<Unsubscribe, WireError> {
    let mut cursor = Cursor::new(body);
    let packet_id = cursor.packet_id()?;
    if version == Version::V5 {
        property::scan(&mut cursor, Place::Unsubscribe)?;
    }
    if cursor.is_empty() {
        return Err(WireError::Protocol("UNSUBSCRIBE without a filter"));
    }
    while !cursor.is_empty() {
        cursor.string()?;
    }
    match read_by_codec(version, UNSUBSCRIBE, packet)? {
        codec::Packet::Unsubscribe(unsubscribe, _) => {
            Ok(Unsubscribe { packet_id, filters: unsubscribe.filters })
        }
        _ => Err(WireError::Malformed("UNSUBSCRIBE could not be read")),
    }
}

fn read_disconnect(version: Version, body: &[u8], packet: &[u8]) -> Result<Disconnect, WireError> {
    let mut cursor = Cursor::new(body);
    if cursor.is_empty() {
        return Ok(Disconnect { reason: Reason::SUCCESS, session_expiry: None });
    }
    if version == Version::V3 {
        return Err(WireError::Malformed("DISCONNECT with a body"));
    }
    let reason = Reason(cursor.u8()?);
    if cursor.is_empty() {
        // The codec wants a property length here, which the standard allows to be left out.
        return Ok(Disconnect { reason, session_expiry: None });
    }
    let session_expiry = property::scan(&mut cursor, Place::Disconnect)?.session_expiry;
    end_of(cursor)?;
    read_by_codec(version, DISCONNECT, packet)?;
    Ok(Disconnect { reason, session_expiry })
}

fn end_of(cursor: Cursor<'_>) -> Result<(), WireError> {
    if cursor.is_empty() {
        Ok(())
    } else {
        Err(WireError::Malformed("bytes behind the packet's end"))
    }
}

fn read_by_codec(version: Version, kind: u8, packet: &[u8]) -> Result<codec::Packet, WireError> {
    let mut stream = BytesMut::from(packet);
    guarded(kind, || match version {
        Version::V3 => codec::v4::V4.read_mut(&mut stream, usize::MAX),
        Version::V5 => codec::v5::V5.read_mut(&mut stream, usize::MAX),
    })
}

/// Calls the codec such that a panic in it is an error like any other.
pub(super) fn guarded<T>(
    kind: u8,
    call: impl FnOnce() -> Result<T, codec::Error>,
) -> Result<T, WireError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(WireError::Codec(error.to_string())),
        Err(_) => Err(WireError::CodecPanicked { kind }),
    }
}
