//! Packets to and from another broker: rumqttc's codec for MQTT 3.1.1 and MQTT 5, behind one face.
//!
//! Only the codec is used. rumqttc's event loop keeps its own list of what is under way, which it
//! clears when the broker has lost the session, repeats out of order and at 700 messages a second
//! otherwise, and never gives up what is too large; here the outbox is that list.

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::{self, v4};
use rumqttc::v5::mqttbytes::{self as mqttbytes5, v5};

use super::fault::Fault;
use super::{Login, ProtocolVersion, Will};

/// A connection's codec.
#[derive(Debug)]
pub(super) struct Wire {
    version: ProtocolVersion,
    /// The largest packet taken.
    incoming: u32,
    /// The largest packet the broker takes.
    pub(super) outgoing: u32,
}

/// CONNECT.
pub(super) struct Hello<'a> {
    pub(super) client_id: &'a str,
    pub(super) login: Option<&'a Login>,
    pub(super) will: Option<&'a Will>,
    pub(super) keep_alive: u16,
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
    Publish {
        /// Of QoS 1.
        id: Option<u16>,
        topic: Bytes,
        payload: Bytes,
        retain: bool,
    },
    /// PUBACK, with the reason when the message was not taken.
    Acknowledged(u16, Option<String>),
    /// SUBACK, with the reason when the subscription was refused.
    Subscribed(u16, Option<String>),
    Unsubscribed(u16),
    Pong,
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
}

/// A packet that the broker, or this side, does not take for its size.
#[derive(Debug)]
pub(super) struct TooLarge {
    pub(super) size: usize,
}

impl Wire {
    pub(super) fn new(version: ProtocolVersion, packet_size: usize) -> Self {
        let size = u32::try_from(packet_size).unwrap_or(u32::MAX);
        Self { version, incoming: size, outgoing: size }
    }

    pub(super) fn connect(&self, hello: &Hello<'_>, out: &mut BytesMut) -> Result<(), Fault> {
        match self.version {
            ProtocolVersion::V3 => {
                let mut connect = v4::Connect::new(hello.client_id);
                connect.clean_session = false;
                connect.keep_alive = hello.keep_alive;
                connect.login = hello.login.map(|login| v4::Login {
                    username: login.user.clone(),
                    password: login.password.reveal().to_owned(),
                });
                connect.last_will = hello.will.map(|will| v4::LastWill {
                    topic: will.topic.clone(),
                    message: will.payload.clone().into(),
                    qos: mqttbytes::QoS::AtLeastOnce,
                    retain: true,
                });
                self.put3(&v4::Packet::Connect(connect), out)
            }
            ProtocolVersion::V5 => {
                let mut properties = v5::ConnectProperties::new();
                properties.session_expiry_interval = Some(SESSION_EXPIRY);
                properties.max_packet_size = Some(self.incoming);
                properties.receive_maximum = Some(RECEIVE_MAXIMUM);
                let connect = v5::Connect {
                    keep_alive: hello.keep_alive,
                    client_id: hello.client_id.to_owned(),
                    clean_start: false,
                    properties: Some(properties),
                };
                let will = hello.will.map(|will| v5::LastWill {
                    topic: will.topic.clone().into(),
                    message: will.payload.clone().into(),
                    qos: mqttbytes5::QoS::AtLeastOnce,
                    retain: true,
                    properties: None,
                });
                let login = hello.login.map(|login| v5::Login {
                    username: login.user.clone(),
                    password: login.password.reveal().to_owned(),
                });
                self.put5(&v5::Packet::Connect(connect, will, login), out)
            }
        }
    }

    pub(super) fn publish(
        &self,
        message: Outgoing<'_>,
        out: &mut BytesMut,
    ) -> Result<(), TooLarge> {
        let Outgoing { id, topic, payload, retain } = message;
        let written = match self.version {
            ProtocolVersion::V3 => {
                let qos = match id {
                    Some(_) => mqttbytes::QoS::AtLeastOnce,
                    None => mqttbytes::QoS::AtMostOnce,
                };
                let mut publish = v4::Publish::from_bytes(topic, qos, payload);
                (publish.retain, publish.pkid) = (retain, id.unwrap_or(0));
                let packet = v4::Packet::Publish(publish);
                let size = packet.size();
                packet.write(out, self.outgoing as usize).map(|_| ()).map_err(|_| size)
            }
            ProtocolVersion::V5 => {
                let qos = match id {
                    Some(_) => mqttbytes5::QoS::AtLeastOnce,
                    None => mqttbytes5::QoS::AtMostOnce,
                };
                let mut publish = v5::Publish::new(topic, qos, payload, None);
                (publish.retain, publish.pkid) = (retain, id.unwrap_or(0));
                let packet = v5::Packet::Publish(publish);
                let size = packet.size();
                packet.write(out, Some(self.outgoing)).map(|_| ()).map_err(|_| size)
            }
        };
        written.map_err(|size| TooLarge { size })
    }

