//! A way in for streams that another server has accepted: MQTT over WebSocket comes from the web
//! server. Limits, logs and goodbyes are those of every other client.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection;
use super::listener::{Connections, Place};
use super::stats::BrokerStats;

/// What the broker can serve: bytes in order, both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

/// The way in. Clones lead to the same broker.
#[derive(Debug, Clone)]
pub struct Door {
    connections: Arc<Connections>,
    arrivals: mpsc::Sender<Arrival>,
}

/// A place that one client has, given back when dropped.
#[derive(Debug)]
pub struct Seat {
    place: Place,
    peer: SocketAddr,
    door: Door,
}

/// Says in the broker's name what a stream did wrong.
#[derive(Debug, Clone)]
pub struct Complaints {
    connections: Arc<Connections>,
    peer: SocketAddr,
}

/// A stream with its place.
pub(super) struct Arrival {
    stream: Box<dyn ByteStream>,
    place: Place,
    peer: SocketAddr,
}

impl Door {
    pub(super) fn new(connections: Arc<Connections>) -> (Self, mpsc::Receiver<Arrival>) {
        let (arrivals, queue) = mpsc::channel(QUEUE);
        (Self { connections, arrivals }, queue)
    }

    /// A place for a client at `peer`; `None` when all are taken, which is counted and logged.
    #[must_use]
    pub fn seat(&self, peer: SocketAddr) -> Option<Seat> {
        let place = self.connections.place(peer)?;
        Some(Seat { place, peer, door: self.clone() })
    }

    /// Whether a client needs no login.
    #[must_use]
    pub fn lets_anybody_in(&self) -> bool {
        self.connections.shared.access.lets_anybody_in()
    }

    /// Counts a stream that was refused for the page that asked for it.
    pub fn note_refused_origin(&self) {
        BrokerStats::count(&self.connections.shared.stats.refused_origins);
    }

    /// The largest MQTT packet that is taken, in bytes.
    #[must_use]
    pub fn packet_size(&self) -> usize {
        self.connections.shared.limits.packet_size
    }
}

impl Seat {
    /// For what goes wrong below MQTT.
    #[must_use]
    pub fn complaints(&self) -> Complaints {
        Complaints { connections: Arc::clone(&self.door.connections), peer: self.peer }
    }

    /// Hands the stream to the broker, which serves it from here on. When the broker has stopped,
    /// the stream is dropped.
    pub async fn serve(self, stream: impl ByteStream + 'static) {
        let Self { place, peer, door } = self;
        let arrival = Arrival { stream: Box::new(stream), place, peer };
        // Fails only when the broker has gone.
        let _ = door.arrivals.send(arrival).await;
    }
}

impl Complaints {
    /// Counts and logs that the client was refused, below MQTT, for `reason`.
    pub fn refused(&self, reason: &str) {
        let shared = &self.connections.shared;
        BrokerStats::count(&shared.stats.refused_packets);
        if let Some(before) = shared.refusals.pass() {
            tracing::warn!(peer = %self.peer, reason, before, "mqtt client disconnected");
        }
    }
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Serves what comes through the door until `stop`, then gives it time to say goodbye.
pub(super) async fn attend(
    mut arrivals: mpsc::Receiver<Arrival>,
    connections: Arc<Connections>,
    stop: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = tasks.join_next() => connections.see_off(ended),
            Some(Arrival { stream, place, peer }) = arrivals.recv() => {
                let (shared, stop) = (Arc::clone(&connections.shared), stop.clone());
                let deadline = connections.deadline();
                tasks.spawn(async move {
                    connection::serve(stream, peer, deadline, shared, stop).await;
                    drop(place);
                });
            }
        }
    }
    drop(arrivals);
    connections.see_all_off(tasks).await;
}

/// Streams that may wait to be taken in; they are at once.
const QUEUE: usize = 16;
