//! Encrypted frames: opened with the key, and each costs itself only.

use meter_protocols::dsmr::{Decoder, Frame, Key, SkipReason};

use crate::{Event, capture, frame_of, frames};

/// The key of `encrypted-luxembourg.bin`.
const KEY: &str = "8F14E45FCEEA167A5A36DEDD4BEA2543";
const OTHER: &str = "00112233445566778899aabbccddeeff";
const TITLE: [u8; 8] = *b"EXL99999";

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

/// What comes out with these keys, the stream read in pieces of this size.
fn decode(keys: &[&str], stream: &[u8], size: usize) -> Vec<Event> {
    let mut decoder = Decoder::with_keys(keys.iter().map(|text| key(text)).collect());
    let mut events = Vec::new();
    for piece in stream.chunks(size) {
        decoder.push(piece);
        events.extend(std::iter::from_fn(|| decoder.next_frame()));
        assert!(decoder.pending() <= 8192, "{} bytes are held", decoder.pending());
    }
    decoder.idle();
    events.extend(std::iter::from_fn(|| decoder.next_frame()));
    assert_eq!(decoder.pending(), 0);
    events
}

fn reasons(events: &[Event]) -> Vec<Result<(), (SkipReason, usize)>> {
    let reason = |event: &Event| match event {
        Ok(_) => Ok(()),
        Err(error) => Err((error.reason.clone(), error.bytes)),
    };
    events.iter().map(reason).collect()
}

#[test]
fn what_another_program_has_encrypted_is_read() {
    let bytes = capture("encrypted-luxembourg.bin");
    for keys in [&[KEY][..], &[OTHER, KEY], &[KEY, OTHER]] {
        for size in [1, 7, 4096] {
            let events = decode(keys, &[&bytes[..], &bytes].concat(), size);
            let expected = frame_of("luxembourg.txt");
            assert_eq!(events, [Ok(expected.clone()), Ok(expected)], "{keys:?} {size}");
        }
    }
}

#[test]
fn what_is_encrypted_here_is_what_another_program_encrypts() {
    let telegram = capture("luxembourg.txt");
    let frame = key(KEY).encrypt(TITLE, 0x0102_A3F4, &telegram);
    assert_eq!(frame, Some(capture("encrypted-luxembourg.bin")));
    assert_eq!(key(KEY).encrypt(TITLE, 0, &[b' '; 65_519]), None);
}

#[test]
fn a_key_that_does_not_fit_is_told_and_costs_the_frame_only() {
    let bytes = capture("encrypted-luxembourg.bin");
    let plain = capture("sweden.txt");
    let events = decode(&[OTHER], &[&bytes[..], &plain, &bytes].concat(), 100);
    let wrong = Err((SkipReason::WrongKey, bytes.len()));
    assert_eq!(reasons(&events), [wrong.clone(), Ok(()), wrong]);
}

#[test]
fn a_frame_cut_anywhere_costs_itself_only() {
    let bytes = capture("encrypted-luxembourg.bin");
    let telegram = frame_of("luxembourg.txt");
    for (next, expected) in [
        (bytes.clone(), telegram.clone()),
        (capture("sweden.txt"), frame_of("sweden.txt")),
        // A bare telegram on a line that has a key.
        (capture("luxembourg.txt"), telegram.clone()),
    ] {
        for at in 0..bytes.len() {
            let stream = [&bytes[..at], &next, &next].concat();
            for size in [64, 4096] {
                let events = decode(&[KEY], &stream, size);
                let found = frames(&events);
                assert_eq!(found, [expected.clone(), expected.clone()], "cut at {at}: {events:?}");
            }
        }
    }
}

