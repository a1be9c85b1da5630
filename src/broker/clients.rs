//! All sessions by client id, and the clock that ends them.
//!
//! A CONNECT comes here to find, take over or make its session; the end of a connection comes here
//! to leave it. Delayed wills and session expiry wait in one list of deadlines.

mod deadlines;
mod restore;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Limits;
use super::filter::Filter;
use super::packet::{Reason, Will};
use super::publication::Draft;
use super::queue::Queue;
use super::router::{Router, Wakes};
use super::session::{Aftermath, Attached, Leave, Session, Terms};
use super::stats::BrokerStats;
use super::store::{Store, Ticket};
use deadlines::Deadlines;

/// The sessions of the broker.
#[derive(Debug)]
pub(crate) struct Clients {
    sessions: Mutex<HashMap<Arc<str>, Arc<Session>>>,
    deadlines: Mutex<Deadlines>,
    earlier_deadline: Notify,
    /// Number of the next session; 0 is the gateway's as an origin.
    next_number: AtomicU64,
    router: Arc<Router>,
    store: Arc<Store>,
    stats: Arc<BrokerStats>,
    limits: Limits,
}

/// A connection's hold on its session. Dropping it counts as a broken connection, so that a task
/// that dies leaves nothing behind that looks connected.
#[derive(Debug)]
pub(crate) struct Presence {
    pub(crate) session: Arc<Session>,
    pub(crate) generation: u64,
    clients: Arc<Clients>,
    left: bool,
}

/// What a CONNECT got.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) presence: Presence,
    pub(crate) session_present: bool,
    /// When the client may be told: its session, or the end of the one it had, is on disk.
    pub(crate) ticket: Ticket,
    /// Told when the broker wants the connection to end.
    pub(crate) close: tokio::sync::oneshot::Receiver<Reason>,
}

impl Clients {
    pub(crate) fn new(
        router: Arc<Router>,
        store: Arc<Store>,
        stats: Arc<BrokerStats>,
        limits: Limits,
    ) -> Self {
        Self {
            sessions: Mutex::new(HashMap::new()),
            deadlines: Mutex::default(),
            earlier_deadline: Notify::new(),
            next_number: AtomicU64::new(1),
            router,
            store,
            stats,
            limits,
        }
    }

    /// Gives a client's old connection, if there still is one, a moment to end by itself: its
    /// DISCONNECT may have come before the new CONNECT and not have been read yet, and a will must not
    /// be published then.
    pub(crate) async fn let_leave(&self, client_id: &str) {
        let Some(session) = self.sessions.lock().get(client_id).cloned() else {
            return;
        };
        for _ in 0..LEAVE_LOOKS {
            if !session.is_connected() {
                return;
            }
            tokio::time::sleep(LEAVE_PAUSE).await;
        }
    }

    /// Finds or makes the session of a client and ends the connection it had.
    ///
    /// # Errors
    /// `Reason::QUOTA_EXCEEDED` when there are too many sessions for one more that is kept; `Reason::CLIENT_ID_NOT_VALID` when
    /// another user's client is connected under this id. Another user's session without a client is
    /// ended, and nothing of it is seen.
    pub(crate) fn enter(
        self: &Arc<Self>,
        client_id: &str,
        clean: bool,
        terms: Terms,
    ) -> Result<Entered, Reason> {
        let mut sessions = self.sessions.lock();
        let present = sessions.get(client_id).cloned();
        let own = present.as_ref().is_none_or(|session| session.belongs_to(&terms.owner));
        if !own && present.as_ref().is_some_and(|session| session.is_connected()) {
            return Err(Reason::CLIENT_ID_NOT_VALID);
        }
        let displaced = present.as_ref().is_some_and(|session| session.is_connected());
        let kept = present.clone().filter(|session| session.is_persistent());
        // One that ends with its connection is bounded as connections are.
        let room = terms.expiry == 0 || kept.is_some() || sessions.len() < self.max_sessions();
        let resumed = match kept.filter(|_| own && !clean) {
            Some(session) => session.attach(terms).map(|attached| (session, attached)),
            None => Err(Box::new(terms)),
        };
        let session_present = resumed.is_ok();
        let (session, attached) = match resumed {
            Ok(resumed) => resumed,
            Err(_) if !room => return Err(Reason::QUOTA_EXCEEDED),
            Err(terms) => self.begin(client_id, *terms, &mut sessions),
        };
        let Attached { generation, close, displaced_will, mut ticket } = attached;
        BrokerStats::set(&self.stats.sessions, sessions.len());
        drop(sessions);
        let before = self.stats.clients.fetch_add(1, Ordering::Relaxed);
        BrokerStats::raise(&self.stats.clients_maximum, before + 1);
        BrokerStats::count(&self.stats.connects);
        BrokerStats::add(&self.stats.take_overs, u64::from(displaced));
        // From here on the presence leaves the session again, whatever goes wrong.
        let presence = Presence { session, generation, clients: Arc::clone(self), left: false };
        self.publish_will(displaced_will, presence.session.number());
        if let Some(old) = present.filter(|_| !session_present) {
            let will = old.end();
            self.deadlines.lock().forget(old.number());
            self.forget_subscriptions(&old);
            self.publish_will(will, old.number());
            ticket = ticket.max(old.note());
        }
        Ok(Entered { presence, session_present, ticket, close })
    }

