//! What a meter publishes on a broker, below `powermeter/<name>/state/`.
//!
//! Source: protocol note, sections 3.1 to 3.3 and 4.12.

use serde_json::{Map, Value};

use super::reply::number_of;
use super::values::{boolean, number};
use super::{Kind, Layout, Message, TimedSwitch, Values, Version};

/// A message on `state/sample`, which carries three things.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly all are measurements, and none is kept")]
pub enum Sample {
    /// What is measured, every few seconds while the meter is idle.
    Measurement(Measurement),
    /// Sampling has begun, or has ended.
    Sampling(bool),
    /// A PowerMeter's answer to a request on `sample`.
    Answer(Answer),
}

/// What a meter measures, in its message.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measurement {
    /// W: the sum of the lines, negative where it is given back; a PowerMeter's is never negative.
    pub power_w: Option<f64>,
    /// Wh, the sum of the lines; `None`: not told, or in a unit that is not known.
    pub energy_wh: Option<f64>,
    /// A. Of a SmartMeter the RMS of the lines in sum, **with the neutral conductor's**.
    pub current_a: Option<f64>,
    /// V, the mean of the lines.
    pub voltage_v: Option<f64>,
    /// Unix seconds; `None` before the meter's clock was set.
    pub ts: Option<f64>,
    /// Whether a PowerMeter's load takes more than 2 W.
    pub in_use: Option<bool>,
    /// L1 to L3, where the firmware was built so.
    pub lines: Option<[LineMeasurement; 3]>,
}

/// One line of a SmartMeter.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LineMeasurement {
    /// W, signed.
    pub power_w: Option<f64>,
    /// Wh.
    pub energy_wh: Option<f64>,
    /// A.
    pub current_a: Option<f64>,
    /// V.
    pub voltage_v: Option<f64>,
}

/// What was asked for with a letter on `sample`.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// One, or one a line.
    pub values: Values,
    /// `V`, `mA`, `var`, `VA`, `kWh` or `W`.
    pub unit: String,
}

/// A message on `state/info`.
#[derive(Debug, Clone, PartialEq)]
pub enum InfoMessage {
    /// The answer to `state`.
    State {
        /// Whether a PowerMeter's relay is closed.
        relay: Option<bool>,
        /// Whether it samples.
        sampling: Option<bool>,
    },
    /// A SmartMeter's answer to a request on `sample`.
    Answer(Answer),
    /// One sample of a stream over MQTT.
    Stream(StreamSample),
    /// The reply to a command, or what else a command channel carries.
    Message(Message),
    /// A text that is no JSON, and no reply to a [`TimedSwitch`]: `Parse error`.
    Text(String),
}

/// One sample of all channels.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamSample {
    /// The units, `V,mA,V,mA,V,mA`: what there is of a layout.
    pub units: String,
    /// When it was sent, Unix seconds; whole ones of a PowerMeter.
    pub ts: Option<f64>,
    /// A value of each channel; what is no number is NaN.
    pub values: Vec<f32>,
}

impl StreamSample {
    /// What the values are: by the layout that the reply to `sample` told if it fits, else by the units.
    #[must_use]
    pub fn layout(&self, kind: Option<Kind>, told: Option<&Layout>) -> Option<Layout> {
        let fits = |layout: &Layout| layout.channels.len() == self.values.len();
        let is_told =
            |layout: &&Layout| fits(layout) && layout.units().eq_ignore_ascii_case(&self.units);
        told.filter(is_told).cloned().or_else(|| Layout::of_units(kind, &self.units).filter(fits))
    }
}

impl Sample {
    /// What a message on `state/sample` says; `None`: nothing that is known.
    ///
    /// `is_wh`: whether this meter tells energy in Wh ([`energy_unit_is_wh`]); where that is not known, its
    /// energy is left out.
    #[must_use]
    pub fn read(payload: &[u8], is_wh: Option<bool>) -> Option<Self> {
        match payload.trim_ascii() {
            b"on" => return Some(Self::Sampling(true)),
            b"off" => return Some(Self::Sampling(false)),
            _ => {}
        }
        let value: Value = serde_json::from_slice(payload).ok()?;
        let keys = value.as_object()?;
        if keys.contains_key("power") {
            return Some(Self::Measurement(Measurement::of_keys(keys, is_wh)));
        }
        Answer::of_keys(keys).map(Self::Answer)
    }
}

