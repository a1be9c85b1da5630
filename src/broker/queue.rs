//! What waits for one client: bounded in messages and in bytes.
//!
//! Messages of QoS 0 and those to be acknowledged lie apart, so that the oldest QoS 0 can make room
//! and so that a client that is slow to acknowledge still gets its QoS 0 (MQTT 5, section 4.9).
//! Within each the order is that of arrival, and across both as far as acknowledgements allow.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use super::packet::QoS;
use super::publication::Publication;

/// Identifiers of the subscriptions that a message matched.
pub(crate) type SubscriptionIds = SmallVec<[u32; 2]>;

/// A message for one client.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    pub(crate) publication: Arc<Publication>,
    /// The lower of the message's and the subscription's.
    pub(crate) qos: QoS,
    /// The retain flag as the client is to see it.
    pub(crate) retain: bool,
    pub(crate) ids: SubscriptionIds,
    /// The shared subscription it came by, as subscribed to.
    pub(crate) share: Option<Arc<str>>,
}

/// What became of a message that was to be queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    Kept,
    /// Kept, and this many older QoS 0 messages were dropped for it; or, being QoS 0 itself and in
    /// front of a queue full of acknowledged messages, dropped alone.
    Dropped(u64),
    /// To be acknowledged, and there is no room. Not kept.
    Overflow,
}

/// The bounded queue of one client.
#[derive(Debug)]
pub(crate) struct Queue {
    unacknowledged: VecDeque<(u64, Queued)>,
    acknowledged: VecDeque<(u64, Queued)>,
    arrivals: u64,
    bytes: usize,
    max_messages: usize,
    max_bytes: usize,
}

impl Queue {
    pub(crate) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self {
            unacknowledged: VecDeque::new(),
            acknowledged: VecDeque::new(),
            arrivals: 0,
            bytes: 0,
            max_messages,
            max_bytes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.unacknowledged.len() + self.acknowledged.len()
    }

    /// Memory taken by the messages, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether publishers should be slowed down.
    pub(crate) fn is_above_high_mark(&self) -> bool {
        self.len() > (self.max_messages / 2).min(HIGH_MESSAGES)
            || self.bytes > (self.max_bytes / 2).min(HIGH_BYTES)
    }

    /// Whether publishers that were slowed down should still wait.
    pub(crate) fn is_above_low_mark(&self) -> bool {
        self.len() > (self.max_messages / 4).min(HIGH_MESSAGES / 2)
            || self.bytes > (self.max_bytes / 4).min(HIGH_BYTES / 2)
    }

    /// Whether messages wait here that the client will have to acknowledge.
    pub(crate) fn holds_acknowledged(&self) -> bool {
        !self.acknowledged.is_empty()
    }

    /// Queues a message; see `Pushed` for what happens when there is no room.
    pub(crate) fn push(&mut self, item: Queued) -> Pushed {
        let size = item.publication.size();
        let mut dropped = 0;
        while self.len() >= self.max_messages || self.bytes + size > self.max_bytes {
            match self.unacknowledged.pop_front() {
                Some((_, oldest)) => {
                    self.bytes -= oldest.publication.size();
                    dropped += 1;
                }
                None if item.qos == QoS::AtMostOnce => return Pushed::Dropped(dropped + 1),
                None => return Pushed::Overflow,
            }
        }
        self.bytes += size;
        self.arrivals += 1;
        let queue = match item.qos {
            QoS::AtMostOnce => &mut self.unacknowledged,
            _ => &mut self.acknowledged,
        };
        queue.push_back((self.arrivals, item));
        if dropped == 0 { Pushed::Kept } else { Pushed::Dropped(dropped) }
    }

    /// The place of the message that was queued last. Places only grow.
    pub(crate) fn last_place(&self) -> u64 {
        self.arrivals
    }

    /// Puts a message back that was kept over a restart, whatever the limits. Places must grow.
    pub(crate) fn restore(&mut self, place: u64, item: Queued) {
        self.bytes += item.publication.size();
        self.arrivals = place;
        self.acknowledged.push_back((place, item));
    }

    /// Gives out no place up to this one.
    pub(crate) fn skip_places(&mut self, place: u64) {
        self.arrivals = self.arrivals.max(place);
    }

    /// Takes the next message with its place: the older of both kinds, or QoS 0 only while the window
    /// is closed.
    pub(crate) fn pop(&mut self, window_open: bool) -> Option<(u64, Queued)> {
        let acknowledged = match (self.unacknowledged.front(), self.acknowledged.front()) {
            (Some((one, _)), Some((other, _))) => window_open && other < one,
            (None, Some(_)) if window_open => true,
            (Some(_), None) => false,
            (None, _) => return None,
        };
        let queue = if acknowledged { &mut self.acknowledged } else { &mut self.unacknowledged };
        let (place, item) = queue.pop_front()?;
        self.bytes -= item.publication.size();
        Some((place, item))
    }

