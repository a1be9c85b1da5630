//! One connection to the broker, from CONNECT to its end.
//!
//! A single task reads, writes and keeps account of what is under way, and waits for nothing but
//! its socket: the outbox lays out what is to be sent, and a packet id stands for each message until
//! its PUBACK. The outbox hears of the acknowledgement and nothing else; a message whose connection
//! ends simply comes again with the next one.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::fault::Fault;
use super::shelf::Entry;
use super::stats::ExternalStats;
use super::transport::{Stream, within};
use super::wire::{Hello, Incoming, Outgoing, Terms, Wire};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suspect {
    pub(super) seq: i64,
    pub(super) topic: Box<str>,
    pub(super) size: usize,
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
    made: BTreeMap<Box<str>, u64>,
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
                got = read.read_buf(&mut self.incoming) => {
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

    /// Writes what is to be sent into the buffer, as far as the buffer and the window have room.
    fn fill(&mut self) -> Result<(), Fault> {
        self.subscribe()?;
        while self.messages < self.window() && self.out.len() < WRITE_BYTES {
            let Some(entry) = self.held.take().or_else(|| self.shared.outbox.take()) else { break };
            if self.careful.is_some_and(|from| entry.seq >= from) && !self.is_proved()? {
                self.held = Some(entry);
                break;
            }
            self.send(entry);
        }
        while self.out.len() < WRITE_BYTES {
            let Some(message) = self.shared.live.pop() else { break };
            let (topic, payload) = (&*message.topic, message.payload);
            let outgoing = Outgoing { id: None, topic, payload, retain: false };
            match self.wire.publish(outgoing, &mut self.out) {
                Ok(()) => ExternalStats::count(&self.shared.stats.messages_sent),
                Err(large) => self.too_large(topic, large.size),
            }
        }
        Ok(())
    }

    /// Whether nothing is under way and a ping was answered since; asks for that otherwise.
    fn is_proved(&mut self) -> Result<bool, Fault> {
        if self.messages > 0 {
            self.proof = Proof::None;
        } else if self.proof == Proof::None {
            self.proof = Proof::Asked;
            self.wire.ping(&mut self.out)?;
        }
        Ok(self.messages == 0 && self.proof == Proof::Given)
    }

    fn window(&self) -> usize {
        let granted = self.terms.receive_maximum.unwrap_or(u16::MAX);
        usize::from(self.shared.settings.inflight.min(granted).max(1))
    }

    fn send(&mut self, entry: Entry) {
        let Entry { seq, topic, payload, retain } = entry;
        let id = (!self.terms.without_qos_1).then(|| self.next_id());
        let size = topic.len() + payload.len();
        let retain = retain && !self.terms.without_retain;
        let outgoing = Outgoing { id, topic: &topic, payload, retain };
        match self.wire.publish(outgoing, &mut self.out) {
            Ok(()) => ExternalStats::count(&self.shared.stats.messages_sent),
            Err(large) => {
                self.too_large(&topic, large.size);
                return self.shared.outbox.done(seq);
            }
        }
        match id {
            Some(id) => {
                self.under_way.insert(id, UnderWay::Message(Suspect { seq, topic, size }));
                self.messages += 1;
            }
            None => self.shared.outbox.done(seq),
        }
    }

    fn too_large(&self, topic: &str, size: usize) {
        let stats = &self.shared.stats;
        ExternalStats::count(&stats.too_large);
        if let Some(before) = self.shared.too_large.pass() {
            let most = self.wire.outgoing;
            tracing::error!(
                topic,
                size,
                most,
                before,
                "message dropped: the broker takes no packet of this size; raise its limit \
                 (mosquitto: max_packet_size) or broker.limits.packet_size"
            );
        }
    }

    /// Makes the subscriptions that are wanted and not made, and the other way round.
    fn subscribe(&mut self) -> Result<(), Fault> {
        let wanted = self.shared.subscriptions.wanted();
        if wanted == self.made {
            return Ok(());
        }
        for (filter, number) in &wanted {
            if self.made.get(filter) != Some(number) {
                let id = self.next_id();
                self.wire.subscribe(id, filter, &mut self.out)?;
                self.under_way.insert(id, UnderWay::Subscribe(filter.clone()));
            }
        }
        let made = std::mem::replace(&mut self.made, wanted);
        for filter in
            made.into_keys().filter(|filter| !self.made.contains_key(filter)).collect::<Vec<_>>()
        {
            let id = self.next_id();
            self.wire.unsubscribe(id, &filter, &mut self.out)?;
            self.under_way.insert(id, UnderWay::Unsubscribe);
        }
        Ok(())
    }

    /// A packet id that stands for nothing. The window is far smaller than their number.
    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.under_way.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    fn take_packets(&mut self) -> Result<(), Fault> {
        let client_id = &self.shared.settings.client_id;
        while let Some(packet) = self.wire.read(&mut self.incoming, client_id)? {
            self.take(packet)?;
        }
        Ok(())
    }

    fn take(&mut self, packet: Incoming) -> Result<(), Fault> {
        match packet {
            Incoming::Publish { id, topic, payload, retain } => {
                let Ok(topic) = std::str::from_utf8(&topic) else {
                    return Err(Fault::Malformed("a topic that is not UTF-8".to_owned()));
                };
                ExternalStats::count(&self.shared.stats.messages_received);
                self.shared.subscriptions.deliver(topic, &payload, retain);
                if let Some(id) = id {
                    self.wire.acknowledge(id, &mut self.out)?;
                }
            }
            Incoming::Acknowledged(id, refusal) => self.acknowledged(id, refusal)?,
            Incoming::Subscribed(id, refusal) => match self.under_way.remove(&id) {
                Some(UnderWay::Subscribe(filter)) => {
                    if let Some(reason) = refusal {
                        tracing::error!(
                            filter = &*filter,
                            reason,
                            "the broker refuses a subscription: what comes by it, such as \
                             commands, will not arrive; let the gateway's user read it"
                        );
                    }
                }
                _ => return Err(unasked("SUBACK", id)),
            },
            Incoming::Unsubscribed(id) => match self.under_way.remove(&id) {
                Some(UnderWay::Unsubscribe) => {}
                _ => return Err(unasked("UNSUBACK", id)),
            },
            Incoming::Pong if self.proof == Proof::Asked => self.proof = Proof::Given,
            Incoming::Pong => self.stop_worrying(),
            Incoming::Accepted(_) => {
                return Err(Fault::Malformed("a second CONNACK".to_owned()));
            }
        }
        Ok(())
    }

    /// What was doubtful is gone from the outbox: another message has taken its place, say.
    fn stop_worrying(&mut self) {
        let nothing_left = self.messages == 0 && self.held.is_none();
        if nothing_left && self.shared.outbox.is_empty() && self.careful.take().is_some() {
            self.shared.live.open();
        }
    }

    fn acknowledged(&mut self, id: u16, refusal: Option<String>) -> Result<(), Fault> {
        let Some(UnderWay::Message(message)) = self.under_way.remove(&id) else {
            return Err(unasked("PUBACK", id));
        };
        self.messages -= 1;
        if self.careful.is_some_and(|from| message.seq >= from) {
            self.careful = None;
            self.shared.live.open();
        }
        self.shared.outbox.done(message.seq);
        if let Some(reason) = refusal {
            ExternalStats::count(&self.shared.stats.refused);
            if let Some(before) = self.shared.refusals.pass() {
                tracing::error!(
                    topic = &*message.topic,
                    reason,
                    before,
                    "the broker refuses a message, which is lost: let the gateway's user write \
                     this topic"
                );
            }
        }
        Ok(())
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
