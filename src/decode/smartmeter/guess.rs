//! What samples are, where nothing tells it: by what looks like the mains.

use meter_protocols::smartmeter::{Kind, Layout, Quantity, SMART_RATES, floats};

/// The layout that makes voltages of these samples: one line, one line with powers, or three lines. `chunk`:
/// the bytes of a packet, which are whole samples; 0: there are none.
pub(super) fn layout(bytes: &[u8], chunk: usize, kind: Option<Kind>) -> Option<Layout> {
    let (one, three) = ("v,i", "v,i,v,i,v,i");
    let candidates = ["v,i", "v,i,p,q", "v,i,v,i,v,i"];
    let fits = |measures: &str| match kind {
        Some(Kind::PowerMeter) => measures != three,
        Some(Kind::SmartMeter) => measures == one || measures == three,
        None => true,
    };
    candidates
        .into_iter()
        .filter(|measures| fits(measures))
        .filter_map(|measures| Layout::of_measures(kind, measures))
        .filter(|layout| chunk.is_multiple_of(layout.sample_bytes()))
        .find(|layout| voltages(bytes, layout).iter().all(|voltage| is_mains(voltage)))
}

/// The rate at which these voltages have the frequency of the mains: 50 Hz, else 60 Hz. One that meters
/// have, if it is near.
pub(super) fn rate_hz(bytes: &[u8], layout: &Layout) -> Option<f64> {
    let mut cycles: Vec<f64> =
        voltages(bytes, layout).iter().flat_map(|voltage| cycles(voltage)).collect();
    cycles.sort_by(f64::total_cmp);
    let cycle = *cycles.get(cycles.len() / 2)?;
    let near = |mains: f64| {
        let rate = mains * cycle;
        let is_near = |good: &f64| (good - rate).abs() < 0.03 * good;
        SMART_RATES.into_iter().map(f64::from).find(is_near)
    };
    near(50.0).or_else(|| near(60.0)).or(Some((50.0 * cycle).round()))
}

fn voltages(bytes: &[u8], layout: &Layout) -> Vec<Vec<f64>> {
    let values: Vec<f64> = floats(bytes).map(f64::from).collect();
    let rows = values.chunks_exact(layout.channels.len());
    let is_voltage = |place: &usize| layout.channels[*place].what == Quantity::Voltage;
    let places = (0..layout.channels.len()).filter(is_voltage);
    places.map(|place| rows.clone().map(|row| row[place]).collect()).collect()
}

/// A voltage that goes up and down around zero, little by little: neighbours of three lines in turn jump.
fn is_mains(values: &[f64]) -> bool {
    let count = values.len() as f64;
    let rms = (values.iter().map(|value| value * value).sum::<f64>() / count).sqrt();
    let mean = values.iter().sum::<f64>() / count;
    let steps = values.windows(2).map(|pair| (pair[1] - pair[0]).powi(2)).sum::<f64>();
    let step = (steps / (count - 1.0)).sqrt();
    (60.0..400.0).contains(&rms) && mean.abs() < 0.5 * rms && step < rms
}

/// How many samples lie between the places where a voltage rises through zero.
fn cycles(values: &[f64]) -> Vec<f64> {
    let rises = values.windows(2).enumerate().filter_map(|(place, pair)| {
        let rises = pair[0] < 0.0 && pair[1] >= 0.0;
        rises.then(|| place as f64 + pair[0] / (pair[0] - pair[1]))
    });
    let rises: Vec<f64> = rises.collect();
    rises.windows(2).map(|pair| pair[1] - pair[0]).filter(|cycle| *cycle > 4.0).collect()
}
