//! What goes out: messages of the outbox, live messages, subscriptions.

use super::super::shelf::Entry;
use super::super::stats::ExternalStats;
use super::super::subscriptions;
use super::super::wire::Outgoing;
use super::{Connection, Fault, Proof, Suspect, UnderWay, WRITE_BYTES};

impl Connection<'_> {
    /// Writes what is to be sent into the buffer, as far as the buffer and the window have room.
    pub(super) fn fill(&mut self) -> Result<(), Fault> {
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
        let outgoing =
            Outgoing { id, topic: &topic, payload, retain: retain && !self.terms.without_retain };
        match self.wire.publish(outgoing, &mut self.out) {
            Ok(()) => ExternalStats::count(&self.shared.stats.messages_sent),
            Err(large) => {
                self.too_large(&topic, large.size);
                return self.shared.outbox.done(seq);
            }
        }
        match id {
            Some(id) => {
                self.under_way.insert(id, UnderWay::Message(Suspect { seq, topic, size, retain }));
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
        for (filter, how) in &wanted {
            // A lower number is that of an older one, of two who had the filter.
            if self.made.get(filter).is_none_or(|made| made.number < how.number) {
                let id = self.next_id();
                let known = self.terms.subscription_ids.then(|| subscriptions::identifier(filter));
                self.wire.subscribe(id, filter, known, how.as_published, &mut self.out)?;
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
}
