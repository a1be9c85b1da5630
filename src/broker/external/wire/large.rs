//! A message from the broker that is larger than this side takes is passed over, not read.
//!
//! On MQTT 5 the broker knows the limit and keeps to it. On 3.1.1 it does not, and would send such a
//! message again with each connection, were the connection ended at it.

use bytes::{Buf, BytesMut};

use super::super::fault::Fault;
use super::{Incoming, Receipt, Wire};

/// What became of the bytes at the front of the buffer.
pub(super) enum Passing {
    /// They are a packet to be read.
    Nothing,
    /// More bytes are needed, or to be thrown away.
    Unfinished,
    /// They were the head of a message whose rest is passed over.
    Begun(Incoming),
}

impl Wire {
    /// Throws away what is left of a large message, and finds the next one.
    ///
    /// # Errors
    /// When a large message ends within its topic.
    pub(super) fn pass_over(&mut self, buffer: &mut BytesMut) -> Result<Passing, Fault> {
        let gone = self.skip.min(buffer.len());
        buffer.advance(gone);
        self.skip -= gone;
        if self.skip > 0 {
            return Ok(Passing::Unfinished);
        }
        let Some((first, head, rest)) = fixed_header(buffer) else { return Ok(Passing::Nothing) };
        if first >> 4 != PUBLISH || rest <= self.incoming as usize {
            return Ok(Passing::Nothing);
        }
        let qos = (first >> 1) & 3;
        let Some(length) = number_at(buffer, head) else { return Ok(Passing::Unfinished) };
        let topic = head + 2..head + 2 + usize::from(length);
        let end = topic.end + if qos == 0 { 0 } else { 2 };
        if end > head + rest || qos == 3 {
            return Err(Fault::Malformed("a large message without a topic".to_owned()));
        }
        if buffer.len() < end {
            return Ok(Passing::Unfinished);
        }
        let id = number_at(buffer, topic.end).unwrap_or(0);
        let topic = String::from_utf8_lossy(&buffer[topic]).into_owned();
        buffer.advance(end);
        self.skip = head + rest - end;
        Ok(Passing::Begun(Incoming::TooLarge(Receipt::of(qos, id), topic, head + rest)))
    }
}

/// First byte, length of the header, length of what follows it. `None`: not whole, or not MQTT, as
/// the codec will find.
fn fixed_header(buffer: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, lengths) = buffer.split_first()?;
    let mut rest = 0;
    for (index, byte) in lengths.iter().take(4).enumerate() {
        rest |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((*first, index + 2, rest));
        }
    }
    None
}

fn number_at(buffer: &[u8], at: usize) -> Option<u16> {
    buffer.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

const PUBLISH: u8 = 3;

#[cfg(test)]
mod tests {
    use super::super::ProtocolVersion;
    use super::*;

    #[test]
    fn a_large_message_is_passed_over_however_it_is_cut() {
        let mut bytes = vec![0x32, 200, 1, 0, 3, b'a', b'/', b'b', 0, 7];
        bytes.resize(203, b'x');
        bytes.extend([0xD0, 0]);
        for cut in 0..bytes.len() {
            let mut wire = Wire::new(ProtocolVersion::V3, 100);
            let (mut buffer, mut packets) = (BytesMut::new(), Vec::new());
            for part in [&bytes[..cut], &bytes[cut..]] {
                buffer.extend_from_slice(part);
                while let Some(packet) = wire.read(&mut buffer, "c").unwrap() {
                    packets.push(packet);
                }
            }
            let [Incoming::TooLarge(receipt, topic, 203), Incoming::Pong] = &packets[..] else {
                panic!("{cut}: {packets:?}");
            };
            assert_eq!((receipt, topic.as_str()), (&Receipt::Acknowledge(7), "a/b"));
        }
        let mut short = BytesMut::from(&[0x32, 200, 1, 1, 0][..]);
        assert!(Wire::new(ProtocolVersion::V3, 100).read(&mut short, "c").is_err());
    }
}
