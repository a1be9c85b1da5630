//! What the connection to another broker counts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

/// Counters and gauges of the connection to another broker, for `/metrics` and `/healthz`.
///
/// All are totals since the start, except those called a gauge.
#[derive(Debug, Default)]
pub struct ExternalStats {
    connected: AtomicBool,
    /// The number of the connection there is, for those who wait for one; 0: there is none.
    connection: watch::Sender<u64>,
    /// Why not, while it is not connected.
    reason: Mutex<Option<String>>,
    /// Connections made.
    pub connects: AtomicU64,
    /// Attempts to connect that failed.
    pub failed_connects: AtomicU64,
    /// Times that another client took the client id.
    pub take_overs: AtomicU64,
    /// PUBLISH packets from the broker.
    pub messages_received: AtomicU64,
    /// Messages taken from the gateway.
    pub messages_from_gateway: AtomicU64,
    /// PUBLISH packets written to the broker.
    pub messages_sent: AtomicU64,
    /// Live messages (QoS 0) that came while the broker was away, or were lost with a connection.
    pub not_sent: AtomicU64,
    /// Live messages, and messages for the gateway, dropped because a queue was full.
    pub dropped_queue_full: AtomicU64,
    /// Messages refused because the outbox was full.
    pub outbox_refused: AtomicU64,
    /// Gauge: messages in the outbox, those under way included.
    pub outbox_messages: AtomicU64,
    /// Gauge: bytes of the messages that count against the outbox's limit.
    pub outbox_bytes: AtomicU64,
    /// Times that the outbox could not be written to disk.
    pub outbox_failures: AtomicU64,
    /// Messages the broker refused by a reason code.
    pub refused: AtomicU64,
    /// Messages larger than the broker takes.
    pub too_large: AtomicU64,
    /// Messages from the broker that were larger than this side takes.
    pub received_too_large: AtomicU64,
    /// Gauge: 1 while the outbox is kept in memory because it cannot be written to disk.
    pub outbox_in_memory: AtomicU64,
    /// Messages given up because the broker ends the connection at each of them.
    pub given_up: AtomicU64,
}

impl ExternalStats {
    /// Whether the broker is connected; else why not.
    pub fn status(&self) -> Result<(), String> {
        if self.connected.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(self.reason.lock().clone().unwrap_or_else(|| "not connected yet".to_owned()))
    }

    /// Each number by its name in metrics, with its kind there.
    pub fn list(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let connected = u64::from(self.connected.load(Ordering::Relaxed));
        let numbers = [
            ("connects", "counter", &self.connects),
            ("failed_connects", "counter", &self.failed_connects),
            ("take_overs", "counter", &self.take_overs),
            ("messages_received", "counter", &self.messages_received),
            ("messages_from_gateway", "counter", &self.messages_from_gateway),
            ("messages_sent", "counter", &self.messages_sent),
            ("not_sent", "counter", &self.not_sent),
            ("dropped_queue_full", "counter", &self.dropped_queue_full),
            ("outbox_refused", "counter", &self.outbox_refused),
            ("outbox_messages", "gauge", &self.outbox_messages),
            ("outbox_bytes", "gauge", &self.outbox_bytes),
            ("outbox_in_memory", "gauge", &self.outbox_in_memory),
            ("outbox_failures", "counter", &self.outbox_failures),
            ("refused", "counter", &self.refused),
            ("too_large", "counter", &self.too_large),
            ("received_too_large", "counter", &self.received_too_large),
            ("given_up", "counter", &self.given_up),
        ];
        let numbers = numbers
            .into_iter()
            .map(|(name, kind, number)| (name, kind, number.load(Ordering::Relaxed)));
        std::iter::once(("connected", "gauge", connected)).chain(numbers)
    }

    pub(super) fn set_connected(&self) {
        self.reason.lock().take();
        self.connected.store(true, Ordering::Relaxed);
        self.connection.send_replace(self.connects.load(Ordering::Relaxed));
    }

    pub(super) fn set_disconnected(&self, reason: String) {
        *self.reason.lock() = Some(reason);
        self.connected.store(false, Ordering::Relaxed);
        self.connection.send_replace(0);
    }

    /// The number of the connection there is, 0 while there is none.
    pub(super) fn connection(&self) -> watch::Receiver<u64> {
        self.connection.subscribe()
    }

    pub(super) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    pub(super) fn count(counter: &AtomicU64) {
        Self::add(counter, 1);
    }
}
