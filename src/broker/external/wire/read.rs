//! Packets from the broker.

use bytes::BytesMut;
use rumqttc::mqttbytes::{self, v4};
use rumqttc::v5::mqttbytes::{self as mqttbytes5, v5};

use super::super::fault::Fault;
use super::large::Passing;
use super::{Incoming, ProtocolVersion, Publish, Receipt, Terms, Wire};

impl Wire {
    /// The next packet of the buffer; `None`: more bytes are needed.
    ///
    /// # Errors
    /// When the broker refuses, ends the connection, or does not speak MQTT.
    pub(in super::super) fn read(
        &mut self,
        buffer: &mut BytesMut,
        client_id: &str,
    ) -> Result<Option<Incoming>, Fault> {
        if self.version == ProtocolVersion::V5
            && let Some(reason) = short_disconnect(buffer)
        {
            return Err(ended(reason.try_into().ok(), None, client_id));
        }
        match self.pass_over(buffer)? {
            Passing::Nothing => {}
            Passing::Unfinished => return Ok(None),
            Passing::Begun(packet) => return Ok(Some(packet)),
        }
        let before = buffer.len();
        // The codec says "more bytes" as well when a packet it has taken out ends too early.
        let more = |buffer: &BytesMut| match buffer.len() == before {
            true => Ok(None),
            false => Err(Fault::Malformed("a packet that ends too early".to_owned())),
        };
        match self.version {
            ProtocolVersion::V3 => match v4::Packet::read(buffer, self.incoming as usize) {
                Ok(packet) => of3(packet).map(Some),
                Err(mqttbytes::Error::InsufficientBytes(_)) => more(buffer),
                Err(error) => Err(Fault::Malformed(error.to_string())),
            },
            ProtocolVersion::V5 => match v5::Packet::read(buffer, Some(self.incoming)) {
                Ok(packet) => of5(packet, client_id).map(Some),
                Err(mqttbytes5::Error::InsufficientBytes(_)) => more(buffer),
                Err(error) => Err(Fault::Malformed(error.to_string())),
            },
        }
    }
}

fn of3(packet: v4::Packet) -> Result<Incoming, Fault> {
    Ok(match packet {
        v4::Packet::ConnAck(connack) => {
            use v4::ConnectReturnCode as Code;
            match connack.code {
                Code::Success => {
                    let session_present = connack.session_present;
                    Incoming::Accepted(Terms { session_present, ..Terms::default() })
                }
                Code::BadUserNamePassword => {
                    return Err(Fault::Login("wrong user or password".into()));
                }
                Code::NotAuthorized => return Err(Fault::Login("not authorised".into())),
                Code::RefusedProtocolVersion => return Err(Fault::Version("3.1.1", 5)),
                code => return Err(Fault::Rejected(spell(&code))),
            }
        }
        v4::Packet::Publish(publish) => Incoming::Publish(Publish {
            receipt: Receipt::of(publish.qos as u8, publish.pkid),
            topic: publish.topic.into(),
            payload: publish.payload,
            retain: publish.retain,
            subscriptions: Vec::new(),
        }),
        v4::Packet::PubRel(release) => Incoming::Released(release.pkid),
        v4::Packet::PubAck(ack) => Incoming::Acknowledged(ack.pkid, None),
        v4::Packet::SubAck(ack) => {
            let failed = ack.return_codes.contains(&v4::SubscribeReasonCode::Failure);
            Incoming::Subscribed(ack.pkid, failed.then(|| "refused".to_owned()))
        }
        v4::Packet::UnsubAck(ack) => Incoming::Unsubscribed(ack.pkid),
        v4::Packet::PingResp => Incoming::Pong,
        packet => return Err(unexpected(&packet)),
    })
}

