//! The task that listens to devices on the gateway's broker, and speaks to them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use meter_protocols::smartmeter::{Command, Kind, Reply};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::reader::{Elsewhere, Reader, Work};
use super::speaker::{Speaker, WasTold, judged};
use super::streaming::Streaming;
use crate::adapters::fleet::{Arrival, Left, LinkId, Mailbox};
use crate::adapters::smartmeter::meter::MeterState;
use crate::adapters::smartmeter::{EntrySettings, Frame, Plan, Roster, Switchboard, Way};
use crate::broker::{FilterError, Link, Message, QoS, Received};
use crate::bus::Waveforms;
use crate::metrics::Metrics;
use crate::model::Timestamp;
use crate::publish::Authored;
use crate::topic::{DeviceState, DeviceTopics, MeterState as MeterTopic, Topic};

/// Listens until it is stopped.
pub(crate) struct Listener {
    bases: Vec<Arc<DeviceTopics>>,
    /// Where devices are taken in that no entry names.
    open: Option<LinkId>,
    surroundings: Surroundings,
    shared: OnBroker,
    /// Opened before anybody can publish; made anew should the task fail.
    inbox: Mutex<Option<Inbox>>,
}

/// What it has in common with other parts.
#[derive(Debug, Clone)]
pub(crate) struct OnBroker {
    /// The gateway's broker.
    pub(crate) link: Link,
    /// Whose messages are the gateway's own.
    pub(crate) authored: Authored,
    /// Where commands find their way.
    pub(crate) switchboard: Switchboard,
    /// Which entry a device has.
    pub(crate) roster: Roster,
    /// Where frames go.
    pub(crate) mailbox: Mailbox<Frame>,
    /// Where samples go.
    pub(crate) waveforms: Waveforms,
    /// The gateway's numbers.
    pub(crate) metrics: Metrics,
}

/// What is known of devices from elsewhere.
#[derive(Debug)]
struct Surroundings {
    switchboard: Switchboard,
    roster: Roster,
    entries: Vec<Arc<EntrySettings>>,
    /// Heard in earlier runs.
    kept: HashSet<String>,
    link: LinkId,
}

impl Elsewhere for Surroundings {
    fn connected(&self, device: &str) -> Option<Kind> {
        let (way, kind) = self.switchboard.best(device)?;
        (way == Way::Connection).then_some(kind)
    }

    fn known(&self, device: &str) -> bool {
        let is_named = |entry: &Arc<EntrySettings>| match entry.serial.as_deref() {
            Some(serial) => serial == device,
            None => *entry.name == *device,
        };
        self.kept.contains(device) || self.entries.iter().any(is_named)
    }

    fn entry(&self, device: &str) -> Arc<EntrySettings> {
        self.roster.entry(device, self.link)
    }
}

impl Listener {
    /// Listens for the devices of `plan`; `None`: there are no entries for any.
    ///
    /// # Errors
    /// When a first level of the configuration makes no filter.
    pub(crate) fn new(
        plan: &Plan,
        left: &Left,
        shared: OnBroker,
    ) -> Result<Option<Listener>, FilterError> {
        if plan.entries.is_empty() {
            return Ok(None);
        }
        let bases: Vec<Arc<DeviceTopics>> =
            plan.base_topics.iter().map(|base| Arc::new(DeviceTopics::new(base))).collect();
        let kept = left.states::<MeterState>().into_iter().map(|(serial, _)| serial);
        let surroundings = Surroundings {
            switchboard: shared.switchboard.clone(),
            roster: shared.roster.clone(),
            entries: plan.entries.clone(),
            kept: kept.collect(),
            link: plan.broker.unwrap_or(LinkId(usize::MAX)),
        };
        let inbox = Mutex::new(Some(Inbox::open(&shared.link, &bases)?));
        Ok(Some(Listener { bases, open: plan.broker, surroundings, shared, inbox }))
    }

