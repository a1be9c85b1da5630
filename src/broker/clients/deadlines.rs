//! When to look at which absent session again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::broker::session::Session;

/// When to look at which session again: at most one time for each.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    by_time: BTreeMap<(Instant, u64), Weak<Session>>,
    by_session: HashMap<u64, Instant>,
}

impl Deadlines {
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn set(&mut self, session: &Arc<Session>, at: Instant) {
        self.forget(session.number());
        self.by_session.insert(session.number(), at);
        self.by_time.insert((at, session.number()), Arc::downgrade(session));
    }

    pub(super) fn forget(&mut self, session: u64) {
        if let Some(at) = self.by_session.remove(&session) {
            self.by_time.remove(&(at, session));
        }
    }

    /// Takes out one that has come due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Arc<Session>> {
        while self.next().is_some_and(|at| at <= now) {
            let ((_, number), session) = self.by_time.pop_first()?;
            self.by_session.remove(&number);
            if let Some(session) = session.upgrade() {
                return Some(session);
            }
        }
        None
    }
}
