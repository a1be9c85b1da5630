//! Where samples go: to readers over TCP ([`relay`]), and to disk ([`record`]).
//!
//! Both take the pieces of [`crate::bus::Waveforms`], each from a queue of its own, and neither can hold
//! up a meter: who is behind loses the oldest pieces of its own.
//!
//! | module | has |
//! |---|---|
//! | `shape` | what all frames of a stream have in common: rate, channels, their labels and units |
//! | `timeline` | where frames lie on one axis, also when a meter begins anew |
//! | [`relay`] | a TCP port for each stream |
//! | [`record`] | files, and the `record` command |

pub mod record;
pub mod relay;
mod shape;
mod timeline;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::bus::{Waveforms, Whose};
use crate::metrics::Metrics;

pub use record::{RecordSettings, Recorder, Recorders};
pub use relay::{Relay, RelayError};

/// Where the samples of one entry's meter go.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The entry's name.
    pub name: Arc<str>,
    /// Its meter, where that is known.
    pub whose: Whose,
    /// The address of its relay.
    pub relay: Option<SocketAddr>,
    /// What is written of it.
    pub record: Option<RecordSettings>,
}

/// What is configured, with the ports taken.
#[derive(Debug, Default)]
pub struct Plan {
    relays: Vec<relay::Bound>,
    records: Vec<(Arc<str>, Whose, RecordSettings)>,
}

impl Plan {
    /// Takes the ports.
    ///
    /// # Errors
    /// The first that is not to be had.
    pub async fn open(settings: Vec<Settings>) -> Result<Plan, RelayError> {
        let mut plan = Plan::default();
        for entry in settings {
            if let Some(address) = entry.relay {
                let bound = relay::Bound::take(address, &entry.name, &entry.whose).await?;
                plan.relays.push(bound);
            }
            if let Some(record) = entry.record {
                plan.records.push((entry.name, entry.whose, record));
            }
        }
        Ok(plan)
    }

    /// Where readers can connect, in the order of the configuration.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.relays.iter().map(relay::Bound::address).collect()
    }

    /// The consumers, subscribed to their streams and not started yet.
    pub fn begin(self, waveforms: &Waveforms, metrics: &Metrics) -> (Vec<Relay>, Recorders) {
        let relays = self.relays.into_iter();
        let relays = relays.map(|bound| Relay::new(bound, waveforms.clone(), metrics.clone()));
        (relays.collect(), Recorders::new(self.records, waveforms, metrics))
    }
}
