//! Pieces of a stream to the bytes of one reader.

use meter_protocols::smartmeter::Packet;

use crate::model::{Timestamp, Waveform};
use crate::streams::shape::{SAMPLE, Shape};
use crate::streams::timeline::{Place, Timeline};

/// What one reader gets: all channels or some of them, bare or in packets.
#[derive(Debug)]
pub(super) struct Tap {
    /// The channels that are handed on, by their places in a frame; `None`: all.
    columns: Option<Vec<usize>>,
    timeline: Option<Timeline>,
    form: Form,
    /// Frames that were written.
    sent: u64,
    /// Frames that were missing, zero-filled or left out.
    missing: u64,
}

#[derive(Debug)]
enum Form {
    Bare,
    Packets(Packets),
}

/// Packets stand on a grid: number n has the frames from n × `frames` on. So a number that is missing
/// means the same to every client, whatever was lost.
#[derive(Debug)]
struct Packets {
    /// Frames in each.
    frames: u64,
    /// The one that is being filled, without gaps from its beginning.
    payload: Vec<u8>,
    /// The position behind its last frame.
    end: u64,
}

/// What is to be written for one piece.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Portion {
    /// Zero bytes first.
    pub(super) zeros: u64,
    /// Then these.
    pub(super) bytes: Vec<u8>,
}

/// Why a reader gets no more.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Over {
    /// Nobody could tell the channels of one from those of the other.
    #[error("the stream goes on with other channels or another rate: {0}")]
    Foreign(String),
    /// More than is filled up.
    #[error("the stream was away for {0} s, which is not filled up")]
    Far(u64),
}

impl Tap {
    /// Bare floats, zeros for what is missing.
    pub(super) fn bare(columns: Option<Vec<usize>>) -> Tap {
        Tap { columns, timeline: None, form: Form::Bare, sent: 0, missing: 0 }
    }

    /// Packets of so many frames.
    pub(super) fn packets(columns: Option<Vec<usize>>, frames: usize) -> Tap {
        let packets = Packets { frames: frames.max(1) as u64, payload: Vec::new(), end: 0 };
        Tap { columns, timeline: None, form: Form::Packets(packets), sent: 0, missing: 0 }
    }

    /// The time of its first frame, once there is one.
    pub(super) fn start(&self) -> Option<Timestamp> {
        self.timeline.as_ref().map(|line| line.start)
    }

    /// Frames since the first, those that were written, and those that were missing.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        (self.timeline.as_ref().map_or(0, |line| line.end), self.sent, self.missing)
    }

    /// Takes a piece; what comes of it is added to `out`, which is to be empty.
    ///
    /// # Errors
    /// When the reader can get no more.
    pub(super) fn take(&mut self, piece: &Waveform, out: &mut Portion) -> Result<(), Over> {
        let first = self.first(piece);
        let line = self.timeline.get_or_insert_with(|| Timeline::beginning(piece, first));
        let (end, rate_hz) = (line.end, line.shape.rate_hz);
        match line.place(piece, (rate_hz * BRIDGE_S) as u64) {
            Place::Known => {}
            Place::Foreign => return Err(Over::Foreign(Shape::of(&piece.stream).described())),
            Place::Far(frames) => return Err(Over::Far((frames as f64 / rate_hz) as u64)),
            Place::At { position, skip } => {
                self.missing += position - end;
                self.write(piece, skip, position, position - end, out);
            }
        }
        Ok(())
    }

    /// The frame that is to be its first: packets begin where those of the meter do, as far as that
    /// can be seen.
    fn first(&self, piece: &Waveform) -> u64 {
        match &self.form {
            Form::Bare => piece.first,
            Form::Packets(packets) => piece.first.next_multiple_of(packets.frames),
        }
    }

    fn write(&mut self, piece: &Waveform, skip: u64, position: u64, gap: u64, out: &mut Portion) {
        let width = piece.stream.channels.len().max(1);
        let columns = self.columns.as_deref();
        let frame_bytes = columns.map_or(width, <[usize]>::len) * SAMPLE;
        let frames = piece.samples.chunks_exact(width);
        // No piece has as many frames as could not be counted.
        let frames = frames.skip(usize::try_from(skip).unwrap_or(usize::MAX));
        match &mut self.form {
            Form::Bare => {
                out.zeros = gap * frame_bytes as u64;
                for frame in frames {
                    put(frame, columns, &mut out.bytes);
                    self.sent += 1;
                }
            }
            Form::Packets(packets) => {
                for (frame, position) in frames.zip(position..) {
                    self.missing += packets.seek(position, frame_bytes);
                    if packets.end == position {
                        put(frame, columns, &mut packets.payload);
                        packets.end += 1;
                        self.sent += packets.send_full(frame_bytes, &mut out.bytes);
                    } else {
                        self.missing += 1;
                    }
                }
            }
        }
    }

    /// The packet that is not full yet, when there is to be no other.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if let Form::Packets(packets) = &mut self.form {
            let frame_bytes = self.columns.as_ref().map_or_else(
                || self.timeline.as_ref().map_or(SAMPLE, |line| line.shape.frame_bytes()),
                |columns| columns.len() * SAMPLE,
            );
            self.sent += packets.send(frame_bytes, out);
        }
    }
}

impl Packets {
    /// Before a frame that is not the next: what was begun has a hole and is left out. Answers how many
    /// frames that costs. The next packet begins at the next place of the grid.
    fn seek(&mut self, position: u64, frame_bytes: usize) -> u64 {
        if position <= self.end {
            return 0;
        }
        let lost = self.payload.len() / frame_bytes.max(1);
        self.payload.clear();
        self.end = position.next_multiple_of(self.frames);
        lost as u64
    }

