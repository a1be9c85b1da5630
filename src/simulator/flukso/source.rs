//! What a sensor measures at a moment: a function of the time alone, so that a simulator that was
//! started again goes on where it should be, and its past is the same whenever it is asked for.

use super::value::Value;
use crate::simulator::house::{House, Level};

/// Where a sensor's values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A clamp of an FLM02: apparent power, which has no direction.
    Analog(Flow),
    /// Pulses, each worth so many thousandths of a Wh or litre.
    Pulses {
        /// What is counted.
        flow: Flow,
        /// Thousandths of a Wh or litre a pulse.
        constant: u64,
        /// Of an FLM03, which writes values in its own way.
        fixed: bool,
    },
    /// The P1 port of an FLM02: taken less given back, which falls while the sun shines.
    Net,
    /// The gas meter behind that port.
    PortGas,
    /// A clamp of an FLM03.
    Clamp(Flow, Clamp),
    /// A radio sensor.
    Kube(Kube),
}

/// What flows past a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// The connection to the grid.
    Grid,
    /// The solar panels.
    Solar,
    /// The heating.
    Gas,
    /// Water.
    Water,
}

/// What an FLM03 makes of a clamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clamp {
    /// Taken.
    Pplus,
    /// Given back.
    Pminus,
    /// Reactive, by quadrant.
    Q(u8),
    /// Voltage.
    Vrms,
    /// Current.
    Irms,
    /// Power factor.
    Pf,
    /// Distortion of the voltage.
    Vthd,
    /// Distortion of the current.
    Ithd,
    /// Angle between the two.
    Alpha,
}

/// What a radio sensor measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kube {
    /// In the garden, so below zero in the night.
    Temperature,
    /// Relative, in percent.
    Humidity,
    /// Pascal.
    Pressure,
    /// Volts.
    Battery,
    /// Lux.
    Light,
    /// A bit field, mostly nothing.
    Error,
    /// How often somebody moved.
    Movement,
    /// How often something shook.
    Vibration,
    /// How often somebody came near.
    Proximity,
}

/// Watt-seconds for one Wh; for gas and water the house's circuits stand for litres.
const PER_UNIT: u64 = 3600;

impl Flow {
    fn level(self, house: &House, at: f64) -> Level {
        match self {
            Flow::Grid => house.grid(at),
            Flow::Solar => house.solar(at),
            Flow::Gas => house.circuit(3, at),
            Flow::Water => house.circuit(5, at),
        }
    }

    /// All that has flowed, whichever way; 3600 are one Wh or litre.
    pub(super) fn total(self, house: &House, at: f64) -> u64 {
        let level = self.level(house, at);
        level.taken + level.given
    }
}

impl Source {
    /// What the sensor's counter says at `at` (seconds since 1970), if it has one.
    pub(super) fn counter(self, house: &House, at: i64) -> Option<Value> {
        let seconds = at as f64;
        Some(match self {
            Source::Analog(flow) => {
                Value::Plain((flow.total(house, seconds) / PER_UNIT) as i64 * 1000)
            }
            Source::Pulses { flow, constant, fixed } => {
                let thousandths = pulses(flow.total(house, seconds), constant) * constant;
                if fixed {
                    Value::counter(thousandths, 1000)
                } else {
                    Value::Plain(thousandths as i64)
                }
            }
            Source::Net => {
                let level = house.grid(seconds);
                let wh = |watt_seconds: u64| (watt_seconds / PER_UNIT) as i64;
                Value::Plain((wh(level.taken) - wh(level.given)) * 1000)
            }
            Source::PortGas => {
                Value::Plain((Flow::Gas.total(house, seconds) / PER_UNIT) as i64 * 1000)
            }
            Source::Clamp(flow, clamp) => clamp.counter(flow.level(house, seconds))?,
            Source::Kube(kube) => kube.counter(at)?,
        })
    }

    /// What the sensor's gauge says, if it has one that does not need the pulse before.
    pub(super) fn gauge(self, house: &House, at: i64) -> Option<Value> {
        let seconds = at as f64;
        match self {
            Source::Analog(flow) => {
                Some(Value::Plain(flow.level(house, seconds).watts.abs() as i64 * 1000))
            }
            Source::Net => Some(Value::Plain(house.grid(seconds).watts as i64 * 1000)),
            Source::Clamp(flow, clamp) => {
                Some(Value::gauge(clamp.gauge(flow.level(house, seconds).watts, at)))
            }
            Source::Kube(kube) => kube.gauge(at).map(Value::Plain),
            Source::Pulses { .. } | Source::PortGas => None,
        }
    }

