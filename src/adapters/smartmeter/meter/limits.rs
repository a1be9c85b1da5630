//! What a meter can have counted, and what can have flowed: more is believed of nobody, and told.

use std::time::Duration;

use super::Meter;
use crate::adapters::smartmeter::counted::Source;
use crate::adapters::smartmeter::sensors::CHANNELS;
use crate::model::{Correction, CorrectionKind, Timestamp};

impl Meter {
    /// The most that each channel can have counted since it was counted last, thousandths of a Wh by the
    /// meter's count.
    ///
    /// A net export makes a SmartMeter's energy jump by 455.4 Wh, which any power ceiling lets pass after a
    /// minute; so a step is held against the powers that were seen meanwhile as well.
    pub(super) fn limits(&self, source: Source, at: Timestamp, factors: [f64; 4]) -> [u64; 4] {
        let waited = at.since(self.state.counted.at());
        let hours = (waited + MARGIN).as_secs_f64() / 3600.0;
        let ceiling = self.settings.power_ceiling_w * hours + ROUNDED_WH;
        let is_watched = waited < WATCHED && self.state.counted.source() == Some(source);
        std::array::from_fn(|place| {
            let seen = self.peaks[place].filter(|_| is_watched);
            let seen = seen.map_or(f64::INFINITY, |peak| 2.0 * peak * hours + UNSEEN_WH);
            (ceiling.min(seen) * 1000.0 / factors[place]) as u64
        })
    }

    /// A meter behind a solar inverter jumps all day.
    pub(super) fn is_worth_telling(
        &mut self,
        place: usize,
        correction: &Correction,
        at: Timestamp,
    ) -> bool {
        if correction.kind != CorrectionKind::Jumped {
            return true;
        }
        let told = &mut self.told[place];
        let is_due = told.is_none_or(|told| at.since(told) >= TOLD_AGAIN);
        if is_due {
            *told = Some(at);
        }
        is_due
    }

    /// What is to be told of integrated powers that are more than the power ceiling allows, Wh taken and given
    /// back by channel (`None` where it is not known): nothing of them is counted. A message may say any power.
    pub(super) fn flows_too_much(
        &self,
        flows: [Option<(f64, f64)>; 4],
        at: Timestamp,
        factors: [f64; 4],
    ) -> Option<Correction> {
        let longest = LONGEST_FLOW.max(self.settings.poll.unwrap_or_default() * 3);
        let span = at.since(self.state.counted.at()).min(longest) + MARGIN;
        let ceiling = self.settings.power_ceiling_w * span.as_secs_f64() / 3600.0;
        let published = |place: usize| {
            let (taken, given) = flows[place].unwrap_or_default();
            taken.max(given) * factors[place]
        };
        let place = (0..CHANNELS.len()).find(|place| published(*place) > ceiling)?;
        let before = self.state.counted.totals(place).0.map_or(0.0, |total| total.to_f64());
        Some(Correction {
            name: self.device.name.clone(),
            serial: self.device.serial.clone(),
            channel: Some(CHANNELS[place]),
            counter: "energy",
            kind: CorrectionKind::Jumped,
            before: before as u64,
            after: (before + published(place)) as u64,
        })
    }
}

/// A meter stores its energy every 19 s.
const MARGIN: Duration = Duration::from_secs(20);
/// What is told in hundredths of a kWh may be late by as much, twice.
const ROUNDED_WH: f64 = 20.0;
/// So long are the powers between two energies believed to tell all.
const WATCHED: Duration = Duration::from_secs(300);
/// What may have flowed between two powers, unseen.
const UNSEEN_WH: f64 = 100.0;
/// How often a jump of the same counter is told.
const TOLD_AGAIN: Duration = Duration::from_secs(600);
/// Powers further apart are not integrated, unless they are asked for as seldom.
const LONGEST_FLOW: Duration = Duration::from_secs(3600);