#[test]
fn a_wrong_byte_costs_its_frame_only() {
    let bytes = capture("encrypted-luxembourg.bin");
    let expected = frame_of("luxembourg.txt");
    // A length that is too long has the decoder wait for more than one frame; the last one ends that.
    for at in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[at] ^= 1;
        let stream = [&bytes[..], &wrong, &bytes, &bytes].concat();
        let found = frames(&decode(&[KEY], &stream, 4096));
        assert_eq!(found, [expected.clone(), expected.clone(), expected.clone()], "byte {at}");
    }
}

#[test]
fn any_size_of_reads_gives_the_same_and_every_byte_is_accounted_for() {
    let bytes = capture("encrypted-luxembourg.bin");
    let mut wrong = bytes.clone();
    wrong[400] ^= 1;
    let mut stream = b"\xDB\x08noise\xDB".to_vec();
    for at in [5, 13, 14, 300, bytes.len() - 1] {
        stream.extend(&bytes[..at]);
        stream.extend(&bytes);
    }
    stream.extend([&wrong[..], &capture("sweden.txt"), &bytes, &bytes[..200]].concat());
    for (keys, good) in [(&[KEY][..], 7), (&[OTHER], 1), (&[], 1)] {
        let whole = decode(keys, &stream, stream.len());
        assert_eq!(frames(&whole).len(), good, "{whole:?}");
        for size in (1..10).chain([100, 673, 1000]) {
            assert_eq!(decode(keys, &stream, size), whole, "{keys:?}, reads of {size}");
        }
        let skipped: usize =
            whole.iter().filter_map(|one| one.as_ref().err()).map(|e| e.bytes).sum();
        let taken = (good - 1) * bytes.len() + capture("sweden.txt").len();
        assert_eq!(skipped + taken, stream.len(), "{keys:?}");
    }
}

#[test]
fn what_is_inside_is_judged_like_any_telegram() {
    let seal = |inside: &[u8]| key(KEY).encrypt(TITLE, 1, inside).unwrap();
    let next = capture("encrypted-luxembourg.bin");
    let mut wrong = capture("luxembourg.txt");
    wrong[100] ^= 1;
    for inside in [&b""[..], b"/", b"\x0f\x80\x00", b"/EXL5\\2\r\n\r\n"] {
        let frame = seal(inside);
        let events = decode(&[KEY], &[&frame[..], &next].concat(), 4096);
        assert_eq!(frames(&events).len(), 1, "{inside:?}");
        let Err(error) = &events[0] else { panic!("{inside:?}: {events:?}") };
        let told = [SkipReason::NoTelegramInside, SkipReason::CutShort];
        assert!(told.contains(&error.reason) && error.bytes == frame.len(), "{error}");
    }
    let events = decode(&[KEY], &seal(&wrong), 4096);
    assert!(
        matches!(&events[..], [Err(error)] if matches!(error.reason, SkipReason::Checksum { .. }))
    );
    // Without its checksum a telegram of a meter that has one is not believed, encrypted or not.
    let text = capture("luxembourg.txt");
    let end = text.iter().position(|byte| *byte == b'!').unwrap();
    let bare = [&text[..=end], b"\r\n"].concat();
    let events = decode(&[KEY], &[next, seal(&bare)].concat(), 4096);
    assert!(
        matches!(&events[..], [Ok(Frame::Telegram(_)), Err(error)] if error.reason == SkipReason::NoChecksum)
    );
}

#[test]
fn a_key_is_read_and_never_shown() {
    for text in [KEY, &KEY.to_lowercase(), "8F14E45F CEEA167A 5A36DEDD 4BEA2543"] {
        assert_eq!(key(text), key(KEY));
    }
    assert_eq!(format!("{:?}", key(KEY)), "Key(***)");
    for text in ["", &KEY[1..], &format!("{KEY}0"), &KEY.replace('8', "g"), &KEY.replace('8', "é")]
    {
        let message = text.parse::<Key>().unwrap_err().to_string();
        assert!(text.is_empty() || !message.contains(text), "{message}");
        assert!(message.contains("32 hex digits"), "{message}");
    }
}
