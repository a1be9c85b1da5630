//! Finding packets again: junk costs only the junk, and a broken packet only itself.

use meter_protocols::brultech::{Decoder, Format, FrameError, SkipReason};

use crate::{CAPTURES, Event, capture, decode_whole, drain, formats, joined, skipped};

/// Why bytes were passed over; `None` for a frame.
fn reason(event: &Event) -> Option<SkipReason> {
    match event {
        Err(FrameError::Skipped { reason, .. }) => Some(*reason),
        Ok(_) => None,
    }
}

#[test]
fn junk_costs_only_the_junk() {
    let junk: &[&[u8]] = &[
        b"Alive",
        b"\xFE",
        b"\xFF",
        b"\xFE\xFE\xFE",
        b"\xFE\xFF",
        b"\xFE\xFF\x05",
        b"\xFE\xFF\x03\xFE\xFF\x09",
        b"\xFF\xFE\xFF\xFE",
        b"n=",
        b"n=01100603&wh_1=",
        b"GET /gem?SN=",
        b"PUT / HTTP/1.1\r\n",
        b"P",
        &[0; 2000],
        &[0xFE; 2000],
    ];
    let expected: Vec<_> = CAPTURES.iter().map(|(format, _)| *format).collect();
    for junk in junk {
        let mut stream = junk.to_vec();
        for (_, packet) in CAPTURES {
            stream.extend(packet);
            stream.extend(*junk);
        }
        let events = decode_whole(&stream);
        assert_eq!(formats(&events), expected, "junk {}", junk.escape_ascii());
        let passed: usize = skipped(&events).iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(passed, junk.len() * (CAPTURES.len() + 1), "junk {}", junk.escape_ascii());
    }
}

#[test]
fn neighbouring_junk_is_one_error_with_its_place() {
    let mut stream = b"Alive".to_vec();
    stream.extend(capture(Format::Ecm1240));
    stream.extend(b"AliveAlive");
    stream.extend(capture(Format::Ecm1240));
    stream.extend(b"\r\n");
    let events = decode_whole(&stream);
    assert_eq!(skipped(&events), [(0, 5), (70, 10), (145, 2)]);
    assert!(events[0].as_ref().is_err_and(|error| error.to_string().contains("\"Alive\"")));
}

#[test]
fn a_megabyte_of_noise_is_a_handful_of_errors() {
    let stream = vec![0x55; 1_000_000];
    let events = crate::decode(stream.chunks(10_000));
    assert_eq!(events.len(), 16);
    assert_eq!(skipped(&events).iter().map(|(_, bytes)| bytes).sum::<usize>(), stream.len());
}

