//! One counter of a meter: tells counting on, wrapping, starting again, and nonsense apart.
//!
//! A meter's counters are the truth about energy, but they run over, are reset by hand, and now
//! and then arrive wrong. A step is believed when it is no larger than what could have happened
//! since the last one. A value that cannot be believed is not counted; the value before it is
//! remembered until the next one shows which of the two was the wrong one. So a single wild value
//! costs nothing, a real reset costs the interval it happened in, and neither is ever counted twice.

use serde::{Deserialize, Serialize};

/// The most pulses a second that an input of a GEM is believed to count.
pub const GEM_PULSES_PER_SECOND: u64 = 1000;

/// A counter of known width and the value it was last believed at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    modulus: u64,
    last: u64,
    doubted: Option<Doubt>,
}

/// The value before an unbelievable one, and how far it may have gone on since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Doubt {
    base: u64,
    limit: u64,
}

/// What a new value of a counter means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    /// The same value again.
    Repeat,
    /// Counted on by so much.
    By(u64),
    /// Ran over its width; so much was counted.
    Wrapped(u64),
    /// Fell and cannot have wrapped: nothing is counted, and this value is the new base.
    Reset,
    /// Rose by more than can be: nothing is counted, and this value is the new base until the
    /// next one confirms or refutes it.
    Jumped,
    /// Back from a value that was wrong: so much was counted since the value before that.
    Recovered(u64),
}

impl Advance {
    /// What was counted; `None` when nothing can be said about the interval.
    pub fn counted(self) -> Option<u64> {
        match self {
            Advance::Repeat => Some(0),
            Advance::By(n) | Advance::Wrapped(n) | Advance::Recovered(n) => Some(n),
            Advance::Reset | Advance::Jumped => None,
        }
    }
}

impl Counter {
    /// A counter that runs from 0 to `modulus - 1`, first seen at `raw`.
    pub fn new(modulus: u64, raw: u64) -> Counter {
        Counter { modulus, last: raw, doubted: None }
    }

    /// The value it was last seen at.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Takes the next value. `limit` is the most it can have counted since the last call, in the
    /// counter's own unit.
    pub fn advance(&mut self, raw: u64, limit: u64) -> Advance {
        let from_last = self.step(self.last, raw, limit);
        let from_doubted = self
            .doubted
            .and_then(|doubt| self.step(doubt.base, raw, limit.saturating_add(doubt.limit)));
        match (from_last, from_doubted) {
            // Where both stories are possible the smaller one is told: better a little too late
            // than energy that never flowed.
            (last, Some(doubted)) if last.is_none_or(|last| doubted.delta < last.delta) => {
                self.settle(raw);
                Advance::Recovered(doubted.delta)
            }
            (Some(step), _) => {
                self.settle(raw);
                match step {
                    Step { wrapped: true, delta } => Advance::Wrapped(delta),
                    Step { delta: 0, .. } => Advance::Repeat,
                    Step { delta, .. } => Advance::By(delta),
                }
            }
            (None, _) => self.doubt(raw, limit),
        }
    }

    /// Starts again at `raw`, where the meter itself says that it was reset.
    pub fn restart(&mut self, raw: u64) {
        self.settle(raw);
    }

    fn settle(&mut self, raw: u64) {
        self.last = raw;
        self.doubted = None;
    }

    /// Keeps the last value that was believed, however many unbelievable ones follow it.
    fn doubt(&mut self, raw: u64, limit: u64) -> Advance {
        let fell = raw < self.last;
        let before = self.doubted.unwrap_or(Doubt { base: self.last, limit: 0 });
        self.doubted = Some(Doubt { limit: before.limit.saturating_add(limit), ..before });
        self.last = raw;
        if fell { Advance::Reset } else { Advance::Jumped }
    }

    fn step(&self, base: u64, raw: u64, limit: u64) -> Option<Step> {
        if raw >= base {
            let delta = raw - base;
            return (delta <= limit).then_some(Step { delta, wrapped: false });
        }
        // After a long silence `limit` passes the width of a short counter, and any fall could
        // be a wrap; a quarter of the width keeps most resets from being taken for one.
        let delta = self.modulus.saturating_sub(base).saturating_add(raw);
        (delta <= limit.min(self.modulus / 4)).then_some(Step { delta, wrapped: true })
    }
}

