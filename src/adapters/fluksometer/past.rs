//! The history that a Fluksometer has kept itself: asked for when it can be reached, and taken over
//! block by block.
//!
//! A device publishes everything after the block it is told, and repeats nothing else: so it is told of
//! the last block that came from itself, whatever was recorded beside it. What is taken over, the
//! history publishes.
//!
//! Source: protocol note, sections 4.7 and 10.

use std::collections::HashSet;
use std::sync::Arc;

use meter_protocols::flukso::Id;
use meter_protocols::flukso::topic::Topic;
use parking_lot::RwLock;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::listen::{Inbox, Way};
use crate::error::chain;
use crate::history::{BlockKey, History, HistoryError, Tail, Taken};
use crate::metrics::Metrics;
use crate::model::SensorId;

/// The sensors of one link, shared between its reader and its past.
pub(super) type Recorded = Arc<RwLock<HashSet<Id>>>;

/// What a device is to be asked.
#[derive(Debug)]
pub(super) struct Ask {
    /// The device.
    pub(super) device: Id,
    /// Its recorded sensors.
    pub(super) sensors: Vec<Id>,
}

/// Takes over the past of the Fluksometers on one link.
pub(super) struct Past {
    pub(super) history: History,
    pub(super) recorded: Recorded,
    pub(super) way: Way,
    pub(super) metrics: Metrics,
}

impl Past {
    /// Asks and takes over until `stop`.
    pub(super) async fn run(
        &self,
        mut blocks: Inbox,
        asks: &mut mpsc::Receiver<Ask>,
        mut connection: watch::Receiver<u64>,
        stop: &CancellationToken,
    ) {
        // A new block would hide a gap before it. So none is taken before its sensor was asked for
        // since the connection was made; it comes again with the answer.
        let mut asked = HashSet::new();
        loop {
            tokio::select! {
                // A question belongs to the connection before it.
                biased;
                () = stop.cancelled() => return,
                Ok(()) = connection.changed() => asked.clear(),
                Some(ask) = asks.recv() => {
                    asked.extend(ask.sensors.iter().copied());
                    self.ask(ask).await;
                }
                received = blocks.recv() => match received {
                    Some(received) => self.take(&received.topic, &received.payload, &asked).await,
                    None => return,
                },
            }
        }
    }

    async fn ask(&self, ask: Ask) {
        let history = self.history.clone();
        let Ask { device, sensors } = ask;
        let listing = tokio::task::spawn_blocking(move || {
            let entries = sensors.into_iter().map(|id| {
                let tail = history.last_stored(SensorId::from(id.0))?;
                Ok(entry(id, tail))
            });
            entries.collect::<Result<Value, HistoryError>>()
        });
        match listing.await {
            Ok(Ok(list)) => {
                let topic = Topic::SyncList(device).to_string();
                self.way.publish(&topic, list.to_string().as_bytes());
            }
            Ok(Err(error)) => {
                tracing::error!(
                    error = chain(&error),
                    "a fluksometer's history could not be asked for"
                );
            }
            Err(error) => tracing::error!(%error, "a fluksometer's history could not be asked for"),
        }
    }

    async fn take(&self, topic: &str, payload: &[u8], asked: &HashSet<Id>) {
        let Some(Topic::Block { sensor, rid, level, bid }) = Topic::parse(topic) else { return };
        if !asked.contains(&sensor) || !self.recorded.read().contains(&sensor) {
            return;
        }
        let key = BlockKey { sensor: SensorId::from(sensor.0), rid, level, bid };
        let refused = match payload.len() > LARGEST {
            true => Err(format!("it has {} bytes, more than {LARGEST}", payload.len())),
            false => {
                let taken = self.history.take_over(key, payload.to_vec()).await;
                taken.map_err(|refused| chain(&refused))
            }
        };
        match refused {
            Ok(Taken::New) => self.metrics.flukso_blocks.increment(),
            Ok(Taken::Known) => {}
            Err(reason) => tracing::warn!(
                %sensor,
                rid,
                level,
                bid,
                reason,
                "a history block of a fluksometer is passed over"
            ),
        }
    }
}

/// One entry of the list: everything after it is wanted.
fn entry(id: Id, tail: Tail) -> Value {
    json!({"sid": id.to_string(), "rid": tail.rid, "lvl": tail.level, "bid": tail.bid})
}

/// Source: protocol note, section 4.7.
const LARGEST: usize = 16 * 1024 * 1024;
