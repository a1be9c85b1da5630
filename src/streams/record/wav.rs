//! The head of a recording: WAV with 32-bit floats, which becomes RF64 when four gigabytes are not
//! enough.
//!
//! Its length is fixed, so that samples begin at a known byte and the head can be written again while
//! the file grows. The room of the RF64 chunk is kept free from the beginning.
//!
//! Source: Microsoft, "Multiple channel audio data and WAVE files" (extensible format); EBU Tech 3306
//! (RF64, the reserved `JUNK` chunk).

use crate::streams::shape::{SAMPLE, Shape};

/// Where the samples begin.
pub(super) const HEAD: u64 = 512;

/// What a head tells.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) shape: &'a Shape,
    pub(super) frames: u64,
    /// Meter, time of the first frame, and channels with their units, for people.
    pub(super) title: &'a str,
    pub(super) start: &'a str,
    pub(super) about: &'a str,
}

impl Head<'_> {
    /// The bytes, [`HEAD`] of them.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let data = self.frames.saturating_mul(self.shape.frame_bytes() as u64);
        let riff = data.saturating_add(HEAD - 8);
        let is_large = riff > u64::from(u32::MAX);
        let mut out = Vec::with_capacity(HEAD as usize);
        out.extend_from_slice(if is_large { b"RF64" } else { b"RIFF" });
        put_u32(&mut out, size(riff, is_large));
        out.extend_from_slice(b"WAVE");
        self.large_sizes(is_large, riff, data, &mut out);
        self.format(&mut out);
        out.extend_from_slice(b"fact");
        put_u32(&mut out, 4);
        put_u32(&mut out, size(self.frames, is_large));
        self.texts(&mut out);
        out.extend_from_slice(b"data");
        put_u32(&mut out, size(data, is_large));
        out
    }

    /// `ds64` where sizes need 64 bits, else its room.
    fn large_sizes(&self, is_large: bool, riff: u64, data: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(if is_large { b"ds64" } else { b"JUNK" });
        put_u32(out, DS64);
        let sizes = if is_large { [riff, data, self.frames] } else { [0; 3] };
        sizes.iter().for_each(|size| out.extend_from_slice(&size.to_le_bytes()));
        // No table of other chunks.
        put_u32(out, 0);
    }

    fn format(&self, out: &mut Vec<u8>) {
        // A meter has eight channels at most.
        let channels = self.shape.channels.len() as u16;
        let frame = self.shape.frame_bytes() as u32;
        let rate = self.shape.rate_hz.round().max(1.0) as u32;
        out.extend_from_slice(b"fmt ");
        put_u32(out, 40);
        put_u16(out, EXTENSIBLE);
        put_u16(out, channels);
        put_u32(out, rate);
        put_u32(out, rate.saturating_mul(frame));
        put_u16(out, frame as u16);
        put_u16(out, 8 * SAMPLE as u16);
        put_u16(out, 22);
        put_u16(out, 8 * SAMPLE as u16);
        // No loudspeakers: these are no sounds.
        put_u32(out, 0);
        out.extend_from_slice(&IEEE_FLOAT);
    }

    /// Texts for people, filled up to the length of the head.
    fn texts(&self, out: &mut Vec<u8>) {
        // What is left but the heads of this chunk and of `data`.
        let room = HEAD as usize - out.len() - 8 - 8;
        out.extend_from_slice(b"LIST");
        put_u32(out, room as u32);
        let end = out.len() + room;
        out.extend_from_slice(b"INFO");
        for (id, text) in [(b"INAM", self.title), (b"ICRD", self.start), (b"ISFT", SOFTWARE)] {
            put_text(id, text, LONGEST_TEXT, out);
        }
        // The rest, zeros behind its end included.
        let rest = end - out.len() - 8;
        out.extend_from_slice(b"ICMT");
        put_u32(out, rest as u32);
        out.extend(self.about.bytes().take(rest - 1));
        out.resize(end, 0);
    }
}

fn put_text(id: &[u8; 4], text: &str, longest: usize, out: &mut Vec<u8>) {
    let length = text.len().min(longest) + 1;
    out.extend_from_slice(id);
    put_u32(out, length as u32);
    out.extend(text.bytes().take(length - 1));
    out.push(0);
    if length % 2 == 1 {
        out.push(0);
    }
}

fn size(value: u64, is_large: bool) -> u32 {
    if is_large { u32::MAX } else { u32::try_from(value).unwrap_or(u32::MAX) }
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Bytes of the content of `ds64`.
const DS64: u32 = 28;
const EXTENSIBLE: u16 = 0xFFFE;
/// KSDATAFORMAT_SUBTYPE_IEEE_FLOAT.
const IEEE_FLOAT: [u8; 16] = [3, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71];
const SOFTWARE: &str = concat!("meterbridge ", env!("CARGO_PKG_VERSION"));
/// Bytes of a name or a time.
const LONGEST_TEXT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::shape::tests::stream;

    fn head(frames: u64, title: &str) -> Vec<u8> {
        let shape = Shape::of(&stream(1, 8000.0, 3));
        let about = &shape.described();
        Head { shape: &shape, frames, title, start: "2026-11-21T21:00:00Z", about }.bytes()
    }

    /// The chunks before the samples: id, content.
    fn chunks(head: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        let mut at = 12;
        while at + 8 < head.len() {
            let length = u32::from_le_bytes(head[at + 4..at + 8].try_into().unwrap()) as usize;
            let id = String::from_utf8(head[at..at + 4].to_vec()).unwrap();
            found.push((id, head[at + 8..at + 8 + length].to_vec()));
            at += 8 + length;
        }
        assert_eq!(&head[at..at + 4], b"data");
        found
    }

    #[test]
    fn the_head_has_always_the_same_length_and_the_right_sizes() {
        for title in ["", "a", "mains", &"x".repeat(500)] {
            let head = head(1000, title);
            assert_eq!(head.len() as u64, HEAD);
            assert_eq!(&head[..4], b"RIFF");
            assert_eq!(head[4..8], (1000 * 24 + 504_u32).to_le_bytes());
            assert_eq!(head[508..], (1000 * 24_u32).to_le_bytes());
            let ids: Vec<String> = chunks(&head).into_iter().map(|(id, _)| id).collect();
            assert_eq!(ids, ["JUNK", "fmt ", "fact", "LIST"]);
        }
        let text = String::from_utf8_lossy(&head(1, "mains")).into_owned();
        assert!(text.contains("v_l1 V, i_l1 mA") && text.contains("2026-11-21"));
    }

    #[test]
    fn beyond_four_gigabytes_it_is_rf64() {
        let last = (u64::from(u32::MAX) - 504) / 24;
        assert_eq!(&head(last, "m")[..4], b"RIFF");
        let head = head(last + 1, "m");
        assert_eq!(&head[..8], b"RF64\xFF\xFF\xFF\xFF");
        let (id, sizes) = &chunks(&head)[0];
        assert_eq!(id, "ds64");
        let data = (last + 1) * 24;
        assert_eq!(sizes[..8], (data + 504).to_le_bytes());
        assert_eq!(sizes[8..16], data.to_le_bytes());
        assert_eq!(sizes[16..24], (last + 1).to_le_bytes());
        assert_eq!(head[508..], [0xFF; 4]);
    }
}
