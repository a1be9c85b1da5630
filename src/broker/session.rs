//! A client's session: what outlives a connection.
//!
//! Subscriptions, the queue of messages to go out, open exchanges of QoS 1 and 2 in both directions,
//! the will, and the time all this is kept. A session has at most one connection, told apart from
//! its predecessors by a generation: whatever an old connection's task still does finds its number
//! outdated and changes nothing. All state lies under one mutex that is held for short, computed
//! work only.

mod keeping;
mod state;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, oneshot};

use super::access::Login;
use super::inflight::{Finished, Release, Repeat};
use super::packet::{Ack, AckKind, QoS, Reason, Will};
use super::pressure::Patience;
use super::queue::{Pushed, Queue, Queued};
use super::retained::Feed;
use super::stats::{BrokerStats, Throttle};
use super::store::{FilterChange, Store, Ticket};

pub(crate) use state::Aftermath;
use state::{Attachment, State};

/// One client's session.
#[derive(Debug)]
pub(crate) struct Session {
    number: u64,
    client_id: Arc<str>,
    connected: AtomicBool,
    outgoing: Notify,
    /// Told when the queue is crowded no longer.
    room: Notify,
    /// The connection waits for another session's queue and reads nothing.
    held: AtomicBool,
    state: Mutex<State>,
    store: Arc<Store>,
    stats: Arc<BrokerStats>,
    overflow_warning: Throttle,
}

/// What a new connection brings to its session.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) expiry: u32,
    /// Who the client has shown to be.
    pub(crate) owner: Login,
    pub(crate) will: Option<Will>,
    pub(crate) window: usize,
}

/// A session with a new connection.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) generation: u64,
    /// Told when the broker wants the connection to end.
    pub(crate) close: oneshot::Receiver<Reason>,
    /// The will of the connection that was taken over, if it is to be published.
    pub(crate) displaced_will: Option<Will>,
    /// When the session is on disk, if it is to be.
    pub(crate) ticket: Ticket,
}

/// How a connection ended, as far as its session cares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leave {
    pub(crate) publish_will: bool,
    /// A new expiry in seconds, from an MQTT 5 DISCONNECT.
    pub(crate) expiry: Option<u32>,
}

/// Something for the writer to send.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// `packet_id` is 0 with QoS 0.
    Publish {
        item: Queued,
        packet_id: u16,
        dup: bool,
        /// Not to be sent before this is on disk.
        gate: Ticket,
    },
    Release {
        packet_id: u16,
    },
}

/// What queueing a message asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivered {
    /// The writer sleeps and is to be woken, at the end of the batch.
    pub(crate) wake: bool,
    /// The publisher should wait before it goes on.
    pub(crate) crowded: bool,
    /// When the message is on disk, if it is to be.
    pub(crate) ticket: Ticket,
}

/// What `Session::take` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Some,
    /// Nothing now; a wake will come.
    Nothing,
    /// The connection is not the session's any more.
    Detached,
}

/// A session's connection is not read from for as long as this lives.
#[derive(Debug)]
pub(crate) struct Held<'a>(&'a AtomicBool);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What became of an incoming QoS 2 message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// With the ticket of its packet id, which is to be on disk before PUBREC.
    New(Ticket),
    /// Sent again; routed already.
    Duplicate,
    /// More open exchanges than the client was told it may have.
    TooMany,
}

