//! The receiving half of a Brultech connection: bytes to packets.

use std::time::Duration;

use meter_protocols::brultech::{Decoder, Frame, FrameError, SkipReason};

use super::adapter::{Arrival, Mailbox};
use super::settings::LinkId;
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
    mailbox: Mailbox,
    metrics: Metrics,
    skipped: Skipped,
    told_of_text: bool,
}

/// Bytes that were part of no packet, told of now and then and not each time.
#[derive(Debug, Default)]
struct Skipped {
    bytes: usize,
    told: Option<Timestamp>,
}

impl Ears {
    /// Ears for a new connection of `peer`, which is named in the log.
    pub fn new(link: LinkId, peer: String, mailbox: Mailbox, metrics: Metrics) -> Ears {
        Ears {
            decoder: Decoder::new(),
            link,
            peer,
            mailbox,
            metrics,
            skipped: Skipped::default(),
            told_of_text: false,
        }
    }

    /// Hands on what the decoder has found. Waits for the adapter where it is behind, which slows
    /// the sender and nobody else.
    async fn listen(&mut self) -> Vec<u8> {
        let mut reply = Vec::new();
        let at = Timestamp::now();
        while let Some(found) = self.decoder.next_frame() {
            match found {
                Ok(Frame::Packet(packet)) => {
                    self.metrics.packets.increment();
                    let arrival = Arrival { link: self.link, at, packet: Box::new(packet) };
                    if self.mailbox.send(arrival).await.is_err() {
                        // The gateway is stopping.
                        self.metrics.dropped_arrivals.increment();
                    }
                }
                Ok(Frame::Text(text)) => {
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
        reply
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

impl Conversation for Ears {
    async fn received(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.decoder.push(bytes);
        self.listen().await
    }

    async fn quiet(&mut self) -> Vec<u8> {
        self.decoder.idle();
        self.listen().await
    }
}

/// The modules that post by HTTP are reset by the meter when answers stay out.
const HTTP_OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const TELL_EVERY: Duration = Duration::from_secs(60);