#[derive(Clone, Copy)]
struct Step {
    delta: u64,
    wrapped: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WIDTH: u64 = 1 << 40;
    /// 250 kW for 10 s.
    const LIMIT: u64 = 2_500_000;

    fn run(start: u64, values: &[u64]) -> Vec<Advance> {
        let mut counter = Counter::new(WIDTH, start);
        values.iter().map(|raw| counter.advance(*raw, LIMIT)).collect()
    }

    #[test]
    fn counts_on_repeats_and_wraps() {
        assert_eq!(
            run(WIDTH - 100, &[WIDTH - 40, WIDTH - 40, 60]),
            [Advance::By(60), Advance::Repeat, Advance::Wrapped(100)]
        );
    }

    #[test]
    fn a_reset_counts_nothing_and_goes_on_from_there() {
        assert_eq!(run(900_000_000, &[500, 4_100]), [Advance::Reset, Advance::By(3_600)]);
    }

    #[test]
    fn a_wild_value_up_or_down_costs_nothing() {
        assert_eq!(
            run(900_000_000, &[WIDTH - 5, 900_002_000]),
            [Advance::Jumped, Advance::Recovered(2_000)]
        );
        assert_eq!(
            run(900_000_000, &[899_990_000, 900_002_000]),
            [Advance::Reset, Advance::Recovered(2_000)]
        );
        assert_eq!(
            run(900_000_000, &[WIDTH / 3, 17, WIDTH / 2, 900_002_000]).last(),
            Some(&Advance::Recovered(2_000))
        );
    }

    #[test]
    fn a_jump_that_stays_is_never_counted() {
        assert_eq!(
            run(1_000, &[800_000_000, 800_000_500, 800_001_000]),
            [Advance::Jumped, Advance::By(500), Advance::By(500)]
        );
    }

    #[test]
    fn a_reset_of_a_short_counter_after_a_long_silence_is_no_wrap() {
        let mut aux = Counter::new(1 << 32, 2_000_000_000);
        let a_day_at_250_kw = 250_000 * 86_400;
        assert_eq!(aux.advance(500, a_day_at_250_kw), Advance::Reset);
        let mut nearly_full = Counter::new(1 << 32, u64::from(u32::MAX) - 99);
        assert_eq!(nearly_full.advance(400, a_day_at_250_kw), Advance::Wrapped(500));
    }

    proptest! {
        /// Whatever arrives, what is counted never exceeds what the elapsed time allows.
        #[test]
        fn never_counts_more_than_the_ceiling(
            start in 0..WIDTH,
            values in prop::collection::vec(0..WIDTH, 1..60),
        ) {
            let mut counted: u64 = 0;
            let mut counter = Counter::new(WIDTH, start);
            for (steps, raw) in values.iter().enumerate() {
                counted += counter.advance(*raw, LIMIT).counted().unwrap_or(0);
                prop_assert!(counted <= LIMIT * (steps as u64 + 1));
            }
        }

        /// An honest meter is counted to the last unit, however often it wraps.
        #[test]
        fn an_honest_meter_loses_nothing(
            start in WIDTH - 50_000_000..WIDTH,
            steps in prop::collection::vec(0..LIMIT, 1..60),
        ) {
            let mut counter = Counter::new(WIDTH, start);
            let (mut raw, mut counted) = (start, 0);
            for step in &steps {
                raw = (raw + step) % WIDTH;
                counted += counter.advance(raw, LIMIT).counted().unwrap_or(0);
            }
            prop_assert_eq!(counted, steps.iter().sum::<u64>());
        }

        /// One value that cannot be believed, between honest ones, changes nothing in the end.
        #[test]
        fn one_wild_value_is_made_good(
            start in 0..WIDTH / 2,
            wild in 0..WIDTH / 4 * 3,
            step in 1..LIMIT,
        ) {
            prop_assume!(!(start + step..=start + step + LIMIT).contains(&wild));
            let mut counter = Counter::new(WIDTH, start);
            let mut counted = 0;
            for raw in [start + step, wild, start + 3 * step] {
                counted += counter.advance(raw, LIMIT).counted().unwrap_or(0);
            }
            prop_assert_eq!(counted, 3 * step);
        }
    }
}
