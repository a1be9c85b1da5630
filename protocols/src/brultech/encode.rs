//! Writing binary packets: what a simulated meter sends, and what the tests read back.

use super::{Format, Packet};
use crate::wire::{sum8, u24_to_le, u40_to_le};

impl Packet {
    /// Appends the packet to `out` in its own format, header, footer and checksum included.
    ///
    /// Decoding gives the fields of that format back as they were. Counters keep their low bits
    /// only, as a meter's own counters do: 40 bits of energy, 24 of seconds and pulses.
    /// `checksum` is not read, and reserved bytes that [`Packet`] does not keep are written as the
    /// captures have them.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.reserve(self.format.length());
        out.extend([0xFE, 0xFF, self.format.code()]);
        out.extend(self.voltage.to_be_bytes());
        self.encode_energy(out);
        if self.format.is_ecm() {
            self.encode_ecm(out);
        } else {
            self.encode_gem(out);
        }
        out.extend([0xFF, 0xFE]);
        let checksum = sum8(out.get(begin..).unwrap_or_default());
        out.push(checksum);
    }

    /// The counters, which stand at the beginning in every format.
    fn encode_energy(&self, out: &mut Vec<u8>) {
        let absolute = self.absolute();
        let polarized = self.polarized().unwrap_or_default();
        for counter in absolute.iter().chain(polarized) {
            out.extend(u40_to_le(*counter));
        }
    }

    fn encode_ecm(&self, out: &mut Vec<u8>) {
        out.extend([0; 4]);
        out.extend(self.serial_number.to_le_bytes());
        out.extend([self.flag, self.unit_id]);
        self.encode_current(out);
        out.extend(u24_to_le(self.seconds));
        if self.format == Format::Ecm1240 {
            for counter in self.aux_watt_seconds {
                out.extend(counter.to_le_bytes());
            }
            out.extend(self.aux5_volts.to_le_bytes());
        }
    }

    fn encode_gem(&self, out: &mut Vec<u8>) {
        out.extend(self.serial_number.to_be_bytes());
        out.extend([self.reserved, self.unit_id]);
        self.encode_current(out);
        out.extend(u24_to_le(self.seconds));
        for counter in self.pulses {
            out.extend(u24_to_le(counter));
        }
        for temperature in self.temperatures {
            out.extend(temperature.to_le_bytes());
        }
        match self.format {
            Format::Bin32Net | Format::Bin32Abs => out.extend([0x00, 0x01]),
            Format::Bin48NetTime => out.extend(self.device_time),
            _ => {}
        }
    }

    fn encode_current(&self, out: &mut Vec<u8>) {
        for current in &self.current[..self.channels()] {
            out.extend(current.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_its_length() {
        for format in Format::ALL {
            let mut out = vec![0xAA];
            Packet::new(format).encode(&mut out);
            assert_eq!(out.len(), 1 + format.length(), "{format}");
            assert_eq!(out[1..4], [0xFE, 0xFF, format.code()]);
        }
    }
}
