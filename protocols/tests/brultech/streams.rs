//! Where a stream is split makes no difference, and nothing in it makes the decoder panic or grow.

use meter_protocols::brultech::{Decoder, Format, Frame, SkipReason};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::packets::{any_packet, encoded};
use crate::{CAPTURES, Event, capture, decode, decode_whole, drain, formats, joined, skipped};

/// Everything a link may carry, well formed and not.
fn mixed() -> Vec<u8> {
    let mut stream = b"Alive\xFE".to_vec();
    stream.extend(joined());
    stream.extend(b"n=01100603&m=5&wh_1=.28&p_1=60&t_1=21.0&v=114.4\r\n");
    stream.extend(capture(Format::Ecm1240));
    stream.extend(b"GET gem?SN=01100603&SC=9700&V=1144&c1=5,6&PL=1,2,3,4&T=1,,&Resp= HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.extend(b"PUT /feed HTTP/1.1\r\nContent-Length: 9\r\n\r\nE1,36942\n");
    stream.extend(&capture(Format::Bin48NetTime)[..300]);
    stream.extend(b"n=01100603&wh_1=");
    stream.extend(capture(Format::Bin48Net));
    stream.extend(b"POST /x HTTP/1.1\r\nContent-Length: 900\r\n\r\ncut");
    stream.extend(capture(Format::Bin32Net));
    stream.extend(b"GET never\nGET an end");
    stream
}

#[test]
fn any_single_split_gives_the_same() {
    for stream in [joined(), mixed()] {
        let whole = decode_whole(&stream);
        for at in 0..=stream.len() {
            let (left, right) = stream.split_at(at);
            assert_eq!(decode([left, right]), whole, "split at {at}");
        }
    }
    let frames = decode_whole(&mixed()).iter().filter(|event| event.is_ok()).count();
    assert_eq!(frames, 12);
}

#[test]
fn any_size_of_reads_gives_the_same() {
    let stream = [mixed(), joined(), mixed()].concat();
    let whole = decode_whole(&stream);
    for size in (1..10).chain([100, 618, 619, 620, 625, 4096]) {
        assert_eq!(decode(stream.chunks(size)), whole, "reads of {size}");
    }
}

#[test]
fn frames_may_be_taken_out_at_any_time() {
    let stream = [mixed(), joined()].concat();
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for chunk in stream.chunks(700) {
        decoder.push(chunk);
        events.extend(decoder.next_frame());
    }
    events.extend(drain(&mut decoder));
    decoder.idle();
    events.extend(drain(&mut decoder));
    assert_eq!(events, decode_whole(&stream));
}

#[test]
fn two_meters_on_one_link_stay_apart() {
    let mut other = decode_whole(capture(Format::Bin32Net));
    let Some(Ok(Frame::Packet(packet))) = other.first_mut() else {
        panic!("the capture is a packet");
    };
    packet.unit_id = 12;
    let second = encoded(packet);
    let stream =
        [capture(Format::Bin48Net), &second, capture(Format::Bin48NetTime), &second].concat();
    let events = decode_whole(&stream);
    let serials: Vec<_> = crate::packets(&events).iter().map(|packet| packet.serial()).collect();
    assert_eq!(serials, ["01100603", "01200603", "01100603", "01200603"]);
}

#[test]
fn a_decoder_that_nobody_drains_does_not_grow() {
    let stream = joined().repeat(200);
    let mut decoder = Decoder::new();
    for _ in 0..10 {
        decoder.push(&stream);
        assert!(decoder.pending() <= 1024 * 1024);
    }
    let events = drain(&mut decoder);
    let Some(Err(error)) = events.first() else {
        panic!("the loss is told first");
    };
    assert!(error.to_string().contains("without frames being taken out"), "{error}");
    let passed: usize = skipped(&events).iter().map(|(_, bytes)| bytes).sum();
    let taken: usize = formats(&events).iter().map(|format| format.length()).sum();
    assert_eq!(passed + taken, 10 * stream.len());
    assert!(taken > 900_000, "the newest packets are kept");
    let overruns = events.iter().filter(|event| {
        matches!(
            event,
            Err(meter_protocols::brultech::FrameError::Skipped { reason: SkipReason::Overrun, .. })
        )
    });
    assert_eq!(overruns.count(), 1);
}

/// Bytes of a stream, in pieces that matter to a decoder.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let tokens: &[&[u8]] = &[
        b"\xFE",
        b"\xFF",
        b"\xFE\xFF",
        b"\xFF\xFE",
        b"\xFE\xFF\x01",
        b"\xFE\xFF\x03",
        b"\xFE\xFF\x05",
        b"\xFE\xFF\x06",
        b"n=",
        b"n=01100603&",
        b"v=114.4",
        b"wh_1=5&",
        b"\r\n",
        b"\r\n\r\n",
        b"GET ",
        b"PUT ",
        b"POST ",
        b"/?SN=1&",
        b" HTTP/1.1\r\n",
        b"Content-Length: 70\r\n",
        b"c48=1,2,3&",
        b"Alive",
        b"\x00",
    ];
    prop_oneof![
        8 => select(tokens).prop_map(<[u8]>::to_vec),
        2 => vec(any::<u8>(), 0..700),
        2 => any_packet().prop_map(|mut packet| encoded(&mut packet)),
        1 => (any_packet(), 0..600_usize).prop_map(|(mut packet, length)| {
            let mut bytes = encoded(&mut packet);
            bytes.truncate(length);
            bytes
        }),
    ]
}

/// Each byte of the stream is in exactly one packet, or passed over, or part of a text.
fn accounted(events: &[Event]) -> usize {
    let passed: usize = skipped(events).iter().map(|(_, bytes)| bytes).sum();
    passed + formats(events).iter().map(|format| format.length()).sum::<usize>()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_splits_give_the_same(pieces in vec(piece(), 0..12), mut cuts in vec(0.0..1.0, 0..12)) {
        let stream = pieces.concat();
        let whole = decode_whole(&stream);
        cuts.sort_by(f64::total_cmp);
        let mut chunks = Vec::new();
        let mut rest = stream.as_slice();
        let mut begin = 0;
        for cut in cuts {
            let at = (cut * stream.len() as f64) as usize;
            let (chunk, behind) = rest.split_at(at - begin);
            chunks.push(chunk);
            (rest, begin) = (behind, at);
        }
        chunks.push(rest);
        prop_assert!(accounted(&whole) <= stream.len());
        prop_assert_eq!(decode(chunks), whole);
    }

    #[test]
    fn any_bytes_neither_panic_nor_grow(stream in vec(any::<u8>(), 0..20_000), size in 1..5_000_usize) {
        let mut decoder = Decoder::new();
        for chunk in stream.chunks(size) {
            decoder.push(chunk);
            drain(&mut decoder);
        }
        decoder.idle();
        drain(&mut decoder);
        prop_assert_eq!(decoder.pending(), 0);
    }

    /// Good packets come out whatever stands between them, as long as no packet begins in it.
    #[test]
    fn junk_never_costs_a_packet(junk in vec(vec(any::<u8>(), 0..900), CAPTURES.len())) {
        let mut stream = Vec::new();
        for ((_, packet), junk) in CAPTURES.iter().zip(&junk) {
            stream.extend(junk);
            stream.extend(*packet);
        }
        let events = decode_whole(&stream);
        let expected: Vec<_> = CAPTURES.iter().map(|(format, _)| *format).collect();
        prop_assert_eq!(formats(&events), expected);
    }
}
