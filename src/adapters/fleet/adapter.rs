//! The owner of all meters of one make: frames in, readings and availability out.

use std::collections::{HashMap, hash_map};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::entries::{Entries, Reason};
use super::settings::{LinkId, MeterSettings};
use super::{Meter, Presence, kept};
use crate::command::directory::Expected;
use crate::ledger::{Entry, LedgerQueue};
use crate::metrics::Metrics;
use crate::model::{Make, Timestamp, Update};
use crate::registry::Registry;
use crate::registry::change::{Asked, ChangesIn};
use crate::store::{MeterRow, Store, StoreError};

/// A frame, as a connection hands it over.
#[derive(Debug)]
pub struct Arrival<F> {
    /// The link it came by.
    pub link: LinkId,
    /// When it was complete, by the gateway's clock.
    pub at: Timestamp,
    /// The frame.
    pub frame: Box<F>,
}

/// Where connections leave frames. Full, it makes them wait: the adapter itself waits for
/// nothing that a meter or a subscriber could hold up.
pub type Mailbox<F> = mpsc::Sender<Arrival<F>>;

/// What the adapter needs; kept apart from [`run`](Adapter::run) so that it can be started again.
#[derive(Debug)]
pub(crate) struct Adapter<M: Meter> {
    settings: Vec<MeterSettings>,
    intake: Mutex<Intake<M::Frame>>,
    ledger: LedgerQueue,
    metrics: Metrics,
}

#[derive(Debug)]
struct Intake<F> {
    arrivals: mpsc::Receiver<Arrival<F>>,
    changes: mpsc::Receiver<Asked>,
}

/// What earlier runs have left on disk.
#[derive(Debug)]
pub struct Left {
    /// The state of every meter that was ever heard.
    pub rows: Vec<MeterRow>,
    /// What requests have changed.
    pub registry: Registry,
}

impl Left {
    /// Reads it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn load(store: &Store, make: Make) -> Result<Left, StoreError> {
        let rows = store.meters(make)?;
        Ok(Left { rows, registry: Registry::load(store, make)? })
    }

    /// The state of each meter that can be read, by serial number.
    pub(crate) fn states<S: serde::de::DeserializeOwned>(&self) -> Vec<(String, S)> {
        let read = |row: &MeterRow| match kept::read(row)? {
            kept::Kept::Same(state) | kept::Kept::Handed(state) => {
                Some((row.serial.clone(), state))
            }
        };
        self.rows.iter().filter_map(read).collect()
    }

    /// Who has each entry before anybody was heard.
    pub(crate) fn owners(&self, settings: &[MeterSettings]) -> Vec<Option<Arc<str>>> {
        let entries = Entries::new(settings, &self.rows, self.registry.clone());
        entries.entries.into_iter().map(|entry| entry.taken_by).collect()
    }

    /// The meters that can be expected, by name and by serial number where that is known.
    pub fn expected(&self, settings: &[MeterSettings]) -> Vec<Expected> {
        Entries::new(settings, &self.rows, self.registry.clone()).expected()
    }
}

impl<M: Meter> Adapter<M> {
    /// An adapter for these configuration entries, where its connections leave packets, and where
    /// changes are asked for.
    pub(crate) fn new(
        settings: Vec<MeterSettings>,
        ledger: LedgerQueue,
        metrics: Metrics,
    ) -> (Adapter<M>, Mailbox<M::Frame>, ChangesIn) {
        let (mailbox, arrivals) = mpsc::channel(MAILBOX);
        let (asked, changes) = mpsc::channel(CHANGES);
        let intake = Mutex::new(Intake { arrivals, changes });
        (Adapter { settings, intake, ledger, metrics }, mailbox, asked)
    }

    /// Says of every meter that it cannot be heard: before the first packet, and after a failure.
    pub(crate) fn announce_offline(&self, left: &Left) {
        let expected = left.expected(&self.settings).into_iter();
        let updates =
            expected.map(|meter| Update::Availability { name: meter.name, online: false });
        self.ledger.push_now(Entry::telling(updates.collect()));
    }

