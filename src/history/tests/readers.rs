//! What readers see while blocks are closed, merged and removed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use meter_protocols::flukso::tmpo::{Point, span};

use super::*;
use crate::history::{Tail, retention};

#[test]
fn a_reader_sees_every_reading_once_at_any_moment() {
    let device = device(vec![counter(1)]);
    let id = device.sensors[0].id;
    let mut bench = Bench::new(10);
    let history = bench.history.clone();
    let (pushed, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut looks = 0;
            while !done.load(Ordering::Acquire) || looks == 0 {
                let before = pushed.load(Ordering::Acquire);
                let found = series(&history, id);
                assert!(found.len() >= before, "{} of {before}", found.len());
                assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0));
                // No two listed blocks have the same time: a child is gone when its parent is there.
                let mut listed = history.sync(id, Tail::default()).unwrap();
                listed.sort_by_key(|key| key.bid);
                let apart = |pair: &[BlockKey]| pair[0].bid + span(pair[0].level) <= pair[1].bid;
                assert!(listed.windows(2).all(apart), "{listed:?}");
                looks += 1;
            }
        });
        for n in 0..600_i64 {
            let at = BEGIN + n * 97 + (n / 100) * 180_000;
            bench.push(&device, 0, at, n, true, at);
            pushed.store(n as usize + 1, Ordering::Release);
            bench.tick(at);
        }
        bench.tick(BEGIN + 3_000_000);
        done.store(true, Ordering::Release);
        reader.join().unwrap();
    });
}

#[tokio::test]
async fn the_oldest_blocks_go_when_there_is_too_much_or_they_are_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let id = SensorId::from([2; 16]);
    let open = |keep, size| {
        let settings = Settings { keep, size, grace: 10 };
        History::open(dir.path(), settings, Metrics::default()).unwrap().0
    };
    let history = open(None, 1 << 30);
    for n in 0..4 {
        let bid = BEGIN + n * span(20);
        let block = Block::new("{}", vec![Point { at: bid + 5, milli: n }]).unwrap();
        history.take_over(key(id, 20, bid), block.gzip()).await.unwrap();
    }
    let now = BEGIN + 4 * span(20);
    let removed = retention::enforce(&history.shared, now).unwrap();
    assert_eq!((removed.oldest, removed.more), (None, false));
    let history = open(Some(2 * span(20)), 1 << 30);
    assert!(retention::enforce(&history.shared, now).unwrap().more);
    assert!(!retention::enforce(&history.shared, now).unwrap().more);
    assert_eq!(series(&history, id).len(), 2);
    let history = open(None, 300);
    let removed = retention::enforce(&history.shared, now).unwrap();
    assert_eq!(removed.oldest, Some(BEGIN + 2 * span(20)));
    assert_eq!(series(&history, id), vec![(BEGIN + 3 * span(20) + 5, 3)]);
    let history = open(None, 1);
    assert!(retention::enforce(&history.shared, now).unwrap().oldest.is_some());
    assert_eq!(history.shared.metrics.history_bytes.get(), 0);
}
