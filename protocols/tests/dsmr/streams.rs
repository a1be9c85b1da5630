//! Where a stream is split makes no difference, and nothing in it makes the decoder panic or grow.

use meter_protocols::dsmr::{Decoder, Obis, Object, Telegram};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{Event, capture, decode, decode_whole, frames};

const MIXED: [&str; 4] = ["dsmr22.txt", "dsmr40.txt", "tic-historic.txt", "belgium.txt"];

/// Everything a link may carry, well formed and not.
fn mixed() -> Vec<u8> {
    let mut stream = b"\x00noise/half\r\n/ab!".to_vec();
    for name in MIXED {
        stream.extend(capture(name));
        stream.extend(&capture("dsmr40.txt")[..200]);
        stream.extend(&capture("encrypted.bin")[..10]);
    }
    stream.extend(capture("encrypted.bin"));
    stream.extend(b"\x02\nHCHC\x03\x02\x02\x03\xDB/XYZ5");
    stream.extend(capture("sweden.txt"));
    stream.extend(&capture("belgium.txt")[..300]);
    stream
}

#[test]
fn any_single_split_gives_the_same() {
    let stream = mixed();
    let whole = decode_whole(&stream);
    for at in 0..=stream.len() {
        let (left, right) = stream.split_at(at);
        assert_eq!(decode([left, right]), whole, "split at {at}");
    }
    assert_eq!(frames(&whole).len(), MIXED.len() + 1);
}

#[test]
fn any_size_of_reads_gives_the_same_and_every_byte_is_accounted_for() {
    let stream = mixed();
    let whole = decode_whole(&stream);
    for size in (1..10).chain([100, 1000, 4096]) {
        assert_eq!(decode(stream.chunks(size)), whole, "reads of {size}");
    }
}

#[test]
fn a_telegram_without_end_is_given_up() {
    let mut stream = b"/ABC5X\r\n\r\n".to_vec();
    stream.extend(std::iter::repeat_n(b'0', 20_000));
    stream.extend(capture("sweden.txt"));
    assert_eq!(frames(&decode(stream.chunks(100))).len(), 1);
    // Beginnings of telegrams without end cost no more than they have bytes.
    let slashes = b"/ABC5X\r\n".repeat(20_000);
    assert!(decode(slashes.chunks(4096)).iter().all(Result::is_err));
}

#[test]
fn a_decoder_that_nobody_drains_does_not_grow() {
    let mut decoder = Decoder::new();
    for _ in 0..100 {
        decoder.push(&[b'/'; 64 * 1024]);
    }
    assert!(decoder.pending() <= 1024 * 1024);
}

fn any_telegram() -> impl Strategy<Value = Telegram> {
    let value = "[ -'*-~]{0,20}".prop_filter("no end", |text| !text.contains(['!', '/']));
    let code = any::<[u8; 6]>().prop_map(|[medium, channel, c, d, e, f]| Obis {
        f,
        ..Obis::new(medium, channel, c, d, e)
    });
    let object = (code, vec(value, 1..4)).prop_map(|(code, values)| Object { code, values });
    ("[A-Za-z]{3}[0-9][A-Za-z0-9 ._-]{0,19}[A-Z]", vec(object, 0..20), any::<bool>()).prop_map(
        |(identification, objects, checked)| Telegram {
            identification,
            objects,
            checksum: checked.then_some(0),
        },
    )
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(telegram in any_telegram()) {
        let mut bytes = Vec::new();
        telegram.encode(&mut bytes);
        let mut found = frames(&decode_whole(&bytes));
        prop_assert_eq!(found.len(), 1);
        let meter_protocols::dsmr::Frame::Telegram(mut found) = found.remove(0) else {
            return Err(TestCaseError::fail("no telegram"));
        };
        found.checksum = found.checksum.map(|_| 0);
        prop_assert_eq!(*found, telegram);
    }

    #[test]
    fn any_bytes_in_any_pieces(
        pieces in vec(vec(prop_oneof![4 => any::<u8>(), 1 => Just(b'/'), 1 => Just(b'!'), 1 => Just(2), 1 => Just(b'\n')], 0..200), 0..20),
    ) {
        let whole: Vec<u8> = pieces.concat();
        let events: Vec<Event> = decode(pieces.iter().map(Vec::as_slice));
        prop_assert_eq!(&events, &decode_whole(&whole));
        let skipped: usize = events.iter().filter_map(|event| event.as_ref().err()).map(|one| one.bytes).sum();
        prop_assert!(skipped <= whole.len());
    }

    #[test]
    fn junk_before_a_frame_costs_only_the_junk(junk in vec(any::<u8>(), 0..300)) {
        let stream = [&junk[..], b"\n", &capture("belgium.txt")].concat();
        prop_assert_eq!(frames(&decode_whole(&stream)).len(), 1);
    }
}
