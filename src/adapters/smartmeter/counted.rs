//! Energy taken and given back: whose count is believed, and what it comes to.
//!
//! A meter's own count reaches the gateway in two ways, exact in its info dictionary and rounded in its
//! messages on a broker; where it gives none, powers are integrated. One of the three counts at a time,
//! and the total goes on from one to the next without falling and without counting twice.

use serde::{Deserialize, Serialize};

use super::measured::Energy;
use super::unit::EnergyUnit;
use crate::adapters::fleet::{Register, Step};
use crate::model::{Milli, Timestamp};

/// The totals of the whole meter and of its lines, in the order of [`super::sensors::CHANNELS`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Counted {
    channels: [Totals; 4],
    source: Option<Source>,
    /// When the source that counts said something.
    at: Timestamp,
}

/// Of one channel.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Totals {
    taken: Option<Register>,
    given: Option<Register>,
    /// What of integrated powers is less than a thousandth of a Wh.
    rest: (f64, f64),
}

/// Who counts, the best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Source {
    /// Integrated powers.
    Flow,
    /// The meter, in hundredths of a kWh on a broker.
    Message,
    /// The meter itself.
    Meter,
}

/// Wh of each channel, as far as they are told.
pub(super) type PerChannel = [Option<f64>; 4];

impl Counted {
    /// The totals of another meter, and the counters from here.
    pub(super) fn going_on_from(other: Counted) -> Counted {
        Counted { source: None, ..other }
    }

    /// Whether a total counts that is worse than nothing new from `source`.
    fn is_better_known(&self, source: Source, at: Timestamp) -> bool {
        self.source.is_some_and(|now| now > source && at.since(self.at) < STALE)
    }

    /// Who counts at present.
    pub(super) fn source(&self) -> Option<Source> {
        self.source
    }

    /// When something was counted last.
    pub(super) fn at(&self) -> Timestamp {
        self.at
    }

    /// The total of what a channel took, and of what it gave back.
    pub(super) fn totals(&self, place: usize) -> (Option<Milli>, Option<Milli>) {
        let of = |register: &Option<Register>| register.as_ref().map(Register::total);
        self.channels.get(place).map_or((None, None), |one| (of(&one.taken), of(&one.given)))
    }

    /// Takes the meter's own totals. `limits`: the most that each can have counted since the last, in
    /// thousandths of a Wh; `factors`: what is published of each. Answers which channels were counted,
    /// each with what its counter did.
    pub(super) fn total(
        &mut self,
        source: Source,
        wh: PerChannel,
        at: Timestamp,
        limits: [u64; 4],
        factors: [f64; 4],
    ) -> [Option<Option<Step>>; 4] {
        let mut steps = [const { None }; 4];
        if self.is_better_known(source, at) {
            return steps;
        }
        let goes_on = self.source == Some(source);
        // Not where another meter has counted until now, or the gateway itself: that energy is in.
        let is_same = matches!(self.source, Some(Source::Meter | Source::Message));
        (self.source, self.at) = (Some(source), at);
        for (place, totals) in self.channels.iter_mut().enumerate() {
            let Some(raw) = wh[place].and_then(Milli::from_f64) else { continue };
            let (limit, factor) = (limits[place], factors[place]);
            steps[place] = Some(match &mut totals.taken {
                None => {
                    totals.taken = Some(Register::scaled(raw, factor));
                    None
                }
                Some(register) if goes_on || (is_same && register.is_near(raw, limit)) => {
                    Some(register.advance_scaled(raw, limit, factor))
                }
                // Rounded otherwise, or counted by somebody else until now.
                Some(register) => {
                    register.restart(raw);
                    None
                }
            });
        }
        steps
    }

    /// Adds integrated powers: Wh taken and given back, of the channels whose power is known. Answers
    /// whether they count.
    pub(super) fn flow(
        &mut self,
        whole: Option<(f64, f64)>,
        lines: [Option<(f64, f64)>; 3],
        at: Timestamp,
        factors: [f64; 4],
    ) -> bool {
        if self.is_better_known(Source::Flow, at) {
            return false;
        }
        (self.source, self.at) = (Some(Source::Flow), at);
        let flows = std::iter::once(whole).chain(lines).zip(factors);
        for (totals, (flow, factor)) in self.channels.iter_mut().zip(flows) {
            if let Some((taken, given)) = flow {
                totals.flow(taken * factor, given * factor);
            }
        }
        true
    }
}

