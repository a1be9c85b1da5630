//! Back-pressure: how publishers wait for a subscriber, and how long.
//!
//! A queue above its high mark is *crowded* until it has come down to the low mark. Who publishes to
//! a crowded subscriber is not read from meanwhile, so TCP slows it down to what the subscriber
//! takes, and nothing is lost. A subscriber that takes nothing for a while, or too little, is given
//! up: nobody waits for it until it has caught up, and its queue's own rules hold (oldest QoS 0
//! dropped, QoS 1 and 2 kept up to the limit). So one slow subscriber costs each publisher a pause of
//! `SLOW` at the most, once, and harms nobody after that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::queue::Queue;
use super::session::Session;

/// Whether a session's queue is crowded, since when, and whether it moves.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    crowded: Option<Crowding>,
}

#[derive(Debug, Clone, Copy)]
struct Crowding {
    since: Instant,
    /// When something was last taken from the queue.
    moved: Instant,
    given_up: bool,
}

impl Crowd {
    /// Notes that the queue has grown. `true`: whoever made it grow should wait.
    pub(crate) fn grown(&mut self, queue: &Queue) -> bool {
        if self.crowded.is_none() && queue.is_above_high_mark() {
            let now = Instant::now();
            self.crowded = Some(Crowding { since: now, moved: now, given_up: false });
        }
        self.crowded.is_some_and(|crowding| !crowding.given_up)
    }

    /// Notes that something was taken out. `true`: the crowd is over, waiters are to be told.
    pub(crate) fn shrunk(&mut self, queue: &Queue) -> bool {
        let Some(crowding) = &mut self.crowded else {
            return false;
        };
        if queue.is_above_low_mark() {
            crowding.moved = Instant::now();
            return false;
        }
        self.crowded = None;
        true
    }

    /// Until when it is worth waiting; `None` if it is not, or not any more.
    pub(crate) fn deadline(&mut self, patience: Patience, now: Instant) -> Option<Instant> {
        let crowding = self.crowded.as_mut()?;
        if crowding.given_up {
            return None;
        }
        match patience {
            Patience::Short => Some(crowding.since + SHORT).filter(|end| *end > now),
            Patience::Long => {
                let end = (crowding.moved + STALLED).min(crowding.since + SLOW);
                crowding.given_up = end <= now;
                (!crowding.given_up).then_some(end)
            }
        }
    }

    /// The connection is another one or none: what was is over.
    pub(crate) fn end(&mut self) {
        self.crowded = None;
    }
}

/// How long somebody can wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// The gateway itself: meters must not wait for a subscriber.
    Short,
    /// A client.
    Long,
}

/// The crowded subscribers of what was just published. Waiting is up to the publisher.
#[derive(Debug, Default)]
pub struct Crowded(Vec<Arc<Session>>);

impl Crowded {
    /// Adds a session, once.
    pub(crate) fn add(&mut self, session: &Arc<Session>) {
        if !self.0.iter().any(|known| Arc::ptr_eq(known, session)) {
            self.0.push(Arc::clone(session));
        }
    }

    /// Nobody is to be waited for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits for room, as the gateway does: for 50 milliseconds from when a queue became crowded.
    pub async fn wait(self) {
        for session in &self.0 {
            wait_for(session, Patience::Short, || {}).await;
        }
    }

    /// Waits for room, as the connection of `own` does. `still_here` is called now and then.
    pub(crate) async fn wait_as(self, own: &Session, still_here: impl Fn()) {
        let _held = own.hold();
        for session in &self.0 {
            // Its acknowledgements come by the very connection that would have to wait.
            if !std::ptr::eq(&raw const **session, own) {
                wait_for(session, Patience::Long, &still_here).await;
            }
        }
    }
}

async fn wait_for(session: &Session, patience: Patience, still_here: impl Fn()) {
    loop {
        let room = session.room();
        let Some(deadline) = session.worth_waiting_until(patience) else {
            return;
        };
        let deadline = deadline.min(Instant::now() + LOOK_AGAIN);
        // Whether there is room or the time is over is found out above.
        let _ = tokio::time::timeout_at(deadline.into(), room).await;
        still_here();
    }
}

/// A subscriber that takes nothing for so long is not waited for.
const STALLED: Duration = Duration::from_secs(2);
/// Nor is one that has not come down to the low mark in this time.
const SLOW: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(50);
const LOOK_AGAIN: Duration = Duration::from_millis(250);
