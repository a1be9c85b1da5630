//! How a session that outlives the process gets to disk, and back.
//!
//! Everything here runs under the session's lock, so the store hears of changes in their order.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::Session;
use super::state::State;
use crate::broker::access::Login;
use crate::broker::inflight::{Finished, Release};
use crate::broker::packet::QoS;
use crate::broker::queue::{Queue, Queued};
use crate::broker::retained::Feed;
use crate::broker::router::Grant;
use crate::broker::stats::BrokerStats;
use crate::broker::store::{FilterChange, KeptSession, SessionRow, Store, Ticket};

impl Session {
    /// A session as it was kept. Its client is not there; if it was when the broker ended, its
    /// connection counts as broken now.
    pub(crate) fn restored(
        kept: KeptSession,
        queue: Queue,
        store: Arc<Store>,
        stats: Arc<BrokerStats>,
    ) -> Arc<Self> {
        let KeptSession { number, row, copies, received, filters } = kept;
        let mut state = State::new(queue);
        for copy in copies {
            if let Some(item) = &copy.item {
                let size = item.publication.size();
                state.on_disk = (state.on_disk.0 + 1, state.on_disk.1 + size);
                store.count(1, size);
            }
            match (copy.packet_id, copy.item) {
                (0, Some(item)) => state.queue.restore(copy.place, item),
                (0, None) => {}
                (id, item) => state.inflight.restore(id, copy.place, item),
            }
            state.queue.skip_places(copy.place);
        }
        state.received = received.into_iter().collect();
        for (filter, grant, feeding) in filters {
            if feeding {
                state.feeds.add(Feed::new(&filter, grant.qos, grant.id, grant.screen));
            }
            state.filter_bytes += filter.len();
            state.filters.insert(filter);
        }
        let (now, wall) = (Instant::now(), SystemTime::now());
        let gone = row.left.and_then(|left| wall.duration_since(left).ok()).unwrap_or_default();
        let due = |seconds: u32| now + Duration::from_secs(seconds.into()).saturating_sub(gone);
        state.expires = (row.expiry != u32::MAX).then(|| due(row.expiry));
        state.will_due = row.will.as_ref().map(|will| due(will.delay));
        state.expiry = row.expiry;
        state.owner = Login(row.owner);
        state.will = row.will;
        state.kept = row.expiry > 0;
        state.noted = true;
        state.left = Some(row.left.unwrap_or(wall));
        Self::with(number, row.client_id, state, store, stats)
    }

    /// Notes the session's own data as they are now: after a change that was not made under its lock
    /// alone, such as a will that has been published.
    pub(crate) fn note(&self) -> Ticket {
        self.note_row(&mut self.state.lock())
    }

    /// When the session or its will comes due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let state = self.state.lock();
        state.will_due.into_iter().chain(state.expires).min()
    }

    /// Notes a subscription that was granted.
    /// `feeding`: retained messages are still to be sent for it.
    pub(crate) fn note_grant(&self, filter: &str, grant: Grant, feeding: bool) -> Ticket {
        let state = self.state.lock();
        if state.kept && state.filters.contains(filter) {
            // QoS 0 is not kept for the absent, so there is nothing to take up again.
            let feeding = feeding && grant.qos > QoS::AtMostOnce;
            return self.store.subscribe(self.number, filter, FilterChange::Set(grant, feeding));
        }
        Ticket::NONE
    }

    /// Notes that a subscription's retained messages are all queued.
    pub(crate) fn note_fed(&self, feed: &Feed) {
        let state = self.state.lock();
        if state.kept && feed.qos > QoS::AtMostOnce && state.filters.contains(&feed.filter) {
            self.store.subscribe(self.number, &feed.filter, FilterChange::Fed);
        }
    }

    pub(super) fn note_row(&self, state: &mut State) -> Ticket {
        if !self.store.keeps() {
            return Ticket::NONE;
        }
        let keep = !state.ended && state.expiry > 0;
        let note = keep || (!state.ended && state.will.is_some());
        let mut ticket = Ticket::NONE;
        if state.noted && (!note || (state.kept && !keep)) {
            ticket = self.store.end_session(self.number);
            state.noted = false;
            let (messages, bytes) = std::mem::take(&mut state.on_disk);
            self.store.discount(messages, bytes);
        }
        state.kept = keep;
        if note {
            let row = SessionRow {
                client_id: Arc::clone(&self.client_id),
                owner: state.owner.0.clone(),
                expiry: state.expiry,
                left: state.left,
                will: state.will.clone(),
            };
            let noted = self.store.keep_session(self.number, row, !state.noted);
            state.noted = true;
            // A will alone is noted in passing: nobody waits for it.
            if keep {
                ticket = noted;
            }
        }
        ticket
    }

    /// Whether the limits of all kept sessions together leave room for one more message.
    pub(super) fn may_keep(&self, state: &State, copy: &Queued) -> bool {
        self.store.has_room(state.on_disk, copy.publication.size())
    }

    pub(super) fn count_kept(&self, state: &mut State, copy: &Queued) {
        let size = copy.publication.size();
        state.on_disk = (state.on_disk.0 + 1, state.on_disk.1 + size);
        self.store.count(1, size);
    }

    fn discount_kept(&self, state: &mut State, item: &Queued) {
        let size = item.publication.size();
        state.on_disk = (state.on_disk.0 - 1, state.on_disk.1 - size);
        self.store.discount(1, size);
    }

    /// The id of a message of QoS 2 has to be on disk before the client sees it: a message that is
    /// sent again under another id would be another message.
    pub(super) fn note_sent(&self, state: &State, place: u64, packet_id: u16, qos: QoS) -> Ticket {
        if !state.kept || qos == QoS::AtMostOnce {
            return Ticket::NONE;
        }
        let ticket = self.store.sent(self.number, place, packet_id);
        if qos == QoS::ExactlyOnce { ticket } else { Ticket::NONE }
    }

    pub(super) fn note_finished(&self, state: &mut State, finished: Option<Finished>) {
        if let Some(Finished { place, item }) = finished
            && state.kept
        {
            if let Some(item) = &item {
                self.discount_kept(state, item);
            }
            let publication = item.as_ref().map(|item| &item.publication);
            self.store.done(self.number, place, publication);
        }
    }

    /// PUBREL may go out when a restart would send it again, and not the message.
    pub(super) fn note_release(&self, state: &mut State, release: Release) -> Ticket {
        match release {
            _ if !state.kept => Ticket::NONE,
            Release::Now { place, item } => {
                self.discount_kept(state, &item);
                self.store.released(self.number, place, &item.publication)
            }
            Release::Again => self.store.so_far(),
            Release::Unknown => Ticket::NONE,
        }
    }

    /// PUBCOMP lets the client use the id for another message, so it must be forgotten on disk first.
    pub(super) fn note_closed(&self, state: &State, packet_id: u16) -> Ticket {
        if state.kept {
            return self.store.received(self.number, packet_id, false);
        }
        Ticket::NONE
    }
}