impl Measurement {
    fn of_keys(keys: &Map<String, Value>, is_wh: Option<bool>) -> Self {
        let energy = |key: &str| watt_hours(number_of(keys, key)?, is_wh?);
        let line = |n: usize| {
            let of = |letter: &str| number_of(keys, &format!("{letter}_l{n}"));
            LineMeasurement {
                power_w: of("p"),
                energy_wh: energy(&format!("e_l{n}")),
                current_a: of("i"),
                voltage_v: of("v"),
            }
        };
        let lines = [line(1), line(2), line(3)];
        Self {
            power_w: number_of(keys, "power"),
            energy_wh: energy("energy"),
            current_a: number_of(keys, "current"),
            voltage_v: number_of(keys, "volt"),
            ts: number_of(keys, "ts").filter(|ts| *ts > 0.0),
            in_use: keys.get("inUse").and_then(boolean),
            lines: lines.iter().any(|line| *line != LineMeasurement::default()).then_some(lines),
        }
    }

    /// Its time, if it is within a day of `now`, Unix seconds; else the time of arrival is better.
    #[must_use]
    pub fn time_near(&self, now: f64) -> Option<f64> {
        self.ts.filter(|ts| (ts - now).abs() <= 86_400.0)
    }
}

impl Answer {
    fn of_keys(keys: &Map<String, Value>) -> Option<Self> {
        let unit = keys.get("unit").and_then(Value::as_str)?.to_owned();
        Some(Self { values: keys.get("value").and_then(Values::read)?, unit })
    }
}

impl InfoMessage {
    /// What a message on `state/info` says.
    #[must_use]
    pub fn read(payload: &[u8], kind: Option<Kind>) -> Self {
        let text = String::from_utf8_lossy(payload);
        let value: Value = match serde_json::from_str(&text) {
            Ok(value @ Value::Object(_)) => value,
            _ => return Self::of_text(text.trim()),
        };
        let Some(keys) = value.as_object() else { return Self::Text(text.trim().to_owned()) };
        if !keys.contains_key("error") && !keys.contains_key("cmd") {
            let state = keys.get("sampleState").and_then(Value::as_str);
            if state.is_some() || keys.contains_key("relay") {
                let relay = keys.get("relay").and_then(boolean);
                return Self::State { relay, sampling: state.map(|state| state == "sampling") };
            }
            if let Some(answer) = Answer::of_keys(keys) {
                return Self::Answer(answer);
            }
            if let Some(sample) = StreamSample::of_keys(keys) {
                return Self::Stream(sample);
            }
        }
        Self::Message(Message::of_value(value, kind))
    }

    /// A plug answers to a `switchTS` in words alone.
    fn of_text(text: &str) -> Self {
        let answer = TimedSwitch::answer(text).map(Message::Reply).map(Self::Message);
        answer.unwrap_or_else(|| Self::Text(text.to_owned()))
    }
}

impl StreamSample {
    fn of_keys(keys: &Map<String, Value>) -> Option<Self> {
        let float = |value: &Value| number(value).map_or(f32::NAN, |number| number as f32);
        Some(Self {
            units: keys.get("unit").and_then(Value::as_str)?.to_owned(),
            ts: number_of(keys, "ts").filter(|ts| *ts > 0.0),
            values: keys.get("values")?.as_array()?.iter().map(float).collect(),
        })
    }
}

/// What a message on `state/switch` says of the relay; `None`: nothing, as the `-` that a `switchTS` leaves.
#[must_use]
pub fn switch(payload: &[u8]) -> Option<bool> {
    match payload.trim_ascii() {
        b"true" | b"on" => Some(true),
        b"false" | b"off" => Some(false),
        _ => None,
    }
}

/// The temperature in °C in a message on `state/sensors/temp` of a plug with a sensor board; `None`: there
/// is none, or none that can be.
#[must_use]
pub fn temperature(payload: &[u8]) -> Option<f64> {
    let keys: Map<String, Value> = serde_json::from_slice(payload).ok()?;
    let told = number_of(&keys, "temp")?;
    let celsius = match keys.get("unit").map(|unit| unit.as_str().unwrap_or_default()) {
        None | Some("C" | "°C") => told,
        Some("F" | "°F") => (told - 32.0) / 1.8,
        Some("K") => told - 273.15,
        Some(_) => return None,
    };
    (-100.0..=200.0).contains(&celsius).then_some(celsius)
}

/// Whether a meter's messages tell energy in Wh, and not in kWh: a PowerMeter from firmware 2 on. `None`:
/// the firmware of a PowerMeter is not known.
#[must_use]
pub fn energy_unit_is_wh(kind: Kind, firmware: Option<Version>) -> Option<bool> {
    match kind {
        Kind::SmartMeter => Some(false),
        Kind::PowerMeter => firmware.map(|firmware| firmware.major >= 2),
    }
}

/// Energy with the two decimals that a message has, in Wh.
fn watt_hours(told: f64, is_wh: bool) -> Option<f64> {
    let wh = if is_wh { told } else { told * 1000.0 };
    let rounded = (wh * 1000.0).round() / 1000.0;
    rounded.is_finite().then_some(rounded)
}
