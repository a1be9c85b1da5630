//! Packets to a client, appended to its write buffer.

use bytes::{BufMut, BytesMut};
use rumqttd::protocol as codec;
use rumqttd::protocol::Protocol;

use super::WireError;
use super::decode::guarded;
use super::header::{PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL};
use super::property;
use crate::broker::packet::{Ack, AckKind, ConnAck, QoS, Reason, Version};
use crate::broker::publication::Publication;

/// A PUBLISH about to be written to one client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery<'a> {
    pub(crate) publication: &'a Publication,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    /// 0 with QoS 0.
    pub(crate) packet_id: u16,
    /// The client's identifiers of the subscriptions that matched, MQTT 5.
    pub(crate) subscription_ids: &'a [u32],
    /// Seconds of life left, MQTT 5.
    pub(crate) expiry: Option<u32>,
    /// What the topic is called on this connection, MQTT 5.
    pub(crate) alias: Option<Alias>,
}

/// A topic alias of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alias {
    /// To be told with the topic.
    New(u16),
    /// Known to the client; stands in the topic's place.
    Known(u16),
}

impl Delivery<'_> {
    fn properties_size(&self) -> usize {
        let expiry = if self.expiry.is_some() { 5 } else { 0 };
        let ids: usize = self.subscription_ids.iter().map(|id| 1 + varint_size(*id as usize)).sum();
        let alias = if self.alias.is_some() { 3 } else { 0 };
        expiry + ids + alias + self.publication.properties().len()
    }

    /// The topic with its length before it, empty where an alias stands in its place.
    fn topic_image(&self) -> &[u8] {
        match self.alias {
            Some(Alias::Known(_)) => &[0, 0],
            _ => self.publication.topic_image(),
        }
    }

    fn remaining_length(&self, version: Version) -> usize {
        let id = if self.qos == QoS::AtMostOnce { 0 } else { 2 };
        let properties = match version {
            Version::V3 => 0,
            Version::V5 => {
                let size = self.properties_size();
                varint_size(size) + size
            }
        };
        self.topic_image().len() + id + properties + self.publication.payload().len()
    }
}

/// Size of the whole packet in bytes, to be held against the client's maximum.
pub(crate) fn publish_size(version: Version, delivery: &Delivery<'_>) -> usize {
    let length = delivery.remaining_length(version);
    1 + varint_size(length) + length
}

/// Appends a PUBLISH.
pub(crate) fn write_publish(version: Version, delivery: &Delivery<'_>, buffer: &mut BytesMut) {
    let length = delivery.remaining_length(version);
    buffer.reserve(length + 5);
    buffer.put_u8(
        (PUBLISH << 4)
            | (u8::from(delivery.dup) << 3)
            | ((delivery.qos as u8) << 1)
            | u8::from(delivery.retain),
    );
    put_varint(buffer, length);
    let publication = delivery.publication;
    if version == Version::V3 && delivery.qos == QoS::AtMostOnce {
        // Topic and payload lie together in memory just as they do on this wire.
        buffer.put_slice(publication.image());
        return;
    }
    buffer.put_slice(delivery.topic_image());
    if delivery.qos != QoS::AtMostOnce {
        buffer.put_u16(delivery.packet_id);
    }
    if version == Version::V5 {
        put_varint(buffer, delivery.properties_size());
        if let Some(seconds) = delivery.expiry {
            buffer.put_u8(property::MESSAGE_EXPIRY);
            buffer.put_u32(seconds);
        }
        if let Some(Alias::New(number) | Alias::Known(number)) = delivery.alias {
            buffer.put_u8(property::TOPIC_ALIAS);
            buffer.put_u16(number);
        }
        for id in delivery.subscription_ids {
            buffer.put_u8(property::SUBSCRIPTION_ID);
            put_varint(buffer, *id as usize);
        }
        buffer.put_slice(publication.properties());
    }
    buffer.put_slice(publication.payload());
}

