//! A binary packet as plain data: reading it from bytes that the decoder has checked, and what its
//! raw fields mean.

use super::{DeviceTime, Format};
use crate::wire::{u24_le, u40_le};

/// The seconds counter wraps here: 24 bits, 194.18 days.
pub const SECONDS_MODULUS: u64 = 1 << 24;
/// Absolute and polarized watt-second counters wrap here: 40 bits, 305,419.9 kWh. The two wrap at
/// different times.
pub const ENERGY_MODULUS: u64 = 1 << 40;
/// An ECM's auxiliary watt-second counters wrap here: 32 bits, 1,193.05 kWh.
pub const AUX_MODULUS: u64 = 1 << 32;
/// A GEM's pulse counters wrap here: 24 bits.
pub const PULSE_MODULUS: u64 = 1 << 24;

/// One binary packet in the vendor's own scale.
///
/// Plain data without heap. Fields that a format does not carry are zero; channel 1 has index 0,
/// and channels beyond [`Packet::channels`] are zero.
///
/// Source: GEM-PKT 2.1, tables of the binary formats; a watt-second is a joule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The layout the packet came in, or is to be written in.
    pub format: Format,
    /// Unit (device) id; a part of the serial number that people see.
    pub unit_id: u8,
    /// The numeric part of the serial number. Identity is this together with `unit_id`.
    pub serial_number: u16,
    /// Seconds counter of the device, 24 bits ([`SECONDS_MODULUS`]).
    pub seconds: u32,
    /// Line voltage in tenths of a volt.
    pub voltage: u16,
    /// Energy in either direction since reset, in watt-seconds, 40 bits ([`ENERGY_MODULUS`]).
    pub absolute_watt_seconds: [u64; 48],
    /// Energy in the polarized direction since reset, in watt-seconds, 40 bits.
    pub polarized_watt_seconds: [u64; 48],
    /// Current, in steps of 0.02 A for a GEM and of 0.01 A for an ECM.
    pub current: [u16; 48],
    /// GEM: pulse counters, 24 bits ([`PULSE_MODULUS`]).
    pub pulses: [u32; 4],
    /// GEM: temperatures as on the wire; see [`Packet::temperature`].
    pub temperatures: [u16; 8],
    /// ECM-1240: auxiliary channels, watt-seconds, 32 bits ([`AUX_MODULUS`]); a count of pulses
    /// where aux5 is set up so.
    pub aux_watt_seconds: [u32; 5],
    /// ECM-1240: direct voltage at aux5, raw; 511 is full scale, which is what an open input reads.
    pub aux5_volts: u16,
    /// ECM: bits 0 to 2 count resets, the others are of no documented use.
    pub flag: u8,
    /// GEM: the reserved byte between serial number and unit id. An ECM's four reserved bytes are
    /// not kept.
    pub reserved: u8,
    /// BIN48-NET-TIME: year - 2000, month, day, hour, minute, second, as on the wire.
    pub device_time: [u8; 6],
    /// The checksum as received. [`Packet::encode`] computes its own.
    pub checksum: u8,
}

impl Packet {
    /// A packet of `format` with every field zero, to be filled in and encoded.
    #[must_use]
    pub const fn new(format: Format) -> Self {
        Self {
            format,
            unit_id: 0,
            serial_number: 0,
            seconds: 0,
            voltage: 0,
            absolute_watt_seconds: [0; 48],
            polarized_watt_seconds: [0; 48],
            current: [0; 48],
            pulses: [0; 4],
            temperatures: [0; 8],
            aux_watt_seconds: [0; 5],
            aux5_volts: 0,
            flag: 0,
            reserved: 0,
            device_time: [0; 6],
            checksum: 0,
        }
    }

    /// The serial number as people and the vendor's text formats write it: `01100603` for a GEM
    /// (three digits of the unit id, five of the number), `500434` for an ECM (all digits of the
    /// unit id, five of the number).
    #[must_use]
    pub fn serial(&self) -> String {
        if self.format.is_ecm() {
            format!("{}{:05}", self.unit_id, self.serial_number)
        } else {
            format!("{:03}{:05}", self.unit_id, self.serial_number)
        }
    }