    /// Seconds from one message to the next; pulses and a counter that stands still send nothing.
    pub(super) fn period(self) -> i64 {
        match self {
            Source::Net | Source::PortGas => TELEGRAM,
            Source::Kube(_) => RADIO,
            _ => 1,
        }
    }

    /// Whether the counter is sent only when it has changed.
    pub(super) fn counts_steps(self) -> bool {
        matches!(self, Source::Analog(_) | Source::Pulses { .. } | Source::PortGas)
    }
}

/// How many pulses that makes.
fn pulses(total: u64, constant: u64) -> u64 {
    total * 1000 / (PER_UNIT * constant)
}

/// The number of the last pulse up to the second `at`, and when it came, in milliseconds: within a
/// second everything flows evenly.
pub(super) fn last_pulse(flow: Flow, constant: u64, house: &House, at: i64) -> (u64, i64) {
    let (before, now) = (flow.total(house, (at - 1) as f64), flow.total(house, at as f64));
    let number = pulses(now, constant);
    let needed = (number * PER_UNIT * constant).div_ceil(1000);
    let part = needed.saturating_sub(before) * 1000 / now.saturating_sub(before).max(1);
    (number, (at - 1) * 1000 + (part as i64).min(1000))
}

impl Clamp {
    fn counter(self, level: Level) -> Option<Value> {
        let amount = match self {
            Clamp::Pplus => level.taken,
            Clamp::Pminus => level.given,
            Clamp::Q(1) => level.taken / 4,
            Clamp::Q(2) => 0,
            Clamp::Q(3) => level.given / 10,
            Clamp::Q(_) => level.taken / 20,
            _ => return None,
        };
        Some(Value::counter(amount, PER_UNIT))
    }

    fn gauge(self, watts: f64, at: i64) -> f64 {
        let voltage = 230.0 + 3.0 * wave(at, 5400) + noise(at, 1);
        let factor = 0.95 + 0.03 * noise(at / 60, 2);
        match self {
            Clamp::Pplus => watts.max(0.0),
            Clamp::Pminus => (-watts).max(0.0),
            Clamp::Q(1) => watts.max(0.0) / 4.0,
            Clamp::Q(2) => 0.0,
            Clamp::Q(3) => (-watts).max(0.0) / 10.0,
            Clamp::Q(_) => watts.max(0.0) / 20.0,
            Clamp::Vrms => voltage,
            Clamp::Irms => watts.abs() / factor / voltage,
            Clamp::Pf => factor,
            Clamp::Vthd => 0.02 + 0.005 * noise(at, 3),
            Clamp::Ithd => 0.12 + 0.05 * noise(at, 4),
            // Behind the voltage, so negative: what the daemon writes of it is not what it is.
            Clamp::Alpha => -14.0 - 4.0 * noise(at / 60, 2),
        }
    }

    /// As it stands in the documents.
    pub(super) fn subtype(self) -> &'static str {
        match self {
            Clamp::Pplus => "pplus",
            Clamp::Pminus => "pminus",
            Clamp::Q(1) => "q1",
            Clamp::Q(2) => "q2",
            Clamp::Q(3) => "q3",
            Clamp::Q(_) => "q4",
            Clamp::Vrms => "vrms",
            Clamp::Irms => "irms",
            Clamp::Pf => "pf",
            Clamp::Vthd => "vthd",
            Clamp::Ithd => "ithd",
            Clamp::Alpha => "alpha",
        }
    }

    /// In the order of an FLM03's sensors.
    pub(super) const ALL: [Clamp; 12] = [
        Clamp::Pplus,
        Clamp::Pminus,
        Clamp::Q(1),
        Clamp::Q(2),
        Clamp::Q(3),
        Clamp::Q(4),
        Clamp::Vrms,
        Clamp::Irms,
        Clamp::Pf,
        Clamp::Vthd,
        Clamp::Ithd,
        Clamp::Alpha,
    ];
}

