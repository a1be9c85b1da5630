//! A gas, water or heat meter behind the port, which is read at times of its own.

use meter_protocols::dsmr::BadTime;
use serde::{Deserialize, Serialize};

use super::measured::MeasuredMBus;
use crate::adapters::fleet::{Register, Step};
use crate::model::{Milli, SensorType, Timestamp};

/// An attached meter and its total.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Attached {
    pub(super) channel: u8,
    pub(super) kind: SensorType,
    equipment: Option<String>,
    register: Register,
    /// The time of the latest reading that was taken.
    at: Timestamp,
    /// Nothing of it was published since the start.
    #[serde(skip, default = "yes")]
    unsaid: bool,
    /// A time that cannot be was told of.
    #[serde(skip)]
    told: bool,
}

fn yes() -> bool {
    true
}

/// What a telegram told of an attached meter that is news.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct News {
    pub(super) at: Timestamp,
    pub(super) total: Milli,
    /// L/day or W since the reading before.
    pub(super) rate: Option<Milli>,
    pub(super) step: Option<Step>,
}

/// When an attached meter was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// At a time that it tells itself.
    Own(Timestamp),
    /// It does not say, or says what cannot be: by so many seconds, its clock and this machine's differ.
    Arrival(Timestamp, Option<i64>),
}

impl When {
    /// The time of a reading that came with a telegram `now`.
    ///
    /// # Errors
    /// When the meter gives a time that is on no calendar, as it does for one that it never heard.
    pub(super) fn of(measured: &MeasuredMBus, now: Timestamp) -> Result<When, BadTime> {
        let Some(at) = &measured.at else { return Ok(When::Arrival(now, None)) };
        let at = at.clone()?;
        let ahead = at.0.saturating_sub(now.0);
        if (-OLDEST_MS..=AHEAD_MS).contains(&ahead) {
            return Ok(When::Own(at));
        }
        Ok(When::Arrival(now, Some(ahead / 1000)))
    }

    pub(super) fn at(self) -> Timestamp {
        match self {
            When::Own(at) | When::Arrival(at, _) => at,
        }
    }
}

impl Attached {
    /// A meter heard for the first time.
    pub(super) fn new(measured: &MeasuredMBus, at: Timestamp) -> Attached {
        Attached {
            channel: measured.channel,
            kind: measured.kind,
            equipment: measured.equipment.clone(),
            register: Register::new(measured.total),
            at,
            unsaid: true,
            told: false,
        }
    }

    /// Takes what a telegram says of it. `None`: nothing new.
    pub(super) fn hear(&mut self, measured: &MeasuredMBus, when: When) -> Option<News> {
        let at = when.at();
        if self.kind != measured.kind {
            // What it counts is another thing now: nothing goes on.
            *self = Attached::new(measured, at);
        } else if self.is_another(measured) {
            self.equipment.clone_from(&measured.equipment);
            self.register.restart(measured.total);
            self.at = at;
            self.unsaid = true;
        }
        let first = std::mem::take(&mut self.unsaid);
        let elapsed = at.since(self.at);
        // Without a time of its own a reading is news when the counter has moved.
        let is_old = match when {
            When::Own(_) => elapsed.is_zero(),
            When::Arrival(..) => self.register.is_at(measured.total),
        };
        if is_old {
            let total = self.register.total();
            return first.then_some(News { at: self.at, total, rate: None, step: None });
        }
        self.at = self.at.max(at);
        let before = self.register.total();
        let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let step = self.register.advance(measured.total, self.limit(milliseconds));
        let total = self.register.total();
        let known = step.advance.counted().is_some() && milliseconds > 0;
        let rate = known.then(|| self.rate(total.0 - before.0, milliseconds)).flatten();
        Some(News { at, total, rate, step: Some(step) })
    }

    /// Whether another meter stands in its place; one that gives no number may be the same.
    fn is_another(&self, measured: &MeasuredMBus) -> bool {
        let numbers = self.equipment.as_ref().zip(measured.equipment.as_ref());
        numbers.is_some_and(|(before, now)| before != now)
    }

    /// Whether a time that cannot be is to be told of; once until there is a good one.
    pub(super) fn is_news(&mut self, strange: bool) -> bool {
        strange && !std::mem::replace(&mut self.told, strange)
    }

    /// What can have been counted in so long, in thousandths. An hour more than the clocks say, since
    /// a meter may count in steps of its own.
    fn limit(&self, milliseconds: u64) -> u64 {
        let hours = milliseconds.saturating_add(3_600_000) as f64 / 3_600_000.0;
        let per_hour = if self.kind == SensorType::Heat { HEAT_WATTS } else { LITRES_PER_HOUR };
        (per_hour * hours * 1000.0) as u64
    }

    /// What was counted (thousandths) in so long, as a rate: whole units, as a Fluksometer makes them.
    fn rate(&self, counted: i64, milliseconds: u64) -> Option<Milli> {
        let factor = if self.kind == SensorType::Heat { 3.6e6 } else { 86.4e6 };
        let rate = counted as f64 / 1000.0 / milliseconds as f64 * factor;
        Milli::from_f64((rate + 0.5).floor())
    }
}

/// Readings are taken for so long.
const OLDEST_MS: i64 = 15 * 86_400_000;
/// Clocks may differ by so much.
const AHEAD_MS: i64 = 60_000;
/// More than the largest gas meter of a block of flats passes.
const LITRES_PER_HOUR: f64 = 250_000.0;
/// More than a block of flats is heated with.
const HEAT_WATTS: f64 = 2_000_000.0;
