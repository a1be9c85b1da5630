//! Answers that wait for the disk, in the order in which they are owed.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Desk, End};
use crate::broker::Shared;
use crate::broker::clients::Presence;
use crate::broker::packet::{Ack, AckKind, Reason, Version};
use crate::broker::retained::Feed;
use crate::broker::session::Session;
use crate::broker::stats::BrokerStats;
use crate::broker::store::{Standing, Store, Ticket};
use crate::broker::wire;

/// What one connection has waiting for the disk.
#[derive(Debug, Default)]
pub(super) struct Held {
    answers: Mutex<VecDeque<(Ticket, Answer)>>,
    /// The writer holds packets back until this is on disk.
    gate: Mutex<Option<Ticket>>,
    changed: Notify,
}

#[derive(Debug)]
enum Answer {
    Ack(Ack),
    /// SUBACK or UNSUBACK, and what is to follow it.
    Packet(Bytes, Vec<Feed>),
}

impl Held {
    pub(super) fn len(&self) -> usize {
        self.answers.lock().len()
    }

    /// Wakes the writer as soon as `ticket` is on disk.
    pub(super) fn wake_at(&self, ticket: Ticket) {
        *self.gate.lock() = Some(ticket);
        self.changed.notify_one();
    }

    fn push(&self, ticket: Ticket, answer: Answer) {
        let mut answers = self.answers.lock();
        answers.push_back((ticket, answer));
        if answers.len() == 1 {
            drop(answers);
            self.changed.notify_one();
        }
    }

    fn next(&self) -> Option<Ticket> {
        self.answers.lock().front().map(|(ticket, _)| *ticket)
    }
}

impl Desk {
    /// Answers a packet once `ticket` is on disk, and after all that was to be answered before.
    pub(super) fn acknowledge(&self, shared: &Shared, version: Version, ack: Ack, ticket: Ticket) {
        if self.may_pass(&shared.store, ticket) {
            wire::write_ack(version, ack, &mut self.replies.lock());
        } else {
            self.held.push(ticket, Answer::Ack(ack));
        }
    }

    /// The same for a packet that is written already; `feeds` begin behind it.
    pub(super) fn send(
        &self,
        shared: &Shared,
        presence: (&Session, u64),
        packet: BytesMut,
        feeds: Vec<Feed>,
        ticket: Ticket,
    ) {
        if self.may_pass(&shared.store, ticket) {
            self.replies.lock().extend_from_slice(&packet);
            begin(presence, feeds);
        } else {
            self.held.push(ticket, Answer::Packet(packet.freeze(), feeds));
        }
    }

    fn may_pass(&self, store: &Store, ticket: Ticket) -> bool {
        (ticket == Ticket::NONE || store.standing(ticket) == Standing::Kept)
            && self.held.answers.lock().is_empty()
    }

    /// Hands answers to the writer as the disk lets them go, until one has to be refused in a way that
    /// ends the connection.
    pub(super) async fn release(
        &self,
        shared: &Shared,
        version: Version,
        presence: &Presence,
    ) -> End {
        loop {
            let (next, gate) = (self.held.next(), *self.held.gate.lock());
            tokio::select! {
                () = self.held.changed.notified() => {}
                _ = shared.store.settled(next.unwrap_or_default()), if next.is_some() => {}
                () = shared.store.kept(gate.unwrap_or_default()), if gate.is_some() => {
                    *self.held.gate.lock() = None;
                    presence.session.wake();
                }
            }
            if let Err(reason) = self.release_due(shared, version, presence) {
                return End::Denied(reason);
            }
        }
    }

    /// Waits until all answers are ready to be sent, or one is refused.
    pub(super) async fn settle(&self, shared: &Shared, version: Version, presence: &Presence) {
        while let Some(ticket) = self.held.next() {
            shared.store.settled(ticket).await;
            if self.release_due(shared, version, presence).is_err() {
                return;
            }
        }
    }

    fn release_due(
        &self,
        shared: &Shared,
        version: Version,
        presence: &Presence,
    ) -> Result<(), Reason> {
        let mut answers = self.held.answers.lock();
        let mut released = false;
        while let Some((ticket, answer)) = answers.front_mut() {
            let mut replies = self.replies.lock();
            match (shared.store.standing(*ticket), answer) {
                (Standing::Waiting, _) => break,
                (Standing::Kept, Answer::Ack(ack)) => {
                    wire::write_ack(version, *ack, &mut replies);
                }
                (Standing::Kept, Answer::Packet(packet, feeds)) => {
                    replies.extend_from_slice(packet);
                    let feeds = std::mem::take(feeds);
                    begin((&presence.session, presence.generation), feeds);
                }
                (Standing::Refused, Answer::Ack(ack))
                    if ack.kind == AckKind::Acknowledged && version == Version::V5 =>
                {
                    BrokerStats::count(&shared.stats.disk_refused);
                    let refusal = Ack { reason: Reason::QUOTA_EXCEEDED, ..*ack };
                    wire::write_ack(version, refusal, &mut replies);
                }
                // MQTT 3.1.1 has no way to say no. A QoS 2 exchange stays open: it is carried out,
                // and an error would have the client begin another one.
                (Standing::Refused, _) => {
                    BrokerStats::count(&shared.stats.disk_refused);
                    return Err(Reason::QUOTA_EXCEEDED);
                }
            }
            drop(replies);
            answers.pop_front();
            released = true;
        }
        drop(answers);
        if released {
            presence.session.wake();
            self.taken.notify_one();
        }
        Ok(())
    }
}

fn begin((session, generation): (&Session, u64), feeds: Vec<Feed>) {
    for feed in feeds {
        session.put_feed(generation, feed, false);
    }
}
