//! What is told of bytes that are no frame.

use std::fmt;

/// Bytes were passed over; decoding goes on behind them.
///
/// Neighbouring bytes are told together, up to 64 KiB.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("passed over {bytes} bytes at {offset}: {reason}; they begin with {beginning}")]
pub struct FrameError {
    /// Where in the link's stream they begin.
    pub offset: u64,
    /// How many.
    pub bytes: usize,
    /// Why.
    pub reason: SkipReason,
    /// How they begin.
    pub beginning: Beginning,
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// Neither `Info:` nor `Data:` stands there.
    #[error("neither a message nor a packet begins there")]
    Between,
    /// A line that is longer than any.
    #[error("a line without an end")]
    NoLineEnd,
    /// A line that begins as JSON and is none.
    #[error("a message that is not JSON")]
    NotJson,
    /// A packet's header with a length that cannot be.
    #[error("a packet of {0} bytes, which cannot be")]
    Length(u16),
    /// A packet's header, after something that was no frame, with a number that cannot follow.
    #[error("a packet with the number {0}, which does not follow")]
    Number(u32),
    /// A packet in whose midst something else begins, and behind which nothing does.
    #[error("a packet that was cut short on its way out")]
    CutPacket,
    /// A packet without the line end that a serial line has behind it.
    #[error("a packet without its line end")]
    NoPacketEnd,
    /// The link has closed in its midst.
    #[error("the link ended in its midst")]
    CutShort,
    /// More was pushed than is held without frames being taken out.
    #[error("more was pushed than is held")]
    Overrun,
}

/// The first bytes of what was passed over, for a log line.
///
/// Bytes of a text are not shown unless they begin a message: they may be the rest of a reply that holds
/// a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beginning {
    bytes: [u8; LENGTH],
    held: usize,
}

impl Beginning {
    fn extend(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.held..).unwrap_or_default();
        let taken = room.len().min(bytes.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.held += taken;
    }

    fn shown(&self) -> &[u8] {
        self.bytes.get(..self.held).unwrap_or_default()
    }
}

impl fmt::Display for Beginning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.shown();
        let is_message = shown.starts_with(b"Info:") || shown.starts_with(b"Data:");
        let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t');
        if !is_message
            && shown.iter().any(is_text)
            && shown.iter().filter(|b| is_text(b)).count() > 3
        {
            return f.write_str("text");
        }
        write!(f, "\"{}\"", shown.escape_ascii())
    }
}

/// Neighbouring bytes that were passed over and are not yet told.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    bytes: usize,
    reason: Option<SkipReason>,
    beginning: Beginning,
}

impl Skipped {
    pub(super) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// How many bytes this report still has room for.
    pub(super) const fn room(&self) -> usize {
        REPORT_LIMIT.saturating_sub(self.bytes)
    }

    /// Adds bytes that follow on those already here. What was wrong first speaks for all, unless it was
    /// nothing in particular.
    pub(super) fn add(&mut self, bytes: &[u8], reason: SkipReason) {
        self.beginning.extend(bytes);
        self.bytes += bytes.len();
        if matches!(self.reason, None | Some(SkipReason::Between)) {
            self.reason = Some(reason);
        }
    }

    /// The report, if there is anything to tell; `end` is the offset behind the last of the bytes.
    pub(super) fn take(&mut self, end: u64) -> Option<FrameError> {
        let Self { bytes, reason, beginning } = std::mem::take(self);
        let offset = end.saturating_sub(bytes as u64);
        Some(FrameError { offset, bytes, reason: reason?, beginning })
    }
}

/// Bytes of a beginning: short of a password in any reply that holds one.
const LENGTH: usize = 16;
/// One report covers at most so many bytes, so that unbroken noise does not stay unseen.
const REPORT_LIMIT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> String {
        let mut skipped = Skipped::default();
        skipped.add(bytes, SkipReason::Between);
        skipped.take(100).unwrap().to_string()
    }

    #[test]
    fn a_password_is_not_shown() {
        assert!(told(b"pwd\":\"TestPwd\",\"msg\"").ends_with("begin with text"));
        assert!(told(b"\xFF\0\x01\x02").ends_with(r#"begin with "\xff\x00\x01\x02""#));
        assert_eq!(
            told(b"Info:{\"error\":true,"),
            "passed over 19 bytes at 81: neither a message nor a packet begins there; they begin with \
             \"Info:{\\\"error\\\":tr\""
        );
    }
}