impl Kube {
    /// Thousandths, in the steps of the radio sensor.
    fn gauge(self, at: i64) -> Option<i64> {
        let day = wave(at - 6 * 3600, 86_400);
        let slow = noise(at / 900, self as u64);
        let (value, step) = match self {
            Kube::Temperature => (2000.0 + 5000.0 * day + 300.0 * slow, 10),
            Kube::Humidity => (70_000.0 - 15_000.0 * day + 1000.0 * slow, 100),
            Kube::Pressure => (101_325_000.0 + 400_000.0 * wave(at, 5 * 86_400), 250),
            Kube::Battery => (3100.0 + 100.0 * slow, 100),
            Kube::Light => (3_000_000.0 * day.max(0.0) + 2000.0 * slow, 250),
            Kube::Error => (0.0, 1),
            Kube::Movement | Kube::Vibration | Kube::Proximity => return None,
        };
        Some((value / f64::from(step)).floor() as i64 * i64::from(step))
    }

    fn counter(self, at: i64) -> Option<Value> {
        let every = match self {
            Kube::Movement => 240,
            Kube::Vibration => 700,
            Kube::Proximity => 1300,
            _ => return None,
        };
        let since = (at - crate::simulator::house::EPOCH as i64).max(0);
        Some(Value::Plain(since / every * 1000))
    }

    /// As it stands in the documents.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Kube::Temperature => "temperature",
            Kube::Humidity => "humidity",
            Kube::Pressure => "pressure",
            Kube::Battery => "battery",
            Kube::Light => "light",
            Kube::Error => "error",
            Kube::Movement => "movement",
            Kube::Vibration => "vibration",
            Kube::Proximity => "proximity",
        }
    }

    /// The unit of its gauge; counters have none.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Kube::Temperature => "°C",
            Kube::Humidity => "%",
            Kube::Pressure => "Pa",
            Kube::Battery => "V",
            Kube::Light => "lx",
            _ => "",
        }
    }

    /// Whether what it measures counts up.
    pub(super) fn counts(self) -> bool {
        matches!(self, Kube::Movement | Kube::Vibration | Kube::Proximity)
    }
}

/// A sine with its beginning at 1970.
fn wave(at: i64, period: i64) -> f64 {
    (at.rem_euclid(period) as f64 / period as f64 * std::f64::consts::TAU).sin()
}

/// Something between 0 and 1 that looks like chance and is the same each time.
fn noise(at: i64, salt: u64) -> f64 {
    let mut mixed = (at as u64 ^ (salt << 48)).wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed >> 40) as f64 / (1 << 24) as f64
}

/// A P1 telegram comes so often (DSMR 4).
const TELEGRAM: i64 = 10;
/// A radio packet comes so often; real sensors let minutes pass.
const RADIO: i64 = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::house::EPOCH;

    const DAY: i64 = EPOCH as i64 + 300 * 86_400;

    #[test]
    fn counters_never_fall_but_for_the_net_of_the_port() {
        let house = House::new(1);
        let pulses = Source::Pulses { flow: Flow::Solar, constant: 500, fixed: false };
        let mut rising = vec![Source::Analog(Flow::Grid), Source::PortGas, pulses];
        rising.extend(Clamp::ALL.map(|clamp| Source::Clamp(Flow::Grid, clamp)));
        rising.push(Source::Kube(Kube::Movement));
        let mut net_fell = false;
        for at in (DAY..DAY + 2 * 86_400).step_by(97) {
            let read = |source: Source, at| source.counter(&house, at).map(Value::as_read);
            for source in &rising {
                assert!(read(*source, at) <= read(*source, at + 97), "{source:?}");
            }
            net_fell |= read(Source::Net, at) > read(Source::Net, at + 97);
        }
        assert!(net_fell);
    }

    #[test]
    fn the_last_pulse_is_within_its_second() {
        let house = House::new(1);
        let noon = DAY + 12 * 3600;
        let (first, begin) = last_pulse(Flow::Solar, 500, &house, noon);
        let (last, end) = last_pulse(Flow::Solar, 500, &house, noon + 50);
        assert!(end > (noon + 49) * 1000 && end <= (noon + 50) * 1000, "{end}");
        let watts = (last - first) as f64 * 0.5 / (end - begin) as f64 * 3.6e6;
        assert!((watts + house.solar(noon as f64).watts).abs() < 20.0, "{watts}");
    }
}
