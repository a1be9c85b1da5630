//! `interval=night`: for each local day the mean rate between two and five in the morning, when
//! little is switched on.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::align::Query;

/// The night of each row: its first and its last second. A row of a day in UTC has the night of the
/// local day that it is noon in, so that each night is in one row wherever the gateway stands.
pub(super) fn spans(query: Query, zone: &TimeZone) -> Vec<(i64, i64)> {
    let half = query.resolution.seconds() / 2;
    query.rows().map(|time| span(time - half, zone)).collect()
}

fn span(noon: i64, zone: &TimeZone) -> (i64, i64) {
    let Ok(noon) = Timestamp::from_second(noon) else { return (0, 0) };
    let date = noon.to_zoned(zone.clone()).date();
    (at(date, BEGIN, zone), at(date, END, zone))
}

/// A local time that is left out in spring is the one an hour later.
fn at(date: Date, hour: i8, zone: &TimeZone) -> i64 {
    let moment = date.at(hour, 0, 0, 0).to_zoned(zone.clone());
    moment.map_or(0, |moment| moment.timestamp().as_second())
}

/// Hours, local.
const BEGIN: i8 = 2;
const END: i8 = 5;

#[cfg(test)]
mod tests {
    use super::super::align::Resolution;
    use super::*;

    #[test]
    fn each_local_night_is_in_one_row() {
        let start: Timestamp = "2026-03-20T00:00:00Z".parse().unwrap();
        let start = start.as_second();
        let query =
            Query { start, end: start + 14 * 86_400, resolution: Resolution::Day, nights: true };
        let zones = ["Europe/Brussels", "Asia/Karachi", "Pacific/Auckland", "America/Los_Angeles"];
        for name in zones {
            let zone = TimeZone::get(name).unwrap();
            let spans = spans(query, &zone);
            for pair in spans.windows(2) {
                let apart = pair[1].0 - pair[0].0;
                assert!((82_800..=90_000).contains(&apart), "{name} {pair:?}");
            }
        }
        let brussels = TimeZone::get("Europe/Brussels").unwrap();
        let lengths: Vec<_> =
            spans(query, &brussels).iter().map(|(begin, end)| (end - begin) / 3600).collect();
        // On the 29th two o'clock is three.
        assert_eq!(lengths, [3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 3, 3, 3, 3, 3]);
    }
}
