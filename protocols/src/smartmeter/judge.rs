//! What the decoder makes of the bytes at a boundary, where packets have frames.

use serde::de::IgnoredAny;

use super::frame::{Frame, Judged};
use super::packet::{self, DATA, HEADER, Header, Packet};
use super::skipped::SkipReason;
use super::{LogLine, log};

/// What is known of the stream so far.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Bytes of a sample; 0: not known.
    pub(super) sample_bytes: usize,
    /// Each packet has a line end behind it.
    pub(super) line_ends: bool,
    /// Something was passed over since the last frame: what looks like a packet must prove it.
    pub(super) lost: bool,
    /// Number and length of the packet before.
    pub(super) last: Option<(u32, usize)>,
}

impl Known {
    /// A frame was found.
    pub(super) fn note(&mut self, frame: &Frame) {
        self.lost = false;
        if let Frame::Data(packet) = frame {
            self.last = Some((packet.number, packet.payload.len()));
        }
    }

    /// Whether a packet can have this length.
    fn is_length(&self, length: u16) -> bool {
        length <= packet::LONGEST && usize::from(length).is_multiple_of(self.sample_bytes.max(1))
    }

    /// Whether a header found at no boundary can be one: its length and number are what they would be.
    fn is_plausible(&self, header: Header) -> bool {
        header.length > 0 && self.is_length(header.length) && self.is_number(header)
    }

    fn is_number(&self, header: Header) -> bool {
        self.last.is_none_or(|(last, length)| {
            header.number < FEW
                || header.number.wrapping_sub(last).wrapping_sub(1) < MOST_LOST
                || usize::from(header.length) == length
        })
    }

    /// Whether a header inside of something can be the packet after `last`.
    fn follows(&self, header: Header, last: Option<u32>) -> bool {
        let missing = header.number.wrapping_sub(last.map_or(0, |last| last.wrapping_add(1)));
        header.length > 0 && self.is_length(header.length) && missing < FEW
    }
}

/// Judges bytes, at least one, at the place where a frame ought to begin. `scanned`: so many of them
/// have no line end among them. `quiet`: no more will come.
pub(super) fn judge(held: &[u8], scanned: usize, quiet: bool, known: &Known) -> Judged {
    if held.starts_with(DATA) {
        return judge_packet(held, quiet, known);
    }
    if held.starts_with(INFO) {
        return judge_line(held, scanned, quiet, known);
    }
    if DATA.starts_with(held) || INFO.starts_with(held) {
        return wait(held, 0, quiet);
    }
    match held {
        [b'\r' | b'\n', ..] if !known.lost => Judged::Blank,
        _ => Judged::Skip(next_boundary(held), SkipReason::Between),
    }
}

fn judge_packet(held: &[u8], quiet: bool, known: &Known) -> Judged {
    let Some(header) = Header::read(held) else { return wait(held, 0, quiet) };
    if !known.is_length(header.length) || (known.lost && header.length == 0) {
        return Judged::Skip(next_boundary(held), SkipReason::Length(header.length));
    }
    if known.lost && !known.is_plausible(header) {
        return Judged::Skip(next_boundary(held), SkipReason::Number(header.number));
    }
    let end = HEADER + usize::from(header.length);
    let Some(payload) = held.get(HEADER..end) else {
        return wait_for_packet(held, quiet, known, header);
    };
    let packet = || Frame::Data(Packet { number: header.number, payload: payload.to_vec() });
    if known.line_ends {
        return match held.get(end..) {
            Some([b'\r', b'\n', ..]) => Judged::Frame(packet(), end + 2),
            Some([] | [b'\r']) if !quiet => Judged::Wait(0),
            Some([]) => Judged::Frame(packet(), end),
            _ => Judged::Skip(next_boundary(held), SkipReason::NoPacketEnd),
        };
    }
    match inner_boundary(held, end, header, known) {
        Inner::None => Judged::Frame(packet(), end),
        Inner::Open if !quiet => Judged::Wait(0),
        Inner::At(_) if !quiet && is_open(&held[end..]) => Judged::Wait(0),
        Inner::At(place) if !begins(&held[end..]) => Judged::Skip(place, SkipReason::CutPacket),
        _ => Judged::Frame(packet(), end),
    }
}

/// A packet that has not come whole: what began in its midst comes out once the link has closed.
fn wait_for_packet(held: &[u8], quiet: bool, known: &Known, header: Header) -> Judged {
    if !quiet {
        return Judged::Wait(0);
    }
    match inner_boundary(held, held.len(), header, known) {
        Inner::At(place) => Judged::Skip(place, SkipReason::CutPacket),
        _ => Judged::Skip(held.len(), SkipReason::CutShort),
    }
}

/// What stands inside a packet.
enum Inner {
    None,
    /// Something may begin there, which more bytes would tell.
    Open,
    /// Something that is very likely no sample begins there.
    At(usize),
}

