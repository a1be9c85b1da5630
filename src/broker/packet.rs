//! The packets as the broker sees them: plain data, the same for MQTT 3.1.1 and MQTT 5.
//!
//! `wire` makes these from bytes and bytes from these; nothing else in the broker knows an encoding.
//! A PUBLISH borrows from the read buffer, because most of them are copied once, into the message
//! that all subscribers share, or not at all.

use std::fmt;

use bytes::Bytes;

/// Quality of service of a message or a subscription, in the order of its promise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(clippy::enum_variant_names, reason = "they are MQTT's own")]
pub(crate) enum QoS {
    /// 0: sent once, never repeated.
    #[default]
    AtMostOnce = 0,
    /// 1: repeated until acknowledged.
    AtLeastOnce = 1,
    /// 2: delivered once, by a four-packet exchange.
    ExactlyOnce = 2,
}

impl QoS {
    /// The QoS with this number on the wire, `None` for 3 and above.
    #[must_use]
    pub(crate) fn from_level(level: u8) -> Option<Self> {
        match level {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// The protocol a connection speaks, taken from its CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// MQTT 3.1.1 (level 4), and 3.1 (level 3, `MQIsdp`), which differs in CONNECT only.
    V3,
    /// MQTT 5 (level 5).
    V5,
}

/// An MQTT 5 reason code. On 3.1.1 the few that exist are translated by `wire`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reason(pub(crate) u8);

/// The reason codes the broker uses, by their names in MQTT 5, section 2.4.
impl Reason {
    pub(crate) const SUCCESS: Self = Self(0x00);
    pub(crate) const NO_MATCHING_SUBSCRIBERS: Self = Self(0x10);
    pub(crate) const NO_SUBSCRIPTION_EXISTED: Self = Self(0x11);
    pub(crate) const MALFORMED_PACKET: Self = Self(0x81);
    pub(crate) const PROTOCOL_ERROR: Self = Self(0x82);
    pub(crate) const UNSUPPORTED_VERSION: Self = Self(0x84);
    pub(crate) const CLIENT_ID_NOT_VALID: Self = Self(0x85);
    pub(crate) const BAD_USER_NAME_OR_PASSWORD: Self = Self(0x86);
    pub(crate) const NOT_AUTHORIZED: Self = Self(0x87);
    pub(crate) const SERVER_SHUTTING_DOWN: Self = Self(0x8B);
    pub(crate) const BAD_AUTHENTICATION_METHOD: Self = Self(0x8C);
    pub(crate) const KEEP_ALIVE_TIMEOUT: Self = Self(0x8D);
    pub(crate) const SESSION_TAKEN_OVER: Self = Self(0x8E);
    pub(crate) const TOPIC_FILTER_INVALID: Self = Self(0x8F);
    pub(crate) const TOPIC_NAME_INVALID: Self = Self(0x90);
    pub(crate) const PACKET_ID_NOT_FOUND: Self = Self(0x92);
    pub(crate) const RECEIVE_MAXIMUM_EXCEEDED: Self = Self(0x93);
    pub(crate) const TOPIC_ALIAS_INVALID: Self = Self(0x94);
    pub(crate) const PACKET_TOO_LARGE: Self = Self(0x95);
    pub(crate) const QUOTA_EXCEEDED: Self = Self(0x97);
    pub(crate) const CONNECTION_RATE_EXCEEDED: Self = Self(0x9F);

    /// The code in words, for reason strings.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::CLIENT_ID_NOT_VALID => "client id not valid",
            Self::NOT_AUTHORIZED => "not authorized",
            Self::SERVER_SHUTTING_DOWN => "the broker is stopping",
            Self::BAD_AUTHENTICATION_METHOD => "no extended authentication here",
            Self::KEEP_ALIVE_TIMEOUT => "nothing heard for one and a half times the keep-alive",
            Self::SESSION_TAKEN_OVER => "another connection came with this client id",
            Self::RECEIVE_MAXIMUM_EXCEEDED => "more open QoS 2 messages than the receive maximum",
            Self::TOPIC_ALIAS_INVALID => "topic alias not known",
            Self::QUOTA_EXCEEDED => "a limit of the broker is reached",
            _ => "",
        }
    }

    /// Whether the code tells of a failure.
    pub(crate) fn is_error(self) -> bool {
        self.0 >= 0x80
    }
}

