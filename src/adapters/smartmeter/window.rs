//! What the samples of about a second come to.
//!
//! | the meter samples | that gives |
//! |---|---|
//! | voltage and current | RMS of both, active, reactive and apparent power, power factor, frequency |
//! | these and both powers | the same, but reactive power is the meter's |
//! | powers | both, apparent power, power factor |
//! | RMS | both, apparent power |

use meter_protocols::mains::{Cut, Mean, Pair, Rows, quarter};

use super::{Energy, Line, Measured};
use crate::model::{Channel, WaveChannel, WaveKind};

/// Which column of a frame is what.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    lines: [LineColumns; 3],
    /// A PowerMeter: its only line is the whole meter.
    single: bool,
    /// All lines that the meter has are sampled, so there is a sum of them.
    whole: bool,
    width: usize,
    rate_hz: f64,
    /// At which frames really come: how long one lasts where power becomes energy.
    pace_hz: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct LineColumns {
    momentary: Option<(usize, usize)>,
    active: Option<usize>,
    reactive: Option<usize>,
    voltage: Option<usize>,
    current: Option<usize>,
}

impl Columns {
    pub(super) fn new(channels: &[WaveChannel], rate_hz: f64) -> Columns {
        let find =
            |channel, kind| channels.iter().position(|one| *one == WaveChannel { channel, kind });
        let single = channels.iter().any(|one| one.channel == Channel::Line);
        let fast = rate_hz >= LEAST_RATE_HZ;
        let line = |channel| LineColumns {
            momentary: find(channel, WaveKind::Voltage)
                .zip(find(channel, WaveKind::Current))
                .filter(|_| fast),
            active: find(channel, WaveKind::Active),
            reactive: find(channel, WaveKind::Reactive),
            voltage: find(channel, WaveKind::VoltageRms),
            current: find(channel, WaveKind::CurrentRms),
        };
        let lines = if single {
            [line(Channel::Line), LineColumns::default(), LineColumns::default()]
        } else {
            [1, 2, 3].map(|number| line(Channel::L(number)))
        };
        let whole = single || lines.iter().all(|line| !line.is_empty());
        Columns { lines, single, whole, width: channels.len().max(1), rate_hz, pace_hz: rate_hz }
    }

    /// Samples in a frame.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Frames come at another rate than was told.
    pub(super) fn follow(&mut self, pace_hz: f64) {
        self.pace_hz = pace_hz;
    }

    /// How many frames are looked back at.
    pub(super) fn lag(&self) -> usize {
        if self.voltages().next().is_some() { quarter(self.rate_hz) } else { 0 }
    }

    /// The columns with momentary voltages that cycles can be taken from.
    pub(super) fn voltages(&self) -> impl Iterator<Item = usize> {
        self.lines.iter().filter_map(|line| line.momentary.map(|(voltage, _)| voltage))
    }

    /// Whether anything can be read from these samples. Voltages and currents that are taken too seldom
    /// tell nothing of mains: sampled 50 times a second, a wave of 50 Hz is a constant.
    pub(super) fn readable(&self) -> bool {
        self.lines.iter().any(|line| !line.is_empty())
    }
}

impl LineColumns {
    fn is_empty(&self) -> bool {
        let Self { momentary, active, reactive, voltage, current } = self;
        momentary.is_none()
            && [active, reactive, voltage, current].iter().all(|column| column.is_none())
    }
}

/// The sums of a window that is open.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    lines: [Sums; 3],
    frames: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    pair: Pair,
    active: Mean,
    reactive: Mean,
    voltage: Mean,
    current: Mean,
}

impl Window {
    /// Adds the frames that count.
    pub(super) fn add(&mut self, columns: &Columns, rows: Rows<'_>) {
        let frames = rows.samples.len() / columns.width;
        self.frames += frames.saturating_sub(rows.begin) as u64;
        for (sums, line) in self.lines.iter_mut().zip(&columns.lines) {
            if let Some((voltage, current)) = line.momentary {
                sums.pair.add(rows, voltage, current, quarter(columns.rate_hz));
            }
            let means = [
                (&mut sums.active, line.active),
                (&mut sums.reactive, line.reactive),
                (&mut sums.voltage, line.voltage),
                (&mut sums.current, line.current),
            ];
            for (mean, column) in means {
                if let Some(column) = column {
                    mean.add(rows, column);
                }
            }
        }
    }

    /// Frames that came.
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// Samples among them that were no numbers.
    pub(super) fn bad(&self) -> u64 {
        let means = |sums: &Sums| [sums.active, sums.reactive, sums.voltage, sums.current];
        let bad = |sums: &Sums| sums.pair.bad() + means(sums).iter().map(Mean::bad).sum::<u64>();
        self.lines.iter().map(bad).sum()
    }

    /// RMS voltage in the column with momentary voltages, V.
    pub(super) fn voltage(&self, columns: &Columns, column: usize) -> Option<f64> {
        let of = |line: &LineColumns| line.momentary.is_some_and(|(voltage, _)| voltage == column);
        columns.lines.iter().position(of).and_then(|line| self.lines[line].pair.voltage())
    }

