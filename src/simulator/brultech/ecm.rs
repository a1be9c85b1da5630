//! An ECM's settings, and what it does and answers, chunk by chunk.

use std::time::Duration;

use meter_protocols::brultech::{Format, Packet};

use super::{Counts, Reply, State};

/// What an ECM has beside its counters.
#[derive(Debug)]
pub struct Ecm {
    /// ECM-1220 or ECM-1240.
    pub(super) format: Format,
    /// The byte that calls this unit: FC, FD, FE or FF. `None`: there are too many on the line.
    pub unit: Option<u8>,
    /// CT 1, CT 2 and PT: type and range of each.
    pub transformers: [[u8; 2]; 3],
    /// Seconds from packet to packet.
    pub interval_s: u8,
    /// The trigger in watts.
    pub trigger_w: u16,
    /// Bits 0 to 4 double aux 1 to 5, 5 has aux 5 count pulses, 6 has it measure direct volts.
    pub options: u8,
    /// How often the counters were reset, and in the bits above what nobody has documented.
    pub flag: u8,
    turned: [bool; 2],
}

/// What every chunk is answered with.
pub(in crate::simulator) const ACK: u8 = 0xFC;
const PULSES: u8 = 1 << 5;
const DIRECT_VOLTS: u8 = 1 << 6;

impl Ecm {
    pub(super) fn new(n: u32, format: Format, interval: Duration) -> Ecm {
        // An ECM-1220 has no other byte than the first.
        let most = if format == Format::Ecm1220 { 0 } else { 3 };
        Ecm {
            format,
            unit: (n <= most).then(|| 0xFC + n as u8),
            transformers: [[167, 4], [167, 4], [244, 3]],
            interval_s: interval.as_secs().clamp(1, 255) as u8,
            trigger_w: 16_000,
            options: 0,
            flag: 0,
            turned: [false; 2],
        }
    }

    pub(super) fn packet(&self, counts: &Counts) -> Packet {
        let mut packet = Packet::new(self.format);
        packet.voltage = counts.tenths_of_a_volt();
        packet.seconds = counts.seconds();
        packet.flag = self.flag;
        for channel in 0..2 {
            packet.absolute_watt_seconds[channel] = counts.absolute(channel);
            packet.polarized_watt_seconds[channel] = counts.polarized(channel);
            packet.current[channel] = counts.current(channel, 100.0);
        }
        if self.format == Format::Ecm1240 {
            packet.aux_watt_seconds = std::array::from_fn(|aux| counts.aux(aux));
            // 511 is full scale: nothing is wired.
            packet.aux5_volts = if self.options & DIRECT_VOLTS == 0 { 511 } else { 240 };
        }
        packet
    }

    fn count_reset(&mut self) {
        self.flag = self.flag & !0b111 | (self.flag + 1) & 0b111;
    }
}

/// A whole chunk, as the ear of a line hears it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::simulator) struct Chunk {
    /// The byte of the unit that is spoken to.
    pub(in crate::simulator) unit: u8,
    /// All chunks since that byte, it included.
    pub(in crate::simulator) bytes: Vec<u8>,
}

/// Collects chunks, and knows how long the next one is. Reset it when a unit makes nothing of one.
#[derive(Debug, Default)]
pub(in crate::simulator) struct EcmEar {
    /// The unit's byte and the chunks that are whole.
    said: Vec<u8>,
    chunk: Vec<u8>,
}

impl EcmEar {
    /// Takes in a byte; gives the chunk that is whole with it.
    pub(in crate::simulator) fn hear(&mut self, byte: u8) -> Option<Chunk> {
        let Some(unit) = self.said.first().copied() else {
            if byte < ACK {
                return None;
            }
            self.said.push(byte);
            return Some(Chunk { unit: byte, bytes: vec![byte] });
        };
        self.chunk.push(byte);
        if self.chunk.len() < expected(self.said.get(1..).unwrap_or_default()) {
            return None;
        }
        self.said.append(&mut self.chunk);
        Some(Chunk { unit, bytes: self.said.clone() })
    }

    /// Begins anew: the command is over, or nobody knows it.
    pub(in crate::simulator) fn reset(&mut self) {
        self.said.clear();
        self.chunk.clear();
    }

    /// Whether a command is not over.
    pub(in crate::simulator) fn waits(&self) -> bool {
        !self.said.is_empty()
    }
}

/// Bytes of the chunk that follows `said`: a word of three, or one.
fn expected(said: &[u8]) -> usize {
    const ENDS: [&[u8]; 8] = [b"IV2", b"IV3", b"TYP", b"RNG", b"PTT", b"PTR", b"OPT", b"RCV"];
    let behind_word = ENDS.iter().any(|word| said.ends_with(word));
    let second_of_trigger = said.starts_with(b"SETIV3") && said.len() == 7;
    if behind_word || second_of_trigger { 1 } else { 3 }
}

/// What a unit does with a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::simulator) struct Step {
    /// What it answers, the ack included.
    pub(in crate::simulator) reply: Vec<u8>,
    /// A packet comes after it.
    pub(in crate::simulator) packet: bool,
    /// The command is over.
    pub(in crate::simulator) over: bool,
}

