//! Quantities and their units.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Milli;

/// What a sensor measures, spelled in topics and ids as Fluksometers spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantity {
    /// Active power and energy taken from the grid, W and Wh.
    PPlus,
    /// Active power and energy given back, W and Wh; both count upwards from zero.
    PMinus,
    /// What was taken less what was given back, W and Wh: a total that may fall.
    Net,
    /// Reactive power and energy of the first quadrant, var and varh.
    Q1,
    /// Of the second quadrant.
    Q2,
    /// Of the third quadrant.
    Q3,
    /// Of the fourth quadrant.
    Q4,
    /// Apparent power, VA.
    Apparent,
    /// Voltage, RMS, V.
    Vrms,
    /// Current, RMS, A.
    Irms,
    /// Power factor, -1 to 1.
    Pf,
    /// Distortion of the voltage, a ratio.
    Vthd,
    /// Distortion of the current, a ratio.
    Ithd,
    /// Angle between voltage and current, degrees.
    Alpha,
    /// Frequency of the mains, Hz.
    Frequency,
    /// Temperature, °C.
    Temperature,
    /// Relative humidity, %.
    Humidity,
    /// Voltage of a radio node's battery, V.
    Battery,
    /// Illuminance, lx.
    Light,
    /// Air pressure, Pa.
    Pressure,
    /// Faults of a radio node, a bit field.
    Error,
    /// Movements that a radio node has counted.
    Movement,
    /// Vibrations that a radio node has counted.
    Vibration,
    /// What came near a radio node, counted.
    Proximity,
    /// Pulses of an attached meter, and what they stand for.
    Pulse,
}

impl Quantity {
    /// The spelling used in identities, topics and configuration documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Quantity::PPlus => "pplus",
            Quantity::PMinus => "pminus",
            Quantity::Net => "net",
            Quantity::Q1 => "q1",
            Quantity::Q2 => "q2",
            Quantity::Q3 => "q3",
            Quantity::Q4 => "q4",
            Quantity::Apparent => "apparent",
            Quantity::Vrms => "vrms",
            Quantity::Irms => "irms",
            Quantity::Pf => "pf",
            Quantity::Vthd => "vthd",
            Quantity::Ithd => "ithd",
            Quantity::Alpha => "alpha",
            Quantity::Frequency => "frequency",
            Quantity::Temperature => "temperature",
            Quantity::Humidity => "humidity",
            Quantity::Battery => "battery",
            Quantity::Light => "light",
            Quantity::Pressure => "pressure",
            Quantity::Error => "error",
            Quantity::Movement => "movement",
            Quantity::Vibration => "vibration",
            Quantity::Proximity => "proximity",
            Quantity::Pulse => "pulse",
        }
    }
}

impl Quantity {
    /// The unit of its momentary value; of pulses only their medium tells.
    pub fn gauge_unit(self) -> Option<Unit> {
        Some(match self {
            Quantity::PPlus | Quantity::PMinus | Quantity::Net => Unit::Watt,
            Quantity::Q1 | Quantity::Q2 | Quantity::Q3 | Quantity::Q4 => Unit::Var,
            Quantity::Apparent => Unit::VoltAmpere,
            Quantity::Vrms | Quantity::Battery => Unit::Volt,
            Quantity::Irms => Unit::Ampere,
            Quantity::Pf | Quantity::Vthd | Quantity::Ithd | Quantity::Error => Unit::Count,
            Quantity::Alpha => Unit::Degree,
            Quantity::Frequency => Unit::Hertz,
            Quantity::Temperature => Unit::Celsius,
            Quantity::Humidity => Unit::Percent,
            Quantity::Light => Unit::Lux,
            Quantity::Pressure => Unit::Pascal,
            Quantity::Movement | Quantity::Vibration | Quantity::Proximity | Quantity::Pulse => {
                return None;
            }
        })
    }

