//! What the decoder tells of bytes that belong to no frame: how many, where, why, and how they
//! began.

use super::Format;

/// Bytes of a stream that could not be made into a frame. Decoding goes on behind them.
///
/// Neighbouring bytes are reported together, so a megabyte of noise makes a handful of errors. Not
/// every one is a fault: keep-alive text and replies to commands travel between packets as well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Bytes were passed over.
    #[error("{bytes} B at offset {offset} passed over: {reason}; they begin with {sample}")]
    Skipped {
        /// Where the first of them stood, counted in bytes from the beginning of the link's stream.
        offset: u64,
        /// How many there were.
        bytes: usize,
        /// The gravest thing that was wrong with them.
        reason: SkipReason,
        /// How they began.
        sample: Sample,
    },
}

/// Why bytes were passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// Nothing in them looks like a frame: noise, keep-alive text, or the reply to a command.
    #[error("not part of a packet")]
    Between,
    /// A header with a code that no known format has.
    #[error("unknown packet code 0x{0:02x}")]
    UnknownCode(u8),
    /// A header without the footer FF FE at the place where the format has it: a damaged packet,
    /// or no packet at all.
    #[error("no footer where a packet with code 0x{0:02x} has it")]
    Footer(u8),
    /// A text or HTTP request that stops in the middle, or has no end within 4 KiB.
    #[error("text or http request that is cut short or longer than 4 KiB")]
    Text,
    /// The link fell quiet, or closed, in the middle of a packet.
    #[error("link went quiet after {held} bytes of a packet with code 0x{code:02x}")]
    CutShort {
        /// The packet's code.
        code: u8,
        /// Bytes that had come, its header included.
        held: usize,
    },
    /// Header and footer are in place but the sum is wrong: a damaged packet.
    #[error("{format} packet with checksum 0x{received:02x} instead of 0x{computed:02x}")]
    Checksum {
        /// The layout whose footer was in place.
        format: Format,
        /// The checksum that came.
        received: u8,
        /// The sum of the bytes that came.
        computed: u8,
    },
    /// The caller pushed more than the decoder holds without taking frames out.
    #[error("more was pushed than the decoder holds without frames being taken out")]
    Overrun,
}

impl SkipReason {
    /// How much a reason says about what happened. When neighbouring bytes are reported together,
    /// the first of the highest rank speaks for them.
    pub(super) const fn rank(self) -> u8 {
        match self {
            Self::Between => 0,
            Self::UnknownCode(_) => 1,
            Self::Footer(_) => 2,
            Self::Text => 3,
            Self::CutShort { .. } => 4,
            Self::Checksum { .. } => 5,
            Self::Overrun => 6,
        }
    }
}

/// The first bytes of what was passed over, for a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    bytes: [u8; Self::LENGTH],
    held: usize,
}

impl Sample {
    /// The longest sample, in bytes.
    pub const LENGTH: usize = 16;

    /// The bytes: at least one, at most [`Sample::LENGTH`].
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.held).unwrap_or_default()
    }

    /// Whether there are values of a GEM's list of settings among these, of which a packet in its
    /// middle leaves any part, with or without something else before it.
    fn is_list(&self) -> bool {
        let is_value = |window: &[u8]| match window {
            [b',', value @ ..] | [value @ .., b','] => value.iter().all(u8::is_ascii_hexdigit),
            _ => false,
        };
        self.as_bytes().windows(3).any(is_value)
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.held..).unwrap_or_default();
        let taken = room.len().min(bytes.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.held += taken;
    }
}

impl std::fmt::Display for Sample {
    /// In quotes; what is not printable ASCII as in a Rust string, such as `\xfe`. Values of a list
    /// of settings are not shown: some of them are a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_list() {
            return f.write_str("a list of hexadecimal values");
        }
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// Neighbouring bytes that were passed over and are not yet reported.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    bytes: usize,
    reason: Option<SkipReason>,
    sample: Sample,
}

impl Skipped {
    /// How many bytes this report still has room for. Only an overrun may go beyond.
    pub(super) const fn room(&self) -> usize {
        REPORT_LIMIT.saturating_sub(self.bytes)
    }

    pub(super) const fn is_full(&self) -> bool {
        self.room() == 0
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Adds bytes that follow on those already here.
    pub(super) fn add(&mut self, bytes: &[u8], reason: SkipReason) {
        self.sample.extend(bytes);
        self.bytes += bytes.len();
        if self.reason.is_none_or(|known| known.rank() < reason.rank()) {
            self.reason = Some(reason);
        }
    }

    /// The report, if there is anything to tell; `end` is the offset behind the last of the bytes.
    pub(super) fn take(&mut self, end: u64) -> Option<FrameError> {
        let Self { bytes, reason, sample } = std::mem::take(self);
        let reason = reason?;
        let offset = end.saturating_sub(bytes as u64);
        Some(FrameError::Skipped { offset, bytes, reason, sample })
    }
}

/// The last bytes that belong to no frame, kept for a reply parser.
#[derive(Debug, Default)]
pub(super) struct Between {
    limit: usize,
    bytes: Vec<u8>,
}

impl Between {
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, bytes: Vec::new() }
    }

    /// Adds bytes that were passed over; the oldest make room for them.
    pub(super) fn add(&mut self, passed: &[u8]) {
        if self.limit == 0 {
            return;
        }
        let newest = &passed[passed.len().saturating_sub(self.limit)..];
        let excess = (self.bytes.len() + newest.len()).saturating_sub(self.limit);
        self.bytes.drain(..excess);
        self.bytes.extend_from_slice(newest);
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

/// One report covers at most so many bytes, so that unbroken noise does not stay unseen.
const REPORT_LIMIT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_report_and_the_gravest_reason_speaks() {
        let mut skipped = Skipped::default();
        assert_eq!(skipped.take(0), None);
        skipped.add(b"Alive", SkipReason::Between);
        skipped.add(&[0xFE, 0xFF, 0x09], SkipReason::UnknownCode(9));
        skipped.add(&[0xFE, 0xFF, 0x0A], SkipReason::UnknownCode(10));
        let error = skipped.take(111).expect("bytes were added");
        assert_eq!(
            error.to_string(),
            "11 B at offset 100 passed over: unknown packet code 0x09; \
             they begin with \"Alive\\xfe\\xff\\t\\xfe\\xff\\n\""
        );
        assert!(skipped.is_empty());
    }

    #[test]
    fn a_password_in_a_list_of_settings_is_not_shown() {
        let shown = |bytes: &[u8]| {
            let mut sample = Sample::default();
            sample.extend(bytes);
            sample.to_string()
        };
        assert_eq!(shown(b"F,FF,35,84,65,DD,00,00"), "a list of hexadecimal values");
        assert_eq!(shown(b",35,84,65\r\n"), "a list of hexadecimal values");
        assert_eq!(shown(b"ALL\r\n"), "\"ALL\\r\\n\"");
    }

    #[test]
    fn a_sample_stays_short() {
        let mut skipped = Skipped::default();
        skipped.add(&[b'x'; 40], SkipReason::Between);
        let Some(FrameError::Skipped { bytes, sample, .. }) = skipped.take(40) else {
            panic!("bytes were added");
        };
        assert_eq!((bytes, sample.as_bytes()), (40, &[b'x'; Sample::LENGTH][..]));
    }
}