#[test]
fn a_damaged_packet_costs_only_itself() {
    for (format, bytes) in CAPTURES {
        for at in 3..bytes.len() {
            let mut stream = joined();
            let intact = stream.len();
            stream.extend(bytes);
            stream[intact + at] ^= 0x10;
            stream.extend(joined());
            let events = decode_whole(&stream);
            assert_eq!(formats(&events).len(), 2 * CAPTURES.len(), "{format}, byte {at}");
            assert_eq!(skipped(&events), [(intact as u64, bytes.len())], "{format}, byte {at}");
            let damage = events.iter().find_map(reason);
            let footer = bytes.len() - 3;
            match damage {
                Some(SkipReason::Footer(code)) => {
                    assert_eq!(code, format.code());
                    assert!(at == footer || at == footer + 1, "{format}, byte {at}");
                }
                Some(SkipReason::Checksum { format: named, .. }) => assert_eq!(named, format),
                other => panic!("{format}, byte {at}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_truncated_packet_costs_only_itself() {
    for (format, bytes) in CAPTURES {
        for length in 1..bytes.len() {
            let mut stream = bytes[..length].to_vec();
            stream.extend(joined());
            stream.extend(joined());
            let events = decode_whole(&stream);
            assert_eq!(formats(&events).len(), 2 * CAPTURES.len(), "{format} cut to {length}");
            assert_eq!(skipped(&events), [(0, length)], "{format} cut to {length}");
        }
    }
}

/// Windows over truncated packets that are filled up with zeros do pass the checksum alone.
#[test]
fn truncated_and_zero_filled_packets_of_code_5_are_told_apart() {
    let time = capture(Format::Bin48NetTime);
    let net = capture(Format::Bin48Net);
    for length in 0..time.len() {
        for fill in [0, 1, 6, 300, 625 - length] {
            let mut stream = time[..length].to_vec();
            stream.extend(vec![0; fill]);
            stream.extend(net);
            stream.extend(time);
            stream.extend(net);
            let events = decode_whole(&stream);
            let expected = [Format::Bin48Net, Format::Bin48NetTime, Format::Bin48Net];
            assert_eq!(formats(&events), expected, "cut to {length}, {fill} zeros");
        }
    }
}

#[test]
fn both_lengths_of_code_5_in_any_order() {
    let (time, net) = (Format::Bin48NetTime, Format::Bin48Net);
    for order in [[time, net, time], [net, time, net], [net, net, time], [time, time, net]] {
        let stream = order.map(capture).concat();
        assert_eq!(decode_whole(&stream).len(), 3);
        assert_eq!(formats(&decode_whole(&stream)), order);
    }
}

#[test]
fn idle_frees_what_a_false_header_hides() {
    let mut stream = vec![0xFE, 0xFF, 0x05];
    stream.extend(capture(Format::Ecm1240));
    stream.extend(capture(Format::Ecm1240));
    let mut decoder = Decoder::new();
    decoder.push(&stream);
    assert_eq!(drain(&mut decoder), [], "625 bytes might still come");
    decoder.idle();
    let events = drain(&mut decoder);
    assert_eq!(formats(&events), [Format::Ecm1240; 2]);
    assert_eq!(reason(&events[0]), Some(SkipReason::CutShort { code: 5, held: stream.len() }));
    assert_eq!(skipped(&events), [(0, 3)]);
    assert_eq!(decoder.pending(), 0);

    decoder.push(capture(Format::Bin48Net));
    assert_eq!(formats(&drain(&mut decoder)), [Format::Bin48Net], "the link goes on");
}

#[test]
fn idle_between_packets_changes_nothing() {
    let mut decoder = Decoder::new();
    let mut seen = Vec::new();
    for (_, bytes) in CAPTURES {
        decoder.idle();
        assert_eq!(drain(&mut decoder), []);
        decoder.push(bytes);
        seen.extend(drain(&mut decoder));
    }
    assert_eq!(formats(&seen).len(), CAPTURES.len());
    assert_eq!(skipped(&seen), []);
}

/// Replies to commands come before, behind and in the middle of what else is on the link.
#[test]
fn a_reply_can_be_had_without_the_packets_in_it() {
    let reply = include_bytes!("../captures/brultech/GEM-RQSALL-reply.txt");
    let settings = include_bytes!("../captures/brultech/ECM-1240-settings-reply.bin");
    let mut decoder = Decoder::new();
    decoder.push(b"Alive");
    drain(&mut decoder);
    decoder.keep_between(2000);
    decoder.push(&reply[..700]);
    decoder.push(capture(Format::Bin32Net));
    decoder.push(&reply[700..]);
    assert_eq!(formats(&drain(&mut decoder)), [Format::Bin32Net]);
    assert_eq!(decoder.take_between(), reply);

    decoder.push(b"\xFC");
    decoder.push(settings);
    drain(&mut decoder);
    assert_eq!(decoder.take_between(), [&b"\xFC"[..], settings].concat());

    decoder.push(&[b'z'; 5000]);
    drain(&mut decoder);
    assert_eq!(decoder.take_between(), [b'z'; 2000], "bounded");

    decoder.keep_between(0);
    decoder.push(reply);
    drain(&mut decoder);
    assert!(decoder.take_between().is_empty());
}
