//! Why the broker cannot serve.

use std::io;
use std::net::SocketAddr;

use super::store::StorageError;
use crate::tls::TlsErrors;

/// Why the broker cannot serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// An address could not be listened on.
    #[error("mqtt broker cannot listen on {address}: {hint}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What to do about it.
        hint: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The files of the listener with TLS cannot be used.
    #[error("mqtt broker cannot serve tls: broker.tls.{0}")]
    Tls(TlsErrors),
    /// The settings name no address.
    #[error("mqtt broker has no address to listen on: broker.listen is empty")]
    NoAddress,
    /// The users cannot be had.
    #[error("mqtt broker cannot know its users: {0}")]
    Access(String),
    /// What was kept on disk cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A part of the broker ended that never does.
    #[error("mqtt broker stopped by a fault of its own: {0}")]
    Fault(String),
}
