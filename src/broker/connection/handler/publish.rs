//! A client's PUBLISH: whether it may, to whom it goes, and how it is answered.

use std::ops::ControlFlow;

use super::Handler;
use crate::broker::connection::End;
use crate::broker::connection::handshake::TOPIC_ALIASES;
use crate::broker::filter;
use crate::broker::packet::{Ack, AckKind, Publish, QoS, Reason, Version};
use crate::broker::publication::Draft;
use crate::broker::router::Wakes;
use crate::broker::session::Receipt;
use crate::broker::stats::BrokerStats;
use crate::broker::store::Ticket;
use crate::broker::wire::WireError;

impl Handler<'_> {
    pub(super) fn publish(&mut self, publish: Publish<'_>, wakes: &mut Wakes) -> ControlFlow<End> {
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
                Receipt::Detached => {
                    return ControlFlow::Break(End::Told(Reason::SESSION_TAKEN_OVER));
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
            let topic: String = topic.chars().take(100).collect();
            tracing::warn!(?client, ?topic, before, "message dropped: not allowed to its client");
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
