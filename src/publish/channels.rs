//! What is summed up of a meter's latest values: `state/channels` and `state/sample`.

use std::fmt::{Display, Write};

use super::batch::Batch;
use super::{Known, Latest};
use crate::model::{Channel, Milli, Quantity, Role, Sensor, SensorType, Timestamp};
use crate::topic::{MeterState, Topic};

/// Publishes `state/channels` with every packet, and `state/sample` every five seconds or with
/// each packet where these are rarer.
pub(super) fn publish(batch: &mut Batch, known: &mut Known, at: Timestamp) {
    let name = known.device.name.to_string();
    batch.live(&Topic::Meter(name.clone(), MeterState::Channels), |text| {
        write_channels(text, known, at);
    });
    let interval = known.heard.replace(at).map(|before| at.since(before).as_millis());
    let sum = Sum::of(known);
    // Half an interval early is nearer to five seconds than half an interval late.
    let early = interval.unwrap_or(0) / 2;
    let due = known
        .sampled
        .is_none_or(|sampled| at.since(sampled).as_millis() + early >= SAMPLE_EVERY_MS);
    if let Some(sum) = sum.filter(|_| due) {
        known.sampled = Some(at);
        batch.live(&Topic::Meter(name, MeterState::Sample), |text| sum.write(text, at));
    }
}

const SAMPLE_EVERY_MS: u128 = 5000;

/// The meter's sum over its grid channels if it has any, else over its loads.
#[derive(Debug, PartialEq)]
struct Sum {
    power: Milli,
    current: Option<Milli>,
    volt: Option<Milli>,
    energy: Milli,
}

impl Sum {
    /// `None` until a power is known.
    fn of(known: &Known) -> Option<Sum> {
        let sensors = || known.device.sensors.iter().zip(&known.latest);
        let is_clamp = |sensor: &Sensor| matches!(sensor.channel, Channel::Ch(_) | Channel::Aux(_));
        let has_grid = sensors().any(|(sensor, _)| sensor.role == Role::Grid && is_clamp(sensor));
        let role = if has_grid { Role::Grid } else { Role::Load };
        let mut sum = Sum { power: Milli(0), current: None, volt: None, energy: Milli(0) };
        let mut has_power = false;
        for (sensor, latest) in sensors() {
            if sensor.quantity == Quantity::Vrms {
                sum.volt = latest.gauge;
            }
            if sensor.role != role || !is_clamp(sensor) {
                continue;
            }
            let gauge = latest.gauge.unwrap_or_default();
            match sensor.quantity {
                Quantity::PPlus => {
                    has_power |= latest.gauge.is_some();
                    sum.power.0 += gauge.0;
                    sum.energy.0 += latest.counter.unwrap_or_default().0;
                }
                Quantity::PMinus => sum.power.0 -= gauge.0,
                Quantity::Irms => {
                    sum.current = Some(Milli(sum.current.unwrap_or_default().0 + gauge.0));
                }
                _ => {}
            }
        }
        has_power.then_some(sum)
    }

    fn write(&self, text: &mut String, at: Timestamp) {
        let mut object = Object::open(text);
        object.field("power", hundredths(self.power));
        object.optional("current", self.current.map(hundredths));
        object.optional("volt", self.volt.map(hundredths));
        object.field("energy", self.energy.per_thousand());
        object.field("ts", format_args!("\"{}\"", at.seconds()));
        object.close();
    }
}

/// Two decimals, as the meters whose topic this is give them.
fn hundredths(value: Milli) -> Milli {
    Milli((value.0 + 5 * value.0.signum()) / 10 * 10)
}

fn write_channels(text: &mut String, known: &Known, at: Timestamp) {
    let mut object = Object::open(text);
    object.field("ts", at.seconds());
    let all: Vec<(&Sensor, &Latest)> = known.device.sensors.iter().zip(&known.latest).collect();
    for sensors in all.chunk_by(|(one, _), (other, _)| one.channel == other.channel) {
        let Some((first, _)) = sensors.first() else { continue };
        let pulses = match first.channel {
            Channel::Pulse(n) => known.pulses.get(usize::from(n) - 1).copied().flatten(),
            _ => None,
        };
        let has_value = pulses.is_some()
            || sensors.iter().any(|(_, latest)| latest.gauge.or(latest.counter).is_some());
        if has_value {
            object.key(first.channel);
            write_channel(object.text, sensors, pulses);
        }
    }
    object.close();
}

fn write_channel(text: &mut String, sensors: &[(&Sensor, &Latest)], pulses: Option<u64>) {
    let find = |wanted: Quantity| {
        sensors.iter().find(|(sensor, _)| sensor.quantity == wanted).map(|(_, latest)| *latest)
    };
    let gauge = |quantity| find(quantity).and_then(|latest| latest.gauge);
    let counter = |quantity| find(quantity).and_then(|latest| latest.counter);
    let given = gauge(Quantity::PMinus).unwrap_or_default();
    let mut object = Object::open(text);
    object.optional("power", gauge(Quantity::PPlus).map(|taken| Milli(taken.0 - given.0)));
    object.optional("energy", counter(Quantity::PPlus).map(Milli::per_thousand));
    object.optional("energy_export", counter(Quantity::PMinus).map(Milli::per_thousand));
    object.optional("current", gauge(Quantity::Irms));
    object.optional("temperature", gauge(Quantity::Temperature));
    object.optional("voltage", gauge(Quantity::Vrms));
    object.optional("count", pulses);
    let total = counter(Quantity::Pulse);
    match sensors.first().map(|(sensor, _)| sensor.kind) {
        Some(SensorType::Electricity) => object.optional("total", total.map(Milli::per_thousand)),
        Some(SensorType::Gas | SensorType::Water) => object.optional("total", total),
        _ => {}
    }
    object.close();
}

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