    fn send_full(&mut self, frame_bytes: usize, out: &mut Vec<u8>) -> u64 {
        if self.end.is_multiple_of(self.frames) { self.send(frame_bytes, out) } else { 0 }
    }

    /// Writes what is there as one packet; answers how many frames it has.
    fn send(&mut self, frame_bytes: usize, out: &mut Vec<u8>) -> u64 {
        let Ok(length) = u16::try_from(self.payload.len()) else { return 0 };
        if length == 0 {
            return 0;
        }
        // The number wraps at 2^32, as a meter's does.
        let number = ((self.end - 1) / self.frames) as u32;
        Packet::encode_head(number, length, out);
        out.append(&mut self.payload);
        u64::from(length) / frame_bytes.max(1) as u64
    }
}

fn put(frame: &[f32], columns: Option<&[usize]>, out: &mut Vec<u8>) {
    let mut put = |sample: f32| out.extend_from_slice(&sample.to_le_bytes());
    match columns {
        None => frame.iter().copied().for_each(&mut put),
        // A column that a frame has not cannot have been chosen; it would read as 0.
        Some(columns) => {
            columns.iter().for_each(|at| put(frame.get(*at).copied().unwrap_or_default()))
        }
    }
}

/// Frames in a packet, as a meter that sends over TCP has them: a tenth of a second, rounded up to a
/// power of two of bytes, at most 1024, and of these as many as make whole frames.
///
/// Source: firmware of SmartMeter 2.2 and PowerMeter 2.3.
pub(super) fn packet_frames(rate_hz: f64, frame_bytes: usize) -> usize {
    let wanted = (rate_hz * 0.1 * frame_bytes as f64) as usize;
    let bytes = wanted.clamp(frame_bytes.min(LARGEST), LARGEST).next_power_of_two().min(LARGEST);
    (bytes / frame_bytes.max(1)).max(1)
}

/// Bytes of the largest packet.
const LARGEST: usize = 1024;
/// Pauses of so many seconds are filled up, longer ones end the connection.
const BRIDGE_S: f64 = 600.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::shape::tests::{piece, stream};

    fn floats(bytes: &[u8]) -> Vec<f32> {
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
    }

    fn taken(tap: &mut Tap, piece: &Waveform) -> Portion {
        let mut out = Portion::default();
        tap.take(piece, &mut out).unwrap();
        out
    }

    /// (number, samples) of every packet.
    fn packets(mut bytes: &[u8]) -> Vec<(u32, Vec<f32>)> {
        let mut found = Vec::new();
        while let Some((head, rest)) = bytes.split_at_checked(11) {
            assert_eq!(&head[..5], b"Data:");
            let length = usize::from(u16::from_le_bytes([head[5], head[6]]));
            let number = u32::from_le_bytes([head[7], head[8], head[9], head[10]]);
            found.push((number, floats(&rest[..length])));
            bytes = &rest[length..];
        }
        assert_eq!(bytes, b"");
        found
    }

    #[test]
    fn packets_are_as_large_as_a_meters() {
        let sizes = |bytes: usize| {
            [50.0, 1000.0, 4000.0, 32000.0].map(|rate| packet_frames(rate, bytes) * bytes)
        };
        assert_eq!(sizes(8), [64, 1024, 1024, 1024]);
        // 120 bytes at 50 Hz: 128 less what is no whole frame.
        assert_eq!(sizes(24), [120, 1008, 1008, 1008]);
        assert_eq!(packet_frames(1.0, 24), 1);
        assert_eq!(packet_frames(1.0, 0), 1);
    }

    #[test]
    fn bare_floats_have_zeros_where_frames_are_missing() {
        let info = stream(1, 1000.0, 1);
        let mut tap = Tap::bare(None);
        let first = taken(&mut tap, &piece(&info, 7, 9));
        assert_eq!((first.zeros, floats(&first.bytes)), (0, vec![700., 701., 800., 801.]));
        let next = taken(&mut tap, &piece(&info, 12, 13));
        assert_eq!((next.zeros, floats(&next.bytes)), (3 * 8, vec![1200., 1201.]));
        assert_eq!(tap.counts(), (6, 3, 3));
        assert_eq!(tap.start(), Some(info.time(7)));
        let far = tap.take(&piece(&info, 1_000_000, 1_000_001), &mut Portion::default());
        assert_eq!(far, Err(Over::Far(999)));
        let other = stream(2, 2000.0, 1);
        assert!(matches!(
            tap.take(&piece(&other, 0, 1), &mut Portion::default()),
            Err(Over::Foreign(_))
        ));
    }

    #[test]
    fn packets_stand_on_a_grid_and_never_hold_a_gap() {
        let info = stream(1, 1000.0, 1);
        let mut tap = Tap::packets(Some(vec![1]), 4);
        let mut out = Portion::default();
        // Begins at frame 8, which is packet 0.
        for (first, end) in [(6, 10), (10, 13), (14, 15), (19, 30), (30, 31)] {
            tap.take(&piece(&info, first, end), &mut out).unwrap();
        }
        let current = |first: u64| (first..first + 4).map(|n| n as f32 * 100.0 + 1.0).collect();
        let expected: Vec<(u32, Vec<f32>)> =
            vec![(0, current(8)), (3, current(20)), (4, current(24))];
        assert_eq!(packets(&out.bytes), expected);
        out.bytes.clear();
        tap.finish(&mut out.bytes);
        assert_eq!(packets(&out.bytes), [(5, vec![2801., 2901., 3001.])]);
        // 8 to 31 are 23 frames, of which 15 were sent: 12, 14 and 19 stood beside gaps.
        assert_eq!(tap.counts(), (23, 15, 8));
    }
}