    pub(super) fn subscribe(&self, id: u16, filter: &str, out: &mut BytesMut) -> Result<(), Fault> {
        match self.version {
            ProtocolVersion::V3 => {
                let mut subscribe = v4::Subscribe::new(filter, mqttbytes::QoS::AtLeastOnce);
                subscribe.pkid = id;
                self.put3(&v4::Packet::Subscribe(subscribe), out)
            }
            ProtocolVersion::V5 => {
                let filter = v5::Filter::new(filter, mqttbytes5::QoS::AtLeastOnce);
                let mut subscribe = v5::Subscribe::new(filter, None);
                subscribe.pkid = id;
                self.put5(&v5::Packet::Subscribe(subscribe), out)
            }
        }
    }

    pub(super) fn unsubscribe(
        &self,
        id: u16,
        filter: &str,
        out: &mut BytesMut,
    ) -> Result<(), Fault> {
        match self.version {
            ProtocolVersion::V3 => {
                let mut unsubscribe = v4::Unsubscribe::new(filter);
                unsubscribe.pkid = id;
                self.put3(&v4::Packet::Unsubscribe(unsubscribe), out)
            }
            ProtocolVersion::V5 => {
                let mut unsubscribe = v5::Unsubscribe::new(filter, None);
                unsubscribe.pkid = id;
                self.put5(&v5::Packet::Unsubscribe(unsubscribe), out)
            }
        }
    }

    pub(super) fn acknowledge(&self, id: u16, out: &mut BytesMut) -> Result<(), Fault> {
        match self.version {
            ProtocolVersion::V3 => self.put3(&v4::Packet::PubAck(v4::PubAck::new(id)), out),
            ProtocolVersion::V5 => self.put5(&v5::Packet::PubAck(v5::PubAck::new(id, None)), out),
        }
    }

    pub(super) fn ping(&self, out: &mut BytesMut) -> Result<(), Fault> {
        match self.version {
            ProtocolVersion::V3 => self.put3(&v4::Packet::PingReq, out),
            ProtocolVersion::V5 => self.put5(&v5::Packet::PingReq(v5::PingReq), out),
        }
    }

    pub(super) fn disconnect(&self, out: &mut BytesMut) -> Result<(), Fault> {
        match self.version {
            ProtocolVersion::V3 => self.put3(&v4::Packet::Disconnect, out),
            ProtocolVersion::V5 => {
                let reason = v5::DisconnectReasonCode::NormalDisconnection;
                let disconnect = v5::Disconnect { reason_code: reason, properties: None };
                self.put5(&v5::Packet::Disconnect(disconnect), out)
            }
        }
    }

    fn put3(&self, packet: &v4::Packet, out: &mut BytesMut) -> Result<(), Fault> {
        let written = packet.write(out, self.outgoing as usize);
        written.map(|_| ()).map_err(|error| Fault::Rejected(error.to_string()))
    }

    fn put5(&self, packet: &v5::Packet, out: &mut BytesMut) -> Result<(), Fault> {
        let written = packet.write(out, Some(self.outgoing));
        written.map(|_| ()).map_err(|error| Fault::Rejected(error.to_string()))
    }

    /// The next packet of the buffer; `None`: more bytes are needed.
    ///
    /// # Errors
    /// When the broker refuses, ends the connection, or does not speak MQTT.
    pub(super) fn read(
        &self,
        buffer: &mut BytesMut,
        client_id: &str,
    ) -> Result<Option<Incoming>, Fault> {
        if self.version == ProtocolVersion::V5
            && let Some(reason) = short_disconnect(buffer)
        {
            return Err(ended(reason.try_into().ok(), None, client_id));
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
        v4::Packet::Publish(publish) => Incoming::Publish {
            id: received_id(publish.qos as u8, publish.pkid)?,
            topic: publish.topic.into(),
            payload: publish.payload,
            retain: publish.retain,
        },
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
        v5::Packet::Publish(publish) => Incoming::Publish {
            id: received_id(publish.qos as u8, publish.pkid)?,
            topic: publish.topic,
            payload: publish.payload,
            retain: publish.retain,
        },
        v5::Packet::PubAck(ack) => {
            use v5::PubAckReason::{NoMatchingSubscribers, Success};
            let taken = matches!(ack.reason, Success | NoMatchingSubscribers);
            Incoming::Acknowledged(ack.pkid, (!taken).then(|| spell(&ack.reason)))
        }
        v5::Packet::SubAck(ack) => {
            let granted = |code: &&_| !matches!(code, v5::SubscribeReasonCode::Success(_));
            Incoming::Subscribed(ack.pkid, ack.return_codes.iter().find(granted).map(spell))
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
    Ok(properties.map_or_else(Terms::default, |properties| Terms {
        session_present,
        receive_maximum: properties.receive_max,
        packet_size: properties.max_packet_size,
        keep_alive: properties.server_keep_alive,
        without_qos_1: properties.max_qos == Some(0),
        without_retain: properties.retain_available == Some(0),
    }))
}

/// Subscriptions are made with QoS 1, so nothing comes with more.
fn received_id(qos: u8, id: u16) -> Result<Option<u16>, Fault> {
    match qos {
        0 => Ok(None),
        1 => Ok(Some(id)),
        _ => Err(Fault::Malformed("a message with more than the QoS asked for".to_owned())),
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

/// How long the broker keeps the session, and the commands that wait in it, in seconds. A command
/// that nobody could carry out for an hour is not meant any more.
const SESSION_EXPIRY: u32 = 3600;
const RECEIVE_MAXIMUM: u16 = 100;
