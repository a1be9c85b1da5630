//! What the configuration says of meters, in the model's own terms.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::meter::{self, Medium};
use crate::model::{Channel, Device, DeviceId, Make, Model, Role, Sensor, SensorId, SensorType};
use crate::registry::record::Record;

/// One entry under `meters:`.
#[derive(Debug, Clone)]
pub struct MeterSettings {
    /// The `<name>` in topics.
    pub name: Arc<str>,
    /// Binds the entry to one meter; without it the entry takes the first that is left over.
    pub serial: Option<String>,
    /// The link that the meter speaks on.
    pub link: LinkId,
    /// Overrides the derived device id.
    pub id: Option<DeviceId>,
    /// The serial number that ids are made from, where that is another meter's than its own.
    pub identity: Option<Arc<str>>,
    /// The most power that a channel is believed to have, W.
    pub power_ceiling_w: f64,
    /// No packet for so long = offline; `None`: from the interval seen.
    pub timeout: Option<Duration>,
    /// The interval at which its link is polled.
    pub poll: Option<Duration>,
    /// The meter is set to degrees Fahrenheit.
    pub fahrenheit: bool,
    /// What is configured of its channels.
    pub channels: HashMap<Channel, ChannelSettings>,
    /// What holds for all other channels.
    pub other_channels: ChannelSettings,
}

/// The place of a link in the list of links; meter entries with the same link share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkId(pub usize);

impl LinkId {
    /// No link: nobody is heard there.
    pub(in crate::adapters) const NONE: LinkId = LinkId(usize::MAX);
}

/// How a meter came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// An entry of the configuration names it.
    Configured,
    /// It was adopted, and somebody has said that it is wanted.
    Accepted,
    /// It was adopted, and nobody has said anything of it.
    New,
}

impl Standing {
    /// Whether no entry names it, and whether nobody has said anything of it.
    pub(in crate::adapters) fn flags(self) -> (bool, bool) {
        (self != Standing::Configured, self == Standing::New)
    }
}

/// One entry under `channels:`.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelSettings {
    /// The label; the channel's own name when absent.
    pub name: Option<Arc<str>>,
    /// What the channel is for.
    pub role: Role,
    /// The direction that the polarized counter stands for is btmon's, not the vendor's. It is
    /// the meter's `polarity`; only channels with a direction heed it.
    pub btmon: bool,
    /// Scales power, energy and current.
    pub multiplier: f64,
    /// Scale sampled voltages and sampled currents.
    pub scales: (f64, f64),
    /// What a pulse input counts.
    pub kind: Option<SensorType>,
    /// L or Wh per pulse.
    pub constant: Option<f64>,
    /// Overrides the derived id of the channel's main sensor.
    pub id: Option<SensorId>,
}

impl Default for ChannelSettings {
    fn default() -> Self {
        ChannelSettings {
            name: None,
            role: Role::Load,
            btmon: false,
            multiplier: 1.0,
            scales: (1.0, 1.0),
            kind: None,
            constant: None,
            id: None,
        }
    }
}

impl ChannelSettings {
    /// In the words of the configuration.
    pub(in crate::adapters) fn values(&self) -> meter::Channel {
        meter::Channel {
            name: self.name.as_deref().map(str::to_owned),
            role: self.role,
            multiplier: self.multiplier,
            scale_v: self.scales.0,
            scale_i: self.scales.1,
            medium: match self.kind {
                Some(SensorType::Electricity) => Some(Medium::Electricity),
                Some(SensorType::Gas) => Some(Medium::Gas),
                Some(SensorType::Water) => Some(Medium::Water),
                Some(_) | None => None,
            },
            constant: self.constant,
            id: None,
        }
    }

    /// The same channel with other values; id and polarity stay.
    pub(in crate::adapters) fn with(&self, values: &meter::Channel) -> ChannelSettings {
        ChannelSettings {
            name: values.name.as_deref().map(Arc::from),
            role: values.role,
            btmon: self.btmon,
            multiplier: values.multiplier,
            scales: (values.scale_v, values.scale_i),
            kind: values.medium.map(SensorType::from),
            constant: values.constant,
            id: self.id,
        }
    }

