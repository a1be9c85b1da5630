//! Taking the broker's ports, and loading what the one with TLS shows its clients.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::BrokerError;
use crate::tls::{Credentials, TlsFiles};

/// The listener with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Certificate, key, and the authority of client certificates.
    pub files: TlsFiles,
    /// How often the files are looked at, to take in renewed ones.
    pub look_every: Duration,
}

impl TlsSettings {
    /// A listener that looks at its files often enough for any renewal.
    #[must_use]
    pub fn new(listen: Vec<SocketAddr>, files: TlsFiles) -> Self {
        Self { listen, files, look_every: Duration::from_secs(10) }
    }
}

/// The open ports of the listener with TLS.
#[derive(Debug)]
pub(super) struct TlsPorts {
    pub(super) credentials: Arc<Credentials>,
    pub(super) look_every: Duration,
    pub(super) listeners: Vec<TcpListener>,
    pub(super) addresses: Vec<SocketAddr>,
}

impl TlsPorts {
    pub(super) async fn open(settings: TlsSettings) -> Result<Self, BrokerError> {
        let credentials = Credentials::load(settings.files).map_err(BrokerError::Tls)?;
        let (listeners, addresses) = open(settings.listen).await?;
        let (credentials, look_every) = (Arc::new(credentials), settings.look_every);
        Ok(Self { credentials, look_every, listeners, addresses })
    }
}

/// Takes every port, and answers the addresses with real port numbers.
pub(super) async fn open(
    wanted: Vec<SocketAddr>,
) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), BrokerError> {
    let mut listeners = Vec::new();
    let mut addresses = Vec::new();
    for address in wanted {
        let failed = |source| BrokerError::Listen { address, hint: hint(&source), source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        addresses.push(listener.local_addr().map_err(failed)?);
        listeners.push(listener);
    }
    Ok((listeners, addresses))
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program (mosquitto, another gateway?) has this port; stop it or change \
             broker.listen"
        }
        io::ErrorKind::PermissionDenied => {
            "not allowed; ports below 1024 need a privilege, choose a higher one in broker.listen"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; use one of its own, or 0.0.0.0 for all"
        }
        _ => "the system refused",
    }
}
