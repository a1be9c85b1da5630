//! A message inside the broker: made once, shared by every queue it waits in.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use super::packet::{Publish, QoS, Will};

/// A message on its way in, still borrowed from where it came.
///
/// Most messages of a broker without subscribers never become more than this.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    /// Checked: not empty, at most 65,535 bytes, no wildcards.
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Seconds of life from now.
    pub(crate) expiry: Option<u32>,
    /// MQTT 5 properties that travel along, as on the wire.
    pub(crate) properties: Vec<u8>,
}

impl<'a> Draft<'a> {
    /// A client's PUBLISH under the topic its alias may stand for.
    pub(crate) fn of(publish: Publish<'a>, topic: &'a str) -> Self {
        Self {
            topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            expiry: publish.expiry,
            properties: publish.properties,
        }
    }

    /// A client's last will.
    pub(crate) fn of_will(will: &'a Will) -> Self {
        Self {
            topic: &will.topic,
            payload: &will.payload,
            qos: will.qos,
            retain: will.retain,
            expiry: will.expiry,
            properties: will.properties.clone(),
        }
    }

    /// Copies the message into memory of its own, away from the read buffer.
    pub(crate) fn share(&mut self) -> Arc<Publication> {
        let length = u16::try_from(self.topic.len()).expect("topics are checked to fit a u16");
        let mut image = Vec::with_capacity(2 + self.topic.len() + self.payload.len());
        image.extend_from_slice(&length.to_be_bytes());
        image.extend_from_slice(self.topic.as_bytes());
        image.extend_from_slice(self.payload);
        Arc::new(Publication {
            image: image.into_boxed_slice(),
            topic_length: length,
            qos: self.qos,
            retain: self.retain,
            expires: self
                .expiry
                .map(|seconds| Instant::now() + Duration::from_secs(seconds.into())),
            properties: std::mem::take(&mut self.properties).into_boxed_slice(),
            number: AtomicU64::new(0),
        })
    }
}

/// A message that waits somewhere: in queues, in flight, or retained.
#[derive(Debug)]
pub(crate) struct Publication {
    /// Topic with its length before it, then the payload: the body of a QoS 0 PUBLISH on 3.1.1.
    image: Box<[u8]>,
    topic_length: u16,
    /// As published.
    pub(crate) qos: QoS,
    /// As published.
    pub(crate) retain: bool,
    expires: Option<Instant>,
    properties: Box<[u8]>,
    /// Its number on disk, given when it is first queued for a kept session; 0 before.
    pub(crate) number: AtomicU64,
}

impl Publication {
    /// A message as it was kept on disk.
    pub(crate) fn kept(kept: KeptMessage) -> Arc<Self> {
        Arc::new(Self {
            image: kept.image.into_boxed_slice(),
            topic_length: kept.topic_length,
            qos: kept.qos,
            retain: kept.retain,
            expires: kept.expires,
            properties: kept.properties.into_boxed_slice(),
            number: AtomicU64::new(kept.number),
        })
    }

    pub(crate) fn image(&self) -> &[u8] {
        &self.image
    }

    /// The topic with its length before it.
    pub(crate) fn topic_image(&self) -> &[u8] {
        &self.image[..2 + usize::from(self.topic_length)]
    }

    pub(crate) fn topic_length(&self) -> u16 {
        self.topic_length
    }

    /// The topic as UTF-8 bytes.
    pub(crate) fn topic(&self) -> &[u8] {
        &self.image[2..2 + usize::from(self.topic_length)]
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.image[2 + usize::from(self.topic_length)..]
    }

    pub(crate) fn properties(&self) -> &[u8] {
        &self.properties
    }

    /// Memory it takes in bytes, to within the allocator's rounding.
    pub(crate) fn size(&self) -> usize {
        self.image.len() + self.properties.len() + OVERHEAD
    }

    pub(crate) fn expires(&self) -> Option<Instant> {
        self.expires
    }

    /// Whether its message expiry has passed. `now` is asked only when the message has one.
    pub(crate) fn is_expired(&self, now: impl FnOnce() -> Instant) -> bool {
        self.expires.is_some_and(|at| at <= now())
    }

    /// Seconds of life left, rounded up.
    pub(crate) fn seconds_left(&self) -> Option<u32> {
        let left = self.expires?.saturating_duration_since(Instant::now());
        Some(u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX))
    }
}

/// The parts of a message on disk.
#[derive(Debug)]
pub(crate) struct KeptMessage {
    /// 0 for a retained one.
    pub(crate) number: u64,
    /// Topic with its length before it, then the payload; checked.
    pub(crate) image: Vec<u8>,
    pub(crate) topic_length: u16,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expires: Option<Instant>,
    pub(crate) properties: Vec<u8>,
}

/// What a message costs beside its bytes: the shared header and a place in a queue.
const OVERHEAD: usize = 128;
