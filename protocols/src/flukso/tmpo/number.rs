//! Decimal text to exact thousandths and what lies below them.

/// A number: thousandths, and the rest in millionths of a millionth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Number {
    milli: i64,
    pico: i64,
}

impl Number {
    /// Adds; `None` when the sum is too large to hold.
    pub(super) fn plus(self, other: Number) -> Option<Number> {
        let milli = self.milli.checked_add(other.milli)?;
        let pico = self.pico.checked_add(other.pico)?;
        (milli.abs() < LARGEST).then_some(Number { milli, pico })
    }

    /// The nearest thousandth, half upwards.
    pub(super) fn rounded(self) -> i64 {
        self.milli + (self.pico + PICO_PER_MILLI / 2).div_euclid(PICO_PER_MILLI)
    }

    pub(super) fn is_zero(self) -> bool {
        self == Number::default()
    }

    /// Reads a JSON number at the begin of `text`; answers it with its length.
    pub(super) fn read(text: &[u8]) -> Option<(Number, usize)> {
        let negative = text.first() == Some(&b'-');
        let mut at = usize::from(negative);
        let (whole, digits) = digits(text, at, 16)?;
        if digits > 1 && text.get(at) == Some(&b'0') {
            return None;
        }
        at += digits;
        let mut number = Number { milli: whole.checked_mul(1000)?, pico: 0 };
        if text.get(at) == Some(&b'.') {
            let length = fraction(text, at + 1, &mut number)?;
            at += 1 + length;
        }
        if matches!(text.get(at), Some(b'e' | b'E')) {
            return scientific(text, at);
        }
        if negative {
            number = Number { milli: -number.milli, pico: -number.pico };
        }
        Some((number, at))
    }
}

/// The digits from `at`, at most `most` of them that count, and how many there are.
fn digits(text: &[u8], at: usize, most: usize) -> Option<(i64, usize)> {
    let mut value: i64 = 0;
    let mut count = 0;
    while let Some(digit) = text.get(at + count).filter(|byte| byte.is_ascii_digit()) {
        if count == most {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
        count += 1;
    }
    (count > 0).then_some((value, count))
}

/// Adds the decimals from `at`; those behind the twelfth say nothing.
fn fraction(text: &[u8], at: usize, number: &mut Number) -> Option<usize> {
    let mut weight = 100 * PICO_PER_MILLI;
    let (mut sum, mut count) = (0, 0);
    while let Some(digit) = text.get(at + count).filter(|byte| byte.is_ascii_digit()) {
        sum += i64::from(digit - b'0') * weight;
        weight /= 10;
        count += 1;
    }
    number.milli += sum / PICO_PER_MILLI;
    number.pico = sum % PICO_PER_MILLI;
    (count > 0).then_some(count)
}

/// A number with an exponent, as an FLM02 writes the noise of its sums. `at`: where the `e` is.
fn scientific(text: &[u8], at: usize) -> Option<(Number, usize)> {
    let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
    let (_, count) = digits(text, at + 1 + sign, 4)?;
    let end = at + 1 + sign + count;
    let value: f64 = std::str::from_utf8(text.get(..end)?).ok()?.parse().ok()?;
    let milli = (value * 1000.0).trunc();
    if milli.abs() >= LARGEST as f64 {
        return None;
    }
    let pico = ((value * 1000.0 - milli) * PICO_PER_MILLI as f64).round();
    Some((Number { milli: milli as i64, pico: pico as i64 }, end))
}

const PICO_PER_MILLI: i64 = 1_000_000_000;
/// Far above any reading, and far below where sums of two would not fit.
pub(super) const LARGEST: i64 = 1 << 62;

#[cfg(test)]
mod tests {
    use super::*;

    fn milli(text: &str) -> Option<i64> {
        let (number, length) = Number::read(text.as_bytes())?;
        (length == text.len()).then(|| number.rounded())
    }

    #[test]
    fn numbers_are_read_exactly() {
        for (text, expected) in [
            ("0", 0),
            ("-0", 0),
            ("12.345", 12_345),
            ("-12.3455", -12_345),
            ("12.3455", 12_346),
            ("0.029999999998836", 30),
            ("-0.0004999", 0),
            ("999999999999999", 999_999_999_999_999_000),
            ("1e3", 1_000_000),
            ("-2.5E-3", -2),
            ("0.1234567890123456789012345678901234567890", 123),
        ] {
            assert_eq!(milli(text), Some(expected), "{text}");
        }
        for text in ["", "-", ".5", "5.", "01", "+1", "1e", "1e99", "99999999999999999", "NaN"] {
            assert_eq!(milli(text), None, "{text}");
        }
    }
}
