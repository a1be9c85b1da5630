//! From the first byte to CONNACK.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{BUFFER_START, Terms};
use crate::broker::Shared;
use crate::broker::access::{Identity, Login};
use crate::broker::clients::{Entered, Presence};
use crate::broker::filter;
use crate::broker::packet::{ConnAck, Connect, Reason, Version, Will};
use crate::broker::roster::ConnectionInfo;
use crate::broker::session::{self, Leave};
use crate::broker::stats::BrokerStats;
use crate::broker::wire::{self, Framing, WireError};

/// A client that was let in.
pub(super) struct Welcome {
    pub(super) presence: Presence,
    pub(super) close: oneshot::Receiver<Reason>,
    /// What came behind the CONNECT.
    pub(super) buffer: BytesMut,
    pub(super) terms: Terms,
}

/// A client that was not.
enum Refusal {
    /// Nothing can or need be said: the connection broke, timed out or spoke no MQTT.
    Silent(Option<WireError>),
    /// CONNACK with a reason.
    Answered(Version, Reason, Option<WireError>),
    /// CONNACK with a reason that has been logged.
    Logged(Version, Reason),
}

/// Reads CONNECT before the deadline and answers it. `None`: refused, counted and logged.
pub(super) async fn welcome<S>(
    stream: &mut S,
    peer: SocketAddr,
    deadline: Instant,
    shared: &Shared,
) -> Option<Welcome>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = BytesMut::with_capacity(BUFFER_START);
    let limits = &shared.limits;
    let connect = read_connect(stream, &mut buffer, limits.packet_size.min(CONNECT_LIMIT));
    let mut room = usize::MAX;
    let refusal = match tokio::time::timeout_at(deadline, connect).await {
        Err(_) => {
            BrokerStats::count(&shared.stats.connect_timeouts);
            tracing::debug!(%peer, "no CONNECT in time: connection closed");
            return None;
        }
        Ok(Err(refusal)) => refusal,
        Ok(Ok(connect)) => {
            room = connect.maximum_packet.map_or(usize::MAX, |size| size as usize);
            shared.clients.let_leave(&connect.client_id).await;
            match admit(connect, peer, shared).await {
                Err(refusal) => refusal,
                Ok((presence, close, terms, connack)) => {
                    if let Some(packet) = fitting(terms.version, Reason::SUCCESS, connack, room) {
                        answer(stream, &packet).await?;
                        return Some(Welcome { presence, close, buffer, terms });
                    }
                    // As if it had never come: it was not told of this connection.
                    presence.leave(Leave { publish_will: false, expiry: None });
                    let fault = "maximum packet size is below that of CONNACK";
                    Refusal::Silent(Some(WireError::Protocol(fault)))
                }
            }
        }
    };
    refuse(stream, peer, shared, refusal, room).await;
    None
}

/// Refuses a connection that there is no room for: waits for its CONNECT, but not for long.
pub(super) async fn turn_away<S>(stream: &mut S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = BytesMut::with_capacity(BUFFER_START);
    let connect = read_connect(stream, &mut buffer, CONNECT_LIMIT);
    if let Ok(Ok(connect)) = tokio::time::timeout(TURN_AWAY_TIME, connect).await {
        let room = connect.maximum_packet.map_or(usize::MAX, |size| size as usize);
        say_no(stream, connect.version, Reason::QUOTA_EXCEEDED, None, room).await;
    }
}

async fn read_connect<S>(
    stream: &mut S,
    buffer: &mut BytesMut,
    limit: usize,
) -> Result<Connect, Refusal>
where
    S: AsyncRead + Unpin,
{
    loop {
        let framing =
            wire::frame(buffer, None, limit).map_err(|error| Refusal::Silent(Some(error)))?;
        if let Framing::Whole(header) = framing {
            let packet = &buffer[..header.total];
            let connect = wire::decode_connect(header, packet).map_err(|error| {
                let version = wire::version_to_refuse_in(header, packet);
                match version {
                    Some(version) => Refusal::Answered(version, error.reason(), Some(error)),
                    None => Refusal::Silent(Some(error)),
                }
            })?;
            buffer.advance(header.total);
            return Ok(connect);
        }
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return Err(Refusal::Silent(None)),
            Ok(_) => {}
        }
    }
}

