//! What the bytes at the head of the buffer are: a frame, the beginning of one, or nothing.

use super::skipped::SkipReason;
use super::tic::{self, TicFrame};
use super::{Frame, Telegram};
use crate::wire::crc16_arc;

/// What was found at the first byte.
#[derive(Debug)]
pub(super) enum Verdict {
    /// More bytes are needed.
    Wait,
    /// No frame begins here, and none in as many bytes.
    Nothing(usize),
    /// A frame of so many bytes.
    Frame(Frame, usize),
    /// So many bytes are a frame that is bad; a good one may begin inside it, but not before them.
    Bad(SkipReason, usize),
}

/// Judges `held`. `quiet`: nothing more will come for now. `checked` tells of a meter's identification
/// whether its telegrams have checksums.
pub(super) fn judge(held: &[u8], quiet: bool, checked: impl Fn(&str) -> bool) -> Verdict {
    match held {
        [] => Verdict::Wait,
        [b'/', ..] => telegram(held, quiet, checked),
        [tic::STX, ..] => tic_frame(held, quiet),
        [ENCRYPTED, ..] => encrypted(held, quiet),
        _ => Verdict::Nothing(to_next_start(held, 0)),
    }
}

fn telegram(held: &[u8], quiet: bool, checked: impl Fn(&str) -> bool) -> Verdict {
    // So many bytes are looked through for the start of a better one.
    let bad = |reason, length: usize| {
        let inside = held.get(..length).unwrap_or(held);
        Verdict::Bad(reason, to_next_start(inside, 1))
    };
    match head(held) {
        Head::Good => {}
        Head::Unknown if quiet => return bad(SkipReason::CutShort, held.len()),
        Head::Unknown => return Verdict::Wait,
        Head::None => return Verdict::Nothing(to_next_start(held, 1)),
    }
    let Some(end) = held.iter().take(TELEGRAM_LIMIT).position(|byte| *byte == b'!') else {
        return match held.len() {
            TELEGRAM_LIMIT.. => bad(SkipReason::TooLong, TELEGRAM_LIMIT),
            _ if quiet => bad(SkipReason::CutShort, held.len()),
            _ => Verdict::Wait,
        };
    };
    // A line that begins with a slash begins another telegram: this one has lost its end.
    let body = held.get(1..end).unwrap_or_default();
    if body.windows(2).any(|pair| pair == b"\n/") {
        return bad(SkipReason::CutShort, end);
    }
    let (told, tail) = match checksum(held.get(end + 1..).unwrap_or_default(), quiet) {
        Tail::Unknown => return Verdict::Wait,
        Tail::None => return bad(SkipReason::CutShort, end + 1),
        Tail::Bare(length) => (None, length),
        Tail::Checksum(told, length) => (Some(told), length),
    };
    let length = end + 1 + tail;
    if let Some(told) = told {
        let found = crc16_arc(held.get(..=end).unwrap_or_default());
        if found != told {
            return bad(SkipReason::Checksum { told, found }, length);
        }
    }
    match Telegram::parse(body, told) {
        Ok(telegram) if told.is_none() && checked(&telegram.identification) => {
            bad(SkipReason::NoChecksum, length)
        }
        Ok(telegram) => Verdict::Frame(Frame::Telegram(Box::new(telegram)), length),
        Err(line) => bad(SkipReason::Line(line), length),
    }
}

enum Head {
    Good,
    /// More bytes are needed.
    Unknown,
    None,
}

/// `/`, three letters or digits, one more character, then printable text to the end of the line.
fn head(held: &[u8]) -> Head {
    let line = held.get(1..).unwrap_or_default();
    for (at, byte) in line.iter().enumerate() {
        match byte {
            b'\n' | b'\r' if at >= 4 => return Head::Good,
            _ if at < 3 && !byte.is_ascii_alphanumeric() => return Head::None,
            b'!' | b'/' | b'(' => return Head::None,
            byte if !(byte.is_ascii_graphic() || *byte == b' ') || at >= HEAD_LIMIT => {
                return Head::None;
            }
            _ => {}
        }
    }
    Head::Unknown
}

enum Tail {
    Unknown,
    /// The rest of the line is no checksum.
    None,
    /// The line ends, so many bytes on.
    Bare(usize),
    Checksum(u16, usize),
}

