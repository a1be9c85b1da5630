//! Where one answer ends and the next begins.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};

use super::ask::{Ask, Resolution};

/// More answers than one request may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "that would be more than {MOST} answers: ask for a shorter time, or in longer steps by resolution="
)]
pub(super) struct TooMany;

/// `from`, what lies between in steps of the local calendar, and `to`: rising, two at least.
///
/// # Errors
/// When there would be more than [`MOST`] spans.
pub(super) fn bounds(ask: &Ask) -> Result<Vec<i64>, TooMany> {
    let mut bounds = vec![ask.from];
    let mut add = |bound: i64| {
        let last = bounds.last().copied().unwrap_or(ask.from);
        if bound > last {
            bounds.push(bound.min(ask.to));
        }
        if bounds.len() > MOST + 1 { Err(TooMany) } else { Ok(bound < ask.to) }
    };
    match ask.resolution {
        Resolution::Raw => {}
        Resolution::Seconds(step) => seconds(ask, step, add)?,
        Resolution::Days(_)
        | Resolution::Weeks(_)
        | Resolution::Months(_)
        | Resolution::Years(_) => {
            for moment in calendar(ask) {
                if !add(moment)? {
                    break;
                }
            }
        }
    }
    if bounds.last() != Some(&ask.to) {
        bounds.push(ask.to);
    }
    if bounds.len() > MOST + 1 { Err(TooMany) } else { Ok(bounds) }
}

/// Steps from each local midnight; the last of a day may be shorter.
fn seconds(
    ask: &Ask,
    step: i64,
    mut add: impl FnMut(i64) -> Result<bool, TooMany>,
) -> Result<(), TooMany> {
    let mut day = first_day(ask);
    loop {
        let begin = midnight(day, &ask.zone);
        let Ok(next) = day.tomorrow() else { return Ok(()) };
        let end = midnight(next, &ask.zone);
        // Not from midnight on: the request may begin late in the day.
        let mut moment = begin + (ask.from - begin).max(0) / step * step;
        while moment < end {
            if !add(moment)? {
                return Ok(());
            }
            moment += step;
        }
        day = next;
    }
}

/// Local midnights, a number of days, weeks, months or years apart.
fn calendar(ask: &Ask) -> impl Iterator<Item = i64> {
    let first = first_day(ask);
    let begin = match ask.resolution {
        Resolution::Weeks(_) => {
            let past = first.weekday().since(Weekday::Monday);
            first.checked_sub(i64::from(past).days()).unwrap_or(first)
        }
        Resolution::Months(_) => first.first_of_month(),
        Resolution::Years(_) => first.first_of_year(),
        _ => first,
    };
    let resolution = ask.resolution;
    // Counted from the beginning each time: a month after the 31st is not the 31st's business.
    let dates = (0..).map_while(move |n: i64| begin.checked_add(span(resolution, n)?).ok());
    dates.map(|date| midnight(date, &ask.zone))
}

/// `n` steps; `None` beyond any calendar.
fn span(resolution: Resolution, n: i64) -> Option<Span> {
    let span = Span::new();
    match resolution {
        Resolution::Weeks(each) => span.try_weeks(n * each).ok(),
        Resolution::Months(each) => span.try_months(n * each).ok(),
        Resolution::Years(each) => span.try_years(n * each).ok(),
        Resolution::Days(each) => span.try_days(n * each).ok(),
        Resolution::Raw | Resolution::Seconds(_) => None,
    }
}

fn first_day(ask: &Ask) -> Date {
    let moment = Timestamp::from_second(ask.from).unwrap_or_default();
    moment.to_zoned(ask.zone.clone()).date()
}

/// Where a day has no midnight, the first moment that it has.
fn midnight(date: Date, zone: &TimeZone) -> i64 {
    let moment = date.at(0, 0, 0, 0).to_zoned(zone.clone());
    moment.map_or(i64::MAX, |moment| moment.timestamp().as_second())
}

