//! What is summed up of a meter's latest values: `state/channels` and `state/sample`.

use std::fmt::{Display, Write};

use super::Known;
use super::balance::{self, Balance};
use super::batch::Batch;
use crate::model::{Channel, Device, Latest, Milli, Quantity, Sensor, SensorType, Sum, Timestamp};
use crate::topic::{MeterState, Topic};

/// Publishes `state/channels` with every packet, and `state/sample` and `state/balance` every five seconds or with
/// each packet where these are rarer. `relay`: whether it is closed, where there is one. `sums`: without it no
/// `state/sample`, because the meter itself publishes that.
pub(super) fn publish(
    batch: &mut Batch,
    known: &mut Known,
    relay: Option<bool>,
    at: Timestamp,
    sums: bool,
) {
    let name = known.device.name.to_string();
    batch.live(&Topic::Meter(name.clone(), MeterState::Channels), |text| {
        write_channels(text, &known.device, &known.latest, &known.pulses, relay, at);
    });
    let interval = known.heard.replace(at).map(|before| at.since(before).as_millis());
    let sum = Sum::of(&known.device.sensors, &known.latest);
    // Half an interval early is nearer to five seconds than half an interval late.
    let early = interval.unwrap_or(0) / 2;
    let due = known
        .sampled
        .is_none_or(|sampled| at.since(sampled).as_millis() + early >= SAMPLE_EVERY_MS);
    if let Some(sum) = sum.filter(|_| due) {
        known.sampled = Some(at);
        if let Some(balance) = Balance::of(&known.device.sensors, &known.latest) {
            balance::publish(batch, &known.device, &balance, at);
        }
        if sums {
            batch.live(&Topic::Meter(name, MeterState::Sample), |text| {
                write_sample(&sum, text, at);
            });
        }
    }
}

const SAMPLE_EVERY_MS: u128 = 5000;

/// A SmartMeter publishes the same keys on such topics. That it is ours is told by their order, which no
/// device has: `energy` behind `volt`, or `current` behind `volt` while there is no energy yet.
fn write_sample(sum: &Sum, text: &mut String, at: Timestamp) {
    let (current, volt) = (sum.current.map(Milli::hundredths), sum.volt.map(Milli::hundredths));
    let mut object = Object::open(text);
    object.field("power", sum.power.hundredths());
    match sum.energy {
        Some(energy) => {
            object.optional("current", current);
            object.optional("volt", volt);
            object.field("energy", energy.per_thousand());
        }
        None => {
            object.optional("volt", volt);
            object.optional("current", current);
        }
    }
    object.field("ts", format_args!("\"{}\"", at.seconds()));
    object.close();
}

/// Appends what `state/channels` says: every channel's latest values, one for each of the device's
/// sensors in `latest`, the bare pulse counts by input, and whether the relay is closed.
pub(crate) fn write_channels(
    text: &mut String,
    device: &Device,
    latest: &[Latest],
    pulses: &[Option<u64>; 4],
    relay: Option<bool>,
    at: Timestamp,
) {
    let mut object = Object::open(text);
    object.field("ts", at.seconds());
    let all: Vec<(&Sensor, &Latest)> = device.sensors.iter().zip(latest).collect();
    for sensors in all.chunk_by(|(one, _), (other, _)| one.channel == other.channel) {
        let Some((first, _)) = sensors.first() else { continue };
        let pulses = match first.channel {
            Channel::Pulse(n) => pulses.get(usize::from(n) - 1).copied().flatten(),
            _ => None,
        };
        let has_value = pulses.is_some()
            || sensors.iter().any(|(_, latest)| latest.gauge.or(latest.counter).is_some());
        if has_value {
            object.key(first.channel);
            let relay = relay.filter(|_| first.channel == Channel::Line);
            write_channel(object.text, sensors, pulses, relay);
        }
    }
    object.close();
}

fn write_channel(
    text: &mut String,
    sensors: &[(&Sensor, &Latest)],
    pulses: Option<u64>,
    relay: Option<bool>,
) {
    let find = |wanted: Quantity| {
        sensors.iter().find(|(sensor, _)| sensor.quantity == wanted).map(|(_, latest)| *latest)
    };
    let gauge = |quantity| find(quantity).and_then(|latest| latest.gauge);
    let counter = |quantity| find(quantity).and_then(|latest| latest.counter);
    let given = gauge(Quantity::PMinus).unwrap_or_default();
    let mut object = Object::open(text);
    let power = gauge(Quantity::PPlus).map(|taken| Milli(taken.0 - given.0));
    object.optional("power", power.or(gauge(Quantity::Net)));
    let energy = counter(Quantity::PPlus).or(counter(Quantity::Net));
    object.optional("energy", energy.map(Milli::per_thousand));
    object.optional("energy_export", counter(Quantity::PMinus).map(Milli::per_thousand));
    object.optional("current", gauge(Quantity::Irms));
    if matches!(sensors.first(), Some((sensor, _)) if is_phase(sensor.channel)) {
        object.optional("reactive", reactive(gauge));
    }
    object.optional("apparent", gauge(Quantity::Apparent));
    object.optional("temperature", gauge(Quantity::Temperature));
    object.optional("voltage", gauge(Quantity::Vrms));
    for quantity in PLAIN {
        object.optional(quantity.as_str(), gauge(quantity));
    }
    object.optional("relay", relay);
    object.optional("count", pulses);
    let rate = gauge(Quantity::Pulse);
    let total = counter(Quantity::Pulse);
    match sensors.first().map(|(sensor, _)| sensor.kind) {
        Some(SensorType::Electricity | SensorType::Heat) => {
            object.optional("total", total.map(Milli::per_thousand));
            object.optional("power", rate);
        }
        Some(SensorType::Gas | SensorType::Water) => {
            object.optional("total", total);
            // L/day as L/min, which people can picture.
            object.optional("flow", rate.map(|rate| Milli(rate.0 / 1440)));
        }
        _ => {}
    }
    object.close();
}

fn is_phase(channel: Channel) -> bool {
    matches!(channel, Channel::Line | Channel::L(_))
}

/// Reactive power with its sign, positive where the current lags: one quadrant has it, the others 0.
fn reactive(gauge: impl Fn(Quantity) -> Option<Milli>) -> Option<Milli> {
    let lagging = gauge(Quantity::Q1)?.0 + gauge(Quantity::Q2)?.0;
    Some(Milli(lagging - gauge(Quantity::Q3)?.0 - gauge(Quantity::Q4)?.0))
}

/// What is told under its own name.
const PLAIN: [Quantity; 6] = [
    Quantity::Frequency,
    Quantity::Pf,
    Quantity::Humidity,
    Quantity::Battery,
    Quantity::Light,
    Quantity::Pressure,
];

/// Writes a flat JSON object. Keys are plain names, values are numbers or text ready to stand.
struct Object<'a> {
    text: &'a mut String,
    empty: bool,
}

impl<'a> Object<'a> {
    fn open(text: &'a mut String) -> Object<'a> {
        text.push('{');
        Object { text, empty: true }
    }

    fn key(&mut self, key: impl Display) {
        if !std::mem::take(&mut self.empty) {
            self.text.push(',');
        }
        // Writing to a String cannot fail.
        let _ = write!(self.text, "\"{key}\":");
    }

    fn field(&mut self, key: &str, value: impl Display) {
        self.key(key);
        let _ = write!(self.text, "{value}");
    }

    fn optional(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.field(key, value);
        }
    }

    fn close(self) {
        self.text.push('}');
    }
}
