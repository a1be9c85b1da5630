//! What a time series query asks for, and the times of the rows that answer it.

use super::params::Params;

/// The archives of Flukso's server: for how long it keeps means over how much time. A finer one is
/// kept for a shorter time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Resolution {
    /// Means over a minute, for a day.
    Minute,
    /// Means over a quarter of an hour, for a week.
    Quarter,
    /// Means over a day, for a year.
    Day,
    /// Means over a week, for ten years.
    Week,
}

/// What is asked for: rows from `start` + 1 resolution to `end` + 1 resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Query {
    /// Unix seconds, a multiple of the resolution.
    pub(super) start: i64,
    /// Unix seconds, a multiple of the resolution.
    pub(super) end: i64,
    /// The spacing of the rows.
    pub(super) resolution: Resolution,
    /// The series of the nights is meant.
    pub(super) nights: bool,
}

/// A query that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadQuery {
    /// Something is needed that is not there.
    #[error("one of interval and start is needed, and not both")]
    IntervalOrStart,
    /// `end` without `start`.
    #[error("end goes with start, not with interval")]
    EndWithInterval,
    /// No interval of this name.
    #[error(
        "interval is {0:?}: minute, 15min, hour, day, week, month, year, decade and night are known"
    )]
    Interval(String),
    /// No resolution of this name.
    #[error("resolution is {0:?}: minute, 15min, day and week are known")]
    Resolution(String),
    /// The interval of a minute has no resolution of its own.
    #[error("interval=minute needs a resolution")]
    NoResolution,
    /// A time that is none.
    #[error("{name} is {value:?}: Unix seconds are meant")]
    Time {
        /// The parameter.
        name: &'static str,
        /// What it says.
        value: String,
    },
    /// It ends before it starts.
    #[error("end is before start")]
    Backwards,
}

impl Resolution {
    /// Seconds between two rows.
    pub(super) fn seconds(self) -> i64 {
        match self {
            Resolution::Minute => 60,
            Resolution::Quarter => 900,
            Resolution::Day => DAY,
            Resolution::Week => 7 * DAY,
        }
    }

    /// The longest range in seconds that it is given out for.
    fn longest(self) -> i64 {
        match self {
            Resolution::Minute => DAY,
            Resolution::Quarter => 7 * DAY,
            Resolution::Day => YEAR,
            Resolution::Week => DECADE,
        }
    }

    /// How many means the archive keeps.
    fn kept(self) -> i64 {
        match self {
            Resolution::Minute => 1440,
            Resolution::Quarter => 672,
            Resolution::Day => 365,
            Resolution::Week => 520,
        }
    }

    fn parse(name: &str) -> Result<Resolution, BadQuery> {
        Ok(match name {
            "minute" => Resolution::Minute,
            "15min" => Resolution::Quarter,
            "day" => Resolution::Day,
            "week" => Resolution::Week,
            _ => return Err(BadQuery::Resolution(name.to_owned())),
        })
    }

    fn coarser(self) -> Option<Resolution> {
        match self {
            Resolution::Minute => Some(Resolution::Quarter),
            Resolution::Quarter => Some(Resolution::Day),
            Resolution::Day => Some(Resolution::Week),
            Resolution::Week => None,
        }
    }
}

impl Query {
    /// Reads the query that is asked at `now`, Unix seconds.
    pub(super) fn read(params: &Params, now: i64) -> Result<Query, BadQuery> {
        let resolution = params.find("resolution").map(Resolution::parse).transpose()?;
        let start = time(params, "start")?;
        let end = time(params, "end")?;
        match (params.find("interval"), start) {
            (Some(_), None) if end.is_some() => Err(BadQuery::EndWithInterval),
            (Some(name), None) => {
                let (interval, usual) = interval(name)?;
                let nights = name == "night";
                // There is one value a night.
                let resolution = resolution.filter(|_| !nights).or(usual);
                let resolution = resolution.ok_or(BadQuery::NoResolution)?;
                let (start, end) = latest(interval, resolution, now);
                Ok(Query { start, end, resolution, nights })
            }
            (None, Some(start)) => {
                let resolution = resolution.unwrap_or(Resolution::Minute);
                let floor = |time: i64| time - time.rem_euclid(resolution.seconds());
                let (start, end) = (floor(start), floor(end.unwrap_or(now)));
                if end < start {
                    return Err(BadQuery::Backwards);
                }
                let (first, last) = latest(DECADE, resolution, now);
                let (start, end) = (start.clamp(first, last), end.clamp(first, last));
                Ok(Query { start, end, resolution, nights: false })
            }
            _ => Err(BadQuery::IntervalOrStart),
        }
    }

    /// The same from the archive that reaches back to its start, or from the one that reaches
    /// furthest. `last`: the latest reading, Unix seconds, from which archives count back.
    pub(super) fn in_archive(self, last: i64) -> Query {
        let mut resolution = self.resolution;
        let reaches = |resolution: Resolution| {
            let step = resolution.seconds();
            last - last.rem_euclid(step) - resolution.kept() * step <= self.start
        };
        while !reaches(resolution)
            && let Some(coarser) = resolution.coarser()
        {
            resolution = coarser;
        }
        let floor = |time: i64| time - time.rem_euclid(resolution.seconds());
        Query { start: floor(self.start), end: floor(self.end), resolution, ..self }
    }

