//! A client's session: what outlives a connection.
//!
//! Subscriptions, the queue of messages to go out, open exchanges of QoS 1 and 2 in both directions,
//! the will, and the time all this is kept. A session has at most one connection, told apart from
//! its predecessors by a generation: whatever an old connection's task still does finds its number
//! outdated and changes nothing. All state lies under one mutex that is held for short, computed
//! work only.

mod exchange;
mod feeds;
mod keeping;
mod life;
mod outgoing;
mod state;
mod subscriptions;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::access::Login;
use super::queue::Queue;
use super::roster::ClientInfo;
use super::stats::{BrokerStats, Throttle};
use super::store::Store;

pub(crate) use exchange::Receipt;
pub(crate) use life::{Attached, Leave, Terms};
pub(crate) use outgoing::{Outgoing, Taken};
pub(crate) use state::Aftermath;
use state::State;

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

impl Session {
    pub(crate) fn new(
        number: u64,
        client_id: &str,
        queue: Queue,
        store: Arc<Store>,
        stats: Arc<BrokerStats>,
    ) -> Arc<Self> {
        Self::with(number, client_id.into(), State::new(queue), store, stats)
    }

    fn with(
        number: u64,
        client_id: Arc<str>,
        state: State,
        store: Arc<Store>,
        stats: Arc<BrokerStats>,
    ) -> Arc<Self> {
        Arc::new(Self {
            number,
            client_id,
            connected: AtomicBool::new(false),
            outgoing: Notify::new(),
            room: Notify::new(),
            held: AtomicBool::new(false),
            state: Mutex::new(state),
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

    /// What people are told of it.
    pub(crate) fn describe(&self) -> ClientInfo {
        let state = self.state.lock();
        ClientInfo {
            id: Arc::clone(&self.client_id),
            user: state.owner.0.clone(),
            connection: state.attachment.as_ref().and_then(|attachment| attachment.via),
            subscriptions: state.filters.len(),
            queued: state.queue.len(),
            persistent: state.expiry > 0,
        }
    }

    /// Whether the session is over for good.
    pub(crate) fn is_ended(&self) -> bool {
        self.state.lock().ended
    }
}