    /// What the window comes to. `energy`: also the energy that has flowed in the frames that came;
    /// what was lost flowed too, but nobody knows how much.
    pub(super) fn measured(&self, columns: &Columns, cut: &Cut, energy: bool) -> Measured {
        let (lines, whole) = self.means(columns);
        let energy = energy.then(|| self.flowed(columns, &lines, &whole)).flatten();
        let mut measured = Measured { energy, ..Measured::default() };
        // Out of a small part of a second no reading is made.
        if self.frames as f64 >= columns.rate_hz * LEAST_SHARE {
            measured.frequency_hz = cut.frequency_hz;
            measured.lines = if columns.single { [Line::default(); 3] } else { lines };
            measured.whole = if columns.whole { whole } else { Line::default() };
        }
        measured
    }

    /// Line by line, and the whole; a PowerMeter's only line is both.
    pub(super) fn means(&self, columns: &Columns) -> ([Line; 3], Line) {
        let lines = [0, 1, 2].map(|line| self.lines[line].line(&columns.lines[line]));
        (lines, if columns.single { lines[0] } else { sum(&lines) })
    }

    fn flowed(&self, columns: &Columns, lines: &[Line; 3], whole: &Line) -> Option<Energy> {
        let hours = self.frames as f64 / columns.pace_hz / 3600.0;
        let line = |line: &Line| line.active_w.filter(|_| !columns.single);
        let [a, b, c] = lines.each_ref().map(line);
        let whole = whole.active_w.filter(|_| columns.whole);
        Energy::flowed([whole, a, b, c], hours)
    }
}

impl Sums {
    fn line(&self, columns: &LineColumns) -> Line {
        let (pair, active_w, reactive_var) = (&self.pair, self.active.mean(), self.reactive.mean());
        if columns.momentary.is_some() {
            let reactive_var = reactive_var.or_else(|| pair.reactive());
            return Line {
                active_w: pair.active(),
                reactive_var,
                apparent_va: pair.apparent(),
                power_factor: factor(pair.active(), pair.apparent()),
                voltage_v: pair.voltage(),
                current_a: pair.current().map(|milliamperes| milliamperes / 1000.0),
            };
        }
        let voltage_v = self.voltage.rms();
        let current_a = self.current.rms().map(|milliamperes| milliamperes / 1000.0);
        let apparent_va = match (voltage_v.zip(current_a), active_w.zip(reactive_var)) {
            (Some((v, i)), _) => Some(v * i),
            (None, powers) => powers.map(|(p, q)| p.hypot(q)),
        };
        let power_factor = factor(active_w, apparent_va);
        Line { active_w, reactive_var, apparent_va, power_factor, voltage_v, current_a }
    }
}

impl Energy {
    /// What has flowed in two stretches.
    pub(super) fn sum(one: Option<Energy>, other: Option<Energy>) -> Option<Energy> {
        let (Some(a), Some(b)) = (one, other) else { return one.or(other) };
        let (
            Energy::Flowed { whole_wh: whole, mut lines_wh },
            Energy::Flowed { whole_wh, lines_wh: others },
        ) = (a, b)
        else {
            // The meter's own totals hold all that there was before.
            return Some(b);
        };
        let both = |one: Option<(f64, f64)>, other: Option<(f64, f64)>| match (one, other) {
            (Some(one), Some(other)) => Some((one.0 + other.0, one.1 + other.1)),
            (one, other) => one.or(other),
        };
        for (line, other) in lines_wh.iter_mut().zip(others) {
            *line = both(*line, other);
        }
        Some(Energy::Flowed { whole_wh: both(whole, whole_wh), lines_wh })
    }
}

/// The whole of three lines: powers and currents in sum, the mean of the voltages. What one of them lacks
/// the whole lacks.
fn sum(lines: &[Line; 3]) -> Line {
    let sum = |of: fn(&Line) -> Option<f64>| lines.iter().map(of).sum::<Option<f64>>();
    let (active_w, apparent_va) = (sum(|line| line.active_w), sum(|line| line.apparent_va));
    Line {
        active_w,
        reactive_var: sum(|line| line.reactive_var),
        apparent_va,
        power_factor: factor(active_w, apparent_va),
        voltage_v: sum(|line| line.voltage_v).map(|volts| volts / 3.0),
        current_a: sum(|line| line.current_a),
    }
}

fn factor(active: Option<f64>, apparent: Option<f64>) -> Option<f64> {
    active.zip(apparent).filter(|(_, s)| *s > 0.0).map(|(p, s)| (p / s).clamp(-1.0, 1.0))
}

/// Five samples a cycle of 50 Hz.
pub(super) const LEAST_RATE_HZ: f64 = 250.0;
/// Of a second, to make a reading of.
const LEAST_SHARE: f64 = 0.25;
