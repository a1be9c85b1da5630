//! Blocks as devices have written them, right and wrong, and those of the run made by a program.

use meter_protocols::flukso::tmpo::{self, Block, BlockError, Point};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{captures, json, packed};

/// SHA-256 over lines `time,value`.
fn digest(points: &[Point]) -> String {
    let mut lines = String::new();
    for point in points {
        lines.push_str(&format!("{},", point.at));
        tmpo::write_milli(&mut lines, point.milli);
        lines.push('\n');
    }
    Sha256::digest(lines).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn real_blocks_give_their_series() {
    let expected = json("tmpo-samples/expected.json");
    let expected = expected.as_array().unwrap();
    assert_eq!(expected.len(), 16);
    for entry in expected {
        let gzip = packed("tmpo-samples", entry);
        let block = Block::from_gzip(&gzip).unwrap_or_else(|error| panic!("{entry}: {error}"));
        assert_eq!(entry["points"], block.points().len());
        assert_eq!(entry["sha256"], digest(block.points()), "{entry}");
        let (level, begin) = (entry["lvl"].as_u64().unwrap() as u8, entry["bid"].as_i64().unwrap());
        assert!(tmpo::is_window(level, begin) && block.fits(level, begin));
        assert_eq!(entry["head"][0], block.head().at);
        assert_eq!(entry["tail"][0], block.tail().at);
        assert_eq!(Block::parse(block.text().as_bytes()), Ok(block));
    }
}

#[test]
fn malformed_blocks_are_refused_for_what_is_wrong() {
    let reasons = json("tmpo-samples-malformed/reasons.json");
    let reasons = reasons.as_array().unwrap();
    assert_eq!(reasons.len(), 18);
    for entry in reasons {
        let error = Block::from_gzip(&packed("tmpo-samples-malformed", entry)).unwrap_err();
        let why = entry["why"].as_str().unwrap();
        match error {
            BlockError::Lengths { .. } => assert_eq!(error.to_string(), why),
            BlockError::Shape { .. } => assert!(why.starts_with("not JSON"), "{why}"),
            // Before the lists differ in length, their times already go wrong.
            BlockError::Time { .. } | BlockError::Tail { .. } | BlockError::Range { .. } => {}
            _ => panic!("{entry}: {error}"),
        }
    }
}

#[test]
fn every_published_text_is_written_again_byte_for_byte() {
    let path = captures().join("tmpo-synthetic/published.jsonl");
    let lines = std::fs::read_to_string(path).unwrap();
    assert_eq!(lines.lines().count(), 426);
    for line in lines.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let text = entry["json"].as_str().unwrap();
        let block = Block::parse(text.as_bytes()).unwrap();
        assert_eq!(block.text(), text);
        let gzip = block.gzip();
        assert_eq!(tmpo::unpack(&gzip).unwrap(), text.as_bytes());
    }
}

#[test]
fn a_block_of_nothing_but_zeros_that_unpacks_to_a_gigabyte_is_refused() {
    // Deflate packs a thousand to one, so that 1 MiB on the wire would be 1 GiB here.
    let bomb = tmpo::pack(&vec![b'0'; 64 << 20]);
    assert!(bomb.len() < 1 << 20);
    let limit = tmpo::LARGEST_TEXT;
    assert_eq!(Block::from_gzip(&bomb), Err(BlockError::TooLarge { limit }));
    let limit = tmpo::LARGEST_GZIP;
    let large = [&bomb[..], &vec![0; 16 << 20]].concat();
    assert_eq!(Block::from_gzip(&large), Err(BlockError::TooLarge { limit }));
    let good = Block::new("{}", vec![Point { at: 5, milli: 1 }]).unwrap().gzip();
    assert_eq!(Block::from_gzip(&[&good[..], b"xyz"].concat()), Err(BlockError::Trailing(3)));
    assert_eq!(Block::from_gzip(b"PK\x03\x04"), Err(BlockError::NotGzip));
}
