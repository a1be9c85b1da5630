//! The task that listens to meters, Home Assistant and users, keeps what must be kept, and publishes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::announcer::Work;
use super::document::Platform;
use super::kept::{Change, Kept};
use super::{Announcer, OfferError, Settings};
use crate::broker::{Crowded, FilterError, Link, Message, QoS, Received};
use crate::bus::Queue;
use crate::error::chain;
use crate::model::{Timestamp, Update};
use crate::store::Store;
use crate::topic::{BridgeTopic, DiscoveryTopics, Topic};

/// Everything the task needs; made before the broker serves anybody, so that nothing is missed.
#[derive(Debug)]
pub struct Office {
    link: Link,
    announcer: Announcer,
    store: Option<Store>,
    inbox: mpsc::Receiver<Said>,
    _listening: JoinSet<()>,
    offers: mpsc::Receiver<Offer>,
    status: String,
    overview: String,
    /// When it was shown last.
    shown: Option<Instant>,
}

/// The way in for whoever offers again what was deleted in Home Assistant.
#[derive(Debug, Clone)]
pub struct Offers(mpsc::Sender<Offer>);

#[derive(Debug)]
struct Offer {
    device: Option<String>,
    reply: oneshot::Sender<Result<Vec<String>, OfferError>>,
}

impl Offers {
    /// See [`Announcer::offer`].
    ///
    /// # Errors
    /// See there.
    pub async fn offer(&self, device: Option<String>) -> Result<Vec<String>, OfferError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.0.send(Offer { device, reply }).await;
        sent.map_err(|_| OfferError::Lost)?;
        answer.await.unwrap_or(Err(OfferError::Lost))
    }
}

/// Something that was published.
#[derive(Debug)]
struct Said(Received);

impl Office {
    /// Goes on from what `data_dir` keeps, and announces what is known.
    ///
    /// # Errors
    /// When the topics cannot be subscribed to.
    pub async fn open(
        link: Link,
        settings: Settings,
        data_dir: &Path,
    ) -> Result<(Office, Offers), FilterError> {
        let (store, kept) = load(data_dir);
        let topics = DiscoveryTopics::new(&*settings.prefix);
        let status = topics.status();
        let mut filters = Vec::new();
        if settings.form.is_some() {
            filters.push(status.clone());
            filters.extend(topics.filters(Platform::ALL.iter().map(|one| one.as_str())));
        }
        let (sender, inbox) = mpsc::channel(INBOX);
        let (offers, offered) = mpsc::channel(1);
        let mut listening = JoinSet::new();
        for filter in filters {
            let (mut subscription, sender) = (link.subscribe(&filter)?, sender.clone());
            listening.spawn(async move {
                while let Some(received) = subscription.recv().await {
                    if sender.send(Said(received)).await.is_err() {
                        break;
                    }
                }
            });
        }
        let announcer = Announcer::new(settings, kept);
        let mut office = Office {
            link,
            announcer,
            store,
            inbox,
            _listening: listening,
            offers: offered,
            status,
            overview: String::new(),
            shown: None,
        };
        office.announcer.begin(Instant::now());
        office.settle().await;
        Ok((office, Offers(offers)))
    }

    fn take(&mut self, update: &Update) {
        let now = Instant::now();
        match update {
            Update::Readings(set) => self.announcer.readings(set, now),
            Update::Described(device) => self.announcer.described(device, now),
            Update::Forgotten { device, .. } => self.announcer.forget(*device, now),
            Update::Availability { .. }
            | Update::Relay { .. }
            | Update::Correction(_)
            | Update::Renamed { .. }
            | Update::Notice(_)
            | Update::Backlog(_) => {}
        }
    }

    fn hear(&mut self, Said(received): &Said) {
        let now = Instant::now();
        if *received.topic == *self.status {
            // What is retained says what was true once. At the start and after each connection
            // everything goes out anyway.
            match &*received.payload {
                _ if received.retained => {}
                b"online" => self.announcer.status(true, now, delay()),
                b"offline" => self.announcer.status(false, now, Duration::ZERO),
                _ => {}
            }
        } else {
            self.announcer.published(&received.topic, &received.payload, now);
        }
    }

