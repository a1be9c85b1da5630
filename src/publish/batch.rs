//! The messages of one update, written into one buffer and handed over at once.

use std::fmt::{Display, Write};

use crate::broker::{Crowded, Link, Message, QoS};
use crate::model::Milli;
use crate::topic::Topic;

/// Messages in the order they are to be sent. The buffer is kept from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    text: String,
    messages: Vec<Part>,
}

/// One message's share of the buffer: a topic and, behind it, a payload.
#[derive(Debug, Clone, Copy)]
struct Part {
    topic: usize,
    payload: usize,
    qos: QoS,
    retain: bool,
}

// Writing to a String cannot fail, so results are let go here.
impl Batch {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// A reading: `[ts,value,"unit"]`, QoS 0, not retained. A retained reading would be taken for
    /// a new one by whoever records them.
    pub(super) fn reading(&mut self, topic: &Topic, seconds: i64, value: Milli, unit: &str) {
        self.message(topic, QoS::AtMostOnce, false, |text| {
            let _ = write!(text, "[{seconds},{value},\"{unit}\"]");
        });
    }

    /// A document or state that a new subscriber must find: QoS 1, retained.
    pub(super) fn retained(&mut self, topic: &Topic, payload: impl Display) {
        self.message(topic, QoS::AtLeastOnce, true, |text| {
            let _ = write!(text, "{payload}");
        });
    }

    /// A message for those who listen now: QoS 0.
    pub(super) fn live(&mut self, topic: &Topic, payload: impl FnOnce(&mut String)) {
        self.message(topic, QoS::AtMostOnce, false, payload);
    }

    fn message(
        &mut self,
        topic: &Topic,
        qos: QoS,
        retain: bool,
        payload: impl FnOnce(&mut String),
    ) {
        let _ = write!(self.text, "{topic}");
        let topic = self.text.len();
        payload(&mut self.text);
        self.messages.push(Part { topic, payload: self.text.len(), qos, retain });
    }

    /// Hands everything to the link and empties the batch. The answer is to be waited for.
    pub(super) fn send(&mut self, link: &Link) -> Crowded {
        let mut begin = 0;
        let text = &self.text;
        let crowded = link.publish_all(self.messages.iter().map(|part| {
            let (topic, payload) = (&text[begin..part.topic], &text[part.topic..part.payload]);
            begin = part.payload;
            Message { topic, payload: payload.as_bytes(), qos: part.qos, retain: part.retain }
        }));
        self.text.clear();
        self.messages.clear();
        crowded
    }

    #[cfg(test)]
    pub(super) fn take(&mut self) -> Vec<(String, String)> {
        let mut begin = 0;
        let taken = self.messages.iter().map(|part| {
            let topic = self.text[begin..part.topic].to_owned();
            begin = part.payload;
            (topic, self.text[part.topic..part.payload].to_owned())
        });
        let taken = taken.collect();
        self.text.clear();
        self.messages.clear();
        taken
    }
}
