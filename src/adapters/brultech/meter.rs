//! One Brultech meter: from packets to readings, with the state that outlives the process.

mod state;

use std::sync::Arc;

use meter_protocols::brultech::Packet;

use super::kept::Kept;
use super::pulses::PulseInput;
use super::sensors::{self, Inputs};
use super::settings::{MeterSettings, Standing};
use crate::model::{
    Channel, Correction, Device, Elapsed, Milli, Quantity, Reading, ReadingSet, Sensor, Timestamp,
    Value,
};

pub(super) use self::state::MeterState;
use self::state::Steps;

/// A meter that has been heard at least once.
#[derive(Debug)]
pub(super) struct Meter {
    settings: MeterSettings,
    standing: Standing,
    inputs: Inputs,
    device: Arc<Device>,
    state: MeterState,
    /// The state was made from the packet that is heard first, not kept from before.
    fresh: bool,
}

/// What one packet gave.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) set: Arc<ReadingSet>,
    pub(super) corrections: Vec<Correction>,
}

impl Meter {
    /// A meter heard for the first time since the start. `packet` is not taken yet; `kept` is the
    /// state that an earlier run left.
    pub(super) fn new(
        packet: &Packet,
        at: Timestamp,
        settings: MeterSettings,
        standing: Standing,
        kept: Option<Kept>,
    ) -> Meter {
        let model = sensors::model(packet.format);
        let (mut state, fresh) = match kept {
            Some(Kept::Same(state)) if state.fits(model) => (state, false),
            Some(Kept::Handed(state)) => {
                (MeterState::taken_over(state, packet, at, &settings), true)
            }
            _ => (MeterState::first(packet, at, &settings), true),
        };
        for (input, n) in state.pulses.iter_mut().zip(1..) {
            input.adopt(settings.channel(Channel::Pulse(n)));
        }
        let inputs = state.inputs(model);
        let device = sensors::device(&packet.serial(), &settings, standing, inputs);
        Meter { settings, standing, inputs, device: Arc::new(device), state, fresh }
    }

    /// Takes other settings; totals go on, and whatever is read otherwise is so from the next
    /// packet on.
    pub(super) fn configure(&mut self, settings: MeterSettings, standing: Standing) {
        for (input, n) in self.state.pulses.iter_mut().zip(1..) {
            input.adopt(settings.channel(Channel::Pulse(n)));
        }
        (self.settings, self.standing) = (settings, standing);
        let serial = Arc::clone(&self.device.serial);
        let device = sensors::device(&serial, &self.settings, self.standing, self.inputs);
        self.device = Arc::new(device);
    }

    /// The meter as it is now.
    pub(super) fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// What is configured for it.
    pub(super) fn settings(&self) -> &MeterSettings {
        &self.settings
    }

    /// What must be kept.
    pub(super) fn state(&self) -> &MeterState {
        &self.state
    }

    /// Takes a packet that arrived at `at`.
    pub(super) fn hear(&mut self, packet: &Packet, at: Timestamp) -> Heard {
        let mut steps = Steps { meter: &self.device, corrections: Vec::new() };
        let elapsed = if std::mem::take(&mut self.fresh) {
            Elapsed::SameSecond
        } else {
            self.state.advance(packet, at, &self.settings, &mut steps)
        };
        let corrections = steps.corrections;
        self.state.arrived = at;
        self.state.note_temperatures(packet);
        let inputs = self.state.inputs(self.inputs.model);
        if inputs != self.inputs {
            // An input has shown itself that was not known before.
            self.inputs = inputs;
            let serial = Arc::clone(&self.device.serial);
            self.device = Arc::new(sensors::device(&serial, &self.settings, self.standing, inputs));
        }
        let seconds = match elapsed {
            Elapsed::Seconds { seconds, .. } => Some(seconds),
            Elapsed::SameSecond | Elapsed::Restarted => None,
        };
        let set = self.readings(packet, at, seconds);
        Heard { set: Arc::new(set), corrections }
    }

    fn readings(&mut self, packet: &Packet, at: Timestamp, seconds: Option<u32>) -> ReadingSet {
        let device = Arc::clone(&self.device);
        let mut readings = Vec::with_capacity(device.sensors.len() * 2);
        let mut power = None;
        for (place, sensor) in device.sensors.iter().enumerate() {
            let (counter, gauge) = self.sensor(sensor, packet, seconds, &mut power);
            let sensor = place as u16;
            readings.extend(counter.map(|value| Reading { sensor, value: Value::Counter(value) }));
            readings.extend(gauge.map(|value| Reading { sensor, value: Value::Gauge(value) }));
        }
        let mut pulses = [None; 4];
        for (count, input) in pulses.iter_mut().zip(&self.state.pulses) {
            *count = Some(input.count());
        }
        ReadingSet { device, at, pulses, readings }
    }

    /// Counter and gauge of one sensor. `power` carries the power given back from a clamp's first
    /// sensor to its second.
    fn sensor(
        &mut self,
        sensor: &Sensor,
        packet: &Packet,
        seconds: Option<u32>,
        power_given: &mut Option<Milli>,
    ) -> (Option<Milli>, Option<Milli>) {
        let settings = self.settings.channel(sensor.channel);
        match (sensor.channel, sensor.quantity) {
            (Channel::Ch(_) | Channel::Aux(_), Quantity::PPlus) => {
                let Some(clamp) = self.state.clamp(sensor.channel) else { return (None, None) };
                let power = seconds.map(|seconds| clamp.power(seconds, settings));
                *power_given = power.and_then(|power| power.given);
                (Some(clamp.taken()), power.and_then(|power| power.taken))
            }
            (Channel::Ch(_), Quantity::PMinus) => {
                let given = self.state.clamp(sensor.channel).map(|clamp| clamp.given());
                (given, power_given.take())
            }
            (Channel::Ch(n), Quantity::Irms) => {
                let amps = packet.amps(usize::from(n) - 1) * settings.multiplier;
                (None, Milli::from_f64(amps))
            }
            (Channel::Line, Quantity::Vrms) => (None, Milli::from_f64(packet.volts())),
            (Channel::Pulse(n), Quantity::Pulse) => {
                let input = self.state.pulses.get(usize::from(n) - 1);
                (input.map(PulseInput::total), input.and_then(PulseInput::rate))
            }
            (Channel::T(n), Quantity::Temperature) => {
                let degrees = packet.temperature(usize::from(n) - 1);
                (None, degrees.and_then(|degrees| Milli::from_f64(self.celsius(degrees))))
            }
            _ => (None, None),
        }
    }

    fn celsius(&self, degrees: f64) -> f64 {
        if self.settings.fahrenheit { (degrees - 32.0) / 1.8 } else { degrees }
    }
}

#[cfg(test)]
mod tests;
