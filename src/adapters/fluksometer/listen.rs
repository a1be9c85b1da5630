//! The tasks that feed readers: one for each link.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use meter_protocols::flukso::Id;
use meter_protocols::flukso::topic::Topic;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::documents::State;
use super::local::Local;
use super::meter::Frame;
use super::past::{Ask, Past};
use super::reader::{Claims, Reader};
use super::settings::{Plan, Source};
use crate::adapters::fleet::{Arrival, Left, LinkId, Mailbox};
use crate::broker::{
    ExternalError, FilterError, Guest, GuestLink, GuestSubscription, Link, Message, QoS, Received,
    Subscription,
};
use crate::history::History;
use crate::metrics::Metrics;
use crate::model::Timestamp;
use crate::publish::Authored;

/// Listens on one link until it is stopped.
pub(crate) struct Listener {
    place: usize,
    source: Source,
    shared: Shared,
    /// What earlier runs left of devices, of all links.
    states: Arc<Vec<(Id, State)>>,
    /// On the gateway's broker they are open from the start; made anew should the task fail.
    inboxes: Mutex<Option<Inboxes>>,
}

/// The subscriptions of one link.
struct Inboxes {
    said: [Inbox; 5],
    blocks: Inbox,
}

/// What all listeners share.
#[derive(Clone)]
pub(crate) struct Shared {
    link: Link,
    authored: Authored,
    mailbox: Mailbox<Frame>,
    history: Option<History>,
    metrics: Metrics,
    claims: Claims,
}

impl Shared {
    /// Without histories.
    pub(crate) fn new(
        link: Link,
        authored: Authored,
        mailbox: Mailbox<Frame>,
        metrics: Metrics,
    ) -> Shared {
        Shared { link, authored, mailbox, history: None, metrics, claims: Claims::default() }
    }

    /// Hands what Fluksometers have kept themselves to `history`.
    pub(crate) fn with_history(self, history: Option<History>) -> Shared {
        Shared { history, ..self }
    }
}

/// Why a link cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// A filter is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The connection cannot be made at all.
    #[error(transparent)]
    Connection(#[from] ExternalError),
}

/// The listeners for a plan, and which devices are known by an entry of their own.
///
/// # Errors
/// When the gateway's broker cannot be subscribed to.
pub(crate) fn listeners(
    plan: &Plan,
    left: &Left,
    mut shared: Shared,
) -> Result<Vec<Listener>, FilterError> {
    let states = left.states::<State>().into_iter();
    let states: Vec<(Id, State)> =
        states.filter_map(|(serial, state)| Some((serial.parse().ok()?, state))).collect();
    let named = plan
        .meters
        .iter()
        .filter_map(|meter| Some((meter.serial.as_deref()?.parse().ok()?, meter.link.0)));
    let kept = states.iter().filter_map(|(id, state)| {
        let place = plan.links.iter().position(|link| link.key() == state.link)?;
        Some((*id, place))
    });
    // An entry says more than the disk.
    let claims: HashMap<Id, usize> = kept.collect::<Vec<_>>().into_iter().chain(named).collect();
    shared.claims = Arc::new(Mutex::new(claims));
    let states = Arc::new(states);
    let links = plan.links.iter().enumerate();
    links
        .map(|(place, source)| {
            let ours = source.is_ours().then(|| Way::Ours(shared.link.clone()).inboxes());
            Ok(Listener {
                place,
                source: source.clone(),
                shared: shared.clone(),
                states: Arc::clone(&states),
                inboxes: Mutex::new(ours.transpose()?),
            })
        })
        .collect()
}

impl Listener {
    /// What the task is called.
    pub(crate) fn name(&self) -> String {
        match &self.source {
            Source::Ours => "fluksometers on the broker".to_owned(),
            Source::Broker(settings) => {
                format!("fluksometer at {}:{}", settings.host, settings.port)
            }
            Source::Local { address, .. } => format!("fluksometer at {address}"),
        }
    }

    /// Listens until `stop`.
    ///
    /// # Errors
    /// When that is not possible at all; that a Fluksometer is away is no such reason.
    pub(crate) async fn run(&self, stop: CancellationToken) -> Result<(), ListenError> {
        match &self.source {
            Source::Ours => {
                let way = Way::Ours(self.shared.link.clone());
                // There for as long as the gateway.
                let (_there, connection) = watch::channel(1);
                self.listen(way, connection, &stop).await
            }
            Source::Broker(settings) => {
                let guest = Guest::new(settings.clone())?;
                let (way, connection) = (Way::Theirs(guest.link()), guest.link().connection());
                // The connection says goodbye, and with it everything ends.
                let never = CancellationToken::new();
                tokio::select! {
                    () = guest.run(stop.clone()) => Ok(()),
                    ended = self.listen(way, connection, &never) => ended,
                }
            }
            Source::Local { address, sensors, interval, serial } => {
                let local = Local::new(address, sensors, *interval, serial);
                local.ask(LinkId(self.place), &self.shared.mailbox, &stop).await;
                Ok(())
            }
        }
    }

