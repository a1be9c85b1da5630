//! One smart meter: from telegrams to readings, with the state that outlives the process.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::mbus::{Attached, News, When};
use super::measured::{Measured, MeasuredMBus};
use super::sensors::{self, Known};
use crate::adapters::fleet::{self, Heard, Kept, MeterSettings, Register, Standing};
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
    device: Arc<Device>,
    state: MeterState,
}

/// What must survive a restart so that totals go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MeterState {
    arrived: Timestamp,
    import: Option<Register>,
    export: Option<Register>,
    known: Known,
    attached: Vec<Attached>,
}

impl fleet::Meter for Meter {
    const MAKE: Make = Make::P1;
    const KIND: Kind = Kind::P1;
    type Frame = Measured;
    /// The serial number.
    type Key = Arc<str>;
    type State = MeterState;

    fn key(measured: &Measured) -> Arc<str> {
        Arc::clone(&measured.serial)
    }

    fn serial(measured: &Measured) -> Arc<str> {
        Arc::clone(&measured.serial)
    }

    fn model(_: &Measured) -> Model {
        Model::P1
    }

    fn begin(
        measured: &Measured,
        at: Timestamp,
        settings: MeterSettings,
        standing: Standing,
        kept: Option<Kept<MeterState>>,
    ) -> Meter {
        let mut state = match kept {
            Some(Kept::Same(state)) => state,
            Some(Kept::Handed(other)) => MeterState::first(measured, at).going_on_from(other),
            None => MeterState::first(measured, at),
        };
        state.known.note(measured);
        let device =
            sensors::device(&measured.serial, &settings, standing, state.known, &state.attached);
        Meter { settings, standing, device: Arc::new(device), state }
    }

    fn hear(&mut self, measured: &Measured, at: Timestamp) -> Heard {
        let mut corrections = self.advance(measured, at);
        let before = (self.state.known, self.state.shape());
        self.state.known.note(measured);
        let news: Vec<(u8, News)> =
            measured.mbus.iter().filter_map(|one| self.hear_attached(one, at)).collect();
        if before != (self.state.known, self.state.shape()) {
            // A register has shown itself that was not known before.
            self.describe();
        }
        let set = Arc::new(self.readings(measured, at));
        let earlier = news.iter().filter_map(|(channel, news)| self.earlier(*channel, news));
        let earlier = earlier.collect();
        corrections.extend(news.iter().filter_map(|(channel, news)| {
            news.step?.correction(&self.device, Channel::Pulse(*channel), "mbus")
        }));
        Heard { set, earlier, corrections }
    }

    fn configure(&mut self, settings: MeterSettings, standing: Standing) {
        (self.settings, self.standing) = (settings, standing);
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
}

impl MeterState {
    fn first(measured: &Measured, at: Timestamp) -> MeterState {
        MeterState {
            arrived: at,
            import: measured.import.map(Register::new),
            export: measured.export.map(Register::new),
            known: Known::default(),
            attached: Vec::new(),
        }
    }

    /// The totals of another meter, and the counters from here.
    fn going_on_from(mut self, other: MeterState) -> MeterState {
        for (own, other) in [(&mut self.import, other.import), (&mut self.export, other.export)] {
            if let (Some(register), Some(other)) = (own, other) {
                register.go_on_from(&other);
            }
        }
        self.attached = other.attached;
        self
    }

    /// The attached meter that is meant; a new one was read first at `at`.
    fn attached(&mut self, measured: &MeasuredMBus, at: Timestamp) -> &mut Attached {
        let all = &mut self.attached;
        let place = all.partition_point(|one| one.channel < measured.channel);
        if all.get(place).is_none_or(|one| one.channel != measured.channel) {
            all.insert(place, Attached::new(measured, at));
        }
        &mut all[place]
    }

    /// What of the attached meters decides which sensors there are.
    fn shape(&self) -> Vec<(u8, crate::model::SensorType)> {
        self.attached.iter().map(|one| (one.channel, one.kind)).collect()
    }
}

impl Meter {
    /// Moves the counters on.
    fn advance(&mut self, measured: &Measured, at: Timestamp) -> Vec<Correction> {
        let waited = at.since(std::mem::replace(&mut self.state.arrived, at));
        // A meter may print a register some seconds late, and in steps of 10 Wh.
        let hours = (waited.as_secs_f64() + MARGIN_SECONDS) / 3600.0;
        let limit = (self.settings.power_ceiling_w * hours * 1000.0) as u64;
        let mut corrections = Vec::new();
        for (register, raw, counter) in [
            (&mut self.state.import, measured.import, "import"),
            (&mut self.state.export, measured.export, "export"),
        ] {
            match (register, raw) {
                (Some(register), Some(raw)) => {
                    let step = register.advance(raw, limit);
                    corrections.extend(step.correction(&self.device, Channel::Line, counter));
                }
                (register @ None, Some(raw)) => *register = Some(Register::new(raw)),
                (_, None) => {}
            }
        }
        corrections
    }

