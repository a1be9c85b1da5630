//! Any bytes, in any pieces: the decoder of SmartMeters and PowerMeters neither panics nor grows, the
//! pieces make no difference, and no message, log line or datagram is too strange to be read.
//!
//! The input's first byte is the size of the pieces (0 is 256), the second what the decoder is told of the
//! stream, the rest is the stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meter_protocols::smartmeter::mqtt::{InfoMessage, Sample};
use meter_protocols::smartmeter::{
    Command, Decoder, Frame, FrameError, Kind, Message, Packet, SampleReply, StopSummary,
};

fuzz_target!(|input: &[u8]| {
    let [size, told, stream @ ..] = input else {
        return;
    };
    let size = if *size == 0 { 256 } else { usize::from(*size) };
    let whole = decode(*told, std::iter::once(stream));
    assert_eq!(decode(*told, stream.chunks(size)), whole);
    let _ = Packet::of_datagram(stream);
    let kind = if told & 8 == 0 { Kind::SmartMeter } else { Kind::PowerMeter };
    let _ = InfoMessage::read(stream, Some(kind));
    let _ = Sample::read(stream, Some(true));
    for frame in whole.into_iter().flatten() {
        match frame {
            Frame::Json(text) => message(&text, kind),
            Frame::Log(line) => {
                let _ = (line.quality(), line.rate_hz(), line.switched());
            }
            _ => {}
        }
    }
});

fn message(text: &str, kind: Kind) {
    let _ = Message::read(text, Some(kind));
    let Ok(serde_json::Value::Object(keys)) = serde_json::from_str(text) else { return };
    if let Some(name) = keys.get("cmd").and_then(serde_json::Value::as_str)
        && let Ok(command) = Command::from_json(name, &keys, kind)
    {
        assert!(command.line().len() <= kind.longest_command());
    }
    let value = serde_json::Value::Object(keys);
    let _ = SampleReply::read(&value, Some(kind), None).map(|reply| reply.frames_per_packet());
    let _ = StopSummary::read(&value);
}

/// What comes out, pieces of samples joined.
fn decode<'a>(told: u8, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Result<Frame, FrameError>> {
    let mut decoder = Decoder::new();
    decoder.expect_frames([0, 8, 16, 24][usize::from(told & 3)]);
    decoder.set_raw(told & 4 != 0);
    decoder.expect_line_ends(told & 16 != 0);
    let mut events: Vec<Result<Frame, FrameError>> = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        take(&mut decoder, &mut events);
        assert!(decoder.pending() <= 66 * 1024);
    }
    decoder.idle();
    take(&mut decoder, &mut events);
    assert_eq!(decoder.pending(), 0);
    events
}

fn take(decoder: &mut Decoder, events: &mut Vec<Result<Frame, FrameError>>) {
    while let Some(event) = decoder.next_frame() {
        match (event, events.last_mut()) {
            (Ok(Frame::Raw(more)), Some(Ok(Frame::Raw(bytes)))) => bytes.extend(more),
            (event, _) => events.push(event),
        }
    }
}