impl State {
    /// Does what the chunks since the unit's byte say. `None`: it makes nothing of the last.
    pub(in crate::simulator) fn obey_chunk(&mut self, chunk: &Chunk) -> Option<Step> {
        self.counts.update();
        let said = chunk.bytes.get(1..)?;
        let begun = said.len() <= 3 && [&b""[..], b"SET", b"RQS", b"TOG"].contains(&said);
        if begun || is_half(said) {
            return Some(Step { reply: vec![ACK], packet: false, over: false });
        }
        if said == b"SETRCV" {
            let mut reply = vec![ACK];
            reply.extend(self.settings_of_ecm()?);
            return Some(Step { reply, packet: false, over: false });
        }
        let reply = self.finish(said, chunk.unit)?;
        let bytes = [&[ACK], &reply.bytes[..]].concat();
        Some(Step { reply: bytes, packet: reply.packet, over: true })
    }

    fn finish(&mut self, said: &[u8], unit: u8) -> Option<Reply> {
        let fine = Some(Reply::default());
        match said {
            b"SPK" => return Some(Reply { bytes: Vec::new(), packet: true }),
            b"TOGXTD" => self.real_time = true,
            b"TOGOFF" => self.real_time = false,
            b"RQSRKW" => {
                self.counts.reset_energy();
                self.ecm()?.count_reset();
            }
            b"RQSRKS" => {
                self.counts.set_seconds(0);
                self.ecm()?.count_reset();
            }
            b"RQSRLP" => self.ecm()?.count_reset(),
            [b'S', b'E', b'T', b'R', b'C', b'V', close] => return fine.filter(|_| *close == unit),
            [b'S', b'E', b'T', setting @ ..] => self.set_ecm(setting)?,
            _ => return None,
        }
        fine
    }

    fn set_ecm(&mut self, setting: &[u8]) -> Option<()> {
        match *setting {
            [b'I', b'V', b'2', seconds] if seconds > 0 => {
                self.interval = Duration::from_secs(seconds.into());
                self.ecm()?.interval_s = seconds;
            }
            [b'I', b'V', b'3', low, high] => {
                self.ecm()?.trigger_w = u16::from_le_bytes([low, high]);
            }
            [b'C', b'T', n @ (b'1' | b'2'), b'T', b'Y', b'P', kind, b'R', b'N', b'G', range] => {
                self.ecm()?.transformers[usize::from(n - b'1')] = [kind, range];
            }
            [b'P', b'T', b'T', kind, b'P', b'T', b'R', range] => {
                self.ecm()?.transformers[2] = [kind, range];
            }
            [b'O', b'P', b'T', mask] => {
                self.ecm()?.options = mask;
                for aux in 0..5 {
                    let double = if mask & (1 << aux) == 0 { 1 } else { 2 };
                    let per = if aux == 4 && mask & PULSES != 0 { 3600 } else { 1 };
                    self.counts.scale_aux(aux, double, per);
                }
            }
            [b'N', b'G', n @ (b'1' | b'2')] => {
                let channel = usize::from(n - b'1');
                let turned = &mut self.ecm()?.turned[channel];
                *turned = !*turned;
                let turned = *turned;
                self.counts.turn(channel, turned);
            }
            _ => return None,
        }
        Some(())
    }

    /// The 33 bytes that `SET RCV` gives. Firmware 1.035; what has no documented use is as in the
    /// capture of a real one.
    fn settings_of_ecm(&mut self) -> Option<[u8; 33]> {
        let (unit_id, serial) = (self.unit_id, self.serial_number);
        let ecm = self.ecm()?;
        let mut bytes = [0; 33];
        bytes[..6].copy_from_slice(ecm.transformers.as_flattened());
        bytes[6] = ecm.interval_s;
        bytes[7] = 12;
        bytes[8..10].copy_from_slice(&1035_u16.to_be_bytes());
        bytes[10] = unit_id;
        bytes[11..13].copy_from_slice(&serial.to_be_bytes());
        bytes[13] = 0x90;
        bytes[14] = ecm.options;
        bytes[18..24].copy_from_slice(&[0x8D, 0x8B, 0x8C, 0x8B, 0xCE, 0x00]);
        bytes[24..29].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF, 0x05]);
        bytes[29..31].copy_from_slice(&ecm.trigger_w.to_le_bytes());
        bytes[32] = bytes[..32].iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
        Some(bytes)
    }
}

/// Whether more chunks belong to the setting that was begun.
fn is_half(said: &[u8]) -> bool {
    match said {
        b"SETIV2" | b"SETOPT" => true,
        [b'S', b'E', b'T', b'I', b'V', b'3', low @ ..] => low.len() < 2,
        [b'S', b'E', b'T', b'C', b'T', b'1' | b'2', rest @ ..] => matches!(
            rest,
            b"" | b"TYP" | [b'T', b'Y', b'P', _] | [b'T', b'Y', b'P', _, b'R', b'N', b'G']
        ),
        [b'S', b'E', b'T', b'P', b'T', b'T', rest @ ..] => {
            matches!(rest, b"" | [_] | [_, b'P', b'T', b'R'])
        }
        _ => false,
    }
}
