//! Arithmetic on sampled mains: RMS, powers and frequency from samples of voltage and current.
//!
//! It stands here, and not in the gateway, because every sample goes through it, some million a
//! second with thirty meters: this crate is compiled for speed.
//!
//! Samples are `f32` in rows, row-major: a *frame* is one row, with one sample of each channel, taken
//! at one moment. Voltages are in V and currents in mA, as SmartMeters and PowerMeters send them.
//! Frames are numbered from 0 at the start of a stream; what was lost is counted, so a gap is a step.
//!
//! | module | has |
//! |---|---|
//! | `pair` | sums over a voltage and its current: RMS, active and reactive power |
//! | `mean` | sums over values that are one figure each |
//! | `crossings` | zero crossings of a voltage, hence cycles |
//! | `windows` | where a second ends, at a whole cycle |

mod crossings;
mod mean;
mod pair;
mod windows;

pub use mean::Mean;
pub use pair::{Pair, Rows, quarter};
pub use windows::{Cut, Windows};

/// Appends the little-endian floats of `bytes`; what is left over at the end is no float.
pub fn read_f32_le(bytes: &[u8], out: &mut Vec<f32>) {
    let (floats, _) = bytes.as_chunks::<4>();
    out.extend(floats.iter().map(|four| f32::from_le_bytes(*four)));
}

/// Whether this can be a sample at all: a number, and not beyond anything that hangs on mains.
#[must_use]
pub fn is_sane(sample: f32) -> bool {
    // False for NaN as well.
    sample.abs() <= LIMIT
}

/// A thousand kilovolts, or a million amperes.
const LIMIT: f32 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_read_lowest_byte_first() {
        let mut out = vec![7.0];
        read_f32_le(&[0, 0, 0x80, 0x3F, 0, 0, 0x20, 0xC1, 1, 2], &mut out);
        assert_eq!(out, [7.0, 1.0, -10.0]);
    }

    #[test]
    fn what_is_no_number_or_too_large_is_no_sample() {
        assert!(is_sane(-325.0) && is_sane(0.0) && is_sane(90_000.0));
        assert!([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2.8e20].iter().all(|x| !is_sane(*x)));
    }
}
