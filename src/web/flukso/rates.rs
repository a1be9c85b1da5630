//! From what a counter did to the rows of Flukso's server: means, limits and what is not known.

use std::fmt::Write as _;

use super::align::{Query, Resolution};
use crate::history::Bucket;
use crate::model::Milli;

/// What is known of a counter over one span of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stretch {
    /// By how much it rose, in its unit.
    pub(super) change: f64,
    /// For how many of the span's seconds that is known.
    pub(super) known: f64,
}

impl Stretch {
    /// What a bucket tells. Between two readings a counter moves evenly, however far they are apart:
    /// Flukso's server bridges gaps of up to a hundred days.
    pub(super) fn of(bucket: &Bucket) -> Stretch {
        let Some((begin, end)) = bucket.begin.zip(bucket.end) else {
            return Stretch { change: 0.0, known: 0.0 };
        };
        let change = Milli(end.0 - begin.0).to_f64();
        let span = (bucket.to - bucket.from) as f64;
        // The mean per hour is over the time between readings: what lies before the first and after
        // the last is no part of it.
        let known = match bucket.mean {
            Some(mean) if mean != 0.0 => (change * 3600.0 / mean).clamp(0.0, span),
            _ => span,
        };
        Stretch { change, known }
    }
}

/// A row: its time, and the value of the span before it where that is known.
pub(super) type Row = (i64, Option<i64>);

/// The seconds of the grid that rows of a resolution are made from. A minute is the server's own; what
/// is asked for over weeks and years comes from sums over quarters of an hour and days.
pub(super) fn grid(resolution: Resolution) -> i64 {
    match resolution {
        Resolution::Minute => 60,
        Resolution::Quarter | Resolution::Day => 900,
        Resolution::Week => 86_400,
    }
}

/// The ends of the spans that `query` needs, rising; one more than there are spans.
pub(super) fn bounds(query: Query) -> Vec<i64> {
    let end = query.end + query.resolution.seconds();
    let step = grid(query.resolution);
    (0..=(end - query.start) / step).map(|n| query.start + n * step).collect()
}

/// Rows from the spans between [`bounds`]. Nothing is said of a row that is not over yet at `last`,
/// the latest reading. `factor`: from the counter's units per second to what is asked for.
pub(super) fn rows(query: Query, stretches: &[Stretch], last: i64, factor: f64) -> Vec<Row> {
    let step = grid(query.resolution);
    let each = usize::try_from(query.resolution.seconds() / step).unwrap_or(1).max(1);
    let means = stretches.chunks(each).map(|spans| mean(spans, each, step as f64));
    let value = |time: i64, mean: Option<f64>| {
        mean.filter(|_| time <= last).map(|mean| (mean * factor).round() as i64)
    };
    query.rows().zip(means).map(|(time, mean)| (time, value(time, mean))).collect()
}

/// Rows of nights, which lie at `spans`.
pub(super) fn nights(
    query: Query,
    spans: &[(i64, i64)],
    stretches: &[Stretch],
    last: i64,
    factor: f64,
) -> Vec<Row> {
    let nights = query.rows().zip(spans).zip(stretches);
    let value = |((time, (begin, end)), night): ((i64, &(i64, i64)), &Stretch)| {
        let rate = rate(*night, (end - begin) as f64).filter(|_| *end <= last);
        (time, rate.map(|rate| (rate * factor).round() as i64))
    };
    nights.map(value).collect()
}

/// The mean rate of the spans that are known, if those are half of all.
fn mean(spans: &[Stretch], all: usize, step: f64) -> Option<f64> {
    let rates = spans.iter().filter_map(|span| rate(*span, step));
    let (count, sum) = rates.fold((0, 0.0), |(count, sum), rate| (count + 1, sum + rate));
    (count > 0 && count * 2 >= all).then(|| sum / count as f64)
}

/// The rate of one span, if half of it is known and the counter can have done that.
fn rate(span: Stretch, step: f64) -> Option<f64> {
    let rate = span.change / span.known;
    (span.known > 0.0 && span.known * 2.0 >= step && rate.abs() <= LIMIT).then_some(rate)
}

/// The factor of a unit.
pub(super) fn factor(unit: &str) -> Option<f64> {
    UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

/// `[[T,v],…]` with `"nan"` for what is not known.
pub(super) fn json(rows: &[Row]) -> String {
    let mut text = String::with_capacity(16 * rows.len() + 2);
    text.push('[');
    for (place, (time, value)) in rows.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = match value {
            Some(value) => write!(text, "{comma}[{time},{value}]"),
            None => write!(text, "{comma}[{time},\"nan\"]"),
        };
    }
    text.push(']');
    text
}

