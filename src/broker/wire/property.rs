//! The property block of MQTT 5: which may stand where, how often, and with which values.
//!
//! Source: MQTT 5, section 2.2.2.2 and the property sections of each packet.

use super::WireError;
use super::cursor::Cursor;

/// The packet (or part of one) that a property block belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Connect,
    Will,
    Publish,
    Subscribe,
    Unsubscribe,
    Ack,
    Disconnect,
}

/// What was found in a block, as far as the broker uses it.
#[derive(Debug, Default)]
pub(super) struct Properties {
    pub(super) message_expiry: Option<u32>,
    pub(super) topic_alias: Option<u16>,
    pub(super) subscription_id: Option<u32>,
    pub(super) session_expiry: Option<u32>,
    pub(super) will_delay: Option<u32>,
    /// The properties that a PUBLISH or will carries on to its subscribers, as on the wire and in
    /// their order, which the standard keeps for user properties.
    pub(super) forwarded: Vec<u8>,
}

/// Reads the block at the cursor, its length included, and leaves the cursor behind it.
pub(super) fn scan(cursor: &mut Cursor<'_>, place: Place) -> Result<Properties, WireError> {
    let length = cursor.varint()? as usize;
    let block = cursor.take(length)?;
    let mut found = Properties::default();
    let mut block = Cursor::new(block);
    let mut seen = 0_u64;
    while !block.is_empty() {
        let before = block;
        let id = block.u8()?;
        if id >= 64 || allowed(place) & (1 << id) == 0 {
            return Err(WireError::Misplaced { id });
        }
        if seen & (1 << id) != 0 && id != USER_PROPERTY {
            return Err(WireError::Property { id, fault: "stands twice in one packet" });
        }
        seen |= 1 << id;
        read_value(id, &mut block, &mut found)?;
        if FORWARDED & (1 << id) != 0 && matches!(place, Place::Publish | Place::Will) {
            let size = before.len() - block.len();
            found.forwarded.extend_from_slice(&before.rest()[..size]);
        }
    }
    if seen & (1 << AUTHENTICATION_DATA) != 0 && seen & (1 << AUTHENTICATION_METHOD) == 0 {
        return Err(WireError::Protocol("authentication data without an authentication method"));
    }
    Ok(found)
}

fn read_value(id: u8, block: &mut Cursor<'_>, found: &mut Properties) -> Result<(), WireError> {
    let out_of_range = |fault| Err(WireError::Property { id, fault });
    match id {
        PAYLOAD_FORMAT | REQUEST_PROBLEM_INFORMATION | REQUEST_RESPONSE_INFORMATION => {
            if block.u8()? > 1 {
                return out_of_range("is neither 0 nor 1");
            }
        }
        MESSAGE_EXPIRY => found.message_expiry = Some(block.u32()?),
        SESSION_EXPIRY => found.session_expiry = Some(block.u32()?),
        WILL_DELAY => found.will_delay = Some(block.u32()?),
        CONTENT_TYPE | AUTHENTICATION_METHOD | REASON_STRING | SERVER_REFERENCE => {
            block.string()?;
        }
        RESPONSE_TOPIC => {
            let topic = block.string()?;
            if topic.is_empty() {
                return out_of_range("is empty");
            }
            if topic.contains(['+', '#']) {
                return out_of_range("holds a wildcard");
            }
        }
        CORRELATION_DATA | AUTHENTICATION_DATA => {
            block.binary()?;
        }
        SUBSCRIPTION_ID => match block.varint()? {
            0 => return out_of_range("is 0"),
            number => found.subscription_id = Some(number),
        },
        RECEIVE_MAXIMUM => {
            if block.u16()? == 0 {
                return out_of_range("is 0");
            }
        }
        MAXIMUM_PACKET_SIZE => {
            if block.u32()? == 0 {
                return out_of_range("is 0");
            }
        }
        TOPIC_ALIAS_MAXIMUM => {
            block.u16()?;
        }
        TOPIC_ALIAS => found.topic_alias = Some(block.u16()?),
        USER_PROPERTY => {
            block.string()?;
            block.string()?;
        }
        _ => return out_of_range("is not known"),
    }
    Ok(())
}

/// The properties a client may use at a place, one bit each.
fn allowed(place: Place) -> u64 {
    let bits = |ids: &[u8]| ids.iter().fold(1 << USER_PROPERTY, |set, id| set | (1 << id));
    match place {
        Place::Connect => bits(&[
            SESSION_EXPIRY,
            AUTHENTICATION_METHOD,
            AUTHENTICATION_DATA,
            REQUEST_PROBLEM_INFORMATION,
            REQUEST_RESPONSE_INFORMATION,
            RECEIVE_MAXIMUM,
            TOPIC_ALIAS_MAXIMUM,
            MAXIMUM_PACKET_SIZE,
        ]),
        Place::Will => bits(&[
            PAYLOAD_FORMAT,
            MESSAGE_EXPIRY,
            CONTENT_TYPE,
            RESPONSE_TOPIC,
            CORRELATION_DATA,
            WILL_DELAY,
        ]),
        Place::Publish => bits(&[
            PAYLOAD_FORMAT,
            MESSAGE_EXPIRY,
            CONTENT_TYPE,
            RESPONSE_TOPIC,
            CORRELATION_DATA,
            TOPIC_ALIAS,
        ]),
        Place::Subscribe => bits(&[SUBSCRIPTION_ID]),
        Place::Unsubscribe => bits(&[]),
        Place::Ack => bits(&[REASON_STRING]),
        // Of no use from a client, and no reason to take its goodbye for anything else.
        Place::Disconnect => bits(&[SESSION_EXPIRY, REASON_STRING, SERVER_REFERENCE]),
    }
}

const PAYLOAD_FORMAT: u8 = 1;
pub(super) const MESSAGE_EXPIRY: u8 = 2;
const CONTENT_TYPE: u8 = 3;
const RESPONSE_TOPIC: u8 = 8;
const CORRELATION_DATA: u8 = 9;
pub(super) const SUBSCRIPTION_ID: u8 = 11;
const SESSION_EXPIRY: u8 = 17;
const AUTHENTICATION_METHOD: u8 = 21;
const AUTHENTICATION_DATA: u8 = 22;
const REQUEST_PROBLEM_INFORMATION: u8 = 23;
const WILL_DELAY: u8 = 24;
const REQUEST_RESPONSE_INFORMATION: u8 = 25;
const SERVER_REFERENCE: u8 = 28;
pub(super) const REASON_STRING: u8 = 31;
const RECEIVE_MAXIMUM: u8 = 33;
const TOPIC_ALIAS_MAXIMUM: u8 = 34;
pub(super) const TOPIC_ALIAS: u8 = 35;
const USER_PROPERTY: u8 = 38;
const MAXIMUM_PACKET_SIZE: u8 = 39;

const FORWARDED: u64 = (1 << PAYLOAD_FORMAT)
    | (1 << CONTENT_TYPE)
    | (1 << RESPONSE_TOPIC)
    | (1 << CORRELATION_DATA)
    | (1 << USER_PROPERTY);