/// Appends PUBACK, PUBREC, PUBREL or PUBCOMP. On 3.1.1 the reason is left out.
pub(crate) fn write_ack(version: Version, ack: Ack, buffer: &mut BytesMut) {
    let (kind, flags) = match ack.kind {
        AckKind::Acknowledged => (PUBACK, 0),
        AckKind::Received => (PUBREC, 0),
        AckKind::Release => (PUBREL, 0b0010),
        AckKind::Complete => (PUBCOMP, 0),
    };
    let with_reason = version == Version::V5 && ack.reason != Reason::SUCCESS;
    buffer.put_u8((kind << 4) | flags);
    buffer.put_u8(if with_reason { 3 } else { 2 });
    buffer.put_u16(ack.packet_id);
    if with_reason {
        buffer.put_u8(ack.reason.0);
    }
}

/// Appends CONNACK. `level` is what the client asked for, where its version is not spoken here.
///
/// # Errors
/// `WireError::CodecPanicked` only; nothing has been appended then.
pub(crate) fn write_connack(
    version: Version,
    reason: Reason,
    connack: &ConnAck,
    buffer: &mut BytesMut,
) -> Result<(), WireError> {
    let packet = codec::ConnAck {
        session_present: connack.session_present && reason == Reason::SUCCESS,
        code: match version {
            Version::V3 => code_v3(reason),
            Version::V5 => code_v5(reason),
        },
    };
    let properties = match (version, reason, &connack.reason_string) {
        (Version::V5, Reason::SUCCESS, _) => Some(codec::ConnAckProperties {
            receive_max: Some(connack.receive_maximum),
            max_packet_size: Some(connack.maximum_packet),
            assigned_client_identifier: connack.assigned_client_id.clone(),
            topic_alias_max: Some(connack.topic_alias_maximum),
            server_keep_alive: connack.keep_alive,
            ..Default::default()
        }),
        (Version::V5, _, Some(text)) => Some(codec::ConnAckProperties {
            reason_string: Some(text.clone()),
            ..Default::default()
        }),
        _ => None,
    };
    write_by_codec(version, codec::Packet::ConnAck(packet, properties), buffer)
}

/// Appends SUBACK: a granted QoS or a failure for each filter, in their order.
///
/// # Errors
/// `WireError::CodecPanicked` only.
pub(crate) fn write_suback(
    version: Version,
    packet_id: u16,
    codes: &[Result<QoS, Reason>],
    buffer: &mut BytesMut,
) -> Result<(), WireError> {
    let return_codes = codes
        .iter()
        .map(|code| match (code, version) {
            (Ok(QoS::AtMostOnce), _) => codec::SubscribeReasonCode::QoS0,
            (Ok(QoS::AtLeastOnce), _) => codec::SubscribeReasonCode::QoS1,
            (Ok(QoS::ExactlyOnce), _) => codec::SubscribeReasonCode::QoS2,
            (Err(_), Version::V3) => codec::SubscribeReasonCode::Failure,
            (Err(Reason::NOT_AUTHORIZED), _) => codec::SubscribeReasonCode::NotAuthorized,
            (Err(Reason::TOPIC_FILTER_INVALID), _) => {
                codec::SubscribeReasonCode::TopicFilterInvalid
            }
            (Err(Reason::QUOTA_EXCEEDED), _) => codec::SubscribeReasonCode::QuotaExceeded,
            (Err(_), _) => codec::SubscribeReasonCode::Unspecified,
        })
        .collect();
    let packet = codec::SubAck { pkid: packet_id, return_codes };
    write_by_codec(version, codec::Packet::SubAck(packet, None), buffer)
}

/// Appends UNSUBACK: on MQTT 5 with a code for each filter, in their order.
///
/// # Errors
/// `WireError::CodecPanicked` only.
pub(crate) fn write_unsuback(
    version: Version,
    packet_id: u16,
    codes: &[Reason],
    buffer: &mut BytesMut,
) -> Result<(), WireError> {
    if version == Version::V3 {
        // The codec cannot write this one, and panics.
        buffer.put_slice(&[0xB0, 2]);
        buffer.put_u16(packet_id);
        return Ok(());
    }
    let reasons = codes
        .iter()
        .map(|code| match *code {
            Reason::SUCCESS => codec::UnsubAckReason::Success,
            Reason::NO_SUBSCRIPTION_EXISTED => codec::UnsubAckReason::NoSubscriptionExisted,
            Reason::TOPIC_FILTER_INVALID => codec::UnsubAckReason::TopicFilterInvalid,
            Reason::NOT_AUTHORIZED => codec::UnsubAckReason::NotAuthorized,
            _ => codec::UnsubAckReason::UnspecifiedError,
        })
        .collect();
    let packet = codec::UnsubAck { pkid: packet_id, reasons };
    write_by_codec(version, codec::Packet::UnsubAck(packet, None), buffer)
}

