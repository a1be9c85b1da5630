//! What the `multiplier` of a channel does: to powers, currents and energies.

use crate::adapters::fleet::MeterSettings;
use crate::adapters::smartmeter::measured::{Energy, Line, Measured};
use crate::adapters::smartmeter::sensors::CHANNELS;

/// The multiplier of each channel's energy.
pub(super) fn factors(settings: &MeterSettings) -> [f64; 4] {
    CHANNELS.map(|channel| settings.channel(channel).multiplier)
}

/// The measurement with multipliers applied. Where a line has one, the whole is the sum of the lines.
pub(super) fn scaled(measured: &Measured, settings: &MeterSettings) -> Measured {
    let [whole, lines @ ..] = factors(settings);
    if whole == 1.0 && lines == [1.0; 3] {
        return measured.clone();
    }
    let mut measured = measured.clone();
    for (line, factor) in measured.lines.iter_mut().zip(lines) {
        line.scale(factor);
    }
    if lines != [1.0; 3] {
        measured.whole = sum(&measured);
        measured.energy = measured.energy.map(|energy| summed(energy, lines));
    }
    measured.whole.scale(whole);
    measured
}

impl Line {
    fn scale(&mut self, factor: f64) {
        let values = [
            &mut self.active_w,
            &mut self.reactive_var,
            &mut self.apparent_va,
            &mut self.current_a,
        ];
        for value in values.into_iter().flatten() {
            *value *= factor;
        }
    }
}

/// The energy of the whole as its lines make it, where all of them tell.
fn summed(energy: Energy, factors: [f64; 3]) -> Energy {
    let sum = |lines: [f64; 3]| lines.iter().zip(factors).map(|(wh, factor)| wh * factor).sum();
    match energy {
        Energy::Total { lines_wh: lines_wh @ [Some(a), Some(b), Some(c)], .. } => {
            Energy::Total { whole_wh: sum([a, b, c]), lines_wh }
        }
        Energy::Message { lines: lines @ [Some(a), Some(b), Some(c)], unit, .. } => {
            Energy::Message { whole: sum([a, b, c]), lines, unit }
        }
        Energy::Flowed { lines_wh: lines_wh @ [Some(a), Some(b), Some(c)], .. } => {
            let (taken, given) = (sum([a.0, b.0, c.0]), sum([a.1, b.1, c.1]));
            Energy::Flowed { whole_wh: Some((taken, given)), lines_wh }
        }
        energy => energy,
    }
}

/// The whole as its lines make it, where all of them tell; what they do not tell stays.
fn sum(measured: &Measured) -> Line {
    let [a, b, c] = measured.lines;
    let of = |value: fn(&Line) -> Option<f64>| Some(value(&a)? + value(&b)? + value(&c)?);
    let whole = measured.whole;
    let active_w = of(|line| line.active_w).or(whole.active_w);
    let apparent_va = of(|line| line.apparent_va).or(whole.apparent_va);
    let ratio = active_w.zip(apparent_va).filter(|(_, apparent)| *apparent > 0.0);
    Line {
        active_w,
        reactive_var: of(|line| line.reactive_var).or(whole.reactive_var),
        apparent_va,
        power_factor: whole.power_factor.and(ratio.map(|(active, apparent)| active / apparent)),
        voltage_v: whole.voltage_v,
        current_a: of(|line| line.current_a).or(whole.current_a),
    }
}
