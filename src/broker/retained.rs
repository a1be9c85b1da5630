//! Retained messages: the last value of each topic, for whoever subscribes next.
//!
//! Kept in the order of their topics, so that a filter's literal beginning finds its part of them at
//! once, and so that a new subscriber can be served piece by piece: the place in the order is all
//! that is remembered between two pieces, however many messages there are.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use super::access::Screen;
use super::filter;
use super::packet::QoS;
use super::publication::Publication;

/// All retained messages of the broker.
#[derive(Debug)]
pub(crate) struct RetainedStore {
    topics: BTreeSet<Slot>,
    bytes: usize,
    /// How many of them will expire some day.
    mortal: usize,
    limit: RetainedLimit,
}

/// What retained messages may take together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetainedLimit {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl RetainedLimit {
    /// For what the broker itself retains.
    pub(crate) const NONE: Self = Self { messages: usize::MAX, bytes: usize::MAX };
}

/// The store holds as much as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreFull;

/// What a new subscription has still to be sent.
#[derive(Debug)]
pub(crate) struct Feed {
    /// The filter as subscribed to, the key by which UNSUBSCRIBE ends the feed.
    pub(crate) filter: Box<str>,
    pub(crate) qos: QoS,
    pub(crate) subscription_id: Option<u32>,
    /// What the client may see of them; `None`: all.
    pub(crate) screen: Option<Arc<Screen>>,
    /// The last message looked at.
    after: Option<Arc<Publication>>,
}

impl Feed {
    pub(crate) fn new(
        filter: &str,
        qos: QoS,
        subscription_id: Option<u32>,
        screen: Option<Arc<Screen>>,
    ) -> Self {
        Self { filter: filter.into(), qos, subscription_id, screen, after: None }
    }
}

impl RetainedStore {
    /// An empty store.
    pub(crate) fn new(limit: RetainedLimit) -> Self {
        Self { topics: BTreeSet::new(), bytes: 0, mortal: 0, limit }
    }

    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    /// Memory taken by the messages, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps `publication` as the value of its topic.
    ///
    /// # Errors
    /// `StoreFull` if there is no room. The topic has no value then: none is better than one that has
    /// been replaced.
    pub(crate) fn set(&mut self, publication: Arc<Publication>) -> Result<(), StoreFull> {
        let old = self.topics.get(publication.topic()).map(|slot| slot.0.size());
        let messages = self.topics.len() + usize::from(old.is_none());
        let bytes = self.bytes - old.unwrap_or_default() + publication.size();
        if messages > self.limit.messages || bytes > self.limit.bytes {
            self.clear(publication.topic());
            return Err(StoreFull);
        }
        self.restore(publication);
        Ok(())
    }

    /// Takes in a value that was kept over a restart, whatever the limit.
    pub(crate) fn restore(&mut self, publication: Arc<Publication>) {
        self.bytes += publication.size();
        self.mortal += usize::from(publication.expires().is_some());
        let old = self.topics.replace(Slot(publication));
        self.forget(old);
    }

    /// Whether `topic` has a value.
    pub(crate) fn holds(&self, topic: &[u8]) -> bool {
        self.topics.contains(topic)
    }

    /// Takes the value of `topic` away.
    pub(crate) fn clear(&mut self, topic: &[u8]) {
        let old = self.topics.take(topic);
        self.forget(old);
    }

    /// Throws out what has expired; answers whether there was any.
    pub(crate) fn purge(&mut self, now: Instant) -> bool {
        if self.mortal == 0 {
            return false;
        }
        let before = self.topics.len();
        let (bytes, mortal) = (&mut self.bytes, &mut self.mortal);
        self.topics.retain(|slot| {
            let expired = slot.0.is_expired(|| now);
            if expired {
                *bytes -= slot.0.size();
                *mortal -= 1;
            }
            !expired
        });
        self.topics.len() < before
    }

