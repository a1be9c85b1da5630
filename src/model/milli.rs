//! The exact number that carries every value.

use std::fmt;

/// A number in exact thousandths: every published value is one.
///
/// Displays without trailing zeros, never in exponent form: `867.663`, `12.5`, `-3`, `0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Milli(pub i64);

impl Milli {
    /// The nearest thousandth; `None` when `value` is not finite or too large to hold.
    pub fn from_f64(value: f64) -> Option<Milli> {
        let thousandths = (value * 1000.0).round();
        // 2^62 is far above any reading and far below where the cast would saturate.
        (thousandths.abs() < 4.6e18).then_some(Milli(thousandths as i64))
    }

    /// The value as a float, in the unit of the reading.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The nearest hundredth, half away from zero.
    pub fn hundredths(self) -> Milli {
        Milli((self.0 + 5 * self.0.signum()) / 10 * 10)
    }

    /// A thousandth of the value with its decimals kept, as JSON text: Wh shown as kWh.
    pub fn per_thousand(self) -> PerThousand {
        PerThousand(self.0)
    }
}

impl fmt::Display for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal(f, self.0, 1000, 3)
    }
}

/// A [`Milli`] divided by a thousand; see [`Milli::per_thousand`].
#[derive(Debug, Clone, Copy)]
pub struct PerThousand(i64);

impl fmt::Display for PerThousand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal(f, self.0, 1_000_000, 6)
    }
}

fn decimal(f: &mut fmt::Formatter<'_>, value: i64, scale: u64, digits: usize) -> fmt::Result {
    if value < 0 {
        f.write_str("-")?;
    }
    let magnitude = value.unsigned_abs();
    let (whole, mut fraction) = (magnitude / scale, magnitude % scale);
    if fraction == 0 {
        return write!(f, "{whole}");
    }
    let mut width = digits;
    while fraction % 10 == 0 {
        fraction /= 10;
        width -= 1;
    }
    write!(f, "{whole}.{fraction:0width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousandths_print_without_trailing_zeros() {
        let cases = [
            (0, "0"),
            (1, "0.001"),
            (-1, "-0.001"),
            (12_500, "12.5"),
            (-12_250, "-12.25"),
            (867_663, "867.663"),
            (3_000, "3"),
            (i64::MIN, "-9223372036854775.808"),
        ];
        for (value, text) in cases {
            assert_eq!(Milli(value).to_string(), text);
        }
        assert_eq!(Milli(867_663).per_thousand().to_string(), "0.867663");
        assert_eq!(Milli(1_500_000_000).per_thousand().to_string(), "1500");
    }

    #[test]
    fn floats_that_are_no_readings_give_none() {
        assert_eq!(Milli::from_f64(121.7), Some(Milli(121_700)));
        assert_eq!(Milli::from_f64(-0.0004), Some(Milli(0)));
        assert_eq!(Milli::from_f64(f64::NAN), None);
        assert_eq!(Milli::from_f64(f64::INFINITY), None);
        assert_eq!(Milli::from_f64(1e30), None);
    }
}
