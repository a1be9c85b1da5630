//! Accepts connections, within limits, and watches over their tasks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::connection;
use super::stats::{BrokerStats, Throttle};
use crate::tls::Credentials;
use crate::transport;

/// The open connections of all listeners, counted in all and by address.
#[derive(Debug)]
pub(crate) struct Connections {
    pub(super) shared: Arc<Shared>,
    places: Arc<transport::Places>,
    refusal: Throttle,
    /// Connections that are being told that there is no room for them.
    turned_away: Arc<Semaphore>,
    accept_failure: Throttle,
}

/// One listening port.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    /// With TLS: what to show clients.
    tls: Option<Arc<Credentials>>,
    connections: Arc<Connections>,
}

/// A connection's place among the others, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    _place: transport::Place,
}

impl Connections {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let limits = &shared.limits;
        let places = transport::Places::new(limits.connections, limits.connections_per_address);
        Self {
            shared,
            places,
            refusal: Throttle::default(),
            turned_away: Arc::new(Semaphore::new(TURNED_AWAY)),
            accept_failure: Throttle::default(),
        }
    }

    /// A place for a connection from `peer`, if there is one left.
    pub(super) fn place(&self, peer: SocketAddr) -> Option<Place> {
        match self.places.take(peer.ip()) {
            Ok(place) => {
                BrokerStats::count(&self.shared.stats.connections);
                BrokerStats::count(&self.shared.stats.connections_opened);
                Some(Place { shared: Arc::clone(&self.shared), _place: place })
            }
            Err(full) => {
                BrokerStats::count(&self.shared.stats.refused_connections);
                if let Some(before) = self.refusal.pass() {
                    let (address, total, here) = (peer.ip().to_canonical(), full.total, full.here);
                    tracing::warn!(%address, total, here, before, "connection refused: limit reached");
                }
                None
            }
        }
    }

    /// When the CONNECT of a connection that begins now has to be there.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.shared.limits.connect_timeout
    }

    fn admit(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        tls: Option<&Credentials>,
        stop: &CancellationToken,
        tasks: &mut JoinSet<()>,
    ) {
        let Some(place) = self.place(peer) else {
            // When many come at once, the rest is closed without a word; so is whoever would have
            // to be told by TLS.
            if let (None, Ok(permit)) = (tls, Arc::clone(&self.turned_away).try_acquire_owned()) {
                let stop = stop.clone();
                tasks.spawn(async move {
                    connection::turn_away(stream, stop).await;
                    drop(permit);
                });
            }
            return;
        };
        transport::prepare(&stream);
        let (shared, stop, deadline) = (Arc::clone(&self.shared), stop.clone(), self.deadline());
        let acceptor = tls.map(|tls| TlsAcceptor::from(tls.current()));
        tasks.spawn(async move {
            match acceptor {
                None => connection::serve(stream, peer, deadline, shared, stop).await,
                Some(acceptor) => {
                    let secured = tokio::select! {
                        () = stop.cancelled() => None,
                        secured = secure(stream, acceptor, peer, deadline, &shared) => secured,
                    };
                    if let Some(stream) = secured {
                        connection::serve(stream, peer, deadline, shared, stop).await;
                    }
                }
            }
            drop(place);
        });
    }

    pub(super) fn see_off(&self, ended: Result<(), JoinError>) {
        if let Err(error) = ended
            && error.is_panic()
        {
            BrokerStats::count(&self.shared.stats.connection_panics);
            tracing::error!(%error, "an mqtt connection's task failed; the others go on");
        }
    }

    /// Gives connections time to say goodbye, then cuts them off.
    pub(super) async fn see_all_off(&self, mut tasks: JoinSet<()>) {
        let farewell = async {
            while let Some(ended) = tasks.join_next().await {
                self.see_off(ended);
            }
        };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!(left = tasks.len(), "mqtt connections did not end in time: cut off");
        }
        tasks.shutdown().await;
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
        BrokerStats::lower(&self.shared.stats.connections);
    }
}

impl Listener {
    /// `tls`: what to show clients, for a listener with TLS.
    pub(crate) fn new(
        socket: TcpListener,
        tls: Option<Arc<Credentials>>,
        connections: Arc<Connections>,
    ) -> Self {
        Self { socket, tls, connections }
    }

    /// Accepts until `stop`, then gives the connections time to say goodbye.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Self { socket, tls, connections } = self;
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = tasks.join_next() => connections.see_off(ended),
                accepted = socket.accept() => match accepted {
                    Ok((stream, peer)) => {
                        connections.admit(stream, peer, tls.as_deref(), &stop, &mut tasks);
                    }
                    Err(error) => connections.wait_after(error).await,
                },
            }
        }
        drop(socket);
        connections.see_all_off(tasks).await;
    }
}

/// The TLS handshake, in the connection's own task: whoever delays it delays nobody else.
async fn secure(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    peer: SocketAddr,
    deadline: Instant,
    shared: &Shared,
) -> Option<TlsStream<TcpStream>> {
    let reason = match tokio::time::timeout_at(deadline, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => {
            // Whoever only tries the port, a monitor for one, is no cause for worry.
            if error.kind() == std::io::ErrorKind::UnexpectedEof {
                BrokerStats::count(&shared.stats.tls_handshake_failures);
                tracing::debug!(%peer, "connection closed before tls was set up");
                return None;
            }
            explain(&error)
        }
        Err(_) => {
            BrokerStats::count(&shared.stats.connect_timeouts);
            "it did not end in time".to_owned()
        }
    };
    BrokerStats::count(&shared.stats.tls_handshake_failures);
    if let Some(before) = shared.refusals.pass() {
        tracing::warn!(%peer, reason, before, "tls handshake failed");
    }
    None
}

/// The error, with what it mostly comes from.
fn explain(error: &std::io::Error) -> String {
    use rustls::{AlertDescription as Alert, Error as Tls};
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>());
    let hint = match tls {
        Some(Tls::InvalidMessage(_)) => "does the client use TLS at all on this port?",
        Some(Tls::NoCertificatesPresented) => "broker.tls.client_ca asks clients for a certificate",
        Some(Tls::AlertReceived(Alert::UnknownCA | Alert::CertificateUnknown)) => {
            "the client does not know the authority that signed our certificate"
        }
        Some(Tls::AlertReceived(Alert::CertificateExpired)) => {
            "the client finds our certificate expired"
        }
        _ => return error.to_string(),
    };
    format!("{error}: {hint}")
}

/// How long connections may take to send what is queued and say goodbye.
const FAREWELL: Duration = Duration::from_secs(3);
/// Connections over the limit that are answered at a time.
const TURNED_AWAY: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
