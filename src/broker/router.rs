//! Fan-out: from one published message to the queues of all that subscribe to it.
//!
//! The middle of the broker's data path. Publishers call it in their own task; it matches under a
//! read lock, puts the shared message into each session's queue, and wakes nobody until the
//! publisher's batch is through.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;
use smallvec::SmallVec;

use super::access::Screen;
use super::filter::{self, Filter};
use super::packet::QoS;
use super::pressure::Crowded;
use super::publication::{Draft, Publication};
use super::queue::{Queued, SubscriptionIds};
use super::retained::{Feed, RetainedLimit, RetainedStore};
use super::session::Session;
use super::stats::{BrokerStats, Throttle};
use super::store::{Store, Ticket};
use super::tree::{Entry, Leaf, SubscriptionTree};

/// What a subscription was granted.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) qos: QoS,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) id: Option<u32>,
    /// What the client may see of it; `None`: all.
    pub(crate) screen: Option<Arc<Screen>>,
}

impl Grant {
    fn lets_through(&self, topic: &[u8]) -> bool {
        self.screen.as_ref().is_none_or(|screen| screen.passes(topic))
    }
}

/// A subscription in the tree.
#[derive(Debug)]
pub(crate) struct Subscriber {
    session: Arc<Session>,
    grant: Grant,
    /// The filter as subscribed to, of a shared subscription.
    share: Option<Arc<str>>,
}

/// The subscriptions and the retained messages of the broker.
#[derive(Debug)]
pub(crate) struct Router {
    tree: RwLock<SubscriptionTree<Subscriber>>,
    retained: RwLock<RetainedStore>,
    /// Retained `$SYS` messages: the broker's own, outside all limits.
    system: RwLock<RetainedStore>,
    store: Arc<Store>,
    stats: Arc<BrokerStats>,
    retain_warning: Throttle,
}

/// What became of a published message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Routed {
    /// Somebody subscribes to it.
    pub(crate) matched: bool,
    /// It was to be retained and there was no room.
    pub(crate) retain_refused: bool,
    /// When all of it that is to be on disk is there.
    pub(crate) ticket: Ticket,
}

/// What a batch of messages leaves to be done at its end. Dropping it wakes the sessions that sleep.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    asleep: Vec<Arc<Session>>,
    /// Whom the publisher should wait for.
    pub(crate) crowded: Crowded,
}

impl Drop for Wakes {
    fn drop(&mut self) {
        for session in self.asleep.drain(..) {
            session.wake();
        }
    }
}

impl Router {
    pub(crate) fn new(
        retained_limit: RetainedLimit,
        store: Arc<Store>,
        stats: Arc<BrokerStats>,
    ) -> Self {
        Self {
            tree: RwLock::new(SubscriptionTree::new()),
            retained: RwLock::new(RetainedStore::new(retained_limit)),
            system: RwLock::new(RetainedStore::new(RetainedLimit::NONE)),
            store,
            stats,
            retain_warning: Throttle::default(),
        }
    }

    /// Publishes one message. `origin` is the number of the session it comes from, 0 for the gateway.
    pub(crate) fn publish(&self, mut draft: Draft<'_>, origin: u64, wakes: &mut Wakes) -> Routed {
        let Kept { shared, refused, ticket } = self.retain(&mut draft);
        let queued = fan_out(&self.tree.read(), &mut draft, shared, origin, wakes);
        Routed {
            matched: queued.is_some(),
            retain_refused: refused,
            ticket: ticket.max(queued.unwrap_or_default()),
        }
    }

    /// Takes in a retained message from the disk, whatever the limit.
    pub(crate) fn restore_retained(&self, publication: Arc<Publication>) {
        let mut retained = self.retained.write();
        retained.restore(publication);
        self.show(&retained);
    }