/// Looks for the next packet's header, a message or a log line inside a packet that ends at `end`. Its
/// shape has to fit in nine bytes or so: samples hardly ever do.
fn inner_boundary(held: &[u8], end: usize, header: Header, known: &Known) -> Inner {
    let payload = held.get(HEADER..end).unwrap_or_default();
    let before = known.last.map(|(last, _)| last);
    let follows = |inner| known.follows(inner, Some(header.number)) || known.follows(inner, before);
    let mut open = false;
    for place in prefixes(payload).map(|place| HEADER + place) {
        let inner = &held[place..];
        let is_boundary = match inner.starts_with(DATA) {
            true => Header::read(inner).map(follows),
            false => is_message_begin(inner),
        };
        match is_boundary {
            Some(true) => return Inner::At(place),
            Some(false) => {}
            None => open = true,
        }
    }
    if open { Inner::Open } else { Inner::None }
}

/// Whether a message or a log line with its time begins here; `None`: too few bytes to tell.
fn is_message_begin(bytes: &[u8]) -> Option<bool> {
    const JSON: &[u8] = b"Info:{\"";
    match bytes.get(..JSON.len()) {
        Some(begin) if begin == JSON => Some(true),
        None if JSON.starts_with(bytes) => None,
        _ => is_log_begin(bytes),
    }
}

/// Whether too few bytes are there to tell what begins with them.
fn is_open(behind: &[u8]) -> bool {
    behind.len() < HEADER
}

/// Whether a frame begins with these bytes.
fn begins(behind: &[u8]) -> bool {
    behind.is_empty() || behind.starts_with(DATA) || behind.starts_with(INFO)
}

fn judge_line(held: &[u8], scanned: usize, quiet: bool, known: &Known) -> Judged {
    match held.get(INFO.len()) {
        None => wait(held, 0, quiet),
        Some(b'{') => judge_json(held, scanned, quiet),
        Some(b'[') => judge_log(held, scanned, quiet, known),
        Some(_) => {
            let setup = SETUP.as_bytes();
            let common = held[INFO.len()..].iter().zip(setup).take_while(|(a, b)| a == b).count();
            let is_setup = common == setup.len() || (common + INFO.len() == held.len() && !quiet);
            if known.lost && !is_setup {
                return Judged::Skip(next_boundary(held), SkipReason::Between);
            }
            match line(held, scanned, LINE_LIMIT) {
                Line::Whole(text, bytes) => Judged::Frame(Frame::Text(text), bytes),
                Line::Open => wait(held, held.len(), quiet),
                Line::Endless => Judged::Skip(next_boundary(held), SkipReason::NoLineEnd),
            }
        }
    }
}

fn judge_json(held: &[u8], scanned: usize, quiet: bool) -> Judged {
    match line(held, scanned, line_limit(held)) {
        Line::Whole(text, bytes) if is_message(&text) => Judged::Frame(Frame::Json(text), bytes),
        Line::Whole(_, bytes) => Judged::Skip(next_boundary(held).min(bytes), SkipReason::NotJson),
        Line::Open => wait(held, held.len(), quiet),
        Line::Endless => Judged::Skip(next_boundary(held), SkipReason::NoLineEnd),
    }
}

fn judge_log(held: &[u8], scanned: usize, quiet: bool, known: &Known) -> Judged {
    let Some(level) = held.get(INFO.len()..INFO.len() + 3) else {
        return wait(held, held.len(), quiet);
    };
    let letter = char::from(level[1]);
    if log::LogLevel::of_letter(letter).is_none() || level[2] != b']' {
        return Judged::Skip(next_boundary(held), SkipReason::Between);
    }
    let Some((end, bytes, cut)) = log_end(held, scanned, quiet) else {
        return Judged::Wait(held.len());
    };
    // A packet right behind a line that was cut before its time.
    let follows = |place: &usize| {
        let header = Header::read(&held[*place..]);
        header.is_some_and(|header| known.follows(header, known.last.map(|(last, _)| last)))
    };
    let is_half = |place: usize| held[place..].starts_with(DATA) && held.len() < place + HEADER;
    if !quiet && !cut && prefixes(&held[..end]).any(is_half) {
        return Judged::Wait(scanned);
    }
    let inside = prefixes(&held[..end]).filter(|place| *place > 0).find(follows);
    let (end, bytes, cut) = inside.map_or((end, bytes, cut), |place| (place, place, true));
    let text = String::from_utf8_lossy(&held[INFO.len()..end]);
    match LogLine::read(&text, cut) {
        Some(line) => Judged::Frame(Frame::Log(line), bytes),
        None => Judged::Skip(bytes, SkipReason::Between),
    }
}

/// How long the line that begins here may be.
pub(super) fn line_limit(held: &[u8]) -> usize {
    if held.starts_with(LOG_FILE) { LOG_FILE_LIMIT } else { LINE_LIMIT }
}