/// Lines `T,v`.
pub(super) fn csv(rows: &[Row]) -> String {
    let mut text = String::with_capacity(16 * rows.len());
    for (time, value) in rows {
        let _ = match value {
            Some(value) => write!(text, "{time},{value}\r\n"),
            None => write!(text, "{time},nan\r\n"),
        };
    }
    text
}

/// The names of all units, for those who ask for another.
pub(super) fn units() -> String {
    UNITS.map(|(name, _)| name).join(", ")
}

const UNITS: [(&str, f64); 7] = [
    ("watt", 3600.0),
    ("kwhperyear", 31_536.0),
    ("eurperyear", 5676.0),
    ("audperyear", 5991.0),
    ("lpermin", 60.0),
    ("lperday", 86_400.0),
    ("m3peryear", 31_536.0),
];

/// Units of the counter per second, either way: what is beyond is no reading.
const LIMIT: f64 = 20.0;

#[cfg(test)]
mod tests {
    use super::super::params::Params;
    use super::*;

    #[test]
    fn units_are_flukso_s() {
        let text = include_str!("../../../tests/captures/flukso/factors.json");
        let factors: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text).unwrap();
        assert_eq!(factors.len(), UNITS.len());
        for (unit, wanted) in factors {
            assert_eq!(factor(&unit), wanted.as_f64(), "{unit}");
        }
        assert_eq!(factor("Watt"), None);
    }

    #[test]
    fn rows_are_means_of_what_is_known() {
        let (day, quarter) = (86_400, 900.0);
        let query = Query { start: 0, end: day, resolution: Resolution::Day, nights: false };
        assert_eq!(bounds(query).len(), 2 * 96 + 1);
        let known = |change: f64, known: f64| Stretch { change, known };
        // 47 quarters unknown, one half known, 48 at 15 Wh each.
        let mut stretches = vec![known(0.0, 0.0); 47];
        stretches.push(known(7.5, 450.0));
        stretches.extend([known(15.0, quarter); 48]);
        stretches.extend([known(30.0, quarter); 96]);
        let told = |stretches: &[Stretch], last: i64| rows(query, stretches, last, 3600.0);
        assert_eq!(told(&stretches, 2 * day), [(day, Some(60)), (2 * day, Some(120))]);
        assert_eq!(told(&stretches, 2 * day - 1), [(day, Some(60)), (2 * day, None)]);
        // One more unknown makes it less than half.
        stretches[47] = known(7.5, 449.0);
        stretches[48] = known(0.0, 0.0);
        assert_eq!(told(&stretches, 2 * day)[0], (day, None));
        // 20 units a second are the most, either way.
        stretches[..96].fill(known(-18_000.0, quarter));
        assert_eq!(told(&stretches, 2 * day)[0], (day, Some(-72_000)));
        stretches[..96].fill(known(18_000.1, quarter));
        assert_eq!(told(&stretches, 2 * day)[0], (day, None));
        stretches[..48].fill(known(90.0, quarter));
        assert_eq!(told(&stretches, 2 * day)[0], (day, Some(360)));
    }

    #[test]
    fn a_bucket_tells_how_much_of_it_is_known() {
        let bucket = |change: i64, mean: f64| Bucket {
            from: 0,
            to: 900,
            begin: Some(Milli(5)),
            end: Some(Milli(5 + change)),
            mean: Some(mean),
            ..Bucket::default()
        };
        // 1.5 Wh at 12 W: half of the quarter.
        assert_eq!(Stretch::of(&bucket(1500, 12.0)), Stretch { change: 1.5, known: 450.0 });
        assert_eq!(Stretch::of(&bucket(-1500, -6.0)), Stretch { change: -1.5, known: 900.0 });
        assert_eq!(Stretch::of(&bucket(0, 0.0)), Stretch { change: 0.0, known: 900.0 });
        let nothing = Bucket { from: 0, to: 900, ..Bucket::default() };
        assert_eq!(Stretch::of(&nothing), Stretch { change: 0.0, known: 0.0 });
    }

    #[test]
    fn rows_are_written_as_json_and_csv() {
        let rows = [(60, Some(-3)), (120, None)];
        assert_eq!(json(&rows), r#"[[60,-3],[120,"nan"]]"#);
        assert_eq!(json(&[]), "[]");
        assert_eq!(csv(&rows), "60,-3\r\n120,nan\r\n");
    }

    #[test]
    fn bounds_fit_every_resolution() {
        for text in ["interval=decade", "interval=year&resolution=day", "interval=hour"] {
            let query = Query::read(&Params::decoded(text), 1_310_042_702).unwrap();
            let bounds = bounds(query);
            assert_eq!(bounds.last(), query.rows().last().as_ref(), "{text}");
        }
    }
}
