//! CONNECT: the packet that chooses the version, and the first that a stranger sends.

use bytes::{BufMut, Bytes, BytesMut};
use rumqttd::protocol as codec;
use rumqttd::protocol::Protocol;

use super::WireError;
use super::cursor::Cursor;
use super::decode::guarded;
use super::header::{CONNECT, Header};
use super::property::{self, Place, Properties};
use crate::broker::filter;
use crate::broker::packet::{Connect, Password, QoS, Version, Will};

/// Reads a whole CONNECT packet.
///
/// # Errors
/// `WireError::Version` for a protocol that is not spoken here (the caller answers in the form the
/// client may understand), any other for a packet that breaks a rule.
pub(crate) fn decode_connect(header: Header, packet: &[u8]) -> Result<Connect, WireError> {
    let walk = Walk::over(packet.get(header.body..).unwrap_or_default())?;
    let mut plain = walk.without_credentials();
    let decoded = guarded(CONNECT, || match walk.version {
        Version::V3 => codec::v4::V4.read_mut(&mut plain, usize::MAX),
        Version::V5 => codec::v5::V5.read_mut(&mut plain, usize::MAX),
    })?;
    let codec::Packet::Connect(connect, properties, will, _, _) = decoded else {
        return Err(WireError::Protocol("first packet is no CONNECT"));
    };
    let will = will.map(|will| walk.will(&will)).transpose()?;
    let session_expiry = match walk.version {
        Version::V3 if connect.clean_session => 0,
        Version::V3 => u32::MAX,
        Version::V5 => {
            properties.as_ref().and_then(|found| found.session_expiry_interval).unwrap_or(0)
        }
    };
    Ok(Connect {
        version: walk.version,
        knows_session_present: !walk.old,
        bridge: walk.bridge,
        client_id: connect.client_id,
        clean: connect.clean_session,
        keep_alive: connect.keep_alive,
        session_expiry,
        receive_maximum: properties
            .as_ref()
            .and_then(|found| found.receive_maximum)
            .unwrap_or(u16::MAX),
        maximum_packet: properties.as_ref().and_then(|found| found.max_packet_size),
        topic_alias_maximum: properties
            .as_ref()
            .and_then(|found| found.topic_alias_max)
            .unwrap_or(0),
        authentication_method: properties.and_then(|found| found.authentication_method),
        user: walk.user.map(str::to_owned),
        password: walk.password.map(Password::new),
        will,
    })
}

/// The form in which a client whose CONNECT is refused may understand a CONNACK; `None` where the
/// standard gives it none (a malformed CONNECT on 3.1.1) or the packet is no CONNECT at all.
pub(crate) fn version_to_refuse_in(header: Header, packet: &[u8]) -> Option<Version> {
    let mut cursor = Cursor::new(packet.get(header.body..)?);
    let name = cursor.string().ok()?;
    match (name, cursor.u8().ok()?) {
        ("MQTT", 5..) => Some(Version::V5),
        ("MQTT", 4) | ("MQIsdp", 3) => None,
        _ => Some(Version::V3),
    }
}

/// One pass over the raw packet, for what the codec does not check or does not tell: reserved bits,
/// trailing bytes, doubled properties, and a password that is binary and not text.
struct Walk<'a> {
    version: Version,
    /// MQTT 3.1, which is spoken as 3.1.1.
    old: bool,
    /// The client is another broker's bridge.
    bridge: bool,
    flags: u8,
    /// From keep-alive to the end of the will: what the codec gets to see.
    middle: &'a [u8],
    user: Option<&'a str>,
    password: Option<&'a [u8]>,
    will_properties: Properties,
}

