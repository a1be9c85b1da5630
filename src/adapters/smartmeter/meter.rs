//! One SmartMeter or PowerMeter: from what was measured to readings, with the state that outlives the
//! process.

mod limits;
mod scaled;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::scaled::{factors, scaled};
use super::counted::{self, Counted, PerChannel};
use super::measured::{Energy, Frame, Line, Measured, Presence};
use super::sensors::{self, CHANNELS, Known, PROBE};
use super::unit::{EnergyUnit, Evidence};
use crate::adapters::fleet::{self, Heard, Kept, MeterSettings, Standing};
use crate::config::meter::Kind;
use crate::model::{
    Channel, Correction, Device, Make, Milli, Model, Quantity, Reading, ReadingSet, Sensor,
    Timestamp, Value,
};

/// A meter that has been heard at least once.
#[derive(Debug)]
pub(crate) struct Meter {
    settings: MeterSettings,
    standing: Standing,
    model: Model,
    device: Arc<Device>,
    state: MeterState,
    past: Vec<Arc<ReadingSet>>,
    relay: Option<bool>,
    relay_is_news: bool,
    changed: bool,
    evidence: Evidence,
    /// The greatest power of each channel since its energy was told last, W.
    peaks: PerChannel,
    /// When a jump of each channel's energy was told.
    told: [Option<Timestamp>; 4],
}

/// What must survive a restart so that totals go on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct MeterState {
    known: Known,
    counted: Counted,
    /// The unit of the energy in its messages, by its firmware or found out.
    unit: Option<EnergyUnit>,
}

impl fleet::Meter for Meter {
    const MAKE: Make = Make::Smartmeter;
    const KIND: Kind = Kind::Smartmeter;
    type Frame = Frame;
    /// The name that it has given itself.
    type Key = Arc<str>;
    type State = MeterState;

    fn key(frame: &Frame) -> Arc<str> {
        Arc::clone(&frame.serial)
    }

    fn serial(frame: &Frame) -> Arc<str> {
        Arc::clone(&frame.serial)
    }

    fn model(frame: &Frame) -> Model {
        frame.model
    }

    fn begin(
        frame: &Frame,
        _at: Timestamp,
        settings: MeterSettings,
        standing: Standing,
        kept: Option<Kept<MeterState>>,
    ) -> Meter {
        let state = match kept {
            Some(Kept::Same(state)) => state,
            Some(Kept::Handed(other)) => MeterState {
                known: other.known,
                counted: Counted::going_on_from(other.counted),
                unit: None,
            },
            None => MeterState::default(),
        };
        let device = sensors::device(&frame.serial, frame.model, &settings, standing, state.known);
        Meter {
            settings,
            standing,
            model: frame.model,
            device: Arc::new(device),
            state,
            past: Vec::new(),
            relay: None,
            relay_is_news: false,
            changed: true,
            evidence: Evidence::default(),
            peaks: [None; 4],
            told: [None; 4],
        }
    }

    fn hear(&mut self, frame: &Frame, at: Timestamp) -> Heard {
        self.note_relay(frame.relay);
        self.changed |= frame.now.is_some() || !frame.past.is_empty();
        let before = (self.state.known, self.model);
        // What a message looks like is a guess, what a meter says of itself is not.
        if !frame.on_our_broker {
            self.model = frame.model;
        }
        if frame.message_unit.is_some() {
            self.state.unit = frame.message_unit;
        }
        let (mut corrections, mut counts) = (Vec::new(), Vec::with_capacity(frame.past.len()));
        let past: Vec<(Timestamp, Measured)> =
            frame.past.iter().map(|(at, one)| (*at, scaled(one, &self.settings))).collect();
        for (_, measured) in &past {
            self.state.known.note(measured);
            counts.push(self.count_flow(measured, at, &mut corrections));
        }
        let now = frame.now.as_ref().map(|now| scaled(now, &self.settings));
        let now = now.map(|measured| {
            self.state.known.note(&measured);
            self.note_peaks(&measured);
            let counted = self.count(&measured, at, &mut corrections);
            (measured, counted)
        });
        self.note_totals();
        if before != (self.state.known, self.model) {
            self.describe();
        }
        let sets = past.iter().zip(counts);
        self.past = sets
            .map(|((at, measured), totals)| Arc::new(self.readings(measured, *at, &totals)))
            .collect();
        let nothing = (Measured::default(), [(None, None); 4]);
        let (measured, totals) = now.unwrap_or(nothing);
        let set = Arc::new(self.readings(&measured, at, &totals));
        Heard { set, earlier: Vec::new(), corrections }
    }