/// Appends PINGRESP.
pub(crate) fn write_ping_response(buffer: &mut BytesMut) {
    buffer.put_slice(&[0xD0, 0]);
}

/// Appends DISCONNECT, which exists from server to client on MQTT 5 only. `text` says the reason in
/// words; it is cut, or left out where the packet would be larger than `maximum`.
pub(crate) fn write_disconnect(
    version: Version,
    reason: Reason,
    text: &str,
    maximum: usize,
    buffer: &mut BytesMut,
) {
    if version != Version::V5 {
        return;
    }
    let text = &text[..text.floor_char_boundary(REASON_STRING_LIMIT)];
    if text.is_empty() || text.len() + 8 > maximum {
        buffer.put_slice(&[0xE0, 1, reason.0]);
        return;
    }
    // With the limit below 120 every length takes one byte.
    let length = text.len() as u8;
    buffer.put_slice(&[0xE0, length + 5, reason.0, length + 3, property::REASON_STRING, 0, length]);
    buffer.put_slice(text.as_bytes());
}

/// Appends a variable byte integer; `value` is below 2^28.
pub(super) fn put_varint(buffer: &mut BytesMut, mut value: usize) {
    loop {
        let byte = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            buffer.put_u8(byte);
            return;
        }
        buffer.put_u8(byte | 0x80);
    }
}

fn varint_size(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

fn write_by_codec(
    version: Version,
    packet: codec::Packet,
    buffer: &mut BytesMut,
) -> Result<(), WireError> {
    guarded(0, || match version {
        Version::V3 => codec::v4::V4.write(packet, buffer),
        Version::V5 => codec::v5::V5.write(packet, buffer),
    })
    .map(drop)
}

/// Longest reason string sent in DISCONNECT, in bytes.
const REASON_STRING_LIMIT: usize = 119;

/// MQTT 3.1.1 has five reasons to refuse.
fn code_v3(reason: Reason) -> codec::ConnectReturnCode {
    use codec::ConnectReturnCode as Code;
    match reason {
        Reason::SUCCESS => Code::Success,
        Reason::UNSUPPORTED_VERSION => Code::RefusedProtocolVersion,
        Reason::CLIENT_ID_NOT_VALID => Code::ClientIdentifierNotValid,
        Reason::BAD_USER_NAME_OR_PASSWORD => Code::BadUserNamePassword,
        Reason::NOT_AUTHORIZED => Code::NotAuthorized,
        _ => Code::ServiceUnavailable,
    }
}

fn code_v5(reason: Reason) -> codec::ConnectReturnCode {
    use codec::ConnectReturnCode as Code;
    match reason {
        Reason::SUCCESS => Code::Success,
        Reason::MALFORMED_PACKET => Code::MalformedPacket,
        Reason::PROTOCOL_ERROR => Code::ProtocolError,
        Reason::UNSUPPORTED_VERSION => Code::UnsupportedProtocolVersion,
        Reason::CLIENT_ID_NOT_VALID => Code::ClientIdentifierNotValid,
        Reason::BAD_USER_NAME_OR_PASSWORD => Code::BadUserNamePassword,
        Reason::NOT_AUTHORIZED => Code::NotAuthorized,
        Reason::BAD_AUTHENTICATION_METHOD => Code::BadAuthenticationMethod,
        Reason::TOPIC_NAME_INVALID => Code::TopicNameInvalid,
        Reason::PACKET_TOO_LARGE => Code::PacketTooLarge,
        Reason::QUOTA_EXCEEDED => Code::QuotaExceeded,
        Reason::CONNECTION_RATE_EXCEEDED => Code::ConnectionRateExceeded,
        _ => Code::UnspecifiedError,
    }
}
