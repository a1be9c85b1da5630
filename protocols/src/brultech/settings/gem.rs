//! The list of a GEM's settings (`RQSALL`).

use crate::brultech::line::hex_values;
use crate::brultech::{Compensation, Phase, TemperatureUnit};

/// A GEM's settings. What the set-up password is made of is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GemSettings {
    /// How many values the list had: 512 from newer firmware, 374 or fewer from older.
    pub values: usize,
    /// Options of channels 1 to 48.
    pub channel_options: [ChannelOptions; 48],
    /// CT types of channels 1 to 48.
    pub ct_types: [u8; 48],
    /// CT ranges of channels 1 to 48.
    pub ct_ranges: [u8; 48],
    /// Type and range of the potential transformer.
    pub pt: [u8; 2],
    /// The vendor's number of the packet format.
    pub packet_format: u8,
    /// Seconds between packets, 1 to 256.
    pub interval: u16,
    /// The vendor's number of the second port's packet format, 0 for none; newer firmware.
    pub secondary_format: Option<u8>,
    /// Bit mask of the temperature inputs that are on, input 1 in bit 0.
    pub temperature_inputs: Option<u8>,
    /// How many channels the meter has.
    pub max_channels: Option<u8>,
    /// Bytes that are sent in one piece.
    pub chunk_size: Option<u16>,
    /// The pause between pieces.
    pub chunk_pause: Option<u16>,
    /// Bit mask of the pulse counters that are on, counter 1 in bit 0.
    pub pulse_inputs: Option<u8>,
    /// Flags as on the wire; bit 4 is the temperature unit.
    pub flags: Option<u8>,
}

/// Options of one channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ChannelOptions(pub u8);

impl ChannelOptions {
    /// The phase; `None` for the one value of four that is none.
    #[must_use]
    pub const fn phase(self) -> Option<Phase> {
        match self.0 & 0b11 {
            0 => Some(Phase::A),
            1 => Some(Phase::B),
            2 => Some(Phase::C),
            _ => None,
        }
    }

    /// The compensation; `None` for the one value of four that is none.
    #[must_use]
    pub const fn compensation(self) -> Option<Compensation> {
        match self.0 >> 2 & 0b11 {
            0 => Some(Compensation::None),
            1 => Some(Compensation::Degrees4),
            2 => Some(Compensation::Degrees8),
            _ => None,
        }
    }

    /// Whether the channel is set up for a 240 V load.
    #[must_use]
    pub const fn double(self) -> bool {
        self.0 & 1 << 4 != 0
    }

    /// Whether the channel tells both directions apart. The bit on the wire says the opposite.
    #[must_use]
    pub const fn net_metering(self) -> bool {
        self.0 & 1 << 6 == 0
    }

    /// Whether the polarity is toggled.
    #[must_use]
    pub const fn polarity_toggled(self) -> bool {
        self.0 & 1 << 7 != 0
    }
}

impl GemSettings {
    /// The fewest values that are taken for a list: up to the interval, without which little could
    /// be made of it.
    pub const LEAST_VALUES: usize = 125;

    /// Reads the whole answer to `RQSALL`, with its line ends; `None` when it is something else.
    #[must_use]
    pub fn from_reply(reply: &[u8]) -> Option<Self> {
        let list =
            std::str::from_utf8(reply).ok()?.strip_prefix("ALL\r\n")?.strip_suffix("\r\n")?;
        Self::decode(&hex_values(list)?)
    }

    /// Reads the values of the list in their order; `None` when there are fewer than
    /// [`GemSettings::LEAST_VALUES`]. What lies beyond the end of a shorter list is `None`.
    #[must_use]
    pub fn decode(values: &[u8]) -> Option<Self> {
        if values.len() < Self::LEAST_VALUES {
            return None;
        }
        let of_channels = |first: usize| values.get(first..)?.first_chunk::<48>().copied();
        let byte = |index: usize| values.get(index).copied();
        let word = |index: usize| Some(u16::from_be_bytes([byte(index)?, byte(index + 1)?]));
        let ranges = values.get(97..)?.first_chunk::<24>()?;
        // Newer firmware has the longer list and puts other things into 127 to 131.
        let newer = values.len() >= NEWER_VALUES;
        Some(Self {
            values: values.len(),
            channel_options: of_channels(1)?.map(ChannelOptions),
            ct_types: of_channels(49)?,
            ct_ranges: nibbles(ranges),
            pt: [byte(121)?, byte(122)?],
            packet_format: byte(123)?,
            interval: seconds(byte(124)?),
            secondary_format: if newer { byte(130) } else { None },
            temperature_inputs: byte(246),
            max_channels: byte(249),
            chunk_size: word(317),
            chunk_pause: word(321),
            pulse_inputs: byte(319),
            flags: byte(320),
        })
    }

    /// The unit of temperatures; `None` when the list is too short to tell.
    #[must_use]
    pub const fn temperature_unit(&self) -> Option<TemperatureUnit> {
        match self.flags {
            Some(flags) if flags & 0x10 != 0 => Some(TemperatureUnit::Fahrenheit),
            Some(_) => Some(TemperatureUnit::Celsius),
            None => None,
        }
    }
}

/// CT ranges as packets of settings have them: the low nibble is the odd channel.
pub(in crate::brultech) fn nibbles(bytes: &[u8; 24]) -> [u8; 48] {
    std::array::from_fn(|index| {
        let byte = bytes[index / 2];
        if index % 2 == 0 { byte & 0x0F } else { byte >> 4 }
    })
}

/// An interval of one byte; 256 s, the longest, is 0 there.
pub(in crate::brultech) const fn seconds(byte: u8) -> u16 {
    if byte == 0 { 256 } else { byte as u16 }
}

/// How many values newer firmware sends.
const NEWER_VALUES: usize = 512;
