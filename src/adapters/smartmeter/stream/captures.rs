//! The recorded streams, held against what is written down of them.

use std::collections::VecDeque;

use meter_protocols::smartmeter::{
    Conn, Decoder, Frame, Kind, Packet, Reorder, SampleReply, SampleRequest, StopSummary,
};
use serde_json::Value;
use tokio::time::Instant;

use super::*;
use crate::adapters::fleet::LinkId;
use crate::adapters::smartmeter::{EntrySettings, Line};
use crate::bus::Wave;
use crate::metrics::Counter;

const SERIAL: &str = "smartmeter001";

fn now() -> Moment {
    Moment { instant: Instant::now(), at: Timestamp(1_614_697_442_000) }
}

/// One stream and what it has come to, in one window.
struct Recording {
    stream: Stream,
    sent: Option<u64>,
    queue: crate::bus::WaveQueue,
}

impl Recording {
    fn begin(reply: &SampleReply) -> Recording {
        let waveforms = Waveforms::default();
        let queue = waveforms.subscribe(SERIAL, 10_000, Counter::default());
        let setup = Setup::new(&SERIAL.into(), &EntrySettings::adopted(LinkId(0)), reply, false);
        let mut stream = Stream::begin(&setup, waveforms, &Metrics::default(), now());
        // It never ends.
        stream.windows = Windows::new(1e12, false);
        Recording { stream, sent: None, queue }
    }

    /// Where frames are missing, as `[first, behind the last]`.
    fn gaps(&self) -> Vec<[u64; 2]> {
        let mut waves = VecDeque::new();
        let _ = futures_util::FutureExt::now_or_never(self.queue.drain(&mut waves));
        let (mut next, mut gaps) = (0, Vec::new());
        for wave in waves {
            if let Wave::Piece(piece) = wave {
                if piece.first != next {
                    gaps.push([next, piece.first]);
                }
                next = piece.end();
            }
        }
        gaps
    }
}

fn capture(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/protocols/tests/captures/smartmeter");
    std::fs::read(std::path::Path::new(folder).join(name)).unwrap()
}

fn expected(name: &str) -> Value {
    serde_json::from_slice::<Value>(&capture("expected.json")).unwrap()[name].clone()
}

/// The streams of a capture with packets.
fn framed(name: &str, kind: Kind) -> Vec<Recording> {
    let mut decoder = Decoder::new();
    decoder.push(&capture(name));
    let mut recordings: Vec<Recording> = Vec::new();
    while let Some(frame) = decoder.next_frame() {
        match frame {
            Ok(Frame::Json(text)) => {
                let value: Value = serde_json::from_str(&text).unwrap();
                if let Some(reply) = SampleReply::read(&value, Some(kind), None) {
                    recordings.push(Recording::begin(&reply));
                } else if let Some(summary) = StopSummary::read(&value) {
                    recordings.last_mut().unwrap().sent = summary.sent_samples;
                }
            }
            Ok(Frame::Data(packet)) => {
                let stream = &mut recordings.last_mut().unwrap().stream;
                stream.packet(packet.number, &packet.payload, now());
            }
            Ok(_) => {}
            Err(error) => panic!("{name}: {error}"),
        }
    }
    recordings
}

fn layout_of(kind: Kind, rate: u32, chunk: usize) -> SampleReply {
    let layout = SampleRequest::new(rate).layout(kind).unwrap();
    SampleReply {
        layout,
        rate_hz: f64::from(rate),
        chunk,
        framed: true,
        flow_control: false,
        conn: Conn::Tcp.name().to_owned(),
        port: None,
        slot: None,
        start: None,
        ntp_confidence: None,
    }
}

fn near(is: Option<f64>, should: &Value, scale: f64, what: &str) {
    if let Some(should) = should.as_f64() {
        let is = is.unwrap_or_else(|| panic!("no {what}")) * scale;
        assert!((is - should).abs() < 2e-4, "{what}: {is}, not {should}");
    }
}

/// Holds the means of the whole recording against what is written down.
fn assert_means(recording: &Recording, expected: &Value) {
    let (lines, whole) = recording.stream.window.means(&recording.stream.columns);
    let alone = expected["rms"].get("v").is_some();
    for (number, line) in (1..).zip(&lines) {
        if alone && *line == Line::default() {
            continue;
        }
        let end = if alone { String::new() } else { format!("_l{number}") };
        let of = |group: &str, what: &str| expected[group][format!("{what}{end}")].clone();
        near(line.voltage_v, &of("rms", "v"), 1.0, "V");
        near(line.current_a, &of("rms", "i"), 1000.0, "mA");
        near(line.voltage_v, &of("rms", "v_rms"), 1.0, "V");
        near(line.current_a, &of("rms", "i_rms"), 1000.0, "mA");
        near(line.active_w, &of("active_power_w", "p"), 1.0, "W");
        near(line.apparent_va, &of("apparent_power_va", "p"), 1.0, "VA");
        if expected["active_power_w"].is_null() {
            near(line.active_w, &of("mean", "p"), 1.0, "W");
        }
        near(line.reactive_var, &of("mean", "q"), 1.0, "var");
    }
    if !alone {
        near(whole.active_w, &expected["active_power_total_w"], 1.0, "W in all");
        near(whole.current_a, &expected["current_total_a"], 1.0, "A in all");
        near(whole.voltage_v, &expected["voltage_mean_v"], 1.0, "V of all");
    }
}

