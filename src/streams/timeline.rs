//! Where frames lie on one axis: what was lost is a step on it, and a meter that begins anew goes on at
//! the place that its new start has in time.

use crate::model::{Timestamp, Waveform};

use super::shape::Shape;

/// The axis: position 0 is the first frame that was taken, `start` its time.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    pub(super) shape: Shape,
    /// The time of position 0.
    pub(super) start: Timestamp,
    /// The stream that is taken now.
    stream: u64,
    /// What is added to a frame's number to have its position.
    offset: i64,
    /// The position behind the last frame that was taken.
    pub(super) end: u64,
}

/// Where a piece goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Frames from `skip` on, of which the first belongs to `position`. What lies before it is a gap.
    At { position: u64, skip: u64 },
    /// Nowhere: all of it was there already.
    Known,
    /// It has another rate or other channels.
    Foreign,
    /// The gap before it has so many frames, more than are bridged.
    Far(u64),
}

impl Timeline {
    /// An axis that begins with frame `first` of the piece's stream.
    pub(super) fn beginning(piece: &Waveform, first: u64) -> Timeline {
        Timeline {
            shape: Shape::of(&piece.stream),
            start: piece.stream.time(first),
            stream: piece.stream.id,
            offset: -to_signed(first),
            end: 0,
        }
    }

    /// Finds the place of a piece, bridging gaps of at most `bridge` frames. It is taken when the
    /// answer is [`Place::At`].
    pub(super) fn place(&mut self, piece: &Waveform, bridge: u64) -> Place {
        let offset = if piece.stream.id == self.stream {
            self.offset
        } else if piece.stream.channels == self.shape.channels
            && piece.stream.rate_hz == self.shape.rate_hz
        {
            self.offset_of(piece)
        } else {
            return Place::Foreign;
        };
        let begin = to_signed(piece.first).saturating_add(offset);
        let end = begin.saturating_add(to_signed(piece.frames()));
        let position = begin.max(to_signed(self.end));
        if end <= position {
            return Place::Known;
        }
        // Not below zero: `position` is not before the end of what was taken.
        let (position, skip) = (position.unsigned_abs(), position.abs_diff(begin));
        if position - self.end > bridge {
            return Place::Far(position - self.end);
        }
        (self.stream, self.offset, self.end) = (piece.stream.id, offset, end.unsigned_abs());
        Place::At { position, skip }
    }

    /// A new stream's frame 0 lies where its start is in time, and not before what is there already:
    /// clocks of meters jump.
    fn offset_of(&self, piece: &Waveform) -> i64 {
        let after = piece.stream.start.0.saturating_sub(self.start.0) as f64 / 1000.0;
        let in_time = (after * self.shape.rate_hz).round() as i64;
        in_time.max(to_signed(self.end).saturating_sub(to_signed(piece.first)))
    }
}

/// Frame numbers stay far below this: a hundred thousand a second for a million years.
fn to_signed(frame: u64) -> i64 {
    i64::try_from(frame).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::shape::tests::{piece, stream};
    use super::*;
    use crate::model::StreamInfo;

    #[test]
    fn what_was_lost_is_a_step_and_what_comes_twice_is_passed_over() {
        let info = stream(1, 1000.0, 1);
        let mut line = Timeline::beginning(&piece(&info, 5, 6), 5);
        assert_eq!(line.place(&piece(&info, 5, 8), 10), Place::At { position: 0, skip: 0 });
        assert_eq!(line.place(&piece(&info, 10, 12), 10), Place::At { position: 5, skip: 0 });
        assert_eq!(line.place(&piece(&info, 10, 13), 10), Place::At { position: 7, skip: 2 });
        assert_eq!(line.place(&piece(&info, 8, 9), 10), Place::Known);
        assert_eq!(line.place(&piece(&info, 30, 31), 10), Place::Far(17));
        assert_eq!(line.end, 8);
    }

    #[test]
    fn frames_before_the_beginning_are_left_out() {
        let info = stream(1, 1000.0, 1);
        let mut line = Timeline::beginning(&piece(&info, 5, 20), 8);
        assert_eq!(line.start, info.time(8));
        assert_eq!(line.place(&piece(&info, 5, 7), 0), Place::Known);
        assert_eq!(line.place(&piece(&info, 5, 20), 0), Place::At { position: 0, skip: 3 });
    }

    #[test]
    fn a_meter_that_begins_anew_goes_on_where_its_start_is_in_time() {
        let info = stream(1, 1000.0, 1);
        let mut line = Timeline::beginning(&piece(&info, 0, 10), 0);
        line.place(&piece(&info, 0, 10), 0);
        let later = |id, ms: i64, rate_hz| {
            let start = Timestamp(info.start.0 + ms);
            Arc::new(StreamInfo { id, start, rate_hz, ..(*info).clone() })
        };
        let again = later(2, 25, 1000.0);
        assert_eq!(line.place(&piece(&again, 1, 2), 99), Place::At { position: 26, skip: 0 });
        assert_eq!(line.place(&piece(&again, 2, 3), 99), Place::At { position: 27, skip: 0 });
        // A clock that went back moves nothing.
        let back = later(3, -5000, 1000.0);
        assert_eq!(line.place(&piece(&back, 0, 1), 99), Place::At { position: 28, skip: 0 });
        assert_eq!(line.place(&piece(&later(4, 99, 500.0), 0, 1), 99), Place::Foreign);
    }
}
