//! What the broker is told when it is opened.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::access::AccessSettings;
use super::limits::Limits;
use super::ports::TlsSettings;

/// What the broker needs to know. The defaults serve one machine: loopback only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerSettings {
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// A further listener, with TLS.
    pub tls: Option<TlsSettings>,
    /// Bounds of everything a client can make the broker hold.
    pub limits: Limits,
    /// Who may connect and what for.
    pub access: AccessSettings,
    /// Where retained messages and sessions are kept, in a file `broker.db`; `None`: in memory only.
    pub data_dir: Option<PathBuf>,
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 1883))],
            tls: None,
            limits: Limits::default(),
            access: AccessSettings::default(),
            data_dir: None,
        }
    }
}
