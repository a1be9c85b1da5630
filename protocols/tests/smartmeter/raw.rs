//! Samples without packets, with lines among them.

use meter_protocols::smartmeter::{Frame, LogLevel, LogLine, line};

use crate::{Event, capture, decode, decode_whole, errors, frames};

/// The reply that announces samples without packets.
fn started() -> Vec<u8> {
    let mut out = Vec::new();
    let reply = r#"{"error":false,"cmd":"sample","measures":"v,i_L1","chunksize":1024,"samplingrate":4000,"prefix":false,"startTs":"1.0"}"#;
    line(reply, &mut out);
    out
}

const STOPPED: &str =
    r#"{"msg":"Received stop command","samples":2000,"cmd":"stop","error":false}"#;

fn samples(events: &[Event]) -> Vec<u8> {
    let raw = |frame| match frame {
        Frame::Raw(bytes) => Some(bytes),
        _ => None,
    };
    frames(events).into_iter().filter_map(raw).flatten().collect()
}

fn mixed() -> (Vec<u8>, Vec<u8>) {
    let data = capture("sp_4k_raw.f32");
    let (first, rest) = data.split_at(1024);
    let (second, third) = rest.split_at(2048);
    let mut stream = started();
    stream.extend(first);
    let time = Some("03/02 16:04:02".to_owned());
    LogLine { level: LogLevel::Warning, time, text: "Correcting: 3 samples".into(), cut: false }
        .encode(&mut stream);
    stream.extend(second);
    stream.extend(b"Info:Setup done\r\n");
    line(r#"{"error":true,"cmd":"getPower","state":"busy"}"#, &mut stream);
    stream.extend(third);
    line(STOPPED, &mut stream);
    line(r#"{"error":false,"cmd":"clearLog"}"#, &mut stream);
    (stream, data)
}

#[test]
fn lines_are_found_among_samples() {
    let (stream, data) = mixed();
    let events = decode_whole(&stream);
    assert_eq!(samples(&events), data);
    assert_eq!(errors(&events), []);
    let lines = frames(&events).into_iter().filter(|frame| !matches!(frame, Frame::Raw(_)));
    assert_eq!(lines.count(), 6);
    for size in [1, 3, 7, 100, 1024, 5000] {
        assert_eq!(decode(stream.chunks(size)), events, "pieces of {size}");
    }
}

#[test]
fn samples_that_look_like_lines_are_samples() {
    let mut data = b"Info:{Data:\x10\0\0Info:[E]\r\nInfo:Info:{\"x".to_vec();
    data.extend([0xFF; 2100]);
    data.extend(b"Info:[I]03/02 16:0x:02: Info:{\"half\n\nInfo:Setup\0");
    let mut stream = started();
    stream.extend(&data);
    line(STOPPED, &mut stream);
    let events = decode_whole(&stream);
    assert_eq!(samples(&events), data);
    assert_eq!(frames(&events).last(), Some(&Frame::Json(STOPPED.to_owned())));
    assert_eq!(decode(stream.chunks(1)), events);
}

#[test]
fn the_last_samples_come_out_with_the_end() {
    let stream = [&started()[..], b"12345678Inf"].concat();
    assert_eq!(samples(&decode_whole(&stream)), b"12345678Inf");
}
