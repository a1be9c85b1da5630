//! The samples of a stream as the meter's memory has them: 32-bit floats, little-endian.
//!
//! A second has whole cycles and whole steps of the rate, so the samples repeat after a while; one
//! round of them is kept and copied for as long as the loads stay as they are.

use std::sync::Arc;

use super::layout::{Layout, Value};
use super::mains::{LineLevel, Mains};

/// The samples of one stream, each a function of its number.
#[derive(Debug)]
pub(super) struct Wave {
    mains: Arc<Mains>,
    layout: Layout,
    rate: u32,
    /// The time of sample 0, seconds since 1970.
    start: f64,
    /// From which sample on the relay is closed or open.
    relay: Vec<(u64, bool)>,
    round: Vec<u8>,
    /// The samples that the round is good for.
    good: std::ops::Range<u64>,
}

impl Wave {
    pub(super) fn new(
        mains: Arc<Mains>,
        layout: Layout,
        rate: u32,
        start: f64,
        relay: bool,
    ) -> Wave {
        let relay = vec![(0, relay)];
        Wave { mains, layout, rate, start, relay, round: Vec::new(), good: 0..0 }
    }

    /// The relay is so from this sample on.
    pub(super) fn switch(&mut self, sample: u64, closed: bool) {
        self.relay.push((sample, closed));
        self.good = 0..0;
    }

    /// Appends samples to `out`.
    pub(super) fn fill(&mut self, out: &mut Vec<u8>, first: u64, count: u64) {
        let (bytes, mut at, end) = (self.layout.bytes(), first, first + count);
        while at < end {
            if !self.good.contains(&at) {
                self.prepare(at);
            }
            let samples = (self.round.len() / bytes) as u64;
            let place = at % samples;
            let take = (samples - place).min(end - at).min(self.good.end - at);
            let from = place as usize * bytes;
            out.extend_from_slice(&self.round[from..from + take as usize * bytes]);
            at += take;
        }
    }

    /// Makes the round that is good around a sample.
    fn prepare(&mut self, at: u64) {
        let rate = f64::from(self.rate);
        let seconds = self.start + at as f64 / rate;
        let mut levels = self.mains.at(seconds);
        let closed = self.relay.iter().rev().find(|(from, _)| *from <= at);
        if closed.is_some_and(|(_, closed)| !closed) {
            levels.iter_mut().for_each(LineLevel::interrupt);
        }
        let change = ((self.mains.changes_after(seconds) - self.start) * rate).ceil();
        let change = (change as u64).max(at + 1);
        let switched = self.relay.iter().map(|(from, _)| *from).find(|from| *from > at);
        self.good = at..switched.unwrap_or(u64::MAX).min(change);
        // 50 cycles a second: after so many samples both are whole again.
        let samples = if self.layout.latched { 1 } else { self.rate / divisor(self.rate, 50) };
        self.round.clear();
        for n in 0..samples {
            let cycles = f64::from(n) * 50.0 / rate;
            for (value, line) in &self.layout.values {
                let sample = self.mains.sample(*value, *line, cycles, &levels[*line]);
                self.round.extend_from_slice(&(sample as f32).to_le_bytes());
            }
        }
    }
}

impl Mains {
    fn sample(&self, value: Value, line: usize, cycles: f64, level: &LineLevel) -> f64 {
        match value {
            Value::Voltage => self.loads[line].moment(cycles, level).0,
            Value::Current => self.loads[line].moment(cycles, level).1,
            Value::Active => level.active_w,
            Value::Reactive => level.reactive_var,
            Value::VoltageRms => level.voltage_v,
            Value::CurrentRms => level.current_a * 1000.0,
        }
    }
}

/// The greatest that divides both.
fn divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a.max(1) } else { divisor(b, a % b) }
}
