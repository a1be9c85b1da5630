//! Which sensors a Brultech meter has: a pure function of its model and configuration.

use std::sync::Arc;

use meter_protocols::brultech::Format;

use crate::adapters::fleet::{ChannelSettings, MeterSettings, Standing};
use crate::model::{Channel, Device, Make, Model, Quantity, Sensor, SensorId, SensorType, Unit};

/// Clamps of a GEM. The 48-channel formats carry uninitialised memory above these unless an
/// expansion board is there.
pub(super) const GEM_CLAMPS: usize = 32;

/// What of a meter's inputs is known to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inputs {
    pub(super) model: Model,
    /// The meter tells the direction of energy.
    pub(super) direction: bool,
    /// Bit n: probe n + 1 has given a temperature at least once.
    pub(super) temperatures: u8,
}

/// The model that sends this format.
pub(super) fn model(format: Format) -> Model {
    match format {
        Format::Ecm1220 => Model::Ecm1220,
        Format::Ecm1240 => Model::Ecm1240,
        _ => Model::Gem,
    }
}

/// Clamps with an absolute counter of their own.
pub(super) fn clamps(model: Model) -> usize {
    match model {
        Model::Gem => GEM_CLAMPS,
        // Whatever of the make is no GEM is an ECM.
        _ => 2,
    }
}

/// The meter with all its sensors.
pub(super) fn device(
    serial: &str,
    settings: &MeterSettings,
    standing: Standing,
    inputs: Inputs,
) -> Device {
    let identity = settings.identity(serial);
    let mut list = List { identity, settings, sensors: Vec::new() };
    for n in 1..=clamps(inputs.model) as u8 {
        list.clamp(Channel::Ch(n), inputs.direction);
    }
    if inputs.model == Model::Ecm1240 {
        (1..=5).for_each(|n| list.push(Channel::Aux(n), Quantity::PPlus));
    }
    list.push(Channel::Line, Quantity::Vrms);
    if inputs.model == Model::Gem {
        (1..=4).for_each(|n| list.push(Channel::Pulse(n), Quantity::Pulse));
        (0..8)
            .filter(|bit| inputs.temperatures & 1 << bit != 0)
            .for_each(|bit| list.push(Channel::T(bit + 1), Quantity::Temperature));
    }
    settings.device(Make::Brultech, inputs.model, serial, standing, list.sensors)
}

struct List<'a> {
    identity: &'a str,
    settings: &'a MeterSettings,
    sensors: Vec<Sensor>,
}

impl List<'_> {
    fn clamp(&mut self, channel: Channel, direction: bool) {
        let both_ways = self.settings.channel(channel).role.counts_both_ways();
        self.push(channel, Quantity::PPlus);
        if both_ways && direction {
            self.push(channel, Quantity::PMinus);
        }
        self.push(channel, Quantity::Irms);
    }

    fn push(&mut self, channel: Channel, quantity: Quantity) {
        let settings = self.settings.channel(channel);
        let (kind, gauge, counter) = shape(quantity, settings);
        let is_main = matches!(quantity, Quantity::PPlus | Quantity::Pulse | Quantity::Temperature);
        let overriding = settings.id.filter(|_| is_main);
        let name = settings.name.clone().unwrap_or_else(|| Arc::from(channel.to_string()));
        let derived = || SensorId::derive(Make::Brultech, self.identity, channel, quantity);
        self.sensors.push(Sensor {
            id: overriding.unwrap_or_else(derived),
            channel,
            quantity,
            kind,
            name,
            role: settings.role,
            gauge,
            counter,
            constant: (quantity == Quantity::Pulse).then_some(settings.constant_milli()).flatten(),
            own: None,
        });
    }
}

/// Medium, unit of the gauge, unit of the counter.
fn shape(
    quantity: Quantity,
    settings: &ChannelSettings,
) -> (SensorType, Option<Unit>, Option<Unit>) {
    match quantity {
        Quantity::Pulse => {
            let kind = settings.pulse_kind();
            (kind, kind.rate_unit(), Some(kind.total_unit()))
        }
        Quantity::Temperature => (SensorType::Temperature, quantity.gauge_unit(), None),
        _ => (SensorType::Electricity, quantity.gauge_unit(), quantity.counter_unit()),
    }
}
