//! What the samples of a stream are, in their order.

use std::fmt;

use super::Kind;

/// What one sample of a stream holds: 32-bit floats, little-endian, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// One after the other; never empty.
    pub channels: Vec<StreamChannel>,
}

/// One value of each sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamChannel {
    /// 1 to 3 for a line of a SmartMeter, 0 for the only one of a PowerMeter.
    pub line: u8,
    /// What is told.
    pub what: Quantity,
}

/// What a channel of a stream tells, and in which unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// Momentary voltage, V.
    Voltage,
    /// Momentary current, mA.
    Current,
    /// Active power, W.
    Active,
    /// Reactive power, var.
    Reactive,
    /// RMS voltage, V.
    VoltageRms,
    /// RMS current, mA.
    CurrentRms,
}

use Quantity::{Active, Current, CurrentRms, Reactive, Voltage, VoltageRms};

impl Layout {
    /// The layout that `measures` of a reply to `sample` names. `None` where nobody knows it.
    ///
    /// Of a SmartMeter, `v,i` is L1 alone, and `p,q` and `v,i_RMS` are all three lines (its replies
    /// spell these out).
    ///
    /// Source: protocol note, section 4.1, the column "echo in the reply".
    #[must_use]
    pub fn of_measures(kind: Option<Kind>, measures: &str) -> Option<Self> {
        let smart = kind == Some(Kind::SmartMeter);
        let only = if smart { 1 } else { 0 };
        Some(match measures {
            "v,i,v,i,v,i" => Self::lines_in_turn(),
            "v,i_L1" => Self::of(1, &[Voltage, Current]),
            "v,i_L2" => Self::of(2, &[Voltage, Current]),
            "v,i_L3" => Self::of(3, &[Voltage, Current]),
            "v,i" => Self::of(only, &[Voltage, Current]),
            "v,i,p,q" => Self::of(only, &[Voltage, Current, Active, Reactive]),
            "p,p,p,q,q,q" => Self::quantities_in_turn(Active, Reactive),
            "v,v,v,i,i,i_RMS" => Self::quantities_in_turn(VoltageRms, CurrentRms),
            "p,q" if smart => Self::quantities_in_turn(Active, Reactive),
            "p,q" => Self::of(0, &[Active, Reactive]),
            "v,i_RMS" if smart => Self::quantities_in_turn(VoltageRms, CurrentRms),
            "v,i_RMS" => Self::of(0, &[VoltageRms, CurrentRms]),
            _ => return None,
        })
    }

    /// The layout that units speak of, where a message has no measures: `W,W,W,VAR,VAR,VAR`.
    ///
    /// Units do not tell a momentary `v,i` of one line from its RMS, nor which line of a SmartMeter:
    /// this takes the momentary ones, and L1.
    #[must_use]
    pub fn of_units(kind: Option<Kind>, units: &str) -> Option<Self> {
        let measures = match units.to_ascii_uppercase().as_str() {
            "V,MA,V,MA,V,MA" => "v,i,v,i,v,i",
            "V,MA" => "v,i",
            "W,W,W,VAR,VAR,VAR" => "p,p,p,q,q,q",
            "W,VAR" => return Some(Self::of(0, &[Active, Reactive])),
            "V,V,V,MA,MA,MA" => "v,v,v,i,i,i_RMS",
            "V,MA,W,VAR" => "v,i,p,q",
            _ => return None,
        };
        Self::of_measures(kind, measures)
    }

    /// The measures as a reply spells them.
    #[must_use]
    pub fn measures(&self) -> String {
        let letters: Vec<&str> = self.channels.iter().map(|one| one.what.letter()).collect();
        let mut text = letters.join(",");
        match &*self.channels {
            [StreamChannel { line: line @ 1..=3, what: Voltage }, _] => {
                text.push_str(&format!("_L{line}"));
            }
            [StreamChannel { what: VoltageRms, .. }, ..] => text.push_str("_RMS"),
            _ => {}
        }
        text
    }

    /// The units as a reply spells them: `V,mA,V,mA,V,mA`.
    #[must_use]
    pub fn units(&self) -> String {
        let units: Vec<&str> = self.channels.iter().map(|one| one.what.unit()).collect();
        units.join(",")
    }

    /// Bytes of one sample of all channels.
    #[must_use]
    pub fn sample_bytes(&self) -> usize {
        self.channels.len() * size_of::<f32>()
    }

