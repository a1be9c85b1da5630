//! SmartMeters and PowerMeters: captures, dialogs, and the properties that every decoder here has.

// Outside of the test functions themselves the lints take this for production code.
#![allow(clippy::unwrap_used, clippy::panic)]

mod alike;
mod captures;
mod dialogs;
mod mqtt;
mod raw;
mod resync;
mod streams;

use meter_protocols::smartmeter::{
    Decoder, Frame, FrameError, Message, Packet, SampleReply, StopSummary,
};
use serde_json::Value;

type Event = Result<Frame, FrameError>;

/// What one capture has, by the name of its file.
fn capture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/captures/smartmeter/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn expected() -> Value {
    serde_json::from_slice(&capture("expected.json")).unwrap()
}

/// Captures with packets.
const FRAMED: [&str; 8] = [
    "sp_4k_framed.bin",
    "3p_4k_framed.bin",
    "3p_4k_loss.bin",
    "3p_rms_10hz.bin",
    "3p_pq_10hz.bin",
    "pm_vipq_2k_framed.bin",
    "prefix_in_payload.bin",
    "two_recordings.bin",
];

/// Everything that comes out of these pieces, and of the end after them. Replies to `sample` are heeded,
/// as a session does it.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        drain(&mut decoder, &mut events);
        assert!(decoder.pending() <= 66 * 1024, "{} bytes are held", decoder.pending());
    }
    decoder.idle();
    drain(&mut decoder, &mut events);
    assert_eq!(decoder.pending(), 0);
    events
}

fn drain(decoder: &mut Decoder, events: &mut Vec<Event>) {
    while let Some(event) = decoder.next_frame() {
        if let Ok(Frame::Json(text)) = &event
            && let Ok(value) = serde_json::from_str(text)
        {
            if let Some(reply) = SampleReply::read(&value, None, None) {
                decoder.expect_frames(reply.layout.sample_bytes());
                decoder.set_raw(!reply.framed);
            }
            if StopSummary::read(&value).is_some() {
                decoder.set_raw(false);
            }
        }
        // Samples without packets come in pieces of any size.
        match (event, events.last_mut()) {
            (Ok(Frame::Raw(more)), Some(Ok(Frame::Raw(bytes)))) => bytes.extend(more),
            (event, _) => events.push(event),
        }
    }
}

fn decode_whole(stream: &[u8]) -> Vec<Event> {
    decode([stream])
}

fn frames(events: &[Event]) -> Vec<Frame> {
    events.iter().filter_map(|event| event.clone().ok()).collect()
}

fn errors(events: &[Event]) -> Vec<FrameError> {
    events.iter().filter_map(|event| event.clone().err()).collect()
}

fn packets(events: &[Event]) -> Vec<Packet> {
    let packet = |frame| match frame {
        Frame::Data(packet) => Some(packet),
        _ => None,
    };
    frames(events).into_iter().filter_map(packet).collect()
}

fn numbers(events: &[Event]) -> Vec<u32> {
    packets(events).iter().map(|packet| packet.number).collect()
}

fn messages(events: &[Event]) -> Vec<Message> {
    let message = |frame| match frame {
        Frame::Json(text) => Message::read(&text, None),
        _ => None,
    };
    frames(events).into_iter().filter_map(message).collect()
}
