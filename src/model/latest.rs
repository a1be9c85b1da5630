//! The latest values of a meter, and what they come to for the meter as a whole.

use super::{Channel, Milli, Quantity, Role, Sensor};

/// The latest values of one sensor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latest {
    /// What is now, in the sensor's unit.
    pub gauge: Option<Milli>,
    /// The running total, in the sensor's unit.
    pub counter: Option<Milli>,
}

/// The meter's sum over its grid channels if it has any, else over its loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// W, positive for what is taken.
    pub power: Milli,
    /// A.
    pub current: Option<Milli>,
    /// V.
    pub volt: Option<Milli>,
    /// Wh taken; `None` while the total of one of the clamps is not known: a sum without it would jump
    /// when it is.
    pub energy: Option<Milli>,
}

impl Sum {
    /// The sum of `latest`, one for each of `sensors`. `None` until a power is known.
    pub fn of(sensors: &[Sensor], latest: &[Latest]) -> Option<Sum> {
        let role = summed_role(sensors);
        let mut sum = Sum { power: Milli(0), current: None, volt: None, energy: Some(Milli(0)) };
        let mut has_power = false;
        let at_line =
            |sensor: &Sensor| sensor.channel == Channel::Line && sensor.quantity == Quantity::Irms;
        let sums_itself = sensors.iter().any(at_line);
        for (sensor, latest) in sensors.iter().zip(latest) {
            if sensor.quantity == Quantity::Vrms {
                // The whole meter's, or else that of the first phase.
                sum.volt = sum.volt.or(latest.gauge);
            }
            // Where the meter tells its own sum, the phases are in it.
            if let (Channel::L(_), Quantity::Irms, Some(current)) =
                (sensor.channel, sensor.quantity, latest.gauge)
                && !sums_itself
            {
                sum.current = Some(Milli(sum.current.unwrap_or_default().0 + current.0));
            }
            if sensor.role != role || !is_clamp(sensor) {
                continue;
            }
            let gauge = latest.gauge.unwrap_or_default();
            match sensor.quantity {
                Quantity::PPlus => {
                    has_power |= latest.gauge.is_some();
                    sum.power.0 += gauge.0;
                    let both = sum.energy.zip(latest.counter);
                    sum.energy = both.map(|(sum, counter)| Milli(sum.0 + counter.0));
                }
                Quantity::PMinus => sum.power.0 -= gauge.0,
                Quantity::Irms => {
                    sum.current = Some(Milli(sum.current.unwrap_or_default().0 + gauge.0));
                }
                _ => {}
            }
        }
        has_power.then_some(sum)
    }
}

/// The role of the clamps that a meter's sum is made of.
pub fn summed_role(sensors: &[Sensor]) -> Role {
    let has_grid = sensors.iter().any(|sensor| sensor.role == Role::Grid && is_clamp(sensor));
    let line = sensors.iter().find(|sensor| sensor.channel == Channel::Line && is_clamp(sensor));
    match line {
        _ if has_grid => Role::Grid,
        // All that the meter measures, whatever it is for.
        Some(line) => line.role,
        None => Role::Load,
    }
}

/// Whether the sensor is at a clamp, so that it has a share in the meter's sum; or it is the sum that
/// the meter itself makes of its phases.
pub fn is_clamp(sensor: &Sensor) -> bool {
    use Quantity::{Irms, PMinus, PPlus};
    match sensor.channel {
        Channel::Ch(_) | Channel::Aux(_) => true,
        Channel::Line => matches!(sensor.quantity, PPlus | PMinus | Irms),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Make, SensorId, SensorType, Unit};

    fn clamp(number: u8) -> Sensor {
        let channel = Channel::Ch(number);
        Sensor {
            id: SensorId::derive(Make::Brultech, "1", channel, Quantity::PPlus),
            channel,
            quantity: Quantity::PPlus,
            kind: SensorType::Electricity,
            name: "clamp".into(),
            role: Role::Load,
            gauge: Some(Unit::Watt),
            counter: Some(Unit::WattHour),
            constant: None,
            own: None,
        }
    }

    #[test]
    fn a_total_that_is_not_known_is_not_taken_for_zero() {
        let sensors = [clamp(1), clamp(2)];
        let known = Latest { gauge: Some(Milli(5)), counter: Some(Milli(7)) };
        let unknown = Latest { gauge: Some(Milli(5)), counter: None };
        let energy = |latest: [Latest; 2]| Sum::of(&sensors, &latest).unwrap().energy;
        assert_eq!(energy([known, known]), Some(Milli(14)));
        assert_eq!(energy([known, unknown]), None);
        assert_eq!(energy([unknown, unknown]), None);
    }
}
