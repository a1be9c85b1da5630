//! The outbox: what the broker must get, from the moment it is published until it is acknowledged.
//!
//! The link puts messages in, which never waits. The keeper writes them to the `shelf` on disk and
//! lays out the next ones for the connection, which says which are done. When a connection begins,
//! everything starts again from the oldest: what was under way, and the latest message of every
//! retained topic, because the broker may have forgotten.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Notify;

use super::shelf::{Entry, Outcome, Turn};
use super::stats::ExternalStats;
use crate::broker::stats::Throttle;
use crate::model::Timestamp;

/// The outbox as link and connection see it.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<State>,
    /// There is something for the keeper to do.
    work: Notify,
    /// There is something for the connection to take.
    laid_out: Notify,
    limits: OutboxLimits,
    /// Where it is said that the outbox is full.
    event_topic: String,
    stats: Arc<ExternalStats>,
    refusals: Throttle,
}

/// How much the outbox holds. Retained messages count only until they are on disk, where each
/// topic has one.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutboxLimits {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    fresh: Vec<Entry>,
    fresh_bytes: usize,
    done: Vec<i64>,
    given_up: Vec<i64>,
    ready: VecDeque<Entry>,
    rewind: bool,
    /// Counts the connections, so that a page read for an earlier one is not sent.
    epoch: u64,
    /// Somebody is there to take messages.
    connected: bool,
    /// The last page was not the end.
    more: bool,
    /// Messages that count against the limit, and their bytes.
    held: (usize, usize),
    /// Messages without an acknowledgement, `fresh` included.
    waiting: u64,
    /// Messages refused since the outbox was last known to have room.
    refused: u64,
    full: bool,
    closed: bool,
}

impl State {
    fn has_news(&self) -> bool {
        let still = self.fresh.is_empty() && self.done.is_empty() && self.given_up.is_empty();
        !still || self.rewind
    }
}

impl Outbox {
    pub(super) fn new(
        limits: OutboxLimits,
        event_topic: String,
        stats: Arc<ExternalStats>,
    ) -> Self {
        Self {
            state: Mutex::default(),
            work: Notify::new(),
            laid_out: Notify::new(),
            limits,
            event_topic,
            stats,
            refusals: Throttle::default(),
        }
    }

    /// Takes a message. One that is not retained is refused when the outbox is full, which is
    /// counted, logged and said on the event topic; a retained one takes its predecessor's place.
    pub(super) fn put(&self, topic: &str, payload: &[u8], retain: bool) {
        let size = topic.len() + payload.len();
        let mut state = self.state.lock();
        let full = if retain {
            // A topic has one message on disk; what counts is what has not got there.
            state.fresh_bytes + size > self.limits.bytes.max(FRESH_BYTES)
        } else {
            state.held.0 >= self.limits.messages || state.held.1 + size > self.limits.bytes
        };
        if full {
            self.refuse(&mut state, topic);
        } else {
            self.add(&mut state, topic, payload.to_vec().into(), retain);
        }
        drop(state);
        self.work.notify_one();
    }

    fn add(&self, state: &mut State, topic: &str, payload: Bytes, retain: bool) {
        let size = topic.len() + payload.len();
        if !retain {
            state.held.0 += 1;
            state.held.1 += size;
        }
        state.waiting += 1;
        state.fresh_bytes += size;
        state.fresh.push(Entry { seq: 0, topic: topic.into(), payload, retain });
        self.gauge(state);
    }

    fn refuse(&self, state: &mut State, topic: &str) {
        state.refused += 1;
        ExternalStats::count(&self.stats.outbox_refused);
        if let Some(before) = self.refusals.pass() {
            tracing::error!(
                topic,
                before,
                messages = state.held.0,
                bytes = state.held.1,
                "the outbox is full: messages are refused until the broker takes what waits; see \
                 broker.external.outbox_messages and outbox_bytes"
            );
        }
        if !std::mem::replace(&mut state.full, true) {
            self.event(state, "full", 1, "the outbox is full: messages are being refused");
        }
    }

    /// Says something about the outbox to whoever follows the broker; beyond the limit, since it
    /// is said once for each time that the outbox is full.
    fn event(&self, state: &mut State, kind: &str, refused: u64, message: &str) {
        let event = json!({
            "ts": Timestamp::now().seconds(),
            "type": "outbox",
            "kind": kind,
            "refused": refused,
            "message": message,
        });
        self.add(state, &self.event_topic, event.to_string().into(), false);
    }

    fn gauge(&self, state: &State) {
        self.stats.outbox_messages.store(state.waiting, Ordering::Relaxed);
        self.stats.outbox_bytes.store(state.held.1 as u64, Ordering::Relaxed);
    }

    /// A connection begins: everything is to be sent to it, from the oldest on.
    pub(super) fn connect(&self) {
        let mut state = self.state.lock();
        state.epoch += 1;
        state.ready.clear();
        (state.rewind, state.connected, state.more) = (true, true, true);
        drop(state);
        self.work.notify_one();
    }

    /// The connection has ended.
    pub(super) fn disconnect(&self) {
        let mut state = self.state.lock();
        state.epoch += 1;
        state.connected = false;
        state.ready.clear();
    }

    /// The next message, in order.
    pub(super) fn take(&self) -> Option<Entry> {
        let mut state = self.state.lock();
        let entry = state.ready.pop_front();
        let low = state.more && state.ready.len() <= PAGE / 2;
        drop(state);
        if low {
            self.work.notify_one();
        }
        entry
    }

    /// Returns when there may be a message to take.
    pub(super) async fn laid_out(&self) {
        self.laid_out.notified().await;
    }

