//! Any bytes, in any pieces: the decoder of customer ports neither panics nor grows, the pieces make no
//! difference, and a telegram that was decoded comes back from its own encoding.
//!
//! The input's first byte is the size of the pieces (0 is 256), the rest is the stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meter_protocols::dsmr::{Decoder, Frame, FrameError, Reading};

fuzz_target!(|input: &[u8]| {
    let Some((size, stream)) = input.split_first() else {
        return;
    };
    let size = if *size == 0 { 256 } else { usize::from(*size) };
    let whole = decode(std::iter::once(stream));
    assert_eq!(decode(stream.chunks(size)), whole);
    for frame in whole.into_iter().flatten() {
        let mut bytes = Vec::new();
        match &frame {
            Frame::Telegram(telegram) => {
                let _ = Reading::of(telegram);
                telegram.encode(&mut bytes);
            }
            Frame::Tic(frame) => frame.encode(&mut bytes),
        }
        let again = decode(std::iter::once(&bytes[..]));
        let [Ok(again)] = &again[..] else { panic!("{again:?}") };
        if let (Frame::Telegram(one), Frame::Telegram(other)) = (&frame, again) {
            assert_eq!(
                (&one.identification, &one.objects),
                (&other.identification, &other.objects)
            );
        }
    }
});

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Result<Frame, FrameError>> {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        events.extend(std::iter::from_fn(|| decoder.next_frame()));
        assert!(decoder.pending() <= 8192);
    }
    decoder.idle();
    events.extend(std::iter::from_fn(|| decoder.next_frame()));
    assert_eq!(decoder.pending(), 0);
    events
}
