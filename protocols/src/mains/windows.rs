//! Where a second ends: at the first whole cycle of the mains behind it.
//!
//! RMS and power over a whole number of cycles do not depend on where in a cycle the stretch begins.
//! Every frame belongs to one window, so nothing is counted twice or left out. What there is before the
//! first whole cycle, at the start or after a gap, is a window of its own.

use super::crossings::Crossings;

/// The end of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// Its first frame.
    pub start: u64,
    /// The frame behind its last; also where frames before it were lost.
    pub end: u64,
    /// Mains frequency within it, Hz.
    pub frequency_hz: Option<f64>,
}

/// Cuts a stream into windows of a second each.
#[derive(Debug, Clone)]
pub struct Windows {
    rate_hz: f64,
    /// The window that is open.
    start: u64,
    /// How many seconds there are to the frame where it is due to end.
    seconds: u64,
    /// The frame that comes next.
    next: u64,
    /// The open window begins somewhere within a cycle.
    ragged: bool,
    crossings: Option<Crossings>,
}

impl Windows {
    /// `rate_hz`: frames a second, a thousandth or more. `mains`: there is a column with momentary voltages.
    #[must_use]
    pub fn new(rate_hz: f64, mains: bool) -> Windows {
        let crossings = mains.then(|| Crossings::new(rate_hz));
        Windows { rate_hz, start: 0, seconds: 1, next: 0, ragged: mains, crossings }
    }

    /// Takes neighbouring frames, the first of which is number `first`, and appends the ends of windows
    /// among them. `voltages`: the column of the voltage that cycles are taken from, frame by frame;
    /// how many there are is how many frames there are. `first` is never before what was taken already.
    pub fn take(&mut self, first: u64, voltages: impl Iterator<Item = f32>, cuts: &mut Vec<Cut>) {
        if first > self.next {
            self.skip(first, cuts);
        }
        for v in voltages {
            let number = self.next;
            let risen = self.crossings.as_mut().is_some_and(|crossings| crossings.push(number, v));
            let whole = number >= self.due() && (risen || !self.waits(number));
            if whole || (risen && self.ragged) {
                self.cut(number, cuts);
            }
            self.next += 1;
        }
        // Without cycles to wait for, a window ends with its last frame.
        if self.next >= self.due() && !self.waits(self.next) {
            self.cut(self.next, cuts);
        }
    }

    /// Ends the open window where the stream ends.
    pub fn finish(&mut self) -> Option<Cut> {
        let mut cuts = Vec::new();
        if self.next > self.start {
            self.cut(self.next, &mut cuts);
        }
        cuts.pop()
    }

    /// Frames are missing up to `first`.
    fn skip(&mut self, first: u64, cuts: &mut Vec<Cut>) {
        if let Some(crossings) = &mut self.crossings {
            crossings.interrupt();
        }
        if first >= self.due() {
            self.cut(self.due().max(self.next), cuts);
            let whole = (first as f64 / self.rate_hz).floor();
            self.start = self.start.max(self.frame(whole as u64));
            self.seconds = whole as u64 + 1;
            self.ragged = self.crossings.is_some();
        }
        self.next = first;
    }

    fn cut(&mut self, end: u64, cuts: &mut Vec<Cut>) {
        let frequency_hz = self.crossings.as_mut().and_then(Crossings::take);
        cuts.push(Cut { start: self.start, end, frequency_hz });
        self.start = end;
        self.ragged = false;
        // Not one by one: a window may end any number of seconds after it was due.
        self.seconds = self.seconds.max((end as f64 / self.rate_hz).floor() as u64);
        while self.due() <= end {
            self.seconds += 1;
        }
    }

    /// Whether a crossing can be hoped for behind the due end.
    fn waits(&self, number: u64) -> bool {
        let patience = self.rate_hz * PATIENCE_S;
        let late = number.saturating_sub(self.due()) as f64;
        late < patience
            && self.crossings.as_ref().is_some_and(|crossings| crossings.since(number, patience))
    }

    fn due(&self) -> u64 {
        self.frame(self.seconds)
    }

    fn frame(&self, seconds: u64) -> u64 {
        (seconds as f64 * self.rate_hz).ceil() as u64
    }
}

