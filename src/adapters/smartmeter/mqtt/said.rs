//! What a device's message says: one topic carries several shapes, numbers come as text here and there.

use serde_json::{Map, Value};

use crate::model::Model;

/// What was said on `state/sample`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sampled {
    /// What it measures.
    Measurement(Measurement),
    /// Sampling has begun, or ended.
    Sampling(bool),
    /// Something else: a plug answers requests for one value here.
    Other,
}

/// What was said on `state/info`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    /// The reply to a command, with its `cmd`.
    Reply(String, Map<String, Value>),
    /// The answer to `state`.
    State {
        /// It samples.
        sampling: bool,
        /// Its relay is closed.
        relay: Option<bool>,
    },
    /// Something else.
    Other,
}

/// The periodic message. What is not in it is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Measurement {
    /// W, signed.
    pub(super) power: f64,
    /// In kWh or Wh, whichever the device uses.
    pub(super) energy: Option<f64>,
    /// A.
    pub(super) current: Option<f64>,
    /// V.
    pub(super) volt: Option<f64>,
    /// Which of the two it looks like.
    pub(super) looks_like: Option<Model>,
    /// Line by line: V, A, W, and energy; by a build option of the SmartMeter.
    pub(super) lines: [PerLine; 3],
    /// It is written as this gateway and its kin write theirs.
    pub(super) is_gateways: bool,
}

/// One line.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct PerLine {
    pub(super) volt: Option<f64>,
    pub(super) current: Option<f64>,
    pub(super) power: Option<f64>,
    pub(super) energy: Option<f64>,
}

impl Measurement {
    /// Whether the lines are told.
    pub(super) fn has_lines(&self) -> bool {
        self.lines.iter().any(|line| *line != PerLine::default())
    }
}

/// Reads a message on `state/sample`.
pub(super) fn sampled(payload: &[u8]) -> Sampled {
    match payload.trim_ascii() {
        b"on" => return Sampled::Sampling(true),
        b"off" => return Sampled::Sampling(false),
        _ => {}
    }
    let object = object(payload);
    let power = object.as_ref().and_then(|object| number(object.get("power")?));
    let (Some(object), Some(power)) = (object, power) else { return Sampled::Other };
    let value = |key: &str| object.get(key).and_then(number);
    let line = |n: u8| PerLine {
        volt: value(&format!("v_l{n}")),
        current: value(&format!("i_l{n}")),
        power: value(&format!("p_l{n}")),
        energy: value(&format!("e_l{n}")),
    };
    let lines = [line(1), line(2), line(3)];
    let looks_like = match (object.contains_key("inUse"), object.get("ts")) {
        (true, _) => Some(Model::Powermeter),
        (false, Some(Value::String(_))) => Some(Model::Smartmeter),
        (false, Some(Value::Number(_))) => Some(Model::Powermeter),
        (false, _) => lines.iter().any(|line| line.power.is_some()).then_some(Model::Smartmeter),
    };
    let place = |key: &str| object.keys().position(|one| one == key);
    let is_gateways = !object.contains_key("inUse")
        && place("energy").is_some_and(|energy| place("volt").is_none_or(|volt| volt < energy));
    Sampled::Measurement(Measurement {
        power,
        energy: value("energy"),
        current: value("current"),
        volt: value("volt"),
        looks_like,
        lines,
        is_gateways,
    })
}

/// Reads a message on `state/info`.
pub(super) fn told(payload: &[u8]) -> Told {
    let Some(object) = object(payload) else { return Told::Other };
    if let Some(state) = object.get("sampleState").and_then(Value::as_str) {
        let relay = object.get("relay").and_then(Value::as_str).and_then(|word| match word {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        });
        return Told::State { sampling: state == "sampling", relay };
    }
    match object.get("cmd").and_then(Value::as_str) {
        Some(cmd) if object.contains_key("error") => Told::Reply(cmd.to_owned(), object),
        _ => Told::Other,
    }
}

/// Reads a message on `state/switch`; `None` where it hides the state.
pub(super) fn switched(payload: &[u8]) -> Option<bool> {
    match payload.trim_ascii() {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

fn object(payload: &[u8]) -> Option<Map<String, Value>> {
    if payload.len() > LARGEST {
        return None;
    }
    match serde_json::from_slice(payload).ok()? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// A number, also one written as text; `null` is how the firmware writes what is none.
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite() && number.abs() < ABSURD)
}

/// Several times what a device can send.
const LARGEST: usize = 4096;
/// No quantity of a house comes there.
const ABSURD: f64 = 1e12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_told_from_the_others() {
        let text = include_str!("../../../../protocols/tests/captures/smartmeter/mqtt_examples.jsonl");
        let mut measurements = 0;
        for line in text.lines() {
            let example: Value = serde_json::from_str(line).unwrap();
            let (topic, payload) = (example["topic"].as_str().unwrap(), example["payload"].as_str().unwrap());
            let expected = &example["expected"];
            if !topic.ends_with("state/sample") {
                continue;
            }
            match sampled(payload.as_bytes()) {
                Sampled::Measurement(measurement) => {
                    measurements += 1;
                    assert_eq!(expected["power_w"], measurement.power, "{payload}");
                    assert_eq!(expected["current_a"].as_f64(), measurement.current);
                    assert_eq!(expected["voltage_v"].as_f64(), measurement.volt);
                    assert_eq!(expected["energy_wh"].is_null(), measurement.energy.is_none());
                    let is_plug = topic.contains("powermeter/powermeter");
                    assert_eq!(measurement.looks_like == Some(Model::Powermeter), is_plug, "{payload}");
                    assert_eq!(measurement.has_lines(), expected.get("lines").is_some());
                    assert!(!measurement.is_gateways);
                }
                Sampled::Sampling(on) => assert_eq!(on, payload == "on"),
                Sampled::Other => assert!(payload.contains("\"value\""), "{payload}"),
            }
        }
        assert!(measurements >= 8, "{measurements}");
    }

    #[test]
    fn what_the_gateway_writes_itself_is_known() {
        let ours = br#"{"power":5,"current":0.1,"volt":230,"energy":1.5,"ts":"1700000000"}"#;
        let Sampled::Measurement(measurement) = sampled(ours) else { panic!() };
        assert!(measurement.is_gateways);
    }

    #[test]
    fn replies_and_states_are_told_apart() {
        assert_eq!(
            told(br#"{"relay":"on","sampleState":"idle","ts":"03/08/2021 11:42:34.848"}"#),
            Told::State { sampling: false, relay: Some(true) }
        );
        assert!(matches!(told(br#"{"error":false,"cmd":"mdns"}"#), Told::Reply(cmd, _) if cmd == "mdns"));
        for other in ["Parse error", r#"{"error":false}"#, r#"{"value":"1,2,3","unit":"V"}"#, "[]", ""] {
            assert_eq!(told(other.as_bytes()), Told::Other, "{other}");
        }
    }
}
