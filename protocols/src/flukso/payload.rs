//! Readings: `[t,value,"unit"]`.
//!
//! Both generations are read: FLM02 writes no blanks and no trailing zeros, FLM03 one blank after
//! each comma and no or exactly three decimals. Values are carried as exact thousandths.

use std::str;

/// A reading as it stands in a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading<'a> {
    /// Unix seconds.
    pub time: i64,
    /// The value in thousandths, as it is written.
    pub milli: i64,
    /// The unit; may be empty.
    pub unit: &'a str,
    /// It is written as an FLM03's sensor daemon writes what has a fraction: blanks after the
    /// commas, and exactly three decimals.
    pub daemon_fraction: bool,
}

/// Why a payload is no reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// It is not UTF-8 text.
    #[error("it is not text")]
    NotText,
    /// It is longer than any reading.
    #[error("it is longer than a reading can be")]
    TooLong,
    /// It does not begin with `[`.
    #[error("it is no list")]
    NoList,
    /// What should be the time is no whole number.
    #[error("its time is no whole number of seconds")]
    Time,
    /// The time is before any that a device's clock can have, or in milliseconds.
    #[error("its time {0} is no time in seconds since 1970")]
    TimeRange(i64),
    /// There is no plain number where the value should be.
    #[error("its value is no plain number")]
    Value,
    /// The value does not fit thousandths in 64 bits.
    #[error("its value is too large")]
    ValueRange,
    /// There is no text where the unit should be.
    #[error("it has no unit")]
    Unit,
    /// Something follows.
    #[error("it does not end after the unit")]
    End,
}

impl<'a> Reading<'a> {
    /// Reads a payload.
    ///
    /// # Errors
    /// What is wrong with it. Nothing is guessed: a value in quotes, `null`, `NaN`, an exponent, a
    /// fraction of a second, milliseconds and a missing unit are all refused.
    ///
    /// Source: protocol note, section 2.1.
    pub fn read(payload: &'a [u8]) -> Result<Reading<'a>, PayloadError> {
        if payload.len() > LONGEST {
            return Err(PayloadError::TooLong);
        }
        let text = str::from_utf8(payload).map_err(|_| PayloadError::NotText)?.trim_ascii();
        let rest = text.strip_prefix('[').ok_or(PayloadError::NoList)?;
        let (time, rest) = rest.split_once(',').ok_or(PayloadError::Time)?;
        let time = whole(time.trim_ascii()).ok_or(PayloadError::Time)?;
        if !TIMES.contains(&time) {
            return Err(PayloadError::TimeRange(time));
        }
        let (value, unit) = match rest.split_once(',') {
            Some((value, rest)) => (value, Some(rest)),
            None => (rest.trim_end_matches([']', ' ']), None),
        };
        let (milli, decimals) = decimal(value.trim_ascii())?;
        let rest = unit.ok_or(PayloadError::Unit)?;
        let (unit, rest) = rest
            .trim_ascii_start()
            .strip_prefix('"')
            .and_then(|rest| rest.split_once('"'))
            .ok_or(PayloadError::Unit)?;
        if unit.contains(['\\', '\n', '\r', '\0']) {
            return Err(PayloadError::Unit);
        }
        if rest.trim_ascii() != "]" {
            return Err(PayloadError::End);
        }
        let daemon_fraction = value.starts_with(' ') && decimals == 3;
        Ok(Reading { time, milli, unit, daemon_fraction })
    }

    /// The value that an FLM03's clamp gauge stands for, in thousandths: a negative one with a
    /// fraction is written as its floor and the positive fraction, -12.25 as `-13.750`.
    ///
    /// Only for gauges of clamps; what other programs on the device write is right as it is.
    ///
    /// Source: protocol note, section 2.1, derived from the source code of flxd.
    pub fn clamp_milli(&self) -> i64 {
        let fraction = -(self.milli % 1000);
        if self.daemon_fraction && self.milli < 0 && fraction > 0 {
            self.milli + 2 * fraction
        } else {
            self.milli
        }
    }
}

fn whole(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// A plain decimal number in thousandths, rounded half away from zero, and how many decimals it has.
fn decimal(text: &str) -> Result<(i64, usize), PayloadError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole_part, fraction) = match digits.split_once('.') {
        Some((_, "")) => return Err(PayloadError::Value),
        Some((whole_part, fraction)) => (whole_part, fraction),
        None => (digits, ""),
    };
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole_part.is_empty() || !plain(whole_part) || !plain(fraction) {
        return Err(PayloadError::Value);
    }
    let digit =
        |place: usize| fraction.as_bytes().get(place).map_or(0, |byte| i64::from(byte - b'0'));
    let mut milli = 100 * digit(0) + 10 * digit(1) + digit(2);
    milli += i64::from(digit(3) >= 5);
    let value: i64 = whole_part.parse().map_err(|_| PayloadError::ValueRange)?;
    let value = value.checked_mul(1000).and_then(|value| value.checked_add(milli));
    let value = value.ok_or(PayloadError::ValueRange)?;
    Ok((if text.starts_with('-') { -value } else { value }, fraction.len()))
}