    /// A short name for each channel: `v_l1`, `i_rms_l2`; without the line where there is only one.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let first = self.channels.first().map(|one| one.line);
        let is_one_line = self.channels.iter().all(|one| Some(one.line) == first);
        let name = |one: &StreamChannel| match is_one_line {
            true => one.what.name().to_owned(),
            false => format!("{}_l{}", one.what.name(), one.line),
        };
        self.channels.iter().map(name).collect()
    }

    /// The place of a channel in a sample.
    #[must_use]
    pub fn position(&self, line: u8, what: Quantity) -> Option<usize> {
        self.channels.iter().position(|one| *one == StreamChannel { line, what })
    }

    /// The lines that are told, each once, in their order.
    #[must_use]
    pub fn lines(&self) -> Vec<u8> {
        let mut lines: Vec<u8> = self.channels.iter().map(|one| one.line).collect();
        lines.sort_unstable();
        lines.dedup();
        lines
    }

    fn of(line: u8, what: &[Quantity]) -> Self {
        Self { channels: what.iter().map(|what| StreamChannel { line, what: *what }).collect() }
    }

    fn lines_in_turn() -> Self {
        let channels = (1..=3)
            .flat_map(|line| [Voltage, Current].map(|what| StreamChannel { line, what }))
            .collect();
        Self { channels }
    }

    fn quantities_in_turn(first: Quantity, second: Quantity) -> Self {
        let channels = [first, second]
            .into_iter()
            .flat_map(|what| (1..=3).map(move |line| StreamChannel { line, what }))
            .collect();
        Self { channels }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.measures())
    }
}

impl Quantity {
    /// `V`, `mA`, `W` or `VAR`.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Voltage | VoltageRms => "V",
            Current | CurrentRms => "mA",
            Active => "W",
            Reactive => "VAR",
        }
    }

    /// `v`, `i`, `p`, `q`, `v_rms` or `i_rms`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            VoltageRms => "v_rms",
            CurrentRms => "i_rms",
            _ => self.letter(),
        }
    }

    const fn letter(self) -> &'static str {
        match self {
            Voltage | VoltageRms => "v",
            Current | CurrentRms => "i",
            Active => "p",
            Reactive => "q",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_echo_has_its_channels_and_comes_back() {
        let cases = [
            (Kind::SmartMeter, "v,i,v,i,v,i", "v_l1 i_l1 v_l2 i_l2 v_l3 i_l3", "V,mA,V,mA,V,mA"),
            (Kind::SmartMeter, "v,i_L1", "v i", "V,mA"),
            (Kind::SmartMeter, "v,i_L3", "v i", "V,mA"),
            (Kind::SmartMeter, "p,p,p,q,q,q", "p_l1 p_l2 p_l3 q_l1 q_l2 q_l3", "W,W,W,VAR,VAR,VAR"),
            (
                Kind::SmartMeter,
                "v,v,v,i,i,i_RMS",
                "v_rms_l1 v_rms_l2 v_rms_l3 i_rms_l1 i_rms_l2 i_rms_l3",
                "V,V,V,mA,mA,mA",
            ),
            (Kind::PowerMeter, "v,i", "v i", "V,mA"),
            (Kind::PowerMeter, "p,q", "p q", "W,VAR"),
            (Kind::PowerMeter, "v,i,p,q", "v i p q", "V,mA,W,VAR"),
            (Kind::PowerMeter, "v,i_RMS", "v_rms i_rms", "V,mA"),
        ];
        for (kind, echo, names, units) in cases {
            let layout = Layout::of_measures(Some(kind), echo).unwrap();
            assert_eq!(layout.names().join(" "), names);
            assert_eq!((layout.measures(), layout.units()), (echo.to_owned(), units.to_owned()));
            assert_eq!(layout.sample_bytes(), 4 * layout.channels.len());
            assert_eq!(layout.lines().len(), if layout.channels.len() == 6 { 3 } else { 1 });
        }
        assert_eq!(Layout::of_measures(None, "v"), None);
    }

    #[test]
    fn units_tell_the_layout_where_measures_are_missing() {
        let of = |units| Layout::of_units(Some(Kind::SmartMeter), units).map(|one| one.measures());
        assert_eq!(of("W,W,W,VAR,VAR,VAR").as_deref(), Some("p,p,p,q,q,q"));
        assert_eq!(of("V,mA").as_deref(), Some("v,i_L1"));
        assert_eq!(of("Wh"), None);
    }
}
