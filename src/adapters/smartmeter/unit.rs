//! The unit of a plug's energy: older firmware says kWh in its messages, newer says Wh, and the messages
//! do not tell which it is. Found out by how fast the energy rises beside the power.

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

/// The unit of an energy in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EnergyUnit {
    /// Firmware 2 and later of a PowerMeter.
    WattHour,
    /// Every SmartMeter, and a PowerMeter with firmware 1.
    KilowattHour,
}

impl EnergyUnit {
    /// That of a meter's messages, by what is known of its firmware.
    pub(super) fn of_messages(is_wh: bool) -> EnergyUnit {
        if is_wh { EnergyUnit::WattHour } else { EnergyUnit::KilowattHour }
    }

    /// Wh in one of it.
    pub(super) fn watt_hours(self) -> f64 {
        match self {
            EnergyUnit::WattHour => 1.0,
            EnergyUnit::KilowattHour => 1000.0,
        }
    }
}

/// What was seen so far. Once kWh are found it goes on: newer firmware says Wh.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Evidence(Option<Window>);

#[derive(Debug, Clone, Copy, PartialEq)]
struct Window {
    begin: Timestamp,
    /// The energy then, in its unit.
    energy: f64,
    /// What has flowed since by the power, Wh.
    flowed: f64,
    last: (Timestamp, f64),
}

impl Evidence {
    /// Takes a message: its power in W and its energy. Answers once it is clear.
    pub(super) fn take(&mut self, at: Timestamp, power: f64, energy: f64) -> Option<EnergyUnit> {
        let fresh = Window { begin: at, energy, flowed: 0.0, last: (at, power) };
        let Some(window) = &mut self.0 else {
            self.0 = Some(fresh);
            return None;
        };
        let waited = at.since(window.last.0);
        if waited > LONGEST_GAP || energy < window.energy {
            *window = fresh;
            return None;
        }
        // The power may have changed anywhere between two messages.
        let mean = f64::midpoint(window.last.1, power).max(0.0);
        window.flowed += mean * waited.as_secs_f64() / 3600.0;
        window.last = (at, power);
        let rise = energy - window.energy;
        let as_wh = rise / window.flowed;
        // In kWh so large a step would be fifty times what can have flowed.
        if rise >= CLEAR_RISE && (0.4..=2.5).contains(&as_wh) {
            return Some(EnergyUnit::WattHour);
        }
        // A meter stores its energy every 19 s only.
        if window.flowed < ENOUGH_WH || at.since(window.begin) < LONG_ENOUGH {
            return None;
        }
        // kWh rise in hundredths: one of them may be missing or too much.
        let thousandth = window.flowed / 1000.0;
        let is_kwh = rise <= thousandth * 2.5 + 0.01;
        *window = fresh;
        is_kwh.then_some(EnergyUnit::KilowattHour)
    }
}

/// Messages come every five seconds, and none while the meter samples.
const LONGEST_GAP: std::time::Duration = std::time::Duration::from_secs(60);
const LONG_ENOUGH: std::time::Duration = std::time::Duration::from_secs(60);
const ENOUGH_WH: f64 = 1.0;
const CLEAR_RISE: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;

    /// A load of `watts` over messages every 5 s; `factor`: Wh in the meter's unit.
    fn run(watts: f64, factor: f64, lag: bool) -> (Option<EnergyUnit>, i64) {
        let mut evidence = Evidence::default();
        for n in 0..2000 {
            let at = Timestamp(n * 5000);
            let counted = if lag { n / 4 * 4 } else { n };
            let wh = 10_149.83 + watts * (counted * 5) as f64 / 3600.0;
            let told = (wh / factor * 100.0).round() / 100.0;
            if let Some(unit) = evidence.take(at, watts, told) {
                return (Some(unit), n * 5);
            }
        }
        (None, 0)
    }

    #[test]
    fn the_unit_shows_in_how_fast_the_energy_rises() {
        for watts in [5.0, 60.0, 900.0, 3500.0] {
            for lag in [false, true] {
                assert_eq!(run(watts, 1.0, lag).0, Some(EnergyUnit::WattHour), "{watts} {lag}");
                assert_eq!(
                    run(watts, 1000.0, lag).0,
                    Some(EnergyUnit::KilowattHour),
                    "{watts} {lag}"
                );
            }
        }
        assert!(run(900.0, 1.0, false).1 <= 10);
        assert_eq!(run(0.0, 1.0, false).0, None, "nothing flows, nothing shows");
    }
}