/// The end of a log line, its bytes, and whether it was cut; `None`: more bytes are needed.
pub(super) fn log_end(held: &[u8], scanned: usize, quiet: bool) -> Option<(usize, usize, bool)> {
    match line_end(held, scanned, log::LONGEST) {
        Some(end) => Some((end, end + 1, false)),
        None if held.len() >= log::LONGEST => Some((log::LONGEST, log::LONGEST, true)),
        None if quiet => Some((held.len(), held.len(), true)),
        None => None,
    }
}

/// A line that begins with `Info:`.
pub(super) enum Line {
    /// Its text behind `Info:`, and its bytes with its end.
    Whole(String, usize),
    /// Its end has not come yet.
    Open,
    /// It has no end within the limit.
    Endless,
}

/// The line at the beginning of these bytes.
pub(super) fn line(held: &[u8], scanned: usize, limit: usize) -> Line {
    match line_end(held, scanned, limit) {
        Some(end) => {
            let text = String::from_utf8_lossy(held.get(INFO.len()..end).unwrap_or_default());
            Line::Whole(text.trim_end_matches('\r').to_owned(), end + 1)
        }
        None if held.len() < limit => Line::Open,
        None => Line::Endless,
    }
}

/// The place of the line feed within the first `limit` bytes.
pub(super) fn line_end(held: &[u8], scanned: usize, limit: usize) -> Option<usize> {
    let within = held.get(..limit).unwrap_or(held);
    let rest = within.get(scanned..)?;
    rest.iter().position(|byte| *byte == b'\n').map(|place| scanned + place)
}

/// Whether a line is a message: JSON, or the answer to `getLog`, whose rows are written as they are.
pub(super) fn is_message(text: &str) -> bool {
    let is_log_file = text.as_bytes().starts_with(&LOG_FILE[INFO.len()..]) && text.ends_with("\"}");
    is_log_file || serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Whether these bytes begin a log line with its time; `None`: too few to tell.
pub(super) fn is_log_begin(bytes: &[u8]) -> Option<bool> {
    let pattern = b"Info:[X]";
    let fits = bytes.iter().zip(pattern).enumerate().all(|(place, (byte, wanted))| match place {
        6 => log::LogLevel::of_letter(char::from(*byte)).is_some(),
        _ => byte == wanted,
    });
    let time = bytes.get(pattern.len()..).unwrap_or_default();
    let (time, colon) = time.split_at(time.len().min(log::TIME.len()));
    if !fits || !log::is_time(time) || !b": ".starts_with(&colon[..colon.len().min(2)]) {
        return Some(false);
    }
    (colon.len() >= 2).then_some(true)
}

/// Nothing can be said yet; where no more comes, it is the half of something.
fn wait(held: &[u8], scanned: usize, quiet: bool) -> Judged {
    match quiet {
        true => Judged::Skip(next_boundary(held), SkipReason::CutShort),
        false => Judged::Wait(scanned),
    }
}

/// The next place, behind the first byte, where a frame may begin, or the half of a prefix; else the end.
fn next_boundary(held: &[u8]) -> usize {
    let rest = held.get(1..).unwrap_or_default();
    if let Some(place) = prefixes(rest).next() {
        return 1 + place;
    }
    let is_half = |half: &&usize| {
        let tail = &rest[rest.len() - **half..];
        DATA.starts_with(tail) || INFO.starts_with(tail)
    };
    let half = [4, 3, 2, 1].iter().filter(|half| **half <= rest.len()).find(is_half);
    held.len() - half.copied().unwrap_or(0)
}

/// The places of `Data:` and `Info:`. Both end with a colon, which is looked for.
pub(super) fn prefixes(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let colons = bytes.iter().enumerate().filter(|(_, byte)| **byte == b':');
    colons.filter_map(|(colon, _)| {
        let begin = colon.checked_sub(4)?;
        let word = bytes.get(begin..=colon)?;
        (word == DATA || word == INFO).then_some(begin)
    })
}

/// What a message begins with.
pub(super) const INFO: &[u8; 5] = b"Info:";
/// The answer to `?`.
pub(super) const SETUP: &str = "Setup done";
/// The answer to `getLog` begins so.
const LOG_FILE: &[u8] = b"Info:{\"cmd\":\"log\",\"msg\":\"*** LOGFile";
/// The longest line but for that answer (protocol note, section 2.1).
const LINE_LIMIT: usize = 2048;
/// The longest answer to `getLog`: two files of up to 20 kB, and what is around them.
const LOG_FILE_LIMIT: usize = 48 * 1024;
/// A number of packets that is soon reached after a start, or lost at once.
const FEW: u32 = 1000;
/// More packets than are lost at once.
const MOST_LOST: u32 = 1_000_000;
