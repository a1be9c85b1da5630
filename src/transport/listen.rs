//! A port that meters dial.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Conversation;
use super::connection::{End, LastHeard, converse};
use crate::metrics::Metrics;
use crate::model::Timestamp;

/// What a listener allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenOptions {
    /// Networks that may connect; empty: all.
    pub allow: Vec<IpNet>,
    /// Connections at one time.
    pub connections: usize,
    /// Nothing heard for so long: the connection is closed. `None`: never.
    pub idle: Option<Duration>,
}

/// A bound port that meters dial.
#[derive(Debug)]
pub struct MeterListener {
    listener: TcpListener,
    address: SocketAddr,
    options: ListenOptions,
}

/// A port is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for meters{}", hint(*.address, .source))]
pub struct TransportError {
    /// The address asked for.
    pub address: SocketAddr,
    /// Why not.
    pub source: std::io::Error,
}

fn hint(address: SocketAddr, source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::AddrInUse if is_lent(address.port()) => {
            "; another program listens there, or an outgoing connection of this machine was given this port, \
             which lies among those that the system lends (sysctl net.ipv4.ip_local_port_range): stop the \
             program or start again, and keep the port free with sysctl \
             net.ipv4.ip_local_reserved_ports=54321-54323"
        }
        std::io::ErrorKind::AddrInUse => {
            "; another program listens there: choose another port or stop it"
        }
        std::io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need a right that this user lacks"
        }
        std::io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    }
}

/// Takes a port; one that an outgoing connection may hold for a moment is tried for a little longer.
async fn patiently(address: SocketAddr) -> std::io::Result<TcpListener> {
    let mut tries = 0;
    loop {
        tries += 1;
        match TcpListener::bind(address).await {
            Err(error)
                if error.kind() == std::io::ErrorKind::AddrInUse
                    && is_lent(address.port())
                    && tries < TRIES =>
            {
                tokio::time::sleep(BETWEEN_TRIES).await;
            }
            bound => return bound,
        }
    }
}

/// Whether Linux gives this port to outgoing connections, unless it was told otherwise.
fn is_lent(port: u16) -> bool {
    (32_768..=60_999).contains(&port)
}

impl MeterListener {
    /// Takes the port.
    pub async fn bind(
        address: SocketAddr,
        options: ListenOptions,
    ) -> Result<MeterListener, TransportError> {
        let failed = |source| TransportError { address, source };
        let listener = patiently(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(MeterListener { listener, address, options })
    }

    /// The address, with the port that was given for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves every peer with a conversation of its own until `stop`.
    pub async fn serve<C: Conversation>(
        self: Arc<Self>,
        stop: CancellationToken,
        metrics: Metrics,
        begin: impl Fn(SocketAddr) -> C + Send,
    ) -> Result<(), std::convert::Infallible> {
        let peers = Arc::new(Peers::default());
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(ended) = connections.join_next() => {
                    report_panic(ended);
                    continue;
                }
                () = stop.cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Mostly too many open files: waiting lets some be closed.
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if !self.admit(peer, &peers, &metrics) {
                continue;
            }
            super::prepare(&stream);
            let idle = self.options.idle;
            let (held, conversation) = (metrics.meter_connections.hold(), begin(peer));
            // Taken before the next connection is looked at, which must find it taken.
            let seat = Peers::seat(&peers, peer, &stop);
            connections.spawn(async move {
                let _held = held;
                attend(stream, conversation, idle, seat).await;
            });
        }
        let ending = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_secs(1), ending).await;
        connections.shutdown().await;
        Ok(())
    }

    /// Whether a peer may stay. With all places taken, the peer that has been silent for longest
    /// gives up its own, so that half-open connections never lock a meter out.
    fn admit(&self, peer: SocketAddr, peers: &Peers, metrics: &Metrics) -> bool {
        let address = peer.ip().to_canonical();
        if !self.allows(address) {
            metrics.refused_connections.increment();
            tracing::warn!(%peer, "refused: its address is in none of the networks under `allow`");
            return false;
        }
        if peers.count() < self.options.connections {
            return true;
        }
        metrics.refused_connections.increment();
        match peers.give_up_most_silent() {
            Some(given_up) => {
                tracing::warn!(%peer, %given_up, "all connections are taken: the most silent is closed");
                true
            }
            None => {
                tracing::warn!(%peer, limit = self.options.connections, "refused: all connections are taken");
                false
            }
        }
    }

    fn allows(&self, address: IpAddr) -> bool {
        let allow = &self.options.allow;
        allow.is_empty() || allow.iter().any(|network| network.contains(&address))
    }
}

async fn attend(
    stream: TcpStream,
    conversation: impl Conversation,
    idle: Option<Duration>,
    seat: Seat,
) {
    let peer = seat.peer;
    tracing::debug!(%peer, "a meter connected");
    match converse(stream, conversation, idle, &seat.heard, &seat.leave).await {
        End::Left => {}
        End::Finished(reason) => tracing::info!(%peer, reason, "the connection was closed"),
        End::Closed => tracing::debug!(%peer, "the meter closed the connection"),
        End::Idle => tracing::info!(%peer, ?idle, "closed: nothing was heard for the idle time"),
        End::Failed(error) => tracing::debug!(%peer, error, "the connection failed"),
    }
}

fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a meter's connection ended in a fault of this program");
    }
}

/// Who is connected now.
#[derive(Debug, Default)]
struct Peers(Mutex<HashMap<SocketAddr, Place>>);

#[derive(Debug, Clone)]
struct Place {
    heard: LastHeard,
    leave: CancellationToken,
}

/// A peer's place, given back when dropped.
struct Seat {
    peers: Arc<Peers>,
    peer: SocketAddr,
    heard: LastHeard,
    leave: CancellationToken,
}

impl Peers {
    fn count(&self) -> usize {
        self.0.lock().len()
    }

    fn seat(peers: &Arc<Peers>, peer: SocketAddr, stop: &CancellationToken) -> Seat {
        let place = Place { heard: LastHeard::now(), leave: stop.child_token() };
        peers.0.lock().insert(peer, place.clone());
        Seat { peers: Arc::clone(peers), peer, heard: place.heard, leave: place.leave }
    }

    /// Closes the connection that was silent for longest, if that is long enough for a meter to
    /// be taken for dead.
    fn give_up_most_silent(&self) -> Option<SocketAddr> {
        let mut places = self.0.lock();
        let (peer, place) = places.iter().min_by_key(|(_, place)| place.heard.get())?;
        if Timestamp::now().since(place.heard.get()) < DEAD {
            return None;
        }
        let peer = *peer;
        if let Some(place) = places.remove(&peer) {
            place.leave.cancel();
        }
        Some(peer)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.peers.0.lock().remove(&self.peer);
    }
}

/// The longest send interval of a GEM is 256 s; a meter that keeps a connection is heard at least
/// this often.
const DEAD: Duration = Duration::from_secs(300);
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(300);
