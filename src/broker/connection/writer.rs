//! The writing half: answers first, then what the session has queued, many packets to one write.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::aliases::Aliases;
use super::{BUFFER_BUSY, BUFFER_IDLE, BUFFER_START, Desk, End, Terms};
use crate::broker::Shared;
use crate::broker::clients::Presence;
use crate::broker::link::feed_retained;
use crate::broker::packet::{Ack, AckKind, Reason, Version};
use crate::broker::session::{Outgoing, Session, Taken};
use crate::broker::stats::BrokerStats;
use crate::broker::store::{Standing, Ticket};
use crate::broker::wire::{self, Alias, Delivery};

/// Writes one connection.
pub(super) struct Writer<'a, W> {
    stream: W,
    /// Encoded and not yet written. Survives the cancellation of `run`, so that a goodbye never
    /// lands in the middle of a packet.
    buffer: BytesMut,
    batch: Vec<Outgoing>,
    aliases: Aliases,
    /// There are retained messages still to be looked through.
    unfinished: bool,
    /// Packets whose id is not on disk yet, in their order.
    gated: VecDeque<(Ticket, Outgoing)>,
    desk: &'a Desk,
    shared: &'a Shared,
    session: Arc<Session>,
    generation: u64,
    terms: &'a Terms,
}

