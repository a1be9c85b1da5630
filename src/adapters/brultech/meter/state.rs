//! The counters of one meter, and what they do from packet to packet.

use std::sync::Arc;

use meter_protocols::brultech::{ENERGY_MODULUS, Format, Packet, SECONDS_MODULUS};
use serde::{Deserialize, Serialize};

use crate::adapters::brultech::flow::{Clamp, RawClamp};
use crate::adapters::brultech::pulses::PulseInput;
use crate::adapters::brultech::sensors::{self, Inputs};
use crate::adapters::fleet::MeterSettings;
use crate::model::{
    Advance, Channel, Correction, CorrectionKind, Device, Elapsed, Model, Seconds, Timestamp,
};

/// What must survive a restart so that totals go on from the meter's counters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MeterState {
    pub(super) arrived: Timestamp,
    seconds: Seconds,
    reset_count: u8,
    clamps: Vec<Clamp>,
    aux: Vec<Clamp>,
    pub(super) pulses: Vec<PulseInput>,
    temperatures: u8,
}

impl MeterState {
    pub(super) fn first(packet: &Packet, at: Timestamp, settings: &MeterSettings) -> MeterState {
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
    pub(super) fn taken_over(
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
    pub(super) fn fits(&self, model: Model) -> bool {
        let aux = if model == Model::Ecm1240 { 5 } else { 0 };
        let pulses = if model == Model::Gem { 4 } else { 0 };
        self.clamps.len() == sensors::clamps(model)
            && self.aux.len() == aux
            && self.pulses.len() == pulses
    }

    pub(super) fn inputs(&self, model: Model) -> Inputs {
        let direction = self.clamps.first().is_some_and(Clamp::has_direction);
        Inputs { model, direction, temperatures: self.temperatures }
    }

    pub(super) fn clamp(&mut self, channel: Channel) -> Option<&mut Clamp> {
        match channel {
            Channel::Ch(n) => self.clamps.get_mut(usize::from(n) - 1),
            Channel::Aux(n) => self.aux.get_mut(usize::from(n) - 1),
            _ => None,
        }
    }

    pub(super) fn note_temperatures(&mut self, packet: &Packet) {
        if !packet.format.is_ecm() {
            for probe in 0..8 {
                let present = packet.temperature(probe).is_some();
                self.temperatures |= u8::from(present) << probe;
            }
        }
    }

    /// Moves every counter on. Returns the time by the meter's own clock.
    pub(super) fn advance(
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
pub(super) struct Steps<'a> {
    pub(super) meter: &'a Device,
    pub(super) corrections: Vec<Correction>,
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
