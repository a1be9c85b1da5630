//! One connection to the broker, from CONNECT to its end.
//!
//! A single task reads, writes and keeps account of what is under way, and waits for nothing but
//! its socket: the outbox lays out what is to be sent, and a packet id stands for each message until
//! its PUBACK. The outbox hears of the acknowledgement and nothing else; a message whose connection
//! ends simply comes again with the next one. `sending` and `receiving` are what it does both ways.

mod receiving;
mod sending;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::fault::Fault;
use super::shelf::Entry;
use super::subscriptions::Wanted;
use super::transport::{Stream, within};
use super::wire::{Hello, Incoming, Terms, Wire};

/// What a connection came to.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// When the broker accepted it, if it did.
    pub(super) accepted: Option<Instant>,
    /// The oldest message that was under way at its end: the one it may have ended at.
    pub(super) oldest: Option<Suspect>,
    /// That one was alone under way, on a connection that had just proved to work.
    pub(super) alone: bool,
}

/// A message at which the broker may have ended the connection.
#[derive(Debug, Clone)]
pub(super) struct Suspect {
    pub(super) seq: i64,
    pub(super) topic: Box<str>,
    pub(super) size: usize,
    pub(super) retain: bool,
}

impl Suspect {
    /// Whether this is the other one, or has taken its place.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.seq == other.seq || (self.retain && other.retain && self.topic == other.topic)
    }
}

/// A connection that the broker has accepted.
pub(super) struct Connection<'a> {
    shared: &'a Shared,
    wire: Wire,
    terms: Terms,
    out: BytesMut,
    incoming: BytesMut,
    under_way: HashMap<u16, UnderWay>,
    /// How many of these are messages.
    messages: usize,
    last_id: u16,
    /// The filters that are subscribed to, each with the number it was wanted with.
    made: BTreeMap<Box<str>, Wanted>,
    /// QoS 2 messages that came and are not released, by packet id.
    received: HashSet<u16>,
    heard: Instant,
    next_ping: Instant,
    /// From this message of the outbox on, until one is acknowledged: one at a time, each after a
    /// ping was answered, and no live messages.
    careful: Option<i64>,
    /// A message that waits for the ping.
    held: Option<Entry>,
    proof: Proof,
    report: Report,
}

/// Whether the connection works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    None,
    Asked,
    Given,
}

/// What a packet id stands for.
#[derive(Debug)]
enum UnderWay {
    Message(Suspect),
    Subscribe(Box<str>),
    Unsubscribe,
}

/// Sends CONNECT and waits for the answer.
pub(super) async fn open<'a>(
    shared: &'a Shared,
    stream: &mut Box<dyn Stream>,
    careful: Option<i64>,
) -> Result<Connection<'a>, Fault> {
    let settings = &shared.settings;
    let mut wire = Wire::new(settings.version, settings.packet_size);
    let (mut out, mut incoming) = (BytesMut::new(), BytesMut::new());
    let hello = Hello {
        client_id: &settings.client_id,
        login: settings.login.as_ref(),
        will: settings.will.as_ref(),
        keep_alive: KEEP_ALIVE,
        clean: shared.guest,
    };
    wire.connect(&hello, &mut out)?;
    let answer = async {
        stream.write_all_buf(&mut out).await.map_err(Fault::of_io)?;
        stream.flush().await.map_err(Fault::of_io)?;
        loop {
            if let Some(packet) = wire.read(&mut incoming, &settings.client_id)? {
                return Ok(packet);
            }
            if stream.read_buf(&mut incoming).await.map_err(Fault::of_io)? == 0 {
                return Err(Fault::Closed);
            }
        }
    };
    let terms = match within("waiting for CONNACK", answer).await? {
        Ok(Incoming::Accepted(terms)) => terms,
        Ok(_) => return Err(Fault::Malformed("no CONNACK came first".to_owned())),
        Err(Fault::Closed) => {
            return Err(Fault::ClosedEarly { version: settings.version.number() });
        }
        Err(fault) => return Err(fault),
    };
    wire.outgoing = wire.outgoing.min(terms.packet_size.unwrap_or(u32::MAX));
    let now = Instant::now();
    Ok(Connection {
        shared,
        wire,
        terms,
        out,
        incoming,
        under_way: HashMap::new(),
        messages: 0,
        last_id: 0,
        made: BTreeMap::new(),
        received: HashSet::new(),
        heard: now,
        next_ping: now,
        careful,
        held: None,
        proof: Proof::None,
        report: Report { accepted: Some(now), ..Report::default() },
    })
}

