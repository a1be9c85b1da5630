//! What was counted, means and peaks, against sums made the long way.

use proptest::prelude::*;

use super::*;

/// A history of these readings, closed and merged up to `now`.
fn recorded(record: Recorded, readings: &[(i64, i64)], now: i64) -> (Bench, SensorId) {
    let id = SensorId::from([9; 16]);
    let device = device(vec![sensor(id, record, 0, "{}".to_owned())]);
    let mut bench = Bench::new(10);
    for (at, milli) in readings {
        bench.push(&device, 0, *at, *milli, true, *at);
        if at % 50 == 0 {
            bench.tick(*at);
        }
    }
    bench.tick(now);
    (bench, id)
}

/// The counter at a moment, by walking over all readings; resets count nothing.
fn naive(readings: &[(i64, i64)], at: i64) -> f64 {
    let mut total = 0.0;
    for pair in readings.windows(2) {
        let (begin, end) = (pair[0].0, pair[1].0.min(at));
        if end > begin {
            let change = (pair[1].1 - pair[0].1).max(0) as f64;
            total += change * (end - begin) as f64 / (pair[1].0 - begin) as f64;
        }
    }
    total
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]
    #[test]
    fn spans_of_any_length_agree_with_the_readings(
        steps in prop::collection::vec((prop_oneof![1_i64..60, 1_i64..4000], -500_i64..5000), 2..150),
        offset in 0_i64..4000,
        span in prop_oneof![Just(900_i64), Just(3600), 1_i64..5000],
    ) {
        let (mut at, mut milli) = (BEGIN + offset, 1_000_000);
        let readings: Vec<(i64, i64)> = steps.iter().map(|(step, change)| {
            at += step;
            milli = if *change < -400 { 0 } else { milli + change.max(&0) };
            (at, milli)
        }).collect();
        let (bench, id) = recorded(Recorded::Counter, &readings, at);
        let begin = if span % 900 == 0 { BEGIN } else { BEGIN + 77 };
        let bounds: Vec<i64> = (0..=(at - begin) / span + 2).map(|n| begin + n * span).collect();
        let buckets = bench.history.buckets(id, None, &bounds).unwrap();
        let mut sum = 0;
        for bucket in &buckets {
            let change = bucket.end.zip(bucket.begin).map_or(0, |(end, begin)| end.0 - begin.0);
            prop_assert!(change >= 0);
            let expected = naive(&readings, bucket.to) - naive(&readings, bucket.from);
            prop_assert!((change as f64 - expected).abs() <= 2.0, "{bucket:?}: {expected}");
            sum += change;
        }
        let inside = naive(&readings, bounds[bounds.len() - 1]) - naive(&readings, bounds[0]);
        prop_assert!((sum as f64 - inside).abs() <= 2.0, "{sum} {inside}");
        // Counted once more in one piece it is the same to the thousandth.
        let ends = [bounds[0], bounds[bounds.len() - 1]];
        let whole = bench.history.buckets(id, None, &ends).unwrap()[0];
        let whole = whole.end.zip(whole.begin).map_or(0, |(end, begin)| end.0 - begin.0);
        prop_assert_eq!(whole, sum);
    }
}

#[test]
fn a_gauge_has_its_mean_and_its_peak() {
    let readings: Vec<(i64, i64)> =
        (0..7200).map(|n| (BEGIN + n, if n < 1800 { 230_000 } else { 231_000 })).collect();
    let (bench, id) = recorded(Recorded::Gauge, &readings, BEGIN + 7200);
    let bounds = [BEGIN - BEGIN % 900, BEGIN - BEGIN % 900 + 9000];
    let bucket = bench.history.buckets(id, None, &bounds).unwrap()[0];
    let mean = (1800.0 * 230.0 + 5399.0 * 231.0) / 7199.0;
    assert!((bucket.mean.unwrap() - mean).abs() < 1e-9, "{bucket:?}");
    assert_eq!((bucket.peak, bucket.known, bucket.begin), (Some(231.0), 7199, None));
    let minute = bench.history.buckets(id, None, &[BEGIN + 1790, BEGIN + 1810]).unwrap()[0];
    assert_eq!((minute.mean, minute.peak, minute.known), (Some(230.5), Some(231.0), 20));
    let empty = bench.history.buckets(id, None, &[BEGIN - 9000, BEGIN - 8100]).unwrap()[0];
    assert_eq!((empty.mean, empty.peak, empty.known), (None, None, 0));
}

#[test]
fn a_counter_stands_where_its_readings_say() {
    // 3.6 Wh a second are 12,960 W.
    let readings: Vec<(i64, i64)> = (0..4000).map(|n| (BEGIN + 100 + n, n * 3600)).collect();
    let (bench, id) = recorded(Recorded::Counter, &readings, BEGIN + 4100);
    let first = BEGIN + 100 + 900 - (BEGIN + 100) % 900;
    let bounds = [first, first + 900, first + 1800];
    let buckets = bench.history.buckets(id, None, &bounds).unwrap();
    let begin = (first - BEGIN - 100) * 3600;
    assert_eq!(buckets[0].begin, Some(Milli(begin)));
    assert_eq!(buckets[1].end, Some(Milli(begin + 1800 * 3600)));
    assert_eq!((buckets[0].mean, buckets[0].peak), (Some(12_960.0), Some(12_960.0)));
    assert_eq!(bench.history.rids(id).unwrap(), vec![0]);
}
