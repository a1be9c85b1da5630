//! Bytes to packets and back, for both versions of MQTT: the only place that knows rumqttd.
//!
//! The data path enters here. Each packet is judged three times: by its fixed header before the
//! rest has come (`header`), by a walk over its raw bytes that finds what the codec lets through
//! (reserved bits, trailing bytes, strings with NUL, doubled properties), and by rumqttd's codec,
//! which gives the values. PUBLISH and the bare acknowledgements are read and written here, because
//! the codec keeps QoS, DUP and packet id of a PUBLISH to itself, and because they are the hot path.
//!
//! The codec cannot take the process down: its calls are wrapped, and a panic in one is an error of
//! the one connection whose packet caused it.

mod connect;
mod cursor;
mod decode;
mod encode;
mod header;
mod property;

use super::packet::{Incoming, Reason, Version};

pub(crate) use connect::{decode_connect, version_to_refuse_in};
pub(crate) use encode::{
    Alias, Delivery, publish_size, write_ack, write_connack, write_disconnect, write_ping_response,
    write_publish, write_suback, write_unsuback,
};
pub(crate) use header::{Framing, Header, PUBLISH, frame};

/// Reads one whole packet of a client that has connected.
///
/// `packet`: header and body, as `frame` measured them.
///
/// # Errors
/// What is wrong with it; the connection must end.
pub(crate) fn decode<'a>(
    version: Version,
    header: Header,
    packet: &'a [u8],
) -> Result<Incoming<'a>, WireError> {
    decode::packet(version, header, packet)
}

/// What the decoder made of a client's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// A packet that the broker would act on.
    Accepted,
    /// Something that would end the connection, or would be waited for.
    Refused,
    /// The codec panicked. In a connection that is caught and ends it; it is a fault all the same.
    Panicked,
}

/// Decodes bytes as a broker does and throws the packet away: for tests with many packets.
///
/// `level`: 4 for MQTT 3.1.1, 5 for MQTT 5. A CONNECT is taken for the first packet of a
/// connection, all others for later ones.
#[must_use]
pub fn probe(level: u8, bytes: &[u8]) -> Probed {
    let version = if level == 5 { Version::V5 } else { Version::V3 };
    let connect = bytes.first().is_some_and(|first| first >> 4 == 1);
    let decoded = match frame(bytes, (!connect).then_some(version), 1 << 20) {
        Ok(Framing::Whole(header)) if connect => {
            decode_connect(header, &bytes[..header.total]).map(drop)
        }
        Ok(Framing::Whole(header)) => decode(version, header, &bytes[..header.total]).map(drop),
        Ok(Framing::Partial(_)) => return Probed::Refused,
        Err(error) => Err(error),
    };
    match decoded {
        Ok(()) => Probed::Accepted,
        Err(WireError::CodecPanicked { .. }) => Probed::Panicked,
        Err(_) => Probed::Refused,
    }
}

/// What is wrong with a packet. Each ends the connection that sent it, and no other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// A property that is unknown or of another packet (MQTT 5, section 2.2.2.2).
    #[error("malformed packet: property {id} does not belong in this packet")]
    Misplaced { id: u8 },
    #[error("protocol error: property {id} {fault}")]
    Property { id: u8, fault: &'static str },
    #[error("malformed packet: flags {flags:#06b} on packet type {kind}")]
    Flags { kind: u8, flags: u8 },
    #[error("packet type {kind} may not be sent by a client")]
    Forbidden { kind: u8 },
    #[error("first packet has type {kind} and is no CONNECT")]
    NotConnect { kind: u8 },
    #[error("packet of {size} bytes is larger than the limit of {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("topic name {topic:?} is not allowed: {fault}")]
    Topic { topic: String, fault: &'static str },
    #[error("protocol {name:?} level {level} is not supported (MQTT 3.1, 3.1.1 and 5 are)")]
    Version { name: String, level: u8 },
    #[error("malformed packet: {0}")]
    Codec(String),
    #[error("the codec failed on a packet of type {kind}")]
    CodecPanicked { kind: u8 },
}

impl WireError {
    /// The reason code that says the same to an MQTT 5 client.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Malformed(_) | Self::Misplaced { .. } | Self::Flags { .. } | Self::Codec(_) => {
                Reason::MALFORMED_PACKET
            }
            Self::Protocol(_)
            | Self::Property { .. }
            | Self::Forbidden { .. }
            | Self::NotConnect { .. }
            | Self::CodecPanicked { .. } => Reason::PROTOCOL_ERROR,
            Self::TooLarge { .. } => Reason::PACKET_TOO_LARGE,
            Self::Topic { .. } => Reason::TOPIC_NAME_INVALID,
            Self::Version { .. } => Reason::UNSUPPORTED_VERSION,
        }
    }
}

#[cfg(test)]
mod tests;
