//! A connection to a meter's own broker: it listens, says little, and leaves nothing behind.
//!
//! The same machinery as for the gateway's broker elsewhere, without an outbox: what is published
//! here is for whoever listens now, and the session ends with the connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::connector::Connector;
use super::live::Live;
use super::outbox::{Outbox, OutboxLimits};
use super::stats::ExternalStats;
use super::subscriptions::{ExternalSubscription, Subscriptions};
use super::transport::Dialler;
use super::{ExternalError, ExternalSettings, Login, ProtocolVersion, Shared};
use crate::broker::filter::FilterError;
use crate::broker::link::Received;
use crate::broker::stats::Throttle;

/// What has to be known of a meter's broker.
#[derive(Debug, Clone)]
pub struct GuestSettings {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether to speak TLS.
    pub tls: bool,
    /// User and password.
    pub login: Option<Login>,
    /// Messages that may wait for whoever listens here, and their bytes.
    pub queue: (usize, usize),
    /// Largest packet in either direction.
    pub packet_size: usize,
}

/// The connection before it runs.
#[derive(Debug)]
pub struct Guest {
    shared: Arc<Shared>,
    dialler: Dialler,
}

/// The way to publish and subscribe at a meter's broker. Clones are cheap and are the same way.
#[derive(Debug, Clone)]
pub struct GuestLink(Arc<Shared>);

/// A subscription at a meter's broker. Dropping it unsubscribes.
#[derive(Debug)]
pub struct GuestSubscription(ExternalSubscription);

impl Guest {
    /// A connection that is not dialled yet.
    ///
    /// # Errors
    /// With TLS: when this system trusts nobody, or the host is no name that a certificate could
    /// be for.
    pub fn new(settings: GuestSettings) -> Result<Guest, ExternalError> {
        let GuestSettings { host, port, tls, login, queue, packet_size } = settings;
        let settings = ExternalSettings {
            host,
            port,
            tls,
            ca: None,
            login,
            // Of its own each time: two gateways may listen to one meter.
            client_id: format!("meterbridge-{:016x}", fastrand::u64(..)),
            // What a Fluksometer's broker speaks.
            version: ProtocolVersion::V3,
            will: None,
            event_topic: String::new(),
            outbox_messages: 0,
            outbox_bytes: 0,
            queued_messages: queue.0,
            queued_bytes: queue.1,
            packet_size,
            inflight: 1,
            pauses: (Duration::from_secs(1), Duration::from_secs(30)),
            data_dir: std::path::PathBuf::new(),
        };
        let dialler = Dialler::new(&settings)?;
        let stats = Arc::<ExternalStats>::default();
        let limits = OutboxLimits { messages: 0, bytes: 0 };
        let shared = Shared {
            outbox: Arc::new(Outbox::new(limits, String::new(), Arc::clone(&stats))),
            live: Live::new(queue.0, queue.1),
            subscriptions: Arc::new(Subscriptions::new(queue.0, queue.1, Arc::clone(&stats))),
            stats,
            too_large: Throttle::default(),
            large_ones: Throttle::default(),
            refusals: Throttle::default(),
            bad_topic: Throttle::default(),
            guest: true,
            settings,
        };
        Ok(Guest { shared: Arc::new(shared), dialler })
    }

    /// A way to publish and subscribe; works before `run` as well.
    #[must_use]
    pub fn link(&self) -> GuestLink {
        GuestLink(Arc::clone(&self.shared))
    }

    /// Keeps the connection up until `stop`; a lost one is made again after 1 to 30 s.
    pub async fn run(&self, stop: CancellationToken) {
        let connector = Connector::new(Arc::clone(&self.shared), self.dialler.clone(), stop);
        let Ok(()) = connector.run().await;
    }
}

impl GuestLink {
    /// Publishes for whoever listens now: QoS 0, not retained, and not at all while there is no
    /// connection.
    pub fn publish(&self, topic: &str, payload: &[u8]) {
        self.0.live.push(topic, payload, &self.0.stats);
    }

    /// Subscribes to a topic filter, with each connection anew; retained messages come first.
    ///
    /// # Errors
    /// What is wrong with the filter.
    pub fn subscribe(&self, filter: &str) -> Result<GuestSubscription, FilterError> {
        self.0.subscriptions.add(filter, false).map(GuestSubscription)
    }

    /// The number of the connection there is, 0 while there is none.
    #[must_use]
    pub fn connection(&self) -> watch::Receiver<u64> {
        self.0.stats.connection()
    }

    /// Why there is no connection, if there is none.
    ///
    /// # Errors
    /// The reason, without any secret.
    pub fn status(&self) -> Result<(), String> {
        self.0.stats.status()
    }
}

impl GuestSubscription {
    /// The next message. Safe to cancel.
    pub async fn recv(&mut self) -> Received {
        self.0.recv().await
    }
}

/// The words for a fault, about the key that stands in a meter's entry.
pub(super) fn in_words_of_a_link(reason: &str) -> String {
    reason
        .replace(
            "the user in broker.external.url and broker.external.password",
            "user and password of link.mqtt",
        )
        .replace("broker.external.url", "link.mqtt")
        .replace("broker.external.", "link.mqtt, ")
}