impl Session {
    pub(crate) fn new(
        number: u64,
        client_id: &str,
        queue: Queue,
        store: Arc<Store>,
        stats: Arc<BrokerStats>,
    ) -> Arc<Self> {
        Arc::new(Self {
            number,
            client_id: client_id.into(),
            connected: AtomicBool::new(false),
            outgoing: Notify::new(),
            room: Notify::new(),
            held: AtomicBool::new(false),
            state: Mutex::new(State::new(queue)),
            store,
            stats,
            overflow_warning: Throttle::default(),
        })
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn client_id(&self) -> &Arc<str> {
        &self.client_id
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Whether the session would outlive its connection.
    pub(crate) fn is_persistent(&self) -> bool {
        let state = self.state.lock();
        state.expiry > 0 && !state.ended
    }

    /// Whether it is a session of this login.
    pub(crate) fn belongs_to(&self, login: &Login) -> bool {
        self.state.lock().owner == *login
    }

    /// Gives the session a new connection and ends the one it had.
    pub(crate) fn attach(&self, terms: Terms) -> Attached {
        let (sender, close) = oneshot::channel();
        let mut state = self.state.lock();
        let displaced_will = state.displace(&self.stats);
        state.generation += 1;
        state.attachment = Some(Attachment { close: Some(sender), window: terms.window });
        state.expiry = terms.expiry;
        state.owner = terms.owner;
        state.will = terms.will;
        state.will_due = None;
        state.expires = None;
        state.left = None;
        state.waiting = false;
        state.crowd.end();
        self.room.notify_waiters();
        state.inflight.restart();
        self.connected.store(true, Ordering::Relaxed);
        let ticket = self.note_row(&mut state);
        Attached { generation: state.generation, close, displaced_will, ticket }
    }

    /// Takes the connection away, if `generation` still is the session's.
    pub(crate) fn detach(&self, generation: u64, leave: Leave) -> Aftermath {
        let mut state = self.state.lock();
        if state.generation != generation || state.ended {
            return Aftermath::default();
        }
        self.connected.store(false, Ordering::Relaxed);
        state.attachment = None;
        if !state.kept {
            state.feeds.clear();
        }
        state.crowd.end();
        self.room.notify_waiters();
        state.queue.drop_unacknowledged();
        state.queue.shrink();
        state.expiry = leave.expiry.unwrap_or(state.expiry);
        state.left = Some(SystemTime::now());
        if !leave.publish_will {
            state.will = None;
        }
        let now = Instant::now();
        state.expires = match state.expiry {
            u32::MAX => None,
            seconds => Some(now + Duration::from_secs(seconds.into())),
        };
        state.will_due =
            state.will.as_ref().map(|will| now + Duration::from_secs(will.delay.into()));
        state.aftermath(now)
    }

    /// Ends the session for good, with its connection if it has one. Answers the will to publish.
    pub(crate) fn end(&self) -> Option<Will> {
        let mut state = self.state.lock();
        if state.ended {
            return None;
        }
        state.ended = true;
        // The session does not outlive this moment, so there is nothing left to wait for.
        let will = state.will.take();
        state.displace(&self.stats);
        state.generation += 1;
        state.crowd.end();
        self.room.notify_waiters();
        self.connected.store(false, Ordering::Relaxed);
        will
    }

    /// Looks whether a will or the session itself has come due.
    pub(crate) fn on_deadline(&self, now: Instant) -> Aftermath {
        let mut state = self.state.lock();
        if state.attachment.is_some() || state.ended {
            return Aftermath::default();
        }
        state.aftermath(now)
    }

    /// Forgets what was subscribed to and answers it, for the tree to forget as well.
    pub(crate) fn take_filters(&self) -> HashSet<Box<str>> {
        std::mem::take(&mut self.state.lock().filters)
    }

    /// What others of its shared subscriptions should have of a session that has ended.
    pub(crate) fn take_shared(&self) -> Vec<Queued> {
        let mut state = self.state.lock();
        let mut items = state.inflight.shared();
        items.extend(state.queue.take_shared());
        items
    }

    /// Whether the session is over for good.
    pub(crate) fn is_ended(&self) -> bool {
        self.state.lock().ended
    }

    /// Notes a subscription. `false`: the session has as many as it may have, or is not the
    /// connection's any more.
    pub(crate) fn note_filter(&self, generation: u64, filter: &str) -> bool {
        let mut state = self.state.lock();
        let full = state.filters.len() >= MAX_SUBSCRIPTIONS && !state.filters.contains(filter);
        if full || state.generation != generation {
            return false;
        }
        state.filters.insert(filter.into());
        true
    }

    /// Forgets a subscription, and the retained messages that were still to come for it.
    pub(crate) fn forget_filter(&self, filter: &str) -> Ticket {
        let mut state = self.state.lock();
        let known = state.filters.remove(filter);
        state.feeds.retain(|feed| *feed.filter != *filter);
        if known && state.kept {
            return self.store.subscribe(self.number, filter, FilterChange::Gone);
        }
        Ticket::NONE
    }

    /// Counts a message that its client may not read.
    pub(crate) fn note_withheld(&self) {
        BrokerStats::count(&self.stats.withheld);
    }

    /// Queues a message.
    pub(crate) fn deliver(&self, item: Queued) -> Delivered {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mut ticket = Ticket::NONE;
        if state.ended || (state.attachment.is_none() && item.qos == QoS::AtMostOnce) {
            return Delivered { wake: false, crowded: false, ticket };
        }
        let kept = (state.kept && item.qos > QoS::AtMostOnce).then(|| item.clone());
        if kept.as_ref().is_some_and(|copy| !self.may_keep(state, copy)) {
            self.overflow(state);
            return Delivered { wake: std::mem::take(&mut state.waiting), crowded: false, ticket };
        }
        match state.queue.push(item) {
            Pushed::Overflow => self.overflow(state),
            pushed => {
                if let Pushed::Dropped(count) = pushed {
                    BrokerStats::add(&self.stats.dropped_queue_full, count);
                }
                if let Some(copy) = kept {
                    self.count_kept(state, &copy);
                    ticket = self.store.queue(self.number, state.queue.last_place(), copy);
                }
            }
        }
        Delivered {
            wake: std::mem::take(&mut state.waiting),
            crowded: state.attachment.is_some() && state.crowd.grown(&state.queue),
            ticket,
        }
    }

    /// Ends when the queue is crowded no longer. It counts from the call, not from the first poll.
    pub(crate) fn room(&self) -> Notified<'_> {
        self.room.notified()
    }

    /// Until when a publisher should wait for this session's queue to shrink, if at all.
    pub(crate) fn worth_waiting_until(&self, patience: Patience) -> Option<Instant> {
        let mut state = self.state.lock();
        state.attachment.as_ref()?;
        if self.held.load(Ordering::Relaxed) && state.queue.holds_acknowledged() {
            // The acknowledgements that would empty the queue are not being read: its client waits
            // for somebody else, who may be waiting for it in turn.
            return None;
        }
        state.crowd.deadline(patience, Instant::now())
    }

    /// Marks the session as one whose connection is not read from, until the guard is dropped.
    pub(crate) fn hold(&self) -> Held<'_> {
        self.held.store(true, Ordering::Relaxed);
        Held(&self.held)
    }

