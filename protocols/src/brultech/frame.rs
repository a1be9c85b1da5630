//! Finding frames in the bytes of one link, and finding them again after garbage.
//!
//! A packet has no length field and no escaping: its header FE FF and footer FF FE occur inside data
//! as well. So nothing is believed before footer and checksum are right, and a head that proves
//! wrong costs one byte, as the next good packet may begin inside it.

use super::judge::{self, Verdict};
use super::request::{HttpRequest, Request};
use super::skipped::{Between, Skipped};
use super::text::TextReading;
use super::{Format, FrameError, Packet, SkipReason, ascii};

/// What a link carries.
///
/// A packet is kept in place and not boxed: moving its 1,000 bytes costs less than an allocation
/// for each. Box it where it is to be stored.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every frame is the large one")]
pub enum Frame {
    /// A binary packet.
    Packet(Packet),
    /// A reading in one of the text formats.
    Text(Box<TextReading>),
    /// An HTTP request of another kind, with its body.
    Http(Box<HttpRequest>),
}

impl Frame {
    /// Whether the sender waits for `HTTP/1.1 200 OK`.
    #[must_use]
    pub const fn wants_http_reply(&self) -> bool {
        match self {
            Self::Packet(_) => false,
            Self::Text(reading) => reading.wants_http_reply(),
            Self::Http(_) => true,
        }
    }
}

/// Takes the bytes of one link apart. One decoder serves any mixture of formats and meters.
///
/// Push what was read, of any size, then call [`Decoder::next_frame`] until it answers `None`. So
/// drained, a decoder holds less than 4 KiB ([`Decoder::pending`]): the beginning of one frame.
/// Without being drained it holds up to 1 MiB; beyond that the oldest bytes go, and are reported.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Bytes as pushed; those before `begin` are done with.
    buffer: Vec<u8>,
    begin: usize,
    /// Offset in the link's stream of the byte at `begin`.
    offset: u64,
    /// The link is quiet: what is not whole now will not become so.
    quiet: bool,
    /// A text has just been taken; its line end goes with it.
    behind_text: bool,
    /// A request whose body is still coming.
    request: Option<Request>,
    /// No request begins before this offset, as was found out already.
    no_request_before: u64,
    skipped: Skipped,
    between: Between,
}

