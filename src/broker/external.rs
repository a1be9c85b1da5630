//! A broker elsewhere in the place of the embedded one: the same [`Link`], over a
//! connection that is kept up.
//!
//! What may be lost and what may not is decided where it enters. Live messages (QoS 0) wait in
//! `live` only while there is a connection. Everything else, retained messages and QoS 1 and 2,
//! goes into the `outbox`, which is on disk, bounded, and lets go of a message only when the broker
//! has acknowledged it. `connection` is one connection, `wire` its packets (rumqttc's codec),
//! `transport` its socket, `fault` the words for its end; `subscriptions` hands out what comes.
//!
//! Delivery is at least once: QoS 2 is sent as QoS 1, because an exchange that has to survive the
//! gateway's own restart cannot be had with the codec's and most brokers' state.

mod connection;
mod fault;
mod live;
mod outbox;
mod shelf;
mod stats;
mod subscriptions;
mod transport;
mod wire;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use stats::ExternalStats;

use super::filter::FilterError;
use super::link::{self, Link, Message};
use super::packet::QoS;
use super::stats::Throttle;
use crate::config::secret::Secret;
use crate::transport::Backoff;
use connection::{Report, Suspect};
use fault::Fault;
use live::Live;
use outbox::{Keeper, Outbox, OutboxLimits};
use shelf::ShelfError;
pub(crate) use subscriptions::ExternalSubscription;
use subscriptions::Subscriptions;
use transport::Dialler;

/// What the connection needs to know.
#[derive(Debug, Clone)]
pub struct ExternalSettings {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether to speak TLS.
    pub tls: bool,
    /// Who may have signed the broker's certificate, PEM; `None`: whom the system trusts.
    pub ca: Option<PathBuf>,
    /// User and password.
    pub login: Option<Login>,
    /// Stays the same over restarts, and is this gateway's alone.
    pub client_id: String,
    /// Which MQTT.
    pub version: ProtocolVersion,
    /// Published, retained, when the gateway is gone without a word.
    pub will: Option<Will>,
    /// Where it is said that the outbox is full.
    pub event_topic: String,
    /// Messages that are not retained, in the outbox.
    pub outbox_messages: usize,
    /// Their bytes.
    pub outbox_bytes: usize,
    /// Messages that may wait to be sent live, and for each subscription.
    pub queued_messages: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Largest packet in either direction.
    pub packet_size: usize,
    /// Messages under way without an acknowledgement.
    pub inflight: u16,
    /// The shortest and the longest pause before the next attempt to connect.
    pub pauses: (Duration, Duration),
    /// Where the outbox is kept.
    pub data_dir: PathBuf,
}

/// A user of the broker.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user name.
    pub user: String,
    /// The password; empty: none.
    pub password: Secret,
}

/// See [`ExternalSettings::will`].
#[derive(Debug, Clone)]
pub struct Will {
    /// Topic name.
    pub topic: String,
    /// Any text.
    pub payload: String,
}

/// See [`ExternalSettings::version`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolVersion {
    /// MQTT 3.1.1.
    V3,
    /// MQTT 5.
    V5,
}

