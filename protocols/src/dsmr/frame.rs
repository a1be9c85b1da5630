//! Finding frames in the bytes of one link, and finding them again after garbage.
//!
//! A telegram begins with a slash and ends with an exclamation mark, and has neither in its midst. One
//! whose checksum or lines are wrong is looked through for the slash of a better one: the half of a
//! telegram never costs the whole one behind it.

use super::encrypted::Key;
use super::judge::{self, Verdict};
use super::skipped::{FrameError, SAMPLE, SkipReason};
use super::{Telegram, TicFrame};

/// What a link carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A telegram of a P1 port.
    Telegram(Box<Telegram>),
    /// A frame of a French meter's TIC.
    Tic(TicFrame),
}

/// Takes the bytes of one link apart.
///
/// Push what was read, of any size, then call [`Decoder::next_frame`] until it answers `None`. So
/// drained, a decoder holds less than 8 KiB: the beginning of one frame. Without being drained it
/// holds up to 1 MiB; beyond that the oldest bytes go, and are reported.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are done with.
    begin: usize,
    /// Offset in the link's stream of the byte at `begin`.
    offset: u64,
    quiet: bool,
    /// The meters whose telegrams have had a checksum, by their identification, the latest last.
    checked: Vec<String>,
    keys: Vec<Key>,
    /// Bytes passed over that belong to no frame, and how they begin.
    between: usize,
    sample: Vec<u8>,
}

impl Decoder {
    /// A decoder for a link that has just been opened.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder that opens encrypted telegrams with whichever of these keys fits. Telegrams that are not
    /// encrypted are taken all the same.
    #[must_use]
    pub fn with_keys(keys: Vec<Key>) -> Self {
        Self { keys, ..Self::default() }
    }

    /// Takes in what the link has read. Take the frames out before pushing more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.quiet = false;
        if self.begin >= self.pending() {
            self.buffer.drain(..self.begin);
            self.begin = 0;
        }
        self.buffer.extend_from_slice(bytes);
        let excess = self.pending().saturating_sub(HELD_LIMIT);
        if excess > 0 {
            self.pass_over(excess);
        }
    }

    /// The next frame, or what was passed over before it. `None`: more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`] for bytes that are no frame; decoding goes on behind them. What lies between
    /// frames comes with the next one, after 64 KiB, or after [`Decoder::idle`].
    pub fn next_frame(&mut self) -> Option<Result<Frame, FrameError>> {
        loop {
            if self.between >= BETWEEN_LIMIT {
                return self.report();
            }
            let held = self.buffer.get(self.begin..).unwrap_or_default();
            if held.is_empty() {
                self.give_back_memory();
                return if self.quiet { self.report() } else { None };
            }
            let checked =
                |identification: &str| self.checked.iter().any(|one| one == identification);
            match judge::judge(held, self.quiet, &self.keys, checked) {
                Verdict::Wait => {
                    self.give_back_memory();
                    return None;
                }
                Verdict::Nothing(bytes) => self.pass_over(bytes.min(self.room())),
                // What was passed over comes first; the frame is judged again with the next call.
                Verdict::Frame(..) | Verdict::Bad(..) if self.between > 0 => return self.report(),
                Verdict::Bad(reason, bytes) => {
                    let error = FrameError::new(self.offset, bytes, reason, held);
                    self.consume(bytes);
                    return Some(Err(error));
                }
                Verdict::Frame(frame, bytes) => {
                    self.consume(bytes);
                    self.note_checksum(&frame);
                    return Some(Ok(frame));
                }
            }
        }
    }

    /// The link has been quiet for its idle time, or has closed: what is not whole by now is judged
    /// bad. Call [`Decoder::next_frame`] until `None` after it.
    pub fn idle(&mut self) {
        self.quiet = true;
    }

    /// Bytes held that may yet become a frame.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.begin
    }

    fn note_checksum(&mut self, frame: &Frame) {
        let Frame::Telegram(telegram) = frame else { return };
        let identification = &telegram.identification;
        if telegram.checksum.is_some() && !self.checked.contains(identification) {
            if self.checked.len() >= MOST_METERS {
                self.checked.remove(0);
            }
            self.checked.push(identification.clone());
        }
    }

    fn room(&self) -> usize {
        BETWEEN_LIMIT - self.between
    }

    fn pass_over(&mut self, bytes: usize) {
        let held = self.buffer.get(self.begin..).unwrap_or_default();
        let wanted = SAMPLE.saturating_sub(self.sample.len()).min(bytes);
        self.sample.extend_from_slice(held.get(..wanted).unwrap_or(held));
        self.between += bytes;
        self.consume(bytes);
    }

    fn report(&mut self) -> Option<Result<Frame, FrameError>> {
        let bytes = std::mem::take(&mut self.between);
        let sample = std::mem::take(&mut self.sample);
        // Line ends between two telegrams are nobody's fault.
        if sample.iter().all(u8::is_ascii_whitespace) && bytes <= SAMPLE {
            return if bytes == 0 { None } else { self.next_frame() };
        }
        let offset = self.offset - bytes as u64;
        Some(Err(FrameError::new(offset, bytes, SkipReason::Between, &sample)))
    }

    fn consume(&mut self, bytes: usize) {
        let bytes = bytes.min(self.pending());
        self.begin += bytes;
        self.offset += bytes as u64;
    }

    /// After a burst, lets go of what a link at rest does not need.
    fn give_back_memory(&mut self) {
        if self.buffer.capacity() > KEPT_CAPACITY && self.pending() < KEPT_CAPACITY {
            self.buffer.drain(..self.begin);
            self.begin = 0;
            self.buffer.shrink_to(KEPT_CAPACITY);
        }
    }
}

/// What a decoder holds at most when nobody takes frames out, in bytes.
const HELD_LIMIT: usize = 1024 * 1024;
/// What a drained decoder keeps allocated.
const KEPT_CAPACITY: usize = 2 * judge::TELEGRAM_LIMIT;
/// Meters of one link that are remembered by their checksums.
const MOST_METERS: usize = 16;
/// Bytes between frames that make one error.
const BETWEEN_LIMIT: usize = 64 * 1024;