    /// Measuring channels in this packet: 2, 32 or 48.
    #[must_use]
    pub const fn channels(&self) -> usize {
        self.format.channels()
    }

    /// Absolute counters, `[channels]` watt-seconds.
    #[must_use]
    pub fn absolute(&self) -> &[u64] {
        &self.absolute_watt_seconds[..self.channels()]
    }

    /// Polarized counters, `[channels]` watt-seconds; `None` where the format has none.
    #[must_use]
    pub fn polarized(&self) -> Option<&[u64]> {
        self.format.has_polarized().then(|| &self.polarized_watt_seconds[..self.channels()])
    }

    /// Current of a channel in amperes, counted from 0; 0 for a channel that the packet has not.
    #[must_use]
    pub fn amps(&self, channel_index: usize) -> f64 {
        let raw = self.current.get(channel_index).copied().unwrap_or(0);
        let steps_per_ampere = if self.format.is_ecm() { 100.0 } else { 50.0 };
        f64::from(raw) / steps_per_ampere
    }

    /// Line voltage in volts.
    #[must_use]
    pub fn volts(&self) -> f64 {
        f64::from(self.voltage) / 10.0
    }

    /// Temperature `i` (counted from 0) in the unit the device is set to, which the packet does not
    /// tell; `None` for a sensor that is missing or unreadable, and always for an ECM.
    ///
    /// The wire form is sign and magnitude in half degrees, for DS18B20 sensors. A disabled input
    /// reads 0 like a true 0 degrees; only the device's settings tell them apart.
    #[must_use]
    pub fn temperature(&self, i: usize) -> Option<f64> {
        if self.format.is_ecm() {
            return None;
        }
        let raw = *self.temperatures.get(i)?;
        let magnitude = raw & 0x7FFF;
        if magnitude > HIGHEST_TEMPERATURE {
            return None;
        }
        let degrees = f64::from(magnitude) / 2.0;
        // A negative zero is a zero.
        Some(if raw & 0x8000 == 0 || magnitude == 0 { degrees } else { -degrees })
    }

    /// An ECM's reset counter: 3 bits that move by one with each reset or restart of its counters.
    #[must_use]
    pub const fn reset_count(&self) -> u8 {
        self.flag & 0b111
    }

    /// The device's clock; `None` when the format has none, or the clock is unset or impossible.
    #[must_use]
    pub fn device_time(&self) -> Option<DeviceTime> {
        if self.format != Format::Bin48NetTime {
            return None;
        }
        DeviceTime::from_wire(self.device_time)
    }

    /// Reads a packet whose footer and checksum are known to be good; `None` only when `bytes` is
    /// not as long as the format says.
    pub(super) fn decode(format: Format, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != format.length() {
            return None;
        }
        let mut fields = Fields { rest: bytes.get(HEADER_LENGTH..)? };
        let mut packet = Self::new(format);
        if format.is_ecm() {
            packet.read_ecm(&mut fields)?;
        } else {
            packet.read_gem(&mut fields)?;
        }
        packet.checksum = *bytes.last()?;
        Some(packet)
    }

    /// The fields of an ECM packet in their order on the wire.
    fn read_ecm(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let channels = self.channels();
        self.voltage = u16::from_be_bytes(fields.take()?);
        fields.energy(&mut self.absolute_watt_seconds[..channels])?;
        fields.energy(&mut self.polarized_watt_seconds[..channels])?;
        let _reserved: [u8; 4] = fields.take()?;
        self.serial_number = u16::from_le_bytes(fields.take()?);
        [self.flag] = fields.take()?;
        [self.unit_id] = fields.take()?;
        fields.words(&mut self.current[..channels])?;
        self.seconds = u24_le(fields.take()?);
        if self.format == Format::Ecm1240 {
            for aux in &mut self.aux_watt_seconds {
                *aux = u32::from_le_bytes(fields.take()?);
            }
            self.aux5_volts = u16::from_le_bytes(fields.take()?);
        }
        Some(())
    }

