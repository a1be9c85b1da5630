//! What a device's message says, beyond what the protocol reads of it: which of the two it looks like, and
//! whether a gateway wrote it.

use meter_protocols::smartmeter::Kind;
use meter_protocols::smartmeter::mqtt::{self, InfoMessage, Measurement, Sample};
use serde_json::{Map, Value};

/// What was said on `state/sample`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sampled {
    /// What it measures; energies are in the device's unit, whichever that is.
    Measurement(Box<Measurement>, Looks),
    /// Sampling has begun, or ended.
    Sampling(bool),
    /// Something else: a plug answers requests for one value here.
    Other,
}

/// What a measurement looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Looks {
    /// Which of the two sends such.
    pub(super) kind: Option<Kind>,
    /// It is written as this gateway and its kin write theirs: `energy` behind `volt`, and without an
    /// energy `current` behind `volt`, or one of the two alone.
    pub(super) is_gateways: bool,
}

/// Reads a message on `state/sample`.
pub(super) fn sampled(payload: &[u8]) -> Sampled {
    if payload.len() > LARGEST {
        return Sampled::Other;
    }
    // In Wh an energy stays what it is.
    match Sample::read(payload, Some(true)) {
        Some(Sample::Measurement(measurement)) => {
            let keys = serde_json::from_slice(payload).unwrap_or_default();
            let measurement = believable(measurement);
            if measurement.power_w.is_none() {
                return Sampled::Other;
            }
            Sampled::Measurement(Box::new(measurement), looks(&keys))
        }
        Some(Sample::Sampling(on)) => Sampled::Sampling(on),
        Some(Sample::Answer(_)) | None => Sampled::Other,
    }
}

/// Reads a message on `state/info`.
pub(super) fn told(payload: &[u8], kind: Option<Kind>) -> InfoMessage {
    match payload.len() > LARGEST {
        true => InfoMessage::Text(String::new()),
        false => InfoMessage::read(payload, kind),
    }
}

/// Reads a message on `state/sensors/temp`: °C.
pub(super) fn temperature(payload: &[u8]) -> Option<f64> {
    (payload.len() <= LARGEST).then(|| mqtt::temperature(payload)).flatten()
}

fn looks(keys: &Map<String, Value>) -> Looks {
    let place = |key: &str| keys.keys().position(|one| one == key);
    let is_plug = place("inUse").is_some();
    let kind = match keys.get("ts") {
        _ if is_plug => Some(Kind::PowerMeter),
        Some(Value::String(_)) => Some(Kind::SmartMeter),
        Some(Value::Number(_)) => Some(Kind::PowerMeter),
        _ => place("p_l1").map(|_| Kind::SmartMeter),
    };
    let is_gateways = match (place("current"), place("volt"), place("energy")) {
        (_, volt, Some(energy)) => volt.is_none_or(|volt| volt < energy),
        (Some(current), Some(volt), None) => volt < current,
        // A device always tells both.
        _ => true,
    };
    Looks { kind, is_gateways: is_gateways && !is_plug }
}

/// Without values that no house has: a message may say anything.
fn believable(mut measurement: Measurement) -> Measurement {
    let lines = measurement.lines.iter_mut().flatten().flat_map(|line| {
        [&mut line.power_w, &mut line.energy_wh, &mut line.current_a, &mut line.voltage_v]
    });
    let whole = [
        &mut measurement.power_w,
        &mut measurement.energy_wh,
        &mut measurement.current_a,
        &mut measurement.voltage_v,
    ];
    for value in whole.into_iter().chain(lines) {
        *value = value.filter(|value| value.is_finite() && value.abs() < ABSURD);
    }
    measurement
}

/// Several times what a device can send.
const LARGEST: usize = 4096;
/// No quantity of a house comes there.
const ABSURD: f64 = 1e12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measurement_looks_like_who_sent_it() {
        let text =
            include_str!("../../../../protocols/tests/captures/smartmeter/mqtt_examples.jsonl");
        let mut measurements = 0;
        for line in text.lines() {
            let example: Value = serde_json::from_str(line).unwrap();
            let topic = example["topic"].as_str().unwrap();
            let payload = example["payload"].as_str().unwrap();
            if !topic.ends_with("state/sample") {
                continue;
            }
            match sampled(payload.as_bytes()) {
                Sampled::Measurement(measurement, looks) => {
                    measurements += 1;
                    assert_eq!(example["expected"]["power_w"].as_f64(), measurement.power_w);
                    let is_plug = topic.contains("/powermeter");
                    assert_eq!(looks.kind == Some(Kind::PowerMeter), is_plug, "{payload}");
                    assert!(!looks.is_gateways, "{payload}");
                }
                Sampled::Sampling(on) => assert_eq!(on, payload == "on"),
                Sampled::Other => assert!(payload.contains("\"value\""), "{payload}"),
            }
        }
        assert!(measurements >= 8, "{measurements}");
    }

    #[test]
    fn what_a_gateway_writes_is_known() {
        for ours in [
            r#"{"power":5,"current":0.1,"volt":230,"energy":1.5,"ts":"1700000000"}"#,
            r#"{"power":5,"energy":1.5,"ts":"1700000000"}"#,
            // Before a total is known.
            r#"{"power":5,"volt":230,"current":0.1,"ts":"1700000000"}"#,
            r#"{"power":5,"volt":230,"ts":"1700000000"}"#,
            r#"{"power":5,"ts":"1700000000"}"#,
        ] {
            let Sampled::Measurement(_, looks) = sampled(ours.as_bytes()) else { panic!() };
            assert!(looks.is_gateways, "{ours}");
        }
        let old = r#"{"power":5,"current":0.1,"volt":230,"ts":"1700000000"}"#;
        let Sampled::Measurement(_, looks) = sampled(old.as_bytes()) else { panic!() };
        assert!(!looks.is_gateways, "a device without a count of energy");
    }

    #[test]
    fn what_cannot_be_is_left_out() {
        for payload in ["", "{}", "{\"power\":null}", "{\"power\":1e300}", "[1]", "\u{1}"] {
            assert_eq!(sampled(payload.as_bytes()), Sampled::Other, "{payload}");
        }
        let Sampled::Measurement(measurement, _) =
            sampled(br#"{"power":"5.5","volt":1e300,"energy":null}"#)
        else {
            panic!()
        };
        assert_eq!((measurement.power_w, measurement.voltage_v), (Some(5.5), None));
    }
}