    /// A new session with its first connection.
    fn begin(
        &self,
        client_id: &str,
        terms: Terms,
        sessions: &mut HashMap<Arc<str>, Arc<Session>>,
    ) -> (Arc<Session>, Attached) {
        let session = self.make(client_id);
        let attached = session.attach(terms).expect("a session that was just made has not ended");
        sessions.insert(Arc::clone(session.client_id()), Arc::clone(&session));
        (session, attached)
    }

    /// A session for the gateway itself, which no client can take over.
    pub(crate) fn make_local(&self) -> Arc<Session> {
        self.make("")
    }

    /// Ends what has come due, for ever. Returns only with its task.
    pub(crate) async fn keep_deadlines(&self) {
        loop {
            let next = self.deadlines.lock().next();
            match next {
                None => self.earlier_deadline.notified().await,
                Some(at) => tokio::select! {
                    () = self.earlier_deadline.notified() => {}
                    () = tokio::time::sleep_until(at.into()) => self.meet_deadlines(),
                },
            }
        }
    }

    /// Every session there is.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.sessions.lock().values().map(Arc::clone).collect()
    }

    /// Looks at all queues and shows what waits in them.
    pub(crate) fn measure(&self) {
        let (mut messages, mut bytes, mut longest) = (0, 0, 0);
        for session in self.all() {
            let (count, size) = session.queued();
            messages += count;
            bytes += size;
            longest = longest.max(count);
        }
        BrokerStats::set(&self.stats.queued_messages, messages);
        BrokerStats::set(&self.stats.queued_bytes, bytes);
        BrokerStats::set(&self.stats.queued_longest, longest);
    }

    /// Ends what has come due by now.
    pub(crate) fn meet_deadlines(&self) {
        let now = Instant::now();
        loop {
            let due = self.deadlines.lock().take_due(now);
            let Some(session) = due else { return };
            let aftermath = session.on_deadline(now);
            BrokerStats::add(&self.stats.sessions_expired, u64::from(aftermath.ended));
            self.settle(&session, aftermath);
        }
    }

    /// Does what the end of a connection, or a deadline, leaves to be done.
    fn settle(&self, session: &Arc<Session>, aftermath: Aftermath) {
        if aftermath.ended {
            let mut sessions = self.sessions.lock();
            if sessions.get(session.client_id()).is_some_and(|found| Arc::ptr_eq(found, session)) {
                sessions.remove(session.client_id());
            }
            BrokerStats::set(&self.stats.sessions, sessions.len());
            drop(sessions);
            self.forget_subscriptions(session);
        }
        if let Some(at) = aftermath.deadline {
            self.deadlines.lock().set(session, at);
            self.earlier_deadline.notify_one();
        }
        self.publish_will(aftermath.will, session.number());
        // A will is published, and what it has to outlive noted, before it is forgotten on disk.
        session.note();
    }

    /// Takes an ended session out of the tree, and hands what it owes to the other members of its
    /// shared subscriptions.
    fn forget_subscriptions(&self, session: &Session) {
        for text in session.take_filters() {
            if let Ok(filter) = Filter::parse(&text) {
                self.router.unsubscribe(filter, session.number());
            }
        }
        self.router.pass_on(session.take_shared());
    }

    fn publish_will(&self, will: Option<Will>, origin: u64) {
        if let Some(will) = will {
            self.router.publish(Draft::of_will(&will), origin, &mut Wakes::default());
        }
    }

    fn make(&self, client_id: &str) -> Arc<Session> {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let queue = Queue::new(self.limits.queued_messages, self.limits.queued_bytes);
        let (store, stats) = (Arc::clone(&self.store), Arc::clone(&self.stats));
        Session::new(number, client_id, queue, store, stats)
    }

    /// Sessions of absent clients cost memory, so they are bounded as connections are.
    fn max_sessions(&self) -> usize {
        self.limits.connections.saturating_mul(SESSIONS_PER_CONNECTION)
    }
}

impl Presence {
    /// Leaves the session in an orderly way.
    pub(crate) fn leave(mut self, leave: Leave) {
        self.go(leave);
    }

    fn go(&mut self, leave: Leave) {
        if std::mem::replace(&mut self.left, true) {
            return;
        }
        BrokerStats::lower(&self.clients.stats.clients);
        let aftermath = self.session.detach(self.generation, leave);
        self.clients.settle(&self.session, aftermath);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.go(Leave { publish_will: true, expiry: None });
    }
}

/// How often and after which pauses it is looked whether a client has left by itself.
const LEAVE_LOOKS: usize = 5;
const LEAVE_PAUSE: Duration = Duration::from_millis(2);
/// How many sessions may be kept for each connection that is allowed.
const SESSIONS_PER_CONNECTION: usize = 10;
