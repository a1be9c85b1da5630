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
mod external;
mod filter;
mod inflight;
mod link;
mod listener;
mod packet;
mod ports;
mod pressure;
mod publication;
mod queue;
mod retained;
mod router;
mod service;
mod session;
mod stats;
mod store;
mod sys;
mod tree;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use access::{
    AccessRule, AccessSettings, Caller, Gate, HashError, LineFault, PasswordFile,
    PasswordFileError, PasswordHash, Refusal, User, Who,
};
pub use door::{ByteStream, Complaints, Door, Seat};
pub use external::{
    External, ExternalError, ExternalSettings, ExternalStats, Login, ProtocolVersion, Will,
};
pub use filter::{FilterError, check_filter};
pub use link::{Link, Message, Received, Subscription};
pub use packet::QoS;
pub use ports::TlsSettings;
pub use pressure::Crowded;
pub use service::{Numbers, Service, ServiceError};
pub use stats::BrokerStats;
pub use store::StorageError;
pub use wire::{Probed, probe};

use access::Access;
use clients::Clients;
use listener::{Connections, Listener};
use ports::{TlsPorts, open};
use router::Router;
use stats::Throttle;
use store::{Database, Quota, Store};
use sys::System;

use crate::tls::TlsErrors;

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

/// Bounds of everything a client can make the broker hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one IP address.
    pub connections_per_address: usize,
    /// Time from accepting a connection to the end of its CONNECT packet.
    pub connect_timeout: Duration,
    /// Longest keep-alive a client may ask for.
    pub keep_alive: Duration,
    /// Largest packet taken, in bytes.
    pub packet_size: usize,
    /// Incoming QoS 1 and 2 messages a client may have open, announced as receive maximum.
    pub inflight: u16,
    /// Messages that may wait for one client.
    pub queued_messages: usize,
    /// Memory that messages waiting for one client may take, in bytes.
    pub queued_bytes: usize,
    /// Messages that may wait for all clients with kept sessions together.
    pub total_queued_messages: usize,
    /// Memory that these may take, in bytes; a message counts once for each client.
    pub total_queued_bytes: usize,
    /// Topics with a retained message.
    pub retained_messages: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1000,
            connections_per_address: 200,
            connect_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(65_535),
            packet_size: 2 * 1024 * 1024,
            inflight: 100,
            queued_messages: 100_000,
            queued_bytes: 64 * 1024 * 1024,
            total_queued_messages: 1_000_000,
            total_queued_bytes: 256 * 1024 * 1024,
            retained_messages: 200_000,
        }
    }
}

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
        let stats = Arc::new(BrokerStats::default());
        let access = Arc::new(Access::new(settings.access, Arc::clone(&stats))?);
        let database = settings.data_dir.as_deref().map(Database::open).transpose()?;
        let quota = Quota {
            messages: settings.limits.total_queued_messages,
            bytes: settings.limits.total_queued_bytes,
        };
        let store = Arc::new(match &database {
            Some(database) => Store::on_disk(database, quota, Arc::clone(&stats)),
            None => Store::memory_only(Arc::clone(&stats)),
        });
        let retained_limit = settings.limits.retained_messages;
        let router = Arc::new(Router::new(retained_limit, Arc::clone(&store), Arc::clone(&stats)));
        let clients = Clients::new(
            Arc::clone(&router),
            Arc::clone(&store),
            Arc::clone(&stats),
            settings.limits.clone(),
        );
        if let Some(database) = &database {
            restore(database, &router, &clients, &access)?;
        }
        let shared = Shared {
            clients: Arc::new(clients),
            router,
            store,
            access,
            limits: settings.limits,
            stats,
            refusals: Throttle::default(),
        };
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

    /// The broker's counters.
    #[must_use]
    pub fn stats(&self) -> Arc<BrokerStats> {
        Arc::clone(&self.shared.stats)
    }

    /// Serves until `shutdown` is cancelled, then sends every client what is queued for it and says
    /// goodbye, within a few seconds.
    ///
    /// # Errors
    /// [`BrokerError::Fault`] if a listener or the clock of sessions ends by itself.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), BrokerError> {
        let mut tasks = JoinSet::new();
        let stop = shutdown.child_token();
        let connections = self.connections;
        for socket in self.listeners {
            let listener = Listener::new(socket, None, Arc::clone(&connections));
            tasks.spawn(listener.run(stop.clone()));
        }
        if let Some(TlsPorts { credentials, look_every, listeners, .. }) = self.tls {
            for socket in listeners {
                let tls = Some(Arc::clone(&credentials));
                let listener = Listener::new(socket, tls, Arc::clone(&connections));
                tasks.spawn(listener.run(stop.clone()));
            }
            let look = async move { credentials.keep_fresh(look_every).await };
            tasks.spawn(until(stop.clone(), look));
        }
        tasks.spawn(door::attend(self.arrivals, connections, stop.clone()));
        let clients = Arc::clone(&self.shared.clients);
        tasks.spawn(until(stop.clone(), async move { clients.keep_deadlines().await }));
        let router = Arc::clone(&self.shared.router);
        tasks.spawn(until(stop.clone(), async move {
            loop {
                tokio::time::sleep(PURGE_INTERVAL).await;
                router.purge();
            }
        }));
        let Shared { clients, router, stats, .. } = &*self.shared;
        let system = System::new(Arc::clone(clients), Arc::clone(router), Arc::clone(stats));
        tasks.spawn(until(stop.clone(), system.run()));
        // Writes to disk for as long as anybody may have something to write.
        let (mut writer, stop_writer) = (JoinSet::new(), CancellationToken::new());
        if let Some(database) = self.database {
            let store = Arc::clone(&self.shared.store);
            writer.spawn(store.run(database, stop_writer.clone()));
        }
        let mut fault = None;
        loop {
            let ended = tokio::select! {
                ended = tasks.join_next() => ended,
                Some(lost) = writer.join_next() => {
                    let lost = lost.map(|lost| lost.err().map(|error| error.to_string()));
                    let why = lost.unwrap_or_else(|error| Some(error.to_string()));
                    fault.get_or_insert_with(|| BrokerError::Fault(why.unwrap_or_default()));
                    stop.cancel();
                    continue;
                }
            };
            let Some(ended) = ended else { break };
            if let Err(error) = ended {
                fault.get_or_insert_with(|| BrokerError::Fault(error.to_string()));
                stop.cancel();
            } else if !stop.is_cancelled() {
                fault.get_or_insert_with(|| BrokerError::Fault("a listener ended".to_owned()));
                stop.cancel();
            }
        }
        stop_writer.cancel();
        let last_words = async { while writer.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_COMMIT, last_words).await.is_err() {
            tracing::error!("the disk did not take the broker's last changes in time");
        }
        fault.map_or(Ok(()), Err)
    }
}

/// Brings back what was kept, and publishes the wills that have come due meanwhile.
fn restore(
    database: &Database,
    router: &Router,
    clients: &Clients,
    access: &Access,
) -> Result<(), StorageError> {
    database.each_retained(|publication| router.restore_retained(publication))?;
    router.purge();
    database.each_session(|session| clients.restore(session, access))?;
    clients.meet_deadlines();
    Ok(())
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
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

/// How long the end of the broker waits for its disk.
const LAST_COMMIT: Duration = Duration::from_secs(1);
const PURGE_INTERVAL: Duration = Duration::from_secs(60);
