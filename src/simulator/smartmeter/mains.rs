//! What is on the lines of a meter: voltages, and loads that follow the house or never change.
//!
//! Each line has a pure sine of voltage and a current with a third and a fifth harmonic, so that the
//! true values of any moment are had by a formula.

use std::f64::consts::{PI, SQRT_2};

use super::SmartKind;
use crate::simulator::house::{CIRCUITS, EPOCH, House};

/// The lines of one meter.
#[derive(Debug, Clone, PartialEq)]
pub struct Mains {
    pub(super) loads: Vec<Load>,
}

/// What is on one line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Load {
    voltage_v: f64,
    /// By which the current lags, degrees.
    pub(super) angle: f64,
    /// Of the line's voltage against the first line's, degrees.
    offset: f64,
    /// Watts by the minute of a day, negative when given back; one value alone never changes.
    watts: Vec<f64>,
    /// Watt-seconds taken since midnight at each minute's beginning, and in the whole day at the end.
    taken: Vec<f64>,
}

/// The true values of one line at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LineLevel {
    /// RMS, V.
    pub voltage_v: f64,
    /// RMS, harmonics and all, A.
    pub current_a: f64,
    /// W, negative when given back.
    pub active_w: f64,
    /// Of the fundamental, var; positive when the current lags.
    pub reactive_var: f64,
}

impl LineLevel {
    /// V × I, in VA.
    pub fn apparent_va(&self) -> f64 {
        self.voltage_v * self.current_a
    }

    /// The relay is open.
    pub(super) fn interrupt(&mut self) {
        *self = LineLevel { voltage_v: self.voltage_v, ..LineLevel::default() };
    }
}

impl Mains {
    /// 4 A, 0.95 A and 0.12 A for ever.
    pub(super) fn steady(kind: SmartKind) -> Mains {
        let lines = [(230.1, 4.0, 12.0), (231.4, 0.95, -25.0), (229.3, 0.12, 60.0)];
        let load = |(place, (voltage, current, angle)): (usize, (f64, f64, f64))| {
            let watts = voltage * current / RMS_OF_FUNDAMENTAL * angle.to_radians().cos();
            Load::new(place, voltage, angle, vec![watts])
        };
        Mains { loads: lines.into_iter().take(kind.lines()).enumerate().map(load).collect() }
    }

    /// Meter `n` of a house: a SmartMeter has ten circuits on each line and the sun on the first, a
    /// PowerMeter one circuit.
    pub(super) fn of_house(kind: SmartKind, house: &House, n: u32) -> Mains {
        let day = |circuits: &[usize], sun: bool| -> Vec<f64> {
            let watts = |minute: u32| {
                let at = EPOCH as f64 + f64::from(minute) * 60.0;
                let sun = if sun { house.solar(at).watts } else { 0.0 };
                circuits.iter().map(|circuit| house.circuit(*circuit, at).watts).sum::<f64>() + sun
            };
            (0..MINUTES).map(watts).collect()
        };
        let n = n as usize;
        let load = |place: usize| {
            let circuit = |k: usize| (n * 7 + place * 10 + k) % CIRCUITS;
            let (voltage, angle) = [(230.1, 12.0), (231.4, -25.0), (229.3, 8.0)][place % 3];
            let watts = match kind {
                SmartKind::SmartMeter => day(&(0..10).map(circuit).collect::<Vec<_>>(), place == 0),
                SmartKind::PowerMeter => day(&[n % CIRCUITS], false),
            };
            Load::new(place, voltage, angle, watts)
        };
        Mains { loads: (0..kind.lines()).map(load).collect() }
    }

    /// The true values of each line at a time, in seconds since 1970, with the relay closed.
    pub fn at(&self, seconds: f64) -> Vec<LineLevel> {
        self.loads.iter().map(|load| load.level(load.watts(seconds))).collect()
    }

    /// When the powers change next.
    pub(super) fn changes_after(&self, seconds: f64) -> f64 {
        match self.loads.iter().any(|load| load.watts.len() > 1) {
            true => (seconds / 60.0).floor() * 60.0 + 60.0,
            false => f64::INFINITY,
        }
    }

    /// Watt-hours that each line has taken from one time to another.
    pub(super) fn taken_wh(&self, from: f64, to: f64) -> Vec<f64> {
        let taken = |load: &Load| (load.counted(to) - load.counted(from)) / 3600.0;
        self.loads.iter().map(taken).collect()
    }
}