impl<'a, W: AsyncWrite + Unpin> Writer<'a, W> {
    pub(super) fn new(
        stream: W,
        desk: &'a Desk,
        shared: &'a Shared,
        presence: &Presence,
        terms: &'a Terms,
    ) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            batch: Vec::new(),
            aliases: Aliases::new(terms.topic_aliases),
            unfinished: false,
            gated: VecDeque::new(),
            desk,
            shared,
            session: Arc::clone(&presence.session),
            generation: presence.generation,
            terms,
        }
    }

    /// Writes until the connection ends.
    pub(super) async fn run(&mut self) -> End {
        loop {
            let taken = self.fill();
            if taken == Taken::Detached {
                // Whoever took the session says why; that message is on its way.
                return std::future::pending().await;
            }
            // The session wakes nobody who was just given something, though none of it be sent.
            if self.buffer.is_empty() && (self.unfinished || taken == Taken::Some) {
                tokio::task::yield_now().await;
            } else if self.buffer.is_empty() {
                self.rest().await;
            } else if self.write_out().await.is_err() {
                return End::Closed;
            }
        }
    }

    /// Writes all that is queued, for a broker that stops.
    pub(super) async fn drain(&mut self) {
        let all = async {
            loop {
                let taken = self.fill();
                if self.buffer.is_empty() && taken == Taken::Some {
                    tokio::task::yield_now().await;
                } else if self.buffer.is_empty() || self.write_out().await.is_err() {
                    return;
                }
            }
        };
        // The rest is lost with the connection, or kept by the session if it is persistent.
        let _ = tokio::time::timeout(DRAIN_TIME, all).await;
    }

    /// Sends what is begun, the last answers and DISCONNECT with `reason`, then closes.
    pub(super) async fn say_goodbye(&mut self, reason: Option<(Reason, String)>) {
        self.take_replies();
        if let Some((reason, text)) = reason {
            let Terms { version, maximum_packet, .. } = *self.terms;
            wire::write_disconnect(version, reason, &text, maximum_packet, &mut self.buffer);
        }
        let send = async {
            if self.write_out().await.is_ok() {
                // The client may have closed already.
                let _ = self.stream.shutdown().await;
            }
        };
        let _ = tokio::time::timeout(GOODBYE_TIME, send).await;
    }

    /// Encodes what is to be sent now, if the buffer is empty.
    fn fill(&mut self) -> Taken {
        if !self.buffer.is_empty() {
            return Taken::Some;
        }
        self.take_replies();
        self.unfinished = feed_retained(&self.shared.router, &self.session, self.generation);
        let taken = self.session.take(self.generation, BUFFER_BUSY, &mut self.batch);
        let mut batch = std::mem::take(&mut self.batch);
        BrokerStats::add(&self.shared.stats.packets_sent, batch.len() as u64);
        let (mut sent, mut payload_bytes) = self.pass_gate();
        for outgoing in batch.drain(..) {
            match outgoing {
                Outgoing::Publish { gate, .. } if !self.is_open(gate) => {
                    if self.gated.is_empty() {
                        self.desk.held.wake_at(gate);
                    }
                    self.gated.push_back((gate, outgoing));
                }
                outgoing => {
                    if let Some(size) = self.encode(&outgoing) {
                        sent += 1;
                        payload_bytes += size as u64;
                    }
                }
            }
        }
        BrokerStats::add(&self.shared.stats.payload_bytes_sent, payload_bytes);
        self.batch = batch;
        BrokerStats::add(&self.shared.stats.messages_sent, sent);
        taken
    }

    /// Encodes what waited for the disk and no longer has to; answers how many messages and bytes of
    /// payload.
    fn pass_gate(&mut self) -> (u64, u64) {
        let (mut sent, mut payload_bytes) = (0, 0);
        while let Some((gate, outgoing)) = self.gated.pop_front() {
            if self.shared.store.standing(gate) != Standing::Kept {
                self.desk.held.wake_at(gate);
                self.gated.push_front((gate, outgoing));
                break;
            }
            if let Some(size) = self.encode(&outgoing) {
                sent += 1;
                payload_bytes += size as u64;
            }
        }
        (sent, payload_bytes)
    }

    /// Whether a packet may go out: its own gate is open, and none is waiting before it.
    fn is_open(&self, gate: Ticket) -> bool {
        gate == Ticket::NONE
            || (self.gated.is_empty() && self.shared.store.standing(gate) == Standing::Kept)
    }

    fn take_replies(&mut self) {
        let mut replies = self.desk.replies.lock();
        if !replies.is_empty() {
            if self.buffer.is_empty() {
                std::mem::swap(&mut *replies, &mut self.buffer);
            } else {
                self.buffer.extend_from_slice(&replies);
                replies.clear();
            }
            self.desk.taken.notify_one();
        }
    }

    /// Appends one packet; answers the payload's size if it was a PUBLISH.
    fn encode(&mut self, outgoing: &Outgoing) -> Option<usize> {
        let version = self.terms.version;
        let (item, packet_id, dup) = match outgoing {
            Outgoing::Release { packet_id } => {
                let (kind, packet_id) = (AckKind::Release, *packet_id);
                let ack = Ack { kind, packet_id, reason: Reason::SUCCESS };
                wire::write_ack(version, ack, &mut self.buffer);
                return None;
            }
            Outgoing::Publish { item, packet_id, dup, .. } => (item, *packet_id, *dup),
        };
        let mut alias = self.aliases.find(item.publication.topic());
        let mut delivery = Delivery {
            publication: &item.publication,
            qos: item.qos,
            retain: item.retain,
            dup,
            packet_id,
            subscription_ids: if version == Version::V5 { &item.ids } else { &[] },
            expiry: item.publication.seconds_left(),
            alias,
        };
        if matches!(alias, Some(Alias::New(_)))
            && wire::publish_size(version, &delivery) > self.terms.maximum_packet
        {
            // Telling the alias may be just what is too much.
            alias = None;
            delivery.alias = None;
        }
        if wire::publish_size(version, &delivery) > self.terms.maximum_packet {
            BrokerStats::count(&self.shared.stats.dropped_too_large);
            self.session.abandon(self.generation, packet_id);
            return None;
        }
        wire::write_publish(version, &delivery, &mut self.buffer);
        self.aliases.note_sent(alias, item.publication.topic());
        Some(item.publication.payload().len())
    }

    /// Waits for something to do, and gives back large buffers if that takes long.
    async fn rest(&mut self) {
        if self.buffer.capacity() > BUFFER_START || self.batch.capacity() > 0 {
            if tokio::time::timeout(BUFFER_IDLE, self.session.woken()).await.is_ok() {
                return;
            }
            self.buffer = BytesMut::new();
            self.batch = Vec::new();
            self.session.shrink();
        }
        self.session.woken().await;
    }

    async fn write_out(&mut self) -> std::io::Result<()> {
        while !self.buffer.is_empty() {
            // Takes off what was written, so that nothing is sent twice after a cancellation.
            match self.stream.write_buf(&mut self.buffer).await? {
                0 => return Err(std::io::ErrorKind::WriteZero.into()),
                count => BrokerStats::add(&self.shared.stats.bytes_sent, count as u64),
            }
        }
        self.stream.flush().await
    }
}

const DRAIN_TIME: Duration = Duration::from_secs(2);
const GOODBYE_TIME: Duration = Duration::from_millis(500);
