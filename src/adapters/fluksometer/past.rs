//! The history that a Fluksometer has kept itself: asked for when it can be reached, and taken over
//! block by block.
//!
//! A device publishes everything after the block it is told, and repeats nothing else. So it is told
//! of one window less than is known: the last one may have been cut off by the end of a connection.
//!
//! Source: protocol note, sections 4.7 and 10.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;

use meter_protocols::flukso::Id;
use meter_protocols::flukso::topic::Topic;
use parking_lot::RwLock;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::listen::{Inbox, Way};
use crate::metrics::Metrics;
use crate::model::SensorId;

/// Which block of a sensor's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockKey {
    /// The sensor.
    pub sensor: SensorId,
    /// Its recycle id.
    pub rid: u32,
    /// The block spans 2^level seconds.
    pub level: u8,
    /// Its begin, Unix seconds.
    pub bid: i64,
}

/// The last block that is stored of a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tail {
    /// Its recycle id.
    pub rid: u32,
    /// Its level.
    pub level: u8,
    /// Its begin, Unix seconds.
    pub bid: i64,
}

/// Whoever keeps histories.
pub trait Keeper: Send + Sync {
    /// The last block stored of a sensor. May block.
    fn last_stored(&self, sensor: SensorId) -> Option<Tail>;

    /// Takes a block over; the error says what is wrong with it.
    fn take_over(
        &self,
        key: BlockKey,
        gzip: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;
}

/// The sensors of one link, shared between its reader and its past.
pub(super) type Recorded = Arc<RwLock<HashSet<Id>>>;

/// What a device is to be asked.
#[derive(Debug)]
pub(super) struct Ask {
    /// The device.
    pub(super) device: Id,
    /// Its recorded sensors, each with the recycle id and the time of the last reading, if any.
    pub(super) sensors: Vec<(Id, u32, Option<i64>)>,
}

/// Takes over the past of the Fluksometers on one link.
pub(super) struct Past {
    pub(super) keeper: Arc<dyn Keeper>,
    pub(super) recorded: Recorded,
    pub(super) way: Way,
    /// Where blocks are published again: the gateway's broker, unless they came from there.
    pub(super) out: Option<crate::broker::Link>,
    pub(super) metrics: Metrics,
}

impl Past {
    /// Asks and takes over until `stop`.
    pub(super) async fn run(
        &self,
        mut blocks: Inbox,
        asks: &mut mpsc::Receiver<Ask>,
        stop: &CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(ask) = asks.recv() => self.ask(ask).await,
                received = blocks.recv() => match received {
                    Some(received) => self.take(&received.topic, &received.payload).await,
                    None => return,
                },
            }
        }
    }

    async fn ask(&self, ask: Ask) {
        let keeper = Arc::clone(&self.keeper);
        let Ask { device, sensors } = ask;
        let listing = tokio::task::spawn_blocking(move || {
            let entries = sensors.into_iter().map(|(id, rid, heard)| {
                entry(id, rid, keeper.last_stored(SensorId::from(id.0)), heard)
            });
            Value::Array(entries.collect()).to_string()
        });
        match listing.await {
            Ok(list) => self.way.publish(&Topic::SyncList(device).to_string(), list.as_bytes()),
            Err(error) => tracing::error!(%error, "a fluksometer's history could not be asked for"),
        }
    }

    async fn take(&self, topic: &str, payload: &[u8]) {
        let Some(Topic::Block { sensor, rid, level, bid }) = Topic::parse(topic) else { return };
        if !self.recorded.read().contains(&sensor) {
            return;
        }
        let key = BlockKey { sensor: SensorId::from(sensor.0), rid, level, bid };
        if let Err(reason) = self.store(key, payload).await {
            self.metrics.flukso_refused_blocks.increment();
            tracing::warn!(%sensor, rid, level, bid, reason, "a history block of a fluksometer is passed over");
            return;
        }
        self.metrics.flukso_blocks.increment();
        if let Some(out) = &self.out {
            let qos = crate::broker::QoS::AtMostOnce;
            let message = crate::broker::Message { topic, payload, qos, retain: false };
            out.publish_all(std::iter::once(message)).wait().await;
        }
    }

    async fn store(&self, key: BlockKey, payload: &[u8]) -> Result<(), String> {
        let levels = [8, 12, 16, 20];
        if !levels.contains(&key.level) {
            return Err(format!("{} is none of the levels 8, 12, 16 and 20", key.level));
        }
        if key.bid % (1 << key.level) != 0 {
            return Err(format!("{} is no multiple of 2^{}", key.bid, key.level));
        }
        if payload.len() > LARGEST {
            return Err(format!("it has {} bytes, more than {LARGEST}", payload.len()));
        }
        if !payload.starts_with(&[0x1f, 0x8b]) {
            return Err("it is not gzip".to_owned());
        }
        self.keeper.take_over(key, payload.to_vec()).await
    }
}

/// One entry of the list: everything after it is wanted.
fn entry(id: Id, rid: u32, stored: Option<Tail>, heard: Option<i64>) -> Value {
    let known = stored.map(|tail| tail.bid.saturating_add(1_i64 << tail.level.min(40)));
    let (rid, level, bid) = match known.filter(|end| *end > WINDOW) {
        Some(end) => {
            let heard = heard.map_or(end, |at| at - at.rem_euclid(WINDOW) + WINDOW);
            let end = end.min(heard);
            (stored.map_or(rid, |tail| tail.rid), 8, end - 2 * WINDOW)
        }
        None => (0, 0, 0),
    };
    json!({"sid": id.to_string(), "rid": rid, "lvl": level, "bid": bid.max(0)})
}

/// A block of level 8.
const WINDOW: i64 = 256;
/// Source: protocol note, section 4.7.
const LARGEST: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_window_less_than_is_known_is_told() {
        let id = Id([1; 16]);
        let bid = |stored, heard| entry(id, 2, stored, heard)["bid"].as_i64().unwrap();
        let nothing = entry(id, 2, None, Some(1_459_065_180));
        assert_eq!(
            (&nothing["rid"], &nothing["lvl"], &nothing["bid"]),
            (&json!(0), &json!(0), &json!(0))
        );
        let tail = Tail { rid: 2, level: 12, bid: 1_459_064_832 };
        assert_eq!(bid(Some(tail), None), 1_459_064_832 + 4096 - 512);
        // The last reading came before the end of what is stored: the connection was cut there.
        let heard = 1_459_064_832 + 700;
        assert_eq!(bid(Some(tail), Some(heard)), 1_459_064_832 + 768 - 512);
        let odd = Tail { rid: 0, level: 255, bid: i64::MAX };
        assert!(bid(Some(odd), None) >= 0);
    }
}