/// From the second that a device's clock counts as set, to where milliseconds begin.
const TIMES: std::ops::RangeInclusive<i64> = 1_234_567_890..=99_999_999_999;
/// A reading has some thirty bytes.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(i64, i64, &str), PayloadError> {
        Reading::read(text.as_bytes()).map(|one| (one.time, one.milli, one.unit))
    }

    #[test]
    fn both_generations_are_read() {
        assert_eq!(read("[1459065180,157,\"W\"]"), Ok((1_459_065_180, 157_000, "W")));
        assert_eq!(read("[1459065180,900.5,\"Wh\"]"), Ok((1_459_065_180, 900_500, "Wh")));
        assert_eq!(read("[1459065180, 12345.678, \"Wh\"]"), Ok((1_459_065_180, 12_345_678, "Wh")));
        assert_eq!(read("[1459065210,-1.37,\"°C\"]"), Ok((1_459_065_210, -1_370, "°C")));
        assert_eq!(read("[1459065210,0.0295,\"\"]"), Ok((1_459_065_210, 30, "")));
    }

    #[test]
    fn a_floor_with_a_fraction_is_undone_for_clamps_alone() {
        let clamp = |text: &'static str| Reading::read(text.as_bytes()).unwrap().clamp_milli();
        assert_eq!(clamp("[1459065180, -13.750, \"W\"]"), -12_250);
        assert_eq!(clamp("[1459065180, -1.250, \"W\"]"), -750);
        assert_eq!(clamp("[1459065180, -13.000, \"W\"]"), -13_000);
        assert_eq!(clamp("[1459065180, -13, \"W\"]"), -13_000);
        assert_eq!(clamp("[1459065180, 13.750, \"W\"]"), 13_750);
        assert_eq!(clamp("[1459065180,-1.375,\"W\"]"), -1_375, "no blanks: another program");
    }

    #[test]
    fn what_is_no_reading_is_refused_with_its_reason() {
        use PayloadError::*;
        for (text, error) in [
            ("", NoList),
            ("{\"t\":1,\"v\":2}", NoList),
            ("157", NoList),
            ("[157]", Time),
            ("[-1,157,\"W\"]", Time),
            ("[1459065180.5,157,\"W\"]", Time),
            ("[157,\"W\"]", TimeRange(157)),
            ("[1459065180000,157,\"W\"]", TimeRange(1_459_065_180_000)),
            ("[1459065180,\"157\",\"W\"]", Value),
            ("[1459065180,null,\"W\"]", Value),
            ("[1459065180,NaN,\"W\"]", Value),
            ("[1459065180,1e3,\"W\"]", Value),
            ("[1459065180,1.,\"W\"]", Value),
            ("[1459065180,.5,\"W\"]", Value),
            ("[1459065180,+5,\"W\"]", Value),
            ("[1459065180,,\"W\"]", Value),
            ("[1459065180,9999999999999999999,\"W\"]", ValueRange),
            ("[1459065180,9223372036854775807,\"W\"]", ValueRange),
            ("[1459065180,157]", Unit),
            ("[1459065180,157,W]", Unit),
            ("[1459065180,157,\"W]", Unit),
            ("[1459065180,157,\"\\u0057\"]", Unit),
            ("[1459065180,157,\"W\"", End),
            ("[1459065180,157,\"W\",1]", End),
            ("[1459065180,157,\"W\"]x", End),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
        assert_eq!(Reading::read(&[b'[', 0xFF]), Err(NotText));
        assert_eq!(Reading::read(&[b' '; 300]), Err(TooLong));
    }
}
