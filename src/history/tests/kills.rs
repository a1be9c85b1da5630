//! Any readings, any ticks, any kills, against a model that a child could check.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What happens.
#[derive(Debug, Clone)]
enum Step {
    /// Time goes on by so many seconds, and a reading comes that is so many seconds old.
    Reading {
        after: i64,
        age: i64,
        value: i64,
        live: bool,
    },
    Tick,
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let after = prop_oneof![6 => 0_i64..5, 2 => 5_i64..300, 1 => 300_i64..70_000];
    let age = prop_oneof![6 => Just(0_i64), 2 => 0_i64..30, 1 => 0_i64..100_000];
    let reading = (after, age, -50_000_i64..50_000, any::<bool>());
    let reading =
        reading.prop_map(|(after, age, value, live)| Step::Reading { after, age, value, live });
    prop::collection::vec(
        prop_oneof![8 => reading, 3 => Just(Step::Tick), 1 => Just(Step::Kill)],
        1..120,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn no_reading_is_lost_or_doubled(steps in steps()) {
        let device = device(vec![counter(1)]);
        let id = device.sensors[0].id;
        let mut bench = Bench::new(10);
        let mut now = BEGIN + 1_000_000;
        // The first value that was read at a time, and those that had to be taken.
        let mut read: BTreeMap<i64, i64> = BTreeMap::new();
        let mut must: BTreeMap<i64, i64> = BTreeMap::new();
        let mut newest = 0;
        for step in steps {
            match step {
                Step::Reading { after, age, value, live } => {
                    now += after;
                    let at = now - age;
                    bench.push(&device, 0, at, value, live, now);
                    read.entry(at).or_insert(value);
                    // One that is told live, and is older than one before, may be dropped.
                    if !live || at > newest {
                        must.entry(at).or_insert(value);
                    }
                    newest = newest.max(at);
                }
                Step::Tick => {
                    bench.tick(now);
                }
                Step::Kill => bench.kill(now),
            }
            let found = series(&bench.history, id);
            prop_assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0));
            for at in must.keys() {
                prop_assert!(found.iter().any(|(found, _)| found == at), "{at} is missing");
            }
            for (at, _) in &found {
                prop_assert!(read.contains_key(at), "{at} was never read");
            }
        }
        now += 2_000_000;
        bench.tick(now);
        let found = series(&bench.history, id);
        for (at, value) in &found {
            // A reading dropped as too old leaves its time to a later one.
            prop_assert!(read.contains_key(at), "{at}: {value}");
        }
        let stored: Vec<_> = bench.history.sync(id, super::super::Tail::default()).unwrap();
        prop_assert!(stored.iter().all(|key| key.level == 20), "{stored:?}");
        bench.kill(now);
        bench.tick(now);
        prop_assert_eq!(series(&bench.history, id), found);
    }
}

#[test]
fn an_open_block_is_there_again_after_a_kill() {
    let device = device(vec![counter(1), counter(2)]);
    let mut bench = Bench::new(10);
    for at in 0..300 {
        bench.push(&device, 0, BEGIN + at, at * 7, true, BEGIN + at);
    }
    bench.push(&device, 1, BEGIN + 100, 5, true, BEGIN + 300);
    let before = series(&bench.history, device.sensors[0].id);
    assert_eq!(before.len(), 300);
    bench.kill(BEGIN + 300);
    assert_eq!(series(&bench.history, device.sensors[0].id), before);
    // What was read again may not be all there is: it has the grace of a new window.
    assert_eq!(bench.tick(BEGIN + 309), vec![]);
    assert_eq!(bench.tick(BEGIN + 310).len(), 2);
    bench.kill(BEGIN + 320);
    assert_eq!(series(&bench.history, device.sensors[0].id), before);
    assert_eq!(bench.tick(BEGIN + 400), vec![]);
    assert_eq!(series(&bench.history, device.sensors[0].id), before);
}

#[test]
fn a_late_reading_rewrites_the_block_that_has_its_time() {
    let device = device(vec![counter(1)]);
    let id = device.sensors[0].id;
    let mut bench = Bench::new(10);
    bench.push(&device, 0, BEGIN + 5, 1000, true, BEGIN + 5);
    bench.push(&device, 0, BEGIN + 9, 1500, true, BEGIN + 9);
    let (now, level) = (BEGIN + 5000, 12);
    let published = bench.tick(now);
    let levels: Vec<u8> = published.iter().map(|block| block.key.level).collect();
    assert_eq!(levels, [8, 12]);
    bench.push(&device, 0, BEGIN + 7, 1200, true, now);
    bench.push(&device, 0, BEGIN + 6, 1100, true, now);
    bench.push(&device, 0, BEGIN + 9, 9999, true, now);
    bench.push(&device, 0, BEGIN + 900, 1600, true, now);
    assert_eq!(bench.shared().metrics.history_late.get(), 4);
    let all = [(5, 1000), (6, 1100), (7, 1200), (9, 1500), (900, 1600)];
    let all: Vec<(i64, i64)> = all.iter().map(|(at, milli)| (BEGIN + at, *milli)).collect();
    assert_eq!(series(&bench.history, id), all);
    let published = bench.tick(now + 11);
    assert_eq!(published.len(), 1, "one block is published once more");
    assert_eq!(published[0].key, key(id, level, BEGIN));
    assert_eq!(points(&published[0].gzip), all);
    // The merged child can still be fetched for ten minutes, and is listed no more.
    assert_eq!(bench.history.sync(id, Default::default()).unwrap(), vec![key(id, level, BEGIN)]);
    assert!(bench.history.block(&key(id, 8, BEGIN)).unwrap().is_some());
    bench.tick(now + 700);
    assert!(bench.history.block(&key(id, 8, BEGIN)).unwrap().is_none());
    assert_eq!(series(&bench.history, id), all);
}

#[test]
fn times_that_cannot_be_are_dropped_and_counted() {
    let device = device(vec![counter(1)]);
    let mut bench = Bench::new(10);
    for at in [0, 1_234_567_890, BEGIN - 16 * 86_400, BEGIN + 61] {
        bench.push(&device, 0, at, 1, true, BEGIN);
    }
    bench.push(&device, 0, BEGIN, i64::MAX, true, BEGIN);
    assert_eq!(bench.shared().metrics.history_dropped.get(), 5);
    assert_eq!(series(&bench.history, device.sensors[0].id), vec![]);
}
