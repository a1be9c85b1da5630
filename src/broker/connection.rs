//! One client's connection: a task of its own, from the first byte to the last.
//!
//! Reading and writing are two futures of that task, so a client that does not read is still heard,
//! and one that floods is still answered. Whatever goes wrong here, a panic included, ends this
//! connection alone: the `Presence` leaves the session when it is dropped.

mod aliases;
mod handler;
mod handshake;
mod held;
mod reader;
mod writer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::packet::{Disconnect, Reason, Version};
use super::session::Leave;
use super::stats::BrokerStats;
use super::wire::WireError;
use handshake::Welcome;
use held::Held;
use reader::Reader;
use writer::Writer;

/// Why a connection ended.
#[derive(Debug)]
enum End {
    /// The client closed it, or the network did.
    Closed,
    /// The client said goodbye.
    Left(Disconnect),
    /// The client broke a rule.
    Refused(WireError),
    /// The client asked for something within the rules that it does not get.
    Denied(Reason),
    /// Another part of the broker wants it to end.
    Told(Reason),
    /// Nothing was heard for one and a half times the keep-alive.
    Silent,
    /// The broker stops.
    Stopping,
}

/// What the two halves of a connection share.
#[derive(Debug)]
struct Desk {
    /// Answers the reader has for the writer to send.
    replies: Mutex<BytesMut>,
    /// Those that have to wait for the disk.
    held: Held,
    /// Told when the writer has taken them.
    taken: Notify,
    opened: Instant,
    /// Milliseconds from `opened` to the last whole packet.
    heard: AtomicU64,
}

impl Desk {
    fn new() -> Self {
        Self {
            replies: Mutex::default(),
            held: Held::default(),
            taken: Notify::new(),
            opened: Instant::now(),
            heard: AtomicU64::new(0),
        }
    }

    fn note_heard(&self) {
        let elapsed = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(elapsed, Ordering::Relaxed);
    }

    /// Ends when the client has been silent for `limit`; never without one.
    async fn silence(&self, limit: Option<Duration>) -> End {
        let Some(limit) = limit else {
            return std::future::pending().await;
        };
        loop {
            let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
            let deadline = self.opened + heard + limit;
            if deadline <= Instant::now() {
                return End::Silent;
            }
            tokio::time::sleep_until(deadline.into()).await;
        }
    }
}

/// Serves one connection until it ends. `stream` is any byte stream, so that TLS and WebSocket can
/// stand in the same place as TCP. `deadline`: when its CONNECT has to be there.
pub(crate) async fn serve<S>(
    mut stream: S,
    peer: SocketAddr,
    deadline: tokio::time::Instant,
    shared: Arc<Shared>,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let welcome = tokio::select! {
        () = stop.cancelled() => return,
        welcome = handshake::welcome(&mut stream, peer, deadline, &shared) => welcome,
    };
    let Some(Welcome { presence, mut close, buffer, terms }) = welcome else {
        return;
    };
    let desk = Desk::new();
    let (read_half, write_half) = tokio::io::split(stream);
    let mut reader = Reader::new(read_half, buffer, &desk, &shared, &presence, &terms);
    let mut writer = Writer::new(write_half, &desk, &shared, &presence, &terms);
    let end = tokio::select! {
        biased;
        Ok(reason) = &mut close => End::Told(reason),
        () = stop.cancelled() => End::Stopping,
        end = reader.run() => end,
        end = writer.run() => end,
        end = desk.release(&shared, terms.version, &presence) => end,
        end = desk.silence(terms.silence_limit) => end,
    };
    note(&end, peer, presence.session.client_id(), &shared);
    // The session is left before the goodbye: a client that does not read delays nobody's will.
    let farewell = Farewell::of(&end);
    if farewell.drain {
        writer.drain().await;
    }
    if farewell.settle {
        let settle = desk.settle(&shared, terms.version, &presence);
        // What the disk has not taken by then is not acknowledged.
        let _ = tokio::time::timeout(SETTLE_TIME, settle).await;
    }
    presence.leave(leave(&end));
    writer.say_goodbye(farewell.reason).await;
    reader.linger(farewell.linger).await;
}