impl Decoder {
    /// A decoder for a link that has just been opened. It takes no memory before the first bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what the link has read. Take the frames out before pushing more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.quiet = false;
        // Moving the rest to the front is worth it once that frees as much as is moved.
        if self.begin >= self.pending() {
            self.move_to_front();
        }
        self.buffer.extend_from_slice(bytes);
        let excess = self.pending().saturating_sub(HELD_LIMIT);
        if excess > 0 {
            self.request = None;
            self.pass_over(excess, SkipReason::Overrun);
            self.move_to_front();
        }
    }

    /// The next frame, or what was passed over before it.
    ///
    /// `None`: more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError::Skipped`] for bytes that belong to no frame; decoding goes on behind them. All
    /// bytes between two frames make one error, or one for each 64 KiB of them. It comes with the
    /// next frame, or after [`Decoder::idle`].
    pub fn next_frame(&mut self) -> Option<Result<Frame, FrameError>> {
        loop {
            if self.skipped.is_full() {
                return self.report();
            }
            if self.request.is_some() {
                return self.finish_request().map(Ok);
            }
            match self.judge() {
                Verdict::Wait if !self.quiet => {
                    self.give_back_memory();
                    return None;
                }
                Verdict::Wait if self.pending() == 0 => return self.report(),
                Verdict::Wait => self.pass_over_room(1, judge::cut_short(self.held())),
                Verdict::Skip(bytes, reason) => self.pass_over_room(bytes, reason),
                Verdict::BrokenRequest(bytes) => {
                    // Else each letter G in it would be judged anew, all the way to its end.
                    self.no_request_before = self.offset + bytes as u64;
                    self.pass_over_room(1, SkipReason::Text);
                }
                // What was passed over comes first; the frame is judged again with the next call.
                _ if !self.skipped.is_empty() => return self.report(),
                Verdict::Packet(format) => {
                    if let Some(packet) = self.take_packet(format) {
                        return Some(Ok(Frame::Packet(packet)));
                    }
                }
                Verdict::Text(reading, length) => {
                    self.consume(length);
                    self.behind_text = true;
                    return Some(Ok(Frame::Text(reading)));
                }
                Verdict::Request(head, length) => {
                    self.consume(length);
                    self.request = Some(Request::new(head));
                }
            }
        }
    }

    /// The link has been quiet for its idle time, or has closed: what is not whole by now is judged
    /// bad, and the bytes behind it are looked through again. Call [`Decoder::next_frame`] until
    /// `None` after it.
    ///
    /// A false header in noise can otherwise hide short packets until 625 bytes have come. Choose
    /// the idle time longer than any pause inside a packet: 1 s, unless the device is set to send in
    /// chunks.
    pub fn idle(&mut self) {
        self.quiet = true;
    }

    /// Bytes held that may yet become a frame.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.begin
    }

    /// Keeps the last `limit` bytes that belong to no frame for [`Decoder::take_between`]; 0, which
    /// a new decoder has, keeps none. What was kept before is forgotten.
    ///
    /// Replies to commands come between packets, or with a packet in their middle: what a reply
    /// parser wants is the bytes without the frames. They are there as soon as
    /// [`Decoder::next_frame`] has answered `None`, long before the error that counts them.
    pub fn keep_between(&mut self, limit: usize) {
        self.between = Between::new(limit);
    }

    /// The bytes kept since the last call, oldest first.
    pub fn take_between(&mut self) -> Vec<u8> {
        self.between.take()
    }

    fn held(&self) -> &[u8] {
        self.buffer.get(self.begin..).unwrap_or_default()
    }

    /// Judges the first held byte, in the light of what came before it.
    fn judge(&mut self) -> Verdict {
        if self.behind_text {
            let held = self.held();
            let line_end = held.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.behind_text = line_end == held.len();
            self.consume(line_end);
        }
        match self.held() {
            [b'G' | b'P', ..] if self.offset < self.no_request_before => {
                Verdict::Skip(1, SkipReason::Between)
            }
            held => judge::judge(held, self.quiet),
        }
    }

    /// Takes what has come of a request's body, and the request once its body is over: all of it
    /// has come, a packet stands in its place, or the link is quiet.
    fn finish_request(&mut self) -> Option<Frame> {
        let mut request = self.request.take()?;
        let taken = request.take_body(self.held());
        let interrupted = taken < self.pending();
        self.consume(taken);
        if request.is_whole() || interrupted || self.quiet {
            return Some(request.into_frame());
        }
        self.request = Some(request);
        self.give_back_memory();
        None
    }

    fn take_packet(&mut self, format: Format) -> Option<Packet> {
        let packet = Packet::decode(format, self.held().get(..format.length())?);
        self.consume(format.length());
        packet
    }

    fn consume(&mut self, bytes: usize) {
        self.begin += bytes;
        self.offset += bytes as u64;
    }

    /// Gives up the first bytes.
    fn pass_over(&mut self, bytes: usize, reason: SkipReason) {
        let passed = self.buffer.get(self.begin..self.begin + bytes).unwrap_or_default();
        self.skipped.add(passed, reason);
        self.between.add(passed);
        self.consume(bytes);
    }

    /// Gives up as many of the first bytes as one report has room for; the rest is met again.
    fn pass_over_room(&mut self, bytes: usize, reason: SkipReason) {
        self.pass_over(bytes.min(self.skipped.room()), reason);
    }

    fn report(&mut self) -> Option<Result<Frame, FrameError>> {
        self.skipped.take(self.offset).map(Err)
    }

    fn move_to_front(&mut self) {
        self.buffer.drain(..self.begin);
        self.begin = 0;
    }

    /// After a burst, lets go of what a link at rest does not need.
    fn give_back_memory(&mut self) {
        if self.buffer.capacity() > KEPT_CAPACITY && self.pending() < KEPT_CAPACITY {
            self.move_to_front();
            self.buffer.shrink_to(KEPT_CAPACITY);
        }
    }
}

/// What a decoder holds at most when nobody takes frames out, in bytes.
const HELD_LIMIT: usize = 1024 * 1024;
/// What a drained decoder keeps allocated: room for the longest text, and for a packet behind it.
const KEPT_CAPACITY: usize = ascii::TEXT_LIMIT + Format::LONGEST;
