//! Messages for those who listen now. They are sent while the broker is there and are not kept
//! otherwise: a reading that arrives late would be taken for a new one.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::stats::ExternalStats;

/// A message that is sent once, QoS 0.
#[derive(Debug)]
pub(super) struct LiveMessage {
    pub(super) topic: Box<str>,
    pub(super) payload: Bytes,
}

/// A bounded queue that is open while the broker is connected.
#[derive(Debug)]
pub(super) struct Live {
    queue: Mutex<Queue>,
    arrived: Notify,
    messages: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<LiveMessage>,
    bytes: usize,
    open: bool,
}

impl LiveMessage {
    fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + OVERHEAD
    }
}

/// What a message costs beside its bytes.
const OVERHEAD: usize = 64;

impl Live {
    /// A closed queue of at most so many messages and bytes.
    pub(super) fn new(messages: usize, bytes: usize) -> Self {
        Self { queue: Mutex::default(), arrived: Notify::new(), messages, bytes }
    }

    /// Adds a message, or counts it as not sent while the broker is away. A full queue drops its
    /// oldest.
    pub(super) fn push(&self, topic: &str, payload: &[u8], stats: &ExternalStats) {
        let mut queue = self.queue.lock();
        if !queue.open {
            ExternalStats::count(&stats.not_sent);
            return;
        }
        let message = LiveMessage { topic: topic.into(), payload: Bytes::copy_from_slice(payload) };
        queue.bytes += message.size();
        queue.waiting.push_back(message);
        while queue.waiting.len() > self.messages || queue.bytes > self.bytes {
            let Some(oldest) = queue.waiting.pop_front() else { break };
            queue.bytes -= oldest.size();
            ExternalStats::count(&stats.dropped_queue_full);
        }
        drop(queue);
        self.arrived.notify_one();
    }

    /// The next message.
    pub(super) fn pop(&self) -> Option<LiveMessage> {
        let mut queue = self.queue.lock();
        let message = queue.waiting.pop_front()?;
        queue.bytes -= message.size();
        Some(message)
    }

    /// Returns when there may be one.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// The broker is there.
    pub(super) fn open(&self) {
        self.queue.lock().open = true;
    }

    /// The broker is gone: what waits is not sent.
    pub(super) fn close(&self, stats: &ExternalStats) {
        let mut queue = self.queue.lock();
        queue.open = false;
        queue.bytes = 0;
        let lost = std::mem::take(&mut queue.waiting).len();
        ExternalStats::add(&stats.not_sent, lost as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn nothing_waits_while_the_broker_is_away_and_a_full_queue_drops_its_oldest() {
        let (live, stats) = (Live::new(2, 10_000), ExternalStats::default());
        live.push("early", b"", &stats);
        live.open();
        for topic in ["a", "b", "c"] {
            live.push(topic, b"", &stats);
        }
        assert_eq!(live.pop().map(|message| message.topic), Some("b".into()));
        live.close(&stats);
        assert!(live.pop().is_none());
        assert_eq!(stats.not_sent.load(Ordering::Relaxed), 2);
        assert_eq!(stats.dropped_queue_full.load(Ordering::Relaxed), 1);
    }
}
