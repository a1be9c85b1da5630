//! The broker as the gateway sees it: a client without a socket.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::clients::Clients;
use super::filter::{self, Filter, FilterError};
use super::packet::QoS;
use super::publication::{Draft, Publication};
use super::queue::{Queued, SubscriptionIds};
use super::retained::Feed;
use super::router::{Grant, Router};
use super::session::{Outgoing, Session, Taken, Terms};
use super::stats::{BrokerStats, Throttle};

/// A message from the gateway, borrowed from where it was written: the broker copies it once, and
/// only when somebody is to have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Topic name: not empty, no wildcards.
    pub topic: &'a str,
    /// Any bytes; empty with `retain` clears what is retained.
    pub payload: &'a [u8],
    /// The most a subscriber gets it with.
    pub qos: QoS,
    /// Keep as the topic's value for later subscribers.
    pub retain: bool,
}

/// A message for the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Topic name.
    pub topic: Arc<str>,
    /// Payload as published.
    pub payload: Bytes,
    /// It was retained before the subscription was made.
    pub retained: bool,
}

/// The gateway's way to publish and subscribe. Clones are cheap and are the same link.
#[derive(Debug, Clone)]
pub struct Link {
    clients: Arc<Clients>,
    router: Arc<Router>,
    stats: Arc<BrokerStats>,
    bad_topic: Arc<Throttle>,
}

impl Link {
    pub(crate) fn new(clients: Arc<Clients>, router: Arc<Router>, stats: Arc<BrokerStats>) -> Self {
        Self { clients, router, stats, bad_topic: Arc::default() }
    }

    /// Publishes one message; see `publish_all`.
    pub fn publish(&self, message: Message<'_>) {
        self.publish_all(std::iter::once(message));
    }

    /// Publishes messages in their order, waking each subscriber once.
    ///
    /// Never waits: a subscriber that cannot keep up loses its oldest QoS 0 messages, which is
    /// counted. A message whose topic is no topic name is dropped and logged.
    pub fn publish_all<'a>(&self, messages: impl Iterator<Item = Message<'a>>) {
        let mut count = 0;
        let drafts =
            messages.inspect(|_| count += 1).filter(|message| self.is_publishable(message));
        let drafts = drafts.map(|message| Draft {
            topic: message.topic,
            payload: message.payload,
            qos: message.qos,
            retain: message.retain,
            expiry: None,
            properties: Vec::new(),
        });
        self.router.publish_all(drafts, 0);
        BrokerStats::add(&self.stats.messages_from_gateway, count);
    }

    /// Subscribes to a topic filter. Retained messages come first, and more than once if a topic
    /// changes meanwhile.
    ///
    /// # Errors
    /// What is wrong with the filter. Shared subscriptions (`$share/…`) work as for any client.
    pub fn subscribe(&self, filter: &str) -> Result<Subscription, FilterError> {
        let parsed = Filter::parse(filter)?;
        let session = self.clients.make_local();
        // Without expiry or will; QoS 0 needs no window.
        let attached = session.attach(Terms { expiry: 0, will: None, window: 0 });
        let grant =
            Grant { qos: QoS::AtMostOnce, no_local: false, retain_as_published: false, id: None };
        self.router.subscribe(parsed, &session, grant);
        if parsed.share.is_none() {
            session.put_feed(attached.generation, Feed::new(filter, QoS::AtMostOnce, None), false);
        }
        Ok(Subscription {
            filter: filter.into(),
            session,
            generation: attached.generation,
            router: Arc::clone(&self.router),
            ready: VecDeque::new(),
            batch: Vec::new(),
            _close: attached.close,
        })
    }

    fn is_publishable(&self, message: &Message<'_>) -> bool {
        match filter::check_topic(message.topic) {
            Ok(()) => true,
            Err(error) => {
                if let Some(before) = self.bad_topic.pass() {
                    tracing::error!(%error, before, "message of the gateway dropped");
                }
                false
            }
        }
    }
}

/// A subscription of the gateway. Dropping it unsubscribes.
///
/// What waits is bounded like any client's queue (`limits.queued_messages`, `queued_bytes`): the
/// oldest is dropped and counted.
#[derive(Debug)]
pub struct Subscription {
    filter: Box<str>,
    session: Arc<Session>,
    generation: u64,
    router: Arc<Router>,
    ready: VecDeque<Received>,
    batch: Vec<Outgoing>,
    _close: tokio::sync::oneshot::Receiver<super::packet::Reason>,
}

impl Subscription {
    /// The next message. `None` would mean that there will be no more; an embedded broker has no
    /// such end, and the caller stops by dropping the subscription. Safe to cancel.
    pub async fn recv(&mut self) -> Option<Received> {
        loop {
            if let Some(received) = self.ready.pop_front() {
                return Some(received);
            }
            let unfinished = feed_retained(&self.router, &self.session, self.generation);
            match self.session.take(self.generation, RECEIVE_BYTES, &mut self.batch) {
                Taken::Some => self.ready.extend(self.batch.drain(..).filter_map(received)),
                Taken::Nothing if unfinished => tokio::task::yield_now().await,
                Taken::Nothing => self.session.woken().await,
                Taken::Detached => return None,
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.session.end();
        if let Ok(filter) = Filter::parse(&self.filter) {
            self.router.unsubscribe(filter, self.session.number());
        }
    }
}

/// Moves the next retained messages of a session's new subscriptions into its queue, as far as the
/// queue has room. Called by whoever empties the queue. `true`: there was more to look through than
/// one call should take; call again after letting others run.
pub(crate) fn feed_retained(router: &Router, session: &Session, generation: u64) -> bool {
    for _ in 0..FEED_PIECES {
        let Some((mut feed, mut messages, mut bytes)) = session.take_feed(generation) else {
            return false;
        };
        let (qos, id) = (feed.qos, feed.subscription_id);
        let more = router.advance(&mut feed, |publication: &Arc<Publication>| {
            // The caller is the one who would be woken.
            session.deliver(Queued {
                publication: Arc::clone(publication),
                qos: qos.min(publication.qos),
                retain: true,
                ids: id.into_iter().collect::<SubscriptionIds>(),
            });
            messages -= 1;
            bytes = bytes.saturating_sub(publication.size());
            messages > 0 && bytes > 0
        });
        if more {
            session.put_feed(generation, feed, true);
        } else {
            session.note_fed(&feed);
        }
    }
    true
}

fn received(outgoing: Outgoing) -> Option<Received> {
    let Outgoing::Publish { item, .. } = outgoing else {
        return None;
    };
    let topic = std::str::from_utf8(item.publication.topic()).ok()?;
    Some(Received {
        topic: topic.into(),
        payload: Bytes::copy_from_slice(item.publication.payload()),
        retained: item.retain,
    })
}

const RECEIVE_BYTES: usize = 16 * 1024;
/// Pieces of the retained store looked through in one go.
const FEED_PIECES: usize = 8;