impl Load {
    fn new(place: usize, voltage_v: f64, angle: f64, watts: Vec<f64>) -> Load {
        let minute = 86_400.0 / watts.len() as f64;
        let mut taken = vec![0.0];
        let mut sum = 0.0;
        for watt in &watts {
            sum += watt.max(0.0) * minute;
            taken.push(sum);
        }
        let offset = [0.0, -120.0, 120.0][place % 3];
        Load { voltage_v, angle, offset, watts, taken }
    }

    fn place(&self, seconds: f64) -> (usize, f64) {
        let of_day = seconds.rem_euclid(86_400.0);
        let long = 86_400.0 / self.watts.len() as f64;
        let place = ((of_day / long) as usize).min(self.watts.len() - 1);
        (place, of_day - place as f64 * long)
    }

    fn watts(&self, seconds: f64) -> f64 {
        self.watts[self.place(seconds).0]
    }

    /// Watt-seconds since the beginning.
    fn counted(&self, seconds: f64) -> f64 {
        let days = ((seconds - EPOCH as f64) / 86_400.0).floor();
        let (place, within) = self.place(seconds);
        let whole = self.taken.last().copied().unwrap_or_default();
        days * whole + self.taken[place] + self.watts[place].max(0.0) * within
    }

    fn level(&self, watts: f64) -> LineLevel {
        let angle = self.angle.to_radians();
        let fundamental = watts / (self.voltage_v * angle.cos());
        LineLevel {
            voltage_v: self.voltage_v,
            current_a: fundamental.abs() * RMS_OF_FUNDAMENTAL,
            active_w: watts,
            reactive_var: self.voltage_v * fundamental * angle.sin(),
        }
    }

    /// Voltage and current at a place in the cycle, in V and mA; `cycles` counts cycles of the mains.
    pub(super) fn moment(&self, cycles: f64, level: &LineLevel) -> (f64, f64) {
        let angle = 2.0 * PI * cycles.fract() + self.offset.to_radians();
        let behind = angle - self.angle.to_radians();
        let voltage = SQRT_2 * level.voltage_v * angle.sin();
        let amplitude = SQRT_2 * 1000.0 * level.current_a / RMS_OF_FUNDAMENTAL;
        let sign = if level.active_w < 0.0 { -1.0 } else { 1.0 };
        let shape = behind.sin() + THIRD * (3.0 * behind).sin() + FIFTH * (5.0 * behind).sin();
        (voltage, sign * amplitude * shape)
    }
}

/// Of the current, against its fundamental.
const THIRD: f64 = 0.2;
const FIFTH: f64 = 0.07;
/// The RMS of a current whose fundamental has an RMS of 1: sqrt(1 + 0.2² + 0.07²).
const RMS_OF_FUNDAMENTAL: f64 = 1.022_203_502_244_049_2;
/// Of a day.
const MINUTES: u32 = 24 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moments_have_the_rms_and_the_power_of_the_level() {
        let house = House::new(3);
        let mains = Mains::of_house(SmartKind::SmartMeter, &house, 0);
        // At noon the sun gives more than the first line takes.
        let levels = mains.at(EPOCH as f64 + 12.2 * 3600.0);
        assert!(levels[0].active_w < 0.0 && levels[1].active_w > 0.0, "{levels:?}");
        for (load, level) in mains.loads.iter().zip(&levels) {
            let (mut vv, mut ii, mut vi) = (0.0, 0.0, 0.0);
            for n in 0..160 {
                let (v, i) = load.moment(f64::from(n) / 160.0, level);
                (vv, ii, vi) = (vv + v * v / 160.0, ii + i * i / 160.0, vi + v * i / 160.0);
            }
            assert!((vv.sqrt() - level.voltage_v).abs() < 1e-6);
            assert!((ii.sqrt() / 1000.0 - level.current_a).abs() < 1e-9, "{level:?}");
            assert!((vi / 1000.0 - level.active_w).abs() < 1e-6, "{level:?}");
        }
    }

    #[test]
    fn what_was_taken_is_the_power_added_up() {
        let mains = Mains::of_house(SmartKind::PowerMeter, &House::new(3), 4);
        let begin = EPOCH as f64 + 3.0 * 86_400.0 + 23.5 * 3600.0;
        let sum: f64 = (0..3600)
            .map(|second| mains.at(begin + f64::from(second))[0].active_w.max(0.0) / 3600.0)
            .sum();
        let taken = mains.taken_wh(begin, begin + 3600.0)[0];
        assert!((sum - taken).abs() < 1e-6, "{sum} {taken}");
    }
}