    async fn listen(
        &self,
        way: Way,
        connection: watch::Receiver<u64>,
        stop: &CancellationToken,
    ) -> Result<(), ListenError> {
        let shared = &self.shared;
        let mut reader = Reader::new(
            self.place,
            self.source.key(),
            self.source.is_ours(),
            Arc::clone(&shared.claims),
            shared.authored.clone(),
            shared.metrics.clone(),
        );
        reader.remember(&self.states);
        let kept = self.inboxes.lock().take();
        let Inboxes { said, blocks } = kept.map_or_else(|| way.inboxes(), Ok)?;
        let (asks, mut asked) = mpsc::channel(ASKS);
        let Some(history) = shared.history.clone() else {
            drop(blocks);
            self.read(reader, said, connection, &asks, stop).await;
            return Ok(());
        };
        let past = Past {
            history,
            recorded: reader.recorded(),
            way: way.clone(),
            metrics: shared.metrics.clone(),
        };
        let again = connection.clone();
        tokio::join!(
            self.read(reader, said, connection, &asks, stop),
            past.run(blocks, &mut asked, again, stop),
        );
        Ok(())
    }

    async fn read(
        &self,
        mut reader: Reader,
        mut inboxes: [Inbox; 5],
        mut connection: watch::Receiver<u64>,
        asks: &mpsc::Sender<Ask>,
        stop: &CancellationToken,
    ) {
        let mut tick = interval(Duration::from_millis(250));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                received = next(&mut inboxes) => {
                    let now = Timestamp::now();
                    reader.take(&received, now);
                    // What has come meanwhile mostly belongs to the same second.
                    for _ in 0..MOST_AT_ONCE {
                        let Some(received) = next(&mut inboxes).now_or_never() else { break };
                        reader.take(&received, now);
                    }
                }
                Ok(()) = connection.changed() => {
                    let there = *connection.borrow_and_update() > 0;
                    if !there {
                        // What was said before the loss does not bring a device back.
                        let now = Timestamp::now();
                        while let Some(received) = next(&mut inboxes).now_or_never() {
                            reader.take(&received, now);
                        }
                    }
                    reader.connected(there);
                }
                _ = tick.tick(), if reader.is_holding() => {}
            }
            let at = Timestamp::now();
            let (frames, questions) = reader.flush(at);
            for frame in frames {
                let arrival = Arrival { link: LinkId(self.place), at, frame: Box::new(frame) };
                if self.shared.mailbox.send(arrival).await.is_err() {
                    return;
                }
            }
            for question in questions {
                // Full, it is asked again when the device speaks up anew.
                let _ = asks.try_send(question);
            }
        }
    }
}

/// The next message of any inbox. Safe to cancel; never returns when all have ended.
async fn next([a, b, c, d, e]: &mut [Inbox; 5]) -> Received {
    tokio::select! {
        Some(received) = a.recv() => received,
        Some(received) = b.recv() => received,
        Some(received) = c.recv() => received,
        Some(received) = d.recv() => received,
        Some(received) = e.recv() => received,
        else => std::future::pending().await,
    }
}

/// The way to a broker.
#[derive(Debug, Clone)]
pub(super) enum Way {
    Ours(Link),
    Theirs(GuestLink),
}

/// A subscription at a broker.
#[derive(Debug)]
pub(super) enum Inbox {
    Ours(Subscription),
    Theirs(GuestSubscription),
}

impl Way {
    /// For whoever listens now: QoS 0, not retained.
    pub(super) fn publish(&self, topic: &str, payload: &[u8]) {
        match self {
            Way::Ours(link) => {
                link.publish(Message { topic, payload, qos: QoS::AtMostOnce, retain: false });
            }
            Way::Theirs(link) => link.publish(topic, payload),
        }
    }

    fn inboxes(&self) -> Result<Inboxes, FilterError> {
        let [a, b, c, d, e] = Topic::FILTERS.map(|filter| self.subscribe(filter));
        Ok(Inboxes { said: [a?, b?, c?, d?, e?], blocks: self.subscribe(Topic::BLOCKS)? })
    }

    fn subscribe(&self, filter: &str) -> Result<Inbox, FilterError> {
        Ok(match self {
            Way::Ours(link) => Inbox::Ours(link.subscribe(filter)?),
            Way::Theirs(link) => Inbox::Theirs(link.subscribe(filter)?),
        })
    }
}

impl Inbox {
    /// The next message; `None`: there will be no more. Safe to cancel.
    pub(super) async fn recv(&mut self) -> Option<Received> {
        match self {
            Inbox::Ours(subscription) => subscription.recv().await,
            Inbox::Theirs(subscription) => Some(subscription.recv().await),
        }
    }
}

/// Questions that may wait.
const ASKS: usize = 64;
/// Messages that are taken before what they came to is handed on.
const MOST_AT_ONCE: usize = 512;
