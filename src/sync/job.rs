//! One request being answered.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::request::Wanted;
use crate::broker::{Link, Message, QoS};
use crate::error::chain;
use crate::history::{BlockKey, History, HistoryError, Tail};
use crate::log::Allowance;
use crate::metrics::Metrics;
use crate::model::SensorId;
use crate::topic::{SyncTopic, Topic};

/// A request, and what it takes to answer it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) link: Link,
    pub(super) history: History,
    pub(super) metrics: Metrics,
    /// Who may read and publish now. Turns are given in the order in which they are asked for.
    pub(super) turns: Arc<Semaphore>,
    /// What may be said of failures.
    pub(super) failures: Arc<Mutex<Allowance>>,
}

/// What is asked for.
#[derive(Debug)]
pub(super) enum Work {
    /// What came after the last block that the asker has, sensor by sensor.
    Sync(Vec<Wanted>),
    /// What covers a span of time, in Unix seconds.
    Query { sensor: SensorId, from: i64, to: i64 },
}

impl Job {
    pub(super) async fn run(self) {
        let outcome = match &self.work {
            Work::Sync(wanted) => self.sync(wanted).await,
            Work::Query { sensor, from, to } => self.query(*sensor, *from, *to).await,
        };
        if let Err(error) = outcome
            && let Some(held_back) = self.failures.lock().pass()
        {
            let words = "history that was asked for over mqtt cannot be read";
            tracing::error!(error, held_back, "{words}");
        }
    }

    async fn sync(&self, wanted: &[Wanted]) -> Result<(), String> {
        for Wanted { sensor, after } in wanted.iter().copied() {
            let keys = self.ask(move |history| history.sync(sensor, after)).await?;
            self.send(keys, None).await?;
        }
        Ok(())
    }

    async fn query(&self, sensor: SensorId, from: i64, to: i64) -> Result<(), String> {
        let all = Tail { rid: 0, level: 0, bid: 0 };
        let mut keys = self.ask(move |history| history.sync(sensor, all)).await?;
        keys.retain(|key| key.bid <= to && key.bid + (1 << key.level) > from);
        let topic = SyncTopic::Answer(sensor, from, to).to_string();
        self.send(keys, Some(&topic)).await
    }

    /// Publishes blocks in their order, a few in each turn: on `topic`, or each on its own.
    async fn send(&self, keys: Vec<BlockKey>, topic: Option<&str>) -> Result<(), String> {
        for slice in keys.chunks(SLICE) {
            // Nobody closes it.
            let _turn = self.turns.acquire().await.map_err(|error| error.to_string())?;
            for key in slice.iter().copied() {
                // Compaction may have taken it in the meantime, and published what it is part of.
                let Some(block) = self.ask(move |history| history.block(&key)).await? else {
                    continue;
                };
                let BlockKey { sensor, rid, level, bid: begin } = key;
                let own = || Topic::Tmpo { sensor, rid, level, begin }.to_string();
                let (topic, qos) = match topic {
                    Some(topic) => (topic.to_owned(), QoS::AtLeastOnce),
                    None => (own(), QoS::AtMostOnce),
                };
                let message = Message { topic: &topic, payload: &block, qos, retain: false };
                let crowded = self.link.publish_all(std::iter::once(message));
                self.metrics.history_blocks_sent.increment();
                crowded.wait().await;
            }
        }
        Ok(())
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&History) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, String> {
        let history = self.history.clone();
        let answer = tokio::task::spawn_blocking(move || question(&history)).await;
        answer.map_err(|error| error.to_string())?.map_err(|error| chain(&error))
    }
}

/// Blocks in a turn.
const SLICE: usize = 8;
