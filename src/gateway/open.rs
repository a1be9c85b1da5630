//! Taking ports and files before anything runs: all that can be refused is refused here.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::GatewayError;
use crate::broker::{Broker, External, ExternalError, Service, ServiceError};
use crate::config::Config;
use crate::config::broker::Mode;
use crate::links::{self, MeterLink};
use crate::metrics::Metrics;
use crate::task::Group;
use crate::transport::{self, Conversation, MeterListener, TransportError};

/// A link with its port taken, where it has one.
#[derive(Debug)]
pub(super) enum OpenLink {
    Listen(Arc<MeterListener>),
    Dial(transport::Dial),
    Serial(transport::SerialLine),
}

/// The broker inside with its ports taken, or the one elsewhere with its outbox opened.
pub(super) async fn open_broker(config: &Config) -> Result<Service, ServiceError> {
    if config.broker.mode == Mode::Embedded {
        let broker = Broker::bind(links::broker_settings(config)).await?;
        return Ok(Service::Embedded(Box::new(broker)));
    }
    let settings = links::external_settings(config).map_err(ExternalError::Settings)?;
    let opening = tokio::task::spawn_blocking(move || External::open(settings));
    let opened = opening.await.map_err(|error| ExternalError::Fault(error.to_string()))?;
    Ok(Service::External(Box::new(opened?)))
}

/// Takes the ports of the web.
pub(super) async fn bind_web(config: &Config) -> Result<Vec<TcpListener>, GatewayError> {
    let mut listeners = Vec::new();
    if config.web.enabled {
        for address in config.web.listen.0.iter().copied() {
            let bound = TcpListener::bind(address).await;
            listeners.push(bound.map_err(|source| GatewayError::Web { address, source })?);
        }
    }
    Ok(listeners)
}

/// Takes the ports of one link.
pub(super) async fn open_link(link: MeterLink) -> Result<Vec<OpenLink>, TransportError> {
    match link {
        MeterLink::Dial(dial) => Ok(vec![OpenLink::Dial(dial)]),
        // Opened when the gateway runs: an adapter may be plugged in later.
        MeterLink::Serial(line) => Ok(vec![OpenLink::Serial(line)]),
        MeterLink::Listen { addresses, options } => {
            let mut open = Vec::new();
            for address in addresses {
                let listener = MeterListener::bind(address, options.clone()).await?;
                open.push(OpenLink::Listen(Arc::new(listener)));
            }
            Ok(open)
        }
    }
}

impl OpenLink {
    /// Where meters can reach it, if they dial.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            OpenLink::Listen(listener) => Some(listener.address()),
            OpenLink::Dial(_) | OpenLink::Serial(_) => None,
        }
    }

    /// Whether it is a serial line.
    pub(super) fn is_serial(&self) -> bool {
        matches!(self, OpenLink::Serial(_))
    }

    /// Runs it until `stop`; what `ears` makes listens to a connection from the peer named.
    pub(super) fn spawn<C: Conversation>(
        self,
        group: &mut Group,
        ears: impl Fn(String) -> C + Send + Sync + 'static,
        stop: CancellationToken,
        metrics: Metrics,
    ) {
        match self {
            OpenLink::Listen(listener) => {
                let name = format!("meters on {}", listener.address());
                let begin = move |peer: SocketAddr| ears(peer.to_string());
                group.spawn(name, listener.serve(stop, metrics, begin));
            }
            OpenLink::Dial(dial) => {
                let (name, peer) = (format!("meter at {}", dial.address), dial.address.clone());
                let begin = move || ears(peer.clone());
                group.spawn(name, transport::dial(dial, stop, metrics, begin));
            }
            OpenLink::Serial(line) => {
                let peer = line.device.display().to_string();
                let name = format!("meters on {peer}");
                let begin = move || ears(peer.clone());
                group.spawn(name, transport::attend(line, stop, metrics, begin));
            }
        }
    }
}