    fn configure(&mut self, settings: MeterSettings, standing: Standing) {
        (self.settings, self.standing) = (settings, standing);
        self.changed = true;
        self.describe();
    }

    fn device(&self) -> &Arc<Device> {
        &self.device
    }

    fn settings(&self) -> &MeterSettings {
        &self.settings
    }

    fn state(&self) -> &MeterState {
        &self.state
    }

    fn presence(frame: &Frame) -> Presence {
        frame.presence
    }

    fn take_past(&mut self) -> Vec<Arc<ReadingSet>> {
        std::mem::take(&mut self.past)
    }

    fn take_relay(&mut self) -> Option<bool> {
        self.relay.filter(|_| std::mem::take(&mut self.relay_is_news))
    }

    fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

/// What each channel has taken and given back, where this measurement told of it.
type Totals = [(Option<Milli>, Option<Milli>); 4];

impl Meter {
    fn describe(&mut self) {
        let serial = Arc::clone(&self.device.serial);
        let (settings, standing) = (&self.settings, self.standing);
        let device = sensors::device(&serial, self.model, settings, standing, self.state.known);
        self.device = Arc::new(device);
    }

    fn note_relay(&mut self, relay: Option<bool>) {
        if relay.is_some() && relay != self.relay {
            (self.relay, self.relay_is_news) = (relay, true);
        }
    }

    fn note_peaks(&mut self, measured: &Measured) {
        let lines = std::iter::once(&measured.whole).chain(&measured.lines);
        for (peak, line) in self.peaks.iter_mut().zip(lines) {
            if let Some(power) = line.active_w {
                *peak = Some(peak.unwrap_or(0.0).max(power));
            }
        }
    }

    fn note_totals(&mut self) {
        for place in 0..CHANNELS.len() {
            let (taken, given) = self.state.counted.totals(place);
            self.state.known.note_totals(place, taken.is_some(), given.is_some());
        }
    }

    /// Moves the counters on.
    fn count(
        &mut self,
        measured: &Measured,
        at: Timestamp,
        corrections: &mut Vec<Correction>,
    ) -> Totals {
        let Some(energy) = &measured.energy else { return [(None, None); 4] };
        self.find_unit(energy, measured.whole.active_w, at);
        let unit = match energy {
            Energy::Message { unit, .. } => unit.or(self.state.unit),
            _ => None,
        };
        let Some((source, wh)) = counted::told(energy, unit) else {
            return self.count_flow(measured, at, corrections);
        };
        let factors = factors(&self.settings);
        let limits = self.limits(source, at, factors);
        let steps = self.state.counted.total(source, wh, at, limits, factors);
        let mut totals = [(None, None); 4];
        for (place, step) in steps.into_iter().enumerate() {
            let Some(step) = step else { continue };
            self.peaks[place] = None;
            totals[place] = (self.state.counted.totals(place).0, None);
            let correction =
                step.and_then(|step| step.correction(&self.device, CHANNELS[place], "energy"));
            corrections.extend(correction.filter(|one| self.is_worth_telling(place, one, at)));
        }
        totals
    }

