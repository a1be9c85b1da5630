//! Each capture gives its packets, samples and lines, wherever it is cut.

use meter_protocols::smartmeter::{Frame, Sequence, StopSummary, Verdict, floats};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    Event, FRAMED, SampleReply, capture, decode, decode_whole, errors, expected, frames, packets,
};

/// The replies of one kind in a stream.
fn replies<R>(events: &[Event], read: impl Fn(&Value) -> Option<R>) -> Vec<R> {
    let read = |frame: &Frame| match frame {
        Frame::Json(text) => read(&serde_json::from_str(text).unwrap()),
        _ => None,
    };
    frames(events).iter().filter_map(read).collect()
}

fn hash(payload: &[u8]) -> String {
    Sha256::digest(payload).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn each_capture_gives_its_samples() {
    let expected = expected();
    for name in FRAMED.iter().chain(&["cut_log_line.bin"]) {
        let (expected, events) = (&expected[*name], decode_whole(&capture(name)));
        let packets = packets(&events);
        let payload: Vec<u8> = packets.iter().flat_map(|one| one.payload.clone()).collect();
        let started = replies(&events, |value| SampleReply::read(value, None, None));
        let layout = &started[0].layout;
        assert_eq!(hash(&payload), expected["payload_sha256"], "{name}");
        assert_eq!(packets.len(), expected["packets"].as_u64().unwrap() as usize, "{name}");
        assert_eq!(serde_json::json!(layout.names()), expected["channels"], "{name}");
        assert_eq!(started[0].rate_hz, expected["rate_hz"].as_f64().unwrap(), "{name}");
        let samples = payload.len() / layout.sample_bytes();
        assert_eq!(samples, expected["samples"].as_u64().unwrap() as usize, "{name}");
        if let Some(start) = expected["start_ts"].as_str() {
            assert_eq!(started[0].start, start.parse().ok(), "{name}");
        }
        if let Some(first) = expected["first"][0].as_array() {
            let wanted: Vec<f32> = first.iter().map(|one| one.as_f64().unwrap() as f32).collect();
            let values: Vec<f32> = floats(&payload).take(first.len()).collect();
            assert_eq!(values, wanted, "{name}");
        }
        let count = |is: fn(&Frame) -> bool| frames(&events).iter().filter(|one| is(one)).count();
        if let Some(lines) = expected["json_lines"].as_u64() {
            assert_eq!(count(|one| matches!(one, Frame::Json(_))), lines as usize, "{name}");
        }
        if let Some(lines) = expected["log_lines"].as_u64() {
            assert_eq!(count(|one| matches!(one, Frame::Log(_))), lines as usize, "{name}");
        }
        assert_eq!(errors(&events), [], "{name}");
    }
}

#[test]
fn what_is_lost_is_counted_by_numbers_and_by_the_summary() {
    let (expected, events) = (expected(), decode_whole(&capture("3p_4k_loss.bin")));
    let expected = &expected["3p_4k_loss.bin"];
    let started = replies(&events, |value| SampleReply::read(value, None, None)).remove(0);
    let mut sequence = Sequence::new(started.frames_per_packet());
    let mut gaps = Vec::new();
    for packet in packets(&events) {
        let frames = packet.payload.len() / started.layout.sample_bytes();
        if let Verdict::Gap { frames: lost, .. } = sequence.take(packet.number, frames as u64) {
            let end = sequence.position() - frames as u64;
            gaps.push([end - lost, end]);
        }
    }
    assert_eq!(serde_json::json!(gaps), expected["lost_sample_ranges"]);
    assert_eq!(sequence.lost_frames(), expected["lost_samples"].as_u64().unwrap());
    assert_eq!(sequence.lost_packets(), 3);
    let summary = replies(&events, StopSummary::read).remove(0);
    assert_eq!(summary.samples, expected["total_samples"].as_u64().unwrap());
    assert_eq!(sequence.finish(summary.samples), 0);
}

#[test]
fn a_packet_behind_a_line_that_was_cut_is_kept() {
    let events = decode_whole(&capture("cut_log_line.bin"));
    let cut: Vec<bool> = frames(&events)
        .iter()
        .filter_map(|frame| match frame {
            Frame::Log(line) => Some(line.cut),
            _ => None,
        })
        .collect();
    assert_eq!(cut, [true, false]);
    assert_eq!(crate::numbers(&events), [0, 1, 2, 3]);
}

#[test]
fn awkward_cuts_make_no_difference() {
    let expected = expected();
    for (name, cuts) in expected["segment_cuts"].as_object().unwrap() {
        let (stream, mut pieces, mut begin) = (capture(name), Vec::new(), 0);
        let whole = decode_whole(&stream);
        for cut in cuts.as_array().unwrap() {
            let cut = cut.as_u64().unwrap() as usize;
            assert_eq!(decode([&stream[..cut], &stream[cut..]]), whole, "{name} cut at {cut}");
            pieces.push(&stream[begin..cut]);
            begin = cut;
        }
        pieces.push(&stream[begin..]);
        assert_eq!(decode(pieces), whole, "{name} in all pieces");
    }
}

#[test]
fn a_timed_start_of_a_powermeter_is_no_error() {
    let text = r#"{"error":true,"cmd":"sample","msg":"Should sample at: 1614697450.000//nStart sampling in: 900ms","startTs":"1614697450.000"}"#;
    let value = serde_json::from_str(text).unwrap();
    let asked = meter_protocols::smartmeter::SampleRequest::new(2000);
    let kind = Some(meter_protocols::smartmeter::Kind::PowerMeter);
    let reply = SampleReply::read(&value, kind, Some(&asked)).unwrap();
    assert_eq!((reply.start, reply.rate_hz, reply.chunk), (Some(1614697450.0), 2000.0, 1024));
    assert_eq!(reply.layout.measures(), "v,i");
    let failed = text.replace("startTs", "other");
    assert_eq!(
        SampleReply::read(&serde_json::from_str(&failed).unwrap(), kind, Some(&asked)),
        None
    );
}

#[test]
fn replies_as_the_readme_has_them_are_read_too() {
    for name in FRAMED {
        let stream = String::from_utf8_lossy(&capture(name)).into_owned();
        let json: Vec<&str> = stream
            .split("Info:")
            .filter_map(|line| line.split_once("\r\n"))
            .map(|one| one.0)
            .collect();
        let without = |text: &str| {
            let mut value: Value = serde_json::from_str(text).ok()?;
            let cmd = value.as_object_mut()?.shift_remove("cmd")?;
            Some((cmd, serde_json::from_str(text).ok()?, value))
        };
        let mut seen = 0;
        for (cmd, whole, value) in json.iter().filter_map(|text| without(text)) {
            let reply = SampleReply::read(&value, None, None);
            assert_eq!(reply, SampleReply::read(&whole, None, None), "{name}");
            assert_eq!(reply.is_some(), cmd == "sample", "{name}");
            assert_eq!(StopSummary::read(&value), StopSummary::read(&whole), "{name}");
            seen += 1;
        }
        assert!(seen >= 2, "{name}");
    }
}
