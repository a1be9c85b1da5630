//! Sums over samples of a voltage and of the current that goes with it.

use super::is_sane;

/// Neighbouring frames, and how many of them count: those before are there for what looks back.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Shape (frames, `width`), row-major.
    pub samples: &'a [f32],
    /// Samples in a frame, at least 1.
    pub width: usize,
    /// The first frame that counts.
    pub begin: usize,
}

impl<'a> Rows<'a> {
    /// The frames that count.
    pub(super) fn counted(self) -> impl Iterator<Item = &'a [f32]> {
        let begin = (self.begin * self.width).min(self.samples.len());
        self.samples[begin..].chunks_exact(self.width.max(1))
    }

    /// The frames that count, each with the one that was `lag` frames before it.
    fn lagged(self, lag: usize) -> impl Iterator<Item = (&'a [f32], &'a [f32])> {
        let width = self.width.max(1);
        let begin = self.begin.max(lag);
        let late = (begin * width).min(self.samples.len());
        let early = ((begin - lag) * width).min(self.samples.len());
        self.samples[late..].chunks_exact(width).zip(self.samples[early..].chunks_exact(width))
    }
}

/// How many frames are about a quarter of a cycle, for mains of 50 and of 60 Hz; at least 1.
#[must_use]
pub fn quarter(rate_hz: f64) -> usize {
    ((rate_hz / (4.0 * 55.0)).round() as usize).max(1)
}

/// The sums of one voltage (V) and one current (mA).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pair {
    samples: u64,
    bad: u64,
    voltage_squares: f64,
    current_squares: f64,
    products: f64,
    /// Sum of v(n) i(n - lag) - v(n - lag) i(n): negative where the current lags.
    turn: f64,
}

impl Pair {
    /// Adds the frames that count: `voltage` and `current` are their columns, `lag` is what
    /// [`quarter`] says. A frame of which either is no number is left out.
    pub fn add(&mut self, rows: Rows<'_>, voltage: usize, current: usize, lag: usize) {
        if rows.width <= voltage.max(current) {
            return;
        }
        for row in rows.counted() {
            let (v, i) = (row[voltage], row[current]);
            if !(is_sane(v) && is_sane(i)) {
                self.bad += 1;
                continue;
            }
            let (v, i) = (f64::from(v), f64::from(i));
            self.samples += 1;
            self.voltage_squares += v * v;
            self.current_squares += i * i;
            self.products += v * i;
        }
        for (now, before) in rows.lagged(lag) {
            let (v, i, v0, i0) = (now[voltage], now[current], before[voltage], before[current]);
            if is_sane(v) && is_sane(i) && is_sane(v0) && is_sane(i0) {
                self.turn += f64::from(v) * f64::from(i0) - f64::from(v0) * f64::from(i);
            }
        }
    }

    /// RMS voltage, V; `None` without a sample, as all that follows.
    #[must_use]
    pub fn voltage(&self) -> Option<f64> {
        self.mean(self.voltage_squares).map(f64::sqrt)
    }

    /// RMS current, mA.
    #[must_use]
    pub fn current(&self) -> Option<f64> {
        self.mean(self.current_squares).map(f64::sqrt)
    }

    /// Active power, W: the mean of v × i.
    #[must_use]
    pub fn active(&self) -> Option<f64> {
        self.mean(self.products).map(|milliwatts| milliwatts / 1000.0)
    }

    /// Apparent power, VA: the product of both RMS.
    #[must_use]
    pub fn apparent(&self) -> Option<f64> {
        Some(self.voltage()? * self.current()? / 1000.0)
    }

    /// Reactive power, var: what of the apparent power is not active, positive where the current lags.
    /// With harmonics it has their distortion in it.
    ///
    /// Whether the current lags is seen by looking back: with a quarter of a cycle between two
    /// frames, v(n) i(n-q) - v(n-q) i(n) is -V I sin φ at every n, without a ripple. A harmonic
    /// weighs in it no more than the power it makes, so the fundamental decides.
    #[must_use]
    pub fn reactive(&self) -> Option<f64> {
        let (active, apparent) = (self.active()?, self.apparent()?);
        let size = (apparent * apparent - active * active).max(0.0).sqrt();
        Some(if self.turn > 0.0 { -size } else { size })
    }

