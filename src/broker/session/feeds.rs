//! The retained messages that a session's new subscriptions have still to be sent, in line.
//!
//! A client may have very many subscriptions, so nothing here looks at all of them: a feed that is
//! over stays in line as a number that means nothing any more, and is passed over.

use std::collections::{HashMap, VecDeque};

use crate::broker::retained::Feed;

/// Feeds in the order in which they are taken up, at most one of each filter.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    line: VecDeque<u64>,
    by_number: HashMap<u64, Feed>,
    by_filter: HashMap<Box<str>, u64>,
    next: u64,
}

impl Feeds {
    /// Puts a feed at the end, in place of the one of the same filter.
    pub(super) fn add(&mut self, feed: Feed) {
        self.forget(&feed.filter);
        let number = self.enter(feed);
        self.line.push_back(number);
        if self.line.len() > 2 * self.by_number.len() + SLACK {
            self.line.retain(|number| self.by_number.contains_key(number));
        }
    }

    /// Puts a feed that was taken back to the front, unless its filter has a newer one.
    pub(super) fn put_back(&mut self, feed: Feed) {
        if !self.by_filter.contains_key(&feed.filter) {
            let number = self.enter(feed);
            self.line.push_front(number);
        }
    }

    /// Takes the first in line.
    pub(super) fn take(&mut self) -> Option<Feed> {
        loop {
            let number = self.line.pop_front()?;
            if let Some(feed) = self.by_number.remove(&number) {
                self.by_filter.remove(&feed.filter);
                if self.by_number.is_empty() {
                    *self = Self { next: self.next, ..Self::default() };
                }
                return Some(feed);
            }
        }
    }

    /// Ends the feed of a filter, if there is one.
    pub(super) fn forget(&mut self, filter: &str) {
        if let Some(number) = self.by_filter.remove(filter) {
            self.by_number.remove(&number);
        }
    }

    fn enter(&mut self, feed: Feed) -> u64 {
        let number = self.next;
        self.next += 1;
        self.by_filter.insert(feed.filter.clone(), number);
        self.by_number.insert(number, feed);
        number
    }
}

/// Numbers that may mean nothing before the line is gone through.
const SLACK: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::packet::QoS;

    fn feed(filter: &str, id: u32) -> Feed {
        Feed::new(filter, QoS::AtMostOnce, Some(id), None)
    }

    fn rest(feeds: &mut Feeds) -> Vec<(Box<str>, Option<u32>)> {
        std::iter::from_fn(|| feeds.take()).map(|one| (one.filter, one.subscription_id)).collect()
    }

    #[test]
    fn each_filter_has_its_newest_feed_once() {
        let mut feeds = Feeds::default();
        for (filter, id) in [("a", 1), ("b", 2), ("c", 3), ("a", 4)] {
            feeds.add(feed(filter, id));
        }
        feeds.forget("c");
        let b = feeds.take().unwrap();
        assert_eq!(&*b.filter, "b");
        feeds.put_back(b);
        let b = feeds.take().unwrap();
        feeds.add(feed("b", 5));
        feeds.put_back(b);
        assert_eq!(rest(&mut feeds), [("a".into(), Some(4)), ("b".into(), Some(5))]);
    }

    #[test]
    fn a_filter_that_comes_again_and_again_makes_nothing_grow() {
        let mut feeds = Feeds::default();
        for id in 0..10_000 {
            feeds.add(feed("a", id));
        }
        assert!(feeds.line.len() <= 2 + SLACK);
        assert_eq!(rest(&mut feeds), [("a".into(), Some(9_999))]);
    }
}