fn of5(packet: v5::Packet, client_id: &str) -> Result<Incoming, Fault> {
    Ok(match packet {
        v5::Packet::ConnAck(connack) => Incoming::Accepted(terms(connack)?),
        v5::Packet::Publish(publish) => Incoming::Publish(Publish {
            receipt: Receipt::of(publish.qos as u8, publish.pkid),
            topic: publish.topic,
            payload: publish.payload,
            retain: publish.retain,
            subscriptions: publish
                .properties
                .map_or_else(Vec::new, |properties| properties.subscription_identifiers),
        }),
        v5::Packet::PubRel(release) => Incoming::Released(release.pkid),
        v5::Packet::PubAck(ack) => {
            use v5::PubAckReason::{NoMatchingSubscribers, Success};
            let taken = matches!(ack.reason, Success | NoMatchingSubscribers);
            Incoming::Acknowledged(ack.pkid, (!taken).then(|| spell(&ack.reason)))
        }
        v5::Packet::SubAck(ack) => {
            let refused = |code: &&_| !matches!(code, v5::SubscribeReasonCode::Success(_));
            Incoming::Subscribed(ack.pkid, ack.return_codes.iter().find(refused).map(spell))
        }
        v5::Packet::UnsubAck(ack) => Incoming::Unsubscribed(ack.pkid),
        v5::Packet::PingResp(_) => Incoming::Pong,
        v5::Packet::Disconnect(disconnect) => {
            let said = disconnect.properties.and_then(|properties| properties.reason_string);
            return Err(ended(Some(disconnect.reason_code), said, client_id));
        }
        packet => return Err(unexpected(&packet)),
    })
}

/// The reason of a DISCONNECT without properties, or without a reason as well: the codec takes
/// neither form, and brokers send both.
fn short_disconnect(buffer: &[u8]) -> Option<u8> {
    match buffer {
        [0xE0, 0, ..] => Some(0),
        [0xE0, 1, reason, ..] => Some(*reason),
        _ => None,
    }
}

fn ended(code: Option<v5::DisconnectReasonCode>, said: Option<String>, client_id: &str) -> Fault {
    match code {
        Some(v5::DisconnectReasonCode::SessionTakenOver) => Fault::TakenOver(client_id.to_owned()),
        Some(code) => Fault::Ended(with_text(spell(&code), said)),
        None => Fault::Ended("for a reason that MQTT does not know".to_owned()),
    }
}

fn terms(connack: v5::ConnAck) -> Result<Terms, Fault> {
    use v5::ConnectReturnCode as Code;
    let properties = connack.properties;
    let said = properties.as_ref().and_then(|properties| properties.reason_string.clone());
    match connack.code {
        Code::Success => {}
        Code::BadUserNamePassword | Code::NotAuthorized | Code::BadAuthenticationMethod => {
            return Err(Fault::Login(with_text(spell(&connack.code), said)));
        }
        Code::UnsupportedProtocolVersion | Code::RefusedProtocolVersion => {
            return Err(Fault::Version("5", 4));
        }
        code => return Err(Fault::Rejected(with_text(spell(&code), said))),
    }
    let session_present = connack.session_present;
    let plain = Terms { session_present, subscription_ids: true, ..Terms::default() };
    Ok(properties.map_or(plain, |properties| Terms {
        session_present,
        receive_maximum: properties.receive_max,
        packet_size: properties.max_packet_size,
        keep_alive: properties.server_keep_alive,
        without_qos_1: properties.max_qos == Some(0),
        without_retain: properties.retain_available == Some(0),
        subscription_ids: properties.subscription_identifiers_available != Some(0),
    }))
}

impl Receipt {
    /// `qos` as the codec or `large` has read it: 0, 1 or 2.
    pub(super) fn of(qos: u8, id: u16) -> Self {
        match qos {
            0 => Self::None,
            1 => Self::Acknowledge(id),
            _ => Self::Receive(id),
        }
    }
}

fn unexpected(packet: &impl std::fmt::Debug) -> Fault {
    let name: String =
        format!("{packet:?}").chars().take_while(char::is_ascii_alphanumeric).collect();
    Fault::Malformed(format!("{name} was not expected"))
}

/// A reason code's name in words: `NotAuthorized` is "not authorized".
fn spell(code: &impl std::fmt::Debug) -> String {
    let mut words = String::new();
    for c in format!("{code:?}").chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

fn with_text(code: String, said: Option<String>) -> String {
    match said {
        Some(said) => {
            let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
            format!("{code}, \"{said}\"")
        }
        None => code,
    }
}
