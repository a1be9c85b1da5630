//! The broker as the gateway sees it, wherever it is.
//!
//! With the embedded broker the gateway is a client without a socket; with one elsewhere, `external`
//! does the same over a connection. Nothing above a [`Link`] knows which.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::access::Login;
use super::clients::Clients;
use super::external::{ExternalLink, ExternalSubscription};
use super::filter::{self, Filter, FilterError};
use super::packet;
use super::pressure::Crowded;
use super::publication::{Draft, Publication};
use super::queue::{Queued, SubscriptionIds};
use super::retained::Feed;
use super::router::{Grant, Router};
use super::session::{Outgoing, Session, Taken, Terms};
use super::stats::{BrokerStats, Throttle};

/// How much the gateway asks for a message. QoS 2 is not among it: all that the gateway says may come
/// twice without harm, and across a connection that is lost and a process that ends only QoS 1 can be
/// promised with what other brokers keep. Clients of the embedded broker have QoS 2 among themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QoS {
    /// 0: for those who listen now; sent once, never repeated.
    AtMostOnce,
    /// 1: repeated until acknowledged.
    AtLeastOnce,
}

impl From<QoS> for packet::QoS {
    fn from(qos: QoS) -> Self {
        match qos {
            QoS::AtMostOnce => Self::AtMostOnce,
            QoS::AtLeastOnce => Self::AtLeastOnce,
        }
    }
}

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
    /// It was published to be retained, as far as the broker tells: one elsewhere does so only of
    /// what is `retained`.
    pub to_retain: bool,
}

/// The gateway's way to publish and subscribe. Clones are cheap and are the same link.
#[derive(Debug, Clone)]
pub struct Link(Way);

#[derive(Debug, Clone)]
enum Way {
    Embedded(Embedded),
    External(ExternalLink),
}

impl Link {
    pub(crate) fn embedded(
        clients: Arc<Clients>,
        router: Arc<Router>,
        stats: Arc<BrokerStats>,
    ) -> Self {
        Self(Way::Embedded(Embedded { clients, router, stats, bad_topic: Arc::default() }))
    }

    pub(crate) fn external(link: ExternalLink) -> Self {
        Self(Way::External(link))
    }

    /// Publishes one message; see `publish_all`.
    pub fn publish(&self, message: Message<'_>) {
        self.publish_all(std::iter::once(message));
    }

    /// Publishes messages in their order, waking each subscriber once.
    ///
    /// Does not wait itself: whoever publishes much should `wait` on what this answers before it
    /// goes on. With the embedded broker a subscriber that cannot keep up loses its oldest QoS 0
    /// messages, which is counted. To a broker elsewhere messages with QoS 1 or retain go by way of
    /// an outbox on disk, and the others are counted and not sent while it is away. A message whose
    /// topic is no topic name is dropped and logged.
    pub fn publish_all<'a>(&self, messages: impl Iterator<Item = Message<'a>>) -> Crowded {
        match &self.0 {
            Way::Embedded(link) => link.publish_all(messages),
            Way::External(link) => {
                link.publish_all(messages);
                Crowded::default()
            }
        }
    }

    /// Somebody else has cleared this topic's retained message: it must not come again. A broker
    /// elsewhere gets all retained messages anew with each connection, and so has to be told;
    /// the embedded one holds nothing back.
    pub fn forget(&self, topic: &str) {
        if let Way::External(link) = &self.0 {
            let (payload, qos) = (&b""[..], QoS::AtLeastOnce);
            link.publish_all(std::iter::once(Message { topic, payload, qos, retain: true }));
        }
    }

    /// Subscribes to a topic filter. Retained messages come first, and more than once if a topic
    /// changes meanwhile or the connection to a broker elsewhere is made anew.
    ///
    /// # Errors
    /// What is wrong with the filter. Shared subscriptions (`$share/…`) work as for any client.
    pub fn subscribe(&self, filter: &str) -> Result<Subscription, FilterError> {
        self.subscribe_as(filter, false)
    }

    /// The same, for whom it matters what is published just now to be retained: it comes with
    /// [`Received::to_retain`]. A broker elsewhere then says `retained` of it as well, and over MQTT
    /// 3.1.1 neither.
    ///
    /// # Errors
    /// What is wrong with the filter.
    pub fn subscribe_as_published(&self, filter: &str) -> Result<Subscription, FilterError> {
        self.subscribe_as(filter, true)
    }

    fn subscribe_as(&self, filter: &str, published: bool) -> Result<Subscription, FilterError> {
        Ok(Subscription(match &self.0 {
            Way::Embedded(link) => Source::Embedded(link.subscribe(filter)?),
            Way::External(link) => Source::External(link.subscribe(filter, published)?),
        }))
    }
}

