//! What samples come to: their hash, RMS, mean and power.

use meter_protocols::smartmeter::{Layout, Quantity, floats};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Sums over samples of one layout.
pub(super) struct Statistics {
    names: Vec<String>,
    /// The places of a line's voltage and current, and what its power is called.
    lines: Vec<(usize, usize, String)>,
    /// Bytes of a sample that is not whole yet.
    rest: Vec<u8>,
    hash: Sha256,
    samples: u64,
    first: Vec<Vec<f32>>,
    last: Vec<f32>,
    sums: Vec<f64>,
    squares: Vec<f64>,
    products: Vec<f64>,
}

impl Statistics {
    pub(super) fn new(layout: &Layout) -> Self {
        let names = layout.names();
        let line = |line: u8| {
            let voltage = layout.position(line, Quantity::Voltage)?;
            let current = layout.position(line, Quantity::Current)?;
            Some((voltage, current, format!("p{}", &names[voltage][1..])))
        };
        let lines: Vec<_> = layout.lines().into_iter().filter_map(line).collect();
        let width = names.len();
        Self {
            rest: Vec::new(),
            hash: Sha256::new(),
            samples: 0,
            first: Vec::new(),
            last: Vec::new(),
            sums: vec![0.0; width],
            squares: vec![0.0; width],
            products: vec![0.0; lines.len()],
            names,
            lines,
        }
    }

    /// Adds samples; what is no whole one waits for the rest of it.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let width = 4 * self.names.len();
        let mut joined = std::mem::take(&mut self.rest);
        joined.extend_from_slice(bytes);
        let whole = joined.len() / width * width;
        let (samples, rest) = joined.split_at(whole);
        self.hash.update(samples);
        for sample in samples.chunks_exact(width) {
            self.sample(floats(sample).collect());
        }
        self.rest = rest.to_vec();
    }

    fn sample(&mut self, row: Vec<f32>) {
        self.samples += 1;
        for (place, value) in row.iter().map(|value| f64::from(*value)).enumerate() {
            self.sums[place] += value;
            self.squares[place] += value * value;
        }
        for ((voltage, current, _), product) in self.lines.iter().zip(&mut self.products) {
            *product += f64::from(row[*voltage]) * f64::from(row[*current]);
        }
        if self.first.len() < 3 {
            self.first.push(row.clone());
        }
        self.last = row;
    }

    pub(super) fn samples(&self) -> u64 {
        self.samples
    }

    /// Bytes behind the last whole sample.
    pub(super) fn rest(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn write(&self, into: &mut Map<String, Value>) {
        let mut put = |key: &str, value: Value| into.insert(key.to_owned(), value);
        let count = self.samples as f64;
        let rms: Vec<f64> = self.squares.iter().map(|sum| rounded((sum / count).sqrt())).collect();
        put("channels", json!(self.names));
        put("samples", json!(self.samples));
        put("payload_sha256", json!(hexadecimal(&self.hash.clone().finalize())));
        if self.samples == 0 {
            return;
        }
        put("first", json!(self.first));
        put("last", json!(self.last));
        put("rms", self.named(&rms));
        let mean: Vec<f64> = self.sums.iter().map(|sum| rounded(sum / count)).collect();
        put("mean", self.named(&mean));
        if self.lines.is_empty() {
            return;
        }
        let powers: Vec<f64> =
            self.products.iter().map(|sum| rounded(sum / count / 1000.0)).collect();
        let of_lines = |values: &[f64]| -> Value {
            let names = self.lines.iter().map(|(.., name)| name.clone());
            Value::Object(names.zip(values.iter().map(|value| json!(value))).collect())
        };
        let line = |(voltage, current, _): &(usize, usize, String)| (rms[*voltage], rms[*current]);
        let lines: Vec<(f64, f64)> = self.lines.iter().map(line).collect();
        let apparent: Vec<f64> = lines.iter().map(|(v, i)| rounded(v * i / 1000.0)).collect();
        put("active_power_w", of_lines(&powers));
        put("active_power_total_w", json!(rounded(powers.iter().sum())));
        put("apparent_power_va", of_lines(&apparent));
        let current: f64 = lines.iter().map(|(_, current)| current).sum();
        put("current_total_a", json!(rounded(current / 1000.0)));
        let voltage: f64 = lines.iter().map(|(voltage, _)| voltage).sum();
        put("voltage_mean_v", json!(rounded(voltage / lines.len() as f64)));
    }

    fn named(&self, values: &[f64]) -> Value {
        let values = values.iter().map(|value| json!(value));
        Value::Object(self.names.iter().cloned().zip(values).collect())
    }
}

/// Four decimals.
fn rounded(value: f64) -> f64 {
    format!("{value:.4}").parse().unwrap_or(value)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
