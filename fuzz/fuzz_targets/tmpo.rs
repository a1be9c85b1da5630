//! Any bytes as a TMPO block, packed and unpacked: no panic, no memory without bound, and what was
//! read is read again from its own writing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meter_protocols::flukso::tmpo::Block;

fuzz_target!(|input: &[u8]| {
    let read = [Block::parse(input), Block::from_gzip(input)];
    for block in read.into_iter().flatten() {
        let text = block.text();
        assert_eq!(Block::parse(text.as_bytes()).as_ref(), Ok(&block));
        assert_eq!(Block::from_gzip(&block.gzip()), Ok(block));
    }
});
