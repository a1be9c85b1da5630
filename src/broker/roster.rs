//! Who the broker's clients are, for people to look at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::clients::Clients;
use super::packet::Version;

/// Every session as of now. Clones look at the same broker.
#[derive(Debug, Clone)]
pub struct Roster(Arc<Clients>);

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    /// Its client id, as the client chose it.
    pub id: Arc<str>,
    /// The user it logged in as, if it did.
    pub user: Option<Arc<str>>,
    /// Its connection, if it has one.
    pub connection: Option<ConnectionInfo>,
    /// Filters it is subscribed to.
    pub subscriptions: usize,
    /// Messages that wait for it.
    pub queued: usize,
    /// Whether the session would outlive its connection.
    pub persistent: bool,
}

/// A session's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Where it comes from.
    pub peer: SocketAddr,
    /// `3.1.1` or `5`.
    pub version: &'static str,
    /// When it was made.
    pub since: SystemTime,
}

impl Roster {
    pub(super) fn new(clients: Arc<Clients>) -> Self {
        Self(clients)
    }

    /// All sessions, by client id.
    #[must_use]
    pub fn list(&self) -> Vec<ClientInfo> {
        let mut list: Vec<ClientInfo> =
            self.0.all().iter().map(|session| session.describe()).collect();
        list.sort_by(|one, other| one.id.cmp(&other.id));
        list
    }
}

impl ConnectionInfo {
    /// A connection made just now.
    pub(super) fn begin(peer: SocketAddr, version: Version) -> Self {
        let version = match version {
            Version::V3 => "3.1.1",
            Version::V5 => "5",
        };
        Self { peer, version, since: SystemTime::now() }
    }
}
