//! A packet of samples, with its header.

use std::fmt;

/// A binary frame: `Data:`, length, number, samples.
///
/// Source: protocol note, section 4.3. Integers and floats are little-endian.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Packet {
    /// From 0 at each start, also for packets that never came.
    pub number: u32,
    /// Whole samples, each of all channels, as 32-bit floats.
    pub payload: Vec<u8>,
}

impl Packet {
    /// The packet of one datagram. `None`: an empty datagram, as a meter may send when it stops.
    ///
    /// # Errors
    /// [`BadDatagram`] where it is not exactly one packet.
    pub fn of_datagram(datagram: &[u8]) -> Result<Option<Self>, BadDatagram> {
        if datagram.is_empty() {
            return Ok(None);
        }
        let header = Header::read(datagram).ok_or(BadDatagram::NoHeader(datagram.len()))?;
        let payload = datagram.get(HEADER..).unwrap_or_default();
        if payload.len() != usize::from(header.length) {
            return Err(BadDatagram::Length { told: header.length, found: payload.len() });
        }
        Ok(Some(Self { number: header.number, payload: payload.to_vec() }))
    }

    /// The floats of the payload, row by row.
    pub fn values(&self) -> impl Iterator<Item = f32> {
        values(&self.payload)
    }

    /// Appends the packet as a meter sends it on TCP and UDP; a serial line has `\r\n` behind it.
    ///
    /// A payload is cut to the 65,535 bytes that the header can tell.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let length = u16::try_from(self.payload.len()).unwrap_or(u16::MAX);
        Self::encode_head(self.number, length, out);
        out.extend_from_slice(&self.payload[..usize::from(length)]);
    }

    /// Appends what stands before `length` bytes of samples.
    pub fn encode_head(number: u32, length: u16, out: &mut Vec<u8>) {
        out.extend_from_slice(DATA);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&number.to_le_bytes());
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packet {{ number: {}, {} bytes }}", self.number, self.payload.len())
    }
}

/// The 32-bit floats, little-endian, in these bytes; what is left of the last one is left out.
pub fn values(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let (floats, _) = bytes.as_chunks::<4>();
    floats.iter().map(|float| f32::from_le_bytes(*float))
}

/// A datagram that is no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadDatagram {
    /// It does not begin with a packet's header.
    #[error("a datagram of {0} bytes does not begin with the header of a packet")]
    NoHeader(usize),
    /// Its length is another than its header tells.
    #[error("a datagram holds {found} bytes of samples and its header tells {told}")]
    Length {
        /// What the header tells.
        told: u16,
        /// What is there.
        found: usize,
    },
}

/// The header of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) length: u16,
    pub(super) number: u32,
}

impl Header {
    /// The header at the beginning of these bytes, if it is there and whole.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (prefix, rest) = bytes.split_first_chunk::<5>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (number, _) = rest.split_first_chunk::<4>()?;
        let header =
            Self { length: u16::from_le_bytes(*length), number: u32::from_le_bytes(*number) };
        (prefix == DATA).then_some(header)
    }
}

/// What a packet begins with.
pub(super) const DATA: &[u8; 5] = b"Data:";
/// Bytes of a packet's header.
pub(super) const HEADER: usize = 11;
/// The longest payload that is believed: 2,000 samples of 24 bytes, the most that `reqSamples` asks for.
pub(super) const LONGEST: u16 = 48_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_exactly_one_packet() {
        let packet = Packet { number: 7, payload: 1.5f32.to_le_bytes().to_vec() };
        let mut bytes = Vec::new();
        packet.encode(&mut bytes);
        assert_eq!(Packet::of_datagram(&bytes), Ok(Some(packet.clone())));
        assert_eq!(packet.values().collect::<Vec<_>>(), [1.5]);
        assert_eq!(Packet::of_datagram(b""), Ok(None));
        assert_eq!(
            Packet::of_datagram(&bytes[..12]),
            Err(BadDatagram::Length { told: 4, found: 1 })
        );
        assert_eq!(Packet::of_datagram(b"Data:\x01"), Err(BadDatagram::NoHeader(6)));
    }
}
