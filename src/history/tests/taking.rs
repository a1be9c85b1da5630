//! Blocks of a Fluksometer's own.

use meter_protocols::flukso::tmpo::{Block, Point};

use super::*;
use crate::history::{Refused, Tail, Taken};

fn packed(list: &[(i64, i64)]) -> Vec<u8> {
    let points = list.iter().map(|(at, milli)| Point { at: BEGIN + at, milli: *milli });
    Block::new(r#"{"id":"x","data_type":"counter"}"#, points.collect()).unwrap().gzip()
}

#[tokio::test]
async fn a_block_of_the_meter_wins_and_nothing_beside_it_is_lost() {
    let device = device(vec![counter(3)]);
    let id = device.sensors[0].id;
    let mut bench = Bench::new(10);
    bench.push(&device, 0, BEGIN + 1, 100, true, BEGIN + 1);
    bench.push(&device, 0, BEGIN + 2, 200, true, BEGIN + 2);
    bench.tick(BEGIN + 270);
    let history = bench.history.clone();
    let gzip = packed(&[(1, 111), (3, 333)]);
    let taken = history.take_over(key(id, 8, BEGIN), gzip.clone()).await.unwrap();
    assert_eq!(taken, Taken::New);
    let all = |list: &[(i64, i64)]| -> Vec<(i64, i64)> {
        list.iter().map(|(at, milli)| (BEGIN + at, *milli)).collect()
    };
    assert_eq!(series(&history, id), all(&[(1, 111), (2, 200), (3, 333)]));
    assert_eq!(history.last_stored(id).unwrap(), Tail { rid: 0, level: 8, bid: BEGIN });
    assert_eq!(history.take_over(key(id, 8, BEGIN), gzip).await.unwrap(), Taken::Known);
    // A larger one takes what lies inside, and leaves what lies before.
    let early = packed(&[(256 - 4096, 1)]);
    history.take_over(key(id, 8, BEGIN - 4096 + 256), early).await.unwrap();
    let large = packed(&[(1, 112), (2000, 2000)]);
    history.take_over(key(id, 12, BEGIN), large.clone()).await.unwrap();
    let expected = all(&[(256 - 4096, 1), (1, 112), (2, 200), (3, 333), (2000, 2000)]);
    assert_eq!(series(&history, id), expected);
    let keys = history.sync(id, Tail::default()).unwrap();
    assert_eq!(keys, vec![key(id, 12, BEGIN), key(id, 8, BEGIN - 4096 + 256)]);
    // Untouched, its bytes stay what they were.
    let other = BEGIN + 4096;
    let gzip = packed(&[(4096, 1), (4097, 2)]);
    history.take_over(key(id, 12, other), gzip.clone()).await.unwrap();
    assert_eq!(history.block(&key(id, 12, other)).unwrap(), Some(gzip));
    // A smaller one of a window that a larger one has is part of that.
    history.take_over(key(id, 8, BEGIN + 256), packed(&[(300, 300)])).await.unwrap();
    assert_eq!(history.sync(id, Tail::default()).unwrap().len(), 3);
    assert!(series(&history, id).contains(&(BEGIN + 300, 300)));
}

#[tokio::test]
async fn a_meter_is_asked_for_what_a_merged_block_does_not_have() {
    let id = device(vec![counter(5)]).sensors[0].id;
    let mut bench = Bench::new(10);
    // Then the gateway was off until the larger window was over.
    bench.history.take_over(key(id, 8, BEGIN), packed(&[(1, 1), (200, 2)])).await.unwrap();
    bench.tick(BEGIN + 4096 + 20);
    let keys = bench.history.sync(id, Tail::default()).unwrap();
    assert_eq!(keys, vec![key(id, 12, BEGIN)]);
    let last = bench.history.last_stored(id).unwrap();
    assert_eq!(last, Tail { rid: 0, level: 8, bid: BEGIN });
    // With the rest of it the next question begins behind that.
    bench.history.take_over(key(id, 8, BEGIN + 3840), packed(&[(4000, 3)])).await.unwrap();
    let last = bench.history.last_stored(id).unwrap();
    assert_eq!(last, Tail { rid: 0, level: 8, bid: BEGIN + 3840 });
}

#[tokio::test]
async fn what_was_live_in_an_open_block_yields_to_the_meters_block() {
    let device = device(vec![counter(4)]);
    let id = device.sensors[0].id;
    let mut bench = Bench::new(10);
    for at in 0..5 {
        bench.push(&device, 0, BEGIN + at, at, true, BEGIN + at);
    }
    let gzip = packed(&[(0, 10), (1, 11), (2, 12), (3, 13), (4, 14)]);
    bench.history.take_over(key(id, 8, BEGIN), gzip.clone()).await.unwrap();
    let expected: Vec<(i64, i64)> = (0..5).map(|at| (BEGIN + at, 10 + at)).collect();
    assert_eq!(series(&bench.history, id), expected);
    assert_eq!(bench.tick(BEGIN + 266), vec![]);
    assert_eq!(series(&bench.history, id), expected);
    assert_eq!(bench.history.block(&key(id, 8, BEGIN)).unwrap(), Some(gzip));
    bench.kill(BEGIN + 300);
    bench.tick(BEGIN + 320);
    assert_eq!(series(&bench.history, id), expected);
}

#[tokio::test]
async fn malformed_blocks_are_refused_without_harm() {
    let bench = Bench::new(10);
    let id = SensorId::from([5; 16]);
    let good = packed(&[(1, 1)]);
    let refused = bench.history.take_over(key(id, 8, BEGIN + 1), good.clone()).await;
    assert!(matches!(refused, Err(Refused::Place { .. })), "{refused:?}");
    let refused = bench.history.take_over(key(id, 8, BEGIN + 256), good).await;
    assert!(matches!(refused, Err(Refused::Elsewhere { .. })), "{refused:?}");
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/protocols/tests/captures/flukso/tmpo-samples-malformed"
    );
    let reasons = std::fs::read(format!("{folder}/reasons.json")).unwrap();
    let reasons: serde_json::Value = serde_json::from_slice(&reasons).unwrap();
    for one in reasons.as_array().unwrap() {
        let sid = one["sid"].as_str().unwrap();
        let (level, bid) = (one["lvl"].as_u64().unwrap() as u8, one["bid"].as_i64().unwrap());
        let gzip = std::fs::read(format!("{folder}/{sid}/0/{level}/{bid}.gz")).unwrap();
        let key = BlockKey { sensor: sid.parse().unwrap(), rid: 0, level, bid };
        let refused = bench.history.take_over(key, gzip).await;
        assert!(matches!(refused, Err(Refused::Malformed(_))), "{refused:?}");
        assert_eq!(bench.history.sync(key.sensor, Tail::default()).unwrap(), vec![]);
    }
    assert_eq!(bench.shared().metrics.history_malformed.get(), 20);
}