    /// The broker has this message, or will never have it.
    pub(super) fn done(&self, seq: i64) {
        let mut state = self.state.lock();
        state.done.push(seq);
        let enough = state.done.len() >= DONE_GROUP || state.ready.is_empty();
        drop(state);
        if enough {
            self.work.notify_one();
        }
    }

    /// The broker has not got this message and is not to get it with the next connection either.
    pub(super) fn give_up(&self, seq: i64) {
        self.state.lock().given_up.push(seq);
        self.work.notify_one();
    }

    /// Whether everything is acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.state.lock();
        state.waiting <= state.done.len() as u64 && state.fresh.is_empty()
    }

    /// Makes the keeper write what is left and end.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_one();
    }

    /// Returns when there may be something for the keeper to do.
    pub(super) fn work(&self) -> impl Future<Output = ()> {
        self.work.notified()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    pub(super) fn stats(&self) -> &ExternalStats {
        &self.stats
    }

    /// Takes in what is on disk: the messages that count against the limit and their bytes, and all
    /// that wait.
    pub(super) fn recount(&self, held: (usize, usize), waiting: u64) {
        let mut state = self.state.lock();
        let fresh = counted(&state.fresh);
        state.held = (held.0 + fresh.0, held.1 + fresh.1);
        state.waiting = waiting + state.fresh.len() as u64;
        self.gauge(&state);
    }

    /// Only these are left of what counts: what came last, and what came since.
    pub(super) fn recount_fresh(&self, turn: &Turn) {
        self.recount(counted(&turn.fresh), turn.fresh.len() as u64);
    }

    /// A turn that could not be done is still to be done.
    pub(super) fn put_back(&self, turn: Turn) {
        let mut state = self.state.lock();
        let prepend = |mut first: Vec<Entry>, then: &mut Vec<Entry>| {
            first.append(then);
            *then = first;
        };
        state.fresh_bytes += turn.fresh.iter().map(Entry::size).sum::<usize>();
        prepend(turn.fresh, &mut state.fresh);
        state.done.extend(turn.done);
        state.given_up.extend(turn.given_up);
        state.rewind |= turn.rewind;
        drop(state);
        self.work.notify_one();
    }

    /// What is to be done; `None`: nothing.
    pub(super) fn turn(&self, cursor: i64) -> Option<(Turn, u64)> {
        let mut state = self.state.lock();
        state.more |= state.connected && !state.fresh.is_empty();
        let low = state.connected && state.ready.len() <= PAGE / 2;
        let want = if low && state.more { PAGE } else { 0 };
        if !state.has_news() && want == 0 {
            return None;
        }
        state.fresh_bytes = 0;
        let turn = Turn {
            fresh: std::mem::take(&mut state.fresh),
            done: std::mem::take(&mut state.done),
            given_up: std::mem::take(&mut state.given_up),
            rewind: std::mem::take(&mut state.rewind),
            want,
            // Without a connection nothing is under way, and all may be replaced.
            cursor: if state.connected { cursor } else { 0 },
        };
        Some((turn, state.epoch))
    }

    /// Takes in what a turn came to; the new cursor.
    pub(super) fn settle(&self, turn: &Turn, outcome: Outcome, epoch: u64) -> i64 {
        let mut state = self.state.lock();
        state.waiting = outcome.waiting + state.fresh.len() as u64;
        state.held.0 = state.held.0.saturating_sub(outcome.left.0);
        state.held.1 = state.held.1.saturating_sub(outcome.left.1);
        let nine_tenths = |limit: usize| limit - limit.div_ceil(10);
        let room = state.held.0 <= nine_tenths(self.limits.messages)
            && state.held.1 <= nine_tenths(self.limits.bytes);
        if state.full && room {
            state.full = false;
            let refused = std::mem::take(&mut state.refused);
            tracing::info!(refused, "the outbox has room again");
            self.event(&mut state, "room", refused, "the outbox has room again");
        }
        self.gauge(&state);
        let mut cursor = turn.cursor;
        if state.epoch == epoch {
            cursor = outcome.cursor;
            if turn.want > 0 {
                state.more = !outcome.page.is_empty();
            }
            state.ready.extend(outcome.page);
            self.laid_out.notify_one();
        } else if turn.rewind {
            // Done on disk for a connection that is gone; the next one says so itself.
            cursor = 0;
        }
        cursor
    }
}

/// The messages that count against the limit, and their bytes.
fn counted(fresh: &[Entry]) -> (usize, usize) {
    let counted = fresh.iter().filter(|entry| !entry.retain);
    counted.fold((0, 0), |(count, bytes), entry| (count + 1, bytes + entry.size()))
}

/// Memory for what is on its way to the disk, at least.
const FRESH_BYTES: usize = 8 * 1024 * 1024;
/// Messages laid out at a time; twice what may be under way.
const PAGE: usize = 256;
/// Acknowledgements that are written together while there is enough to do.
const DONE_GROUP: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_outbox_has_room_again_as_well() {
        for messages in [1, 2, 9, 100] {
            let limits = OutboxLimits { messages, bytes: 10_000 };
            let stats = Arc::<ExternalStats>::default();
            let outbox = Outbox::new(limits, "event".to_owned(), Arc::clone(&stats));
            for _ in 0..=messages {
                outbox.put("a", b"", false);
            }
            let (turn, epoch) = outbox.turn(0).unwrap();
            assert_eq!(turn.fresh.len(), messages + 1, "one was refused, and that is said");
            let left = counted(&turn.fresh);
            outbox.settle(&turn, Outcome { left, ..Outcome::default() }, epoch);
            let (turn, _) = outbox.turn(0).unwrap();
            let said = String::from_utf8_lossy(&turn.fresh[0].payload).into_owned();
            assert!(said.contains("\"kind\":\"room\",\"refused\":1"), "{messages}: {said}");
        }
    }
}