type Admitted = (Presence, oneshot::Receiver<Reason>, Terms, ConnAck);

async fn admit(connect: Connect, peer: SocketAddr, shared: &Shared) -> Result<Admitted, Refusal> {
    let version = connect.version;
    let login = shared.access.admit(peer, &connect).await;
    let login = login.map_err(|reason| Refusal::Logged(version, reason))?;
    enter(connect, peer, login, shared)
        .await
        .map_err(|reason| Refusal::Answered(version, reason, None))
}

/// Brings a client that was let in to its session.
async fn enter(
    mut connect: Connect,
    peer: SocketAddr,
    login: Login,
    shared: &Shared,
) -> Result<Admitted, Reason> {
    let version = connect.version;
    if connect.bridge {
        // It would tell under `$SYS` that it is gone, which is the broker's own subject.
        connect.will = connect.will.filter(|will| !filter::is_reserved(&will.topic));
    }
    if connect.will.as_ref().is_some_and(|will| filter::is_reserved(&will.topic)) {
        return Err(Reason::NOT_AUTHORIZED);
    }
    let (keep_alive, server_keep_alive) = agree_keep_alive(&connect, shared)?;
    let assigned = connect.client_id.is_empty().then(make_client_id);
    if assigned.is_some() && version == Version::V3 && !connect.clean {
        return Err(Reason::CLIENT_ID_NOT_VALID);
    }
    let client_id = assigned.as_deref().unwrap_or(&connect.client_id);
    let identity = shared.access.identify(login, client_id);
    let session_terms = session::Terms {
        expiry: connect.session_expiry,
        owner: identity.login().clone(),
        will: connect.will.filter(|will| may_leave(will, &identity, peer, shared)),
        window: usize::from(connect.receive_maximum).min(WINDOW),
        via: Some(ConnectionInfo::begin(peer, version)),
    };
    let terms = Terms {
        version,
        bridge: connect.bridge,
        identity,
        session_expiry: connect.session_expiry,
        maximum_packet: connect.maximum_packet.map_or(usize::MAX, |size| size as usize),
        topic_aliases: connect.topic_alias_maximum,
        silence_limit: (keep_alive > 0)
            .then(|| Duration::from_secs(keep_alive.into()).mul_f64(1.5)),
    };
    let Entered { presence, session_present, ticket, close } =
        shared.clients.enter(client_id, connect.clean, session_terms)?;
    let on_disk = tokio::time::timeout(shared.limits.connect_timeout, shared.store.settled(ticket));
    if !on_disk.await.unwrap_or(false) {
        // Nobody was told of this connection: its will is not published.
        presence.leave(Leave { publish_will: false, expiry: None });
        BrokerStats::count(&shared.stats.disk_refused);
        return Err(Reason::QUOTA_EXCEEDED);
    }
    let connack = ConnAck {
        session_present: session_present && connect.knows_session_present,
        assigned_client_id: assigned.filter(|_| version == Version::V5),
        keep_alive: server_keep_alive,
        receive_maximum: shared.limits.inflight.max(1),
        maximum_packet: u32::try_from(shared.limits.packet_size).unwrap_or(u32::MAX),
        topic_alias_maximum: TOPIC_ALIASES,
        reason_string: None,
    };
    Ok((presence, close, terms, connack))
}

/// Whether a will may be published. If not it is dropped as a PUBLISH would be, and the client is let
/// in: what else it may do is worth something without it.
fn may_leave(will: &Will, identity: &Identity, peer: SocketAddr, shared: &Shared) -> bool {
    let allowed = identity.may_publish(&will.topic);
    if !allowed {
        BrokerStats::count(&shared.stats.refused_wills);
        if let Some(before) = shared.refusals.pass() {
            tracing::warn!(%peer, topic = ?will.topic, before, "will dropped: not allowed to its client");
        }
    }
    allowed
}

