//! The 33 bytes of an ECM's settings.

use crate::wire::sum8;

/// The settings of an ECM-1220 or ECM-1240.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EcmSettings {
    /// Type and range of the two current transformers.
    pub ct: [[u8; 2]; 2],
    /// Type and range of the potential transformer.
    pub pt: [u8; 2],
    /// Seconds between packets.
    pub interval: u8,
    /// The interval of the meter's own log, as the meter has it.
    pub log_interval: u8,
    /// Firmware version in thousandths: 1035 is 1.035.
    pub firmware: u16,
    /// Unit id; a part of the serial number that people see.
    pub unit_id: u8,
    /// The numeric part of the serial number.
    pub serial_number: u16,
    /// Options of the auxiliary channels; see [`AuxOptions`](crate::brultech::AuxOptions).
    pub option_mask: u8,
    /// Trigger in watts.
    pub trigger_watts: u16,
    /// The checksum as received.
    pub checksum: u8,
}

impl EcmSettings {
    /// How many bytes there are.
    pub const LENGTH: usize = 33;

    /// Reads the 33 bytes; `None` when there are fewer or more, or the checksum is wrong.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LENGTH] = bytes.try_into().ok()?;
        let [summed @ .., checksum] = bytes;
        if sum8(summed) != *checksum {
            return None;
        }
        Some(Self {
            ct: [[bytes[0], bytes[1]], [bytes[2], bytes[3]]],
            pt: [bytes[4], bytes[5]],
            interval: bytes[6],
            log_interval: bytes[7],
            firmware: u16::from_be_bytes([bytes[8], bytes[9]]),
            unit_id: bytes[10],
            // The other way round than in packets.
            serial_number: u16::from_be_bytes([bytes[11], bytes[12]]),
            option_mask: bytes[14],
            trigger_watts: u16::from_le_bytes([bytes[29], bytes[30]]),
            checksum: *checksum,
        })
    }

    /// The serial number as people write it: all digits of the unit id, five of the number.
    #[must_use]
    pub fn serial(&self) -> String {
        format!("{}{:05}", self.unit_id, self.serial_number)
    }
}
