//! Times as meters print them: local, with a mark that tells summer from winter.

/// A moment as a telegram has it: `YYMMDDhhmmss`, and `S` or `W` where the meter tells whether summer
/// time holds. Without a mark it is the local time of Central Europe.
///
/// Every network with such a port keeps Central European Time. Swedish meters print `W` all year: their
/// clock does not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time(String);

/// A text that is no time of this kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no time: year, month, day, hour, minute, second in two digits each, then S or W"
)]
pub struct BadTime(String);

impl Time {
    /// The time as it was printed.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.chars().take(LONGEST).collect())
    }

    /// The text as it was printed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Unix seconds, UTC.
    ///
    /// # Errors
    /// [`BadTime`] for what is not on any calendar; meters print such things before their clock is set
    /// and for an attached meter that was never heard.
    pub fn unix_seconds(&self) -> Result<i64, BadTime> {
        let bad = || BadTime(self.0.clone());
        let mark = self.0.as_bytes().get(12);
        let fits = self.0.len() == 12 + usize::from(mark.is_some());
        let local = self.local().filter(|_| fits).ok_or_else(bad)?;
        match mark {
            Some(b'S') => Ok(local - SUMMER),
            Some(b'W') => Ok(local - WINTER),
            Some(_) => Err(bad()),
            // The hour that comes twice in autumn is taken for its first.
            None if is_summer_time(local - SUMMER) => Ok(local - SUMMER),
            None => Ok(local - WINTER),
        }
    }

    /// The date and time read as if they were UTC.
    fn local(&self) -> Option<i64> {
        let part = |at: usize| {
            let pair = self.0.get(at..at + 2)?;
            pair.bytes().all(|byte| byte.is_ascii_digit()).then(|| pair.parse::<i64>().ok())?
        };
        let (year, month, day) = (2000 + part(0)?, part(2)?, part(4)?);
        let (hour, minute, second) = (part(6)?, part(8)?, part(10)?);
        let valid = (1..=12).contains(&month)
            && (1..=days_in(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        valid.then(|| days_since_1970(year, month, day) * DAY + hour * 3600 + minute * 60 + second)
    }
}

/// Whether summer time holds in the European Union at `utc` (Unix seconds): from 01:00 UTC on the last Sunday of March to the
/// same hour on that of October (directive 2000/84/EC).
#[must_use]
pub fn is_summer_time(utc: i64) -> bool {
    let year = 1970 + utc.div_euclid(DAY) * 400 / 146_097;
    // The estimate may be off by one at a year's turn, which is far from either change.
    let change = |month| last_sunday(year, month) * DAY + 3600;
    (change(3)..change(10)).contains(&utc)
}

/// Days since 1970 of the last Sunday of a month of 31 days.
fn last_sunday(year: i64, month: i64) -> i64 {
    let last = days_since_1970(year, month, 31);
    // 1970 began on a Thursday.
    last - (last + 4).rem_euclid(7)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1 January 1970 in the Gregorian calendar; years here begin in March, so that a leap day is
/// the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

const DAY: i64 = 86_400;
const WINTER: i64 = 3600;
const SUMMER: i64 = 7200;
/// Longer texts are no times anyway.
const LONGEST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(text: &str) -> Option<i64> {
        Time::new(text).unix_seconds().ok()
    }

    #[test]
    fn marks_tell_summer_from_winter() {
        // `date -u -d '2014-07-29 11:00:00' +%s`
        assert_eq!(unix("140729130000S"), Some(1_406_631_600));
        assert_eq!(unix("101209112500W"), Some(1_291_890_300));
        // The hour that comes twice: 00:30 and 01:30 UTC on 31 October 2021.
        assert_eq!(unix("211031023000S"), Some(1_635_640_200));
        assert_eq!(unix("211031023000W"), Some(1_635_643_800));
    }

    #[test]
    fn without_a_mark_the_rule_of_central_europe_holds() {
        assert_eq!(unix("120515210000"), unix("120515210000S"));
        assert_eq!(unix("121215210000"), unix("121215210000W"));
        assert_eq!(unix("210328015959"), unix("210328015959W"));
        assert_eq!(unix("210328030000"), unix("210328030000S"));
        assert_eq!(unix("211031015959"), unix("211031015959S"));
        assert_eq!(unix("211031023000"), unix("211031023000S"));
        assert_eq!(unix("211031030000"), unix("211031030000W"));
        for year in 10..60 {
            assert_eq!(unix(&format!("{year}0101000000")), unix(&format!("{year}0101000000W")));
            assert_eq!(unix(&format!("{year}1231235959")), unix(&format!("{year}1231235959W")));
        }
    }

    #[test]
    fn what_is_on_no_calendar_is_refused() {
        for text in [
            "",
            "632525252525W",
            "210229120000W",
            "210431120000S",
            "211301120000W",
            "210100120000W",
            "210101240000W",
            "210101120060W",
            "2101011200W",
            "210101120000X",
            "210101120000WW",
            "21010112000é",
            "+10101120000W",
        ] {
            assert!(unix(text).is_none(), "{text:?}");
        }
        assert!(unix("200229120000W").is_some());
    }
}
