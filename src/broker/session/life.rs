//! From one connection to the next: how a session gets one, loses it, and ends.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;

use super::Session;
use super::feeds::Feeds;
use super::state::{Aftermath, Attachment};
use crate::broker::access::Login;
use crate::broker::packet::{Reason, Will};
use crate::broker::roster::ConnectionInfo;
use crate::broker::store::Ticket;

/// What a new connection brings to its session.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) expiry: u32,
    /// Who the client has shown to be.
    pub(crate) owner: Login,
    pub(crate) will: Option<Will>,
    pub(crate) window: usize,
    /// Where the connection comes from; `None`: the gateway itself.
    pub(crate) via: Option<ConnectionInfo>,
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

impl Session {
    /// Gives the session a new connection and ends the one it had.
    ///
    /// # Errors
    /// `terms` back when the session has ended, on another thread just now.
    pub(crate) fn attach(&self, terms: Terms) -> Result<Attached, Box<Terms>> {
        let (sender, close) = oneshot::channel();
        let mut state = self.state.lock();
        if state.ended {
            return Err(Box::new(terms));
        }
        let displaced_will = state.displace();
        state.generation += 1;
        state.attachment =
            Some(Attachment { close: Some(sender), window: terms.window, via: terms.via });
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
        Ok(Attached { generation: state.generation, close, displaced_will, ticket })
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
            state.feeds = Feeds::default();
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
        state.displace();
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
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::broker::queue::Queue;
    use crate::broker::session::Receipt;
    use crate::broker::stats::BrokerStats;
    use crate::broker::store::Store;

    fn session() -> Arc<Session> {
        let stats = Arc::new(BrokerStats::default());
        let store = Arc::new(Store::memory_only(Arc::clone(&stats)));
        Session::new(1, "c", Queue::new(10, 10_000), store, stats)
    }

    fn terms() -> Terms {
        Terms { expiry: 1, owner: Login::default(), will: None, window: 1, via: None }
    }

    #[test]
    fn a_session_that_has_ended_is_nobodys_any_more() {
        let session = session();
        let generation = session.attach(terms()).unwrap().generation;
        session.detach(generation, Leave { publish_will: true, expiry: None });
        assert!(session.is_persistent());
        // Between that look and `attach` its time may have come.
        assert!(session.on_deadline(Instant::now() + Duration::from_secs(2)).ended);
        assert!(session.attach(terms()).is_err());
    }

    #[test]
    fn a_message_by_a_connection_that_was_taken_over_is_not_taken_for_known() {
        let session = session();
        let old = session.attach(terms()).unwrap().generation;
        let new = session.attach(terms()).unwrap().generation;
        assert_eq!(session.receive(old, 7, 10), Receipt::Detached);
        assert!(matches!(session.receive(new, 7, 10), Receipt::New(_)));
        assert_eq!(session.receive(new, 7, 10), Receipt::Duplicate);
    }
}
