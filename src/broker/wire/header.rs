//! The fixed header: what may be said of a packet before its body has come.
//!
//! A client that sends what only a server may send, or something before its CONNECT, is found out
//! by the first byte, and one that announces too large a packet by the first five. Neither can make
//! the broker wait or allocate for the rest.

use super::super::packet::Version;
use super::WireError;

/// The fixed header of a packet that is whole in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Packet type (high nibble) and flags (low nibble).
    pub(crate) first: u8,
    /// Where the body starts.
    pub(crate) body: usize,
    /// Length of header and body together.
    pub(crate) total: usize,
}

/// How far the buffer has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A packet is whole.
    Whole(Header),
    /// More is needed: the packet's whole length in bytes, where it is known yet.
    Partial(Option<usize>),
}

/// Looks at the start of `buffer`. `version` is `None` before CONNECT; `limit` is the largest packet
/// taken, in bytes.
///
/// # Errors
/// What the packet's type, flags or length already give away.
pub(crate) fn frame(
    buffer: &[u8],
    version: Option<Version>,
    limit: usize,
) -> Result<Framing, WireError> {
    let Some((&first, rest)) = buffer.split_first() else {
        return Ok(Framing::Partial(None));
    };
    check_first_byte(first, version)?;
    let mut length = 0_usize;
    for (index, &byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            if byte == 0 && index > 0 && version == Some(Version::V5) {
                return Err(WireError::Malformed("remaining length is longer than it need be"));
            }
            return whole(
                Header { first, body: 2 + index, total: 2 + index + length },
                buffer,
                limit,
            );
        }
    }
    if rest.len() >= 4 {
        return Err(WireError::Malformed("remaining length is longer than four bytes"));
    }
    Ok(Framing::Partial(None))
}

fn whole(header: Header, buffer: &[u8], limit: usize) -> Result<Framing, WireError> {
    if header.total > limit {
        return Err(WireError::TooLarge { size: header.total, limit });
    }
    if buffer.len() < header.total {
        return Ok(Framing::Partial(Some(header.total)));
    }
    Ok(Framing::Whole(header))
}

fn check_first_byte(first: u8, version: Option<Version>) -> Result<(), WireError> {
    let (kind, flags) = (first >> 4, first & 0x0F);
    match (kind, version) {
        (CONNECT, None) => {}
        (_, None) => return Err(WireError::NotConnect { kind }),
        (CONNECT, Some(_)) => return Err(WireError::Protocol("second CONNECT on one connection")),
        (AUTH, Some(Version::V5)) => {
            return Err(WireError::Protocol("AUTH without an authentication method in CONNECT"));
        }
        (0 | 2 | 9 | 11 | 13 | AUTH, Some(_)) => return Err(WireError::Forbidden { kind }),
        _ => {}
    }
    match kind {
        PUBLISH if flags & 0b0110 == 0b0110 => Err(WireError::Malformed("PUBLISH with QoS 3")),
        PUBLISH if flags & 0b1110 == 0b1000 => {
            Err(WireError::Malformed("PUBLISH with DUP and QoS 0"))
        }
        PUBLISH => Ok(()),
        PUBREL | SUBSCRIBE | UNSUBSCRIBE if flags == 0b0010 => Ok(()),
        PUBREL | SUBSCRIBE | UNSUBSCRIBE => Err(WireError::Flags { kind, flags }),
        _ if flags == 0 => Ok(()),
        _ => Err(WireError::Flags { kind, flags }),
    }
}

pub(super) const CONNECT: u8 = 1;
pub(crate) const PUBLISH: u8 = 3;
pub(super) const PUBACK: u8 = 4;
pub(super) const PUBREC: u8 = 5;
pub(super) const PUBREL: u8 = 6;
pub(super) const PUBCOMP: u8 = 7;
pub(super) const SUBSCRIBE: u8 = 8;
pub(super) const UNSUBSCRIBE: u8 = 10;
pub(super) const PINGREQ: u8 = 12;
pub(super) const DISCONNECT: u8 = 14;
const AUTH: u8 = 15;