    /// How many messages and bytes may be added that can wait elsewhere; `None` while there is enough
    /// here. Half of the queue stays free for what cannot.
    pub(crate) fn feed_room(&self) -> Option<(usize, usize)> {
        let messages = (self.max_messages / 2).clamp(1, FEED_MESSAGES).checked_sub(self.len())?;
        let bytes = (self.max_bytes / 2).clamp(1, FEED_BYTES).checked_sub(self.bytes)?;
        (messages > 0 && bytes > 0).then_some((messages, bytes))
    }

    /// Takes out, in their order, the messages of shared subscriptions that others can have instead.
    pub(crate) fn take_shared(&mut self) -> Vec<Queued> {
        let queue = std::mem::take(&mut self.acknowledged);
        let (shared, own): (VecDeque<_>, _) =
            queue.into_iter().partition(|(_, item)| item.share.is_some());
        self.acknowledged = own;
        self.bytes -= shared.iter().map(|(_, item)| item.publication.size()).sum::<usize>();
        shared.into_iter().map(|(_, item)| item).collect()
    }

    /// Drops all QoS 0: nobody is there to take it.
    pub(crate) fn drop_unacknowledged(&mut self) {
        for (_, item) in std::mem::take(&mut self.unacknowledged) {
            self.bytes -= item.publication.size();
        }
    }

    /// Gives back the room a past burst has left behind.
    pub(crate) fn shrink(&mut self) {
        self.unacknowledged.shrink_to_fit();
        self.acknowledged.shrink_to_fit();
    }
}

/// Above this much a queue is crowded and slows its publishers down.
const HIGH_MESSAGES: usize = 4096;
const HIGH_BYTES: usize = 2 * 1024 * 1024;
/// Messages and bytes a client's retained messages may take up in its queue at a time.
const FEED_MESSAGES: usize = 1024;
const FEED_BYTES: usize = 1024 * 1024;

#[cfg(test)]
impl Queued {
    /// An empty message, for tests.
    pub(crate) fn empty(topic: &str, qos: QoS) -> Self {
        let mut draft = crate::broker::publication::Draft {
            topic,
            payload: b"",
            qos,
            retain: false,
            expiry: None,
            properties: Vec::new(),
        };
        let publication = draft.share();
        Self { publication, qos, retain: false, ids: SubscriptionIds::new(), share: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut Queue, window_open: bool) -> Vec<String> {
        std::iter::from_fn(|| queue.pop(window_open))
            .map(|(_, item)| String::from_utf8(item.publication.topic().to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn order_is_that_of_arrival_and_a_closed_window_lets_qos_0_pass() {
        let mut queue = Queue::new(10, 10_000);
        for (topic, qos) in
            [("a", QoS::AtLeastOnce), ("b", QoS::AtMostOnce), ("c", QoS::ExactlyOnce)]
        {
            assert_eq!(queue.push(Queued::empty(topic, qos)), Pushed::Kept);
        }
        assert_eq!(drain(&mut queue, false), ["b"]);
        assert_eq!(drain(&mut queue, true), ["a", "c"]);
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }

    #[test]
    fn a_full_queue_drops_the_oldest_qos_0_and_never_what_is_to_be_acknowledged() {
        let mut queue = Queue::new(3, 10_000);
        for topic in ["a", "b"] {
            queue.push(Queued::empty(topic, QoS::AtMostOnce));
        }
        queue.push(Queued::empty("c", QoS::AtLeastOnce));
        assert_eq!(queue.push(Queued::empty("d", QoS::AtMostOnce)), Pushed::Dropped(1));
        assert_eq!(queue.push(Queued::empty("e", QoS::AtLeastOnce)), Pushed::Dropped(1));
        assert_eq!(queue.push(Queued::empty("f", QoS::AtLeastOnce)), Pushed::Dropped(1));
        assert_eq!(queue.push(Queued::empty("g", QoS::AtLeastOnce)), Pushed::Overflow);
        assert_eq!(queue.push(Queued::empty("h", QoS::AtMostOnce)), Pushed::Dropped(1));
        assert_eq!(drain(&mut queue, true), ["c", "e", "f"]);
    }

    #[test]
    fn bytes_are_bounded_as_well() {
        let size = Queued::empty("a", QoS::AtMostOnce).publication.size();
        let mut queue = Queue::new(100, 2 * size);
        for topic in ["a", "b", "c"] {
            queue.push(Queued::empty(topic, QoS::AtMostOnce));
        }
        assert_eq!(drain(&mut queue, true), ["b", "c"]);
    }
}
