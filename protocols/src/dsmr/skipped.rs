//! What is told of bytes that are no frame.

use std::fmt;

/// Bytes were passed over; decoding goes on behind them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("passed over {bytes} bytes at {offset}: {reason}; they begin with {sample:?}")]
pub struct FrameError {
    /// Where in the link's stream they begin.
    pub offset: u64,
    /// How many.
    pub bytes: usize,
    /// Why.
    pub reason: SkipReason,
    /// Their beginning, what is not printable replaced.
    pub sample: String,
}

/// Why bytes are no frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// No frame begins there.
    Between,
    /// A telegram whose checksum is another than its bytes have.
    Checksum {
        /// What stands behind its end.
        told: u16,
        /// What its bytes come to.
        found: u16,
    },
    /// A telegram without a checksum, of a meter whose telegrams had one.
    NoChecksum,
    /// A telegram or frame without its end.
    CutShort,
    /// A telegram without checksum, or a TIC frame, with this line or group that is none.
    Line(String),
    /// A telegram longer than any.
    TooLong,
    /// An encrypted telegram, and no key is there.
    Encrypted,
    /// An encrypted telegram that none of the keys opens, or that has a wrong byte.
    WrongKey,
    /// The key has opened a frame, and something else than a telegram was inside.
    NoTelegramInside,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Between => f.write_str("no telegram begins there"),
            Self::Checksum { told, found } => {
                write!(f, "the checksum is {found:04X} and the telegram says {told:04X}")
            }
            Self::NoChecksum => f.write_str("the telegram lacks its checksum"),
            Self::CutShort => f.write_str("the telegram is cut short"),
            Self::Line(line) => write!(f, "{line:?} is no line of a telegram"),
            Self::TooLong => f.write_str("the telegram has no end"),
            Self::Encrypted => f.write_str("the telegram is encrypted"),
            Self::WrongKey => {
                f.write_str("the telegram is encrypted, with another key or with a wrong byte")
            }
            Self::NoTelegramInside => f.write_str("what was encrypted is no telegram"),
        }
    }
}

impl FrameError {
    pub(super) fn new(offset: u64, bytes: usize, reason: SkipReason, beginning: &[u8]) -> Self {
        let shown = beginning.iter().take(SAMPLE.min(bytes)).map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        });
        Self { offset, bytes, reason, sample: shown.collect() }
    }
}

/// Bytes of a sample.
pub(super) const SAMPLE: usize = 24;
