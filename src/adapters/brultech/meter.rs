//! One Brultech meter: from packets to readings, with the state that outlives the process.

use std::sync::Arc;

use meter_protocols::brultech::{ENERGY_MODULUS, Format, Packet, SECONDS_MODULUS};
use serde::{Deserialize, Serialize};

use super::flow::{Clamp, RawClamp};
use super::pulses::PulseInput;
use super::sensors::{self, Inputs};
use super::settings::{MeterSettings, Standing};
use crate::model::{
    Advance, Channel, Correction, CorrectionKind, Device, Elapsed, Milli, Model, Quantity, Reading,
    ReadingSet, Seconds, Sensor, Timestamp, Value,
};

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

/// What must survive a restart so that totals go on from the meter's counters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct MeterState {
    arrived: Timestamp,
    seconds: Seconds,
    reset_count: u8,
    clamps: Vec<Clamp>,
    aux: Vec<Clamp>,
    pulses: Vec<PulseInput>,
    temperatures: u8,
}

/// What an earlier packet left of a meter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kept {
    /// The counters go on from here.
    Same(MeterState),
    /// Another meter's: the totals go on from here, the counters begin with the next packet.
    Handed(MeterState),
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

impl MeterState {
    fn first(packet: &Packet, at: Timestamp, settings: &MeterSettings) -> MeterState {
        let model = sensors::model(packet.format);
        let clamp = |channel: Channel, raw| Clamp::new(raw, settings.channel(channel));
        let pulses = if model == Model::Gem { &packet.pulses[..] } else { &[] };
        MeterState {
            arrived: at,
            seconds: Seconds::new(SECONDS_MODULUS as u32, packet.seconds),
            reset_count: packet.reset_count(),
            clamps: raw_clamps(packet).map(|(channel, raw)| clamp(channel, raw)).collect(),
            aux: raw_aux(packet).map(|(channel, raw)| clamp(channel, raw)).collect(),
            pulses: pulses
                .iter()
                .zip(1..)
                .map(|(raw, n)| PulseInput::new(*raw, settings.channel(Channel::Pulse(n))))
                .collect(),
            temperatures: 0,
        }
    }

    /// The state of a meter that goes on in the place of another: the other's totals, and counters
    /// that begin with this packet. What only one of the two has ends or begins.
    fn taken_over(
        other: MeterState,
        packet: &Packet,
        at: Timestamp,
        settings: &MeterSettings,
    ) -> MeterState {
        let mut state = MeterState::first(packet, at, settings);
        let clamps = state.clamps.iter_mut().zip(other.clamps);
        for (clamp, other) in clamps.chain(state.aux.iter_mut().zip(other.aux)) {
            clamp.go_on_from(&other);
        }
        for (input, other) in state.pulses.iter_mut().zip(other.pulses) {
            input.go_on_from(other);
        }
        state
    }

    /// Whether this state was kept by the same model: a serial number can be given to another.
    fn fits(&self, model: Model) -> bool {
        let aux = if model == Model::Ecm1240 { 5 } else { 0 };
        let pulses = if model == Model::Gem { 4 } else { 0 };
        self.clamps.len() == sensors::clamps(model)
            && self.aux.len() == aux
            && self.pulses.len() == pulses
    }

    fn inputs(&self, model: Model) -> Inputs {
        let direction = self.clamps.first().is_some_and(Clamp::has_direction);
        Inputs { model, direction, temperatures: self.temperatures }
    }

    fn clamp(&mut self, channel: Channel) -> Option<&mut Clamp> {
        match channel {
            Channel::Ch(n) => self.clamps.get_mut(usize::from(n) - 1),
            Channel::Aux(n) => self.aux.get_mut(usize::from(n) - 1),
            _ => None,
        }
    }

    fn note_temperatures(&mut self, packet: &Packet) {
        if !packet.format.is_ecm() {
            for probe in 0..8 {
                let present = packet.temperature(probe).is_some();
                self.temperatures |= u8::from(present) << probe;
            }
        }
    }

