//! Time series as Flukso's server has them, of a past that it would not believe as a whole.

use meterbridge::model::Timestamp;
use meterbridge::web::Tokens;

use crate::flukso::ask;
use crate::histories::until_last;
use crate::past;
use crate::support::{HOUSE, Site};

/// A jump takes its minute from rows of every length, and a gap of more than a hundred days stays one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jumps_and_long_gaps_are_nan_and_nothing_else_is() {
    let end = Timestamp::now().seconds() - 600;
    let begin = end - end % 86_400 - 2 * 86_400;
    // One on a day that is over, one where there are still minutes; never within the same hours.
    let jumps = [begin + 30 * 3600 + 20, end - end % 60 - 12 * 3600 + 20];
    let jump = jumps[1];
    let (old, mut milli) = (begin - 120 * 86_400, 0);
    // 10 Wh a minute; long ago, and for the last days, with 500 kWh in ten seconds.
    let times = (old..old + 172_801).step_by(20).chain((begin..end).step_by(10));

    let readings: Vec<(i64, i64)> = times
        .map(|at| {
            milli += match at {
                at if jumps.contains(&at) => 500_000_000,
                at if at < begin => 20_000 / 6,
                _ => 10_000 / 6,
            };
            (at, milli)
        })
        .collect();
    let site = Site::new(HOUSE);
    let data = site.path().join("data");
    past::write(&data, &readings).await;
    let (sid, token) = (past::sensor(), Tokens::load(&data).unwrap().of(past::sensor()));
    let gateway = site.start().await;
    let last = readings.last().unwrap().0;
    until_last(gateway.web(), last).await;
    let series = |query: String| {
        let path = format!("/api/sensor/{sid}?version=1.0&token={token}&unit=watt&{query}");
        let web = gateway.web();
        async move {
            let answer = ask(web, "GET", &path, "").await;
            assert_eq!(answer.status, 200, "{answer:?}");
            serde_json::from_slice::<Vec<(i64, serde_json::Value)>>(&answer.body).unwrap()
        }
    };
    let usual =
        |value: &serde_json::Value| value.as_f64().is_some_and(|told| (told - 600.0).abs() <= 1.0);
    for (query, step) in [
        ("interval=year&resolution=day".to_owned(), 86_400),
        (format!("start={}&end={}&resolution=15min", begin + 86_400, begin + 2 * 86_400), 900),
        (format!("start={}&end={}&resolution=minute", jump - 3600, jump + 3600), 60),
    ] {
        let rows = series(query.clone()).await;
        let mut seen = (0, 0);
        for (time, value) in &rows {
            let first = time - step;
            // In a minute there is nothing but the jump.
            let is_jump = step == 60 && (first..*time).contains(&(jump - 10));
            let is_known = first >= begin || (first >= old && *time <= old + 172_800);
            if is_known && *time <= last && !is_jump {
                assert!(usual(value), "{query} {time} {value}");
                seen.0 += 1;
            } else if *time > last || *time <= begin - 86_400 || is_jump {
                let edge = (old - 86_400..=old + 3 * 86_400).contains(time);
                assert!(edge || value == "nan", "{query} {time} {value}");
                seen.1 += 1;
            }
        }
        assert!(seen.0 > 0 && (seen.1 > 0 || step == 900), "{query} {seen:?}");
    }
}
