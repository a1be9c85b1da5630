//! Where a stream is split makes no difference, and nothing in it makes the decoder panic or grow.

use meter_protocols::smartmeter::mqtt::{InfoMessage, Sample};
use meter_protocols::smartmeter::{
    Decoder, Frame, Info, Kind, LogLevel, LogLine, Message, Packet, Reorder, SampleReply, Sequence,
    StopSummary, line,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{FRAMED, capture, decode, decode_whole, errors, frames};

#[test]
fn every_split_of_the_smaller_captures_gives_the_same() {
    for name in ["3p_rms_10hz.bin", "3p_pq_10hz.bin", "prefix_in_payload.bin", "cut_log_line.bin"] {
        let stream = capture(name);
        let whole = decode_whole(&stream);
        for at in 0..=stream.len() {
            assert_eq!(decode([&stream[..at], &stream[at..]]), whole, "{name} split at {at}");
        }
    }
}

#[test]
fn any_size_of_reads_gives_the_same() {
    for name in FRAMED {
        let stream = capture(name);
        let whole = decode_whole(&stream);
        for size in [1, 2, 3, 7, 11, 100, 536, 1460, 4096] {
            assert_eq!(decode(stream.chunks(size)), whole, "{name} in reads of {size}");
        }
    }
}

#[test]
fn a_decoder_that_nobody_drains_does_not_grow() {
    let mut decoder = Decoder::new();
    for _ in 0..100 {
        decoder.push(&[b'x'; 64 * 1024]);
        assert!(decoder.pending() <= 1024 * 1024);
    }
}

#[test]
fn noise_is_told_piece_by_piece() {
    let noise = vec![0xA5; 300_000];
    let errors = errors(&decode(noise.chunks(1000)));
    assert_eq!(errors.iter().map(|error| error.bytes).sum::<usize>(), noise.len());
    assert_eq!(errors.len(), 5);
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let text = "[ -~]{0,60}";
    let packet = (any::<u32>(), vec(any::<[u8; 8]>(), 1..20))
        .prop_map(|(number, samples)| Frame::Data(Packet { number, payload: samples.concat() }));
    let log = (0..5_u8, "[ -~]{0,60}").prop_map(|(level, text)| {
        let level = LogLevel::of_letter(char::from(b"ADIWE"[usize::from(level)])).unwrap();
        let text = text.trim_end().to_owned();
        Frame::Log(LogLine { level, time: Some("03/02 16:04:02".into()), text, cut: false })
    });
    let json = text
        .prop_map(|text| Frame::Json(serde_json::json!({"error": false, "msg": text}).to_string()));
    prop_oneof![4 => packet, 2 => log, 2 => json, 1 => Just(Frame::Text("Setup done".into()))]
}

fn encode(frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        match frame {
            Frame::Json(text) | Frame::Text(text) => line(text, &mut out),
            Frame::Log(one) => one.encode(&mut out),
            Frame::Data(packet) => packet.encode(&mut out),
            Frame::Raw(bytes) => out.extend(bytes),
        }
    }
    out
}

/// Everything that stands between the frames, and pieces of them.
fn junk() -> impl Strategy<Value = Vec<u8>> {
    let begun = prop::sample::select(vec![
        &b"Data:"[..],
        b"Data:\x18\x00\x00\x00\x00\x00",
        b"Info:[I]03/02 16:04:02: half",
        b"Info:{\"error\":",
        b"Info:Setup",
        b"\r\n",
        b"Info:{\"cmd\":\"log\",\"msg\":\"*** LOGFile",
        b"Info:{\"error\":false,\"cmd\":\"sample\",\"measures\":\"v,i\",\"samplingrate\":10,\"prefix\":false}\r\n",
    ]);
    vec(prop_oneof![begun.prop_map(<[u8]>::to_vec), vec(any::<u8>(), 0..20)], 0..6)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(wanted in vec(any_frame(), 0..12)) {
        let events = decode_whole(&encode(&wanted));
        prop_assert_eq!(errors(&events), vec![]);
        prop_assert_eq!(frames(&events), wanted);
    }

    #[test]
    fn pieces_make_no_difference(
        before in junk(),
        first in vec(any_frame(), 0..5),
        between in junk(),
        second in vec(any_frame(), 0..5),
        sizes in vec(1..40_usize, 1..60),
    ) {
        let stream = [before, encode(&first), between, encode(&second)].concat();
        let (mut pieces, mut rest) = (Vec::new(), &stream[..]);
        for size in sizes {
            let (piece, behind) = rest.split_at(size.min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(rest);
        prop_assert_eq!(decode(pieces), decode_whole(&stream));
    }

    #[test]
    fn no_bytes_make_it_panic(stream in vec(any::<u8>(), 0..600), size in 1..50_usize) {
        prop_assert_eq!(decode(stream.chunks(size)), decode_whole(&stream));
        let text = String::from_utf8_lossy(&stream);
        let _ = Message::read(&text, Some(Kind::SmartMeter));
        let _ = LogLine::read(&text, false).map(|one| (one.quality(), one.rate_hz(), one.switched()));
        let _ = Packet::of_datagram(&stream);
    }

    #[test]
    fn no_message_makes_it_panic(
        keys in prop::collection::hash_map("cmd|error|msg|name|energy|ssids|measures|unit|samplingrate|chunksize|slot|power|value|values|ts|relay|period|startTs|samples", prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::from),
            any::<f64>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            "info|sample|log|stop|ntp|on|[1, 2]|1,2,3|v,i|V,mA|[ -~]{0,12}".prop_map(serde_json::Value::from),
            vec(any::<f32>(), 0..5).prop_map(serde_json::Value::from),
        ], 0..8),
    ) {
        let value = serde_json::Value::Object(keys.into_iter().collect());
        for kind in [None, Some(Kind::SmartMeter), Some(Kind::PowerMeter)] {
            let _ = Message::of_value(value.clone(), kind);
            let _ = SampleReply::read(&value, kind, None).map(|reply| reply.frames_per_packet());
            let text = value.to_string();
            let _ = InfoMessage::read(text.as_bytes(), kind);
            let _ = Sample::read(text.as_bytes(), Some(false));
        }
        let _ = (Info::read(&value), StopSummary::read(&value));
    }

    #[test]
    fn datagrams_come_out_once_and_in_order(
        numbers in vec(0..40_u32, 0..80),
    ) {
        let (mut reorder, mut sequence, mut out) = (Reorder::new(), Sequence::new(1), Vec::new());
        for number in &numbers {
            reorder.push(Packet { number: *number, payload: vec![0; 4] });
            out.extend(std::iter::from_fn(|| reorder.next_packet()));
        }
        reorder.flush();
        out.extend(std::iter::from_fn(|| reorder.next_packet()));
        for packet in &out {
            prop_assert_ne!(sequence.take(packet.number, 1), meter_protocols::smartmeter::Verdict::Old);
        }
        prop_assert_eq!(out.len() as u64 + reorder.repeated(), numbers.len() as u64);
    }
}