    /// Messages and bytes that wait.
    pub(crate) fn queued(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.queue.len(), state.queue.bytes())
    }

    /// Wakes the writer.
    pub(crate) fn wake(&self) {
        self.outgoing.notify_one();
    }

    /// Waits for the next wake. One that came while nobody waited counts.
    pub(crate) async fn woken(&self) {
        self.outgoing.notified().await;
    }

    /// Moves what may be sent now into `out`, until about `budget` bytes are together.
    pub(crate) fn take(&self, generation: u64, budget: usize, out: &mut Vec<Outgoing>) -> Taken {
        let mut state = self.state.lock();
        if state.generation != generation {
            return Taken::Detached;
        }
        let window = state.attachment.as_ref().map_or(0, |attachment| attachment.window);
        let mut bytes = 0;
        while bytes < budget {
            let open = state.inflight.open() < window;
            let repeat = if open { state.inflight.next_repeat() } else { None };
            let next = match repeat {
                Some(Repeat::Publish { packet_id, item }) => {
                    Outgoing::Publish { item, packet_id, dup: true, gate: Ticket::NONE }
                }
                Some(Repeat::Release { packet_id }) => Outgoing::Release { packet_id },
                None => match self.next_new(&mut state, open) {
                    Some(next) => next,
                    None => break,
                },
            };
            bytes += match &next {
                Outgoing::Publish { item, .. } => item.publication.image().len() + 16,
                Outgoing::Release { .. } => 4,
            };
            out.push(next);
        }
        state.waiting = out.is_empty();
        let State { crowd, queue, .. } = &mut *state;
        if crowd.shrunk(queue) {
            self.room.notify_waiters();
        }
        if out.is_empty() { Taken::Nothing } else { Taken::Some }
    }

    /// The next feed of retained messages to go on with, and how many messages and bytes of it there
    /// is room for; `None` while the queue holds enough.
    pub(crate) fn take_feed(&self, generation: u64) -> Option<(Feed, usize, usize)> {
        let mut state = self.state.lock();
        if state.generation != generation {
            return None;
        }
        let (messages, bytes) = state.queue.feed_room()?;
        state.feeds.pop_front().map(|feed| (feed, messages, bytes))
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
            state.feeds.push_front(feed);
        } else {
            state.feeds.retain(|other| other.filter != feed.filter);
            state.feeds.push_back(feed);
        }
    }

    /// Notes an incoming QoS 2 message. `limit`: how many may be open at once.
    pub(crate) fn receive(&self, generation: u64, packet_id: u16, limit: usize) -> Receipt {
        let mut state = self.state.lock();
        if state.generation != generation || state.received.contains(&packet_id) {
            return Receipt::Duplicate;
        }
        if state.received.len() >= limit {
            return Receipt::TooMany;
        }
        state.received.insert(packet_id);
        let kept = state.kept;
        let note = || self.store.received(self.number, packet_id, true);
        Receipt::New(if kept { note() } else { Ticket::NONE })
    }

    /// Takes an acknowledgement in and answers what is to be sent for it, if anything, and what has
    /// to be on disk before.
    pub(crate) fn acknowledge(&self, generation: u64, ack: Ack) -> Option<(Ack, Ticket)> {
        let mut state = self.state.lock();
        if state.generation != generation {
            return None;
        }
        let id = ack.packet_id;
        let answer = |kind, known| Ack {
            kind,
            packet_id: id,
            reason: if known { Reason::SUCCESS } else { Reason::PACKET_ID_NOT_FOUND },
        };
        match ack.kind {
            AckKind::Acknowledged => {
                let finished = state.inflight.finish_publish(id, QoS::AtLeastOnce);
                self.note_finished(&mut state, finished);
                None
            }
            AckKind::Received if ack.reason.is_error() => {
                let finished = state.inflight.finish_publish(id, QoS::ExactlyOnce);
                self.note_finished(&mut state, finished);
                None
            }
            AckKind::Received => {
                let release = state.inflight.release(id);
                let known = !matches!(release, Release::Unknown);
                Some((answer(AckKind::Release, known), self.note_release(&mut state, release)))
            }
            AckKind::Release => {
                let known = state.received.remove(&id);
                Some((answer(AckKind::Complete, known), self.note_closed(&state, id)))
            }
            AckKind::Complete => {
                let finished = state.inflight.finish_release(id);
                self.note_finished(&mut state, finished);
                None
            }
        }
    }

    /// Drops a message that is larger than the client takes.
    pub(crate) fn abandon(&self, generation: u64, packet_id: u16) {
        let mut state = self.state.lock();
        if state.generation == generation {
            let finished = state.inflight.abandon(packet_id);
            self.note_finished(&mut state, finished);
        }
    }

    /// Gives back memory that a past burst has left behind.
    pub(crate) fn shrink(&self) {
        self.state.lock().queue.shrink();
    }

    fn next_new(&self, state: &mut State, window_open: bool) -> Option<Outgoing> {
        loop {
            let (place, item) = state.queue.pop(window_open)?;
            if item.publication.is_expired(Instant::now) {
                BrokerStats::count(&self.stats.dropped_expired);
                if item.qos > QoS::AtMostOnce {
                    self.note_finished(state, Some(Finished { place, item: Some(item) }));
                }
                continue;
            }
            let packet_id = match item.qos {
                QoS::AtMostOnce => 0,
                // The window is far smaller than the number of ids, so there is one.
                _ => state.inflight.start(place, item.clone())?,
            };
            let gate = self.note_sent(state, place, packet_id, item.qos);
            return Some(Outgoing::Publish { item, packet_id, dup: false, gate });
        }
    }

    fn overflow(&self, state: &mut State) {
        BrokerStats::count(&self.stats.dropped_quota);
        let present = state.attachment.is_some();
        state.close(Reason::QUOTA_EXCEEDED);
        if let Some(before) = self.overflow_warning.pass() {
            tracing::warn!(
                client = %self.client_id,
                queued = state.queue.len(),
                bytes = state.queue.bytes(),
                present,
                before,
                "queue is full of unacknowledged messages: message lost for this client",
            );
        }
    }
}

/// Subscriptions one session may have.
const MAX_SUBSCRIPTIONS: usize = 50_000;
