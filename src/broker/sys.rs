//! `$SYS/broker/…`: what the broker says of itself to its clients, under the names that mosquitto has
//! made known.
//!
//! Every ten seconds what has changed is published, retained. These messages live in a store of
//! their own (`Router`), so they count to no limit and are not kept over a restart.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::clients::Clients;
use super::packet::QoS;
use super::publication::Draft;
use super::router::Router;
use super::stats::BrokerStats;

/// Publishes the broker's numbers.
#[derive(Debug)]
pub(crate) struct System {
    clients: Arc<Clients>,
    router: Arc<Router>,
    stats: Arc<BrokerStats>,
    started: Instant,
    /// What is retained, by topic.
    published: HashMap<String, String>,
    loads: HashMap<&'static str, Load>,
}

/// How much there is of something per minute, averaged over one, five and fifteen minutes.
#[derive(Debug, Default)]
struct Load {
    total: u64,
    averages: [f64; 3],
}

impl Load {
    /// Takes in what has come since the last time. The newest weighs most.
    fn advance(&mut self, total: u64, elapsed: Duration) {
        let minutes = elapsed.as_secs_f64() / 60.0;
        if minutes <= 0.0 {
            return;
        }
        let rate = total.saturating_sub(self.total) as f64 / minutes;
        self.total = total;
        for (average, (span, _)) in self.averages.iter_mut().zip(SPANS) {
            *average = rate + (-minutes / span).exp() * (*average - rate);
        }
    }
}

impl System {
    pub(crate) fn new(clients: Arc<Clients>, router: Arc<Router>, stats: Arc<BrokerStats>) -> Self {
        let (published, loads) = (HashMap::new(), HashMap::new());
        Self { clients, router, stats, started: Instant::now(), published, loads }
    }

    /// Publishes for ever. Returns only with its task.
    pub(crate) async fn run(mut self) {
        let mut last = self.started;
        self.look(Duration::ZERO);
        loop {
            tokio::time::sleep(INTERVAL).await;
            let now = Instant::now();
            self.look(now.duration_since(last));
            last = now;
        }
    }

    fn look(&mut self, elapsed: Duration) {
        self.clients.measure();
        let mut values = self.values();
        for (name, counter) in self.loaded() {
            let load = self.loads.entry(name).or_default();
            load.advance(counter, elapsed);
            for (average, (_, span)) in load.averages.iter().zip(SPANS) {
                values.push((format!("load/{name}/{span}"), format!("{average:.2}")));
            }
        }
        values.retain_mut(|(name, value)| {
            name.insert_str(0, "$SYS/broker/");
            let old = self.published.insert(name.clone(), value.clone());
            old.as_ref() != Some(value)
        });
        let drafts = values.iter().map(|(topic, value)| Draft {
            topic,
            payload: value.as_bytes(),
            qos: QoS::AtMostOnce,
            retain: true,
            expiry: None,
            properties: Vec::new(),
        });
        // Who is crowded by so little is not waited for.
        self.router.publish_all(drafts, 0);
    }

    /// Names below `$SYS/broker/` and their values. Source: mosquitto(8), "Broker status".
    fn values(&self) -> Vec<(String, String)> {
        let stats = &*self.stats;
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (present, all) = (number(&stats.clients), number(&stats.sessions));
        let absent = all.saturating_sub(present);
        let (retained, queued) = (number(&stats.retained_messages), number(&stats.queued_messages));
        let bytes = number(&stats.retained_bytes) + number(&stats.queued_bytes);
        let dropped = number(&stats.dropped_queue_full)
            + number(&stats.dropped_quota)
            + number(&stats.dropped_expired)
            + number(&stats.dropped_too_large);
        let mut values = vec![
            ("version".into(), concat!("meterbridge ", env!("CARGO_PKG_VERSION")).into()),
            ("uptime".into(), format!("{} seconds", self.started.elapsed().as_secs())),
        ];
        values.extend(
            [
                ("clients/total", all),
                ("clients/connected", present),
                ("clients/active", present),
                ("clients/disconnected", absent),
                ("clients/inactive", absent),
                ("clients/maximum", number(&stats.clients_maximum)),
                ("clients/expired", number(&stats.sessions_expired)),
                ("messages/received", number(&stats.packets_received)),
                ("messages/sent", number(&stats.packets_sent)),
                ("messages/stored", retained + queued),
                ("store/messages/count", retained + queued),
                ("store/messages/bytes", bytes),
                ("publish/messages/received", number(&stats.messages_received)),
                ("publish/messages/sent", number(&stats.messages_sent)),
                ("publish/messages/dropped", dropped),
                ("publish/bytes/received", number(&stats.payload_bytes_received)),
                ("publish/bytes/sent", number(&stats.payload_bytes_sent)),
                ("retained messages/count", retained),
                ("subscriptions/count", number(&stats.subscriptions)),
                ("shared_subscriptions/count", number(&stats.shared_subscriptions)),
                ("bytes/received", number(&stats.bytes_received)),
                ("bytes/sent", number(&stats.bytes_sent)),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_string())),
        );
        values
    }

    fn loaded(&self) -> [(&'static str, u64); 9] {
        let stats = &*self.stats;
        [
            ("messages/received", &stats.packets_received),
            ("messages/sent", &stats.packets_sent),
            ("publish/received", &stats.messages_received),
            ("publish/sent", &stats.messages_sent),
            ("publish/dropped", &stats.dropped_queue_full),
            ("bytes/received", &stats.bytes_received),
            ("bytes/sent", &stats.bytes_sent),
            ("sockets", &stats.connections_opened),
            ("connections", &stats.connects),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }
}

/// Minutes that a load is averaged over, and their names.
const SPANS: [(f64, &str); 3] = [(1.0, "1min"), (5.0, "5min"), (15.0, "15min")];
const INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_comes_up_to_a_steady_rate_and_goes_down_again() {
        let mut load = Load::default();
        for step in 1..=600 {
            load.advance(step * 10, Duration::from_secs(10));
        }
        let [one, five, fifteen] = load.averages;
        assert!((one - 60.0).abs() < 0.1 && (five - 60.0).abs() < 0.1, "{one} {five}");
        assert!(fifteen < 60.0 && fifteen > 59.0, "{fifteen}");
        load.advance(6_000, Duration::from_secs(60));
        assert!(load.averages[0] < 23.0 && load.averages[2] > 55.0, "{:?}", load.averages);
    }
}
