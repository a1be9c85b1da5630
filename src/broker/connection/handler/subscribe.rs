//! SUBSCRIBE and UNSUBSCRIBE: each filter granted or refused, all of them answered together.

use std::ops::ControlFlow;

use bytes::BytesMut;

use super::Handler;
use crate::broker::access::Judgement;
use crate::broker::connection::End;
use crate::broker::filter::Filter;
use crate::broker::packet::{Reason, RetainHandling, Subscribe, SubscribeRequest, Unsubscribe};
use crate::broker::retained::Feed;
use crate::broker::router::Grant;
use crate::broker::stats::BrokerStats;
use crate::broker::store::Ticket;
use crate::broker::wire::{self, WireError};

impl Handler<'_> {
    pub(super) fn subscribe(&mut self, subscribe: &Subscribe) -> ControlFlow<End> {
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
                return Err(self.refuse_filter(&request.filter, Reason::NOT_AUTHORIZED));
            }
        };
        if !self.session.note_filter(self.generation, &request.filter) {
            return Err(self.refuse_filter(&request.filter, Reason::QUOTA_EXCEEDED));
        }
        let grant = Grant {
            qos: request.qos,
            no_local: request.no_local || self.terms.bridge,
            retain_as_published: request.retain_as_published || self.terms.bridge,
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

    pub(super) fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> ControlFlow<End> {
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

    fn refuse_filter(&self, filter: &str, reason: Reason) -> Reason {
        BrokerStats::count(&self.shared.stats.refused_subscribes);
        if let Some(before) = self.shared.refusals.pass() {
            let client = &**self.session.client_id();
            let filter: String = filter.chars().take(100).collect();
            let why = match reason {
                Reason::NOT_AUTHORIZED => "not allowed to its client",
                _ => "its client has as many as it may have",
            };
            tracing::warn!(?client, ?filter, before, "subscription refused: {why}");
        }
        reason
    }
}

fn sent(written: Result<(), WireError>) -> ControlFlow<End> {
    match written {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(End::Refused(error)),
    }
}
