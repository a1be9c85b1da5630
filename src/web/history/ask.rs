//! What a request for a history asks: from when to when, in which steps, in whose local time.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::web::flukso::Params;

/// A request that can be answered.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// Unix seconds.
    pub(super) from: i64,
    /// Unix seconds; the first that is not asked for.
    pub(super) to: i64,
    /// How long each answer is.
    pub(super) resolution: Resolution,
    /// Whose days these are.
    pub(super) zone: TimeZone,
}

/// How a span is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resolution {
    /// Not at all: the readings as they came.
    Raw,
    /// Seconds, counted from each local midnight.
    Seconds(i64),
    /// Local days.
    Days(i64),
    /// Weeks, which begin on Monday.
    Weeks(i64),
    /// Months of the calendar.
    Months(i64),
    /// Years of the calendar.
    Years(i64),
}

/// A request that cannot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadAsk {
    #[error(
        "{name} is {value:?}: Unix seconds, 2026-11-21T18:00:00Z, or a local 2026-11-21 or \
         2026-11-21T18:00 between 1970 and 9998 are meant"
    )]
    Time { name: &'static str, value: String },
    #[error("tz is {0:?}: the name of a time zone such as Europe/Brussels is meant")]
    Zone(String),
    #[error(
        "resolution is {0:?}: raw, or a number and s, m, h, d, w, M (months) or y is meant; up to a \
         day in s, m and h"
    )]
    Resolution(String),
    #[error("to ({to}) is not after from ({from})")]
    Backwards { from: i64, to: i64 },
    #[error("from is needed")]
    NoFrom,
}

impl Ask {
    /// Reads what is asked at `now`. `home`: the gateway's own zone.
    pub(super) fn read(params: &Params, now: i64, home: &TimeZone) -> Result<Ask, BadAsk> {
        let zone = match params.find("tz") {
            Some(name) => {
                TimeZone::get(name).map_err(|_| BadAsk::Zone(name.chars().take(80).collect()))?
            }
            None => home.clone(),
        };
        let from = time("from", params, &zone)?.ok_or(BadAsk::NoFrom)?;
        // What was read in this very second belongs to what is asked for.
        let to = time("to", params, &zone)?.unwrap_or(now + 1);
        if to <= from {
            return Err(BadAsk::Backwards { from, to });
        }
        let resolution = match params.find("resolution") {
            Some(text) => {
                Resolution::parse(text).ok_or_else(|| BadAsk::Resolution(text.to_owned()))?
            }
            None => Resolution::usual(to - from),
        };
        Ok(Ask { from, to, resolution, zone })
    }
}

impl Resolution {
    fn parse(text: &str) -> Option<Resolution> {
        if text == "raw" {
            return Some(Resolution::Raw);
        }
        let unit = text.trim_start_matches(|digit: char| digit.is_ascii_digit());
        let count: i64 = match &text[..text.len() - unit.len()] {
            "" => 1,
            digits if digits.len() <= 5 => digits.parse().ok()?,
            _ => return None,
        };
        let seconds = |each: i64| {
            let seconds = count * each;
            (seconds <= DAY).then_some(Resolution::Seconds(seconds))
        };
        if count == 0 {
            return None;
        }
        match unit {
            "s" => seconds(1),
            "m" | "min" | "minute" => seconds(60),
            "h" | "hour" => seconds(3600),
            "d" | "day" => Some(Resolution::Days(count)),
            "w" | "week" => Some(Resolution::Weeks(count)),
            "M" | "month" => Some(Resolution::Months(count)),
            "y" | "year" => Some(Resolution::Years(count)),
            _ => None,
        }
    }

    /// Some dozens of answers for a span of so many seconds.
    fn usual(span: i64) -> Resolution {
        match span {
            ..=7200 => Resolution::Seconds(60),
            7201..=172_800 => Resolution::Seconds(900),
            172_801..=1_209_600 => Resolution::Seconds(3600),
            1_209_601..=10_368_000 => Resolution::Days(1),
            _ => Resolution::Months(1),
        }
    }
}

fn time(name: &'static str, params: &Params, zone: &TimeZone) -> Result<Option<i64>, BadAsk> {
    let Some(text) = params.find(name) else { return Ok(None) };
    let seconds = seconds(text, zone).filter(|seconds| (0..=LAST).contains(seconds));
    let bad = || BadAsk::Time { name, value: text.chars().take(80).collect() };
    seconds.map(Some).ok_or_else(bad)
}

fn seconds(text: &str, zone: &TimeZone) -> Option<i64> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    // Whoever writes +01:00 into an address without escaping it has written a blank.
    let text = text.replace(' ', "+");
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment.as_second());
    }
    let local = match text.parse::<Date>() {
        Ok(date) if !text.contains('T') => date.at(0, 0, 0, 0),
        _ => text.parse::<DateTime>().ok()?,
    };
    Some(local.to_zoned(zone.clone()).ok()?.timestamp().as_second())
}

const DAY: i64 = 86_400;
/// The end of the year 9998: local times around it are still times.
const LAST: i64 = 253_370_764_799;

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(query: &str) -> Result<Ask, BadAsk> {
        let home = TimeZone::get("Europe/Brussels").unwrap();
        Ask::read(&Params::decoded(query), 1_800_000_000, &home)
    }

    #[test]
    fn times_are_read_in_every_form() {
        let begin = 1_795_215_600;
        for from in [
            "1795215600",
            "2026-11-21",
            "2026-11-21T00:00",
            "2026-11-20T23:00:00Z",
            "2026-11-21T00:00:00%2B01:00",
            "2026-11-21T00:00:00+01:00",
        ] {
            assert_eq!(ask(&format!("from={from}")).unwrap().from, begin, "{from}");
        }
        let ask = ask("from=2026-11-21&to=2026-11-22&tz=America/New_York").unwrap();
        assert_eq!((ask.from, ask.to), (begin + 6 * 3600, begin + 30 * 3600));
    }

    #[test]
    fn what_cannot_be_answered_is_told() {
        let error = |query: &str| ask(query).unwrap_err().to_string();
        assert_eq!(error(""), "from is needed");
        for time in ["yesterday", "-5", "2026-13-01", "9999999999999", "2026-11-21T25:00", "1.5"] {
            assert!(error(&format!("from={time}")).starts_with("from is"), "{time}");
        }
        for zone in ["Mars/Olympus", "../../etc/passwd", "%00"] {
            assert!(error(&format!("from=1&tz={zone}")).starts_with("tz is"), "{zone}");
        }
        for resolution in ["0s", "5", "x", "25h", "99999999999d", "-1d", "1D", "é"] {
            let error = error(&format!("from=1&resolution={resolution}"));
            assert!(error.starts_with("resolution is"), "{resolution}: {error}");
        }
        assert_eq!(error("from=5&to=5"), "to (5) is not after from (5)");
    }
}
