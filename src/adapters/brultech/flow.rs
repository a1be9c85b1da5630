//! One current clamp: from its absolute and polarized counters to energy taken and given back.

use serde::{Deserialize, Serialize};

use crate::adapters::fleet::ChannelSettings;
use crate::model::{Advance, Counter, Milli, Total};

/// The counters of one clamp and the totals that were made from them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Clamp {
    absolute: Counter,
    /// Absent until the meter has sent a format that carries it.
    polarized: Option<Counter>,
    taken: Total,
    given: Total,
    /// Absolute watt-seconds that await the polarized value belonging to them: a meter may send
    /// formats with and without it in turn.
    unmatched: u64,
    /// Absolute watt-seconds counted since the meter last sent the polarized value, which may have
    /// moved as far unseen.
    unseen: u64,
    /// Polarized watt-seconds beyond the absolute ones, to be set off against the next.
    overdrawn: u64,
    /// What was counted since the last power value; `None` when a part of it is unknown.
    interval: Option<Interval>,
    /// The meter's seconds that `interval` covers so far.
    seconds: u32,
}

/// Watt-seconds counted in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Interval {
    taken: u64,
    given: u64,
}

/// The counters of one clamp as one packet gives them, in watt-seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawClamp {
    pub(super) absolute: u64,
    pub(super) polarized: Option<u64>,
    /// The counters run from 0 to this.
    pub(super) modulus: u64,
}

/// Average power between two packets, each direction on its own and never negative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Power {
    pub(super) taken: Option<Milli>,
    pub(super) given: Option<Milli>,
}

impl Clamp {
    /// A clamp seen for the first time: its totals start at the meter's own counters.
    pub(super) fn new(raw: RawClamp, settings: &ChannelSettings) -> Clamp {
        let polarized = raw.polarized.unwrap_or(0);
        let (taken, given) = settings.split(raw.absolute, polarized);
        Clamp {
            absolute: Counter::new(raw.modulus, raw.absolute),
            polarized: raw.polarized.map(|value| Counter::new(raw.modulus, value)),
            taken: Total::start(taken, settings.multiplier),
            given: Total::start(given, settings.multiplier),
            unmatched: 0,
            unseen: 0,
            overdrawn: 0,
            interval: Some(Interval::default()),
            seconds: 0,
        }
    }

    /// Goes on with the totals of another clamp.
    pub(super) fn go_on_from(&mut self, other: &Clamp) {
        (self.taken, self.given) = (other.taken, other.given);
    }

    /// Whether one of the counters stands lower than before.
    pub(super) fn fell(&self, raw: RawClamp) -> bool {
        raw.absolute < self.absolute.last()
    }

    /// Whether the meter tells the direction of this clamp's energy.
    pub(super) fn has_direction(&self) -> bool {
        self.polarized.is_some()
    }

    /// Energy taken since the meter began to count, Wh.
    pub(super) fn taken(&self) -> Milli {
        self.taken.watt_hours()
    }

    /// Energy given back since the meter began to count, Wh.
    pub(super) fn given(&self) -> Milli {
        self.given.watt_hours()
    }

    /// Starts again at the counters' present values; the totals stay where they are.
    pub(super) fn restart(&mut self, raw: RawClamp) {
        self.absolute.restart(raw.absolute);
        if let (Some(counter), Some(value)) = (&mut self.polarized, raw.polarized) {
            counter.restart(value);
        }
        (self.unmatched, self.unseen, self.overdrawn) = (0, 0, 0);
        self.begin_interval();
    }

    /// Begins a new interval without giving power for the one that ends here.
    pub(super) fn begin_interval(&mut self) {
        (self.seconds, self.interval) = (0, Some(Interval::default()));
    }

