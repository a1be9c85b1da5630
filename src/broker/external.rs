//! A broker elsewhere in the place of the embedded one: the same [`Link`], over a
//! connection that is kept up.
//!
//! What may be lost and what may not is decided where it enters. Live messages (QoS 0) wait in
//! `live` only while there is a connection. Everything else, retained messages and QoS 1,
//! goes into the `outbox`, which is on disk, bounded, and lets go of a message only when the broker
//! has acknowledged it. `connection` is one connection, `wire` its packets (rumqttc's codec),
//! `transport` its socket, `fault` the words for its end; `subscriptions` hands out what comes.
//!
//! Delivery is at least once, which is the most that the gateway asks for ([`QoS`]).
//!
//! `guest` is the same connection to a meter's own broker: it listens, and leaves nothing there.

mod connection;
mod connector;
mod fault;
mod guest;
mod keeper;
mod live;
mod outbox;
mod settings;
mod shelf;
mod stats;
mod subscriptions;
mod transport;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use guest::{Guest, GuestLink, GuestSettings, GuestSubscription};
pub use settings::{ExternalSettings, Login, ProtocolVersion, Will};
pub use stats::ExternalStats;

use super::filter::FilterError;
use super::link::{self, Link, Message, QoS};
use super::stats::Throttle;
use connector::Connector;
use keeper::Keeper;
use live::Live;
use outbox::{Outbox, OutboxLimits};
use shelf::ShelfError;
pub(crate) use subscriptions::ExternalSubscription;
use subscriptions::Subscriptions;
use transport::Dialler;

/// Why the connection cannot be kept up at all. That the broker is away is no such reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExternalError {
    /// The configuration does not say which broker.
    #[error("{0}")]
    Settings(String),
    /// The outbox on disk cannot be used.
    #[error("{0}")]
    Outbox(String),
    /// The authorities' file cannot be used.
    #[error("broker.external.ca {path} cannot be used: {reason}; it must hold certificates, PEM")]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// This system trusts nobody.
    #[error(
        "no certificate authorities are installed here, so no broker could be trusted: install \
         ca-certificates, or name the authority's file in broker.external.ca"
    )]
    NoAuthorities,
    /// TLS needs a name that a certificate can be for.
    #[error("\"{0}\" is no host name that a certificate could be for")]
    ServerName(String),
    /// A part ended that never does.
    #[error("the connection to the broker stopped by a fault of its own: {0}")]
    Fault(String),
}

impl From<ShelfError> for ExternalError {
    fn from(error: ShelfError) -> Self {
        Self::Outbox(error.to_string())
    }
}

/// The connection to a broker elsewhere, before it runs.
#[derive(Debug)]
pub struct External {
    shared: Arc<Shared>,
    dialler: Dialler,
    keeper: Keeper,
}

/// What link and connection share.
#[derive(Debug)]
struct Shared {
    settings: ExternalSettings,
    outbox: Arc<Outbox>,
    live: Live,
    subscriptions: Arc<Subscriptions>,
    stats: Arc<ExternalStats>,
    too_large: Throttle,
    large_ones: Throttle,
    refusals: Throttle,
    bad_topic: Throttle,
    /// The broker is a meter's own, where nothing is left behind.
    guest: bool,
}

/// The gateway's way to a broker elsewhere. Clones are cheap and are the same link.
#[derive(Debug, Clone)]
pub(crate) struct ExternalLink(Arc<Shared>);

impl External {
    /// Opens the outbox of earlier runs. Nothing is dialled yet.
    ///
    /// # Errors
    /// When the outbox or the certificates cannot be used. Blocks for as long as the disk takes.
    pub fn open(settings: ExternalSettings) -> Result<Self, ExternalError> {
        let dialler = Dialler::new(&settings)?;
        let stats = Arc::<ExternalStats>::default();
        let limits =
            OutboxLimits { messages: settings.outbox_messages, bytes: settings.outbox_bytes };
        let outbox = Outbox::new(limits, settings.event_topic.clone(), Arc::clone(&stats));
        let outbox = Arc::new(outbox);
        let keeper = Keeper::open(&settings.data_dir, Arc::clone(&outbox))?;
        let (messages, bytes) = (settings.queued_messages, settings.queued_bytes);
        let subscriptions = Subscriptions::new(messages, bytes, Arc::clone(&stats));
        let shared = Shared {
            outbox,
            live: Live::new(messages, bytes),
            subscriptions: Arc::new(subscriptions),
            stats,
            too_large: Throttle::default(),
            large_ones: Throttle::default(),
            refusals: Throttle::default(),
            bad_topic: Throttle::default(),
            guest: false,
            settings,
        };
        Ok(Self { shared: Arc::new(shared), dialler, keeper })
    }

    /// A way for the gateway to publish and subscribe; works before `run` as well.
    #[must_use]
    pub fn link(&self) -> Link {
        Link::external(ExternalLink(Arc::clone(&self.shared)))
    }

    /// The connection's counters.
    #[must_use]
    pub fn stats(&self) -> Arc<ExternalStats> {
        Arc::clone(&self.shared.stats)
    }

    /// Keeps the connection up until `shutdown`, then sends what is left, says goodbye, and writes
    /// what the broker did not get to disk; within two seconds.
    ///
    /// # Errors
    /// [`ExternalError::Fault`] if the task that keeps the outbox was lost.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ExternalError> {
        let Self { shared, dialler, keeper } = self;
        let fault = |error: String| ExternalError::Fault(error);
        let mut keeping = JoinSet::new();
        keeping.spawn(keeper.run());
        let connecting = Connector::new(Arc::clone(&shared), dialler, shutdown).run();
        tokio::select! {
            never = connecting => match never { Ok(()) => {} Err(infallible) => match infallible {} },
            ended = keeping.join_next() => {
                return Err(fault(format!("the outbox ended: {ended:?}")));
            }
        }
        shared.outbox.close();
        match keeping.join_next().await {
            Some(Ok(Ok(()))) | None => Ok(()),
            Some(Ok(Err(error)) | Err(error)) => Err(fault(error.to_string())),
        }
    }
}

impl ExternalLink {
    /// See [`Link::publish_all`](super::Link::publish_all).
    pub(crate) fn publish_all<'a>(&self, messages: impl Iterator<Item = Message<'a>>) {
        let shared = &*self.0;
        let mut count = 0;
        for message in messages {
            count += 1;
            if !link::is_publishable(&message, &shared.bad_topic) {
                continue;
            }
            let Message { topic, payload, qos, retain } = message;
            let size = topic.len() + payload.len() + PACKET_HEAD;
            if size > shared.settings.packet_size {
                shared.drop_too_large(topic, size);
            } else if qos == QoS::AtMostOnce && !retain {
                shared.live.push(topic, payload, &shared.stats);
            } else {
                shared.outbox.put(topic, payload, retain);
            }
        }
        ExternalStats::add(&shared.stats.messages_from_gateway, count);
    }

    pub(crate) fn subscribe(
        &self,
        filter: &str,
        as_published: bool,
    ) -> Result<ExternalSubscription, FilterError> {
        self.0.subscriptions.add(filter, as_published)
    }
}

/// What a PUBLISH has beside topic and payload, at most: header, lengths, packet id, properties.
const PACKET_HEAD: usize = 10;

impl Shared {
    fn drop_too_large(&self, topic: &str, size: usize) {
        ExternalStats::count(&self.stats.too_large);
        if let Some(before) = self.too_large.pass() {
            let most = self.settings.packet_size;
            tracing::error!(
                topic,
                size,
                most,
                before,
                "message dropped: it is larger than broker.limits.packet_size"
            );
        }
    }
}