    /// Takes what is said of an attached meter; what of it is news, with its channel.
    fn hear_attached(&mut self, measured: &MeasuredMBus, now: Timestamp) -> Option<(u8, News)> {
        let channel = measured.channel;
        let when = match When::of(measured, now) {
            Ok(when) => when,
            // A channel without a reading yet says so in this way, for years where nothing is attached.
            Err(bad) => {
                tracing::debug!(meter = %self.device.name, channel, %bad, "no reading of an attached meter");
                return None;
            }
        };
        let attached = self.state.attached(measured, when.at());
        if attached.is_news(matches!(when, When::Arrival(_, Some(_))))
            && let When::Arrival(_, Some(ahead)) = when
        {
            tracing::warn!(
                meter = %self.device.name,
                channel,
                "the gas, water or heat meter was read {ahead} s from now, by its own clock: its readings \
                 get the time of their arrival; is the clock of the meter right, and this machine's?"
            );
        }
        Some((channel, attached.hear(measured, when)?))
    }

    fn describe(&mut self) {
        let (serial, state) = (Arc::clone(&self.device.serial), &self.state);
        let (settings, standing) = (&self.settings, self.standing);
        let device = sensors::device(&serial, settings, standing, state.known, &state.attached);
        self.device = Arc::new(device);
    }

    /// What the telegram says of this moment.
    fn readings(&self, measured: &Measured, at: Timestamp) -> ReadingSet {
        let device = Arc::clone(&self.device);
        let mut readings = Vec::with_capacity(device.sensors.len() + 2);
        for (place, sensor) in (0..).zip(&device.sensors) {
            let counter = self.counter(sensor, measured).map(Value::Counter);
            let gauge = gauge(sensor, measured).map(Value::Gauge);
            let values = counter.into_iter().chain(gauge);
            readings.extend(values.map(|value| Reading { sensor: place, value }));
        }
        ReadingSet { device, at, pulses: [None; 4], readings }
    }

    /// The total of a register that is in the telegram.
    fn counter(&self, sensor: &Sensor, measured: &Measured) -> Option<Milli> {
        let (register, raw) = match (sensor.channel, sensor.quantity) {
            (Channel::Line, Quantity::PPlus) => (&self.state.import, measured.import),
            (Channel::Line, Quantity::PMinus) => (&self.state.export, measured.export),
            _ => return None,
        };
        register.as_ref().filter(|_| raw.is_some()).map(Register::total)
    }

    /// What was so at the time of an attached meter.
    fn earlier(&self, channel: u8, news: &News) -> Option<Arc<ReadingSet>> {
        let is_it = |sensor: &Sensor| sensor.channel == Channel::Pulse(channel);
        let sensor = u16::try_from(self.device.sensors.iter().position(is_it)?).ok()?;
        let values = [Some(Value::Counter(news.total)), news.rate.map(Value::Gauge)];
        let readings = values.into_iter().flatten().map(|value| Reading { sensor, value });
        Some(Arc::new(ReadingSet {
            device: Arc::clone(&self.device),
            at: news.at,
            pulses: [None; 4],
            readings: readings.collect(),
        }))
    }
}

fn gauge(sensor: &Sensor, measured: &Measured) -> Option<Milli> {
    match (sensor.channel, sensor.quantity) {
        (Channel::Line, Quantity::PPlus) => measured.power_import,
        (Channel::Line, Quantity::PMinus) => measured.power_export,
        (Channel::Line, Quantity::Irms) => measured.current,
        (Channel::Line, Quantity::Frequency) => measured.frequency,
        (Channel::L(n), quantity) => {
            let phase = measured.phases.get(usize::from(n).checked_sub(1)?)?;
            match quantity {
                Quantity::PPlus => phase.power_import,
                Quantity::PMinus => phase.power_export,
                Quantity::Vrms => phase.voltage,
                Quantity::Irms => phase.current,
                _ => None,
            }
        }
        _ => None,
    }
}

/// What a register may be late by.
const MARGIN_SECONDS: f64 = 60.0;