/// Spans that one request may ask for: a month of minutes.
pub(super) const MOST: usize = 50_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::flukso::Params;

    fn bounds_of(query: &str) -> Result<Vec<i64>, TooMany> {
        let home = TimeZone::get("Europe/Brussels").unwrap();
        bounds(&Ask::read(&Params::decoded(query), 1_800_000_000, &home).unwrap())
    }

    fn hours(query: &str) -> Vec<f64> {
        let bounds = bounds_of(query).unwrap();
        bounds.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 3600.0).collect()
    }

    #[test]
    fn days_are_as_long_as_they_are() {
        assert_eq!(hours("from=2026-03-28&to=2026-03-31&resolution=1d"), [24.0, 23.0, 24.0]);
        assert_eq!(hours("from=2026-10-24&to=2026-10-27&resolution=1d"), [24.0, 25.0, 24.0]);
        assert_eq!(hours("from=2026-10-25&to=2026-10-26&resolution=1h").len(), 25);
        assert_eq!(hours("from=2026-03-29&to=2026-03-30&resolution=15m").len(), 92);
        assert_eq!(hours("from=2026-03-29&to=2026-03-30&resolution=6h"), [6.0, 6.0, 6.0, 5.0]);
        // Half an hour of daylight saving, and a day that the calendar left out.
        let lord_howe = "from=2026-04-05&to=2026-04-06&resolution=1h&tz=Australia/Lord_Howe";
        assert_eq!(hours(lord_howe).iter().sum::<f64>(), 24.5);
        assert_eq!(hours("from=2011-12-29&to=2012-01-01&resolution=1d&tz=Pacific/Apia"), [24.0; 2]);
    }

    #[test]
    fn spans_end_with_the_calendar_and_with_the_request() {
        let query = "from=2026-01-31T12:00&to=2026-03-31T12:00&resolution=1M";
        assert_eq!(hours(query), [12.0, 672.0, 731.0]);
        let weeks = hours("from=2026-11-21&to=2026-11-30&resolution=1w");
        assert_eq!(weeks, [48.0, 168.0]);
        assert_eq!(hours("from=2026-01-01&to=2028-01-01&resolution=y"), [8760.0; 2]);
        assert_eq!(hours("from=2026-01-01&to=2026-01-02&resolution=raw"), [24.0]);
        let odd = bounds_of("from=1795217001&to=1795218002&resolution=15m").unwrap();
        assert_eq!(odd, [1_795_217_001, 1_795_217_400, 1_795_218_002]);
    }

    proptest::proptest! {
        #[test]
        fn bounds_rise_from_the_one_end_to_the_other(
            from in 0_i64..260_000_000_000,
            length in 1_i64..4_000_000_000,
            count in 1_u32..100_000,
            unit in "[smhdwMy]",
            zone in "Europe/Brussels|Pacific/Apia|Australia/Lord_Howe|America/Sao_Paulo|UTC",
        ) {
            let query = format!("from={from}&to={}&resolution={count}{unit}&tz={zone}", from + length);
            let home = TimeZone::UTC;
            let Ok(ask) = Ask::read(&Params::decoded(&query), 1_800_000_000, &home) else {
                return Ok(());
            };
            if let Ok(bounds) = bounds(&ask) {
                let ends = (bounds.first().copied(), bounds.last().copied());
                proptest::prop_assert_eq!(ends, (Some(from), Some(from + length)));
                proptest::prop_assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]));
            }
        }
    }

    #[test]
    fn too_many_are_refused_before_they_are_made() {
        assert_eq!(bounds_of("from=0&to=253370764799&resolution=1s"), Err(TooMany));
        assert_eq!(bounds_of("from=0&to=253370764799&resolution=1d"), Err(TooMany));
        assert!(bounds_of("from=0&to=253370764799&resolution=1y").unwrap().len() < 9000);
        assert!(bounds_of("from=253370764000&to=253370764799&resolution=99999y").is_ok());
        assert!(bounds_of("from=2026-10-01&to=2026-11-01&resolution=1m").is_ok());
    }
}
