//! Accepts connections, within limits, and watches over their tasks.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::connection;
use super::stats::{BrokerStats, Throttle};

/// The open connections of all listeners, counted in all and by address.
#[derive(Debug)]
pub(crate) struct Connections {
    shared: Arc<Shared>,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    refusal: Throttle,
    /// Connections that are being told that there is no room for them.
    turned_away: Arc<Semaphore>,
    accept_failure: Throttle,
}

/// One listening port.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    connections: Arc<Connections>,
}

/// A connection's place among the others, given back when dropped.
#[derive(Debug)]
struct Place {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Connections {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            by_address: Mutex::default(),
            refusal: Throttle::default(),
            turned_away: Arc::new(Semaphore::new(TURNED_AWAY)),
            accept_failure: Throttle::default(),
        }
    }

    /// A place for a connection from `address`, if there is one left.
    fn place(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let limits = &self.shared.limits;
        let mut by_address = self.by_address.lock();
        let total: usize = by_address.values().sum();
        let here = by_address.get(&address).copied().unwrap_or(0);
        if total >= limits.connections || here >= limits.connections_per_address {
            drop(by_address);
            BrokerStats::count(&self.shared.stats.refused_connections);
            if let Some(before) = self.refusal.pass() {
                tracing::warn!(%address, total, here, before, "connection refused: limit reached");
            }
            return None;
        }
        by_address.insert(address, here + 1);
        BrokerStats::count(&self.shared.stats.connections);
        BrokerStats::count(&self.shared.stats.connections_opened);
        Some(Place { connections: Arc::clone(self), address })
    }

    fn admit(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        stop: &CancellationToken,
        tasks: &mut JoinSet<()>,
    ) {
        let Some(place) = self.place(peer.ip().to_canonical()) else {
            // When many come at once, the rest is closed without a word.
            if let Ok(permit) = Arc::clone(&self.turned_away).try_acquire_owned() {
                let stop = stop.clone();
                tasks.spawn(async move {
                    connection::turn_away(stream, stop).await;
                    drop(permit);
                });
            }
            return;
        };
        // Only costs latency if it fails.
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&self.shared);
        let stop = stop.clone();
        tasks.spawn(async move {
            connection::serve(stream, peer, shared, stop).await;
            drop(place);
        });
    }

    fn see_off(&self, ended: Result<(), JoinError>) {
        if let Err(error) = ended
            && error.is_panic()
        {
            BrokerStats::count(&self.shared.stats.connection_panics);
            tracing::error!(%error, "an mqtt connection's task failed; the others go on");
        }
    }

    /// Out of file descriptors, as a rule: without a pause this would spin.
    async fn wait_after(&self, error: std::io::Error) {
        if let Some(before) = self.accept_failure.pass() {
            tracing::warn!(%error, before, "mqtt connection could not be accepted");
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        BrokerStats::lower(&self.connections.shared.stats.connections);
        let mut by_address = self.connections.by_address.lock();
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

impl Listener {
    pub(crate) fn new(socket: TcpListener, connections: Arc<Connections>) -> Self {
        Self { socket, connections }
    }

    /// Accepts until `stop`, then gives the connections time to say goodbye.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Self { socket, connections } = self;
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = tasks.join_next() => connections.see_off(ended),
                accepted = socket.accept() => match accepted {
                    Ok((stream, peer)) => connections.admit(stream, peer, &stop, &mut tasks),
                    Err(error) => connections.wait_after(error).await,
                },
            }
        }
        drop(socket);
        let farewell = async {
            while let Some(ended) = tasks.join_next().await {
                connections.see_off(ended);
            }
        };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!(left = tasks.len(), "mqtt connections did not end in time: cut off");
        }
        tasks.shutdown().await;
    }
}

/// How long connections may take to send what is queued and say goodbye.
const FAREWELL: Duration = Duration::from_secs(3);
/// Connections over the limit that are answered at a time.
const TURNED_AWAY: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
