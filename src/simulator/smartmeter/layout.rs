//! What a stream has in it: which values one sample has, and in which order.

use super::SmartKind;

/// One value of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    Voltage,
    Current,
    Active,
    Reactive,
    VoltageRms,
    CurrentRms,
}

/// The values of a sample, with the line of each (0 is the first), and how the meter calls it all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) values: Vec<(Value, usize)>,
    /// The `measures` of its reply.
    pub(super) echo: &'static str,
    pub(super) unit: &'static str,
    /// The values are registers, and no moments of a wave.
    pub(super) latched: bool,
}

use Value::{Active, Current, CurrentRms, Reactive, Voltage, VoltageRms};

impl Layout {
    /// What a meter gives when it is asked for these `measures`; `None`: that it does not know.
    pub(super) fn of(kind: SmartKind, measures: Option<&str>) -> Option<Layout> {
        let by_line = |first, second| {
            [(first, 0), (first, 1), (first, 2), (second, 0), (second, 1), (second, 2)].to_vec()
        };
        let one = |line, echo| Layout {
            values: vec![(Voltage, line), (Current, line)],
            echo,
            unit: "V,mA",
            latched: false,
        };
        let registers = |values, echo, unit| Layout { values, echo, unit, latched: true };
        Some(match (kind, measures) {
            (SmartKind::SmartMeter, None | Some("v,i,v,i,v,i")) => Layout::all(kind),
            (SmartKind::SmartMeter, Some("v,i" | "v,i_L1")) => one(0, "v,i_L1"),
            (SmartKind::SmartMeter, Some("v,i_L2")) => one(1, "v,i_L2"),
            (SmartKind::SmartMeter, Some("v,i_L3")) => one(2, "v,i_L3"),
            (SmartKind::SmartMeter, Some("p,q")) => {
                registers(by_line(Active, Reactive), "p,p,p,q,q,q", "W,W,W,VAR,VAR,VAR")
            }
            (SmartKind::SmartMeter, Some("v,i_RMS")) => {
                registers(by_line(VoltageRms, CurrentRms), "v,v,v,i,i,i_RMS", "V,V,V,mA,mA,mA")
            }
            (SmartKind::PowerMeter, None | Some("v,i")) => Layout::all(kind),
            (SmartKind::PowerMeter, Some("p,q")) => {
                registers(vec![(Active, 0), (Reactive, 0)], "p,q", "W,VAR")
            }
            (SmartKind::PowerMeter, Some("v,i,p,q")) => Layout {
                values: vec![(Voltage, 0), (Current, 0), (Active, 0), (Reactive, 0)],
                echo: "v,i,p,q",
                unit: "V,mA,W,VAR",
                latched: false,
            },
            (SmartKind::PowerMeter, Some("v,i_RMS")) => {
                registers(vec![(VoltageRms, 0), (CurrentRms, 0)], "v,i_RMS", "V,mA")
            }
            _ => return None,
        })
    }

    /// Voltage and current of every line, as the stream port gives it.
    pub(super) fn all(kind: SmartKind) -> Layout {
        let values = (0..kind.lines()).flat_map(|line| [(Voltage, line), (Current, line)]);
        let (echo, unit) = match kind {
            SmartKind::SmartMeter => ("v,i,v,i,v,i", "V,mA,V,mA,V,mA"),
            SmartKind::PowerMeter => ("v,i", "V,mA"),
        };
        Layout { values: values.collect(), echo, unit, latched: false }
    }

    /// Bytes of one sample.
    pub(super) fn bytes(&self) -> usize {
        4 * self.values.len()
    }

    /// Whether the meter can take so many samples a second, or what it says about that.
    pub(super) fn objection(&self, kind: SmartKind, rate: u32) -> Option<String> {
        let is_possible = match kind {
            SmartKind::SmartMeter if self.latched && rate > 50 => {
                let short = if self.values[0].0 == Active { "p,q" } else { "v,i_RMS" };
                return Some(format!(
                    "SamplingRate cannot be higher than 50Hz in latch mode: {short} sampling"
                ));
            }
            SmartKind::SmartMeter if self.latched => rate >= 1,
            SmartKind::SmartMeter => rate >= 1 && 32_000 % rate == 0,
            SmartKind::PowerMeter => (1..=8000).contains(&rate),
        };
        (!is_possible).then(|| format!("SamplingRate could not be set to {rate}"))
    }
}
