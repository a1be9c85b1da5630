//! A published running total.

use serde::{Deserialize, Serialize};

use super::Milli;

/// A running total that only ever grows: it starts where the meter's own counter stands and is
/// moved by what the counters are believed to have counted, in thousandths of their unit.
///
/// Keeping the sum rather than scaling the meter's counter each time is what lets a total go on
/// unbroken when a reset, another multiplier or another role changes what the counter means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Total(u64);

impl Total {
    /// A total that stands at `raw` counts of `factor` units each.
    pub fn start(raw: u64, factor: f64) -> Total {
        let mut total = Total::default();
        total.add(raw, factor);
        total
    }

    /// Adds `counts` of `factor` units each.
    pub fn add(&mut self, counts: u64, factor: f64) {
        let thousandths = if factor == 1.0 {
            counts.saturating_mul(1000)
        } else {
            (counts as f64 * factor * 1000.0).round().max(0.0) as u64
        };
        self.0 = self.0.saturating_add(thousandths);
    }

    /// The total in the counter's own unit.
    pub fn value(self) -> Milli {
        Milli(i64::try_from(self.0).unwrap_or(i64::MAX))
    }

    /// The total of watt-seconds in watt-hours, to the nearest thousandth.
    pub fn watt_hours(self) -> Milli {
        Milli(i64::try_from(self.0.saturating_add(1800) / 3600).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watt_seconds_become_watt_hours_to_the_thousandth() {
        assert_eq!(Total::start(3_123_588, 1.0).watt_hours().to_string(), "867.663");
        assert_eq!(Total::start(6, 1.0).watt_hours().to_string(), "0.002");
        assert_eq!(Total::start(u64::MAX, 1.0).watt_hours().0, ((u64::MAX / 3600) as i64));
    }

    #[test]
    fn a_multiplier_scales_what_is_added() {
        let mut total = Total::start(3_600, 1.0);
        total.add(3_600, 0.5);
        assert_eq!(total.watt_hours().to_string(), "1.5");
        total.add(7, 0.25);
        assert_eq!(total.value().to_string(), "5401.75");
    }
}
