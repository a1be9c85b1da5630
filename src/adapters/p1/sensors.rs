//! Which sensors a smart meter has: a pure function of what it has ever told and of its configuration.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::mbus::Attached;
use super::measured::Measured;
use crate::adapters::fleet::{MeterSettings, Standing};
use crate::model::{
    Channel, Device, Make, Model, Quantity, Role, Sensor, SensorId, SensorType, Unit,
};

/// What of a meter's registers is known to be there, but for those of attached meters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Known {
    import: bool,
    export: bool,
    frequency: bool,
    current: bool,
    /// Taken, given back, voltage, current of each phase.
    phases: [[bool; 4]; 3],
}

impl Known {
    /// Adds what this telegram has.
    pub(super) fn note(&mut self, measured: &Measured) {
        self.import |= measured.import.or(measured.power_import).is_some();
        self.export |= measured.export.or(measured.power_export).is_some();
        self.frequency |= measured.frequency.is_some();
        self.current |= measured.current.is_some();
        for (known, phase) in self.phases.iter_mut().zip(&measured.phases) {
            let values = [phase.power_import, phase.power_export, phase.voltage, phase.current];
            for (known, value) in known.iter_mut().zip(values) {
                *known |= value.is_some();
            }
        }
    }
}

/// The quantities of a phase, in the order of [`Known::phases`].
const OF_A_PHASE: [Quantity; 4] =
    [Quantity::PPlus, Quantity::PMinus, Quantity::Vrms, Quantity::Irms];

/// The meter with all its sensors.
pub(super) fn device(
    serial: &str,
    settings: &MeterSettings,
    standing: Standing,
    known: Known,
    attached: &[Attached],
) -> Device {
    let identity = settings.identity(serial);
    let mut list = List { identity, settings, sensors: Vec::new() };
    for (there, quantity) in [
        (known.import, Quantity::PPlus),
        (known.export, Quantity::PMinus),
        (known.current, Quantity::Irms),
        (known.frequency, Quantity::Frequency),
    ] {
        if there {
            list.electric(Channel::Line, quantity);
        }
    }
    for (n, phase) in (1..).zip(known.phases) {
        for (there, quantity) in phase.into_iter().zip(OF_A_PHASE) {
            if there {
                list.electric(Channel::L(n), quantity);
            }
        }
    }
    attached.iter().for_each(|one| list.attached(one));
    settings.device(Make::P1, Model::P1, serial, standing, list.sensors)
}

struct List<'a> {
    identity: &'a str,
    settings: &'a MeterSettings,
    sensors: Vec<Sensor>,
}

impl List<'_> {
    fn electric(&mut self, channel: Channel, quantity: Quantity) {
        // The meter counts for all phases together.
        let counter = quantity.counter_unit().filter(|_| channel == Channel::Line);
        let units = (quantity.gauge_unit(), counter);
        self.push(channel, quantity, SensorType::Electricity, units);
    }

    fn attached(&mut self, attached: &Attached) {
        let rate = if attached.kind == SensorType::Heat { Unit::Watt } else { Unit::LitrePerDay };
        let units = (Some(rate), Some(attached.kind.total_unit()));
        self.push(Channel::Pulse(attached.channel), Quantity::Pulse, attached.kind, units);
    }

    fn push(
        &mut self,
        channel: Channel,
        quantity: Quantity,
        kind: SensorType,
        (gauge, counter): (Option<Unit>, Option<Unit>),
    ) {
        let settings = self.settings.channel(channel);
        let is_main = matches!(quantity, Quantity::PPlus | Quantity::Pulse);
        let derived = || SensorId::derive(Make::P1, self.identity, channel, quantity);
        let role = if kind == SensorType::Electricity { Role::Grid } else { Role::Load };
        self.sensors.push(Sensor {
            id: settings.id.filter(|_| is_main).unwrap_or_else(derived),
            channel,
            quantity,
            kind,
            name: settings.name.clone().unwrap_or_else(|| Arc::from(channel.to_string())),
            role,
            gauge,
            counter,
            constant: None,
            own: None,
        });
    }
}
