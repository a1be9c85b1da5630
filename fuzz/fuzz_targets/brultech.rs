//! Any bytes, in any pieces: the Brultech decoder neither panics nor grows, the pieces make no
//! difference, and a packet that was decoded comes back from its own encoding.
//!
//! The input's first byte is the size of the pieces (0 is 256), the rest is the stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meter_protocols::brultech::{Decoder, Frame, FrameError};

fuzz_target!(|input: &[u8]| {
    let Some((size, stream)) = input.split_first() else {
        return;
    };
    let size = if *size == 0 { 256 } else { usize::from(*size) };
    let in_pieces = decode(stream.chunks(size));
    let whole = decode(std::iter::once(stream));
    assert_eq!(in_pieces, whole);

    let mut accounted = 0;
    for event in whole {
        match event {
            Ok(Frame::Packet(packet)) => {
                accounted += packet.format.length();
                let mut bytes = Vec::new();
                packet.encode(&mut bytes);
                let Some(Ok(Frame::Packet(mut again))) = decode(std::iter::once(&bytes[..])).pop()
                else {
                    panic!("an encoded packet does not decode: {packet:?}");
                };
                // Not every reserved byte is kept, and the checksum counts them all.
                again.checksum = packet.checksum;
                assert_eq!(again, packet);
            }
            Ok(_) => {}
            Err(FrameError::Skipped { bytes, .. }) => accounted += bytes,
        }
    }
    assert!(accounted <= stream.len());
});

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Result<Frame, FrameError>> {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        events.extend(std::iter::from_fn(|| decoder.next_frame()));
        assert!(decoder.pending() < 4096);
    }
    decoder.idle();
    events.extend(std::iter::from_fn(|| decoder.next_frame()));
    assert_eq!(decoder.pending(), 0);
    events
}
