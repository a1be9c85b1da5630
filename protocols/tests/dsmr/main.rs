//! Telegrams and frames of customer ports: captures, and the properties that every decoder here has.

// Outside of the test functions themselves the lints take this for production code.
#![allow(clippy::unwrap_used, clippy::panic)]

mod captures;
mod encrypted;
mod resync;
mod streams;

use meter_protocols::dsmr::{Decoder, Frame, FrameError};

type Event = Result<Frame, FrameError>;

/// What one capture has, by the name of its file.
fn capture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/captures/dsmr/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All captures that decode.
const CAPTURES: [&str; 8] = [
    "dsmr22.txt",
    "dsmr40.txt",
    "dsmr50-three-phases.txt",
    "belgium.txt",
    "luxembourg.txt",
    "sweden.txt",
    "tic-historic.txt",
    "tic-three-phases.txt",
];

/// Everything that comes out of these pieces, and of the quiet after them.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        events.extend(std::iter::from_fn(|| decoder.next_frame()));
        assert!(decoder.pending() <= 8192, "{} bytes are held", decoder.pending());
    }
    decoder.idle();
    events.extend(std::iter::from_fn(|| decoder.next_frame()));
    assert_eq!(decoder.pending(), 0);
    events
}

fn decode_whole(stream: &[u8]) -> Vec<Event> {
    decode([stream])
}

fn frames(events: &[Event]) -> Vec<Frame> {
    events.iter().filter_map(|event| event.clone().ok()).collect()
}

/// The frame of one capture.
fn frame_of(name: &str) -> Frame {
    let mut frames = frames(&decode_whole(&capture(name)));
    assert_eq!(frames.len(), 1, "{name}");
    frames.remove(0)
}
