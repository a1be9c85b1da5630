//! A client's session: what outlives a connection.
//!
//! Subscriptions, the queue of messages to go out, open exchanges of QoS 1 and 2 in both directions,
//! the will, and the time all this is kept. A session has at most one connection, told apart from
//! its predecessors by a generation: whatever an old connection's task still does finds its number
//! outdated and changes nothing. All state lies under one mutex that is held for short, computed
//! work only.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::inflight::{Inflight, Repeat};
use super::packet::{Ack, AckKind, QoS, Reason, Will};
use super::queue::{Pushed, Queue, Queued};
use super::retained::Feed;
use super::stats::{BrokerStats, Throttle};

/// One client's session.
#[derive(Debug)]
pub(crate) struct Session {
    number: u64,
    client_id: Arc<str>,
    connected: AtomicBool,
    outgoing: Notify,
    state: Mutex<State>,
    stats: Arc<BrokerStats>,
    overflow_warning: Throttle,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    inflight: Inflight,
    /// Ids of incoming QoS 2 messages that were routed and not yet released.
    received: HashSet<u16>,
    feeds: VecDeque<Feed>,
    /// Filters as subscribed to, `$share/…` included.
    filters: HashSet<Box<str>>,
    generation: u64,
    attachment: Option<Attachment>,
    /// The writer found nothing to do and wants to be woken.
    waiting: bool,
    /// Seconds the session outlives its connection.
    expiry: u32,
    will: Option<Will>,
    will_due: Option<Instant>,
    expires: Option<Instant>,
    ended: bool,
}

#[derive(Debug)]
struct Attachment {
    /// Ends the connection with a reason; used once.
    close: Option<oneshot::Sender<Reason>>,
    /// How many unacknowledged messages the client takes at a time.
    window: usize,
}

/// What a new connection brings to its session.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) expiry: u32,
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
}

/// How a connection ended, as far as its session cares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leave {
    pub(crate) publish_will: bool,
    /// A new expiry in seconds, from an MQTT 5 DISCONNECT.
    pub(crate) expiry: Option<u32>,
}

/// What is to be done for a session without a connection.
#[derive(Debug, Default)]
pub(crate) struct Aftermath {
    pub(crate) will: Option<Will>,
    pub(crate) ended: bool,
    /// When to look again.
    pub(crate) deadline: Option<Instant>,
}

/// Something for the writer to send.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// `packet_id` is 0 with QoS 0.
    Publish {
        item: Queued,
        packet_id: u16,
        dup: bool,
    },
    Release {
        packet_id: u16,
    },
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