    /// Publishes a batch under one lock.
    pub(crate) fn publish_all<'a>(
        &self,
        drafts: impl Iterator<Item = Draft<'a>>,
        origin: u64,
    ) -> Crowded {
        let mut wakes = Wakes::default();
        let tree = self.tree.read();
        for mut draft in drafts {
            let Kept { shared, .. } = self.retain(&mut draft);
            fan_out(&tree, &mut draft, shared, origin, &mut wakes);
        }
        drop(tree);
        std::mem::take(&mut wakes.crowded)
    }

    /// Adds or replaces a subscription; answers whether it is new.
    pub(crate) fn subscribe(
        &self,
        filter: Filter<'_>,
        session: &Arc<Session>,
        grant: Grant,
    ) -> bool {
        let share = filter.share.map(|group| format!("$share/{group}/{}", filter.path).into());
        let subscriber = Subscriber { session: Arc::clone(session), grant, share };
        let new = self.tree.write().insert(filter, session.number(), subscriber);
        if new {
            BrokerStats::count(&self.stats.subscriptions);
            BrokerStats::add(&self.stats.shared_subscriptions, u64::from(filter.share.is_some()));
        }
        new
    }

    /// Takes a subscription away; answers whether there was one.
    pub(crate) fn unsubscribe(&self, filter: Filter<'_>, session: u64) -> bool {
        let removed = self.tree.write().remove(filter, session);
        if removed {
            BrokerStats::lower(&self.stats.subscriptions);
            if filter.share.is_some() {
                BrokerStats::lower(&self.stats.shared_subscriptions);
            }
        }
        removed
    }

    /// Hands messages that a member of a shared subscription has left behind to the others.
    pub(crate) fn pass_on(&self, items: Vec<Queued>) {
        let mut wakes = Wakes::default();
        let tree = self.tree.read();
        for item in items {
            let Ok(topic) = std::str::from_utf8(item.publication.topic()) else { continue };
            let leaves: Leaves<'_> = tree.matching(topic);
            for group in leaves.iter().flat_map(|leaf| leaf.groups.values()) {
                let may_have =
                    |member: &Subscriber| member.grant.lets_through(item.publication.topic());
                match group.next_member(may_have, |member| member.session.is_connected()) {
                    Some(member) if member.value.share == item.share => {
                        // Not the sender's own: no-local cannot be had on a shared subscription.
                        let member = std::slice::from_ref(&member);
                        deliver(member, &item.publication, 0, &mut wakes);
                    }
                    _ => {}
                }
            }
        }
    }

    /// The next retained messages for a new subscription; see `RetainedStore::advance`.
    pub(crate) fn advance(
        &self,
        feed: &mut Feed,
        deliver: impl FnMut(&Arc<Publication>) -> bool,
    ) -> bool {
        // No wildcard reaches from the one into the other.
        let store = if filter::is_reserved(&feed.filter) { &self.system } else { &self.retained };
        store.read().advance(feed, deliver)
    }

    /// Throws out retained messages that have expired.
    pub(crate) fn purge(&self) {
        let mut retained = self.retained.write();
        if retained.purge(Instant::now()) {
            self.store.purge();
        }
        self.show(&retained);
    }

    fn retain(&self, draft: &mut Draft<'_>) -> Kept {
        if !draft.retain {
            return Kept::default();
        }
        if filter::is_reserved(draft.topic) {
            let shared = draft.share();
            // It has no limit.
            let _ = self.system.write().set(Arc::clone(&shared));
            return Kept { shared: Some(shared), ..Kept::default() };
        }
        if draft.payload.is_empty() {
            let mut retained = self.retained.write();
            retained.clear(draft.topic.as_bytes());
            let ticket = self.store.retain(draft.topic.as_bytes(), None);
            self.show(&retained);
            return Kept { ticket, ..Kept::default() };
        }
        let shared = draft.share();
        let mut retained = self.retained.write();
        let replaces = retained.holds(shared.topic());
        let refused = retained.set(Arc::clone(&shared)).is_err();
        let mut ticket = Ticket::NONE;
        if !refused || replaces {
            // Under the lock, so that both end up with the same value.
            ticket = self.store.retain(shared.topic(), (!refused).then_some(&shared));
        }
        self.show(&retained);
        drop(retained);
        if refused {
            BrokerStats::count(&self.stats.dropped_retain);
            if let Some(before) = self.retain_warning.pass() {
                tracing::warn!(
                    topic = draft.topic,
                    before,
                    "retained-message limit reached: not kept"
                );
            }
        }
        Kept { shared: Some(shared), refused, ticket }
    }

    fn show(&self, retained: &RetainedStore) {
        BrokerStats::set(&self.stats.retained_messages, retained.len());
        BrokerStats::set(&self.stats.retained_bytes, retained.bytes());
    }
}