    /// Moves every counter on. Returns the time by the meter's own clock.
    fn advance(
        &mut self,
        packet: &Packet,
        at: Timestamp,
        settings: &MeterSettings,
        steps: &mut Steps<'_>,
    ) -> Elapsed {
        let waited = at.since(self.arrived);
        let second_before = self.seconds.last();
        let elapsed = self.seconds.advance(packet.seconds, waited);
        let reset_before = std::mem::replace(&mut self.reset_count, packet.reset_count());
        let reset_by_count = packet.format.is_ecm() && reset_before != self.reset_count;

        // One second more than the clocks say: a packet may stand at the end of its second.
        let believed_seconds = match elapsed {
            Elapsed::Seconds { seconds, .. } => u64::from(seconds) + 1,
            Elapsed::SameSecond => 1,
            Elapsed::Restarted => waited.as_secs() + 60,
        };
        match elapsed {
            Elapsed::Restarted => {
                steps.note(None, "seconds", CorrectionKind::Reset, second_before, packet.seconds);
            }
            Elapsed::Seconds { wrapped: true, .. } => {
                steps.note(None, "seconds", CorrectionKind::Wrapped, second_before, packet.seconds);
            }
            _ => {}
        }
        // The seconds can be reset alone, and then energy counts on. Only when a channel fell
        // with them has the whole meter started again.
        let restarted = elapsed == Elapsed::Restarted && self.fell(packet);
        if reset_by_count || restarted {
            if reset_by_count {
                let after = self.reset_count;
                steps.note(None, "reset", CorrectionKind::Reset, reset_before, after);
            }
            self.restart(packet);
            return Elapsed::Restarted;
        }
        self.advance_counters(packet, believed_seconds, settings, steps);
        if elapsed == Elapsed::Restarted {
            self.clamps.iter_mut().chain(&mut self.aux).for_each(Clamp::begin_interval);
        }
        elapsed
    }

    fn advance_counters(
        &mut self,
        packet: &Packet,
        believed_seconds: u64,
        settings: &MeterSettings,
        steps: &mut Steps<'_>,
    ) {
        let limit = (settings.power_ceiling_w * believed_seconds as f64) as u64;
        for (channel, raw) in raw_clamps(packet).chain(raw_aux(packet)) {
            let channel_settings = settings.channel(channel);
            // The ceiling is meant for what is published; the meter's own counter is smaller or
            // larger by the multiplier.
            let limit = (limit as f64 / channel_settings.multiplier) as u64;
            let Some(clamp) = self.clamp(channel) else { continue };
            for step in clamp.advance(raw, limit, channel_settings).into_iter().flatten() {
                steps.take(channel, step.counter, step.advance, step.before, step.after);
            }
        }
        for ((input, raw), n) in self.pulses.iter_mut().zip(packet.pulses).zip(1..) {
            let channel = Channel::Pulse(n);
            let before = u64::from(input.last());
            let advance = input.advance(raw, believed_seconds, settings.channel(channel));
            steps.take(channel, "pulses", advance, before, raw.into());
        }
    }

    fn fell(&mut self, packet: &Packet) -> bool {
        raw_clamps(packet)
            .chain(raw_aux(packet))
            .any(|(channel, raw)| self.clamp(channel).is_some_and(|clamp| clamp.fell(raw)))
    }

    fn restart(&mut self, packet: &Packet) {
        for (channel, raw) in raw_clamps(packet).chain(raw_aux(packet)) {
            if let Some(clamp) = self.clamp(channel) {
                clamp.restart(raw);
            }
        }
        for (input, raw) in self.pulses.iter_mut().zip(packet.pulses) {
            input.restart(raw);
        }
    }
}

fn raw_clamps(packet: &Packet) -> impl Iterator<Item = (Channel, RawClamp)> {
    let count = sensors::clamps(sensors::model(packet.format));
    (0..count).zip(1_u8..).map(move |(place, n)| {
        let absolute = packet.absolute_watt_seconds[place];
        let polarized = packet.polarized().and_then(|all| all.get(place).copied());
        (Channel::Ch(n), RawClamp { absolute, polarized, modulus: ENERGY_MODULUS })
    })
}

fn raw_aux(packet: &Packet) -> impl Iterator<Item = (Channel, RawClamp)> {
    let count = if packet.format == Format::Ecm1240 { 5 } else { 0 };
    packet.aux_watt_seconds.into_iter().take(count).zip(1_u8..).map(|(raw, n)| {
        let modulus = meter_protocols::brultech::AUX_MODULUS;
        (Channel::Aux(n), RawClamp { absolute: raw.into(), polarized: None, modulus })
    })
}

/// Collects what the counters did that a user should know.
struct Steps<'a> {
    meter: &'a Device,
    corrections: Vec<Correction>,
}

impl Steps<'_> {
    fn take(
        &mut self,
        channel: Channel,
        counter: &'static str,
        advance: Advance,
        before: u64,
        after: u64,
    ) {
        let kind = match advance {
            Advance::Repeat | Advance::By(_) => return,
            Advance::Wrapped(_) => CorrectionKind::Wrapped,
            Advance::Reset => CorrectionKind::Reset,
            Advance::Jumped => CorrectionKind::Jumped,
            Advance::Recovered(_) => CorrectionKind::Recovered,
        };
        self.note(Some(channel), counter, kind, before, after);
    }

    fn note(
        &mut self,
        channel: Option<Channel>,
        counter: &'static str,
        kind: CorrectionKind,
        before: impl Into<u64>,
        after: impl Into<u64>,
    ) {
        self.corrections.push(Correction {
            name: Arc::clone(&self.meter.name),
            serial: Arc::clone(&self.meter.serial),
            channel,
            counter,
            kind,
            before: before.into(),
            after: after.into(),
        });
    }
}

#[cfg(test)]
mod tests;
