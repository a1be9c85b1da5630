//! What the broker counts. Nothing is dropped or refused without one of these going up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Counters and gauges of the broker, for `/metrics`, `$SYS` and the health topic.
///
/// All are totals since the start, except those called a gauge. Reading them is free of locks.
#[derive(Debug, Default)]
pub struct BrokerStats {
    /// Gauge: open connections, those before their CONNECT included.
    pub connections: AtomicU64,
    /// Gauge: clients connected at MQTT level.
    pub clients: AtomicU64,
    /// Gauge: sessions, those of absent clients included.
    pub sessions: AtomicU64,
    /// Gauge: retained messages.
    pub retained_messages: AtomicU64,
    /// Gauge: memory taken by retained messages, in bytes.
    pub retained_bytes: AtomicU64,
    /// PUBLISH packets taken from clients.
    pub messages_received: AtomicU64,
    /// Messages taken from the gateway itself.
    pub messages_from_gateway: AtomicU64,
    /// PUBLISH packets written to clients.
    pub messages_sent: AtomicU64,
    /// QoS 0 messages dropped because a client's queue was full.
    pub dropped_queue_full: AtomicU64,
    /// QoS 1 and 2 messages that a session had no room for. Its client, if it is there, is
    /// disconnected; it is logged either way.
    pub dropped_quota: AtomicU64,
    /// Messages that expired before they could be sent.
    pub dropped_expired: AtomicU64,
    /// Messages larger than the receiving client takes.
    pub dropped_too_large: AtomicU64,
    /// Messages delivered but not retained because the limit of retained topics was reached.
    pub dropped_retain: AtomicU64,
    /// Connections refused because there were too many, in all or from one address.
    pub refused_connections: AtomicU64,
    /// CONNECT packets answered with a refusal: version, client id, access, quota.
    pub refused_connects: AtomicU64,
    /// Connections on which no CONNECT came in time.
    pub connect_timeouts: AtomicU64,
    /// Connections ended because a packet broke a rule of MQTT.
    pub refused_packets: AtomicU64,
    /// Connections ended because a packet was larger than the limit.
    pub refused_too_large: AtomicU64,
    /// Packets on which the codec itself failed; counted in `refused_packets` too.
    pub codec_failures: AtomicU64,
    /// Connection tasks that ended by a panic. Anything but 0 is a fault of the broker.
    pub connection_panics: AtomicU64,
    /// Clients disconnected because nothing was heard from them in time.
    pub keep_alive_timeouts: AtomicU64,
    /// Connections ended because their client connected again.
    pub take_overs: AtomicU64,
    /// Gauge: QoS 1 and 2 messages that sessions hold which outlive the process.
    pub kept_messages: AtomicU64,
    /// Gauge: memory that these take, in bytes; a message counts once for each session.
    pub kept_bytes: AtomicU64,
    /// Attempts to write retained messages and kept sessions to disk.
    pub disk_commits: AtomicU64,
    /// Those that failed; each is tried again.
    pub disk_failures: AtomicU64,
    /// Packets refused, or their clients disconnected, because the disk did not take what they did.
    pub disk_refused: AtomicU64,
}

impl BrokerStats {
    /// Each number by its name in metrics, with its kind there.
    pub fn list(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        [
            ("connections", "gauge", &self.connections),
            ("clients", "gauge", &self.clients),
            ("sessions", "gauge", &self.sessions),
            ("retained_messages", "gauge", &self.retained_messages),
            ("retained_bytes", "gauge", &self.retained_bytes),
            ("messages_received", "counter", &self.messages_received),
            ("messages_from_gateway", "counter", &self.messages_from_gateway),
            ("messages_sent", "counter", &self.messages_sent),
            ("dropped_queue_full", "counter", &self.dropped_queue_full),
            ("dropped_quota", "counter", &self.dropped_quota),
            ("dropped_expired", "counter", &self.dropped_expired),
            ("dropped_too_large", "counter", &self.dropped_too_large),
            ("dropped_retain", "counter", &self.dropped_retain),
            ("refused_connections", "counter", &self.refused_connections),
            ("refused_connects", "counter", &self.refused_connects),
            ("connect_timeouts", "counter", &self.connect_timeouts),
            ("refused_packets", "counter", &self.refused_packets),
            ("refused_too_large", "counter", &self.refused_too_large),
            ("codec_failures", "counter", &self.codec_failures),
            ("connection_panics", "counter", &self.connection_panics),
            ("keep_alive_timeouts", "counter", &self.keep_alive_timeouts),
            ("take_overs", "counter", &self.take_overs),
            ("kept_messages", "gauge", &self.kept_messages),
            ("kept_bytes", "gauge", &self.kept_bytes),
            ("disk_commits", "counter", &self.disk_commits),
            ("disk_failures", "counter", &self.disk_failures),
            ("disk_refused", "counter", &self.disk_refused),
        ]
        .into_iter()
        .map(|(name, kind, number)| (name, kind, number.load(Ordering::Relaxed)))
    }

    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn count(counter: &AtomicU64) {
        Self::add(counter, 1);
    }

    pub(crate) fn lower(gauge: &AtomicU64) {
        gauge.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn set(gauge: &AtomicU64, value: usize) {
        gauge.store(value as u64, Ordering::Relaxed);
    }
}

/// Lets one log line through per interval and counts the others, so that a client that misbehaves
/// all the time cannot fill the log.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    state: Mutex<(Option<Instant>, u64)>,
}

impl Throttle {
    /// `Some(n)` when a line may be written now; `n` is how many were held back before it.
    pub(crate) fn pass(&self) -> Option<u64> {
        let mut state = self.state.lock();
        let now = Instant::now();
        if state.0.is_some_and(|last| now.duration_since(last) < LOG_INTERVAL) {
            state.1 += 1;
            return None;
        }
        state.0 = Some(now);
        Some(std::mem::take(&mut state.1))
    }
}

const LOG_INTERVAL: Duration = Duration::from_secs(10);