/// What stands behind the exclamation mark, to the end of its line.
fn checksum(tail: &[u8], quiet: bool) -> Tail {
    let digits = tail.iter().take(4).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let text = tail.get(..digits).and_then(|text| std::str::from_utf8(text).ok());
    let value = text.filter(|_| digits == 4).and_then(|text| u16::from_str_radix(text, 16).ok());
    let behind = tail.get(digits..).unwrap_or_default();
    let line_end = match behind {
        [b'\r', b'\n', ..] => 2,
        [b'\n', ..] => 1,
        // The line feed may be yet to come.
        [b'\r'] if !quiet => return Tail::Unknown,
        [b'\r', ..] => 1,
        [] if !quiet => return Tail::Unknown,
        [] => 0,
        _ => return Tail::None,
    };
    match value {
        Some(value) => Tail::Checksum(value, digits + line_end),
        None if digits == 0 => Tail::Bare(line_end),
        None => Tail::None,
    }
}

fn tic_frame(held: &[u8], quiet: bool) -> Verdict {
    let bad = |reason, length: usize| {
        let inside = held.get(..length).unwrap_or(held);
        Verdict::Bad(reason, to_next_start(inside, 1))
    };
    let body = held.get(1..).unwrap_or_default();
    // A group begins with a line feed and the first letter of its label.
    let begins = |(byte, at): (&u8, usize)| match at {
        0 => *byte == b'\n',
        _ => byte.is_ascii_uppercase(),
    };
    if !body.iter().zip(0..2).all(begins) {
        return Verdict::Nothing(1);
    }
    let is_text = |byte: &u8| matches!(*byte, b' '..=b'~' | b'\r' | b'\n' | b'\t');
    match body.iter().take(TIC_LIMIT).position(|byte| !is_text(byte)) {
        Some(at) if body.get(at) == Some(&tic::ETX) => {
            match TicFrame::parse(body.get(..at).unwrap_or_default()) {
                Ok(frame) => Verdict::Frame(Frame::Tic(frame), at + 2),
                Err(group) => bad(SkipReason::Line(group), at + 2),
            }
        }
        Some(at) => bad(SkipReason::CutShort, at + 1),
        None if body.len() >= TIC_LIMIT => bad(SkipReason::TooLong, TIC_LIMIT),
        None if quiet => bad(SkipReason::CutShort, held.len()),
        None => Verdict::Wait,
    }
}

/// General-glo-ciphering as Luxembourgish meters use it: the system title of the meter, then the
/// length of what is encrypted.
///
/// Source: DLMS "Green Book" 8.3, table "general-glo-ciphering"; Luxmetering "Smarty P1" 1.1.3.
fn encrypted(held: &[u8], quiet: bool) -> Verdict {
    let fits = |(byte, at): (&u8, usize)| match at {
        1 => *byte == TITLE_LENGTH,
        10 => *byte == TWO_BYTES_OF_LENGTH,
        13 => *byte == AUTHENTICATED_AND_ENCRYPTED,
        _ => true,
    };
    if !held.iter().zip(0..14).all(fits) {
        return Verdict::Nothing(to_next_start(held, 1));
    }
    let length = match held.get(11..13) {
        Some([high, low]) => 13 + usize::from(u16::from_be_bytes([*high, *low])),
        _ => usize::MAX,
    };
    if length != usize::MAX && length > TELEGRAM_LIMIT {
        return Verdict::Nothing(to_next_start(held, 1));
    }
    if held.len() >= length.max(14) {
        return Verdict::Bad(SkipReason::Encrypted, length);
    }
    if quiet { Verdict::Bad(SkipReason::CutShort, to_next_start(held, 1)) } else { Verdict::Wait }
}

/// How many bytes from the first on are no start of anything, at least `from`.
fn to_next_start(held: &[u8], from: usize) -> usize {
    let is_start = |byte: &u8| matches!(*byte, b'/' | tic::STX | ENCRYPTED);
    let rest = held.get(from..).unwrap_or_default();
    rest.iter().position(is_start).map_or(held.len(), |at| from + at)
}

/// Longer than any telegram: DSMR 5 has up to 2 KiB of text message, and under 2 KiB besides.
pub(super) const TELEGRAM_LIMIT: usize = 8192;
const HEAD_LIMIT: usize = 64;
/// A three-phase Tempo frame has under 400 bytes.
const TIC_LIMIT: usize = 2048;
const ENCRYPTED: u8 = 0xDB;
const TITLE_LENGTH: u8 = 8;
const TWO_BYTES_OF_LENGTH: u8 = 0x82;
const AUTHENTICATED_AND_ENCRYPTED: u8 = 0x30;