impl Connection<'_> {
    /// What the broker granted.
    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Sends and receives until `stop`, then until everything is acknowledged, for a moment at most.
    pub(super) async fn run(
        mut self,
        stream: Box<dyn Stream>,
        stop: &CancellationToken,
    ) -> (Result<(), Fault>, Report) {
        let (mut read, mut write) = tokio::io::split(stream);
        let result = self.converse(&mut read, &mut write, stop).await;
        let mut report = self.report;
        let messages = self.under_way.into_values().filter_map(|one| match one {
            UnderWay::Message(suspect) => Some(suspect),
            _ => None,
        });
        report.oldest = messages.min_by_key(|message| message.seq);
        let doubted = |oldest: &Suspect| self.careful.is_some_and(|from| oldest.seq >= from);
        report.alone = self.messages == 1 && report.oldest.as_ref().is_some_and(doubted);
        (result, report)
    }

    async fn converse<R, W>(
        &mut self,
        read: &mut R,
        write: &mut W,
        stop: &CancellationToken,
    ) -> Result<(), Fault>
    where
        R: tokio::io::AsyncRead + Unpin,
        W: tokio::io::AsyncWrite + Unpin,
    {
        let shared = self.shared;
        let (mut flushed, mut deadline) = (true, None);
        // What came in one read with the CONNACK.
        self.take_packets()?;
        loop {
            self.fill()?;
            if let Some(at) = deadline
                && (Instant::now() >= at || self.is_idle())
            {
                return self.say_goodbye(write).await;
            }
            let timer = deadline.map_or(self.next_ping, |at| self.next_ping.min(at));
            self.incoming.reserve(READ_BYTES);
            tokio::select! {
                got = read.read_buf(&mut self.incoming), if self.out.len() < MOST_BYTES => {
                    if got.map_err(Fault::of_io)? == 0 {
                        return Err(Fault::Closed);
                    }
                    self.heard = Instant::now();
                    self.take_packets()?;
                }
                sent = send(write, &mut self.out), if !self.out.is_empty() || !flushed => {
                    flushed = sent.map_err(Fault::of_io)?;
                }
                () = shared.outbox.laid_out() => {}
                () = shared.live.arrived() => {}
                () = shared.subscriptions.changed() => {}
                () = sleep_until(timer) => self.ping()?,
                () = stop.cancelled(), if deadline.is_none() => {
                    deadline = Some(Instant::now() + FAREWELL);
                }
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.messages == 0 && self.out.is_empty() && self.shared.outbox.is_empty()
    }

    /// DISCONNECT, which keeps the broker from publishing the will.
    async fn say_goodbye(
        &mut self,
        write: &mut (impl tokio::io::AsyncWrite + Unpin),
    ) -> Result<(), Fault> {
        self.wire.disconnect(&mut self.out)?;
        let farewell = async {
            write.write_all_buf(&mut self.out).await?;
            write.shutdown().await
        };
        match tokio::time::timeout(FAREWELL / 4, farewell).await {
            Ok(done) => done.map_err(Fault::of_io),
            Err(_) => Err(Fault::Slow { doing: "saying goodbye", after: FAREWELL / 4 }),
        }
    }

    /// Called when it is time for a ping, and earlier at times.
    fn ping(&mut self) -> Result<(), Fault> {
        let now = Instant::now();
        let keep_alive = self.keep_alive();
        let silence = now.duration_since(self.heard);
        if silence > keep_alive * 3 / 2 {
            return Err(Fault::Silent(silence));
        }
        if now >= self.next_ping {
            self.next_ping = now + keep_alive / 2;
            self.wire.ping(&mut self.out)?;
        }
        Ok(())
    }

    fn keep_alive(&self) -> Duration {
        match self.terms.keep_alive {
            Some(0) | None => Duration::from_secs(KEEP_ALIVE.into()),
            Some(seconds) => Duration::from_secs(seconds.min(KEEP_ALIVE).into()),
        }
    }
}

/// Writes some of the buffer, or flushes when it is empty; whether it flushed. Safe to cancel.
async fn send(
    write: &mut (impl tokio::io::AsyncWrite + Unpin),
    out: &mut BytesMut,
) -> std::io::Result<bool> {
    if out.is_empty() {
        return write.flush().await.map(|()| true);
    }
    match write.write_buf(out).await? {
        0 => Err(std::io::ErrorKind::BrokenPipe.into()),
        _ => Ok(false),
    }
}

fn unasked(packet: &str, id: u16) -> Fault {
    Fault::Malformed(format!("{packet} for packet id {id}, which stands for nothing"))
}

/// Seconds; a dead connection is noticed after one and a half times as many.
const KEEP_ALIVE: u16 = 30;
/// How long the end may take: the gateway has two seconds for it.
const FAREWELL: Duration = Duration::from_millis(1200);
const READ_BYTES: usize = 8 * 1024;
const WRITE_BYTES: usize = 64 * 1024;
/// Answers that wait for a broker that does not read: no more is read from it meanwhile.
const MOST_BYTES: usize = 1024 * 1024;