impl ProtocolVersion {
    /// As the protocol and the configuration number it: 4 or 5.
    pub fn number(self) -> u8 {
        match self {
            Self::V3 => 4,
            Self::V5 => 5,
        }
    }
}

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
    refusals: Throttle,
    bad_topic: Throttle,
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
            refusals: Throttle::default(),
            bad_topic: Throttle::default(),
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

    pub(crate) fn subscribe(&self, filter: &str) -> Result<ExternalSubscription, FilterError> {
        self.0.subscriptions.add(filter)
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

/// Dials again and again.
struct Connector {
    shared: Arc<Shared>,
    dialler: Dialler,
    shutdown: CancellationToken,
    pause: Backoff,
    /// The last complaint, and how often it came since it was logged.
    said: (String, u32),
    /// Connections in a row that ended soon after they were made.
    short: u32,
    /// The message that was the oldest under way at the end of so many connections in a row.
    suspect: Option<(Suspect, u32)>,
}

impl Connector {
    fn new(shared: Arc<Shared>, dialler: Dialler, shutdown: CancellationToken) -> Self {
        let (first, longest) = shared.settings.pauses;
        let pause = Backoff::new(first, longest);
        let said = (String::new(), 0);
        Self { shared, dialler, shutdown, pause, said, short: 0, suspect: None }
    }

    async fn run(mut self) -> Result<(), Infallible> {
        while !self.shutdown.is_cancelled() {
            let (result, report) = self.attempt().await;
            self.shared.live.close(&self.shared.stats);
            self.shared.outbox.disconnect();
            if self.shutdown.is_cancelled() {
                if let Err(fault) = result {
                    tracing::warn!(%fault, "the broker was not there at the end");
                }
                break;
            }
            let Err(fault) = result else { break };
            let lasted = report.accepted.map(|at| at.elapsed());
            self.judge(report);
            self.complain(fault, lasted);
            tokio::select! {
                () = tokio::time::sleep(self.pause.next_pause()) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
        self.shared.stats.set_disconnected("the gateway is stopping".to_owned());
        Ok(())
    }

    /// One connection in a task of its own, so that a panic ends the connection and no more.
    async fn attempt(&self) -> (Result<(), Fault>, Report) {
        let (shared, dialler) = (Arc::clone(&self.shared), self.dialler.clone());
        let shutdown = self.shutdown.clone();
        let suspect = self.suspect.as_ref().filter(|(_, times)| *times >= DOUBTS);
        let careful = suspect.map(|(suspect, _)| suspect.seq);
        let mut task = JoinSet::new();
        let one = async move { connect(&shared, &dialler, &shutdown, careful).await };
        task.spawn(one.in_current_span());
        match task.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => (Err(Fault::Panic(error.to_string())), Report::default()),
            None => (Ok(()), Report::default()),
        }
    }

    /// Finds the message at which the broker ends every connection, for example because it is too
    /// large for it. One that was the oldest under way at several ends in a row is sent alone from
    /// then on, and given up when connections end at it all the same.
    fn judge(&mut self, report: Report) {
        if report.accepted.is_none() {
            return;
        }
        let Some(suspect) = report.oldest else {
            self.suspect = None;
            return;
        };
        let before = match &self.suspect {
            Some((known, times)) if *known == suspect => *times,
            _ => 0,
        };
        if before + 1 < DOUBTS + STRIKES || !report.alone {
            self.suspect = Some((suspect, before + 1));
            return;
        }
        tracing::error!(
            topic = &*suspect.topic,
            bytes = suspect.size,
            "message given up: the broker ends the connection each time it is sent; see the \
             broker's log and its limits"
        );
        ExternalStats::count(&self.shared.stats.given_up);
        self.shared.outbox.done(suspect.seq);
        self.suspect = None;
    }

    /// Says why there is no connection: when the reason changes, and now and then.
    fn complain(&mut self, fault: Fault, lasted: Option<Duration>) {
        let stats = &self.shared.stats;
        match lasted {
            Some(lasted) if lasted >= LONG => {
                self.pause.reset();
                self.short = 0;
            }
            Some(_) => self.short += 1,
            None => ExternalStats::count(&stats.failed_connects),
        }
        if matches!(fault, Fault::TakenOver(_)) {
            ExternalStats::count(&stats.take_overs);
        }
        let mut reason = fault.to_string();
        let told = matches!(fault, Fault::TakenOver(_));
        if self.short >= SHORT_ONES && lasted.is_some() && !told {
            let client_id = &self.shared.settings.client_id;
            reason.push_str(&format!(
                "; this happens again and again: give each gateway a broker.external.client_id of \
                 its own (\"{client_id}\" may be used twice), or see the broker's log"
            ));
        }
        let address = format!("{}:{}", self.shared.settings.host, self.shared.settings.port);
        if self.said.0 != reason || self.said.1 >= REPEATS {
            tracing::warn!(broker = address, reason, "no connection to the broker; trying again");
            self.said = (reason.clone(), 0);
        } else {
            self.said.1 += 1;
        }
        stats.set_disconnected(reason);
    }
}

async fn connect(
    shared: &Shared,
    dialler: &Dialler,
    shutdown: &CancellationToken,
    careful: Option<i64>,
) -> (Result<(), Fault>, Report) {
    let begin = async {
        let mut stream = dialler.dial().await?;
        let connection = connection::open(shared, &mut stream, careful).await?;
        Ok((stream, connection))
    };
    let begun = tokio::select! {
        begun = begin => begun,
        () = shutdown.cancelled() => return (Ok(()), Report::default()),
    };
    let (stream, connection) = match begun {
        Ok(begun) => begun,
        Err(fault) => return (Err(fault), Report::default()),
    };
    let (settings, terms) = (&shared.settings, connection.terms());
    tracing::info!(
        broker = format!("{}:{}", settings.host, settings.port),
        client_id = settings.client_id,
        session_kept = terms.session_present,
        "connected to the broker"
    );
    if terms.without_qos_1 {
        tracing::warn!("the broker takes QoS 0 only: messages may be lost on the way to it");
    }
    if terms.without_retain {
        tracing::warn!(
            "the broker keeps no retained messages: who subscribes later finds no meters"
        );
    }
    ExternalStats::count(&shared.stats.connects);
    shared.stats.set_connected();
    shared.outbox.connect();
    if careful.is_none() {
        shared.live.open();
    }
    connection.run(stream, shutdown).await
}

/// A connection that held for so long was a good one.
const LONG: Duration = Duration::from_secs(60);
const SHORT_ONES: u32 = 3;
const DOUBTS: u32 = 3;
const STRIKES: u32 = 2;
/// Attempts between two log lines with the same reason: about five minutes.
const REPEATS: u32 = 12;
