//! The gateway's subscriptions at another broker: which filters are wanted, and who gets what comes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::stats::ExternalStats;
use crate::broker::filter::{self, Filter, FilterError};
use crate::broker::link::Received;

/// All subscriptions of the link.
#[derive(Debug)]
pub(super) struct Subscriptions {
    registry: Mutex<Registry>,
    changed: Notify,
    messages: usize,
    bytes: usize,
    stats: Arc<ExternalStats>,
}

#[derive(Debug, Default)]
struct Registry {
    members: BTreeMap<u64, Member>,
    last: u64,
}

#[derive(Debug)]
struct Member {
    filter: Box<str>,
    as_published: bool,
    inbox: Arc<Inbox>,
}

/// How a filter is to be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Higher when somebody joined: then it is subscribed to again, for the retained messages.
    pub(super) number: u64,
    /// The broker shall leave the retain flag on what is published just now (MQTT 5).
    pub(super) as_published: bool,
}

/// What waits for one subscription.
#[derive(Debug, Default)]
struct Inbox {
    queue: Mutex<(VecDeque<Received>, usize)>,
    arrived: Notify,
}

/// One subscription; dropping it unsubscribes.
#[derive(Debug)]
pub(crate) struct ExternalSubscription {
    key: u64,
    inbox: Arc<Inbox>,
    all: Arc<Subscriptions>,
}

impl Subscriptions {
    /// None yet; each may have so many messages and bytes waiting.
    pub(super) fn new(messages: usize, bytes: usize, stats: Arc<ExternalStats>) -> Self {
        Self { registry: Mutex::default(), changed: Notify::new(), messages, bytes, stats }
    }

    pub(super) fn add(
        self: &Arc<Self>,
        filter: &str,
        as_published: bool,
    ) -> Result<ExternalSubscription, FilterError> {
        Filter::parse(filter)?;
        let inbox = Arc::<Inbox>::default();
        let mut registry = self.registry.lock();
        registry.last += 1;
        let key = registry.last;
        let member = Member { filter: filter.into(), as_published, inbox: Arc::clone(&inbox) };
        registry.members.insert(key, member);
        drop(registry);
        self.changed.notify_one();
        Ok(ExternalSubscription { key, inbox, all: Arc::clone(self) })
    }

    /// Each filter that is wanted; of two who want the same one, as the later wants it.
    pub(super) fn wanted(&self) -> BTreeMap<Box<str>, Wanted> {
        let registry = self.registry.lock();
        let wanted = registry.members.iter().map(|(number, member)| {
            let wanted = Wanted { number: *number, as_published: member.as_published };
            (member.filter.clone(), wanted)
        });
        wanted.collect()
    }

    /// Returns when what is wanted may have changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Hands a message to everybody whose filter it matches. Whoever does not keep up loses the
    /// oldest, which is counted.
    ///
    /// Of filters that overlap a broker may send one message for each. `by` has the identifiers of
    /// those it sends this one for, so that each filter gets its own; empty: it does not tell.
    pub(super) fn deliver(&self, topic: &str, payload: &Bytes, retained: bool, by: &[usize]) {
        let topic: Arc<str> = topic.into();
        let registry = self.registry.lock();
        for Member { filter, inbox, .. } in registry.members.values() {
            if !by.is_empty() && !by.contains(&identifier(filter)) {
                continue;
            }
            let Ok(filter) = Filter::parse(filter) else { continue };
            if !filter::matches(filter.path.as_bytes(), topic.as_bytes()) {
                continue;
            }
            let mut queue = inbox.queue.lock();
            queue.1 += size(&topic, payload);
            let (topic, payload) = (Arc::clone(&topic), payload.clone());
            queue.0.push_back(Received { topic, payload, retained, to_retain: retained });
            while queue.0.len() > self.messages || queue.1 > self.bytes {
                let Some(oldest) = queue.0.pop_front() else { break };
                queue.1 -= size(&oldest.topic, &oldest.payload);
                ExternalStats::count(&self.stats.dropped_queue_full);
            }
            drop(queue);
            inbox.arrived.notify_one();
        }
    }
}

impl ExternalSubscription {
    /// The next message. Safe to cancel.
    pub(crate) async fn recv(&mut self) -> Received {
        loop {
            let arrived = self.inbox.arrived.notified();
            if let Some(received) = self.take() {
                return received;
            }
            arrived.await;
        }
    }

    fn take(&self) -> Option<Received> {
        let mut queue = self.inbox.queue.lock();
        let received = queue.0.pop_front()?;
        queue.1 -= size(&received.topic, &received.payload);
        Some(received)
    }
}

impl Drop for ExternalSubscription {
    fn drop(&mut self) {
        self.all.registry.lock().members.remove(&self.key);
        self.all.changed.notify_one();
    }
}

/// The number by which a filter's messages are known. It follows from the filter alone, because the
/// broker's session may hold messages from the time before a restart. Two filters with one number
/// only get each other's copies as well. FNV-1a, within the range of MQTT 5, section 3.8.2.1.2.
pub(super) fn identifier(filter: &str) -> usize {
    let hash = filter
        .bytes()
        .fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash as usize % 268_435_455 + 1
}

fn size(topic: &str, payload: &Bytes) -> usize {
    topic.len() + payload.len() + OVERHEAD
}

/// What a message costs beside its bytes.
const OVERHEAD: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_gets_what_its_filter_matches_and_keeps_the_newest() {
        let stats = Arc::<ExternalStats>::default();
        let all = Arc::new(Subscriptions::new(2, 100_000, Arc::clone(&stats)));
        let mut one = all.add("a/+", false).unwrap();
        let other = all.add("b", true).unwrap();
        assert!(all.add("a/#/b", false).is_err());
        let wanted = all.wanted().into_iter();
        let wanted: Vec<_> = wanted.map(|(filter, how)| (filter, how.as_published)).collect();
        assert_eq!(wanted, [("a/+".into(), false), ("b".into(), true)]);
        for payload in ["1", "2", "3"] {
            all.deliver("a/x", &Bytes::from(payload), false, &[]);
        }
        assert_eq!((one.recv().await.payload, one.recv().await.payload), ("2".into(), "3".into()));
        all.deliver("b", &Bytes::from("by another"), false, &[identifier("#")]);
        assert!(one.take().is_none() && other.take().is_none());
        all.deliver("b", &Bytes::from("by its own"), false, &[1, identifier("b")]);
        assert!(other.take().is_some());
        drop((one, other));
        assert!(all.wanted().is_empty());
    }
}
