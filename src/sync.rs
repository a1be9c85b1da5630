//! History on demand over MQTT, as a Fluksometer gives it: somebody says what he has, and gets the
//! blocks that he lacks.
//!
//! One task listens; each request becomes a job, and jobs take turns by a few blocks at a time, so
//! that whoever wants everything of a thousand sensors delays nobody by more than that. What a job
//! publishes waits for subscribers as everything does that the gateway publishes.

mod job;
mod request;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::job::{Job, Work};
use self::request::BadRequest;
use crate::broker::{FilterError, Link, Message, QoS, Received};
use crate::bus::Queue;
use crate::command::directory::Directory;
use crate::history::History;
use crate::log::{Allowance, shortened};
use crate::metrics::Metrics;
use crate::model::{Device, DeviceId, Update};
use crate::topic::SyncTopic;

/// Answers requests for history; see [`run`](Librarian::run).
#[derive(Debug)]
pub struct Librarian {
    link: Link,
    directory: Arc<Directory>,
    history: History,
    metrics: Metrics,
    updates: Arc<Queue<Update>>,
    /// Opened before anybody can publish; anew when this starts again.
    inbox: tokio::sync::Mutex<Option<Inbox>>,
    /// Meters that were offered.
    offered: Mutex<HashSet<DeviceId>>,
    failures: Arc<Mutex<Allowance>>,
}

/// Why requests cannot be listened to any more.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// A topic cannot be subscribed to.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// All subscriptions ended.
    #[error("the subscriptions for requests of history ended")]
    Ended,
}

impl Librarian {
    /// Has subscribed then, so that nothing is missed until it runs. `updates`: tells of meters that
    /// appear.
    ///
    /// # Errors
    /// [`SyncError::Filter`] when the topics cannot be subscribed to.
    pub fn new(
        link: Link,
        directory: Arc<Directory>,
        history: History,
        updates: Arc<Queue<Update>>,
        metrics: Metrics,
    ) -> Result<Librarian, SyncError> {
        let inbox = tokio::sync::Mutex::new(Some(Inbox::open(&link)?));
        let (offered, failures) = (Mutex::default(), Arc::default());
        Ok(Librarian { link, directory, history, metrics, updates, inbox, offered, failures })
    }

