//! What each packet of a client does: messages to the router, answers to the desk.

mod publish;
mod subscribe;

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::{Buf, BytesMut};

use super::{Desk, End, Terms};
use crate::broker::Shared;
use crate::broker::clients::Presence;
use crate::broker::packet::{Ack, AckKind, Disconnect, Incoming, QoS};
use crate::broker::pressure::Crowded;
use crate::broker::router::Wakes;
use crate::broker::session::Session;
use crate::broker::stats::BrokerStats;
use crate::broker::wire::{self, Framing, WireError};

/// Packets and messages of one batch, counted at once at its end.
#[derive(Debug, Default)]
struct Tally {
    packets: u64,
    messages: u64,
    payload_bytes: u64,
    answers: u64,
}

/// Acts on one connection's packets.
pub(super) struct Handler<'a> {
    desk: &'a Desk,
    shared: &'a Shared,
    session: Arc<Session>,
    generation: u64,
    terms: &'a Terms,
    aliases: Vec<Option<Box<str>>>,
    /// What the present batch has brought.
    tally: Tally,
    /// The present batch held acknowledgements.
    progress: bool,
    /// Whom the present batch was too much for.
    crowded: Crowded,
}

impl<'a> Handler<'a> {
    pub(super) fn new(
        desk: &'a Desk,
        shared: &'a Shared,
        presence: &Presence,
        terms: &'a Terms,
    ) -> Self {
        Self {
            desk,
            shared,
            session: Arc::clone(&presence.session),
            generation: presence.generation,
            terms,
            aliases: Vec::new(),
            tally: Tally::default(),
            progress: false,
            crowded: Crowded::default(),
        }
    }

    /// Acts on the whole packets in `buffer`, up to one that somebody's queue is too full for.
    /// Continues with the length of the packet that follows, where it is known.
    pub(super) fn handle_all(&mut self, buffer: &mut BytesMut) -> ControlFlow<End, Option<usize>> {
        let mut wakes = Wakes::default();
        let mut offset = 0;
        let flow = loop {
            let rest = &buffer[offset..];
            let version = self.terms.version;
            match wire::frame(rest, Some(version), self.shared.limits.packet_size) {
                Err(error) => break ControlFlow::Break(End::Refused(error)),
                Ok(Framing::Partial(needed)) => break ControlFlow::Continue(needed),
                Ok(Framing::Whole(header)) => {
                    offset += header.total;
                    match wire::decode(version, header, &rest[..header.total]) {
                        Err(error) => break ControlFlow::Break(End::Refused(error)),
                        Ok(packet) => {
                            if let ControlFlow::Break(end) = self.handle(packet, &mut wakes) {
                                break ControlFlow::Break(end);
                            }
                            if !wakes.crowded.is_empty() {
                                break ControlFlow::Continue(None);
                            }
                        }
                    }
                }
            }
        };
        self.crowded = std::mem::take(&mut wakes.crowded);
        if offset > 0 {
            self.desk.note_heard();
            buffer.advance(offset);
        }
        self.count();
        flow
    }

    /// Lets the writer have the answers, and waits while too many lie there unsent: a client that
    /// does not read is not read from. Waits as well for subscribers that have too much of what was
    /// published; answers whether packets may have been left in the buffer for that.
    pub(super) async fn hand_over(&mut self) -> bool {
        self.hand_over_replies().await;
        if self.crowded.is_empty() {
            return false;
        }
        // It is we who do not listen meanwhile, so its keep-alive must not run out.
        let still_here = || self.desk.note_heard();
        std::mem::take(&mut self.crowded).wait_as(&self.session, still_here).await;
        true
    }

    async fn hand_over_replies(&mut self) {
        let waiting = |limit| self.desk.replies.lock().len() > limit;
        while self.desk.held.len() > HELD_LIMIT {
            self.desk.taken.notified().await;
        }
        let progress = std::mem::take(&mut self.progress);
        if !progress && !waiting(0) {
            return;
        }
        self.session.wake();
        tokio::task::yield_now().await;
        while waiting(REPLIES_LIMIT) {
            self.desk.taken.notified().await;
        }
    }

    /// Notes that bytes have come.
    pub(super) fn note_read(&self, count: usize) {
        BrokerStats::add(&self.shared.stats.bytes_received, count as u64);
    }

    fn count(&mut self) {
        let stats = &self.shared.stats;
        let tally = std::mem::take(&mut self.tally);
        BrokerStats::add(&stats.packets_received, tally.packets);
        BrokerStats::add(&stats.messages_received, tally.messages);
        BrokerStats::add(&stats.payload_bytes_received, tally.payload_bytes);
        BrokerStats::add(&stats.packets_sent, tally.answers);
        BrokerStats::add(&stats.pauses, u64::from(!self.crowded.is_empty()));
    }

    fn handle(&mut self, packet: Incoming<'_>, wakes: &mut Wakes) -> ControlFlow<End> {
        self.tally.packets += 1;
        self.tally.answers += match &packet {
            Incoming::Publish(publish) => u64::from(publish.qos != QoS::AtMostOnce),
            Incoming::Ack(ack) => {
                u64::from(matches!(ack.kind, AckKind::Received | AckKind::Release))
            }
            Incoming::Subscribe(_) | Incoming::Unsubscribe(_) | Incoming::PingRequest => 1,
            Incoming::Disconnect(_) => 0,
        };
        match packet {
            Incoming::Publish(publish) => return self.publish(publish, wakes),
            Incoming::Ack(ack) => self.acknowledge(ack),
            Incoming::Subscribe(subscribe) => return self.subscribe(&subscribe),
            Incoming::Unsubscribe(unsubscribe) => return self.unsubscribe(&unsubscribe),
            Incoming::PingRequest => wire::write_ping_response(&mut self.desk.replies.lock()),
            Incoming::Disconnect(disconnect) => return self.disconnect(disconnect),
        }
        ControlFlow::Continue(())
    }

    fn acknowledge(&mut self, ack: Ack) {
        if let Some((answer, ticket)) = self.session.acknowledge(self.generation, ack) {
            self.desk.acknowledge(self.shared, self.terms.version, answer, ticket);
        }
        // The window may have opened.
        self.progress = true;
    }

    fn disconnect(&self, disconnect: Disconnect) -> ControlFlow<End> {
        if self.terms.session_expiry == 0 && disconnect.session_expiry.is_some_and(|new| new > 0) {
            let fault = "DISCONNECT sets a session expiry that CONNECT had not";
            return ControlFlow::Break(End::Refused(WireError::Protocol(fault)));
        }
        ControlFlow::Break(End::Left(disconnect))
    }
}

/// Answers that may wait for the disk before their client is read from no more.
const HELD_LIMIT: usize = 8 * 1024;
/// Answers that may wait for a client that does not read, in bytes.
const REPLIES_LIMIT: usize = 64 * 1024;