/// Tells a client for which there is no room so, if it says who it is at once.
pub(crate) async fn turn_away<S>(mut stream: S, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    tokio::select! {
        () = stop.cancelled() => {}
        () = handshake::turn_away(&mut stream) => {}
    }
}

/// What is owed to a client at the end.
struct Farewell {
    /// Send what is queued first.
    drain: bool,
    /// Wait for answers that wait for the disk.
    settle: bool,
    /// With the same in words.
    reason: Option<(Reason, String)>,
    /// Wait for the client to read it.
    linger: bool,
}

impl Farewell {
    fn of(end: &End) -> Self {
        let reason = match end {
            End::Closed | End::Left(_) => None,
            End::Refused(error) => Some((error.reason(), error.to_string())),
            End::Denied(reason) | End::Told(reason) => Some(in_words(*reason)),
            End::Silent => Some(in_words(Reason::KEEP_ALIVE_TIMEOUT)),
            End::Stopping => Some(in_words(Reason::SERVER_SHUTTING_DOWN)),
        };
        let settle = matches!(end, End::Left(_) | End::Stopping);
        Self { drain: matches!(end, End::Stopping), settle, linger: reason.is_some(), reason }
    }
}

fn in_words(reason: Reason) -> (Reason, String) {
    (reason, reason.text().to_owned())
}

fn leave(end: &End) -> Leave {
    match end {
        End::Left(disconnect) => Leave {
            publish_will: disconnect.reason != Reason::SUCCESS,
            expiry: disconnect.session_expiry,
        },
        // Stopping included: the client has not said goodbye, and a retained will outlives the broker.
        _ => Leave { publish_will: true, expiry: None },
    }
}

fn note(end: &End, peer: SocketAddr, client_id: &str, shared: &Shared) {
    let client: String = client_id.chars().take(64).collect();
    let stats = &shared.stats;
    match end {
        End::Refused(error) => {
            BrokerStats::count(&stats.refused_packets);
            match error {
                WireError::TooLarge { .. } => BrokerStats::count(&stats.refused_too_large),
                WireError::CodecPanicked { .. } => BrokerStats::count(&stats.codec_failures),
                _ => {}
            }
            if let Some(before) = shared.refusals.pass() {
                tracing::warn!(%peer, ?client, %error, before, "mqtt client disconnected");
            }
        }
        End::Denied(reason) => {
            BrokerStats::count(&stats.refused_packets);
            if let Some(before) = shared.refusals.pass() {
                let code = reason.0;
                tracing::warn!(%peer, ?client, code, before, "mqtt client disconnected");
            }
        }
        End::Silent => {
            BrokerStats::count(&stats.keep_alive_timeouts);
            tracing::debug!(%peer, ?client, "mqtt client silent beyond its keep-alive: disconnected");
        }
        End::Told(reason) => {
            let code = reason.0;
            tracing::debug!(%peer, ?client, code, "mqtt client disconnected by the broker");
        }
        End::Closed | End::Left(_) | End::Stopping => {
            tracing::debug!(%peer, ?client, ?end, "mqtt client gone");
        }
    }
}

/// What was agreed with a client at CONNECT.
#[derive(Debug, Clone)]
struct Terms {
    version: Version,
    /// It is another broker's bridge: nothing goes back to it, and retain flags stay.
    bridge: bool,
    identity: super::access::Identity,
    session_expiry: u32,
    /// The largest packet the client takes, in bytes.
    maximum_packet: usize,
    /// Topic aliases the client takes.
    topic_aliases: u16,
    silence_limit: Option<Duration>,
}

/// How long a client that leaves may wait for answers that wait for the disk.
const SETTLE_TIME: Duration = Duration::from_secs(1);
/// A connection's buffers start this large, and go back to it when idle.
const BUFFER_START: usize = 4 * 1024;
/// How much is read or written at a time under load.
const BUFFER_BUSY: usize = 64 * 1024;
/// How long a large buffer may lie idle.
const BUFFER_IDLE: Duration = Duration::from_secs(2);