/// What became of an incoming QoS 2 message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receipt {
    New,
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
        stats: Arc<BrokerStats>,
    ) -> Arc<Self> {
        Arc::new(Self {
            number,
            client_id: client_id.into(),
            connected: AtomicBool::new(false),
            outgoing: Notify::new(),
            state: Mutex::new(State {
                queue,
                inflight: Inflight::default(),
                received: HashSet::new(),
                feeds: VecDeque::new(),
                filters: HashSet::new(),
                generation: 0,
                attachment: None,
                waiting: false,
                expiry: 0,
                will: None,
                will_due: None,
                expires: None,
                ended: false,
            }),
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

    /// Gives the session a new connection and ends the one it had.
    pub(crate) fn attach(&self, terms: Terms) -> Attached {
        let (sender, close) = oneshot::channel();
        let mut state = self.state.lock();
        let displaced_will = state.displace(&self.stats);
        state.generation += 1;
        state.attachment = Some(Attachment { close: Some(sender), window: terms.window });
        state.expiry = terms.expiry;
        state.will = terms.will;
        state.will_due = None;
        state.expires = None;
        state.waiting = false;
        state.inflight.restart();
        self.connected.store(true, Ordering::Relaxed);
        Attached { generation: state.generation, close, displaced_will }
    }

    /// Takes the connection away, if `generation` still is the session's.
    pub(crate) fn detach(&self, generation: u64, leave: Leave) -> Aftermath {
        let mut state = self.state.lock();
        if state.generation != generation || state.ended {
            return Aftermath::default();
        }
        self.connected.store(false, Ordering::Relaxed);
        state.attachment = None;
        state.feeds.clear();
        state.queue.drop_unacknowledged();
        state.queue.shrink();
        state.expiry = leave.expiry.unwrap_or(state.expiry);
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
    pub(crate) fn forget_filter(&self, filter: &str) {
        let mut state = self.state.lock();
        state.filters.remove(filter);
        state.feeds.retain(|feed| *feed.filter != *filter);
    }

    /// Queues a message. `true`: the writer sleeps and is to be woken, at the end of the batch.
    pub(crate) fn deliver(&self, item: Queued) -> bool {
        let mut state = self.state.lock();
        if state.ended || (state.attachment.is_none() && item.qos == QoS::AtMostOnce) {
            return false;
        }
        match state.queue.push(item) {
            Pushed::Kept => {}
            Pushed::Dropped(count) => BrokerStats::add(&self.stats.dropped_queue_full, count),
            Pushed::Overflow => self.overflow(&mut state),
        }
        std::mem::take(&mut state.waiting)
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
                    Outgoing::Publish { item, packet_id, dup: true }
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
        if out.is_empty() { Taken::Nothing } else { Taken::Some }
    }

    /// The next feed of retained messages to go on with, while there is room for more.
    pub(crate) fn take_feed(&self, generation: u64) -> Option<Feed> {
        let mut state = self.state.lock();
        let room =
            state.queue.len() < FEED_BELOW_MESSAGES && state.queue.bytes() < FEED_BELOW_BYTES;
        if state.generation != generation || !room {
            return None;
        }
        state.feeds.pop_front()
    }

    /// Puts a feed (back) in line. Its subscription may have been replaced: the old feed is over then.
    pub(crate) fn put_feed(&self, generation: u64, feed: Feed, front: bool) {
        let mut state = self.state.lock();
        if state.generation != generation {
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
        Receipt::New
    }

    /// Takes an acknowledgement in and answers what is to be sent for it, if anything.
    pub(crate) fn acknowledge(&self, generation: u64, ack: Ack) -> Option<Ack> {
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
            AckKind::PubAck => {
                state.inflight.finish_publish(id, QoS::AtLeastOnce);
                None
            }
            AckKind::PubRec if ack.reason.is_error() => {
                state.inflight.finish_publish(id, QoS::ExactlyOnce);
                None
            }
            AckKind::PubRec => Some(answer(AckKind::PubRel, state.inflight.release(id))),
            AckKind::PubRel => Some(answer(AckKind::PubComp, state.received.remove(&id))),
            AckKind::PubComp => {
                state.inflight.finish_release(id);
                None
            }
        }
    }

    /// Drops a message that is larger than the client takes.
    pub(crate) fn abandon(&self, generation: u64, packet_id: u16) {
        let mut state = self.state.lock();
        if state.generation == generation {
            state.inflight.abandon(packet_id);
        }
    }

    /// Gives back memory that a past burst has left behind.
    pub(crate) fn shrink(&self) {
        self.state.lock().queue.shrink();
    }

    fn next_new(&self, state: &mut State, window_open: bool) -> Option<Outgoing> {
        loop {
            let item = state.queue.pop(window_open)?;
            if item.publication.is_expired(Instant::now) {
                BrokerStats::count(&self.stats.dropped_expired);
                continue;
            }
            let packet_id = match item.qos {
                QoS::AtMostOnce => 0,
                // The window is far smaller than the number of ids, so there is one.
                _ => state.inflight.start(item.clone())?,
            };
            return Some(Outgoing::Publish { item, packet_id, dup: false });
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

impl State {
    fn close(&mut self, reason: Reason) {
        if let Some(close) = self.attachment.as_mut().and_then(|attachment| attachment.close.take())
        {
            // The connection may be ending by itself at this moment.
            let _ = close.send(reason);
        }
    }

    /// Ends the present connection for a new one. Its will is published unless it has a delay, which
    /// the new connection cuts short.
    fn displace(&mut self, stats: &BrokerStats) -> Option<Will> {
        self.attachment.as_ref()?;
        BrokerStats::count(&stats.take_overs);
        self.close(Reason::SESSION_TAKEN_OVER);
        self.attachment = None;
        self.feeds.clear();
        self.will.take().filter(|will| will.delay == 0)
    }

    fn aftermath(&mut self, now: Instant) -> Aftermath {
        let ended = self.expires.is_some_and(|at| at <= now);
        let due = ended || self.will_due.is_some_and(|at| at <= now);
        let will = if due { self.will.take() } else { None };
        if due {
            self.will_due = None;
        }
        self.ended |= ended;
        let deadline = match (self.will_due, self.expires) {
            _ if ended => None,
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Aftermath { will, ended, deadline }
    }
}

/// Subscriptions one session may have.
const MAX_SUBSCRIPTIONS: usize = 50_000;
/// Retained messages are fed to a client only while its queue is below these.
const FEED_BELOW_MESSAGES: usize = 1024;
const FEED_BELOW_BYTES: usize = 1024 * 1024;
