//! Packet numbers: what was lost on the way, and datagrams in their order.

use std::collections::VecDeque;

use super::Packet;

/// Counts what a stream has lost, by the numbers of its packets.
///
/// One for each start that a meter has acknowledged: the numbers begin at 0 with it. They wrap around
/// at 2^32, after 65 days at the highest rate.
///
/// Source: protocol note, section 4.9. The size of a lost packet is that of the reply's `chunksize`,
/// since the one in hand may be the last and shorter.
#[derive(Debug, Clone)]
pub struct Sequence {
    next: Option<u32>,
    frames_per_packet: u64,
    packets: u64,
    lost_packets: u64,
    frames: u64,
    lost_frames: u64,
}

/// What a packet's number says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It follows on the one before.
    Next,
    /// Some are missing before it.
    Gap {
        /// Packets.
        packets: u32,
        /// Frames, that is samples of all channels.
        frames: u64,
    },
    /// It came before, or after one that was sent later: to be dropped.
    Old,
}

impl Sequence {
    /// A stream that has just been started. `frames_per_packet`: `chunksize` / bytes of a sample.
    #[must_use]
    pub const fn new(frames_per_packet: u64) -> Self {
        let next = Some(0);
        Self { next, frames_per_packet, packets: 0, lost_packets: 0, frames: 0, lost_frames: 0 }
    }

    /// A stream of which the start was not seen: its first packet is the first, whatever its number.
    #[must_use]
    pub const fn joining(frames_per_packet: u64) -> Self {
        Self { next: None, ..Self::new(frames_per_packet) }
    }

    /// Takes the number of a packet and how many frames it holds.
    pub fn take(&mut self, number: u32, frames: u64) -> Verdict {
        let missing = number.wrapping_sub(self.next.unwrap_or(number));
        if missing > u32::MAX / 2 {
            return Verdict::Old;
        }
        self.next = Some(number.wrapping_add(1));
        self.packets += 1;
        let lost = u64::from(missing).saturating_mul(self.frames_per_packet);
        self.lost_packets += u64::from(missing);
        self.lost_frames = self.lost_frames.saturating_add(lost);
        self.frames += frames;
        match missing {
            0 => Verdict::Next,
            packets => Verdict::Gap { packets, frames: lost },
        }
    }

    /// The meter has told, at the end, how many frames it took: what is missing then was lost behind the
    /// last packet. Returns how many frames these are.
    pub fn finish(&mut self, samples: u64) -> u64 {
        let lost = samples.saturating_sub(self.position());
        self.lost_frames += lost;
        self.lost_packets += lost.div_ceil(self.frames_per_packet.max(1));
        lost
    }

    /// Packets taken.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Packets that are missing.
    #[must_use]
    pub const fn lost_packets(&self) -> u64 {
        self.lost_packets
    }

    /// Frames taken.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Frames that are missing.
    #[must_use]
    pub const fn lost_frames(&self) -> u64 {
        self.lost_frames
    }

    /// The number of the next frame, lost ones counted: frame n is n / rate seconds after the start.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.frames.saturating_add(self.lost_frames)
    }

    /// Whether a number is behind the next one expected.
    fn is_old(&self, number: u32) -> bool {
        self.next.is_some_and(|next| number.wrapping_sub(next) > u32::MAX / 2)
    }
}

/// Puts datagrams in order: the few that come behind a gap are held back until it fills, or until too
/// many wait.
///
/// Push what came, then take with [`Reorder::next_packet`] until it answers `None`.
#[derive(Debug, Clone)]
pub struct Reorder {
    sequence: Sequence,
    held: VecDeque<Packet>,
    repeated: u64,
    flushing: bool,
}

impl Default for Reorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Reorder {
    /// For a stream that has just been started.
    #[must_use]
    pub const fn new() -> Self {
        Self { sequence: Sequence::new(0), held: VecDeque::new(), repeated: 0, flushing: false }
    }

    /// For a stream of which the start was not seen. Its first packet is held until three are there.
    #[must_use]
    pub fn joining() -> Self {
        Self { sequence: Sequence::joining(0), ..Self::new() }
    }

