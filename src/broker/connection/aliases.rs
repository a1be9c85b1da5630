//! Topic aliases towards a client: a number for a topic that it has been sent before.
//!
//! Made by the writer, for one connection. The first topics that are long enough to gain by it get
//! one, up to what the client takes; topics after that are sent in full.

use std::collections::HashMap;

use crate::broker::wire::Alias;

/// The aliases one connection uses.
#[derive(Debug)]
pub(super) struct Aliases {
    numbers: HashMap<Box<[u8]>, u16>,
    limit: u16,
}

impl Aliases {
    /// `limit`: how many the client takes.
    pub(super) fn new(limit: u16) -> Self {
        Self { numbers: HashMap::new(), limit: limit.min(MOST) }
    }

    /// What to call `topic` in the next packet.
    pub(super) fn find(&self, topic: &[u8]) -> Option<Alias> {
        if self.limit == 0 || !GAIN.contains(&topic.len()) {
            return None;
        }
        if let Some(number) = self.numbers.get(topic) {
            return Some(Alias::Known(*number));
        }
        let next = u16::try_from(self.numbers.len()).ok()?.checked_add(1)?;
        (next <= self.limit).then_some(Alias::New(next))
    }

    /// Notes that a packet with this alias is on its way, so that the client will know it.
    pub(super) fn note_sent(&mut self, alias: Option<Alias>, topic: &[u8]) {
        if let Some(Alias::New(number)) = alias {
            self.numbers.insert(topic.into(), number);
        }
    }
}

/// Most topics remembered for one client, and their lengths: an alias costs three bytes, and what
/// is remembered has to stay small.
const MOST: u16 = 256;
const GAIN: std::ops::RangeInclusive<usize> = 4..=256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_told_once_and_numbered_after_that() {
        let mut aliases = Aliases::new(2);
        for (topic, expected) in [
            (&b"/sensor/1"[..], Some(Alias::New(1))),
            (b"/sensor/1", Some(Alias::Known(1))),
            (b"/sensor/2", Some(Alias::New(2))),
            (b"/sensor/3", None),
            (b"abc", None),
            (b"/sensor/2", Some(Alias::Known(2))),
        ] {
            assert_eq!(aliases.find(topic), expected);
            aliases.note_sent(expected, topic);
        }
        assert_eq!(Aliases::new(0).find(b"/sensor/1"), None);
    }
}