    /// Does what the announcer wants done, and shows what there is to see.
    async fn settle(&mut self) {
        let work = self.announcer.take_work();
        if work != Work::default() {
            self.keep(work.first).await;
            for message in &work.messages {
                // A document may have a hundred kilobytes, and there is one for each meter.
                self.publish(&message.topic, &message.payload, QoS::AtLeastOnce, true).wait().await;
            }
            for topic in &work.forget {
                self.link.forget(topic);
            }
            self.keep(work.then).await;
            for mut event in work.events {
                event["ts"] = json!(Timestamp::now().seconds());
                tracing::info!(message = event["message"].as_str(), "home assistant");
                let topic = Topic::Bridge(BridgeTopic::Event).to_string();
                self.publish(&topic, &event.to_string(), QoS::AtMostOnce, false).wait().await;
            }
        }
        if self.overview_due().is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.shown = Some(Instant::now());
        let overview = self.announcer.take_overview().map(|overview| overview.to_string());
        if let Some(overview) = overview.filter(|overview| *overview != self.overview) {
            let topic = Topic::Bridge(BridgeTopic::HomeAssistant).to_string();
            self.publish(&topic, &overview, QoS::AtLeastOnce, true).wait().await;
            self.overview = overview;
        }
    }

    /// When there is something new to show. It tells of all meters, so many that come at once are
    /// not shown one by one.
    fn overview_due(&self) -> Option<Instant> {
        let due = self.shown.map_or_else(Instant::now, |shown| shown + OVERVIEW_INTERVAL);
        self.announcer.has_news().then_some(due)
    }

    fn publish(&self, topic: &str, payload: &str, qos: QoS, retain: bool) -> Crowded {
        let message = Message { topic, payload: payload.as_bytes(), qos, retain };
        self.link.publish_all(std::iter::once(message))
    }

    async fn keep(&mut self, changes: Vec<Change>) {
        let Some(mut store) = self.store.take_if(|_| !changes.is_empty()) else { return };
        let write = move || {
            let outcome = store.change_discovery(&changes);
            (store, outcome)
        };
        let failure = match tokio::task::spawn_blocking(write).await {
            Ok((store, outcome)) => {
                self.store = Some(store);
                outcome.err().map(|error| chain(&error))
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = failure {
            tracing::error!(
                error,
                "what home assistant was told cannot be kept: after a restart it may be told again"
            );
        }
    }
}

/// Announces until the bus is closed.
///
/// # Errors
/// None.
pub async fn run(mut office: Office, updates: Arc<Queue<Update>>) -> Result<(), Infallible> {
    let mut waiting = VecDeque::new();
    loop {
        let due = [office.announcer.deadline(), office.overview_due()];
        let deadline = due.into_iter().flatten().min();
        tokio::select! {
            open = updates.drain(&mut waiting) => {
                waiting.drain(..).for_each(|update| office.take(&update));
                if !open {
                    return Ok(());
                }
            }
            Some(said) = office.inbox.recv() => office.hear(&said),
            Some(Offer { device, reply }) = office.offers.recv() => {
                let outcome = office.announcer.offer(device.as_deref(), Instant::now());
                office.settle().await;
                // Whoever asked may have gone.
                let _ = reply.send(outcome);
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                office.announcer.timeout(Instant::now());
            }
        }
        office.settle().await;
    }
}

/// What is on disk; without a disk it is as if nothing had ever been announced.
fn load(data_dir: &Path) -> (Option<Store>, Kept) {
    let opened = Store::open(data_dir).and_then(|store| Ok((store.discovery()?, store)));
    match opened {
        Ok((kept, store)) => (Some(store), kept),
        Err(error) => {
            tracing::error!(error = chain(&error), "what home assistant was told cannot be read");
            (None, Kept::default())
        }
    }
}

/// How long to wait after Home Assistant has said that it is there: it has much to do then.
fn delay() -> Duration {
    Duration::from_millis(fastrand::u64(500..8000))
}

/// The shortest time between two overviews.
const OVERVIEW_INTERVAL: Duration = Duration::from_secs(2);
/// Messages that may wait; who publishes more waits in the gateway's subscription.
const INBOX: usize = 256;