    /// Frames that counted.
    #[must_use]
    pub const fn samples(&self) -> u64 {
        self.samples
    }

    /// Frames that were left out, because a sample was no number.
    #[must_use]
    pub const fn bad(&self) -> u64 {
        self.bad
    }

    fn mean(&self, sum: f64) -> Option<f64> {
        (self.samples > 0).then(|| sum / self.samples as f64)
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::{PI, SQRT_2};

    use super::*;

    /// One second: 230 V and 4 A, the current `degrees` behind, with `thirds` of it at 150 Hz.
    fn second(rate: usize, mains: f64, degrees: f64, thirds: f64) -> Vec<f32> {
        let frame = |n: usize| {
            let w = 2.0 * PI * mains * n as f64 / rate as f64;
            let x = w - degrees.to_radians();
            let v = 230.0 * (w.sin() + 0.03 * (3.0 * w + 1.0).sin());
            [(SQRT_2 * v) as f32, (SQRT_2 * 4000.0 * (x.sin() + thirds * (3.0 * x).sin())) as f32]
        };
        (0..rate).flat_map(frame).collect()
    }

    fn sums(samples: &[f32], rate: usize) -> Pair {
        let mut pair = Pair::default();
        pair.add(Rows { samples, width: 2, begin: 0 }, 0, 1, quarter(rate as f64));
        pair
    }

    #[test]
    fn powers_of_lagging_leading_and_reversed_currents() {
        for rate in [500, 2000, 4000, 8000, 32_000] {
            for mains in [50.0, 60.0] {
                for degrees in [-150.0_f64, -80.0, -25.0, 12.0, 60.0, 90.0, 168.0] {
                    let pair = sums(&second(rate, mains, degrees, 0.0), rate);
                    let (active, apparent) = (pair.active().unwrap(), pair.apparent().unwrap());
                    let reactive = pair.reactive().unwrap();
                    let near = |is: f64, should: f64| (is - should).abs() < 2.0;
                    assert!(
                        near(active, 920.0 * degrees.to_radians().cos()),
                        "{degrees}: {active}"
                    );
                    assert!(near(apparent, 920.0), "{degrees}: {apparent}");
                    // The voltage's third harmonic has no current: distortion, 3 % of the whole.
                    let should = 920.0 * degrees.to_radians().sin();
                    assert!(
                        (reactive - should).abs() < 6.0 && reactive.signum() == should.signum(),
                        "{rate} Hz, {mains} Hz, {degrees}: {reactive}, not {should}"
                    );
                }
            }
        }
    }

    #[test]
    fn harmonics_do_not_turn_the_sign() {
        for rate in [2000, 8000] {
            let lag = sums(&second(rate, 50.0, 12.0, 0.6), rate).reactive().unwrap();
            let lead = sums(&second(rate, 50.0, -12.0, 0.6), rate).reactive().unwrap();
            assert!(lag > 500.0 && lead < -500.0, "{lag} {lead}");
        }
    }

    #[test]
    fn a_frame_with_what_is_no_number_is_left_out() {
        let mut samples = second(4000, 50.0, 12.0, 0.0);
        let clean = sums(&samples, 4000);
        samples[2000] = f32::NAN;
        samples[2003] = f32::INFINITY;
        let pair = sums(&samples, 4000);
        assert_eq!((pair.bad(), pair.samples()), (2, 3998));
        assert!((pair.active().unwrap() - clean.active().unwrap()).abs() < 1.0);
        assert!(pair.reactive().unwrap() > 0.0);
    }

    #[test]
    fn frames_before_the_first_that_counts_are_only_looked_back_at() {
        let samples = second(4000, 50.0, 12.0, 0.0);
        let whole = sums(&samples, 4000);
        let mut parts = Pair::default();
        for (begin, end) in [(0, 7), (7, 1000), (1000, 4000)] {
            let rows = Rows { samples: &samples[..end * 2], width: 2, begin };
            parts.add(rows, 0, 1, quarter(4000.0));
        }
        assert_eq!(parts.samples(), 4000);
        assert!((parts.turn - whole.turn).abs() < 1e-3 * whole.turn.abs());
    }
}