/// More than two cycles of the slowest mains.
const PATIENCE_S: f64 = 0.05;

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    fn voltage(rate: f64, mains: f64) -> impl Fn(u64) -> f32 {
        move |n| (325.0 * (2.0 * PI * mains * n as f64 / rate + 2.0).sin()) as f32
    }

    #[test]
    fn windows_end_with_a_cycle_and_miss_no_frame() {
        for (rate, mains) in [(2000.0, 49.83), (4000.0, 50.0), (8000.0, 60.07)] {
            let (mut windows, mut cuts) = (Windows::new(rate, true), Vec::new());
            let wave = voltage(rate, mains);
            for block in 0..(rate as u64 * 5 / 42) {
                let numbers = block * 42..(block + 1) * 42;
                windows.take(numbers.start, numbers.map(&wave), &mut cuts);
            }
            assert_eq!(cuts.len(), 5);
            assert!(cuts[0].end < rate as u64 / 50 && cuts[0].frequency_hz.is_none());
            let mut end = cuts[0].end;
            for cut in &cuts[1..] {
                assert_eq!(cut.start, end);
                end = cut.end;
                assert!(wave(end) >= 0.0 && wave(end - 1) < 0.0);
                let hz = cut.frequency_hz.unwrap();
                assert!((hz - mains).abs() < 0.002, "{hz}, not {mains}");
            }
        }
    }

    #[test]
    fn without_mains_a_window_is_a_second() {
        let (mut windows, mut cuts) = (Windows::new(10.0, false), Vec::new());
        windows.take(0, std::iter::repeat_n(0.0, 10), &mut cuts);
        assert_eq!(cuts, [Cut { start: 0, end: 10, frequency_hz: None }]);
        let (mut windows, mut cuts) = (Windows::new(1000.0, true), Vec::new());
        windows.take(0, std::iter::repeat_n(0.1, 2500), &mut cuts);
        assert_eq!(cuts.iter().map(|cut| cut.end).collect::<Vec<_>>(), [1000, 2000]);
        assert_eq!(windows.finish().map(|cut| (cut.start, cut.end)), Some((2000, 2500)));
        assert_eq!(windows.finish(), None);
    }

    #[test]
    fn a_frame_that_lasts_many_seconds_is_one_window() {
        let (mut windows, mut cuts) = (Windows::new(1e-3, false), Vec::new());
        windows.take(0, std::iter::repeat_n(0.0, 2), &mut cuts);
        windows.take(1_000_000, std::iter::repeat_n(0.0, 1), &mut cuts);
        let ends: Vec<u64> = cuts.iter().map(|cut| cut.end).collect();
        assert_eq!(ends, [1, 2, 3, 1_000_001]);
    }

    #[test]
    fn a_gap_ends_the_window_that_it_leaves_and_no_frequency_spans_it() {
        let (mut windows, mut cuts) = (Windows::new(1000.0, true), Vec::new());
        let wave = voltage(1000.0, 50.0);
        windows.take(0, (0..700).map(&wave), &mut cuts);
        windows.take(3_205, (3_205..4_100).map(&wave), &mut cuts);
        let spans: Vec<_> = cuts.iter().map(|cut| (cut.start, cut.end)).collect();
        let [(0, a), (b, 1000), (3000, c), (d, 4000..4021)] = spans[..] else { panic!("{cuts:?}") };
        assert!(a < 21 && a == b && (3205..3226).contains(&c) && c == d, "{cuts:?}");
        for cut in [cuts[1], cuts[3]] {
            assert!((cut.frequency_hz.unwrap() - 50.0).abs() < 0.01, "{cuts:?}");
        }
    }

    #[test]
    fn frames_that_step_within_a_second_stay_in_its_window() {
        let (mut windows, mut cuts) = (Windows::new(1000.0, false), Vec::new());
        windows.take(0, std::iter::repeat_n(0.0, 100), &mut cuts);
        windows.take(900, std::iter::repeat_n(0.0, 100), &mut cuts);
        assert_eq!(cuts, [Cut { start: 0, end: 1000, frequency_hz: None }]);
    }
}
