//! The embedded MQTT broker: MQTT 3.1.1 and MQTT 5 on one port, chosen by each client's CONNECT.
//!
//! Data path: `listener` accepts and limits, and does the TLS handshake where there is one; through
//! the [`Door`] come streams that another server accepted (WebSocket). `connection` is one client's task, which reads packets
//! through `wire`, hands messages to the `router`, and writes what its `session` has queued. The
//! router finds subscribers in the `tree`, keeps `retained` messages, and puts one shared message
//! into each session's bounded `queue`. `clients` knows all sessions and ends them in time. The
//! gateway itself publishes and subscribes through a [`Link`], without a socket.
//!
//! With `broker.mode: external` none of this runs: `external` keeps up a connection to a broker
//! elsewhere, and gives the same [`Link`]. `service` is either of the two.
//!
//! Rules that hold everywhere here: no lock is held over an `await`; nothing that a client sends
//! or leaves unread can stop another one or grow without bound; what is dropped or refused is
//! counted in [`BrokerStats`].

mod access;
mod clients;
mod connection;
mod door;
mod error;
mod external;
mod filter;
mod inflight;
mod limits;
mod link;
mod listener;
mod packet;
mod ports;
mod pressure;
mod publication;
mod queue;
mod retained;
mod roster;
mod router;
mod run;
mod service;
mod session;
mod settings;
mod stats;
mod store;
mod sys;
mod tree;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::mpsc;

pub use access::{
    AccessRule, AccessSettings, Caller, Gate, HashError, LineFault, PasswordFile,
    PasswordFileError, PasswordHash, Refusal, User, Who,
};
pub use door::{ByteStream, Complaints, Door, Seat};
pub use error::BrokerError;
pub use external::{
    External, ExternalError, ExternalSettings, ExternalStats, Guest, GuestLink, GuestSettings,
    GuestSubscription, Login, ProtocolVersion, Will,
};
pub use filter::{FilterError, check_filter};
pub use limits::Limits;
pub use link::{Link, Message, QoS, Received, Subscription};
pub use ports::TlsSettings;
pub use pressure::Crowded;
pub use roster::{ClientInfo, ConnectionInfo, Roster};
pub use service::{Numbers, Service, ServiceError};
pub use settings::BrokerSettings;
pub use stats::BrokerStats;
pub use store::StorageError;
pub use wire::{Probed, probe};

use access::Access;
use clients::Clients;
use listener::Connections;
use ports::{TlsPorts, open};
use retained::RetainedLimit;
use router::Router;
use stats::Throttle;
use store::{Database, Quota, Store};

/// What connections share.
#[derive(Debug)]
struct Shared {
    clients: Arc<Clients>,
    router: Arc<Router>,
    store: Arc<Store>,
    access: Arc<Access>,
    limits: Limits,
    stats: Arc<BrokerStats>,
    /// Keeps clients that are refused again and again from filling the log.
    refusals: Throttle,
}

/// A broker whose ports are open and which does not serve yet.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    database: Option<Database>,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    tls: Option<TlsPorts>,
    connections: Arc<Connections>,
    /// Streams that come in through a [`Door`].
    arrivals: mpsc::Receiver<door::Arrival>,
    door: Door,
}

impl Broker {
    /// Opens all ports. Clients that come before `run` wait in the system's queue.
    ///
    /// # Errors
    /// [`BrokerError::Listen`] for the first address that is not to be had; the others are given
    /// back. [`BrokerError::Tls`] for files of the TLS listener that cannot be used;
    /// [`BrokerError::Storage`] when what was kept on disk cannot be used.
    pub async fn bind(settings: BrokerSettings) -> Result<Self, BrokerError> {
        if settings.listen.is_empty() && settings.tls.is_none() {
            return Err(BrokerError::NoAddress);
        }
        let (listeners, addresses) = open(settings.listen).await?;
        let tls = match settings.tls {
            None => None,
            Some(tls) => Some(TlsPorts::open(tls).await?),
        };
        let database = settings.data_dir.as_deref().map(Database::open).transpose()?;
        let shared = Shared::new(settings.limits, settings.access, database.as_ref())?;
        if let Some(database) = &database {
            shared.restore(database)?;
        }
        let shared = Arc::new(shared);
        let connections = Arc::new(Connections::new(Arc::clone(&shared)));
        let (door, arrivals) = Door::new(Arc::clone(&connections));
        Ok(Self { shared, database, listeners, addresses, tls, connections, arrivals, door })
    }

    /// The addresses that are listened on, with real port numbers.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The addresses that are listened on with TLS.
    #[must_use]
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        self.tls.as_ref().map_or(&[], |tls| &tls.addresses)
    }

    /// A way in for streams that another server has accepted, such as WebSockets.
    #[must_use]
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// The users and rules, for those who come over HTTP; `anonymous`: also without a login.
    #[must_use]
    pub fn gate(&self, anonymous: bool) -> Gate {
        Gate::of(Arc::clone(&self.shared.access), anonymous)
    }

    /// A way for the gateway to publish and subscribe; works before and after `run` as well.
    #[must_use]
    pub fn link(&self) -> Link {
        Link::embedded(
            Arc::clone(&self.shared.clients),
            Arc::clone(&self.shared.router),
            Arc::clone(&self.shared.stats),
        )
    }

    /// Who its clients are.
    #[must_use]
    pub fn roster(&self) -> Roster {
        Roster::new(Arc::clone(&self.shared.clients))
    }

    /// The broker's counters.
    #[must_use]
    pub fn stats(&self) -> Arc<BrokerStats> {
        Arc::clone(&self.shared.stats)
    }
}

impl Shared {
    /// An empty broker. `database`: where it is to be kept.
    fn new(
        limits: Limits,
        access: AccessSettings,
        database: Option<&Database>,
    ) -> Result<Self, BrokerError> {
        let stats = Arc::new(BrokerStats::default());
        let access = Arc::new(Access::new(access, Arc::clone(&stats))?);
        let quota =
            Quota { messages: limits.total_queued_messages, bytes: limits.total_queued_bytes };
        let store = Arc::new(match database {
            Some(database) => Store::on_disk(database, quota, Arc::clone(&stats)),
            None => Store::memory_only(Arc::clone(&stats)),
        });
        let retained =
            RetainedLimit { messages: limits.retained_messages, bytes: limits.retained_bytes };
        let router = Arc::new(Router::new(retained, Arc::clone(&store), Arc::clone(&stats)));
        let clients = Clients::new(
            Arc::clone(&router),
            Arc::clone(&store),
            Arc::clone(&stats),
            limits.clone(),
        );
        let (clients, refusals) = (Arc::new(clients), Throttle::default());
        Ok(Self { clients, router, store, access, limits, stats, refusals })
    }

    /// Brings back what was kept, and publishes the wills that have come due meanwhile.
    fn restore(&self, database: &Database) -> Result<(), StorageError> {
        database.each_retained(|publication| self.router.restore_retained(publication))?;
        self.router.purge();
        database.each_session(|session| self.clients.restore(session, &self.access))?;
        self.clients.meet_deadlines();
        Ok(())
    }
}