    /// Answers until `stop`. What is being answered then is broken off: whoever asked asks again.
    ///
    /// # Errors
    /// When a subscription cannot be made or ends, which none does by itself.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), SyncError> {
        let mut inbox = match self.inbox.lock().await.take() {
            Some(inbox) => inbox,
            None => Inbox::open(&self.link)?,
        };
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let (mut jobs, mut notices, mut news) =
            (JoinSet::new(), Notices::default(), VecDeque::new());
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(ended) = jobs.join_next() => see_off(ended),
                open = self.updates.drain(&mut news) => {
                    if !open {
                        return Ok(());
                    }
                    news.drain(..).for_each(|update| self.meet(&update));
                }
                received = inbox.queue.recv(), if jobs.len() < JOBS => {
                    let received = received.ok_or(SyncError::Ended)?;
                    if let Some(work) = self.read(&received, &mut notices) {
                        self.metrics.history_requests.increment();
                        jobs.spawn(self.job(work, &turns).run());
                    }
                }
            }
        }
    }

    fn job(&self, work: Work, turns: &Arc<Semaphore>) -> Job {
        Job {
            work,
            link: self.link.clone(),
            history: self.history.clone(),
            metrics: self.metrics.clone(),
            turns: Arc::clone(turns),
            failures: Arc::clone(&self.failures),
        }
    }

    /// A meter that is heard for the first time is offered, as a Fluksometer does when it starts.
    fn meet(&self, update: &Update) {
        let device = match update {
            Update::Readings(set) => &set.device,
            Update::Described(device) => device,
            Update::Forgotten { device, .. } => {
                self.offered.lock().remove(device);
                return;
            }
            Update::Backlog(_)
            | Update::Availability { .. }
            | Update::Relay { .. }
            | Update::Correction(_)
            | Update::Renamed { .. }
            | Update::Notice(_) => return,
        };
        if speaks_for_itself(device) || !self.offered.lock().insert(device.id) {
            return;
        }
        let topic = SyncTopic::Offer(device.id).to_string();
        let (qos, retain) = (QoS::AtMostOnce, false);
        self.link.publish(Message { topic: &topic, payload: b"", qos, retain });
    }

    /// What a message asks for, if it is for us to answer.
    fn read(&self, received: &Received, notices: &mut Notices) -> Option<Work> {
        let topic: SyncTopic = received.topic.parse().ok()?;
        if received.retained || received.to_retain {
            if let Some(held_back) = notices.retained.pass() {
                let topic = shortened(&received.topic);
                tracing::warn!(
                    topic,
                    held_back,
                    "retained request for history ignored: publish it without retain"
                );
            }
            return None;
        }
        let outcome = match topic {
            SyncTopic::Request(device) => {
                // On a broker that others share there are meters that answer for themselves.
                let heard = self.directory.device(device).map(|heard| Arc::clone(&heard.device));
                let device = heard.or_else(|| self.history.meter(device))?;
                if speaks_for_itself(&device) {
                    return None;
                }
                request::list(&received.payload).map(|(wanted, bad)| {
                    if let Some(bad) = &bad {
                        self.complain(received, bad, notices);
                    }
                    let ours: HashSet<_> = device.sensors.iter().map(|sensor| sensor.id).collect();
                    let wanted = wanted.into_iter().filter(|one| ours.contains(&one.sensor));
                    Work::Sync(wanted.collect())
                })
            }
            SyncTopic::Query(sensor) => {
                request::span(&received.payload).map(|(from, to)| Work::Query { sensor, from, to })
            }
            SyncTopic::Offer(_) | SyncTopic::Answer(..) => return None,
        };
        outcome.map_err(|bad| self.complain(received, &bad, notices)).ok()
    }

    fn complain(&self, received: &Received, bad: &BadRequest, notices: &mut Notices) {
        self.metrics.history_requests_refused.increment();
        if let Some(held_back) = notices.malformed.pass() {
            let (topic, error) = (shortened(&received.topic), shortened(&bad.to_string()));
            tracing::warn!(topic, error, held_back, "a request for history is malformed");
        }
    }
}

/// A Fluksometer that publishes on our own broker answers for its history there itself.
fn speaks_for_itself(device: &Device) -> bool {
    device.own.as_ref().is_some_and(|own| own.on_our_broker)
}

fn see_off(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a request for history failed; the others go on");
    }
}

/// What was published on the topics of requests. Dropping it unsubscribes.
#[derive(Debug)]
struct Inbox {
    queue: mpsc::Receiver<Received>,
    _tasks: JoinSet<()>,
}

impl Inbox {
    fn open(link: &Link) -> Result<Inbox, FilterError> {
        let (sender, queue) = mpsc::channel(INBOX);
        let mut tasks = JoinSet::new();
        for filter in [SyncTopic::REQUESTS, SyncTopic::QUERIES] {
            let mut subscription = link.subscribe_as_published(filter)?;
            let sender = sender.clone();
            tasks.spawn(async move {
                while let Some(received) = subscription.recv().await {
                    if sender.send(received).await.is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Inbox { queue, _tasks: tasks })
    }
}

/// Bounds of what others can make the gateway say.
#[derive(Default)]
struct Notices {
    retained: Allowance,
    malformed: Allowance,
}

/// Requests that are answered side by side; the next ones wait where they came in.
const JOBS: usize = 64;
/// Jobs that read and publish at the same time.
const AT_ONCE: usize = 2;
/// Messages between subscriptions and the task; what is beyond waits in the subscriptions.
const INBOX: usize = 16;
