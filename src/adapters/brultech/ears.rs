//! The receiving half of a Brultech connection: bytes to packets.

use std::time::Duration;

use meter_protocols::brultech::{Decoder, Frame, FrameError, Packet, SkipReason};

use super::switchboard::Switchboard;
use super::voice::Voice;
use crate::adapters::fleet::{Arrival, LinkId, Mailbox};
use crate::metrics::Metrics;
use crate::model::Timestamp;
use crate::transport::Conversation;

/// Decodes what one peer sends and hands its packets to the adapter. Several meters may speak on
/// one connection.
#[derive(Debug)]
pub struct Ears {
    decoder: Decoder,
    link: LinkId,
    peer: String,
    mailbox: Mailbox<Packet>,
    metrics: Metrics,
    skipped: Skipped,
    told_of_text: bool,
    voice: Option<Voice>,
}

/// Bytes that were part of no packet, told of now and then and not each time.
#[derive(Debug, Default)]
struct Skipped {
    bytes: usize,
    told: Option<Timestamp>,
    /// Bytes since the connection began, until a packet comes.
    before_the_first: Option<usize>,
}

impl Ears {
    /// Ears for a new connection of `peer`, which is named in the log.
    pub fn new(link: LinkId, peer: String, mailbox: Mailbox<Packet>, metrics: Metrics) -> Ears {
        Ears {
            decoder: Decoder::new(),
            link,
            peer,
            mailbox,
            metrics,
            skipped: Skipped { before_the_first: Some(0), ..Skipped::default() },
            told_of_text: false,
            voice: None,
        }
    }

    /// Lets commands out on this connection, and polls.
    #[must_use]
    pub fn with_voice(mut self, switchboard: &Switchboard) -> Ears {
        self.voice = Some(Voice::new(switchboard, self.link));
        self
    }

    /// Hands on what the decoder has found. Waits for the adapter where it is behind, which slows
    /// the sender and nobody else.
    async fn listen(&mut self) -> Vec<u8> {
        let mut reply = Vec::new();
        let at = Timestamp::now();
        while let Some(found) = self.decoder.next_frame() {
            match found {
                Ok(Frame::Packet(packet)) => self.packet(packet, at).await,
                Ok(Frame::Text(text)) => {
                    self.hand_on_between();
                    if let Some(voice) = &mut self.voice {
                        voice.text(&text);
                    }
                    self.pass_over(&format!("a reading of meter {} as text", text.serial));
                    if text.wants_http_reply() {
                        reply.extend_from_slice(HTTP_OK);
                    }
                }
                Ok(Frame::Http(request)) => {
                    self.pass_over(&format!(
                        "an HTTP request, {} {}",
                        request.method, request.target
                    ));
                    reply.extend_from_slice(HTTP_OK);
                }
                Err(error) => self.skip(&error, at),
            }
        }
        self.hand_on_between();
        reply
    }

    async fn packet(&mut self, packet: Packet, at: Timestamp) {
        self.metrics.packets.increment();
        self.skipped.before_the_first = None;
        // What came before the packet belongs before it.
        self.hand_on_between();
        if let Some(voice) = &mut self.voice {
            voice.packet(&packet);
        }
        let arrival = Arrival { link: self.link, at, frame: Box::new(packet) };
        if self.mailbox.send(arrival).await.is_err() {
            // The gateway is stopping.
            self.metrics.dropped_arrivals.increment();
        }
    }

    /// Gives the bytes that belong to no packet to whoever waits for an answer.
    fn hand_on_between(&mut self) {
        if let Some(voice) = self.voice.as_mut().filter(|voice| voice.is_listening()) {
            voice.between(&self.decoder.take_between());
        }
    }

    fn is_listening(&self) -> bool {
        self.voice.as_ref().is_some_and(Voice::is_listening)
    }

    /// A frame that is understood but carries no counters in a form that can be trusted.
    fn pass_over(&mut self, what: &str) {
        self.metrics.ignored_packets.increment();
        if !self.told_of_text {
            self.told_of_text = true;
            tracing::warn!(
                peer = self.peer,
                "the meter sends {what}, which the gateway answers and does not publish: choose a \
                 binary packet format in its set-up, such as 5 (BIN48-NET) or 8 (BIN32-NET)"
            );
        }
    }

    fn skip(&mut self, error: &FrameError, at: Timestamp) {
        let FrameError::Skipped { bytes, reason, sample, .. } = error;
        self.metrics.bad_frames.increment();
        self.metrics.skipped_bytes.add(*bytes as u64);
        let is_text = sample
            .as_bytes()
            .iter()
            .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
        if *reason == SkipReason::Between && is_text {
            // Keep-alive text and late replies come between packets all the time.
            tracing::debug!(peer = self.peer, %error);
            return;
        }
        self.skipped.bytes += bytes;
        if self.skipped.is_all_noise(*bytes) {
            tracing::warn!(
                peer = self.peer,
                "more than {NOISE} bytes have come and no packet among them: is it a Brultech meter \
                 in a binary packet format, and is the baud rate right, here or in the module?"
            );
        }
        if self.skipped.told.is_none_or(|told| at.since(told) > TELL_EVERY) {
            let bytes = std::mem::take(&mut self.skipped.bytes);
            self.skipped.told = Some(at);
            tracing::warn!(
                peer = self.peer,
                bytes,
                latest = %error,
                "bytes that are no packet were skipped"
            );
        }
    }
}

impl Skipped {
    /// Whether it is time to say that nothing can be understood; once for each connection.
    fn is_all_noise(&mut self, bytes: usize) -> bool {
        let Some(before) = self.before_the_first else { return false };
        let all = before + bytes;
        self.before_the_first = (all <= NOISE).then_some(all);
        all > NOISE
    }
}

impl Conversation for Ears {
    async fn received(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.decoder.push(bytes);
        self.listen().await
    }

    async fn quiet(&mut self) -> Vec<u8> {
        self.decoder.idle();
        self.listen().await
    }

    fn patience(&self) -> Duration {
        // The end of an answer can look like the beginning of a packet, but not like one of the
        // pieces, of at least 80 bytes, in which a meter may send a packet with pauses.
        if self.is_listening() && self.decoder.pending() < SHORTEST_PIECE {
            ANSWER_PATIENCE
        } else {
            PATIENCE
        }
    }

    async fn speak(&mut self) -> Vec<u8> {
        loop {
            let Some(voice) = &mut self.voice else { return std::future::pending().await };
            let listened = voice.is_listening();
            let words = voice.speak().await;
            if voice.is_listening() != listened {
                let keep = if voice.is_listening() { BETWEEN_LIMIT } else { 0 };
                self.decoder.keep_between(keep);
            }
            if let Some(words) = words {
                return words;
            }
        }
    }
}

/// The modules that post by HTTP are reset by the meter when answers stay out.
const HTTP_OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
/// A packet comes without longer pauses, unless the meter is set to send it in pieces.
const PATIENCE: Duration = Duration::from_secs(1);
const ANSWER_PATIENCE: Duration = Duration::from_millis(250);
const SHORTEST_PIECE: usize = 80;
/// What of the bytes between packets is kept for the answer, which is handed on with each read.
const BETWEEN_LIMIT: usize = 64 * 1024;
/// Three packets of the longest format: who begins in the middle of one passes over less.
const NOISE: usize = 2000;
const TELL_EVERY: Duration = Duration::from_secs(60);
