//! What holds for any block and for any bytes.

use meter_protocols::flukso::tmpo::{self, Block, Point};
use proptest::prelude::*;

fn points() -> impl Strategy<Value = Vec<Point>> {
    let value =
        prop_oneof![-5_000_i64..5_000, any::<i32>().prop_map(i64::from), -(1 << 61)..1_i64 << 61];
    let steps = prop::collection::vec((1_i64..400, value), 1..60);
    (0_i64..1 << 31, steps).prop_map(|(mut at, steps)| {
        let step = |(step, milli)| {
            at += step;
            Point { at, milli }
        };
        steps.into_iter().map(step).collect()
    })
}

proptest! {
    #[test]
    fn reading_undoes_writing(points in points()) {
        let block = Block::new(r#"{"id":"ü","port":[1]}"#, points).unwrap();
        let gzip = block.gzip();
        prop_assert_eq!(Block::from_gzip(&gzip), Ok(block));
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Block::parse(&bytes);
        let _ = Block::from_gzip(&bytes);
        let _ = Block::from_gzip(&tmpo::pack(&bytes));
    }

    #[test]
    fn a_block_with_one_byte_changed_is_refused_or_still_a_block(
        points in points(), place in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let block = Block::new("{}", points).unwrap();
        let mut text = block.text().into_bytes();
        *place.get_mut(&mut text) = byte;
        if let Ok(read) = Block::parse(&text) {
            prop_assert_eq!(Block::parse(read.text().as_bytes()), Ok(read));
        }
        let mut gzip = block.gzip();
        let length = gzip.len();
        let at = place.index(length);
        gzip[at] ^= byte | 1;
        let _ = Block::from_gzip(&gzip);
        prop_assert!(Block::from_gzip(&gzip[..at]).is_err());
    }

    #[test]
    fn cutting_a_block_anywhere_and_merging_gives_the_whole(
        points in points(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(points.len())).collect();
        cuts.extend([0, points.len()]);
        cuts.sort_unstable();
        let parts = cuts.windows(2).filter_map(|pair| Block::new("{}", points[pair[0]..pair[1]].to_vec()));
        prop_assert_eq!(Block::merge(parts), Block::new("{}", points.clone()));
    }
}