/// What became of a message's retain flag.
#[derive(Debug, Default)]
struct Kept {
    /// The message, if it had to be copied for this.
    shared: Option<Arc<Publication>>,
    refused: bool,
    ticket: Ticket,
}

type Leaves<'t> = SmallVec<[&'t Leaf<Subscriber>; 8]>;

/// Queues the message at every client that subscribes to it, once for each client. `None`: there is
/// none; else the ticket of what has to be on disk.
fn fan_out(
    tree: &SubscriptionTree<Subscriber>,
    draft: &mut Draft<'_>,
    shared: Option<Arc<Publication>>,
    origin: u64,
    wakes: &mut Wakes,
) -> Option<Ticket> {
    let leaves: Leaves<'_> = tree.matching(draft.topic);
    if leaves.is_empty() {
        return None;
    }
    let mut ticket = Ticket::NONE;
    let publication = shared.unwrap_or_else(|| draft.share());
    for group in leaves.iter().flat_map(|leaf| leaf.groups.values()) {
        let topic = publication.topic();
        let may_have = |member: &Subscriber| member.grant.lets_through(topic);
        if let Some(member) = group.next_member(may_have, |member| member.session.is_connected()) {
            let member = std::slice::from_ref(&member);
            ticket = ticket.max(deliver(member, &publication, origin, wakes));
        }
    }
    if let [leaf] = leaves.as_slice() {
        for entry in &leaf.plain {
            ticket = ticket.max(deliver(&[entry], &publication, origin, wakes));
        }
        return Some(ticket);
    }
    // Several filters match: a client that has more than one of them gets the message once.
    let mut entries: SmallVec<[&Entry<Subscriber>; 16]> =
        leaves.iter().flat_map(|leaf| &leaf.plain).collect();
    entries.sort_unstable_by_key(|entry| entry.key);
    for same_client in entries.chunk_by(|one, other| one.key == other.key) {
        ticket = ticket.max(deliver(same_client, &publication, origin, wakes));
    }
    Some(ticket)
}

/// Queues the message at one client. `entries`: its matching subscriptions, at least one.
fn deliver(
    entries: &[&Entry<Subscriber>],
    publication: &Arc<Publication>,
    origin: u64,
    wakes: &mut Wakes,
) -> Ticket {
    let mut granted: Option<(QoS, bool)> = None;
    let mut ids = SubscriptionIds::new();
    for entry in entries {
        let grant = &entry.value.grant;
        if grant.no_local && entry.key == origin {
            continue;
        }
        if !grant.lets_through(publication.topic()) {
            // The client's rights are the same for its other subscriptions.
            entry.value.session.note_withheld();
            return Ticket::NONE;
        }
        let (qos, keep_retain) = granted.unwrap_or_default();
        granted = Some((qos.max(grant.qos), keep_retain || grant.retain_as_published));
        ids.extend(grant.id);
    }
    let (Some((qos, keep_retain)), Some(entry)) = (granted, entries.first()) else {
        return Ticket::NONE;
    };
    let item = Queued {
        publication: Arc::clone(publication),
        qos: qos.min(publication.qos),
        retain: keep_retain && publication.retain,
        ids,
        share: entry.value.share.clone(),
    };
    let session = &entry.value.session;
    let delivered = session.deliver(item);
    if delivered.wake {
        wakes.asleep.push(Arc::clone(session));
    }
    if delivered.crowded {
        wakes.crowded.add(session);
    }
    delivered.ticket
}
