//! One Brultech meter: from packets to readings, with the state that outlives the process.

mod state;

use std::sync::Arc;

use meter_protocols::brultech::Packet;

use super::pulses::PulseInput;
use super::sensors::{self, Inputs};
use crate::adapters::fleet::{self, Heard, Kept, MeterSettings, Standing};
use crate::config::meter::Kind;
use crate::model::{
    Channel, Device, Elapsed, Make, Milli, Model, Quantity, Reading, ReadingSet, Sensor, Timestamp,
    Value,
};

use self::state::{MeterState, Steps};

/// A meter that has been heard at least once.
#[derive(Debug)]
pub(crate) struct Meter {
    settings: MeterSettings,
    standing: Standing,
    inputs: Inputs,
    device: Arc<Device>,
    state: MeterState,
    /// The state was made from the packet that is heard first, not kept from before.
    fresh: bool,
}

impl fleet::Meter for Meter {
    const MAKE: Make = Make::Brultech;
    const KIND: Kind = Kind::Brultech;
    type Frame = Packet;
    /// Kind, unit id and serial number.
    type Key = (bool, u8, u16);
    type State = MeterState;

    fn key(packet: &Packet) -> (bool, u8, u16) {
        (packet.format.is_ecm(), packet.unit_id, packet.serial_number)
    }

    fn serial(packet: &Packet) -> Arc<str> {
        packet.serial().into()
    }

    fn model(packet: &Packet) -> Model {
        sensors::model(packet.format)
    }

    fn begin(
        packet: &Packet,
        at: Timestamp,
        settings: MeterSettings,
        standing: Standing,
        kept: Option<Kept<MeterState>>,
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

    fn configure(&mut self, settings: MeterSettings, standing: Standing) {
        for (input, n) in self.state.pulses.iter_mut().zip(1..) {
            input.adopt(settings.channel(Channel::Pulse(n)));
        }
        (self.settings, self.standing) = (settings, standing);
        let serial = Arc::clone(&self.device.serial);
        let device = sensors::device(&serial, &self.settings, self.standing, self.inputs);
        self.device = Arc::new(device);
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

    fn hear(&mut self, packet: &Packet, at: Timestamp) -> Heard {
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
        Heard { set: Arc::new(set), earlier: Vec::new(), corrections }
    }
}

impl Meter {
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
                (input.map(PulseInput::total), None)
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