impl Totals {
    fn flow(&mut self, taken: f64, given: f64) {
        let Totals { taken: register, rest, .. } = self;
        add(register, &mut rest.0, taken);
        add(&mut self.given, &mut self.rest.1, given);
    }
}

/// Adds Wh; a register begins with the first.
fn add(register: &mut Option<Register>, rest: &mut f64, wh: f64) {
    if !wh.is_finite() || wh < 0.0 {
        return;
    }
    let register = register.get_or_insert_with(|| Register::new(Milli(0)));
    *rest += wh * 1000.0;
    let whole = rest.floor();
    *rest -= whole;
    register.add(whole as u64);
}

/// What the meter's own count says of each channel in Wh, and by which way; `None` where it is not the
/// meter's count, or its unit is not known.
pub(super) fn told(energy: &Energy, unit: Option<EnergyUnit>) -> Option<(Source, PerChannel)> {
    match *energy {
        Energy::Total { whole_wh, lines_wh: [a, b, c] } => {
            Some((Source::Meter, [Some(whole_wh), a, b, c]))
        }
        Energy::Message { whole, lines: [a, b, c], .. } => {
            let factor = unit?.watt_hours();
            let wh = |value: f64| value * factor;
            Some((Source::Message, [Some(wh(whole)), a.map(wh), b.map(wh), c.map(wh)]))
        }
        Energy::Flowed { .. } => None,
    }
}

/// So long does a better count that has fallen silent keep others from counting.
const STALE: std::time::Duration = std::time::Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: [u64; 4] = [1_000_000; 4];
    const FACTORS: [f64; 4] = [1.0; 4];

    fn total(counted: &mut Counted, source: Source, wh: f64, seconds: i64) -> Option<String> {
        let at = Timestamp(seconds * 1000);
        counted.total(source, [Some(wh), None, None, None], at, LIMITS, FACTORS);
        counted.totals(0).0.map(|total| total.to_string())
    }

    #[test]
    fn one_source_counts_at_a_time_and_the_total_never_falls() {
        let mut counted = Counted::default();
        assert_eq!(total(&mut counted, Source::Message, 19_760.0, 0).as_deref(), Some("19760"));
        // The same energy to the ten-thousandth: less than what was rounded up.
        assert_eq!(total(&mut counted, Source::Meter, 19_757.5, 5).as_deref(), Some("19760"));
        assert_eq!(total(&mut counted, Source::Message, 19_770.0, 10).as_deref(), Some("19760"));
        assert_eq!(total(&mut counted, Source::Meter, 19_759.0, 35).as_deref(), Some("19761.5"));
        assert!(!counted.flow(Some((5.0, 0.0)), [None; 3], Timestamp(36_000), FACTORS));
        // The exact one has fallen silent.
        assert_eq!(total(&mut counted, Source::Message, 19_770.0, 700).as_deref(), Some("19772.5"));
    }

    #[test]
    fn integrated_powers_lose_nothing_to_rounding() {
        let mut counted = Counted::default();
        let second = 100.0 / 3600.0;
        for n in 0..3600 {
            let lines = [Some((second, 0.0)), Some((0.0, second)), None];
            assert!(counted.flow(Some((second, 0.0)), lines, Timestamp(n * 1000), FACTORS));
        }
        let near = |total: Option<Milli>, wh: f64| (total.unwrap().to_f64() - wh).abs() < 0.002;
        assert!(near(counted.totals(0).0, 100.0), "{:?}", counted.totals(0));
        assert!(near(counted.totals(1).0, 100.0) && near(counted.totals(2).1, 100.0));
        assert_eq!(counted.totals(3), (None, None), "nothing is invented of a line without power");
    }

    #[test]
    fn what_was_integrated_meanwhile_is_not_counted_again() {
        let mut counted = Counted::default();
        total(&mut counted, Source::Message, 1000.0, 0);
        assert!(counted.flow(Some((5.0, 0.0)), [None; 3], Timestamp(700_000), FACTORS));
        assert_eq!(total(&mut counted, Source::Message, 1010.0, 705).as_deref(), Some("1005"));
        assert_eq!(total(&mut counted, Source::Message, 1020.0, 710).as_deref(), Some("1015"));
    }

    #[test]
    fn another_meters_totals_go_on() {
        let mut counted = Counted::default();
        total(&mut counted, Source::Meter, 500.0, 0);
        let mut counted = Counted::going_on_from(counted);
        assert_eq!(total(&mut counted, Source::Meter, 20.0, 5).as_deref(), Some("500"));
        assert_eq!(total(&mut counted, Source::Meter, 21.0, 10).as_deref(), Some("501"));
    }
}
