//! The owner of all Brultech meters: packets in, readings and availability out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use meter_protocols::brultech::Packet;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::entries::Entries;
use super::meter::{Meter, MeterState};
use super::sensors;
use super::settings::{LinkId, MeterSettings};
use crate::ledger::{Entry, LedgerQueue};
use crate::metrics::Metrics;
use crate::model::{Make, Timestamp, Update};
use crate::store::MeterRow;

/// A packet, as a connection hands it over.
#[derive(Debug)]
pub struct Arrival {
    /// The link it came by.
    pub link: LinkId,
    /// When it was complete, by the gateway's clock.
    pub at: Timestamp,
    /// The packet.
    pub packet: Box<Packet>,
}

/// Where connections leave packets. Full, it makes them wait: the adapter itself waits for
/// nothing that a meter or a subscriber could hold up.
pub type Mailbox = mpsc::Sender<Arrival>;

/// What the adapter needs; kept apart from [`run`](Adapter::run) so that it can be started again.
#[derive(Debug)]
pub struct Adapter {
    settings: Vec<MeterSettings>,
    arrivals: Mutex<mpsc::Receiver<Arrival>>,
    ledger: LedgerQueue,
    metrics: Metrics,
}

impl Adapter {
    /// An adapter for these configuration entries, and where its connections leave packets.
    pub fn new(
        settings: Vec<MeterSettings>,
        ledger: LedgerQueue,
        metrics: Metrics,
    ) -> (Adapter, Mailbox) {
        let (mailbox, arrivals) = mpsc::channel(MAILBOX);
        (Adapter { settings, arrivals: Mutex::new(arrivals), ledger, metrics }, mailbox)
    }

    /// Says of every meter that it cannot be heard: before the first packet, and after a failure.
    pub fn announce_offline(&self, kept: &[MeterRow]) {
        let configured = self.settings.iter().map(|settings| Arc::clone(&settings.name));
        let mut names: Vec<Arc<str>> = configured.collect();
        names.extend(kept.iter().map(|row| Arc::from(row.name.as_str())));
        names.sort();
        names.dedup();
        let updates =
            names.into_iter().map(|name| Update::Availability { name, online: false }).collect();
        self.metrics.meters_online.set(0);
        self.ledger.push_now(Entry { keep: None, updates });
    }

    /// Serves until every connection is gone. `kept` is what earlier runs left on disk.
    pub async fn run(&self, kept: Vec<MeterRow>) -> Result<(), std::convert::Infallible> {
        let mut arrivals = self.arrivals.lock().await;
        let mut meters = Meters::new(&self.settings, kept);
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let entry = tokio::select! {
                arrival = arrivals.recv() => match arrival {
                    Some(arrival) => Some(meters.hear(&arrival, &self.metrics)),
                    None => break,
                },
                _ = tick.tick() => meters.time_out(),
            };
            if let Some(entry) = entry {
                self.ledger.push(entry).await;
            }
            self.metrics.meters_online.set(meters.online as u64);
        }
        if let Some(entry) = meters.all_offline() {
            self.ledger.push(entry).await;
        }
        Ok(())
    }
}

/// Packets that may wait: about one second of a thousand meters.
const MAILBOX: usize = 1024;

/// The meters heard since the start.
struct Meters {
    entries: Entries,
    kept: HashMap<String, MeterRow>,
    heard: HashMap<Key, Listening>,
    online: usize,
}

/// A meter's identity as packets carry it: kind, unit id and serial number.
type Key = (bool, u8, u16);

/// A meter and whether it can be heard.
struct Listening {
    meter: Meter,
    online: bool,
    last: Instant,
    /// The longest recent time between two packets.
    interval: Option<Duration>,
}

impl Meters {
    fn new(settings: &[MeterSettings], kept: Vec<MeterRow>) -> Meters {
        let names =
            kept.iter().map(|row| (row.serial.clone(), Arc::from(row.name.as_str()))).collect();
        let kept = kept.into_iter().map(|row| (row.serial.clone(), row)).collect();
        let entries = Entries::new(settings, &names);
        Meters { entries, kept, heard: HashMap::new(), online: 0 }
    }

    fn hear(&mut self, arrival: &Arrival, metrics: &Metrics) -> Entry {
        let packet = &*arrival.packet;
        let key = (packet.format.is_ecm(), packet.unit_id, packet.serial_number);
        let (entries, kept) = (&mut self.entries, &mut self.kept);
        let listening =
            self.heard.entry(key).or_insert_with(|| Listening::begin(arrival, entries, kept));
        let heard = listening.meter.hear(packet, arrival.at);
        let mut updates = Vec::with_capacity(2 + heard.corrections.len());
        let name = Arc::clone(&listening.meter.device().name);
        if listening.note_packet() {
            self.online += 1;
            tracing::info!(meter = %name, serial = %listening.meter.device().serial, "online");
            updates.push(Update::Availability { name: Arc::clone(&name), online: true });
        }
        for correction in heard.corrections {
            tracing::warn!(meter = %name, "{correction}");
            metrics.corrections.increment();
            updates.push(Update::Correction(Arc::new(correction)));
        }
        updates.push(Update::Readings(heard.set));
        Entry { keep: listening.row(), updates }
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
        (!updates.is_empty()).then_some(Entry { keep: None, updates })
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
        (!updates.is_empty()).then_some(Entry { keep: None, updates })
    }
}

impl Listening {
    fn begin(
        arrival: &Arrival,
        entries: &mut Entries,
        kept: &mut HashMap<String, MeterRow>,
    ) -> Listening {
        let packet = &*arrival.packet;
        let serial = packet.serial();
        let claim = entries.claim(&serial, sensors::model(packet.format), arrival.link);
        let state = kept.remove(&serial).and_then(|row| read_state(&row));
        let meter = Meter::new(packet, arrival.at, claim.settings, claim.adopted, state);
        Listening { meter, online: false, last: Instant::now(), interval: None }
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

    fn row(&self) -> Option<MeterRow> {
        let device = self.meter.device();
        let mut state = vec![STATE_VERSION];
        state = postcard::to_extend(self.meter.state(), state)
            .map_err(|error| tracing::error!(%error, "counter state cannot be written"))
            .ok()?;
        let (serial, name) = (device.serial.to_string(), device.name.to_string());
        Some(MeterRow { make: Make::Brultech, serial, name, state })
    }
}

/// The first byte of a kept state; raised when [`MeterState`] changes its shape.
const STATE_VERSION: u8 = 1;
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Until the interval is known: longer than the longest that a GEM can be set to, 256 s.
const FIRST_TIMEOUT: Duration = Duration::from_secs(300);

fn read_state(row: &MeterRow) -> Option<MeterState> {
    let state = match row.state.split_first() {
        Some((&STATE_VERSION, state)) => postcard::from_bytes(state).map_err(|e| e.to_string()),
        Some((version, _)) => Err(format!("it has version {version}")),
        None => Err("it is empty".to_owned()),
    };
    state
        .map_err(|error| {
            tracing::error!(
                serial = row.serial,
                error,
                "the kept counter state cannot be read: totals begin at the meter's counters again"
            );
        })
        .ok()
}
