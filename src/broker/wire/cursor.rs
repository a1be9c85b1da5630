//! Bounded reads of MQTT's data types from a packet that is already whole.

use super::WireError;

/// Reads forward through one packet; every read checks that the bytes are there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    /// All that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (head, tail) = self
            .rest
            .split_at_checked(count)
            .ok_or(WireError::Malformed("packet ends within a field"))?;
        self.rest = tail;
        Ok(head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A variable byte integer in its shortest form (MQTT 5, section 1.5.5).
    pub(super) fn varint(&mut self) -> Result<u32, WireError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(WireError::Malformed(
                        "variable byte integer is longer than it need be",
                    ));
                }
                return Ok(value);
            }
        }
        Err(WireError::Malformed("variable byte integer is longer than four bytes"))
    }

    /// Bytes with a two-byte length before them.
    pub(super) fn binary(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// A UTF-8 string; U+0000 is forbidden by MQTT in both versions.
    pub(super) fn string(&mut self) -> Result<&'a str, WireError> {
        let bytes = self.binary()?;
        let text = std::str::from_utf8(bytes)
            .map_err(|_| WireError::Malformed("string is not valid UTF-8"))?;
        if bytes.contains(&0) {
            return Err(WireError::Malformed("string holds U+0000"));
        }
        Ok(text)
    }

    /// A packet identifier, which is never 0.
    pub(super) fn packet_id(&mut self) -> Result<u16, WireError> {
        match self.u16()? {
            0 => Err(WireError::Protocol("packet identifier is 0")),
            id => Ok(id),
        }
    }
}
