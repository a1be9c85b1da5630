//! What each packet of a client does: messages to the router, answers to the desk.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::{Buf, BytesMut};

use super::handshake::TOPIC_ALIASES;
use super::{Desk, End, Terms};
use crate::broker::Shared;
use crate::broker::access::Judgement;
use crate::broker::clients::Presence;
use crate::broker::filter::{self, Filter};
use crate::broker::packet::{
    Ack, AckKind, Disconnect, Incoming, Publish, QoS, Reason, RetainHandling, Subscribe,
    SubscribeRequest, Unsubscribe, Version,
};
use crate::broker::pressure::Crowded;
use crate::broker::publication::Draft;
use crate::broker::retained::Feed;
use crate::broker::router::{Grant, Wakes};
use crate::broker::session::{Receipt, Session};
use crate::broker::stats::BrokerStats;
use crate::broker::store::Ticket;
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

    fn publish(&mut self, publish: Publish<'_>, wakes: &mut Wakes) -> ControlFlow<End> {
        self.tally.messages += 1;
        self.tally.payload_bytes += publish.payload.len() as u64;
        let resolved = publish.alias.map(|alias| self.resolve(alias, publish.topic));
        let topic = match &resolved {
            None => publish.topic,
            Some(Some(topic)) => topic,
            Some(None) => return ControlFlow::Break(no_topic_for(publish.alias)),
        };
        let (qos, packet_id) = (publish.qos, publish.packet_id);
        if filter::is_reserved(topic) || !self.terms.identity.may_publish(topic) {
            self.note_refused_publish(topic);
            self.accept(qos, packet_id, Reason::NOT_AUTHORIZED, Ticket::NONE);
            return ControlFlow::Continue(());
        }
        let mut ticket = Ticket::NONE;
        if qos == QoS::ExactlyOnce {
            match self.receive(packet_id) {
                Receipt::New(noted) => ticket = noted,
                Receipt::Duplicate => {
                    // The first may not be on disk yet.
                    self.accept(qos, packet_id, Reason::SUCCESS, self.shared.store.so_far());
                    return ControlFlow::Continue(());
                }
                Receipt::TooMany => {
                    return ControlFlow::Break(End::Denied(Reason::RECEIVE_MAXIMUM_EXCEEDED));
                }
            }
        }
        let (router, origin) = (&self.shared.router, self.session.number());
        let routed = router.publish(Draft::of(publish, topic), origin, wakes);
        let reason = match routed {
            // An error would end a QoS 2 exchange that has been carried out.
            _ if routed.retain_refused && qos == QoS::AtLeastOnce => Reason::QUOTA_EXCEEDED,
            _ if routed.matched => Reason::SUCCESS,
            _ => Reason::NO_MATCHING_SUBSCRIBERS,
        };
        self.accept(qos, packet_id, reason, ticket.max(routed.ticket));
        ControlFlow::Continue(())
    }

    fn note_refused_publish(&self, topic: &str) {
        BrokerStats::count(&self.shared.stats.refused_publishes);
        if let Some(before) = self.shared.refusals.pass() {
            let client = &**self.session.client_id();
            tracing::warn!(?client, ?topic, before, "message dropped: not allowed to its client");
        }
    }

    fn note_refused_subscribe(&self, filter: &str) {
        BrokerStats::count(&self.shared.stats.refused_subscribes);
        if let Some(before) = self.shared.refusals.pass() {
            let client = &**self.session.client_id();
            tracing::warn!(
                ?client,
                ?filter,
                before,
                "subscription refused: not allowed to its client"
            );
        }
    }

    /// Notes an incoming QoS 2 message. MQTT 3.1.1 has no way to announce a limit.
    fn receive(&self, packet_id: u16) -> Receipt {
        let limit = match self.terms.version {
            Version::V3 => usize::from(u16::MAX),
            Version::V5 => usize::from(self.shared.limits.inflight.max(1)),
        };
        self.session.receive(self.generation, packet_id, limit)
    }

    /// Answers a PUBLISH as its QoS asks for, when what it did is on disk.
    fn accept(&self, qos: QoS, packet_id: u16, reason: Reason, ticket: Ticket) {
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.reply(AckKind::Acknowledged, packet_id, reason, ticket),
            QoS::ExactlyOnce => self.reply(AckKind::Received, packet_id, reason, ticket),
        }
    }

    /// The topic an alias stands for, after it has been set by `topic` unless that is empty.
    fn resolve(&mut self, alias: u16, topic: &str) -> Option<Box<str>> {
        if alias == 0 || alias > TOPIC_ALIASES {
            return None;
        }
        self.aliases.resize(usize::from(TOPIC_ALIASES), None);
        let slot = self.aliases.get_mut(usize::from(alias) - 1)?;
        if !topic.is_empty() {
            *slot = Some(topic.into());
        }
        slot.clone()
    }

    fn reply(&self, kind: AckKind, packet_id: u16, reason: Reason, ticket: Ticket) {
        let ack = Ack { kind, packet_id, reason };
        self.desk.acknowledge(self.shared, self.terms.version, ack, ticket);
    }

    fn acknowledge(&mut self, ack: Ack) {
        if let Some((answer, ticket)) = self.session.acknowledge(self.generation, ack) {
            self.desk.acknowledge(self.shared, self.terms.version, answer, ticket);
        }
        // The window may have opened.
        self.progress = true;
    }

    fn subscribe(&mut self, subscribe: &Subscribe) -> ControlFlow<End> {
        let id = subscribe.subscription_id;
        let mut codes = Vec::with_capacity(subscribe.requests.len());
        let mut feeds = Vec::new();
        let mut ticket = Ticket::NONE;
        for request in &subscribe.requests {
            let granted = self.grant(request, id, &mut ticket);
            codes.push(granted.map(|feed| {
                feeds.extend(feed);
                request.qos
            }));
        }
        let mut packet = BytesMut::new();
        let written =
            wire::write_suback(self.terms.version, subscribe.packet_id, &codes, &mut packet);
        self.desk.send(self.shared, (&self.session, self.generation), packet, feeds, ticket);
        sent(written)
    }

    /// Grants one filter, or says why not. Answers the retained messages that are to follow.
    /// `ticket` becomes that of the subscription on disk.
    fn grant(
        &self,
        request: &SubscribeRequest,
        id: Option<u32>,
        ticket: &mut Ticket,
    ) -> Result<Option<Feed>, Reason> {
        let filter = Filter::parse(&request.filter).map_err(|_| Reason::TOPIC_FILTER_INVALID)?;
        let screen = match self.terms.identity.judge(filter.path) {
            Judgement::Granted => None,
            Judgement::Screened(screen) => Some(screen),
            Judgement::Refused => {
                self.note_refused_subscribe(&request.filter);
                return Err(Reason::NOT_AUTHORIZED);
            }
        };
        if !self.session.note_filter(self.generation, &request.filter) {
            return Err(Reason::QUOTA_EXCEEDED);
        }
        let grant = Grant {
            qos: request.qos,
            no_local: request.no_local,
            retain_as_published: request.retain_as_published,
            id,
            screen: screen.clone(),
        };
        let new = self.shared.router.subscribe(filter, &self.session, grant.clone());
        if self.session.is_ended() {
            // Ended on another thread just now, and its subscriptions with it: none may follow.
            self.shared.router.unsubscribe(filter, self.session.number());
        }
        let wanted = match request.retain_handling {
            RetainHandling::Always => true,
            RetainHandling::OnlyNew => new,
            RetainHandling::Never => false,
        };
        let wanted = wanted && filter.share.is_none();
        *ticket = self.session.note_grant(&request.filter, grant, wanted).max(*ticket);
        Ok(wanted.then(|| Feed::new(&request.filter, request.qos, id, screen)))
    }

    fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> ControlFlow<End> {
        let mut ticket = Ticket::NONE;
        let codes: Vec<Reason> = unsubscribe
            .filters
            .iter()
            .map(|text| match Filter::parse(text) {
                Err(_) => Reason::TOPIC_FILTER_INVALID,
                Ok(filter) => {
                    ticket = self.session.forget_filter(text).max(ticket);
                    match self.shared.router.unsubscribe(filter, self.session.number()) {
                        true => Reason::SUCCESS,
                        false => Reason::NO_SUBSCRIPTION_EXISTED,
                    }
                }
            })
            .collect();
        let packet_id = unsubscribe.packet_id;
        let mut packet = BytesMut::new();
        let written = wire::write_unsuback(self.terms.version, packet_id, &codes, &mut packet);
        let presence = (&*self.session, self.generation);
        self.desk.send(self.shared, presence, packet, Vec::new(), ticket);
        sent(written)
    }

    fn disconnect(&self, disconnect: Disconnect) -> ControlFlow<End> {
        if self.terms.session_expiry == 0 && disconnect.session_expiry.is_some_and(|new| new > 0) {
            let fault = "DISCONNECT sets a session expiry that CONNECT had not";
            return ControlFlow::Break(End::Refused(WireError::Protocol(fault)));
        }
        ControlFlow::Break(End::Left(disconnect))
    }
}

/// What a PUBLISH without a topic ends with, when its alias stands for none (MQTT 5, section 3.3.4).
fn no_topic_for(alias: Option<u16>) -> End {
    match alias {
        Some(1..=TOPIC_ALIASES) => {
            End::Refused(WireError::Protocol("topic alias that was never set"))
        }
        _ => End::Denied(Reason::TOPIC_ALIAS_INVALID),
    }
}

fn sent(written: Result<(), WireError>) -> ControlFlow<End> {
    match written {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(End::Refused(error)),
    }
}

/// Answers that may wait for the disk before their client is read from no more.
const HELD_LIMIT: usize = 8 * 1024;
/// Answers that may wait for a client that does not read, in bytes.
const REPLIES_LIMIT: usize = 64 * 1024;
