//! Accepts HTTP connections, within limits: one that says nothing, or nothing to the end, holds
//! its place for a short time and delays nobody.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::transport::{self, Places};

/// Bounds of what HTTP clients can make the server hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebLimits {
    /// Connections in all. Those that have become WebSockets are the broker's.
    pub connections: usize,
    /// Connections from one address.
    pub connections_per_address: usize,
    /// How long a request's head may take, and how long a connection may wait for its next request.
    pub header_timeout: Duration,
}

impl Default for WebLimits {
    fn default() -> Self {
        Self {
            connections: 512,
            connections_per_address: 128,
            header_timeout: Duration::from_secs(10),
        }
    }
}

/// Serves `routes` until `stop`; connections that are open then are cut off, their answers are small
/// and long sent.
pub(super) async fn run(
    listener: TcpListener,
    routes: Router,
    limits: WebLimits,
    stop: CancellationToken,
) -> io::Result<()> {
    let places = Places::new(limits.connections, limits.connections_per_address);
    let mut tasks = JoinSet::new();
    let mut told: Option<Instant> = None;
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            Some(ended) = tasks.join_next() => {
                see_off(ended);
                continue;
            }
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, as a rule: without a pause this would spin.
                    tracing::warn!(%error, "web connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        match places.take(peer.ip()) {
            Ok(place) => {
                let (routes, timeout) = (routes.clone(), limits.header_timeout);
                tasks.spawn(async move {
                    serve(stream, peer, routes, timeout).await;
                    drop(place);
                });
            }
            Err(full) if told.is_none_or(|last| last.elapsed() >= LOG_INTERVAL) => {
                told = Some(Instant::now());
                let (total, here) = (full.total, full.here);
                tracing::warn!(%peer, total, here, "web connections are refused: limit reached");
            }
            Err(_) => {}
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, routes: Router, header_timeout: Duration) {
    transport::prepare(&stream);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let mut routes = routes.clone();
        async move { routes.call(request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%peer, %error, "web connection ended");
    }
}

fn see_off(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a web connection's task failed; the others go on");
    }
}

/// Whoever dials again and again must not fill the log.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Largest head of a request, and read at a time.
const BUFFER: usize = 64 * 1024;
