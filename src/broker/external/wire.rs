//! Packets to and from another broker: rumqttc's codec for MQTT 3.1.1 and MQTT 5, behind one face.
//!
//! Only the codec is used. rumqttc's event loop keeps its own list of what is under way, which it
//! clears when the broker has lost the session, repeats out of order and at 700 messages a second
//! otherwise, and never gives up what is too large; here the outbox is that list.
//!
//! `write` and `read` are the two directions; `large` passes over what is too large to be read.

mod large;
mod read;
mod write;

use bytes::Bytes;

use super::{Login, ProtocolVersion, Will};

/// A connection's codec.
#[derive(Debug)]
pub(super) struct Wire {
    version: ProtocolVersion,
    /// The largest packet taken.
    incoming: u32,
    /// The largest packet the broker takes.
    pub(super) outgoing: u32,
    /// Bytes to come of a message that is passed over.
    skip: usize,
}

/// CONNECT.
pub(super) struct Hello<'a> {
    pub(super) client_id: &'a str,
    pub(super) login: Option<&'a Login>,
    pub(super) will: Option<&'a Will>,
    pub(super) keep_alive: u16,
    /// The broker is to forget everything with the connection.
    pub(super) clean: bool,
}

/// PUBLISH on its way out; QoS 0 without an id.
pub(super) struct Outgoing<'a> {
    pub(super) id: Option<u16>,
    pub(super) topic: &'a str,
    pub(super) payload: Bytes,
    pub(super) retain: bool,
}

/// A packet from the broker.
#[derive(Debug)]
pub(super) enum Incoming {
    Accepted(Terms),
    Publish(Publish),
    /// A message larger than this side takes: its topic, and its size in bytes.
    TooLarge(Receipt, String, usize),
    /// PUBREL.
    Released(u16),
    /// PUBACK, with the reason when the message was not taken.
    Acknowledged(u16, Option<String>),
    /// SUBACK, with the reason when the subscription was refused.
    Subscribed(u16, Option<String>),
    Unsubscribed(u16),
    Pong,
}

/// PUBLISH from the broker.
#[derive(Debug)]
pub(super) struct Publish {
    pub(super) receipt: Receipt,
    pub(super) topic: Bytes,
    pub(super) payload: Bytes,
    pub(super) retain: bool,
    /// Of the subscriptions by which it came, as far as the broker tells.
    pub(super) subscriptions: Vec<usize>,
}

/// How a message is to be answered, with its packet id. QoS 2 is never asked for; it comes from a
/// session that another program with this client id has left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receipt {
    None,
    Acknowledge(u16),
    Receive(u16),
}

/// What the broker grants with its CONNACK.
#[derive(Debug, Default)]
pub(super) struct Terms {
    pub(super) session_present: bool,
    /// QoS 1 messages it takes unacknowledged.
    pub(super) receive_maximum: Option<u16>,
    pub(super) packet_size: Option<u32>,
    pub(super) keep_alive: Option<u16>,
    /// It takes QoS 0 only.
    pub(super) without_qos_1: bool,
    /// It keeps no retained messages and takes none.
    pub(super) without_retain: bool,
    /// It tells with a message by which subscriptions it comes.
    pub(super) subscription_ids: bool,
}

/// A packet that the broker, or this side, does not take for its size.
#[derive(Debug)]
pub(super) struct TooLarge {
    pub(super) size: usize,
}

impl Wire {
    pub(super) fn new(version: ProtocolVersion, packet_size: usize) -> Self {
        let size = u32::try_from(packet_size).unwrap_or(u32::MAX);
        Self { version, incoming: size, outgoing: size, skip: 0 }
    }
}
