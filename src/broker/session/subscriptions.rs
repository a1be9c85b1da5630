//! What the session subscribes to, and the retained messages that are still to come for it.

use std::collections::HashSet;

use super::Session;
use crate::broker::retained::Feed;
use crate::broker::store::{FilterChange, Ticket};

impl Session {
    /// Notes a subscription. `false`: the session has as many as it may have, or is not the
    /// connection's any more.
    pub(crate) fn note_filter(&self, generation: u64, filter: &str) -> bool {
        let mut state = self.state.lock();
        if state.generation != generation {
            return false;
        }
        if state.filters.contains(filter) {
            return true;
        }
        let bytes = state.filter_bytes + filter.len();
        if state.filters.len() >= MAX_SUBSCRIPTIONS || bytes > MAX_FILTER_BYTES {
            return false;
        }
        state.filter_bytes = bytes;
        state.filters.insert(filter.into());
        true
    }

    /// Forgets a subscription, and the retained messages that were still to come for it.
    pub(crate) fn forget_filter(&self, filter: &str) -> Ticket {
        let mut state = self.state.lock();
        let known = state.filters.remove(filter);
        state.filter_bytes -= if known { filter.len() } else { 0 };
        state.feeds.forget(filter);
        if known && state.kept {
            return self.store.subscribe(self.number, filter, FilterChange::Gone);
        }
        Ticket::NONE
    }

    /// Forgets what was subscribed to and answers it, for the tree to forget as well.
    pub(crate) fn take_filters(&self) -> HashSet<Box<str>> {
        let mut state = self.state.lock();
        state.filter_bytes = 0;
        std::mem::take(&mut state.filters)
    }

    /// The next feed of retained messages to go on with, and how many messages and bytes of it there
    /// is room for; `None` while the queue holds enough.
    pub(crate) fn take_feed(&self, generation: u64) -> Option<(Feed, usize, usize)> {
        let mut state = self.state.lock();
        if state.generation != generation {
            return None;
        }
        let (messages, bytes) = state.queue.feed_room()?;
        state.feeds.take().map(|feed| (feed, messages, bytes))
    }

    /// Puts a feed (back) in line. Its subscription may have been replaced: the old feed is over then.
    pub(crate) fn put_feed(&self, generation: u64, feed: Feed, front: bool) {
        let mut state = self.state.lock();
        // A feed that was being looked at when its connection was taken over goes on with the next.
        let goes_on = front && state.kept && state.filters.contains(&feed.filter);
        if state.generation != generation && !goes_on {
            return;
        }
        if front {
            state.feeds.put_back(feed);
        } else {
            state.feeds.add(feed);
        }
    }
}

/// Subscriptions one session may have.
const MAX_SUBSCRIPTIONS: usize = 50_000;
/// Text they may have together: a filter can have 64 KiB.
const MAX_FILTER_BYTES: usize = 4 * 1024 * 1024;