/// The keep-alive that holds, and the one to tell an MQTT 5 client of. MQTT 3.1.1 has no way to
/// tell, so a client that wants more than the limit is refused.
fn agree_keep_alive(connect: &Connect, shared: &Shared) -> Result<(u16, Option<u16>), Reason> {
    let limit = u16::try_from(shared.limits.keep_alive.as_secs()).unwrap_or(u16::MAX).max(1);
    let unlimited = limit == u16::MAX;
    match (connect.version, connect.keep_alive) {
        (_, wanted) if unlimited || (1..=limit).contains(&wanted) => Ok((wanted, None)),
        (Version::V5, _) => Ok((limit, Some(limit))),
        (Version::V3, 0) => Ok((0, None)),
        (Version::V3, _) => Err(Reason::CLIENT_ID_NOT_VALID),
    }
}

fn make_client_id() -> String {
    format!("auto-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}

/// `room`: the largest packet the client takes.
async fn refuse<S>(stream: &mut S, peer: SocketAddr, shared: &Shared, refusal: Refusal, room: usize)
where
    S: AsyncWrite + Unpin,
{
    let error = match refusal {
        Refusal::Silent(None) => {
            tracing::debug!(%peer, "connection closed before CONNECT");
            return;
        }
        Refusal::Silent(error) => {
            BrokerStats::count(&shared.stats.refused_packets);
            error
        }
        Refusal::Logged(version, reason) => {
            BrokerStats::count(&shared.stats.refused_connects);
            say_no(stream, version, reason, None, room).await;
            return;
        }
        Refusal::Answered(version, reason, error) => {
            BrokerStats::count(&shared.stats.refused_connects);
            say_no(stream, version, reason, error.as_ref(), room).await;
            let code = reason.0;
            if error.is_none()
                && let Some(before) = shared.refusals.pass()
            {
                tracing::warn!(%peer, code, before, "mqtt client refused");
            }
            error
        }
    };
    if let Some(error) = error
        && let Some(before) = shared.refusals.pass()
    {
        tracing::warn!(%peer, %error, before, "mqtt client refused");
    }
}

fn refusal_in_words(reason: Reason, error: Option<&WireError>) -> ConnAck {
    let text = error.map_or_else(|| reason.text().to_owned(), ToString::to_string);
    // A client of a version to come may not know reason strings.
    let told = !text.is_empty() && reason != Reason::UNSUPPORTED_VERSION;
    ConnAck { reason_string: told.then_some(text), ..ConnAck::default() }
}

/// Sends a CONNACK that refuses, if the client takes one.
async fn say_no<S>(
    stream: &mut S,
    version: Version,
    reason: Reason,
    error: Option<&WireError>,
    room: usize,
) where
    S: AsyncWrite + Unpin,
{
    if let Some(packet) = fitting(version, reason, refusal_in_words(reason, error), room) {
        // The client may be gone; it was refused either way.
        let _ = answer(stream, &packet).await;
    }
}

/// CONNACK in at most `room` bytes, if need be without the reason in words.
fn fitting(version: Version, reason: Reason, connack: ConnAck, room: usize) -> Option<BytesMut> {
    let write = |connack: &ConnAck| {
        let mut packet = BytesMut::new();
        wire::write_connack(version, reason, connack, &mut packet).ok()?;
        (packet.len() <= room).then_some(packet)
    };
    write(&connack).or_else(|| write(&ConnAck { reason_string: None, ..connack }))
}

/// Sends CONNACK; `None` when it could not be sent.
async fn answer<S>(stream: &mut S, packet: &[u8]) -> Option<()>
where
    S: AsyncWrite + Unpin,
{
    let send = async {
        stream.write_all(packet).await?;
        stream.flush().await
    };
    match tokio::time::timeout(ANSWER_TIME, send).await {
        Ok(Ok(())) => Some(()),
        _ => None,
    }
}

/// Largest CONNECT: will, client id, user and password at their full lengths, and room for properties.
const CONNECT_LIMIT: usize = 512 * 1024;
/// Topic aliases a client may use, MQTT 5.
pub(super) const TOPIC_ALIASES: u16 = 16;
/// Unacknowledged messages a client is sent at most. Large enough not to wait for round trips.
const WINDOW: usize = 1024;
const TURN_AWAY_TIME: Duration = Duration::from_secs(1);
const ANSWER_TIME: Duration = Duration::from_secs(5);
