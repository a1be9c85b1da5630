//! Which sensors a meter has: a pure function of what it has ever told and of its configuration.

use serde::{Deserialize, Serialize};

use super::measured::{Line, Measured};
use crate::adapters::fleet::{MeterSettings, Standing};
use crate::model::{
    Channel, Device, Make, Model, Quantity, Role, Sensor, SensorId, SensorType, Unit,
};

/// The channels in the order of everything that is kept of each: the whole, then the lines.
pub(super) const CHANNELS: [Channel; 4] =
    [Channel::Line, Channel::L(1), Channel::L(2), Channel::L(3)];

/// The temperature of a plug's sensor board.
pub(super) const PROBE: Channel = Channel::T(1);

/// What a meter is known to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Known {
    channels: [Told; 4],
    others: Others,
}

/// What it tells beside its channels. A byte on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Others(u8);

impl Others {
    const FREQUENCY: u8 = 1;
    const TEMPERATURE: u8 = 2;

    fn note(&mut self, which: u8, is_told: bool) {
        self.0 |= if is_told { which } else { 0 };
    }

    fn has(self, which: u8) -> bool {
        self.0 & which != 0
    }
}

/// What it tells of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Told {
    active: bool,
    reactive: bool,
    apparent: bool,
    voltage: bool,
    current: bool,
    factor: bool,
    taken: bool,
    given: bool,
}

impl Known {
    /// Adds what this measurement has.
    pub(super) fn note(&mut self, measured: &Measured) {
        self.others.note(Others::FREQUENCY, measured.frequency_hz.is_some());
        self.others.note(Others::TEMPERATURE, measured.temperature_c.is_some());
        let lines = std::iter::once(&measured.whole).chain(&measured.lines);
        for (told, line) in self.channels.iter_mut().zip(lines) {
            told.note(line);
        }
    }

    /// Adds that a channel of [`CHANNELS`] has totals: of what was taken, and of what was given back.
    pub(super) fn note_totals(&mut self, place: usize, taken: bool, given: bool) {
        if let Some(told) = self.channels.get_mut(place) {
            told.taken |= taken;
            told.given |= given;
        }
    }
}

impl Told {
    fn note(&mut self, line: &Line) {
        self.active |= line.active_w.is_some();
        self.reactive |= line.reactive_var.is_some();
        self.apparent |= line.apparent_va.is_some();
        self.voltage |= line.voltage_v.is_some();
        self.current |= line.current_a.is_some();
        self.factor |= line.power_factor.is_some();
    }

    /// Quantities with the units of gauge and counter. A plug's power is never negative.
    fn quantities(self, model: Model) -> impl Iterator<Item = (Quantity, Units)> {
        let gauge = |there: bool, quantity: Quantity| {
            let units = (quantity.gauge_unit(), None);
            there.then_some((quantity, units))
        };
        let watts = |there: bool, counts: bool, quantity| {
            let units = (there.then_some(Unit::Watt), counts.then_some(Unit::WattHour));
            (there || counts).then_some((quantity, units))
        };
        let both_ways = model != Model::Powermeter;
        [
            watts(self.active, self.taken, Quantity::PPlus),
            watts(self.active && both_ways, self.given && both_ways, Quantity::PMinus),
            gauge(self.reactive, Quantity::Q1),
            gauge(self.reactive, Quantity::Q2),
            gauge(self.reactive, Quantity::Q3),
            gauge(self.reactive, Quantity::Q4),
            gauge(self.apparent, Quantity::Apparent),
            gauge(self.voltage, Quantity::Vrms),
            gauge(self.current, Quantity::Irms),
            gauge(self.factor, Quantity::Pf),
        ]
        .into_iter()
        .flatten()
    }
}

/// Of gauge and counter.
type Units = (Option<Unit>, Option<Unit>);

/// The meter with all its sensors.
pub(super) fn device(
    serial: &str,
    model: Model,
    settings: &MeterSettings,
    standing: Standing,
    known: Known,
) -> Device {
    let mut sensors = Vec::new();
    for (channel, told) in CHANNELS.into_iter().zip(known.channels) {
        let frequency = (known.others.has(Others::FREQUENCY) && channel == Channel::Line)
            .then_some((Quantity::Frequency, (Some(Unit::Hertz), None)));
        let quantities = told.quantities(model).chain(frequency);
        sensors.extend(
            quantities.map(|(quantity, units)| sensor(serial, settings, channel, quantity, units)),
        );
    }
    if known.others.has(Others::TEMPERATURE) {
        let gauge = (Quantity::Temperature.gauge_unit(), None);
        let probe = sensor(serial, settings, PROBE, Quantity::Temperature, gauge);
        sensors.push(Sensor { kind: SensorType::Temperature, role: Role::Load, ..probe });
    }
    settings.device(Make::Smartmeter, model, serial, standing, sensors)
}

fn sensor(
    serial: &str,
    settings: &MeterSettings,
    channel: Channel,
    quantity: Quantity,
    (gauge, counter): Units,
) -> Sensor {
    let own = settings.channel(channel);
    let is_main = matches!(quantity, Quantity::PPlus | Quantity::Temperature);
    let derived =
        || SensorId::derive(Make::Smartmeter, settings.identity(serial), channel, quantity);
    Sensor {
        id: own.id.filter(|_| is_main).unwrap_or_else(derived),
        channel,
        quantity,
        kind: SensorType::Electricity,
        name: own.name.clone().unwrap_or_else(|| channel.to_string().into()),
        role: role(settings, channel),
        gauge,
        counter,
        constant: None,
        own: None,
    }
}

/// A line is for what the whole meter is for, unless something else is said of it.
fn role(settings: &MeterSettings, channel: Channel) -> Role {
    match settings.channel(channel).role {
        Role::Load => settings.channel(Channel::Line).role,
        role => role,
    }
}