    /// Hands the next matching messages to `deliver` until it answers `false` or `SCAN_LIMIT` topics
    /// have been looked at. Answers whether there may be more.
    pub(crate) fn advance(
        &self,
        feed: &mut Feed,
        mut deliver: impl FnMut(&Arc<Publication>) -> bool,
    ) -> bool {
        let filter = &*feed.filter;
        let prefix = filter::literal_prefix(filter).as_bytes();
        let start = match &feed.after {
            Some(last) => Bound::Excluded(last.topic()),
            None => Bound::Included(prefix),
        };
        let mut looked_at = 0;
        for Slot(publication) in self.topics.range::<[u8], _>((start, Bound::Unbounded)) {
            if !publication.topic().starts_with(prefix) {
                break;
            }
            looked_at += 1;
            let wanted = filter::matches(filter.as_bytes(), publication.topic())
                && !publication.is_expired(Instant::now);
            if (wanted && !deliver(publication)) || looked_at == SCAN_LIMIT {
                feed.after = Some(Arc::clone(publication));
                return filter.len() != prefix.len();
            }
            if filter.len() == prefix.len() {
                break;
            }
        }
        false
    }

    fn forget(&mut self, old: Option<Slot>) {
        if let Some(Slot(old)) = old {
            self.bytes -= old.size();
            self.mortal -= usize::from(old.expires().is_some());
        }
    }
}

/// A message in the order of its topic.
#[derive(Debug)]
struct Slot(Arc<Publication>);

impl Borrow<[u8]> for Slot {
    fn borrow(&self) -> &[u8] {
        self.0.topic()
    }
}

impl Ord for Slot {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.topic().cmp(other.0.topic())
    }
}

impl PartialOrd for Slot {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Slot {
    fn eq(&self, other: &Self) -> bool {
        self.0.topic() == other.0.topic()
    }
}

impl Eq for Slot {}

/// Topics looked at in one piece: bounds the time the store's lock is held for one subscriber.
const SCAN_LIMIT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::publication::Draft;

    fn publication(topic: &str, expiry: Option<u32>) -> Arc<Publication> {
        let properties = Vec::new();
        Draft { topic, payload: b"1", qos: QoS::AtMostOnce, retain: true, expiry, properties }
            .share()
    }

    fn all(store: &RetainedStore, filter: &str, piece: usize) -> Vec<String> {
        let mut feed = Feed::new(filter, QoS::AtMostOnce, None, None);
        let mut found = Vec::new();
        loop {
            let mut room = piece;
            let more = store.advance(&mut feed, |publication| {
                found.push(String::from_utf8(publication.topic().to_vec()).unwrap());
                room -= 1;
                room > 0
            });
            if !more {
                return found;
            }
        }
    }

    #[test]
    fn a_feed_brings_every_match_once_whatever_the_size_of_its_pieces() {
        let mut store =
            RetainedStore::new(RetainedLimit { messages: 10_000, ..RetainedLimit::NONE });
        for number in 0..3_000 {
            store.set(publication(&format!("/sensor/{number}/gauge"), None)).unwrap();
        }
        for topic in ["a", "a/b", "a-b", "$SYS/x"] {
            store.set(publication(topic, None)).unwrap();
        }
        for piece in [1, 7, 5_000] {
            assert_eq!(all(&store, "/sensor/#", piece).len(), 3_000);
            assert_eq!(all(&store, "#", piece).len(), 3_003);
            assert_eq!(all(&store, "a/#", piece), ["a", "a/b"]);
            assert_eq!(all(&store, "a", piece), ["a"]);
            assert_eq!(all(&store, "/sensor/+/gauge", piece).len(), 3_000);
            assert_eq!(all(&store, "$SYS/#", piece), ["$SYS/x"]);
            assert!(all(&store, "none", piece).is_empty());
        }
    }

    #[test]
    fn limit_clearing_and_expiry_keep_the_books() {
        let mut store = RetainedStore::new(RetainedLimit { messages: 2, ..RetainedLimit::NONE });
        store.set(publication("a", Some(0))).unwrap();
        store.set(publication("b", None)).unwrap();
        assert_eq!(store.set(publication("c", None)), Err(StoreFull));
        assert_eq!(all(&store, "#", 9), ["b"], "an expired message is not sent");
        store.purge(Instant::now());
        assert_eq!(store.len(), 1);
        store.set(publication("c", None)).unwrap();
        store.clear(b"b");
        store.clear(b"c");
        store.clear(b"c");
        assert_eq!((store.len(), store.bytes()), (0, 0));
    }
}
