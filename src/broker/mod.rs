//! The embedded MQTT broker: MQTT 3.1.1 and MQTT 5 on one port, chosen by each client's CONNECT.
//!
//! Data path: `listener` accepts and limits; `connection` is one client's task, which reads packets
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
mod external;
mod filter;
mod inflight;
mod link;
mod listener;
mod packet;
mod publication;
mod queue;
mod retained;
mod router;
mod service;
mod session;
mod stats;
mod tree;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use external::{
    External, ExternalError, ExternalSettings, ExternalStats, Login, ProtocolVersion, Will,
};
pub use filter::FilterError;
pub use link::{Link, Message, Received, Subscription};
pub use packet::QoS;
pub use service::{Numbers, Service, ServiceError};
pub use stats::BrokerStats;

use access::Access;
use clients::Clients;
use listener::Listener;
use router::Router;
use stats::Throttle;

/// What the broker needs to know. The defaults serve one machine: loopback only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerSettings {
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Bounds of everything a client can make the broker hold.
    pub limits: Limits,
    /// Whether clients may connect without logging in.
    pub allow_anonymous: bool,
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 1883))],
            limits: Limits::default(),
            allow_anonymous: true,
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
    /// The settings name no address.
    #[error("mqtt broker has no address to listen on: broker.listen is empty")]
    NoAddress,
    /// A part of the broker ended that never does.
    #[error("mqtt broker stopped by a fault of its own: {0}")]
    Fault(String),
}

/// What connections share.
#[derive(Debug)]
struct Shared {
    clients: Arc<Clients>,
    router: Arc<Router>,
    access: Access,
    limits: Limits,
    stats: Arc<BrokerStats>,
    /// Keeps clients that are refused again and again from filling the log.
    refusals: Throttle,
}

/// A broker whose ports are open and which does not serve yet.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl Broker {
    /// Opens all ports. Clients that come before `run` wait in the system's queue.
    ///
    /// # Errors
    /// [`BrokerError::Listen`] for the first address that is not to be had; the others are given
    /// back.
    pub async fn bind(settings: BrokerSettings) -> Result<Self, BrokerError> {
        if settings.listen.is_empty() {
            return Err(BrokerError::NoAddress);
        }
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for address in settings.listen {
            let failed = |source| BrokerError::Listen { address, hint: hint(&source), source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            addresses.push(listener.local_addr().map_err(failed)?);
            listeners.push(listener);
        }
        let stats = Arc::new(BrokerStats::default());
        let router = Arc::new(Router::new(settings.limits.retained_messages, Arc::clone(&stats)));
        let clients =
            Clients::new(Arc::clone(&router), Arc::clone(&stats), settings.limits.clone());
        let shared = Shared {
            clients: Arc::new(clients),
            router,
            access: Access::new(settings.allow_anonymous),
            limits: settings.limits,
            stats,
            refusals: Throttle::default(),
        };
        Ok(Self { shared: Arc::new(shared), listeners, addresses })
    }

    /// The addresses that are listened on, with real port numbers.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
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
        let connections = Arc::new(listener::Connections::new(Arc::clone(&self.shared)));
        for socket in self.listeners {
            let listener = Listener::new(socket, Arc::clone(&connections));
            tasks.spawn(listener.run(stop.clone()));
        }
        let clients = Arc::clone(&self.shared.clients);
        tasks.spawn(until(stop.clone(), async move { clients.keep_deadlines().await }));
        let router = Arc::clone(&self.shared.router);
        tasks.spawn(until(stop.clone(), async move {
            loop {
                tokio::time::sleep(PURGE_INTERVAL).await;
                router.purge();
            }
        }));
        let mut fault = None;
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                fault.get_or_insert_with(|| BrokerError::Fault(error.to_string()));
                stop.cancel();
            } else if !stop.is_cancelled() {
                fault.get_or_insert_with(|| BrokerError::Fault("a listener ended".to_owned()));
                stop.cancel();
            }
        }
        fault.map_or(Ok(()), Err)
    }
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

const PURGE_INTERVAL: Duration = Duration::from_secs(60);
