//! Zero crossings of a voltage, hence the cycles of the mains.

use super::is_sane;

/// Finds where a voltage rises through zero. Noise around zero makes no crossing: the voltage must have
/// been well below before.
#[derive(Debug, Clone)]
pub(super) struct Crossings {
    rate_hz: f64,
    /// The sample before, if it was a neighbour.
    before: Option<f32>,
    /// It has been well below zero since the last crossing.
    armed: bool,
    /// The largest |v|, of this stretch and of the one before, and when this one ends.
    peaks: [f32; 2],
    turn: u64,
    /// The last crossing, in frames.
    last: Option<f64>,
    /// Whole cycles since [`Crossings::take`], and the frames that they took.
    cycles: u32,
    frames: f64,
}

impl Crossings {
    pub(super) fn new(rate_hz: f64) -> Crossings {
        Crossings {
            rate_hz,
            before: None,
            armed: false,
            peaks: [0.0; 2],
            turn: 0,
            last: None,
            cycles: 0,
            frames: 0.0,
        }
    }

    /// Takes the sample of frame `number`. `true`: the voltage has risen through zero between the frame
    /// before and this one.
    pub(super) fn push(&mut self, number: u64, v: f32) -> bool {
        if !is_sane(v) {
            self.interrupt();
            return false;
        }
        let before = self.before.replace(v);
        self.follow_peak(number, v.abs());
        let peak = self.peaks[0].max(self.peaks[1]);
        if peak >= LEAST_PEAK_V && v < -HYSTERESIS * peak {
            self.armed = true;
        }
        match before {
            Some(before) if self.armed && before < 0.0 && v >= 0.0 => {
                self.armed = false;
                let into = f64::from(before) / f64::from(before - v);
                self.cross(number as f64 - 1.0 + into);
                true
            }
            _ => false,
        }
    }

    /// Frames are missing.
    pub(super) fn interrupt(&mut self) {
        (self.before, self.last, self.armed) = (None, None, false);
    }

    /// Whether there was a crossing within so many frames before `number`.
    pub(super) fn since(&self, number: u64, frames: f64) -> bool {
        self.last.is_some_and(|last| number as f64 - last <= frames)
    }

    /// The frequency of the whole cycles seen since this was asked before, Hz; `None` with too few.
    pub(super) fn take(&mut self) -> Option<f64> {
        let (cycles, frames) = (f64::from(self.cycles), self.frames);
        (self.cycles, self.frames) = (0, 0.0);
        (cycles >= LEAST_CYCLES && frames > 0.0).then(|| cycles / frames * self.rate_hz)
    }

    fn cross(&mut self, at: f64) {
        if let Some(last) = self.last.replace(at) {
            let frames = at - last;
            if (self.rate_hz / MOST_HZ..=self.rate_hz / LEAST_HZ).contains(&frames) {
                self.cycles += 1;
                self.frames += frames;
            }
        }
    }

    fn follow_peak(&mut self, number: u64, size: f32) {
        if number >= self.turn {
            self.peaks = [0.0, self.peaks[0]];
            self.turn = number + (self.rate_hz / 10.0) as u64;
        }
        self.peaks[0] = self.peaks[0].max(size);
    }
}

/// What is below is no mains.
const LEAST_PEAK_V: f32 = 15.0;
/// So much of the peak is well below zero.
const HYSTERESIS: f32 = 0.2;
/// A cycle outside is none of mains.
const LEAST_HZ: f64 = 40.0;
const MOST_HZ: f64 = 70.0;
/// What a frequency is made of at least.
const LEAST_CYCLES: f64 = 5.0;
