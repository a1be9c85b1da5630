//! A TCP port for each stream: any number of readers, each at its own pace.
//!
//! A reader that says nothing gets bare floats, as ffmpeg reads them; one that speaks as a client of the
//! meter does gets numbered packets. What a reader cannot take in time it loses itself: neither the
//! meter nor other readers notice.
//!
//! | module | has |
//! |---|---|
//! | `reader` | one connection: who speaks, what is written |
//! | `talk` | what a client says and is answered, without sockets |
//! | `words` | the JSON and log lines of these answers |
//! | `measures` | which channels a client may choose |
//! | `tap` | pieces of a stream to the bytes of one reader |

mod measures;
mod reader;
mod talk;
mod tap;
mod words;

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::bus::{Waveforms, Whose};
use crate::log::Allowance;
use crate::metrics::Metrics;
use crate::transport::{self, Place, Places};

use self::reader::Reader;

/// A port that was taken.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    name: Arc<str>,
    whose: Whose,
}

/// A relay's port is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for readers of {name}'s samples{}", hint(.source))]
pub struct RelayError {
    /// The address asked for.
    pub address: SocketAddr,
    /// The entry.
    pub name: Arc<str>,
    /// Why not.
    pub source: std::io::Error,
}

fn hint(source: &std::io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::AddrInUse => "; another program listens there: choose another stream.relay",
        ErrorKind::PermissionDenied => "; ports below 1024 need a right that this user lacks",
        ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    }
}

impl Bound {
    /// Takes the port.
    ///
    /// # Errors
    /// When it is not to be had.
    pub async fn take(
        address: SocketAddr,
        name: &Arc<str>,
        whose: &Whose,
    ) -> Result<Bound, RelayError> {
        let failed = |source| RelayError { address, name: Arc::clone(name), source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Bound { listener, address, name: Arc::clone(name), whose: whose.clone() })
    }

    /// The address, with the port that was given for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Hands the samples of one meter on.
#[derive(Debug)]
pub struct Relay {
    bound: Bound,
    waveforms: Waveforms,
    metrics: Metrics,
}

impl Relay {
    /// Readers of this port get the streams of its meter.
    pub fn new(bound: Bound, waveforms: Waveforms, metrics: Metrics) -> Relay {
        Relay { bound, waveforms, metrics }
    }

    /// What its task is called.
    pub fn name(&self) -> String {
        format!("relay of {}", self.bound.name)
    }

    /// Serves every reader until `stop`.
    ///
    /// # Errors
    /// None.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> Result<(), Infallible> {
        let places = Places::new(READERS, READERS);
        let (mut readers, mut complaints) = (JoinSet::new(), Allowance::default());
        loop {
            let accepted = tokio::select! {
                accepted = self.bound.listener.accept() => accepted,
                Some(ended) = readers.join_next() => {
                    report_panic(ended);
                    continue;
                }
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, peer)) => match places.take(peer.ip()) {
                    Ok(place) => self.admit(stream, peer, place, &mut readers),
                    Err(_) => self.refuse(peer, &mut complaints),
                },
                Err(error) => {
                    if let Some(held_back) = complaints.pass() {
                        tracing::warn!(%error, held_back, meter = %self.bound.name, "a reader could not be taken");
                    }
                    // Mostly too many open files: waiting lets some be closed.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        readers.shutdown().await;
        Ok(())
    }

    fn admit(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        place: Place,
        readers: &mut JoinSet<()>,
    ) {
        transport::prepare(&stream);
        let (relay, held) = (Arc::clone(self), self.metrics.relay_readers.hold());
        readers.spawn(async move {
            let (_place, _held) = (place, held);
            Reader::new(&relay, peer).attend(stream).await;
        });
    }

    /// Whoever comes again and again does not fill the log.
    fn refuse(&self, peer: SocketAddr, complaints: &mut Allowance) {
        self.metrics.relay_refused.increment();
        if let Some(held_back) = complaints.pass() {
            tracing::warn!(%peer, limit = READERS, held_back, meter = %self.bound.name, "refused: all places of readers are taken");
        }
    }
}

fn report_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a reader's connection ended in a fault of this program");
    }
}

/// Readers of one relay at a time.
const READERS: usize = 64;
