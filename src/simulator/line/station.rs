//! A meter on a line: when it says something by itself, and when it answers.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::super::brultech::{Kind, SimulatedMeter, State};
use super::super::manners::Manners;
use super::outgoing::Item;

/// A meter on the line.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) meter: SimulatedMeter,
    pub(super) next_packet: Instant,
    next_alive: Option<Instant>,
    /// Packets that were due while they were to be held back.
    pub(super) held: VecDeque<Item>,
    /// An HTTP request has had no answer.
    pub(super) unanswered: bool,
    /// How often it has answered, and when its last answer leaves.
    answers: u32,
    answered: Instant,
}

impl Station {
    pub(super) fn new(meter: SimulatedMeter, manners: &Manners, now: Instant) -> Station {
        // With a connection for each packet, the next one is as far off as it ever was.
        let due = meter.look(|state| state.next_packet).filter(|_| manners.one_packet);
        Station {
            next_packet: due.unwrap_or(now),
            next_alive: None,
            held: VecDeque::new(),
            unanswered: false,
            answers: 0,
            answered: now,
            meter,
        }
    }

    /// When something is to be done again without anything arriving.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let held = self.meter.look(|state| state.rhythm().2).filter(|_| !self.held.is_empty());
        [Some(self.next_packet), held, self.next_alive].into_iter().flatten().min()
    }

    /// When its next answer leaves: a meter answers in the order in which it was asked.
    pub(super) fn answer_at(&mut self, manners: &Manners, now: Instant) -> Instant {
        self.answers += 1;
        let late = manners.late.filter(|(every, _)| self.answers.is_multiple_of(*every));
        let delay = late.map_or(manners.slow, |(_, delay)| delay);
        self.answered = self.answered.max(now + delay);
        self.answered
    }

    /// Keeps a packet back, as far as there is room.
    pub(super) fn hold(&mut self, item: Item) {
        let room = self.meter.update(|state| state.gem().map_or(0, |gem| gem.buffer.into()));
        self.held.push_back(item);
        let bytes = |held: &VecDeque<Item>| held.iter().map(|item| item.bytes.len()).sum::<usize>();
        while self.held.len() > 1 && bytes(&self.held) > room {
            self.held.pop_front();
        }
    }

    /// The text that keeps the link alive, when it is time for it.
    pub(super) fn keep_alive(&mut self, forced: Option<Duration>, now: Instant) -> Option<Item> {
        let (every, text) = self.meter.look(|state| match &state.kind {
            Kind::Gem(gem) => {
                let own = gem.keep_alive_time().filter(|_| !state.real_time);
                (forced.or(own), gem.keep_alive_text.clone())
            }
            Kind::Ecm(_) => (None, String::new()),
        });
        let Some(every) = every else {
            self.next_alive = None;
            return None;
        };
        let next = self.next_alive.get_or_insert(now + every);
        *next = (*next).min(now + every);
        if *next > now {
            return None;
        }
        *next = now + every;
        Some(Item { bytes: text.into_bytes(), ..Item::default() })
    }
}

impl State {
    /// Interval, whether packets are sent at all, and until when they are held back.
    pub(super) fn rhythm(&self) -> (Duration, bool, Option<Instant>) {
        let held = match &self.kind {
            Kind::Gem(gem) => gem.held_until,
            Kind::Ecm(_) => None,
        };
        (self.interval.max(Duration::from_millis(1)), self.real_time, held)
    }
}
