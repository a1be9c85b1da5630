//! Packets to the broker.

use bytes::BytesMut;
use rumqttc::mqttbytes::{self, v4};
use rumqttc::v5::mqttbytes::{self as mqttbytes5, v5};

use super::super::fault::Fault;
use super::{Hello, Outgoing, ProtocolVersion, TooLarge, Wire};

impl Wire {
    pub(in super::super) fn connect(
        &self,
        hello: &Hello<'_>,
        out: &mut BytesMut,
    ) -> Result<(), Fault> {
        match self.version {
            ProtocolVersion::V3 => {
                let mut connect = v4::Connect::new(hello.client_id);
                connect.clean_session = hello.clean;
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
                properties.session_expiry_interval = (!hello.clean).then_some(SESSION_EXPIRY);
                properties.max_packet_size = Some(self.incoming);
                properties.receive_maximum = Some(RECEIVE_MAXIMUM);
                let connect = v5::Connect {
                    keep_alive: hello.keep_alive,
                    client_id: hello.client_id.to_owned(),
                    clean_start: hello.clean,
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

    pub(in super::super) fn publish(
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

    /// SUBSCRIBE; `number` comes with each message of this subscription, if the broker tells it.
    pub(in super::super) fn subscribe(
        &self,
        id: u16,
        filter: &str,
        number: Option<usize>,
        as_published: bool,
        out: &mut BytesMut,
    ) -> Result<(), Fault> {
        match self.version {
            ProtocolVersion::V3 => {
                let mut subscribe = v4::Subscribe::new(filter, mqttbytes::QoS::AtLeastOnce);
                subscribe.pkid = id;
                self.put3(&v4::Packet::Subscribe(subscribe), out)
            }
            ProtocolVersion::V5 => {
                let mut filter = v5::Filter::new(filter, mqttbytes5::QoS::AtLeastOnce);
                filter.preserve_retain = as_published;
                let properties = number.map(|number| v5::SubscribeProperties {
                    id: Some(number),
                    user_properties: Vec::new(),
                });
                let mut subscribe = v5::Subscribe::new(filter, properties);
                subscribe.pkid = id;
                self.put5(&v5::Packet::Subscribe(subscribe), out)
            }
        }
    }

    pub(in super::super) fn unsubscribe(
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

    /// PUBACK.
    pub(in super::super) fn acknowledge(&self, id: u16, out: &mut BytesMut) -> Result<(), Fault> {
        match self.version {
            ProtocolVersion::V3 => self.put3(&v4::Packet::PubAck(v4::PubAck::new(id)), out),
            ProtocolVersion::V5 => self.put5(&v5::Packet::PubAck(v5::PubAck::new(id, None)), out),
        }
    }

    /// PUBREC.
    pub(in super::super) fn received(&self, id: u16, out: &mut BytesMut) -> Result<(), Fault> {
        match self.version {
            ProtocolVersion::V3 => self.put3(&v4::Packet::PubRec(v4::PubRec::new(id)), out),
            ProtocolVersion::V5 => self.put5(&v5::Packet::PubRec(v5::PubRec::new(id, None)), out),
        }
    }

    /// PUBCOMP.
    pub(in super::super) fn complete(&self, id: u16, out: &mut BytesMut) -> Result<(), Fault> {
        match self.version {
            ProtocolVersion::V3 => self.put3(&v4::Packet::PubComp(v4::PubComp::new(id)), out),
            ProtocolVersion::V5 => self.put5(&v5::Packet::PubComp(v5::PubComp::new(id, None)), out),
        }
    }

    pub(in super::super) fn ping(&self, out: &mut BytesMut) -> Result<(), Fault> {
        match self.version {
            ProtocolVersion::V3 => self.put3(&v4::Packet::PingReq, out),
            ProtocolVersion::V5 => self.put5(&v5::Packet::PingReq(v5::PingReq), out),
        }
    }

    pub(in super::super) fn disconnect(&self, out: &mut BytesMut) -> Result<(), Fault> {
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
}

/// How long the broker keeps the session, and the commands that wait in it, in seconds. A command
/// that nobody could carry out for an hour is not meant any more.
const SESSION_EXPIRY: u32 = 3600;
const RECEIVE_MAXIMUM: u16 = 100;
