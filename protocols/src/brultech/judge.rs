//! What the first bytes of a link's buffer are the beginning of. Pure: the decoder acts on it.

use super::text::TextReading;
use super::{Format, SkipReason, ascii, request};
use crate::wire::sum8;

/// What the decoder is to do next.
pub(super) enum Verdict {
    /// Too few bytes to tell.
    Wait,
    /// So many bytes are no frame.
    Skip(usize, SkipReason),
    /// The first byte is no frame, and no request begins within so many bytes.
    BrokenRequest(usize),
    /// A good packet.
    Packet(Format),
    /// A good text, and its length.
    Text(Box<TextReading>, usize),
    /// The head of a request, and its length.
    Request(request::Head, usize),
}

/// What bytes that look like a text or a request are.
pub(super) enum Judged<T> {
    /// More bytes are needed to tell.
    Wait,
    /// They only looked so; the first byte is nothing.
    Junk,
    /// They are one that will never be whole. None begins within so many bytes.
    Broken(usize),
    /// A whole one, and its length.
    Whole(T, usize),
}

/// Judges the first of the `held` bytes; `quiet` when no more are to be expected.
pub(super) fn judge(held: &[u8], quiet: bool) -> Verdict {
    match held {
        [] | [0xFE] | [0xFE, 0xFF] => Verdict::Wait,
        [0xFE, 0xFF, code, ..] => judge_packet(held, *code),
        [b'n', ..] => match ascii::judge(held, quiet) {
            Judged::Wait => Verdict::Wait,
            Judged::Junk => Verdict::Skip(1, SkipReason::Between),
            Judged::Broken(bytes) => Verdict::Skip(bytes, SkipReason::Text),
            Judged::Whole(reading, length) => Verdict::Text(Box::new(reading), length),
        },
        [b'G' | b'P', ..] => match request::judge(held) {
            Judged::Wait => Verdict::Wait,
            Judged::Junk => Verdict::Skip(1, SkipReason::Between),
            Judged::Broken(bytes) => Verdict::BrokenRequest(bytes),
            Judged::Whole(head, length) => Verdict::Request(head, length),
        },
        [_, rest @ ..] => Verdict::Skip(1 + next_start(rest), SkipReason::Between),
    }
}

/// Why bytes that wait for more are bad once no more will come.
pub(super) fn cut_short(held: &[u8]) -> SkipReason {
    match held {
        [0xFE, 0xFF, code, ..] => SkipReason::CutShort { code: *code, held: held.len() },
        [b'n', b'=', _, ..] | [b'G' | b'P', _, _, ..] => SkipReason::Text,
        _ => SkipReason::Between,
    }
}

/// Judges bytes that begin with FE FF and a code, trying each format that the code stands for.
fn judge_packet(held: &[u8], code: u8) -> Verdict {
    let mut worst = SkipReason::UnknownCode(code);
    for format in Format::of_code(code) {
        let Some(bytes) = held.get(..format.length()) else {
            return Verdict::Wait;
        };
        match fault(*format, bytes) {
            None => return Verdict::Packet(*format),
            Some(reason) if reason.rank() > worst.rank() => worst = reason,
            Some(_) => {}
        }
    }
    Verdict::Skip(1, worst)
}

/// What is wrong with the end of a packet. The footer is tested before the checksum, which alone
/// is right for one window in 256, and for many more where data are zero.
fn fault(format: Format, bytes: &[u8]) -> Option<SkipReason> {
    let Some((received, summed)) = bytes.split_last() else {
        return Some(SkipReason::Footer(format.code()));
    };
    if !summed.ends_with(&[0xFF, 0xFE]) {
        return Some(SkipReason::Footer(format.code()));
    }
    let (received, computed) = (*received, sum8(summed));
    (received != computed).then_some(SkipReason::Checksum { format, received, computed })
}

/// How many bytes stand before the first that may begin a frame. The last byte is such a one if
/// what follows it may make it so.
fn next_start(bytes: &[u8]) -> usize {
    let may_start = |byte: &u8| matches!(byte, 0xFE | b'n' | b'G' | b'P');
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(may_start) {
        at += found;
        match bytes[at..] {
            [_] | [0xFE, 0xFF, ..] | [b'n', b'=', ..] => return at,
            [b'G', b'E', ..] | [b'P', b'U' | b'O', ..] => return at,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_last_byte_is_kept_when_it_may_begin_a_frame() {
        assert_eq!(next_start(b"Alive"), 5);
        assert_eq!(next_start(b"Alive\xFE"), 5);
        assert_eq!(next_start(b"Alive\xFE\xFF"), 5);
        assert_eq!(next_start(b"A\xFE\xFEx\xFE\xFF"), 4);
        assert_eq!(next_start(b"PKT\r\nn1 GO P"), 11);
        assert_eq!(next_start(b"..n="), 2);
        assert_eq!(next_start(b""), 0);
    }

    #[test]
    fn the_footer_comes_before_the_checksum() {
        let mut bytes = vec![0; 619];
        bytes[..3].copy_from_slice(&[0xFE, 0xFF, 0x05]);
        bytes[618] = sum8(&bytes[..618]);
        assert_eq!(fault(Format::Bin48Net, &bytes), Some(SkipReason::Footer(5)));
        bytes[616..618].copy_from_slice(&[0xFF, 0xFE]);
        bytes[618] = sum8(&bytes[..618]);
        assert_eq!(fault(Format::Bin48Net, &bytes), None);
        bytes[618] ^= 1;
        let fault = fault(Format::Bin48Net, &bytes);
        assert!(
            matches!(fault, Some(SkipReason::Checksum { received, computed, .. }) if received == computed ^ 1)
        );
    }
}
