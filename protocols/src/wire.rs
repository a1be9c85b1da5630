//! Byte orders, odd widths and checksums that the meters' protocols share.
//!
//! The arguments are arrays and not slices, so that the length is settled at compile time and
//! nothing here can fail. "LE" is least significant byte first, which vendors print as "Lo to Hi".

/// An unsigned 24-bit number, least significant byte first.
#[must_use]
pub const fn u24_le(bytes: [u8; 3]) -> u32 {
    let [a, b, c] = bytes;
    u32::from_le_bytes([a, b, c, 0])
}

/// An unsigned 24-bit number, most significant byte first.
#[must_use]
pub const fn u24_be(bytes: [u8; 3]) -> u32 {
    let [a, b, c] = bytes;
    u32::from_be_bytes([0, a, b, c])
}

/// An unsigned 40-bit number, least significant byte first.
#[must_use]
pub const fn u40_le(bytes: [u8; 5]) -> u64 {
    let [a, b, c, d, e] = bytes;
    u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])
}

/// An unsigned 40-bit number, most significant byte first.
#[must_use]
pub const fn u40_be(bytes: [u8; 5]) -> u64 {
    let [a, b, c, d, e] = bytes;
    u64::from_be_bytes([0, 0, 0, a, b, c, d, e])
}

/// The low 24 bits of `value`, least significant byte first; a counter's higher bits are dropped,
/// as the meter itself drops them.
#[must_use]
pub const fn u24_to_le(value: u32) -> [u8; 3] {
    let [a, b, c, _] = value.to_le_bytes();
    [a, b, c]
}

/// The low 40 bits of `value`, least significant byte first; see [`u24_to_le`].
#[must_use]
pub const fn u40_to_le(value: u64) -> [u8; 5] {
    let [a, b, c, d, e, ..] = value.to_le_bytes();
    [a, b, c, d, e]
}

/// The sum of all bytes modulo 256: the checksum of Brultech packets and settings.
#[must_use]
pub fn sum8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

/// CRC-16/ARC: polynomial 0xA001 reflected, start 0, nothing inverted. The checksum of P1 telegrams.
#[must_use]
pub fn crc16_arc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte),
            |crc, _| {
                if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_widths_in_both_orders() {
        assert_eq!(u24_le([0x01, 0x02, 0x03]), 0x03_02_01);
        assert_eq!(u24_be([0x01, 0x02, 0x03]), 0x01_02_03);
        assert_eq!(u40_le([1, 2, 3, 4, 5]), 0x05_04_03_02_01);
        assert_eq!(u40_be([1, 2, 3, 4, 5]), 0x01_02_03_04_05);
        assert_eq!(u24_le([0xFF; 3]), (1 << 24) - 1);
        assert_eq!(u40_le([0xFF; 5]), (1 << 40) - 1);
    }

    #[test]
    fn writing_undoes_reading_and_drops_what_does_not_fit() {
        assert_eq!(u24_to_le(0x03_02_01), [1, 2, 3]);
        assert_eq!(u24_to_le(0xAA_03_02_01), [1, 2, 3]);
        assert_eq!(u40_to_le(0x05_04_03_02_01), [1, 2, 3, 4, 5]);
        assert_eq!(u40_to_le((1 << 40) + 7), [7, 0, 0, 0, 0]);
    }

    #[test]
    fn crc_of_the_check_text() {
        // The check value that catalogues of CRCs give for CRC-16/ARC.
        assert_eq!(crc16_arc(b"123456789"), 0xBB3D);
        assert_eq!(crc16_arc(b""), 0);
    }

    #[test]
    fn sum_wraps_at_256() {
        assert_eq!(sum8(&[]), 0);
        assert_eq!(sum8(&[0xFE, 0xFF, 0x05]), 0x02);
        assert_eq!(sum8(&[0xFF; 256]), 0);
    }
}
