//! Sums over values that are one figure each: powers, or RMS that the meter has made.

use super::{Rows, is_sane};

/// The sums of one channel.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mean {
    samples: u64,
    bad: u64,
    sum: f64,
    squares: f64,
}

impl Mean {
    /// Adds what stands in `column` of the frames that count.
    pub fn add(&mut self, rows: Rows<'_>, column: usize) {
        for row in rows.counted() {
            let Some(&x) = row.get(column) else { return };
            if is_sane(x) {
                let x = f64::from(x);
                self.samples += 1;
                self.sum += x;
                self.squares += x * x;
            } else {
                self.bad += 1;
            }
        }
    }

    /// The mean; `None` without a sample.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.samples > 0).then(|| self.sum / self.samples as f64)
    }

    /// The root of the mean of the squares; `None` without a sample. It is the RMS of the whole
    /// stretch where each sample is the RMS of a part of it.
    #[must_use]
    pub fn rms(&self) -> Option<f64> {
        (self.samples > 0).then(|| (self.squares / self.samples as f64).sqrt())
    }

    /// Samples that were no numbers, and were left out.
    #[must_use]
    pub const fn bad(&self) -> u64 {
        self.bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_leave_out_what_is_no_number() {
        let samples = [3.0, 0.0, f32::NAN, 0.0, -4.0, 0.0];
        let mut mean = Mean::default();
        assert_eq!((mean.mean(), mean.rms()), (None, None));
        mean.add(Rows { samples: &samples, width: 2, begin: 0 }, 0);
        assert_eq!(mean.mean(), Some(-0.5));
        assert_eq!(mean.rms(), Some(12.5_f64.sqrt()));
        assert_eq!(mean.bad(), 1);
    }
}