    /// Serves until every connection is gone. `left` is what earlier runs left on disk.
    pub(crate) async fn run(&self, left: Left) -> Result<(), std::convert::Infallible> {
        let mut intake = self.intake.lock().await;
        let Intake { arrivals, changes } = &mut *intake;
        let mut online = self.metrics.meters_online.share();
        let (mut meters, renamed) = Meters::<M>::new(&self.settings, left);
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut entry = meters.found(renamed);
        loop {
            if let Some(entry) = entry {
                self.ledger.push(entry).await;
            }
            online.set(meters.online as u64);
            entry = tokio::select! {
                arrival = arrivals.recv() => match arrival {
                    Some(arrival) => meters.hear(&arrival, &self.metrics),
                    None => break,
                },
                Some(asked) = changes.recv() => meters.answer(asked),
                _ = tick.tick() => meters.time_out(),
            };
        }
        if let Some(entry) = meters.all_offline() {
            self.ledger.push(entry).await;
        }
        Ok(())
    }
}

/// Changes that may wait.
const CHANGES: usize = 16;
/// Packets that may wait: about one second of a thousand meters.
const MAILBOX: usize = 1024;

/// The meters heard since the start.
pub(super) struct Meters<M: Meter> {
    pub(super) entries: Entries,
    /// What is on disk of the others.
    pub(super) kept: HashMap<Arc<str>, MeterRow>,
    pub(super) heard: HashMap<M::Key, Listening<M>>,
    pub(super) online: usize,
}

/// A meter and whether it can be heard.
pub(super) struct Listening<M> {
    pub(super) meter: M,
    pub(super) online: bool,
    last: Instant,
    /// The longest recent time between two packets.
    interval: Option<Duration>,
}

impl<M: Meter> Meters<M> {
    /// The meters, and what is to be told of names that are others than in the last run.
    pub(super) fn new(settings: &[MeterSettings], left: Left) -> (Meters<M>, Vec<Update>) {
        let entries = Entries::new(settings, &left.rows, left.registry);
        let outdated = entries.outdated(&left.rows).into_iter();
        let renamed = outdated.map(|(from, to)| Update::Renamed { from, to }).collect();
        let kept = left.rows.into_iter().map(|row| (Arc::from(row.serial.as_str()), row)).collect();
        (Meters { entries, kept, heard: HashMap::new(), online: 0 }, renamed)
    }

    /// What is to be told, and what was found out by comparing the configuration with what requests
    /// have changed.
    pub(super) fn found(&mut self, mut updates: Vec<Update>) -> Option<Entry> {
        let change = self.entries.found(&mut updates);
        (change.is_some() || !updates.is_empty()).then_some(Entry { keep: None, change, updates })
    }