    /// The unit of its running total, where it has one; of pulses only their medium tells.
    pub fn counter_unit(self) -> Option<Unit> {
        match self {
            Quantity::PPlus | Quantity::PMinus | Quantity::Net => Some(Unit::WattHour),
            Quantity::Q1 | Quantity::Q2 | Quantity::Q3 | Quantity::Q4 => Some(Unit::VarHour),
            Quantity::Movement | Quantity::Vibration | Quantity::Proximity => Some(Unit::Count),
            _ => None,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a sensor's medium is: the `type` of a Fluksometer's configuration document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SensorType {
    /// Electric power, energy, voltage or current.
    Electricity,
    /// Gas by volume, litres.
    Gas,
    /// Water by volume, litres.
    Water,
    /// Temperature, °C.
    Temperature,
    /// Heat, Wh.
    Heat,
    /// Fuel by volume, litres.
    Fuel,
    /// Pellets by mass, grams.
    Pellet,
    /// Time that something ran, seconds.
    Time,
    /// Relative humidity, %.
    Humidity,
    /// A battery's voltage, V.
    Battery,
    /// Illuminance, lx.
    Light,
    /// Air pressure, Pa.
    Pressure,
    /// Faults, a bit field.
    Error,
    /// Movements, counted.
    Movement,
    /// Vibrations, counted.
    Vibration,
    /// What came near, counted.
    Proximity,
    /// Something that was counted without being told what it is.
    Other,
}

impl SensorType {
    /// The spelling used in configuration documents.
    pub fn as_str(self) -> &'static str {
        match self {
            SensorType::Electricity => "electricity",
            SensorType::Gas => "gas",
            SensorType::Water => "water",
            SensorType::Temperature => "temperature",
            SensorType::Heat => "heat",
            SensorType::Fuel => "fuel",
            SensorType::Pellet => "pellet",
            SensorType::Time => "time",
            SensorType::Humidity => "humidity",
            SensorType::Battery => "battery",
            SensorType::Light => "light",
            SensorType::Pressure => "pressure",
            SensorType::Error => "error",
            SensorType::Movement => "movement",
            SensorType::Vibration => "vibration",
            SensorType::Proximity => "proximity",
            SensorType::Other => "other",
        }
    }
}

impl SensorType {
    /// The unit of what pulses of this medium come to.
    pub fn total_unit(self) -> Unit {
        match self {
            SensorType::Electricity | SensorType::Heat => Unit::WattHour,
            SensorType::Gas | SensorType::Water | SensorType::Fuel => Unit::Litre,
            SensorType::Pellet => Unit::Gram,
            SensorType::Time => Unit::Second,
            _ => Unit::Count,
        }
    }
}

impl SensorType {
    /// The unit of how fast pulses of this medium come, where a Fluksometer knows one.
    pub fn rate_unit(self) -> Option<Unit> {
        match self {
            SensorType::Electricity => Some(Unit::Watt),
            SensorType::Gas | SensorType::Water => Some(Unit::LitrePerDay),
            _ => None,
        }
    }

    /// How fast a total has risen: `counted` Wh or L in `milliseconds`, as whole W or L/day.
    ///
    /// Source: FLM02 firmware, gauge of a pulse input: the difference over the time, times 3.6e6
    /// for W and 86.4e6 for L/day, rounded half up.
    pub fn rate(self, counted: Milli, milliseconds: u64) -> Option<Milli> {
        let factor = match self.rate_unit()? {
            Unit::Watt => 3_600_000,
            _ => 86_400_000,
        };
        let (counted, span) = (i128::from(counted.0), i128::from(milliseconds));
        let rate = (2 * counted * factor + 1000 * span).checked_div_euclid(2 * 1000 * span)?;
        i64::try_from(rate * 1000).ok().map(Milli)
    }
}

/// The unit a value is published in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// W
    Watt,
    /// Wh
    WattHour,
    /// V
    Volt,
    /// A
    Ampere,
    /// °C
    Celsius,
    /// L
    Litre,
    /// VAR
    Var,
    /// VARh
    VarHour,
    /// VA
    VoltAmpere,
    /// Hz
    Hertz,
    /// °
    Degree,
    /// %
    Percent,
    /// lx
    Lux,
    /// Pa
    Pascal,
    /// L/day
    LitrePerDay,
    /// L/s
    LitrePerSecond,
    /// g
    Gram,
    /// g/s
    GramPerSecond,
    /// s
    Second,
    /// 1/s
    PerSecond,
    /// A bare count: the empty text on the wire.
    Count,
}

impl Unit {
    /// The text in a reading's payload.
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Watt => "W",
            Unit::WattHour => "Wh",
            Unit::Volt => "V",
            Unit::Ampere => "A",
            Unit::Celsius => "°C",
            Unit::Litre => "L",
            Unit::Var => "VAR",
            Unit::VarHour => "VARh",
            Unit::VoltAmpere => "VA",
            Unit::Hertz => "Hz",
            Unit::Degree => "°",
            Unit::Percent => "%",
            Unit::Lux => "lx",
            Unit::Pascal => "Pa",
            Unit::LitrePerDay => "L/day",
            Unit::LitrePerSecond => "L/s",
            Unit::Gram => "g",
            Unit::GramPerSecond => "g/s",
            Unit::Second => "s",
            Unit::PerSecond => "1/s",
            Unit::Count => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_a_fluksometer() {
        // From a session of an FLM02: 0.5 Wh each, and the milliseconds between two pulses.
        for (span, watts) in [(5185, 347), (6222, 289), (9333, 193), (2074, 868), (20740, 87)] {
            assert_eq!(SensorType::Electricity.rate(Milli(500), span), Some(Milli(watts * 1000)));
        }
        assert_eq!(SensorType::Gas.rate(Milli(10_000), 17_000), Some(Milli(50_824_000)));
        assert_eq!(SensorType::Gas.rate(Milli(10_000), 0), None, "no time has passed");
        assert_eq!(SensorType::Other.rate(Milli(1000), 1000), None, "nobody said what it counts");
    }
}
