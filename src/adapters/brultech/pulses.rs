//! One pulse input: from its counter to a running total of what the pulses stand for, and to the
//! rate between pulses.

use meter_protocols::brultech::PULSE_MODULUS;
use serde::{Deserialize, Serialize};

use crate::adapters::fleet::ChannelSettings;
use crate::model::{Advance, Counter, Elapsed, GEM_PULSES_PER_SECOND, Milli, Total};

/// A pulse input and the totals that were made from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PulseInput {
    counter: Counter,
    count: u64,
    total: Total,
    /// The total stands for litres or watt-hours, not for a bare number.
    scaled: bool,
    /// Since the last pulse. Not kept: after a restart the next pulse is a first one again.
    #[serde(skip)]
    gap: Gap,
    #[serde(skip)]
    rate: Option<Milli>,
}

/// What has come since the packet with the last pulse.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Gap {
    /// By the meter's clock; `None` while no pulse was seen that it could be counted from.
    seconds: Option<u64>,
    /// Pulses in the same second as the last one: they count towards the next rate.
    counted: Milli,
}

impl PulseInput {
    /// An input seen for the first time: its total starts at the meter's own counter.
    pub(super) fn new(raw: u32, settings: &ChannelSettings) -> PulseInput {
        PulseInput {
            counter: Counter::new(PULSE_MODULUS, raw.into()),
            count: raw.into(),
            total: Total::start(raw.into(), settings.pulse_factor()),
            scaled: settings.constant_milli().is_some(),
            gap: Gap::default(),
            rate: None,
        }
    }

    /// Begins the total anew where the input was only counted before and now has a constant, or
    /// the other way round: litres do not go on from a number of pulses.
    pub(super) fn adopt(&mut self, settings: &ChannelSettings) {
        let scaled = settings.constant_milli().is_some();
        if scaled != self.scaled {
            self.total = Total::start(self.count, settings.pulse_factor());
            self.scaled = scaled;
            self.gap = Gap::default();
        }
    }

    /// Goes on with the totals of another input.
    pub(super) fn go_on_from(&mut self, other: PulseInput) {
        *self = PulseInput { counter: self.counter.clone(), ..other };
    }

    /// The counter's value in the last packet.
    pub(super) fn last(&self) -> u32 {
        self.counter.last() as u32
    }

    /// Pulses since the meter began to count.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// What they stand for: L or Wh, or their number where nothing is configured.
    pub(super) fn total(&self) -> Milli {
        self.total.value()
    }

    /// W or L/day between the last packet with a pulse and this one; `None` when this one has none.
    /// Between pulses nothing is known, so nothing is told.
    pub(super) fn rate(&self) -> Option<Milli> {
        self.rate
    }

    /// Notes the time between the last packet and this one, before its counter is taken.
    pub(super) fn pass(&mut self, elapsed: Elapsed) {
        self.gap.seconds = match elapsed {
            Elapsed::Seconds { seconds, .. } => {
                self.gap.seconds.map(|before| before.saturating_add(seconds.into()))
            }
            Elapsed::SameSecond => self.gap.seconds,
            Elapsed::Restarted => None,
        };
    }

    /// Takes the next packet's counter, `seconds` after the last.
    pub(super) fn advance(
        &mut self,
        raw: u32,
        seconds: u64,
        settings: &ChannelSettings,
    ) -> Advance {
        let limit = seconds.saturating_mul(GEM_PULSES_PER_SECOND);
        let advance = self.counter.advance(raw.into(), limit);
        let counted = advance.counted().unwrap_or(0);
        self.count = self.count.saturating_add(counted);
        let before = self.total.value();
        self.total.add(counted, settings.pulse_factor());
        let risen = Milli(self.total.value().0 - before.0);
        self.rate = None;
        if matches!(advance, Advance::Reset | Advance::Jumped) {
            self.gap = Gap::default();
        } else if counted > 0 {
            self.note_pulses(risen, settings);
        }
        advance
    }

    fn note_pulses(&mut self, risen: Milli, settings: &ChannelSettings) {
        let counted = Milli(self.gap.counted.0 + risen.0);
        self.gap = match self.gap.seconds {
            Some(0) => Gap { seconds: Some(0), counted },
            Some(seconds) => {
                let milliseconds = seconds.saturating_mul(1000);
                self.rate = settings.pulse_kind().rate(counted, milliseconds);
                Gap { seconds: Some(0), counted: Milli(0) }
            }
            None => Gap { seconds: Some(0), counted: Milli(0) },
        };
    }

    /// Starts again at `raw`; the totals stay where they are.
    pub(super) fn restart(&mut self, raw: u32) {
        self.counter.restart(raw.into());
        (self.gap, self.rate) = (Gap::default(), None);
    }
}