    /// Whether the polarized counter stands for energy taken.
    pub(in crate::adapters) fn swapped(&self) -> bool {
        self.btmon && self.role.counts_both_ways()
    }

    /// What a pulse input counts: without a `constant` it is only counted.
    pub(in crate::adapters) fn pulse_kind(&self) -> SensorType {
        self.constant.and(self.kind).unwrap_or(SensorType::Other)
    }

    /// Units per pulse; 1 where pulses are only counted.
    pub(in crate::adapters) fn pulse_factor(&self) -> f64 {
        self.constant.filter(|_| self.pulse_kind() != SensorType::Other).unwrap_or(1.0)
    }

    /// Units per pulse in thousandths, where pulses stand for something.
    pub(in crate::adapters) fn constant_milli(&self) -> Option<i64> {
        let known = self.pulse_kind() != SensorType::Other;
        known.then(|| (self.pulse_factor() * 1000.0).round() as i64)
    }

    /// Energy taken and given back, from absolute and polarized watt-seconds.
    pub(in crate::adapters) fn split(&self, absolute: u64, polarized: u64) -> (u64, u64) {
        let rest = absolute.saturating_sub(polarized);
        match (self.role.counts_both_ways(), self.btmon) {
            (false, _) => (absolute, polarized),
            (true, false) => (rest, polarized),
            (true, true) => (polarized, rest),
        }
    }
}

impl MeterSettings {
    /// The serial number that ids of the meter `serial` are made of.
    pub(crate) fn identity<'a>(&'a self, serial: &'a str) -> &'a str {
        self.identity.as_deref().unwrap_or(serial)
    }

    /// The meter `serial`, which has this entry and these sensors.
    pub(crate) fn device(
        &self,
        make: Make,
        model: Model,
        serial: &str,
        standing: Standing,
        sensors: Vec<Sensor>,
    ) -> Device {
        Device {
            id: self.id.unwrap_or_else(|| DeviceId::derive(make, self.identity(serial))),
            make,
            model,
            serial: serial.into(),
            name: self.name.clone(),
            adopted: standing != Standing::Configured,
            new: standing == Standing::New,
            sensors,
            own: None,
        }
    }

    /// What a meter gets that no entry names.
    pub(in crate::adapters) fn adopted(name: Arc<str>, link: LinkId) -> MeterSettings {
        MeterSettings {
            name,
            serial: None,
            link,
            id: None,
            identity: None,
            power_ceiling_w: DEFAULT_POWER_CEILING_W,
            timeout: None,
            poll: None,
            fahrenheit: false,
            channels: HashMap::new(),
            other_channels: ChannelSettings::default(),
        }
    }

    /// The same with what requests have changed, but for the name. What the configuration says
    /// otherwise by now is taken out of `record` and added to `overruled`.
    pub(in crate::adapters) fn changed(
        &self,
        record: &mut Record,
        overruled: &mut Vec<String>,
    ) -> MeterSettings {
        let mut settings = self.clone();
        settings.identity = record.identity.as_deref().map(Arc::from);
        let keys: Vec<String> = record.channels.keys().cloned().collect();
        for key in keys {
            let Ok(channel) = key.parse::<Channel>() else { continue };
            let base = self.channel(channel);
            let values = record.settle_channel(&key, base.values(), overruled);
            settings.channels.insert(channel, base.with(&values));
        }
        settings
    }

    /// The settings of one channel.
    pub(in crate::adapters) fn channel(&self, channel: Channel) -> &ChannelSettings {
        self.channels.get(&channel).unwrap_or(&self.other_channels)
    }
}

/// The most power that one channel is believed to have unless configured otherwise, W.
pub const DEFAULT_POWER_CEILING_W: f64 = 250_000.0;