    /// The fields of a GEM packet in their order on the wire. Mind the serial number: it is the
    /// other way round than an ECM's.
    fn read_gem(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let channels = self.channels();
        self.voltage = u16::from_be_bytes(fields.take()?);
        fields.energy(&mut self.absolute_watt_seconds[..channels])?;
        if self.format.has_polarized() {
            fields.energy(&mut self.polarized_watt_seconds[..channels])?;
        }
        self.serial_number = u16::from_be_bytes(fields.take()?);
        [self.reserved] = fields.take()?;
        [self.unit_id] = fields.take()?;
        fields.words(&mut self.current[..channels])?;
        self.seconds = u24_le(fields.take()?);
        for pulses in &mut self.pulses {
            *pulses = u24_le(fields.take()?);
        }
        fields.words(&mut self.temperatures)?;
        if self.format == Format::Bin48NetTime {
            self.device_time = fields.take()?;
        }
        Some(())
    }
}

/// What is still unread of a packet.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    /// The next `N` bytes.
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*field)
    }

    /// As many 40-bit counters as `counters` has room for.
    fn energy(&mut self, counters: &mut [u64]) -> Option<()> {
        let (block, rest) = self.rest.split_at_checked(5 * counters.len())?;
        for (counter, bytes) in counters.iter_mut().zip(block.as_chunks().0) {
            *counter = u40_le(*bytes);
        }
        self.rest = rest;
        Some(())
    }

    /// As many 16-bit numbers as `words` has room for.
    fn words(&mut self, words: &mut [u16]) -> Option<()> {
        let (block, rest) = self.rest.split_at_checked(2 * words.len())?;
        for (word, bytes) in words.iter_mut().zip(block.as_chunks().0) {
            *word = u16::from_le_bytes(*bytes);
        }
        self.rest = rest;
        Some(())
    }
}

/// FE FF and the code.
const HEADER_LENGTH: usize = 3;
/// 255.0 degrees in half degrees. Above it a GEM reports trouble: 256.0 is "no sensor", and programs
/// disagree about 255.5.
const HIGHEST_TEMPERATURE: u16 = 510;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperatures_are_sign_and_magnitude() {
        let mut packet = Packet::new(Format::Bin32Net);
        packet.temperatures = [0x800A, 0x0028, 0x01FE, 0x0200, 0x8200, 0x01FF, 0x8000, 0];
        let read: Vec<_> = (0..9).map(|i| packet.temperature(i)).collect();
        let expected =
            [Some(-5.0), Some(20.0), Some(255.0), None, None, None, Some(0.0), Some(0.0), None];
        assert_eq!(read, expected);
        assert!(packet.temperature(6).is_some_and(f64::is_sign_positive));
    }

    #[test]
    fn a_serial_number_keeps_all_digits_of_the_unit_id() {
        let mut packet = Packet::new(Format::Bin48Net);
        (packet.unit_id, packet.serial_number) = (255, 65_535);
        assert_eq!(packet.serial(), "25565535");
        packet.format = Format::Ecm1240;
        assert_eq!(packet.serial(), "25565535");
        (packet.unit_id, packet.serial_number) = (5, 434);
        assert_eq!(packet.serial(), "500434");
        packet.format = Format::Bin32Abs;
        assert_eq!(packet.serial(), "00500434");
    }

    #[test]
    fn a_channel_that_is_not_there_has_no_current() {
        let mut packet = Packet::new(Format::Ecm1220);
        packet.current[1] = 6228;
        assert!((packet.amps(1) - 62.28).abs() < 1e-9);
        assert!(packet.amps(48).abs() < f64::EPSILON);
        packet.format = Format::Bin32Net;
        assert!((packet.amps(1) - 124.56).abs() < 1e-9);
    }
}