#[test]
fn recorded_packets_give_what_is_written_down() {
    for (name, kind) in [
        ("sp_4k_framed.bin", Kind::SmartMeter),
        ("3p_4k_framed.bin", Kind::SmartMeter),
        ("3p_4k_loss.bin", Kind::SmartMeter),
        ("3p_rms_10hz.bin", Kind::SmartMeter),
        ("3p_pq_10hz.bin", Kind::SmartMeter),
        ("pm_vipq_2k_framed.bin", Kind::PowerMeter),
    ] {
        let expected = expected(name);
        let recording = framed(name, kind).remove(0);
        assert_means(&recording, &expected);
        let summary = recording.stream.summary();
        assert_eq!(summary.frames, expected["samples"], "{name}");
        assert_eq!(summary.packets, expected["packets"], "{name}");
        let missing = expected["missing_packets"].as_array().unwrap().len();
        assert_eq!(summary.lost_packets, missing as u64, "{name}");
        assert_eq!(summary.lost_frames, expected["lost_samples"].as_u64().unwrap_or(0), "{name}");
        if let Some(ranges) = expected.get("lost_sample_ranges") {
            let ranges: Vec<[u64; 2]> = serde_json::from_value(ranges.clone()).unwrap();
            assert_eq!(recording.gaps(), ranges);
        }
        let (sent, before) = (recording.sent, summary.lost_frames);
        let (summary, _) = recording.stream.end(sent, now());
        assert_eq!(summary.lost_frames, before, "{name}: nothing is lost behind the last packet");
    }
}

#[test]
fn packets_in_awkward_places_are_counted_right() {
    for (name, packets) in [("cut_log_line.bin", 4), ("prefix_in_payload.bin", 3)] {
        let recording = framed(name, Kind::SmartMeter).remove(0);
        let summary = recording.stream.summary();
        assert_eq!((summary.packets, summary.lost_packets), (packets, 0), "{name}");
        assert_eq!(summary.frames, expected(name)["samples"], "{name}");
    }
    assert_means(&framed("cut_log_line.bin", Kind::SmartMeter)[0], &expected("cut_log_line.bin"));
    let two = framed("two_recordings.bin", Kind::SmartMeter);
    let frames: u64 = two.iter().map(|one| one.stream.summary().frames).sum();
    assert_eq!((two.len(), frames), (2, 512));
    assert!(two.iter().all(|one| one.stream.summary().lost_packets == 0));
}

#[test]
fn recorded_raw_streams_give_what_is_written_down() {
    for (name, kind, rate) in
        [("sp_4k_raw.f32", Kind::PowerMeter, 4000), ("3p_8k_raw.f32", Kind::SmartMeter, 8000)]
    {
        let mut recording = Recording::begin(&layout_of(kind, rate, 1024));
        capture(name).chunks(777).for_each(|bytes| recording.stream.raw(bytes, now()));
        assert_means(&recording, &expected(name));
        assert_eq!(recording.stream.summary().frames, expected(name)["samples"]);
    }
}

#[test]
fn recorded_datagrams_give_what_is_written_down() {
    let (name, mut reorder) = ("udp_3p_4k.jsonl", Reorder::new());
    let expected = expected(name);
    let mut recording = Recording::begin(&layout_of(Kind::SmartMeter, 4000, 504));
    let mut take = |reorder: &mut Reorder| {
        while let Some(packet) = reorder.next_packet() {
            recording.stream.packet(packet.number, &packet.payload, now());
        }
    };
    for line in String::from_utf8(capture(name)).unwrap().lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        let datagram = <base64ct::Base64 as base64ct::Encoding>::decode_vec(
            value["datagram_b64"].as_str().unwrap(),
        );
        reorder.push(Packet::of_datagram(&datagram.unwrap()).unwrap().unwrap());
        take(&mut reorder);
    }
    reorder.flush();
    take(&mut reorder);
    assert_means(&recording, &expected);
    let summary = recording.stream.summary();
    assert_eq!((summary.packets, summary.lost_packets, summary.lost_frames), (9, 1, 21));
    assert_eq!(summary.frames, expected["samples"]);
}
