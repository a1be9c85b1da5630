//! Values as a Fluksometer writes them, each generation in its own way.

use std::fmt;

/// A value on its way into a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// Thousandths, written without trailing zeros: an FLM02, and the radio sensors of both.
    Plain(i64),
    /// So many units of 2^-bits, as the sensor daemon of an FLM03 has them: an integer where the
    /// fraction is nothing, else three decimals, cut off. A negative number with a fraction comes out
    /// as its floor and the fraction above that, so -12.25 as `-13.750`. That is the daemon's fault,
    /// and readers have to know it.
    Fixed {
        /// The value times 2^bits.
        raw: i64,
        /// 11 for gauges, 16 for counters.
        bits: u32,
    },
}

impl Value {
    /// A gauge of an FLM03: 20.11 bits.
    pub(super) fn gauge(value: f64) -> Value {
        Value::Fixed { raw: (value * 2048.0).floor() as i64, bits: 11 }
    }

    /// A counter of an FLM03: 32.16 bits of `amount / per_unit`.
    pub(super) fn counter(amount: u64, per_unit: u64) -> Value {
        let raw = u128::from(amount) * 65_536 / u128::from(per_unit);
        Value::Fixed { raw: raw as i64, bits: 16 }
    }

    /// What a reader takes the text for, in thousandths: so a recorder on the device keeps it.
    pub(super) fn as_read(self) -> i64 {
        match self {
            Value::Plain(thousandths) => thousandths,
            Value::Fixed { raw, bits } => {
                let (whole, rest) = parts(raw, bits);
                if whole < 0 { whole * 1000 - rest } else { whole * 1000 + rest }
            }
        }
    }

    /// Whether it is nothing at all.
    pub(super) fn is_zero(self) -> bool {
        matches!(self, Value::Plain(0) | Value::Fixed { raw: 0, .. })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Value::Plain(thousandths) => {
                let sign = if thousandths < 0 { "-" } else { "" };
                let (whole, rest) = (thousandths.abs() / 1000, thousandths.abs() % 1000);
                if rest == 0 {
                    return write!(f, "{sign}{whole}");
                }
                let digits = format!("{rest:03}");
                write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
            }
            Value::Fixed { raw, bits } => {
                let (whole, rest) = parts(raw, bits);
                if raw & ((1 << bits) - 1) == 0 {
                    write!(f, "{whole}")
                } else {
                    write!(f, "{whole}.{rest:03}")
                }
            }
        }
    }
}

/// The floor, and the thousandths above it.
fn parts(raw: i64, bits: u32) -> (i64, i64) {
    (raw >> bits, ((raw & ((1 << bits) - 1)) * 1000) >> bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_have_no_trailing_zeros() {
        let cases =
            [(900_500, "900.5"), (-1370, "-1.37"), (-370, "-0.37"), (71_000, "71"), (21, "0.021")];
        for (thousandths, text) in cases {
            assert_eq!(Value::Plain(thousandths).to_string(), text);
            assert_eq!(Value::Plain(thousandths).as_read(), thousandths);
        }
    }

    #[test]
    fn the_daemon_of_an_flm03_cuts_off_and_writes_negative_fractions_wrongly() {
        let cases = [
            (157.25, "157.250", 157_250),
            (0.0, "0", 0),
            (-12.0, "-12", -12_000),
            (-12.25, "-13.750", -13_750),
            (-0.25, "-1.750", -1750),
            (0.687_99, "0.687", 687),
        ];
        for (value, text, read) in cases {
            assert_eq!(Value::gauge(value).to_string(), text);
            assert_eq!(Value::gauge(value).as_read(), read, "{text}");
        }
        assert_eq!(Value::counter(44_444_443, 3600).to_string(), "12345.678");
        assert_eq!(Value::counter(7200, 3600).to_string(), "2");
    }
}
