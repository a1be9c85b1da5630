//! What an FLM03 sends beside its readings every second: a mains period of each port, and the
//! clocks of its two halves, which are not JSON.

use std::f64::consts::{SQRT_2, TAU};

use super::live::Message;
use super::meter::Fluksometer;
use super::source::{Clamp, Flow, Source};

/// The messages of the second `at`.
pub(super) fn messages(meter: &Fluksometer, at: i64) -> Vec<Message> {
    let topic = |end: &str| format!("/device/{}/flx/{end}", meter.id);
    let voltage = 230_000.0 * SQRT_2;
    let mut messages =
        vec![Message::live(topic("voltage/1"), period(at, voltage, 0.0, "mV").into_bytes())];
    for (port, flow) in [(1, Flow::Grid), (2, Flow::Solar)] {
        let amperes = Source::Clamp(flow, Clamp::Irms).gauge(&meter.house, at);
        let amplitude = amperes.map_or(0.0, |value| value.as_read() as f64 * SQRT_2);
        let payload = period(at, amplitude, -0.25, "mA").into_bytes();
        messages.push(Message::live(topic(&format!("current/{port}")), payload));
    }
    let clocks =
        format!("{{flm:{{time:[{at},12369],update:false}},flx:{{time:[{at},0],update:false}}}}");
    messages.push(Message::live(topic("time"), clocks.into_bytes()));
    messages
}

/// 32 samples of one period.
fn period(at: i64, amplitude: f64, phase: f64, unit: &str) -> String {
    let sample = |n: i32| (amplitude * (f64::from(n) / 32.0 * TAU + phase).sin()) as i64;
    let samples: Vec<String> = (0..32).map(|n| sample(n).to_string()).collect();
    format!("[[{at},500],[{}],\"{unit}\"]", samples.join(","))
}
