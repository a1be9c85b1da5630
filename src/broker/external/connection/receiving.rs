//! What comes in: messages for the gateway, and what the broker says to those it got.

use super::super::stats::ExternalStats;
use super::super::wire::{Incoming, Publish, Receipt};
use super::{Connection, Fault, Proof, UnderWay, unasked};

impl Connection<'_> {
    pub(super) fn take_packets(&mut self) -> Result<(), Fault> {
        let client_id = &self.shared.settings.client_id;
        while let Some(packet) = self.wire.read(&mut self.incoming, client_id)? {
            self.take(packet)?;
        }
        Ok(())
    }

    fn take(&mut self, packet: Incoming) -> Result<(), Fault> {
        match packet {
            Incoming::Publish(publish) => self.take_message(&publish)?,
            Incoming::TooLarge(receipt, topic, size) => {
                self.pass_over(&topic, size);
                self.answer(receipt)?;
            }
            Incoming::Released(id) => {
                self.received.remove(&id);
                self.wire.complete(id, &mut self.out)?;
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

    fn take_message(&mut self, publish: &Publish) -> Result<(), Fault> {
        let Ok(topic) = std::str::from_utf8(&publish.topic) else {
            return Err(Fault::Malformed("a topic that is not UTF-8".to_owned()));
        };
        ExternalStats::count(&self.shared.stats.messages_received);
        let again = matches!(publish.receipt, Receipt::Receive(id) if self.received.contains(&id));
        if !again {
            let Publish { payload, retain, subscriptions, .. } = publish;
            self.shared.subscriptions.deliver(topic, payload, *retain, subscriptions);
        }
        self.answer(publish.receipt)
    }

    fn answer(&mut self, receipt: Receipt) -> Result<(), Fault> {
        match receipt {
            Receipt::None => Ok(()),
            Receipt::Acknowledge(id) => self.wire.acknowledge(id, &mut self.out),
            Receipt::Receive(id) => {
                self.received.insert(id);
                self.wire.received(id, &mut self.out)
            }
        }
    }

    fn pass_over(&self, topic: &str, size: usize) {
        ExternalStats::count(&self.shared.stats.received_too_large);
        if let Some(before) = self.shared.large_ones.pass() {
            let most = self.shared.settings.packet_size;
            tracing::error!(
                topic,
                size,
                most,
                before,
                "message from the broker passed over: it is larger than broker.limits.packet_size"
            );
        }
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
}
