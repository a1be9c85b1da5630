//! What keeps a gateway from starting, or ends it.

use std::net::SocketAddr;

use crate::bridge::BridgeError;
use crate::broker::{FilterError, ServiceError};
use crate::command::router::RouterError;
use crate::history::HistoryError;
use crate::journal::JournalError;
use crate::store::StoreError;
use crate::streams::RelayError;
use crate::sync::SyncError;
use crate::transport::TransportError;
use crate::web::TokensError;

/// Why the gateway could not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The state on disk cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The histories cannot be used.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The file of journal and history cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The broker's port is not to be had, or the broker, or the way to another, failed.
    #[error(transparent)]
    Broker(#[from] ServiceError),
    /// The secret behind the sensors' tokens is not to be had.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// Commands cannot be taken in.
    #[error(transparent)]
    Commands(#[from] RouterError),
    /// Requests for history cannot be taken in.
    #[error(transparent)]
    Histories(#[from] SyncError),
    /// Requests cannot be taken in.
    #[error(transparent)]
    Requests(#[from] BridgeError),
    /// Home Assistant's topics cannot be listened to.
    #[error("homeassistant.prefix makes no topic")]
    HomeAssistant(#[from] FilterError),
    /// A meter port is not to be had.
    #[error(transparent)]
    Link(#[from] TransportError),
    /// A port that samples are read from is not to be had.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// The web port is not to be had.
    #[error("cannot listen on {address} for the web; choose another web.listen")]
    Web {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// A part that never ends did.
    #[error("{name} ended by itself: {reason}")]
    Ended {
        /// The part.
        name: String,
        /// Why.
        reason: String,
    },
}
