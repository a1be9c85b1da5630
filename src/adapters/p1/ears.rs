//! The receiving half of a connection to a customer port: bytes to telegrams.

use std::time::Duration;

use meter_protocols::dsmr::{Decoder, Frame, FrameError, Key, SkipReason};

use super::measured::Measured;
use crate::adapters::fleet::{Arrival, LinkId, Mailbox};
use crate::metrics::Metrics;
use crate::model::Timestamp;
use crate::transport::Conversation;

/// Decodes what one port sends and hands its telegrams to the adapter. Nothing is ever answered.
#[derive(Debug)]
pub struct Ears {
    decoder: Decoder,
    link: LinkId,
    peer: String,
    mailbox: Mailbox<Measured>,
    metrics: Metrics,
    skipped: usize,
    told: Option<Timestamp>,
    /// Telegrams have come that could be read.
    opened: bool,
    /// What was said of encrypted telegrams, each once for the connection.
    told_of_encryption: Vec<&'static str>,
    /// Bytes since the connection began, until a telegram comes.
    before_the_first: Option<usize>,
}

impl Ears {
    /// Ears for a new connection of `peer`, which is named in the log.
    pub fn new(link: LinkId, peer: String, mailbox: Mailbox<Measured>, metrics: Metrics) -> Ears {
        Ears {
            decoder: Decoder::new(),
            link,
            peer,
            mailbox,
            metrics,
            skipped: 0,
            told: None,
            opened: false,
            told_of_encryption: Vec::new(),
            before_the_first: Some(0),
        }
    }

    /// Opens encrypted telegrams with whichever of these keys fits.
    pub fn with_keys(mut self, keys: Vec<Key>) -> Ears {
        self.decoder = Decoder::with_keys(keys);
        self
    }

    /// Hands on what the decoder has found. Waits for the adapter where it is behind, which slows the
    /// sender and nobody else.
    async fn listen(&mut self) {
        let at = Timestamp::now();
        while let Some(found) = self.decoder.next_frame() {
            match found {
                Ok(frame) => self.frame(&frame, at).await,
                Err(error) => self.skip(&error, at),
            }
        }
    }

    async fn frame(&mut self, frame: &Frame, at: Timestamp) {
        self.metrics.packets.increment();
        self.before_the_first = None;
        self.opened = true;
        let Some(measured) = Measured::of(frame) else {
            self.metrics.ignored_packets.increment();
            tracing::debug!(peer = self.peer, "a frame without the number of its meter");
            return;
        };
        let arrival = Arrival { link: self.link, at, frame: Box::new(measured) };
        if self.mailbox.send(arrival).await.is_err() {
            // The gateway is stopping.
            self.metrics.dropped_arrivals.increment();
        }
    }

    fn skip(&mut self, error: &FrameError, at: Timestamp) {
        self.metrics.bad_frames.increment();
        self.metrics.skipped_bytes.add(error.bytes as u64);
        let advice = match error.reason {
            // One of many that were opened has a wrong byte.
            SkipReason::WrongKey if self.opened => None,
            ref reason => advice(reason),
        };
        if let Some(advice) = advice {
            // A telegram is heard, so nothing is wrong with the line.
            self.before_the_first = None;
            if !self.told_of_encryption.contains(&advice) {
                self.told_of_encryption.push(advice);
                tracing::warn!(peer = self.peer, "{advice}");
            }
            return;
        }
        if let Some(before) = &mut self.before_the_first {
            *before += error.bytes;
            if *before > NOISE {
                self.before_the_first = None;
                tracing::warn!(
                    peer = self.peer,
                    "more than {NOISE} bytes have come and no telegram among them: is the baud rate \
                     right (115200; DSMR 2.2: 9600; TIC: 1200), and is the signal of the port inverted?"
                );
            }
        }
        self.skipped += error.bytes;
        if self.told.is_none_or(|told| at.since(told) > TELL_EVERY) {
            let bytes = std::mem::take(&mut self.skipped);
            self.told = Some(at);
            tracing::warn!(peer = self.peer, bytes, latest = %error, "bytes that are no telegram were skipped");
        }
    }
}

impl Conversation for Ears {
    async fn received(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.decoder.push(bytes);
        self.listen().await;
        Vec::new()
    }

    async fn quiet(&mut self) -> Vec<u8> {
        self.decoder.idle();
        self.listen().await;
        Vec::new()
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}

/// What to do about encrypted telegrams that are not read.
fn advice(reason: &SkipReason) -> Option<&'static str> {
    match reason {
        SkipReason::Encrypted => Some(
            "the meter encrypts its telegrams, as those of Luxembourg do: ask your network operator \
             for the key of the port, and write it as `key:` in the meter's entry",
        ),
        SkipReason::WrongKey => Some(
            "the meter encrypts its telegrams, and one came that no `key:` of this link opens: compare the \
             key with what your network operator has told you, and ask whether the network has an \
             authentication key of its own, which this version does not know",
        ),
        SkipReason::NoTelegramInside => Some(
            "the key fits, but what the meter encrypts are no telegrams of P1: this version cannot \
             read them",
        ),
        _ => None,
    }
}

/// A telegram comes in one go; ports at 1200 baud and dongles on a poor network pause for less.
const PATIENCE: Duration = Duration::from_secs(3);
/// Two telegrams of the longest kind that meters send.
const NOISE: usize = 4096;
const TELL_EVERY: Duration = Duration::from_secs(60);