/// A packet from a client that has connected.
#[derive(Debug)]
pub(crate) enum Incoming<'a> {
    Publish(Publish<'a>),
    Ack(Ack),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    PingRequest,
    Disconnect(Disconnect),
}

/// CONNECT, checked.
#[derive(Debug)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    /// Whether CONNACK may say that there was a session: in MQTT 3.1 that byte is reserved.
    pub(crate) knows_session_present: bool,
    /// The client is another broker's bridge, and says so.
    pub(crate) bridge: bool,
    /// Empty when the client leaves the choice to the server.
    pub(crate) client_id: String,
    /// Clean session (3.1.1) or clean start (5).
    pub(crate) clean: bool,
    /// Seconds; 0 is never.
    pub(crate) keep_alive: u16,
    /// Seconds the session outlives the connection; `u32::MAX` is for ever.
    pub(crate) session_expiry: u32,
    /// How many QoS 1 and 2 messages the client takes unacknowledged.
    pub(crate) receive_maximum: u16,
    /// The largest packet the client takes, in bytes.
    pub(crate) maximum_packet: Option<u32>,
    /// How many topic aliases the client takes.
    pub(crate) topic_alias_maximum: u16,
    pub(crate) authentication_method: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Password>,
    pub(crate) will: Option<Will>,
}

/// A password in clear, on its way to being tested. Shown as a mask.
pub(crate) struct Password(Box<[u8]>);

impl Password {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for the one place that tests them.
    pub(crate) fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

/// The message a client leaves for the case that its connection breaks.
#[derive(Debug, Clone)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Seconds between the end of the connection and the publication.
    pub(crate) delay: u32,
    /// Seconds of life from its publication.
    pub(crate) expiry: Option<u32>,
    /// The properties that travel with the message, as on the wire.
    pub(crate) properties: Vec<u8>,
}

/// PUBLISH, borrowed from the read buffer.
#[derive(Debug)]
pub(crate) struct Publish<'a> {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// 0 with QoS 0.
    pub(crate) packet_id: u16,
    /// Empty when `alias` stands for it.
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) alias: Option<u16>,
    /// Seconds of life from now.
    pub(crate) expiry: Option<u32>,
    /// The properties that travel with the message, as on the wire.
    pub(crate) properties: Vec<u8>,
}

/// The four acknowledgements of QoS 1 and 2, which share one layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) kind: AckKind,
    pub(crate) packet_id: u16,
    pub(crate) reason: Reason,
}

/// Which acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckKind {
    /// PUBACK
    Acknowledged,
    /// PUBREC
    Received,
    /// PUBREL
    Release,
    /// PUBCOMP
    Complete,
}

/// SUBSCRIBE; filter syntax is judged by the broker, filter by filter.
#[derive(Debug)]
pub(crate) struct Subscribe {
    pub(crate) packet_id: u16,
    /// Subscription identifier, 1 to 268,435,455.
    pub(crate) subscription_id: Option<u32>,
    pub(crate) requests: Vec<SubscribeRequest>,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug)]
pub(crate) struct SubscribeRequest {
    pub(crate) filter: String,
    pub(crate) qos: QoS,
    /// Do not send the client its own messages.
    pub(crate) no_local: bool,
    /// Keep the publisher's retain flag on live messages.
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: RetainHandling,
}

/// When a SUBSCRIBE is answered with retained messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetainHandling {
    Always,
    OnlyNew,
    Never,
}

/// UNSUBSCRIBE.
#[derive(Debug)]
pub(crate) struct Unsubscribe {
    pub(crate) packet_id: u16,
    pub(crate) filters: Vec<String>,
}

/// DISCONNECT from a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disconnect {
    pub(crate) reason: Reason,
    /// A new session expiry in seconds, MQTT 5.
    pub(crate) session_expiry: Option<u32>,
}

/// What CONNACK says beside its reason.
#[derive(Debug, Default)]
pub(crate) struct ConnAck {
    pub(crate) session_present: bool,
    pub(crate) assigned_client_id: Option<String>,
    /// Seconds, where the server's keep-alive replaces the client's.
    pub(crate) keep_alive: Option<u16>,
    pub(crate) receive_maximum: u16,
    pub(crate) maximum_packet: u32,
    pub(crate) topic_alias_maximum: u16,
    /// Why the client is refused, in words. MQTT 5.
    pub(crate) reason_string: Option<String>,
}