    /// Takes the next packet's counters; `limit` is the most that can have been counted since
    /// the last, in watt-seconds. Returns each counter's step with the value before it.
    pub(super) fn advance(
        &mut self,
        raw: RawClamp,
        limit: u64,
        settings: &ChannelSettings,
    ) -> [Option<ClampStep>; 2] {
        let before = self.absolute.last();
        let absolute = self.absolute.advance(raw.absolute, limit);
        let absolute_step =
            ClampStep { counter: "absolute", before, after: raw.absolute, advance: absolute };
        let polarized_step = self.advance_polarized(raw, limit, settings);
        self.unseen = match raw.polarized {
            Some(_) => 0,
            None => self.unseen.saturating_add(absolute.counted().unwrap_or_default()),
        };

        let counted = match (&polarized_step, raw.polarized) {
            // What a load takes is known without a direction, and whatever that does.
            (step, _) if !settings.role.counts_both_ways() => {
                let given = step.as_ref().and_then(|step| step.advance.counted());
                absolute.counted().map(|counted| (counted, given.unwrap_or_default()))
            }
            // This format lacks what the meter has given before: keep for later.
            (None, None) if self.polarized.is_some() => {
                self.unmatched =
                    self.unmatched.saturating_add(absolute.counted().unwrap_or_default());
                if absolute.counted().is_none() {
                    self.interval = None;
                }
                return [Some(absolute_step), None];
            }
            (Some(step), _) => absolute.counted().zip(step.advance.counted()),
            (None, _) => absolute.counted().map(|counted| (counted, 0)),
        };
        let direction = polarized_step.as_ref().filter(|_| settings.role.counts_both_ways());
        let recovered = [Some(absolute), direction.map(|step| step.advance)]
            .iter()
            .any(|advance| matches!(advance, Some(Advance::Recovered(_))));
        self.count(counted, limit, settings);
        if recovered {
            // The energy of several intervals came at once; it is no power of this one.
            self.interval = None;
        }
        [Some(absolute_step), polarized_step]
    }

    fn advance_polarized(
        &mut self,
        raw: RawClamp,
        limit: u64,
        settings: &ChannelSettings,
    ) -> Option<ClampStep> {
        let value = raw.polarized?;
        let Some(counter) = &mut self.polarized else {
            // The first packet that tells the direction. What the absolute counter had before it
            // is published already, so only this counter's own past is taken over.
            self.polarized = Some(Counter::new(raw.modulus, value));
            // Not so where the totals are another meter's, which did tell it.
            if !settings.swapped() && self.given == Total::default() {
                self.given = Total::start(value, settings.multiplier);
            }
            return None;
        };
        let before = counter.last();
        let advance = counter.advance(value, limit.saturating_add(self.unseen));
        Some(ClampStep { counter: "polarized", before, after: value, advance })
    }

    /// Adds what both counters counted to the totals; `None` when either is unknown.
    fn count(&mut self, counted: Option<(u64, u64)>, limit: u64, settings: &ChannelSettings) {
        let Some((absolute, polarized)) = counted else {
            (self.unmatched, self.overdrawn, self.interval) = (0, 0, None);
            return;
        };
        let absolute = absolute.saturating_add(std::mem::take(&mut self.unmatched));
        let drawn = polarized.saturating_add(std::mem::take(&mut self.overdrawn));
        self.overdrawn = drawn.saturating_sub(absolute).min(limit);
        let (mut taken, mut given) = settings.split(absolute, drawn.min(absolute));
        if settings.role.counts_both_ways() {
            // The polarized counter itself is always believed whole, only the rest is set off.
            *(if settings.swapped() { &mut taken } else { &mut given }) = polarized;
        }
        self.taken.add(taken, settings.multiplier);
        self.given.add(given, settings.multiplier);
        if let Some(interval) = &mut self.interval {
            interval.taken = interval.taken.saturating_add(taken);
            interval.given = interval.given.saturating_add(given);
        }
    }

    /// The power of the interval that ends here; `seconds` is the meter's own time since the last
    /// call and not zero.
    pub(super) fn power(&mut self, seconds: u32, settings: &ChannelSettings) -> Power {
        self.seconds = self.seconds.saturating_add(seconds);
        if self.unmatched > 0 {
            return Power { taken: None, given: None };
        }
        let seconds = f64::from(std::mem::take(&mut self.seconds));
        let interval = self.interval.replace(Interval::default());
        let watts = |counted: u64| Milli::from_f64(counted as f64 * settings.multiplier / seconds);
        Power {
            taken: interval.and_then(|interval| watts(interval.taken)),
            given: interval.and_then(|interval| watts(interval.given)),
        }
    }
}

