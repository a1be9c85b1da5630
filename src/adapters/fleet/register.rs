//! One register of a meter: from its counter to a total that never falls.

use serde::{Deserialize, Serialize};

use crate::model::{Advance, Correction, CorrectionKind, Counter, Device, Milli, Total};

/// A register, counted in thousandths of its unit (Wh or L).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::adapters) struct Register {
    counter: Counter,
    total: Total,
}

impl Register {
    /// A register seen for the first time: its total starts at the meter's own counter.
    pub(in crate::adapters) fn new(raw: Milli) -> Register {
        Register::scaled(raw, 1.0)
    }

    /// The same, where what is published is `factor` times what the meter counts.
    pub(in crate::adapters) fn scaled(raw: Milli, factor: f64) -> Register {
        let raw = thousandths(raw);
        let total = Total::start(raw, PER_COUNT * factor);
        Register { counter: Counter::new(NO_WRAP, raw), total }
    }

    /// Goes on with the total of another; the counter stays.
    pub(in crate::adapters) fn go_on_from(&mut self, other: &Register) {
        self.total = other.total;
    }

    /// Takes the next value; `limit`: the most that can have been counted since the last, in
    /// thousandths of the unit.
    pub(in crate::adapters) fn advance(&mut self, raw: Milli, limit: u64) -> Step {
        self.advance_scaled(raw, limit, 1.0)
    }

    /// The same, where what is published is `factor` times what the meter counts; `limit` is by the
    /// meter's count.
    pub(in crate::adapters) fn advance_scaled(
        &mut self,
        raw: Milli,
        limit: u64,
        factor: f64,
    ) -> Step {
        let (before, after) = (self.counter.last(), thousandths(raw));
        let advance = self.counter.advance(after, limit);
        self.total.add(advance.counted().unwrap_or(0), PER_COUNT * factor);
        Step { advance, before, after }
    }

    /// Adds what the gateway has counted itself, thousandths of the unit; the counter stays.
    pub(in crate::adapters) fn add(&mut self, thousandths: u64) {
        self.total.add(thousandths, PER_COUNT);
    }

    /// Goes on from `raw`, where it is known that another meter counts from here; the total stays.
    pub(in crate::adapters) fn restart(&mut self, raw: Milli) {
        self.counter.restart(thousandths(raw));
    }

    /// Whether the meter's counter stood there last.
    pub(in crate::adapters) fn is_at(&self, raw: Milli) -> bool {
        self.counter.last() == thousandths(raw)
    }

    /// Whether the counter may have come to `raw` with at most `limit` more.
    pub(in crate::adapters) fn is_near(&self, raw: Milli, limit: u64) -> bool {
        thousandths(raw).checked_sub(self.counter.last()).is_some_and(|more| more <= limit)
    }

    /// What is published.
    pub(in crate::adapters) fn total(&self) -> Milli {
        self.total.value()
    }
}

/// What a register did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::adapters) struct Step {
    pub(in crate::adapters) advance: Advance,
    before: u64,
    after: u64,
}

impl Step {
    /// What is to be told of it, if it did else than count on; values in whole units.
    pub(in crate::adapters) fn correction(
        self,
        device: &Device,
        channel: crate::model::Channel,
        counter: &'static str,
    ) -> Option<Correction> {
        let kind = match self.advance {
            Advance::Repeat | Advance::By(_) => return None,
            Advance::Wrapped(_) => CorrectionKind::Wrapped,
            Advance::Reset => CorrectionKind::Reset,
            Advance::Jumped => CorrectionKind::Jumped,
            Advance::Recovered(_) => CorrectionKind::Recovered,
        };
        Some(Correction {
            name: device.name.clone(),
            serial: device.serial.clone(),
            channel: Some(channel),
            counter,
            kind,
            before: self.before / 1000,
            after: self.after / 1000,
        })
    }
}

/// No meter prints a negative register; a telegram that does is as good as one with 0.
fn thousandths(raw: Milli) -> u64 {
    u64::try_from(raw.0).unwrap_or(0)
}

/// A register of nine digits would wrap at a million kWh: no house comes there, and a meter that did
/// would cost one interval.
const NO_WRAP: u64 = u64::MAX;
/// Units per count.
const PER_COUNT: f64 = 0.001;
