//! The Brultech decoder against real captures, and against everything a link can do to them.

mod captures;
mod commands;
mod ecm_exchanges;
mod exchange_properties;
mod exchanges;
mod late;
mod link;
mod packets;
mod resync;
mod settings;
mod streams;
mod text;

use meter_protocols::brultech::{Decoder, Format, Frame, FrameError, Packet};

/// A real packet of every format there is a capture of; the file's name is the format's.
const CAPTURES: [(Format, &[u8]); 5] = [
    (Format::Bin48NetTime, include_bytes!("../captures/brultech/BIN48-NET-TIME.bin")),
    (Format::Bin48Net, include_bytes!("../captures/brultech/BIN48-NET.bin")),
    (Format::Bin48Abs, include_bytes!("../captures/brultech/BIN48-ABS.bin")),
    (Format::Bin32Net, include_bytes!("../captures/brultech/BIN32-NET.bin")),
    (Format::Ecm1240, include_bytes!("../captures/brultech/ECM-1240.bin")),
];

/// What a drained decoder holds at most.
const PENDING_LIMIT: usize = 4096;

type Event = Result<Frame, FrameError>;

fn capture(format: Format) -> &'static [u8] {
    let found = CAPTURES.iter().find(|(captured, _)| *captured == format);
    found.expect("every format asked for has a capture").1
}

/// The captures one after the other.
fn joined() -> Vec<u8> {
    CAPTURES.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect()
}

fn drain(decoder: &mut Decoder) -> Vec<Event> {
    let events = std::iter::from_fn(|| decoder.next_frame()).collect();
    assert!(decoder.pending() < PENDING_LIMIT, "{} bytes held", decoder.pending());
    events
}

/// What comes of `chunks` read one after the other, and the link closing behind them. Every byte is
/// accounted for in what is counted.
fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        events.extend(drain(&mut decoder));
    }
    decoder.idle();
    events.extend(drain(&mut decoder));
    assert_eq!(decoder.pending(), 0);
    events
}

fn decode_whole(stream: &[u8]) -> Vec<Event> {
    decode([stream])
}

/// The packets among the events, in order.
fn packets(events: &[Event]) -> Vec<&Packet> {
    events
        .iter()
        .filter_map(|event| match event {
            Ok(Frame::Packet(packet)) => Some(packet),
            _ => None,
        })
        .collect()
}

/// Offset and number of the bytes passed over, report by report.
fn skipped(events: &[Event]) -> Vec<(u64, usize)> {
    events
        .iter()
        .filter_map(|event| match event {
            Err(FrameError::Skipped { offset, bytes, .. }) => Some((*offset, *bytes)),
            Ok(_) => None,
        })
        .collect()
}

fn formats(events: &[Event]) -> Vec<Format> {
    packets(events).iter().map(|packet| packet.format).collect()
}