    /// Adds integrated powers, where the measurement has some and nobody counts better.
    fn count_flow(
        &mut self,
        measured: &Measured,
        at: Timestamp,
        corrections: &mut Vec<Correction>,
    ) -> Totals {
        let mut totals = [(None, None); 4];
        let Some(Energy::Flowed { whole_wh, lines_wh }) = measured.energy else { return totals };
        let factors = factors(&self.settings);
        let [a, b, c] = lines_wh;
        if let Some(jump) = self.flows_too_much([whole_wh, a, b, c], at, factors) {
            corrections.extend(Some(jump).filter(|one| self.is_worth_telling(0, one, at)));
            return totals;
        }
        if self.state.counted.flow(whole_wh, lines_wh, at, factors) {
            let flows = std::iter::once(whole_wh).chain(lines_wh);
            for ((place, one), flow) in totals.iter_mut().enumerate().zip(flows) {
                if flow.is_some() {
                    *one = self.state.counted.totals(place);
                }
            }
        }
        totals
    }

    fn find_unit(&mut self, energy: &Energy, power: Option<f64>, at: Timestamp) {
        let Energy::Message { whole, unit: None, .. } = *energy else { return };
        // Firmware 1 may be replaced by a newer one, never the other way.
        if self.state.unit == Some(EnergyUnit::WattHour) {
            return;
        }
        let Some(power) = power else { return };
        let found = self.evidence.take(at, power, whole);
        if let Some(unit) = found.filter(|_| found != self.state.unit) {
            self.state.unit = found;
            let in_words = match unit {
                EnergyUnit::WattHour => "Wh",
                EnergyUnit::KilowattHour => "kWh",
            };
            tracing::info!(
                meter = %self.device.name,
                unit = in_words,
                "the unit of its energy was found out by its power: from here on it counts"
            );
        }
    }

    fn readings(&self, measured: &Measured, at: Timestamp, totals: &Totals) -> ReadingSet {
        let device = Arc::clone(&self.device);
        let mut readings = Vec::with_capacity(device.sensors.len());
        for (place, sensor) in (0..).zip(&device.sensors) {
            let counter = counter(sensor, totals).filter(|_| sensor.counter.is_some());
            let gauge = gauge(sensor, measured).and_then(Milli::from_f64);
            let values = counter.map(Value::Counter).into_iter().chain(gauge.map(Value::Gauge));
            readings.extend(values.map(|value| Reading { sensor: place, value }));
        }
        ReadingSet { device, at, pulses: [None; 4], readings }
    }
}

fn counter(sensor: &Sensor, totals: &Totals) -> Option<Milli> {
    let place = CHANNELS.iter().position(|channel| *channel == sensor.channel)?;
    match sensor.quantity {
        Quantity::PPlus => totals[place].0,
        Quantity::PMinus => totals[place].1,
        _ => None,
    }
}

/// In the sensor's unit.
fn gauge(sensor: &Sensor, measured: &Measured) -> Option<f64> {
    let line = match sensor.channel {
        Channel::Line => &measured.whole,
        Channel::L(n) => measured.lines.get(usize::from(n).checked_sub(1)?)?,
        PROBE => return measured.temperature_c,
        _ => return None,
    };
    match sensor.quantity {
        Quantity::PPlus => line.active_w.map(|power| power.max(0.0)),
        Quantity::PMinus => line.active_w.map(|power| (-power).max(0.0)),
        Quantity::Q1 => quadrant(line, false, false),
        Quantity::Q2 => quadrant(line, true, false),
        Quantity::Q3 => quadrant(line, true, true),
        Quantity::Q4 => quadrant(line, false, true),
        Quantity::Apparent => line.apparent_va,
        Quantity::Vrms => line.voltage_v,
        Quantity::Irms => line.current_a,
        Quantity::Pf => line.power_factor,
        Quantity::Frequency => measured.frequency_hz,
        _ => None,
    }
}

/// The reactive power where it is of this quadrant, else 0: whether active power is given back, and
/// whether the current leads.
fn quadrant(line: &Line, given: bool, leads: bool) -> Option<f64> {
    let reactive = line.reactive_var?;
    let is_it = (line.active_w.unwrap_or(0.0) < 0.0, reactive < 0.0) == (given, leads);
    Some(if is_it { reactive.abs() } else { 0.0 })
}

#[cfg(test)]
mod tests;
