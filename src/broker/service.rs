//! The broker that the gateway works with: its own, or one elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;

use super::external::{External, ExternalError, ExternalStats};
use super::{Broker, BrokerError, BrokerStats, Link, Roster};

/// Either kind of broker, ready to run.
#[derive(Debug)]
pub enum Service {
    /// The gateway's own.
    Embedded(Box<Broker>),
    /// The connection to one elsewhere.
    External(Box<External>),
}

/// Why neither kind can serve.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// See [`BrokerError`].
    #[error(transparent)]
    Embedded(#[from] BrokerError),
    /// See [`ExternalError`].
    #[error(transparent)]
    External(#[from] ExternalError),
}

/// The numbers of either kind.
#[derive(Debug, Clone)]
pub enum Numbers {
    /// Of the gateway's own broker.
    Embedded(Arc<BrokerStats>),
    /// Of the connection to one elsewhere.
    External(Arc<ExternalStats>),
}

impl Service {
    /// The gateway's way to publish and subscribe.
    #[must_use]
    pub fn link(&self) -> Link {
        match self {
            Self::Embedded(broker) => broker.link(),
            Self::External(external) => external.link(),
        }
    }

    /// Where clients can connect: nowhere, if the broker is elsewhere.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        match self {
            Self::Embedded(broker) => broker.addresses(),
            Self::External(_) => &[],
        }
    }

    /// Where clients can connect with TLS.
    #[must_use]
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        match self {
            Self::Embedded(broker) => broker.tls_addresses(),
            Self::External(_) => &[],
        }
    }

    /// What is counted.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        match self {
            Self::Embedded(broker) => Numbers::Embedded(broker.stats()),
            Self::External(external) => Numbers::External(external.stats()),
        }
    }

    /// Who its clients are; `None` where they are a broker's elsewhere.
    #[must_use]
    pub fn roster(&self) -> Option<Roster> {
        match self {
            Self::Embedded(broker) => Some(broker.roster()),
            Self::External(_) => None,
        }
    }

    /// Runs until `shutdown`, then ends in order.
    ///
    /// # Errors
    /// When a part ended by itself that never does.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ServiceError> {
        match self {
            Self::Embedded(broker) => Ok(broker.run(shutdown).await?),
            Self::External(external) => Ok(external.run(shutdown).await?),
        }
    }
}

impl Numbers {
    /// Each number by its name in metrics, with its kind there.
    pub fn list(&self) -> Vec<(&'static str, &'static str, u64)> {
        match self {
            Self::Embedded(stats) => stats.list().collect(),
            Self::External(stats) => stats.list().collect(),
        }
    }

    /// What a number tells.
    pub fn help(&self, name: &str) -> &'static str {
        match self {
            Self::Embedded(_) => BrokerStats::help(name),
            Self::External(_) => "A number of the connection to the broker elsewhere.",
        }
    }

    /// Clients connected to the gateway's own broker; `None` if it has none.
    pub fn clients(&self) -> Option<u64> {
        match self {
            Self::Embedded(stats) => Some(stats.clients.load(Ordering::Relaxed)),
            Self::External(_) => None,
        }
    }
}
