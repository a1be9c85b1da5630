//! What links hand over of a meter, in the gateway's units.

use std::sync::Arc;

pub(crate) use super::unit::EnergyUnit;
pub(crate) use crate::adapters::fleet::Presence;
use crate::model::{Model, Timestamp};

/// What a link hands over of one meter.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// The name that the device has given itself: all that is known of it on every way.
    pub(crate) serial: Arc<str>,
    /// SmartMeter or PowerMeter.
    pub(crate) model: Model,
    /// Whether it can be heard.
    pub(crate) presence: Presence,
    /// It speaks on the gateway's broker itself, under its own name.
    pub(crate) on_our_broker: bool,
    /// The unit in which its messages on a broker tell energy, where its firmware is known.
    pub(crate) message_unit: Option<EnergyUnit>,
    /// What is so now.
    pub(crate) now: Option<Measured>,
    /// What was so at times that are over, oldest first: after a stall.
    pub(crate) past: Vec<(Timestamp, Measured)>,
    /// Whether the relay is closed; `None`: not told, or there is none.
    pub(crate) relay: Option<bool>,
}

/// What was measured at one moment, or over one second.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Measured {
    /// Line by line; nothing for a PowerMeter.
    pub(crate) lines: [Line; 3],
    /// The whole meter: powers and currents in sum, the mean of the voltages.
    pub(crate) whole: Line,
    /// Hz.
    pub(crate) frequency_hz: Option<f64>,
    /// °C, of a plug's sensor board.
    pub(crate) temperature_c: Option<f64>,
    /// What has been counted.
    pub(crate) energy: Option<Energy>,
}

/// One line. What the meter did not give is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Line {
    /// W, negative where it is given back.
    pub(crate) active_w: Option<f64>,
    /// var, positive where the current lags.
    pub(crate) reactive_var: Option<f64>,
    /// VA.
    pub(crate) apparent_va: Option<f64>,
    /// P / S.
    pub(crate) power_factor: Option<f64>,
    /// V, RMS.
    pub(crate) voltage_v: Option<f64>,
    /// A, RMS.
    pub(crate) current_a: Option<f64>,
}

/// Energy, by whoever counts it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Energy {
    /// The meter's own totals, Wh: of the whole, and of lines where it tells.
    Total { whole_wh: f64, lines_wh: [Option<f64>; 3] },
    /// The same as a message on a broker tells it, in its unit: rounded to hundredths.
    Message { whole: f64, lines: [Option<f64>; 3], unit: Option<EnergyUnit> },
    /// What has flowed since the measurement before, Wh, where the meter does not count: taken and
    /// given back, of the whole and of each line; `None` where its power is not known.
    Flowed { whole_wh: Option<(f64, f64)>, lines_wh: [Option<(f64, f64)>; 3] },
}

impl Measured {
    /// The active powers of the whole and of each line, W.
    pub(crate) fn watts(&self) -> [Option<f64>; 4] {
        let [a, b, c] = &self.lines;
        [&self.whole, a, b, c].map(|line| line.active_w)
    }
}

impl Energy {
    /// What flows in `hours` at these powers of the whole and of each line, W. `None`: no power is known.
    pub(crate) fn flowed(watts: [Option<f64>; 4], hours: f64) -> Option<Energy> {
        let ways = |watts: f64| ((watts * hours).max(0.0), (-watts * hours).max(0.0));
        let [whole_wh, lines_wh @ ..] = watts.map(|watts| watts.map(ways));
        let any = watts.iter().any(Option::is_some);
        any.then_some(Energy::Flowed { whole_wh, lines_wh })
    }

    /// The same while powers went from `before` to `after`, by their mean.
    pub(crate) fn flowed_between(
        before: [Option<f64>; 4],
        after: [Option<f64>; 4],
        hours: f64,
    ) -> Option<Energy> {
        let mean = |n: usize| Some(f64::midpoint(before[n]?, after[n]?));
        Energy::flowed(std::array::from_fn(mean), hours)
    }
}