    /// The times of the rows; each stands for the resolution before it.
    pub(super) fn rows(self) -> impl Iterator<Item = i64> {
        let step = self.resolution.seconds();
        (0..=(self.end - self.start) / step).map(move |n| self.start + (n + 1) * step)
    }
}

/// The latest `interval` seconds.
fn latest(interval: i64, resolution: Resolution, now: i64) -> (i64, i64) {
    let step = resolution.seconds();
    let floor = |time: i64| time - time.rem_euclid(step);
    let end = floor(now - 1);
    (floor(end - interval.min(resolution.longest()) + step), end)
}

/// Its seconds, and its resolution where none is given.
fn interval(name: &str) -> Result<(i64, Option<Resolution>), BadQuery> {
    use Resolution::{Day, Minute, Quarter, Week};
    Ok(match name {
        "minute" => (60, None),
        "15min" => (900, Some(Minute)),
        "hour" => (3600, Some(Minute)),
        "day" => (DAY, Some(Quarter)),
        "week" => (7 * DAY, Some(Day)),
        "month" | "night" => (28 * DAY, Some(Day)),
        "year" => (YEAR, Some(Week)),
        "decade" => (DECADE, Some(Week)),
        _ => return Err(BadQuery::Interval(name.to_owned())),
    })
}

fn time(params: &Params, name: &'static str) -> Result<Option<i64>, BadQuery> {
    let Some(text) = params.find(name) else { return Ok(None) };
    // Digits alone, and not so many that arithmetic could overflow.
    let digits = text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = text.parse().ok().filter(|_| digits);
    value.map(Some).ok_or_else(|| BadQuery::Time { name, value: text.to_owned() })
}

const DAY: i64 = 86_400;
const YEAR: i64 = 365 * DAY;
const DECADE: i64 = 10 * YEAR;

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The cases of `captures/flukso/cloudapi/alignment.json`.
    #[test]
    fn every_query_is_aligned_as_flukso_does() {
        let text = include_str!("../../../tests/captures/flukso/alignment.json");
        let cases: Value = serde_json::from_str(text).unwrap();
        let now = cases["now"].as_i64().unwrap();
        let cases = cases["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 20);
        for case in cases {
            let pairs = case["query"].as_object().unwrap().iter();
            let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
            let query: Vec<_> = pairs.map(|(name, v)| format!("{name}={}", text(v))).collect();
            let read = Query::read(&Params::decoded(&query.join("&")), now);
            let wanted = &case["aligned"];
            assert_eq!(read.is_ok(), case["status"] == 200, "{case}");
            let Ok(query) = read else { continue };
            assert_eq!(wanted["start"], query.start, "{case}");
            assert_eq!(wanted["end"], query.end, "{case}");
            assert_eq!(wanted["resolution"], query.resolution.seconds(), "{case}");
            assert_eq!(wanted["first_row"], query.rows().next().unwrap(), "{case}");
            assert_eq!(wanted["last_row"], query.rows().last().unwrap(), "{case}");
            assert_eq!(wanted["rows"], query.rows().count(), "{case}");
        }
    }

    #[test]
    fn what_is_no_query_is_told_apart() {
        let read = |query: &str| Query::read(&Params::decoded(query), 1_310_042_702).unwrap_err();
        assert!(matches!(read("interval=day&resolution=hour"), BadQuery::Resolution(_)));
        for time in ["x", "-5", "1e9", "1.5", "9999999999999", "+5"] {
            assert!(matches!(read(&format!("start={time}")), BadQuery::Time { .. }), "{time}");
        }
        assert!(matches!(read("end=5"), BadQuery::IntervalOrStart));
    }

    #[test]
    fn far_times_are_brought_to_what_there_can_be() {
        let now = 1_310_042_702;
        let query = |text: &str| Query::read(&Params::decoded(text), now).unwrap();
        let past = query("start=0&end=100&resolution=day");
        assert_eq!(past.rows().count(), 1);
        assert_eq!(past.start, latest(DECADE, Resolution::Day, now).0);
        assert_eq!(query("start=0&resolution=week").rows().count(), 522);
        assert_eq!(query("start=999999999999&end=999999999999").rows().count(), 1);
    }

    #[test]
    fn an_archive_that_does_not_reach_back_gives_way_to_a_coarser_one() {
        let now = 1_310_042_702;
        let query = |text: &str| Query::read(&Params::decoded(text), now).unwrap();
        let day = query("interval=month&resolution=minute");
        assert_eq!(day.in_archive(now), day);
        assert_eq!(query("interval=decade").in_archive(now), query("interval=decade"));
        // Everything older than the archive of minutes: a meter ahead of our clock.
        let coarse = day.in_archive(now + 7200);
        assert_eq!(coarse.resolution, Resolution::Quarter);
        assert!(coarse.start <= day.start && coarse.start % 900 == 0);
    }
}
