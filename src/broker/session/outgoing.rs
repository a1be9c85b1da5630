//! What goes to the client: into the queue on one side, out of it on the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::futures::Notified;

use super::Session;
use super::state::State;
use crate::broker::inflight::{Finished, Repeat};
use crate::broker::packet::{QoS, Reason};
use crate::broker::pressure::Patience;
use crate::broker::queue::{Pushed, Queued};
use crate::broker::stats::BrokerStats;
use crate::broker::store::Ticket;

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

impl Session {
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

    /// What others of its shared subscriptions should have of a session that has ended.
    pub(crate) fn take_shared(&self) -> Vec<Queued> {
        let mut state = self.state.lock();
        let mut items = state.inflight.shared();
        items.extend(state.queue.take_shared());
        items
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