impl<'a> Walk<'a> {
    fn over(body: &'a [u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(body);
        let Spoken { version, old, bridge } = read_version(&mut cursor)?;
        // In MQTT 3.1 the reserved flag means nothing; from 3.1.1 on it has to be 0.
        let flags = cursor.u8()? & if old { !RESERVED } else { u8::MAX };
        check_flags(flags, version)?;
        let middle = cursor;
        let _keep_alive = cursor.u16()?;
        if version == Version::V5 {
            property::scan(&mut cursor, Place::Connect)?;
        }
        let _client_id = cursor.string()?;
        let mut will_properties = Properties::default();
        if flags & WILL != 0 {
            if version == Version::V5 {
                will_properties = property::scan(&mut cursor, Place::Will)?;
            }
            filter::check_topic(cursor.string()?)?;
            cursor.binary()?;
        }
        let middle = &middle.rest()[..middle.len() - cursor.len()];
        let user = if flags & USER != 0 { Some(cursor.string()?) } else { None };
        let password = if flags & PASSWORD != 0 { Some(cursor.binary()?) } else { None };
        if !cursor.is_empty() {
            return Err(WireError::Malformed("CONNECT with bytes behind its end"));
        }
        Ok(Self { version, old, bridge, flags, middle, user, password, will_properties })
    }

    /// The same packet at level 4 or 5 and without user and password: the codec takes a password for
    /// text, and knows nothing of MQTT 3.1.
    fn without_credentials(&self) -> BytesMut {
        let length = 2 + 4 + 1 + 1 + self.middle.len();
        let mut packet = BytesMut::with_capacity(length + 5);
        packet.put_u8(CONNECT << 4);
        super::encode::put_varint(&mut packet, length);
        packet.put_u16(4);
        packet.put_slice(b"MQTT");
        packet.put_u8(match self.version {
            Version::V3 => 4,
            Version::V5 => 5,
        });
        packet.put_u8(self.flags & !(USER | PASSWORD));
        packet.put_slice(self.middle);
        packet
    }

    fn will(&self, will: &codec::LastWill) -> Result<Will, WireError> {
        let topic = std::str::from_utf8(&will.topic)
            .map_err(|_| WireError::Malformed("will topic is not valid UTF-8"))?;
        Ok(Will {
            topic: topic.to_owned(),
            payload: Bytes::copy_from_slice(&will.message),
            qos: QoS::from_level(will.qos as u8).ok_or(WireError::Malformed("will with QoS 3"))?,
            retain: will.retain,
            delay: self.will_properties.will_delay.unwrap_or(0),
            expiry: self.will_properties.message_expiry,
            properties: self.will_properties.forwarded.clone(),
        })
    }
}

/// The version, whether it is spoken as MQTT 3.1, and whether by a bridge.
struct Spoken {
    version: Version,
    old: bool,
    bridge: bool,
}

/// Mosquitto and others set the highest bit of the level where a bridge connects (`try_private`): it
/// wants nothing back of what it brings, and retain flags left as they are. A Fluksometer's broker does.
fn read_version(cursor: &mut Cursor<'_>) -> Result<Spoken, WireError> {
    let name = cursor.string()?;
    let level = cursor.u8()?;
    let bridge = level & BRIDGE != 0;
    let (version, old) = match (name, level & !BRIDGE) {
        ("MQTT", 4) => (Version::V3, false),
        ("MQIsdp", 3) => (Version::V3, true),
        ("MQTT", 5) if !bridge => (Version::V5, false),
        _ => return Err(WireError::Version { name: name.chars().take(16).collect(), level }),
    };
    Ok(Spoken { version, old, bridge })
}

const BRIDGE: u8 = 0x80;

fn check_flags(flags: u8, version: Version) -> Result<(), WireError> {
    if flags & RESERVED != 0 {
        return Err(WireError::Malformed("CONNECT with its reserved flag set"));
    }
    if flags & WILL == 0 && flags & (WILL_QOS | WILL_RETAIN) != 0 {
        return Err(WireError::Malformed("CONNECT with will QoS or will retain but no will"));
    }
    if flags & WILL_QOS == WILL_QOS {
        return Err(WireError::Malformed("will with QoS 3"));
    }
    if version == Version::V3 && flags & PASSWORD != 0 && flags & USER == 0 {
        return Err(WireError::Malformed("CONNECT with a password but no user name"));
    }
    Ok(())
}

const RESERVED: u8 = 0x01;
const WILL: u8 = 0x04;
const WILL_QOS: u8 = 0x18;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USER: u8 = 0x80;
