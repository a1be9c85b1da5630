//! What is wrong costs itself, and nothing behind it.

use meter_protocols::smartmeter::{Decoder, Frame, LogLevel, LogLine, Packet, SkipReason, line};

use crate::{Event, capture, decode, decode_whole, errors, frames, numbers, packets};

fn started(measures: &str) -> Vec<u8> {
    let reply = format!(
        r#"{{"error":false,"cmd":"sample","measures":"{measures}","chunksize":32,"samplingrate":40,"prefix":true,"startTs":"1.0"}}"#
    );
    let mut out = Vec::new();
    line(&reply, &mut out);
    out
}

fn packet(number: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Packet { number, payload: payload.to_vec() }.encode(&mut out);
    out
}

/// A packet of four samples that look like nothing.
fn plain(number: u32) -> Vec<u8> {
    packet(number, &[0x11; 32])
}

fn log(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let (level, time) = (LogLevel::Info, Some("03/02 16:04:02".to_owned()));
    LogLine { level, time, text: text.to_owned(), cut: false }.encode(&mut out);
    out
}

fn reasons(events: &[Event]) -> Vec<SkipReason> {
    errors(events).iter().map(|error| error.reason).collect()
}

/// All splits in two give the same, and that is returned.
fn everywhere(stream: &[u8]) -> Vec<Event> {
    let whole = decode_whole(stream);
    for at in 0..=stream.len() {
        assert_eq!(decode([&stream[..at], &stream[at..]]), whole, "split at {at}");
    }
    assert_eq!(decode(stream.chunks(1)), whole);
    whole
}

#[test]
fn junk_costs_the_junk() {
    let junk: [&[u8]; 6] = [
        b"\x00\x01noise",
        b"Dat",
        b"Info",
        b"Data:\xff\xff\x01\x00\x00\x00",
        b"Data:\x07\x00\x02\x00\x00\x00",
        b"Info:[Q]no such level\r\n",
    ];
    for junk in junk {
        let stream =
            [&started("v,i_L1"), &plain(0)[..], &plain(1), junk, &plain(2), &plain(3)].concat();
        let events = everywhere(&stream);
        assert_eq!(numbers(&events), [0, 1, 2, 3], "{}", junk.escape_ascii());
        let skipped: usize = errors(&events).iter().map(|error| error.bytes).sum();
        assert_eq!(skipped, junk.len(), "{}", junk.escape_ascii());
        assert_eq!(errors(&events)[0].offset as usize, started("v,i_L1").len() + 2 * 43);
    }
}

#[test]
fn a_packet_cut_on_its_way_out_costs_itself_only() {
    for cut in 11..plain(1).len() - 4 {
        let short = &plain(1)[..cut];
        for behind in [plain(2), log("3999.92Hz, 4000s"), b"Info:{\"error\":false}\r\n".to_vec()] {
            // What fills the gap to the byte cannot be told from samples.
            if cut + behind.len() == plain(1).len() {
                continue;
            }
            let stream =
                [&started("v,i_L1"), &plain(0)[..], short, &behind, &plain(3), &plain(4)].concat();
            let events = everywhere(&stream);
            let found = numbers(&events);
            assert!(found.starts_with(&[0]) && found.ends_with(&[3, 4]), "cut at {cut}: {found:?}");
            assert!(!found.contains(&1), "cut at {cut}: {found:?}");
            let all = frames(&events).len();
            assert_eq!(all, 5, "cut at {cut}: {events:?}");
        }
    }
}

#[test]
fn a_header_cut_on_its_way_out_is_not_waited_for() {
    for cut in 1..11 {
        let stream = [&plain(0)[..], &plain(1)[..cut], &plain(2), &plain(3), &plain(4)].concat();
        for size in [1, 43, stream.len()] {
            let mut decoder = Decoder::new();
            decoder.expect_frames(8);
            let mut events = Vec::new();
            for piece in stream.chunks(size) {
                decoder.push(piece);
                events.extend(std::iter::from_fn(|| decoder.next_frame()));
            }
            // Without the end of the connection.
            assert_eq!(numbers(&events), [0, 2, 3, 4], "cut at {cut}, in pieces of {size}");
        }
        everywhere(&stream);
    }
}

#[test]
fn a_packet_that_lacks_its_last_bytes_costs_the_next_at_most() {
    for cut in plain(1).len() - 4..plain(1).len() {
        let stream =
            [&started("v,i_L1"), &plain(0)[..], &plain(1)[..cut], &plain(2), &plain(3)].concat();
        let found = numbers(&everywhere(&stream));
        assert!(found == [0, 1, 3] || found == [0, 2, 3], "cut at {cut}: {found:?}");
    }
}

#[test]
fn whole_messages_inside_of_samples_are_samples() {
    let mut inner = plain(2);
    inner.extend(b"Info:{\"error\":false}\r\n");
    inner.extend(log("inside"));
    inner.resize(inner.len().next_multiple_of(8), 0);
    let stream = [&started("v,i_L1"), &packet(0, &inner)[..], &plain(1), &log("out")].concat();
    let events = everywhere(&stream);
    assert_eq!(numbers(&events), [0, 1]);
    assert_eq!(packets(&events)[0].payload, inner);
    assert_eq!(errors(&events), []);
}

#[test]
fn a_line_that_is_cut_costs_itself_only() {
    let reply = b"Info:{\"error\":false,\"cmd\":\"getPower\",\"activePower\":[1,2,3]}\r\n";
    for cut in 6..reply.len() - 2 {
        let half = &reply[..cut];
        for behind in [log("behind"), b"Info:{\"error\":true}\r\n".to_vec(), plain(1)] {
            let stream =
                [&started("v,i_L1"), &plain(0)[..], half, &behind, &plain(2), &log("end")].concat();
            let events = everywhere(&stream);
            assert_eq!(frames(&events).len(), 5, "cut at {cut}: {events:?}");
        }
    }
}