    /// Takes a packet. One that was here before, or that comes too late, is dropped and counted.
    pub fn push(&mut self, packet: Packet) {
        let number = packet.number;
        if self.sequence.is_old(number) || self.held.iter().any(|one| one.number == number) {
            self.repeated += 1;
            return;
        }
        let is_before = |one: &Packet| one.number.wrapping_sub(number) > u32::MAX / 2;
        let place = self.held.iter().rposition(is_before).map_or(0, |place| place + 1);
        self.held.insert(place, packet);
    }

    /// The next packet in order, if it is time for it.
    pub fn next_packet(&mut self) -> Option<Packet> {
        let first = self.held.front()?;
        let is_next = self.sequence.next == Some(first.number);
        if !is_next && !self.flushing && self.held.len() <= HELD {
            return None;
        }
        let packet = self.held.pop_front()?;
        self.sequence.take(packet.number, 0);
        Some(packet)
    }

    /// Nothing more will come: what is held comes out, gaps or not.
    pub fn flush(&mut self) {
        self.flushing = true;
    }

    /// Packets that were dropped: here before, or too late.
    #[must_use]
    pub const fn repeated(&self) -> u64 {
        self.repeated
    }
}

/// Packets held back behind a gap (protocol note, section 4.11: 2 to 3).
const HELD: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_in_whole_packets() {
        let mut sequence = Sequence::new(42);
        assert_eq!(sequence.take(0, 42), Verdict::Next);
        assert_eq!(sequence.take(3, 40), Verdict::Gap { packets: 2, frames: 84 });
        assert_eq!(sequence.take(3, 40), Verdict::Old);
        assert_eq!(sequence.take(1, 42), Verdict::Old);
        assert_eq!((sequence.packets(), sequence.lost_packets()), (2, 2));
        assert_eq!((sequence.frames(), sequence.lost_frames(), sequence.position()), (82, 84, 166));
    }

    #[test]
    fn the_first_packets_can_be_lost_too() {
        assert_eq!(Sequence::new(10).take(2, 10), Verdict::Gap { packets: 2, frames: 20 });
        assert_eq!(Sequence::joining(10).take(2, 10), Verdict::Next);
    }

    #[test]
    fn numbers_wrap_around() {
        let mut sequence = Sequence::joining(1);
        assert_eq!(sequence.take(u32::MAX - 1, 1), Verdict::Next);
        assert_eq!(sequence.take(u32::MAX, 1), Verdict::Next);
        assert_eq!(sequence.take(1, 1), Verdict::Gap { packets: 1, frames: 1 });
        assert_eq!(sequence.take(u32::MAX, 1), Verdict::Old);
    }

    #[test]
    fn what_is_lost_behind_the_last_packet_is_known_from_the_summary() {
        let mut sequence = Sequence::new(42);
        sequence.take(0, 42);
        assert_eq!(sequence.finish(100), 58);
        assert_eq!((sequence.lost_packets(), sequence.position()), (2, 100));
        assert_eq!(sequence.finish(100), 0);
    }

    fn through(numbers: &[u32]) -> (Vec<u32>, u64) {
        let mut reorder = Reorder::new();
        let mut out = Vec::new();
        for number in numbers {
            reorder.push(Packet { number: *number, payload: Vec::new() });
            out.extend(std::iter::from_fn(|| reorder.next_packet()).map(|one| one.number));
        }
        reorder.flush();
        out.extend(std::iter::from_fn(|| reorder.next_packet()).map(|one| one.number));
        (out, reorder.repeated())
    }

    #[test]
    fn datagrams_come_out_in_order() {
        assert_eq!(through(&[0, 1, 3, 4, 6, 5, 7, 8, 9, 9]), (vec![0, 1, 3, 4, 5, 6, 7, 8, 9], 1));
        assert_eq!(through(&[2, 1, 0]), (vec![0, 1, 2], 0));
        assert_eq!(through(&[0, 5, 6, 7, 8, 1]), (vec![0, 5, 6, 7, 8], 1));
    }
}
