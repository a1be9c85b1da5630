//! What the bytes at the head of the buffer are: a frame, the beginning of one, or nothing.

use super::encrypted::{self, Key};
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
/// whether its telegrams have checksums. `keys` open encrypted frames.
pub(super) fn judge(
    held: &[u8],
    quiet: bool,
    keys: &[Key],
    checked: impl Fn(&str) -> bool,
) -> Verdict {
    match held {
        [] => Verdict::Wait,
        [b'/', ..] => telegram(held, quiet, checked),
        [tic::STX, ..] => tic_frame(held, quiet),
        [encrypted::FIRST, ..] => encrypted(held, quiet, keys, checked),
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

/// `keys`: those of the meters that may be on the link.
fn encrypted(held: &[u8], quiet: bool, keys: &[Key], checked: impl Fn(&str) -> bool) -> Verdict {
    let length = match encrypted::head(held, TELEGRAM_LIMIT) {
        encrypted::Head::None => return Verdict::Nothing(to_next_start(held, 1)),
        encrypted::Head::Whole(length) => length,
        encrypted::Head::Unknown => usize::MAX,
    };
    let Some(frame) = held.get(..length) else {
        return if quiet { up_to_the_next(held, SkipReason::CutShort) } else { Verdict::Wait };
    };
    let Some(inside) = keys.iter().find_map(|key| key.decrypt(frame)) else {
        let reason = if keys.is_empty() { SkipReason::Encrypted } else { SkipReason::WrongKey };
        return up_to_the_next(frame, reason);
    };
    match telegram(&inside, true, checked) {
        Verdict::Frame(frame, _) => Verdict::Frame(frame, length),
        Verdict::Bad(reason, _) => Verdict::Bad(reason, length),
        Verdict::Wait | Verdict::Nothing(_) => Verdict::Bad(SkipReason::NoTelegramInside, length),
    }
}

/// A frame that was cut has the next one in the bytes that were to be its own. What is encrypted is as
/// good as random: of all bytes that look like a start only a whole beginning is taken for one.
fn up_to_the_next(frame: &[u8], reason: SkipReason) -> Verdict {
    for at in 1..frame.len() {
        let rest = frame.get(at..).unwrap_or_default();
        let (begins, may_begin) = match rest.first() {
            Some(b'/') => {
                let head = head(rest);
                (matches!(head, Head::Good), matches!(head, Head::Unknown))
            }
            Some(&encrypted::FIRST) => {
                let head = encrypted::head(rest, TELEGRAM_LIMIT);
                (
                    matches!(head, encrypted::Head::Whole(_)),
                    matches!(head, encrypted::Head::Unknown),
                )
            }
            _ => continue,
        };
        match (begins, may_begin) {
            (true, _) => return Verdict::Bad(SkipReason::CutShort, at),
            (_, true) => return Verdict::Bad(reason, at),
            _ => {}
        }
    }
    Verdict::Bad(reason, frame.len())
}

/// How many bytes from the first on are no start of anything, at least `from`.
fn to_next_start(held: &[u8], from: usize) -> usize {
    let is_start = |byte: &u8| matches!(*byte, b'/' | tic::STX | encrypted::FIRST);
    let rest = held.get(from..).unwrap_or_default();
    rest.iter().position(is_start).map_or(held.len(), |at| from + at)
}

/// Longer than any telegram: DSMR 5 has up to 2 KiB of text message, and under 2 KiB besides.
pub(super) const TELEGRAM_LIMIT: usize = 8192;
const HEAD_LIMIT: usize = 64;
/// A three-phase Tempo frame has under 400 bytes.
const TIC_LIMIT: usize = 2048;
