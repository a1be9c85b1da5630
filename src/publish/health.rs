//! `meterbridge/bridge/health`: how the gateway and its broker are, in one JSON object.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::broker::BrokerStats;
use crate::journal::Reader;
use crate::metrics::Metrics;
use crate::model::{DeviceId, Timestamp};

/// Looks at the numbers now and then, and at how they have changed since.
#[derive(Debug)]
pub(crate) struct Health {
    started: Instant,
    looked: Instant,
    /// Each meter's packets at the last look.
    packets: HashMap<DeviceId, u64>,
    broker: Option<Broker>,
}

/// The broker's numbers, with the totals at the last look.
#[derive(Debug)]
struct Broker {
    stats: Arc<BrokerStats>,
    received: u64,
    from_gateway: u64,
    sent: u64,
}

impl Health {
    pub(crate) fn new() -> Health {
        Health {
            started: Instant::now(),
            looked: Instant::now(),
            packets: HashMap::new(),
            broker: None,
        }
    }

    pub(crate) fn with_broker(mut self, stats: Arc<BrokerStats>) -> Health {
        self.broker = Some(Broker { stats, received: 0, from_gateway: 0, sent: 0 });
        self
    }

    /// The object to publish. Rates are per second since the last look.
    pub(crate) fn look(&mut self, metrics: &Metrics) -> Value {
        let now = Instant::now();
        let seconds = now.duration_since(self.looked).as_secs_f64();
        self.looked = now;
        let mut health = json!({
            "ts": Timestamp::now().seconds(),
            "uptime": now.duration_since(self.started).as_secs(),
            "meters": {
                "online": metrics.meters_online.get(),
                "connections": metrics.meter_connections.get(),
                "packets": metrics.packets.get(),
                "skipped_bytes": metrics.skipped_bytes.get(),
            },
            "dropped": {
                "packets": metrics.dropped_arrivals.get(),
                "updates": metrics.dropped_updates.get(),
            },
            "devices": self.devices(metrics, seconds),
            "restarts": metrics.task_restarts.get(),
            "state_write_failures": metrics.state_write_failures.get(),
            "journal": journal(metrics),
        });
        if let Some(broker) = &mut self.broker {
            health["broker"] = broker.look(seconds);
        }
        health
    }

    /// Each meter by its name.
    fn devices(&mut self, metrics: &Metrics, seconds: f64) -> Value {
        let mut before = std::mem::take(&mut self.packets);
        let mut entries = Map::new();
        for (id, tally) in metrics.meters.list() {
            let told = self.packets.entry(id).or_insert(before.remove(&id).unwrap_or(0));
            let entry = json!({
                "online": tally.online,
                "last_seen": tally.last_seen.seconds(),
                "packets": tally.packets,
                "packets_per_second": rate(told, tally.packets, seconds),
                "dropped": tally.dropped,
                "corrections": tally.corrections,
            });
            entries.insert(tally.name.to_string(), entry);
        }
        Value::Object(entries)
    }
}

/// What waits for histories and outputs, and what they did not get.
fn journal(metrics: &Metrics) -> Value {
    let reader =
        |reader: Reader| (reader.name, json!({"lag": reader.lag, "missed": reader.missed}));
    let readers: Map<String, Value> = metrics.readers.list().into_iter().map(reader).collect();
    json!({
        "records": metrics.journal_records.get(),
        "bytes": metrics.journal_bytes.get(),
        "failures": metrics.journal_failures.get(),
        "lost": metrics.journal_lost.get(),
        "cut": metrics.journal_cut.get(),
        "readers": readers,
    })
}

impl Broker {
    fn look(&mut self, seconds: f64) -> Value {
        let stats = Arc::clone(&self.stats);
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "connections": number(&stats.connections),
            "clients": number(&stats.clients),
            "sessions": number(&stats.sessions),
            "subscriptions": number(&stats.subscriptions),
            "retained": {
                "messages": number(&stats.retained_messages),
                "bytes": number(&stats.retained_bytes),
            },
            "queued": {
                "messages": number(&stats.queued_messages),
                "bytes": number(&stats.queued_bytes),
                "longest": number(&stats.queued_longest),
            },
            "rates": {
                "received": rate(&mut self.received, number(&stats.messages_received), seconds),
                "gateway":
                    rate(&mut self.from_gateway, number(&stats.messages_from_gateway), seconds),
                "sent": rate(&mut self.sent, number(&stats.messages_sent), seconds),
            },
            "pauses": number(&stats.pauses),
            "dropped": {
                "queue_full": number(&stats.dropped_queue_full),
                "quota": number(&stats.dropped_quota),
                "expired": number(&stats.dropped_expired),
                "too_large": number(&stats.dropped_too_large),
                "retain": number(&stats.dropped_retain),
            },
            "refused": {
                "connections": number(&stats.refused_connections),
                "connects": number(&stats.refused_connects),
                "publishes": number(&stats.refused_publishes),
                "packets": number(&stats.refused_packets),
            },
        })
    }
}

/// Per second, to the tenth.
fn rate(before: &mut u64, now: u64, seconds: f64) -> f64 {
    let more = now.saturating_sub(std::mem::replace(before, now));
    if seconds > 0.0 { (more as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_queues_and_rates_are_told() {
        let stats = Arc::new(BrokerStats::default());
        stats.dropped_queue_full.store(3, Ordering::Relaxed);
        stats.queued_longest.store(7, Ordering::Relaxed);
        let mut health = Health::new().with_broker(stats);
        let told = health.look(&Metrics::default());
        assert_eq!(told["broker"]["dropped"]["queue_full"], 3);
        assert_eq!(told["broker"]["queued"]["longest"], 7);
        let mut before = 10;
        assert_eq!(rate(&mut before, 35, 10.0), 2.5);
        assert_eq!((before, rate(&mut before, 35, 0.0)), (35, 0.0));
    }
}