/// What one counter of a clamp did.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ClampStep {
    pub(super) counter: &'static str,
    pub(super) before: u64,
    pub(super) after: u64,
    pub(super) advance: Advance,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Role;

    const LIMIT: u64 = 2_750_000;

    fn raw(absolute: u64, polarized: u64) -> RawClamp {
        RawClamp { absolute, polarized: Some(polarized), modulus: 1 << 40 }
    }

    fn settings(role: Role, btmon: bool) -> ChannelSettings {
        ChannelSettings { role, btmon, ..ChannelSettings::default() }
    }

    fn watts(power: Power) -> (Option<f64>, Option<f64>) {
        (power.taken.map(Milli::to_f64), power.given.map(Milli::to_f64))
    }

    #[test]
    fn a_load_counts_the_absolute_counter() {
        let load = settings(Role::Load, false);
        let mut clamp = Clamp::new(raw(3_600, 36), &load);
        assert_eq!(clamp.taken().to_string(), "1");
        clamp.advance(raw(4_600, 436), LIMIT, &load);
        assert_eq!(watts(clamp.power(10, &load)).0, Some(100.0));
    }

    #[test]
    fn a_grid_channel_counts_both_ways_and_btmon_calls_them_the_other_way_round() {
        for btmon in [false, true] {
            let grid = settings(Role::Grid, btmon);
            let mut clamp = Clamp::new(raw(36_000, 7_200), &grid);
            let ways = [clamp.taken().to_string(), clamp.given().to_string()];
            assert_eq!(ways, if btmon { ["2", "8"] } else { ["8", "2"] });
            clamp.advance(raw(37_000, 7_600), LIMIT, &grid);
            // Net power is (da - 2 dp) / ds = (1000 - 800) / 10.
            let (taken, given) = watts(clamp.power(10, &grid));
            let net = taken.unwrap() - given.unwrap();
            assert_eq!(net, if btmon { -20.0 } else { 20.0 });
        }
    }

    #[test]
    fn two_packets_in_a_second_keep_their_energy_for_the_next_power() {
        let load = settings(Role::Load, false);
        let mut clamp = Clamp::new(raw(0, 0), &load);
        clamp.advance(raw(300, 0), LIMIT, &load);
        clamp.advance(raw(1_000, 0), LIMIT, &load);
        assert_eq!(watts(clamp.power(10, &load)).0, Some(100.0));
    }

    #[test]
    fn a_format_without_direction_leaves_the_split_to_the_next_that_has_it() {
        let grid = settings(Role::Grid, false);
        let mut clamp = Clamp::new(raw(36_000, 7_200), &grid);
        clamp.advance(RawClamp { polarized: None, ..raw(72_000, 0) }, LIMIT, &grid);
        assert_eq!(clamp.taken().to_string(), "8");
        assert_eq!(watts(clamp.power(10, &grid)), (None, None));
        clamp.advance(raw(72_000, 43_200), LIMIT, &grid);
        assert_eq!(watts(clamp.power(10, &grid)), (Some(0.0), Some(1_800.0)));
        assert_eq!([clamp.taken().to_string(), clamp.given().to_string()], ["8", "12"]);
    }

    #[test]
    fn a_reset_gives_no_power_and_totals_stay() {
        let grid = settings(Role::Grid, false);
        let mut clamp = Clamp::new(raw(36_000_000, 7_200_000), &grid);
        let steps = clamp.advance(raw(10, 0), LIMIT, &grid);
        assert!(steps.into_iter().flatten().all(|step| step.advance == Advance::Reset));
        assert_eq!(watts(clamp.power(10, &grid)), (None, None));
        assert_eq!([clamp.taken().to_string(), clamp.given().to_string()], ["8000", "2000"]);
        clamp.advance(raw(3_610, 0), LIMIT, &grid);
        assert_eq!(watts(clamp.power(10, &grid)), (Some(360.0), Some(0.0)));
        assert_eq!([clamp.taken().to_string(), clamp.given().to_string()], ["8001", "2000"]);
    }

    #[test]
    fn a_polarized_counter_that_runs_ahead_is_set_off_later() {
        let grid = settings(Role::Grid, false);
        let mut clamp = Clamp::new(raw(0, 0), &grid);
        clamp.advance(raw(3_600, 7_200), LIMIT, &grid);
        assert_eq!([clamp.taken().to_string(), clamp.given().to_string()], ["0", "2"]);
        clamp.advance(raw(10_800, 7_200), LIMIT, &grid);
        assert_eq!([clamp.taken().to_string(), clamp.given().to_string()], ["1", "2"]);
    }
}