    pub(super) fn hear(&mut self, arrival: &Arrival<M::Frame>, metrics: &Metrics) -> Option<Entry> {
        let frame = &*arrival.frame;
        let key = M::key(frame);
        let mut updates = Vec::with_capacity(2);
        let mut is_new = false;
        let listening = match self.heard.entry(key) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(place) => {
                let begun = Listening::<M>::begin(arrival, &mut self.entries, &mut self.kept);
                let Ok((listening, before)) = begun else {
                    metrics.strange_packets.increment();
                    return self.found(updates);
                };
                let to = Arc::clone(&listening.meter.device().name);
                updates.extend(before.map(|from| Update::Renamed { from, to }));
                is_new = true;
                place.insert(listening)
            }
        };
        let change = self.entries.found(&mut updates);
        let heard = listening.meter.hear(frame, arrival.at);
        let name = Arc::clone(&listening.meter.device().name);
        let presence = M::presence(frame);
        if presence == Presence::Gone && std::mem::replace(&mut listening.online, false) {
            self.online -= 1;
            tracing::warn!(meter = %name, "offline: the way to it is lost");
            updates.push(Update::Availability { name: Arc::clone(&name), online: false });
        }
        if presence == Presence::Unknown && is_new {
            updates.push(Update::Availability { name: Arc::clone(&name), online: false });
        }
        if presence == Presence::Here && listening.note_packet() {
            self.online += 1;
            tracing::info!(meter = %name, serial = %listening.meter.device().serial, "online");
            updates.push(Update::Availability { name: Arc::clone(&name), online: true });
        }
        for correction in heard.corrections {
            tracing::warn!(meter = %name, "{correction}");
            metrics.corrections.increment();
            updates.push(Update::Correction(Arc::new(correction)));
        }
        updates.extend(listening.meter.take_past().into_iter().map(Update::Backlog));
        updates.push(match heard.set.readings.is_empty() {
            true => Update::Described(Arc::clone(listening.meter.device())),
            false => Update::Readings(heard.set),
        });
        updates.extend(heard.earlier.into_iter().map(Update::Readings));
        let relay = listening.meter.take_relay();
        updates.extend(relay.map(|closed| Update::Relay { name, closed }));
        let keep = listening.meter.take_changed().then(|| listening.row()).flatten();
        Some(Entry { keep, change, updates })
    }

    /// Meters that have been silent for too long.
    fn time_out(&mut self) -> Option<Entry> {
        let silent = self
            .heard
            .values_mut()
            .filter(|listening| listening.online && listening.last.elapsed() > listening.timeout());
        let updates: Vec<Update> = silent
            .map(|listening| {
                let name = Arc::clone(&listening.meter.device().name);
                let silence = listening.last.elapsed();
                tracing::warn!(meter = %name, ?silence, "offline: no packet arrives any more");
                listening.online = false;
                Update::Availability { name, online: false }
            })
            .collect();
        self.online -= updates.len();
        (!updates.is_empty()).then(|| Entry::telling(updates))
    }

    fn all_offline(&mut self) -> Option<Entry> {
        let updates: Vec<Update> = self
            .heard
            .values()
            .filter(|listening| listening.online)
            .map(|listening| {
                let name = Arc::clone(&listening.meter.device().name);
                Update::Availability { name, online: false }
            })
            .collect();
        self.online = 0;
        (!updates.is_empty()).then(|| Entry::telling(updates))
    }
}

impl<M: Meter> Listening<M> {
    /// A meter that is heard for the first time, and the name it was expected under where that is
    /// another.
    fn begin(
        arrival: &Arrival<M::Frame>,
        entries: &mut Entries,
        kept: &mut HashMap<Arc<str>, MeterRow>,
    ) -> Result<(Listening<M>, Option<Arc<str>>), Reason> {
        let frame = &*arrival.frame;
        let serial = M::serial(frame);
        let claim = entries.claim(&serial, M::model(frame), arrival.link)?;
        let left = kept.remove(&serial).and_then(|row| kept::read(&row));
        let meter = M::begin(frame, arrival.at, claim.settings, claim.standing, left);
        let listening = Listening { meter, online: false, last: Instant::now(), interval: None };
        Ok((listening, claim.before))
    }

    /// Returns whether the meter was offline before.
    fn note_packet(&mut self) -> bool {
        let gap = self.last.elapsed();
        self.last = Instant::now();
        if self.online {
            // Falls slowly, so that two packets in a burst do not shorten the time-out.
            let usual = self.interval.unwrap_or(gap).mul_f64(0.9);
            self.interval = Some(gap.max(usual));
        }
        !std::mem::replace(&mut self.online, true)
    }

    fn timeout(&self) -> Duration {
        let settings = self.meter.settings();
        let from_interval = || match self.interval.max(settings.poll) {
            Some(interval) => (interval * 5).max(SHORTEST_TIMEOUT),
            None => FIRST_TIMEOUT,
        };
        settings.timeout.unwrap_or_else(from_interval)
    }

    /// What is to be on disk of it.
    pub(super) fn row(&self) -> Option<MeterRow> {
        let device = self.meter.device();
        kept::row(M::MAKE, &device.serial, &device.name, self.meter.state())
    }
}

const SHORTEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Until the interval is known: longer than the longest that a GEM can be set to, 256 s.
const FIRST_TIMEOUT: Duration = Duration::from_secs(300);