#[test]
fn a_log_line_that_lost_its_end_ends_before_a_packet() {
    for number in [1, 10, 2570] {
        let cut = log(&"y".repeat(200));
        let mut stream = started("v,i_L1");
        let first: Vec<u8> = plain(number - 1);
        stream.extend(first);
        stream.extend(&cut[..100]);
        stream.extend(plain(number));
        stream.extend(log("next"));
        let events = everywhere(&stream);
        assert_eq!(numbers(&events), [number - 1, number]);
        let cut: Vec<bool> = frames(&events)
            .iter()
            .filter_map(|frame| match frame {
                Frame::Log(line) => Some(line.cut),
                _ => None,
            })
            .collect();
        assert_eq!(cut, [true, false]);
    }
}

#[test]
fn words_in_a_log_line_are_no_messages() {
    let text =
        r#"MQTT rx: powermeter/x/cmd Info:{"cmd":"info"} Data: and Info:[E]03/02 16:04:02: no"#;
    let stream = [&started("v,i_L1"), &log(text)[..], &plain(0)].concat();
    let events = everywhere(&stream);
    assert_eq!((frames(&events).len(), errors(&events).len()), (3, 0));
    assert!(matches!(&frames(&events)[1], Frame::Log(line) if line.text == text));
}

#[test]
fn a_log_line_that_is_too_long_is_cut_as_meters_cut_it() {
    for length in [504, 505, 506, 507, 600] {
        let stream = [&log(&"x".repeat(length))[..], &log("next"), &plain(0)].concat();
        let events = everywhere(&stream);
        assert_eq!(errors(&events), [], "{length}");
        assert_eq!((frames(&events).len(), numbers(&events).len()), (3, 1), "{length}");
    }
}

#[test]
fn a_line_without_an_end_is_given_up() {
    let mut stream = started("v,i_L1");
    stream.extend(b"Info:{\"error\":false,\"msg\":\"");
    stream.extend(std::iter::repeat_n(b'x', 3000));
    stream.extend(plain(0));
    let events = decode(stream.chunks(100));
    assert_eq!(numbers(&events), [0]);
    assert_eq!(reasons(&events), [SkipReason::NoLineEnd]);
    assert_eq!(decode_whole(&stream), events);
}

#[test]
fn the_log_of_a_meter_may_be_long() {
    let row = "Info:[W]11/21 02:57:22: Received \"unknown\" command//n";
    let text = format!(
        "Info:{{\"cmd\":\"log\",\"msg\":\"*** LOGFile *** //n{}*** LOGFile *** \"}}\r\n",
        row.repeat(800)
    );
    assert!(text.len() > 40_000);
    let stream = [text.as_bytes(), b"Info:{\"error\":false,\"cmd\":\"getLog\"}\r\n"].concat();
    let events = decode(stream.chunks(7));
    assert_eq!((frames(&events).len(), errors(&events).len()), (2, 0));
}

#[test]
fn a_serial_line_has_line_ends_behind_packets() {
    let decode = |stream: &[u8], size: usize| -> Vec<Event> {
        let mut decoder = Decoder::new();
        decoder.expect_frames(8);
        decoder.expect_line_ends(true);
        let mut events = Vec::new();
        for piece in stream.chunks(size) {
            decoder.push(piece);
            events.extend(std::iter::from_fn(|| decoder.next_frame()));
        }
        decoder.idle();
        events.extend(std::iter::from_fn(|| decoder.next_frame()));
        events
    };
    let whole =
        [&plain(0)[..], b"\r\n", &plain(1), b"\r\n", &log("x"), &plain(2), b"\r\n"].concat();
    for size in 1..60 {
        let events = decode(&whole, size);
        assert_eq!((numbers(&events), errors(&events)), (vec![0, 1, 2], vec![]), "{size}");
    }
    // Any byte that the line loses costs the packet that it was of, and no other.
    for lost in 0..43 {
        let stream = [&plain(0)[..], b"\r\n"].concat();
        let mut broken = [&plain(1)[..], b"\r\n"].concat();
        broken.remove(lost);
        let behind = [&plain(2)[..], b"\r\n", &plain(3), b"\r\n"].concat();
        let stream = [&stream[..], &broken, &behind].concat();
        assert_eq!(numbers(&decode(&stream, 1000)), [0, 2, 3], "byte {lost}");
    }
}

#[test]
fn line_ends_behind_packets_are_no_junk_on_any_link() {
    let stream = [&started("v,i_L1"), &plain(0)[..], b"\r\n", &plain(1), b"\r\n"].concat();
    let events = everywhere(&stream);
    assert_eq!((numbers(&events), errors(&events)), (vec![0, 1], vec![]));
}

#[test]
fn a_packet_with_half_a_sample_is_none() {
    let stream = [
        &started("v,i,v,i,v,i"),
        &packet(0, &[1; 48])[..],
        &packet(1, &[1; 40]),
        &packet(2, &[1; 24]),
    ];
    let events = everywhere(&stream.concat());
    assert_eq!(numbers(&events), [0, 2]);
    assert_eq!(reasons(&events), [SkipReason::Length(40)]);
}

#[test]
fn the_rest_of_a_stream_is_found_in_its_midst() {
    let stream = capture("sp_4k_framed.bin");
    for at in (200..2400).step_by(7) {
        let events = decode_whole(&stream[at..]);
        assert!(
            numbers(&events).ends_with(&[4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
            "from {at}"
        );
    }
}