    /// Listens until `stop`.
    ///
    /// # Errors
    /// When a topic cannot be subscribed to.
    pub(crate) async fn run(&self, stop: CancellationToken) -> Result<(), FilterError> {
        let shared = &self.shared;
        let kept = self.inbox.lock().take();
        let mut inbox = kept.map_or_else(|| Inbox::open(&shared.link, &self.bases), Ok)?;
        let (authored, metrics) = (shared.authored.clone(), shared.metrics.clone());
        let mut reader = Reader::new(self.bases.clone(), self.open.is_some(), authored, metrics);
        let (told, mut looks) = mpsc::channel(LOOKS);
        let mut speakers = Speakers::new(told, stop.child_token());
        let mut streaming = Streaming::new(shared.waveforms.clone(), shared.metrics.clone());
        let mut tick = interval(Duration::from_millis(250));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(received) = inbox.queue.recv() => {
                    reader.take(&received, Instant::now(), &self.surroundings);
                }
                Some((name, rate)) = looks.recv() => match rate {
                    Some(rate) => streaming.expect(&name, rate),
                    None => reader.look_again(&name, Instant::now()),
                },
                Some(ended) = speakers.tasks.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "the commands of a meter failed");
                },
                _ = tick.tick() => {
                    reader.tick(Instant::now(), &self.surroundings);
                    let frames = streaming.tick(Instant::now());
                    self.begin_streams(&mut speakers, &mut streaming);
                    if !self.hand_on(frames).await {
                        return Ok(());
                    }
                }
            }
            for work in reader.take_work() {
                if !self.perform(work, &mut speakers, &mut streaming).await {
                    return Ok(());
                }
            }
        }
        for (name, spoken) in streaming.begun().filter_map(|name| speakers.all.get_key_value(name))
        {
            let (topic, payload) = (spoken.topics.command(name), Command::stop().json());
            let (payload, qos) = (payload.as_bytes(), QoS::AtMostOnce);
            shared.link.publish(Message { topic: &topic, payload, qos, retain: false });
        }
        speakers.finish().await;
        Ok(())
    }

    /// Answers whether anybody is left to work for.
    async fn perform(
        &self,
        work: Work,
        speakers: &mut Speakers,
        streaming: &mut Streaming,
    ) -> bool {
        match work {
            Work::Frame(frame) => return self.hand_on(vec![*frame]).await,
            Work::Streamed(name, kind, sample) => {
                let entry = self.shared.roster.entry(&name, self.surroundings.link);
                let frames = streaming.take(&name, kind, &entry, &sample, Instant::now());
                return self.hand_on(frames).await;
            }
            Work::StreamOver(name) => return self.hand_on(streaming.end(&name)).await,
            Work::Arrived(name, kind, topics) => speakers.add(&self.shared, name, kind, topics),
            Work::Left(name) => {
                speakers.all.remove(&name);
                return self.hand_on(streaming.end(&name)).await;
            }
            Work::Replied(name, reply) => {
                let speaker = speakers.all.get(&name);
                match speaker.filter(|one| *one.waits_for.lock() == reply.cmd) {
                    // Full, nobody waits for them.
                    Some(speaker) => drop(speaker.replies.try_send(reply)),
                    // To somebody else, who may wait at the router.
                    None => {
                        let cmd = reply.cmd.clone();
                        self.shared.authored.guests().reply(&name, cmd, judged(reply));
                    }
                }
            }
            Work::Ask(topic) => {
                let (payload, qos) = (&b"?"[..], QoS::AtMostOnce);
                self.shared.link.publish(Message { topic: &topic, payload, qos, retain: false });
            }
            Work::Unhidden(name, closed) => {
                let topic = Topic::Meter(name.to_string(), MeterTopic::Switch).to_string();
                let payload = if closed { &b"true"[..] } else { b"false" };
                let qos = QoS::AtLeastOnce;
                self.shared.link.publish(Message { topic: &topic, payload, qos, retain: true });
            }
        }
        true
    }

    /// Answers whether anybody is left to work for.
    async fn hand_on(&self, frames: Vec<Frame>) -> bool {
        let link = self.surroundings.link;
        for frame in frames {
            let arrival = Arrival { link, at: Timestamp::now(), frame: Box::new(frame) };
            if self.shared.mailbox.send(arrival).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Has those sample by messages whose entries say so.
    fn begin_streams(&self, speakers: &mut Speakers, streaming: &mut Streaming) {
        for (name, spoken) in &speakers.all {
            let entry = self.shared.roster.entry(name, self.surroundings.link);
            let Some(command) = streaming.due(name, spoken.kind, &entry, Instant::now()) else {
                continue;
            };
            let (board, name) = (self.shared.switchboard.clone(), Arc::clone(name));
            speakers.tasks.spawn(async move {
                // A long reply never arrives over MQTT: the samples themselves are the answer.
                if let Err(error) = board.ask(&name, Way::Broker, command).await {
                    tracing::debug!(serial = &*name, %error, "no answer to sample by messages");
                }
            });
        }
    }
}

/// Those who speak to devices.
struct Speakers {
    tasks: JoinSet<()>,
    all: HashMap<Arc<str>, Spoken>,
    told: mpsc::Sender<WasTold>,
    stop: CancellationToken,
}

/// The way to one of them; it ends with this.
struct Spoken {
    kind: Kind,
    topics: Arc<DeviceTopics>,
    replies: mpsc::Sender<Reply>,
    waits_for: Arc<Mutex<Option<String>>>,
    _ends: DropGuard,
}

impl Speakers {
    fn new(told: mpsc::Sender<WasTold>, stop: CancellationToken) -> Speakers {
        Speakers { tasks: JoinSet::new(), all: HashMap::new(), told, stop }
    }

    fn add(&mut self, shared: &OnBroker, name: Arc<str>, kind: Kind, topics: Arc<DeviceTopics>) {
        let registration = shared.switchboard.register(Way::Broker, &name, kind, "the broker");
        let (sender, replies) = mpsc::channel(REPLIES);
        let (link, told, stop) = (shared.link.clone(), self.told.clone(), self.stop.child_token());
        let waits_for = Arc::<Mutex<Option<String>>>::default();
        let speaker = Speaker {
            name: Arc::clone(&name),
            kind,
            topics: Arc::clone(&topics),
            link,
            replies,
            told,
            waits_for: Arc::clone(&waits_for),
        };
        self.tasks.spawn(speaker.run(registration, stop.clone()));
        let ends = stop.drop_guard();
        self.all.insert(name, Spoken { kind, topics, replies: sender, waits_for, _ends: ends });
    }

    async fn finish(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// What was published on the topics of devices. Dropping it unsubscribes.
#[derive(Debug)]
struct Inbox {
    queue: mpsc::Receiver<Received>,
    _tasks: JoinSet<()>,
}

impl Inbox {
    fn open(link: &Link, bases: &[Arc<DeviceTopics>]) -> Result<Inbox, FilterError> {
        let (sender, queue) = mpsc::channel(INBOX);
        let mut tasks = JoinSet::new();
        for base in bases {
            for state in DeviceState::ALL {
                let mut subscription = link.subscribe(&base.filter(state))?;
                let sender = sender.clone();
                tasks.spawn(async move {
                    while let Some(received) = subscription.recv().await {
                        if sender.send(received).await.is_err() {
                            break;
                        }
                    }
                });
            }
        }
        Ok(Inbox { queue, _tasks: tasks })
    }
}

/// Messages that wait between subscriptions and the reader; what is beyond waits in the subscriptions.
const INBOX: usize = 256;
/// Replies of one device that wait.
const REPLIES: usize = 16;
/// Devices that were told something and wait to be looked at.
const LOOKS: usize = 64;