/// A subscription of the gateway. Dropping it unsubscribes.
///
/// What waits is bounded like any client's queue (`limits.queued_messages`, `queued_bytes`): the
/// oldest is dropped and counted.
#[derive(Debug)]
pub struct Subscription(Source);

#[derive(Debug)]
enum Source {
    Embedded(EmbeddedSubscription),
    External(ExternalSubscription),
}

impl Subscription {
    /// The next message. `None` would mean that there will be no more; no broker has such an end so
    /// far, and the caller stops by dropping the subscription. Safe to cancel.
    pub async fn recv(&mut self) -> Option<Received> {
        match &mut self.0 {
            Source::Embedded(subscription) => subscription.recv().await,
            Source::External(subscription) => Some(subscription.recv().await),
        }
    }
}

/// The way to the embedded broker.
#[derive(Debug, Clone)]
struct Embedded {
    clients: Arc<Clients>,
    router: Arc<Router>,
    stats: Arc<BrokerStats>,
    bad_topic: Arc<Throttle>,
}

impl Embedded {
    fn publish_all<'a>(&self, messages: impl Iterator<Item = Message<'a>>) -> Crowded {
        let mut count = 0;
        let drafts =
            messages.inspect(|_| count += 1).filter(|message| self.is_publishable(message));
        let drafts = drafts.map(|message| Draft {
            topic: message.topic,
            payload: message.payload,
            qos: message.qos.into(),
            retain: message.retain,
            expiry: None,
            properties: Vec::new(),
        });
        let crowded = self.router.publish_all(drafts, 0);
        BrokerStats::add(&self.stats.messages_from_gateway, count);
        crowded
    }

    fn subscribe(&self, filter: &str) -> Result<EmbeddedSubscription, FilterError> {
        let parsed = Filter::parse(filter)?;
        let session = self.clients.make_local();
        // Without expiry or will; QoS 0 needs no window.
        let attached = session
            .attach(Terms { expiry: 0, owner: Login::default(), will: None, window: 0, via: None })
            .expect("a session that was just made has not ended");
        let grant = Grant {
            qos: packet::QoS::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            id: None,
            screen: None,
        };
        self.router.subscribe(parsed, &session, grant);
        if parsed.share.is_none() {
            session.put_feed(
                attached.generation,
                Feed::new(filter, packet::QoS::AtMostOnce, None, None),
                false,
            );
        }
        Ok(EmbeddedSubscription {
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
        is_publishable(message, &self.bad_topic)
    }
}

/// Whether the topic is one; else that is logged.
pub(crate) fn is_publishable(message: &Message<'_>, bad_topic: &Throttle) -> bool {
    match filter::check_topic(message.topic) {
        Ok(()) => true,
        Err(error) => {
            if let Some(before) = bad_topic.pass() {
                tracing::error!(%error, before, "message of the gateway dropped");
            }
            false
        }
    }
}

#[derive(Debug)]
struct EmbeddedSubscription {
    filter: Box<str>,
    session: Arc<Session>,
    generation: u64,
    router: Arc<Router>,
    ready: VecDeque<Received>,
    batch: Vec<Outgoing>,
    _close: tokio::sync::oneshot::Receiver<super::packet::Reason>,
}

impl EmbeddedSubscription {
    async fn recv(&mut self) -> Option<Received> {
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

impl Drop for EmbeddedSubscription {
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
        let screen = feed.screen.clone();
        let more = router.advance(&mut feed, |publication: &Arc<Publication>| {
            if screen.as_ref().is_some_and(|screen| !screen.passes(publication.topic())) {
                return true;
            }
            // The caller is the one who would be woken.
            session.deliver(Queued {
                publication: Arc::clone(publication),
                qos: qos.min(publication.qos),
                retain: true,
                ids: id.into_iter().collect::<SubscriptionIds>(),
                share: None,
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
        to_retain: item.publication.retain,
    })
}

const RECEIVE_BYTES: usize = 16 * 1024;
/// Pieces of the retained store looked through in one go.
const FEED_PIECES: usize = 8;
