//! Messages and packets in the bytes of one connection, and finding them again after garbage.

use std::fmt;

use super::judge::{self, Known};
use super::skipped::{FrameError, SkipReason, Skipped};
use super::{LogLine, Packet, raw};

/// What a meter sends on its command channel.
#[derive(Clone, PartialEq, Eq)]
pub enum Frame {
    /// A JSON message: a reply, the info dictionary, a summary; [`super::Message::read`] takes it apart.
    /// It is valid JSON, but for the answer to `getLog`, which may be none.
    Json(String),
    /// A log line.
    Log(LogLine),
    /// Another line, such as `Setup done`, the answer to `?`.
    Text(String),
    /// Samples with their number.
    Data(Packet),
    /// Samples without frames, in a piece of any size: see [`Decoder::set_raw`].
    Raw(Vec<u8>),
}

impl fmt::Debug for Frame {
    /// A message that speaks of a password is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(text) if text.contains("pwd") || text.contains("PW:") => {
                write!(f, "Json({} bytes with a password)", text.len())
            }
            Self::Json(text) => write!(f, "Json({text:?})"),
            Self::Log(line) => write!(f, "{line:?}"),
            Self::Text(text) => write!(f, "Text({text:?})"),
            Self::Data(packet) => write!(f, "{packet:?}"),
            Self::Raw(bytes) => write!(f, "Raw({} bytes)", bytes.len()),
        }
    }
}

/// Takes the bytes of one connection apart.
///
/// Push what was read, of any size, then call [`Decoder::next_frame`] until it answers `None`. So
/// drained, a decoder holds less than 66 KiB: a packet, or the answer to `getLog`. Without being drained
/// it holds up to 1 MiB; beyond that the oldest bytes go, and are told.
///
/// Packets are framed by their length alone, whatever their samples look like. Where nothing that is
/// known begins behind a packet, and something does begin inside it, the packet was cut short on its way
/// out: it is dropped, and what began inside it is kept. One that lacks its last four bytes or fewer
/// cannot be told from a whole one on TCP; its last sample is wrong. On a serial line, where a packet has
/// an end of its own, it can: see [`Decoder::expect_line_ends`].
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are done with.
    begin: usize,
    /// Offset in the stream of the byte at `begin`.
    offset: u64,
    /// Bytes from `begin` in which there is no line end.
    scanned: usize,
    quiet: bool,
    raw: bool,
    known: Known,
    skipped: Skipped,
}

/// What the beginning of the bytes held is.
pub(super) enum Judged {
    /// More bytes are needed; so many of those held have no line end among them.
    Wait(usize),
    /// No frame begins before the one at this place, if any does.
    Skip(usize, SkipReason),
    /// A line end between two frames.
    Blank,
    /// A frame of so many bytes.
    Frame(Frame, usize),
}

impl Decoder {
    /// A decoder for a connection that has just been made.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Packets hold samples of so many bytes from now on: the sum of the channels in the reply to
    /// `sample`. A packet with a part of a sample is none, and numbers begin at 0 again.
    pub fn expect_frames(&mut self, sample_bytes: usize) {
        self.known.sample_bytes = sample_bytes;
        self.known.last = None;
    }

    /// Whether each packet has a line end behind it, as on a serial line. One without it is not given.
    pub fn expect_line_ends(&mut self, line_ends: bool) {
        self.known.line_ends = line_ends;
    }

    /// Samples come without frames from now on (`prefix` false in the reply to `sample`), or no longer.
    ///
    /// Call it between the reply and the next [`Decoder::next_frame`]. Bytes come as [`Frame::Raw`]
    /// then, but for messages, log lines and `Setup done`, which are recognised wherever they stand by
    /// their shape: JSON that is whole, the time of a log line. What cannot be known: whether bytes of
    /// that shape were samples (seven bytes and more would have to fit), and whether samples were lost or
    /// cut; the caller counts bytes. A log line without a time stays among the samples, hence a log
    /// level of `error` is to be set before.
    pub fn set_raw(&mut self, raw: bool) {
        self.raw = raw;
        self.scanned = 0;
        self.known.lost = false;
    }

    /// Takes in what was read. Take the frames out before pushing more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.quiet = false;
        if self.begin >= self.pending() {
            self.buffer.drain(..self.begin);
            self.begin = 0;
        }
        self.buffer.extend_from_slice(bytes);
        let excess = self.pending().saturating_sub(HELD_LIMIT);
        if excess > 0 {
            self.pass_over(excess, SkipReason::Overrun);
        }
    }

    /// The next frame, or what was passed over before it. `None`: more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`] for bytes that are no frame; decoding goes on behind them. They are told with the
    /// next frame, after 64 KiB, or after [`Decoder::idle`].
    pub fn next_frame(&mut self) -> Option<Result<Frame, FrameError>> {
        loop {
            if self.skipped.room() == 0 {
                return self.report();
            }
            let held = self.buffer.get(self.begin..).unwrap_or_default();
            if held.is_empty() {
                self.give_back_memory();
                return if self.quiet { self.report() } else { None };
            }
            let judged = match self.raw {
                true => raw::judge(held, self.scanned, self.quiet),
                false => judge::judge(held, self.scanned, self.quiet, &self.known),
            };
            match judged {
                Judged::Wait(scanned) => {
                    self.scanned = scanned;
                    self.give_back_memory();
                    return None;
                }
                Judged::Skip(bytes, reason) => {
                    // So that lines without an end are not looked through again and again.
                    if reason == SkipReason::NoLineEnd {
                        self.scanned = judge::line_limit(held).min(held.len());
                    }
                    self.pass_over(bytes.max(1).min(self.skipped.room()), reason);
                }
                // What was passed over comes first; this is judged again with the next call.
                _ if !self.skipped.is_empty() => return self.report(),
                Judged::Blank => self.consume(1),
                Judged::Frame(frame, bytes) => {
                    self.consume(bytes);
                    self.known.note(&frame);
                    return Some(Ok(frame));
                }
            }
        }
    }

    /// The connection has closed: what is not whole by now is told. Call [`Decoder::next_frame`] until
    /// `None` after it.
    pub fn idle(&mut self) {
        self.quiet = true;
    }

    /// Bytes held that may yet become a frame.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.begin
    }

    fn pass_over(&mut self, bytes: usize, reason: SkipReason) {
        let bytes = bytes.min(self.pending());
        let passed = self.buffer.get(self.begin..self.begin + bytes).unwrap_or_default();
        self.skipped.add(passed, reason);
        self.known.lost = true;
        self.consume(bytes);
    }

    fn report(&mut self) -> Option<Result<Frame, FrameError>> {
        self.skipped.take(self.offset).map(Err)
    }

    fn consume(&mut self, bytes: usize) {
        let bytes = bytes.min(self.pending());
        self.begin += bytes;
        self.offset += bytes as u64;
        self.scanned = self.scanned.saturating_sub(bytes);
    }

    /// After a burst, lets go of what a connection at rest does not need.
    fn give_back_memory(&mut self) {
        if self.buffer.capacity() > KEPT_CAPACITY && self.pending() < KEPT_CAPACITY / 2 {
            self.buffer.drain(..self.begin);
            self.begin = 0;
            self.buffer.shrink_to(KEPT_CAPACITY);
        }
    }
}

/// What a decoder holds at most when nobody takes frames out, in bytes.
const HELD_LIMIT: usize = 1024 * 1024;
/// What a drained decoder keeps allocated.
const KEPT_CAPACITY: usize = 128 * 1024;
