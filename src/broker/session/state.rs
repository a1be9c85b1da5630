//! What a session holds, and the steps that touch nothing else.

use std::collections::HashSet;
use std::time::{Instant, SystemTime};

use tokio::sync::oneshot;

use super::feeds::Feeds;
use crate::broker::access::Login;
use crate::broker::inflight::Inflight;
use crate::broker::packet::{Reason, Will};
use crate::broker::pressure::Crowd;
use crate::broker::queue::Queue;
use crate::broker::roster::ConnectionInfo;

/// All that is under a session's lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) queue: Queue,
    pub(super) inflight: Inflight,
    /// Ids of incoming QoS 2 messages that were routed and not yet released.
    pub(super) received: HashSet<u16>,
    pub(super) feeds: Feeds,
    /// Filters as subscribed to, `$share/…` included.
    pub(super) filters: HashSet<Box<str>>,
    /// Their lengths together.
    pub(super) filter_bytes: usize,
    /// Who it was last used by.
    pub(super) owner: Login,
    pub(super) generation: u64,
    pub(super) attachment: Option<Attachment>,
    /// The writer found nothing to do and wants to be woken.
    pub(super) waiting: bool,
    pub(super) crowd: Crowd,
    /// Seconds the session outlives its connection.
    pub(super) expiry: u32,
    pub(super) will: Option<Will>,
    pub(super) will_due: Option<Instant>,
    pub(super) expires: Option<Instant>,
    pub(super) ended: bool,
    /// When the connection ended; `None` while there is one.
    pub(super) left: Option<SystemTime>,
    /// The session is to outlive the process: all its changes go to the store.
    pub(super) kept: bool,
    /// The store knows of it: it is kept, or has a will.
    pub(super) noted: bool,
    /// Of `kept` sessions: messages on disk, and their bytes.
    pub(super) on_disk: (usize, usize),
}

/// A session's connection.
#[derive(Debug)]
pub(super) struct Attachment {
    /// Ends the connection with a reason; used once.
    pub(super) close: Option<oneshot::Sender<Reason>>,
    /// How many unacknowledged messages the client takes at a time.
    pub(super) window: usize,
    /// Where it comes from; `None`: the gateway itself.
    pub(super) via: Option<ConnectionInfo>,
}

/// What is to be done for a session without a connection.
#[derive(Debug, Default)]
pub(crate) struct Aftermath {
    pub(crate) will: Option<Will>,
    pub(crate) ended: bool,
    /// When to look again.
    pub(crate) deadline: Option<Instant>,
}

impl State {
    pub(super) fn new(queue: Queue) -> Self {
        Self {
            queue,
            inflight: Inflight::default(),
            received: HashSet::new(),
            feeds: Feeds::default(),
            filters: HashSet::new(),
            filter_bytes: 0,
            owner: Login::default(),
            generation: 0,
            attachment: None,
            waiting: false,
            crowd: Crowd::default(),
            expiry: 0,
            will: None,
            will_due: None,
            expires: None,
            ended: false,
            left: None,
            kept: false,
            noted: false,
            on_disk: (0, 0),
        }
    }

    /// Tells the connection, if there is one, to end.
    pub(super) fn close(&mut self, reason: Reason) {
        if let Some(close) = self.attachment.as_mut().and_then(|attachment| attachment.close.take())
        {
            // The connection may be ending by itself at this moment.
            let _ = close.send(reason);
        }
    }

    /// Ends the present connection for a new one. Its will is published unless it has a delay, which
    /// the new connection cuts short.
    pub(super) fn displace(&mut self) -> Option<Will> {
        self.attachment.as_ref()?;
        self.close(Reason::SESSION_TAKEN_OVER);
        self.attachment = None;
        if !self.kept {
            self.feeds = Feeds::default();
        }
        self.will.take().filter(|will| will.delay == 0)
    }

    /// What is due now, and when to look again.
    pub(super) fn aftermath(&mut self, now: Instant) -> Aftermath {
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
