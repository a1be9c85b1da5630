//! Exchanges of QoS 1 and 2, both ways, one acknowledgement at a time.

use super::Session;
use crate::broker::inflight::Release;
use crate::broker::packet::{Ack, AckKind, QoS, Reason};
use crate::broker::store::Ticket;

/// What became of an incoming QoS 2 message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// With the ticket of its packet id, which is to be on disk before PUBREC.
    New(Ticket),
    /// Sent again; routed already.
    Duplicate,
    /// The connection is not the session's any more: nothing was noted, so nothing may be answered.
    Detached,
    /// More open exchanges than the client was told it may have.
    TooMany,
}

impl Session {
    /// Notes an incoming QoS 2 message. `limit`: how many may be open at once.
    pub(crate) fn receive(&self, generation: u64, packet_id: u16, limit: usize) -> Receipt {
        let mut state = self.state.lock();
        if state.generation != generation {
            return Receipt::Detached;
        }
        if state.received.contains(&packet_id) {
            return Receipt::Duplicate;
        }
        if state.received.len() >= limit {
            return Receipt::TooMany;
        }
        state.received.insert(packet_id);
        let kept = state.kept;
        let note = || self.store.received(self.number, packet_id, true);
        Receipt::New(if kept { note() } else { Ticket::NONE })
    }

    /// Takes an acknowledgement in and answers what is to be sent for it, if anything, and what has
    /// to be on disk before.
    pub(crate) fn acknowledge(&self, generation: u64, ack: Ack) -> Option<(Ack, Ticket)> {
        let mut state = self.state.lock();
        if state.generation != generation {
            return None;
        }
        let id = ack.packet_id;
        let answer = |kind, known| Ack {
            kind,
            packet_id: id,
            reason: if known { Reason::SUCCESS } else { Reason::PACKET_ID_NOT_FOUND },
        };
        match ack.kind {
            AckKind::Acknowledged => {
                let finished = state.inflight.finish_publish(id, QoS::AtLeastOnce);
                self.note_finished(&mut state, finished);
                None
            }
            AckKind::Received if ack.reason.is_error() => {
                let finished = state.inflight.finish_publish(id, QoS::ExactlyOnce);
                self.note_finished(&mut state, finished);
                None
            }
            AckKind::Received => {
                let release = state.inflight.release(id);
                let known = !matches!(release, Release::Unknown);
                Some((answer(AckKind::Release, known), self.note_release(&mut state, release)))
            }
            AckKind::Release => {
                let known = state.received.remove(&id);
                Some((answer(AckKind::Complete, known), self.note_closed(&state, id)))
            }
            AckKind::Complete => {
                let finished = state.inflight.finish_release(id);
                self.note_finished(&mut state, finished);
                None
            }
        }
    }

    /// Drops a message that is larger than the client takes.
    pub(crate) fn abandon(&self, generation: u64, packet_id: u16) {
        let mut state = self.state.lock();
        if state.generation == generation {
            let finished = state.inflight.abandon(packet_id);
            self.note_finished(&mut state, finished);
        }
    }
}
