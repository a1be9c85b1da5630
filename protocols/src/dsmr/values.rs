//! Numbers as meters print them, with their units.

/// A decimal number as it was printed: `digits` / 10^`decimals`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    /// All digits as one whole number, with the sign.
    pub digits: i64,
    /// How many of them stand behind the point.
    pub decimals: u8,
}

impl Number {
    /// Reads digits with at most one point, with or without a minus sign; at most 18 digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, plain) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let count = whole.len() + fraction.len();
        if !is_digits(whole) || !is_digits(fraction) || count == 0 || count > MOST_DIGITS {
            return None;
        }
        let all = whole.bytes().chain(fraction.bytes());
        let digits = all.fold(0_i64, |sum, byte| sum * 10 + i64::from(byte - b'0'));
        let decimals = u8::try_from(fraction.len()).ok()?;
        Some(Self { digits: if negative { -digits } else { digits }, decimals })
    }

    /// The number times 10^`power`, to the nearest whole number, half away from zero; `None` when it
    /// is too large.
    #[must_use]
    pub fn scaled(self, power: u8) -> Option<i64> {
        if power >= self.decimals {
            let factor = 10_i64.checked_pow(u32::from(power - self.decimals))?;
            return self.digits.checked_mul(factor);
        }
        // At most 18 decimals were read, and 10^18 fits.
        let divisor = 10_i64.checked_pow(u32::from(self.decimals - power))?;
        let half = divisor / 2 * self.digits.signum();
        Some((self.digits + half) / divisor)
    }
}

/// A value of a telegram: a number and the unit behind the star.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    /// The number.
    pub number: Number,
    /// The unit as it was printed, such as `kWh`; empty where there is none.
    pub unit: String,
}

impl Measure {
    /// Reads `00183.031*kWh`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = text.split_once('*').unwrap_or((text, ""));
        Some(Self { number: Number::parse(number)?, unit: unit.to_owned() })
    }

    /// Energy in thousandths of a watt-hour (or var-hour); `None` when the unit is no energy.
    #[must_use]
    pub fn milli_watt_hours(&self) -> Option<i64> {
        match self.unit.to_ascii_lowercase().as_str() {
            "wh" | "varh" => self.number.scaled(3),
            "kwh" | "kvarh" => self.number.scaled(6),
            "mwh" => self.number.scaled(9),
            // A thousandth of a watt-hour is 3.6 J.
            "gj" => self.number.scaled(9)?.checked_mul(10).map(|tenths| tenths / 36),
            _ => None,
        }
    }

    /// Power in thousandths of a watt (or var, or VA).
    #[must_use]
    pub fn milli_watts(&self) -> Option<i64> {
        match self.unit.to_ascii_lowercase().as_str() {
            "w" | "var" | "va" => self.number.scaled(3),
            "kw" | "kvar" | "kva" => self.number.scaled(6),
            _ => None,
        }
    }

    /// Volume in thousandths of a litre.
    #[must_use]
    pub fn milli_litres(&self) -> Option<i64> {
        match self.unit.to_ascii_lowercase().as_str() {
            "m3" => self.number.scaled(6),
            "dm3" | "l" => self.number.scaled(3),
            _ => None,
        }
    }

    /// Thousandths of the unit `unit`: V, A or Hz.
    #[must_use]
    pub fn milli(&self, unit: &str) -> Option<i64> {
        self.unit.eq_ignore_ascii_case(unit).then(|| self.number.scaled(3)).flatten()
    }
}

/// So many digits fit an `i64`.
const MOST_DIGITS: usize = 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_and_scale_with_rounding() {
        let number = |text| Number::parse(text).unwrap();
        assert_eq!(number("00183.031"), Number { digits: 183_031, decimals: 3 });
        assert_eq!(number("00183.031").scaled(3), Some(183_031));
        assert_eq!(number("0000.47").scaled(3), Some(470));
        assert_eq!(
            [number("1.2345").scaled(3), number("-1.2345").scaled(3)],
            [Some(1235), Some(-1235)]
        );
        assert_eq!(number("999999999999999999").scaled(3), None);
        for text in ["", ".", "-", "1.2.3", "1e5", "+1", "1234567890123456789", "0x1", " 1"] {
            assert_eq!(Number::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn units_decide_what_a_number_is() {
        let measure = |text| Measure::parse(text).unwrap();
        assert_eq!(measure("000071.250*kWh").milli_watt_hours(), Some(71_250_000));
        assert_eq!(measure("12.345*GJ").milli_watt_hours(), Some(3_429_166_666));
        assert_eq!(measure("01.312*kW").milli_watts(), Some(1_312_000));
        assert_eq!(measure("00009.400*m3").milli_litres(), Some(9_400_000));
        assert_eq!(measure("231.5*V").milli("V"), Some(231_500));
        assert_eq!(measure("231.5*V").milli("A"), None);
        assert_eq!(measure("71.250*kW").milli_watt_hours(), None);
    }
}
