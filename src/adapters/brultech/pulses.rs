//! One pulse input: from its counter to a running total of what the pulses stand for.

use meter_protocols::brultech::PULSE_MODULUS;
use serde::{Deserialize, Serialize};

use crate::adapters::fleet::ChannelSettings;
use crate::model::{Advance, Counter, GEM_PULSES_PER_SECOND, Milli, Total};

/// A pulse input and the totals that were made from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PulseInput {
    counter: Counter,
    count: u64,
    total: Total,
    /// The total stands for litres or watt-hours, not for a bare number.
    scaled: bool,
}

impl PulseInput {
    /// An input seen for the first time: its total starts at the meter's own counter.
    pub(super) fn new(raw: u32, settings: &ChannelSettings) -> PulseInput {
        PulseInput {
            counter: Counter::new(PULSE_MODULUS, raw.into()),
            count: raw.into(),
            total: Total::start(raw.into(), settings.pulse_factor()),
            scaled: settings.constant_milli().is_some(),
        }
    }

    /// Begins the total anew where the input was only counted before and now has a constant, or
    /// the other way round: litres do not go on from a number of pulses.
    pub(super) fn adopt(&mut self, settings: &ChannelSettings) {
        let scaled = settings.constant_milli().is_some();
        if scaled != self.scaled {
            self.total = Total::start(self.count, settings.pulse_factor());
            self.scaled = scaled;
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
        self.total.add(counted, settings.pulse_factor());
        advance
    }

    /// Starts again at `raw`; the totals stay where they are.
    pub(super) fn restart(&mut self, raw: u32) {
        self.counter.restart(raw.into());
    }
}
