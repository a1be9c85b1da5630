//! From what a counter did to the rows of Flukso's server: means, and what is not known.

use std::fmt::Write as _;

use super::align::Query;
use crate::history::{Flow, Limits};
use crate::model::Milli;

/// A row: its time, and the value of the span before it where that is known.
pub(super) type Row = (i64, Option<i64>);

/// What Flukso's server believes of a counter: gaps of a hundred days are bridged, and 20 units a second
/// are the most.
pub(super) const LIMITS: Limits = Limits { gap: 100 * 86_400, rate: Milli(20_000) };

/// The ends of the spans that the rows of `query` tell of, rising; one more than there are rows.
pub(super) fn bounds(query: Query) -> Vec<i64> {
    std::iter::once(query.start).chain(query.rows()).collect()
}

/// Rows from the spans between [`bounds`]. Nothing is said of a row that is not over yet at `last`,
/// the latest reading. `factor`: from the counter's units per second to what is asked for.
pub(super) fn rows(query: Query, flows: &[Flow], last: i64, factor: f64) -> Vec<Row> {
    let span = query.resolution.seconds();
    let value = |(time, flow): (i64, &Flow)| {
        let rate = rate(*flow, span).filter(|_| time <= last);
        (time, rate.map(|rate| (rate * factor).round() as i64))
    };
    query.rows().zip(flows).map(value).collect()
}

/// Rows of nights, which lie at `spans`.
pub(super) fn nights(
    query: Query,
    spans: &[(i64, i64)],
    flows: &[Flow],
    last: i64,
    factor: f64,
) -> Vec<Row> {
    let nights = query.rows().zip(spans).zip(flows);
    let value = |((time, (begin, end)), night): ((i64, &(i64, i64)), &Flow)| {
        let rate = rate(*night, end - begin).filter(|_| *end <= last);
        (time, rate.map(|rate| (rate * factor).round() as i64))
    };
    nights.map(value).collect()
}

/// The mean per second of what is known of a span, if that is half of it.
fn rate(flow: Flow, span: i64) -> Option<f64> {
    let enough = flow.known > 0 && flow.known * 2 >= span.unsigned_abs();
    enough.then(|| flow.change.to_f64() / flow.known as f64)
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

#[cfg(test)]
mod tests {
    use super::super::align::Resolution;
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
        let day = 86_400;
        let query = Query { start: 0, end: day, resolution: Resolution::Day, nights: false };
        assert_eq!(bounds(query), [0, day, 2 * day]);
        let known = |change: i64, known: u64| Flow { change: Milli(change), known };
        // Half a day at 60 W, and a whole one at 120 W.
        let flows = [known(720_000, 43_200), known(2_880_000, 86_400)];
        let told = |flows: &[Flow], last: i64| rows(query, flows, last, 3600.0);
        assert_eq!(told(&flows, 2 * day), [(day, Some(60)), (2 * day, Some(120))]);
        assert_eq!(told(&flows, 2 * day - 1), [(day, Some(60)), (2 * day, None)]);
        // One second less is less than half.
        let flows = [known(720_000, 43_199), known(0, 86_400)];
        assert_eq!(told(&flows, 2 * day), [(day, None), (2 * day, Some(0))]);
        assert_eq!(told(&[Flow::default(); 2], 2 * day), [(day, None), (2 * day, None)]);
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
