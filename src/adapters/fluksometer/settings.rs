//! How Fluksometers are reached.

use std::sync::Arc;
use std::time::Duration;

use crate::adapters::fleet::MeterSettings;
use crate::broker::GuestSettings;
use crate::model::{Channel, SensorId, SensorType};

/// A link to Fluksometers.
#[derive(Debug, Clone)]
pub enum Source {
    /// The gateway's own broker: whoever bridges to it.
    Ours,
    /// A Fluksometer's broker.
    Broker(GuestSettings),
    /// A Fluksometer's local API: gauges only.
    Local {
        /// Host and port.
        address: String,
        /// What is asked for.
        sensors: Vec<LocalSensor>,
        /// How often.
        interval: Duration,
        /// The device id or another text of its own that stands for it.
        serial: Arc<str>,
    },
}

/// A sensor that is asked for by its id, because the local API has no list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSensor {
    /// The sensor's own id.
    pub id: SensorId,
    /// The channel it is called by here.
    pub channel: Channel,
    /// What it measures.
    pub kind: SensorType,
}

/// What the configuration comes to.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The links, each once; a `LinkId` is a place in this list.
    pub(crate) links: Vec<Source>,
    /// One per entry.
    pub(crate) meters: Vec<MeterSettings>,
}

impl Source {
    /// What the link is known by on disk, without any secret.
    pub(super) fn key(&self) -> String {
        match self {
            Source::Ours => "embedded".to_owned(),
            Source::Broker(settings) => format!("{}:{}", settings.host, settings.port),
            Source::Local { address, serial, .. } => format!("http {address} {serial}"),
        }
    }

    /// Whether documents and readings are on the gateway's broker already.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self, Source::Ours)
    }
}
