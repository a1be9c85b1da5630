//! The self-check of a meter that sees both what comes in and what is taken: grid, solar and battery
//! against the loads. A clamp that is turned round, or has the wrong role, shows here.

use std::fmt::Write;

use super::batch::Batch;
use crate::model::{Device, Latest, Milli, Quantity, Role, Sensor, Timestamp, is_clamp};
use crate::topic::{MeterState, Topic};

/// What comes in and what is taken, W.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Balance {
    /// From the grid, negative what is fed in.
    grid: Milli,
    /// From the panels.
    solar: Milli,
    /// From the battery, negative while it is charged.
    battery: Milli,
    /// What the loads take that have a clamp.
    loads: Milli,
}

impl Balance {
    /// The balance of a meter that has clamps at the grid and at loads, each with a power.
    pub(super) fn of(sensors: &[Sensor], latest: &[Latest]) -> Option<Balance> {
        let mut balance = Balance::default();
        let (mut grid, mut loads) = (false, false);
        for (sensor, latest) in sensors.iter().zip(latest).filter(|(sensor, _)| is_clamp(sensor)) {
            let sign = match sensor.quantity {
                Quantity::PPlus => 1,
                Quantity::PMinus => -1,
                _ => continue,
            };
            // Part of the powers is no balance: a packet that lacks some comes before the next.
            let taken = sign * latest.gauge?.0;
            match sensor.role {
                Role::Grid => (grid, balance.grid.0) = (true, balance.grid.0 + taken),
                Role::Solar => balance.solar.0 -= taken,
                Role::Battery => balance.battery.0 -= taken,
                Role::Load => (loads, balance.loads.0) = (true, balance.loads.0 + taken),
            }
        }
        (grid && loads).then_some(balance)
    }

    /// What comes in and no load's clamp sees.
    fn difference(&self) -> Milli {
        Milli(self.grid.0 + self.solar.0 + self.battery.0 - self.loads.0)
    }

    /// Loads without a clamp make a difference above zero. Below it somebody takes what nobody
    /// gives: then a clamp or a role is wrong. Clamps are allowed some tolerance.
    fn agrees(&self) -> bool {
        let tolerance = (self.loads.0.abs() / 20).max(50_000);
        self.difference().0 >= -tolerance
    }
}

/// Publishes `state/balance`.
pub(super) fn publish(batch: &mut Batch, device: &Device, balance: &Balance, at: Timestamp) {
    batch.live(&Topic::Meter(device.name.to_string(), MeterState::Balance), |text| {
        let Balance { grid, solar, battery, loads } = balance;
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{{\"ts\":{},\"grid\":{grid},\"solar\":{solar},\"battery\":{battery},\"loads\":{loads},\
             \"difference\":{},\"agrees\":{}}}",
            at.seconds(),
            balance.difference(),
            balance.agrees(),
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Channel, Make, SensorId, SensorType, Unit};

    fn sensor(n: u8, quantity: Quantity, role: Role) -> Sensor {
        let channel = Channel::Ch(n);
        Sensor {
            id: SensorId::derive(Make::Brultech, "1", channel, quantity),
            channel,
            quantity,
            kind: SensorType::Electricity,
            name: "x".into(),
            role,
            gauge: Some(Unit::Watt),
            counter: Some(Unit::WattHour),
            constant: None,
            own: None,
        }
    }

    fn balance(powers: &[(Role, Option<i64>, Option<i64>)]) -> Option<Balance> {
        let (mut sensors, mut latest) = (Vec::new(), Vec::new());
        let gauge = |watts: Option<i64>| Latest {
            gauge: watts.map(|watts| Milli(watts * 1000)),
            counter: None,
        };
        for (n, (role, taken, given)) in powers.iter().enumerate() {
            sensors.push(sensor(n as u8 + 1, Quantity::PPlus, *role));
            latest.push(gauge(*taken));
            if role.counts_both_ways() {
                sensors.push(sensor(n as u8 + 1, Quantity::PMinus, *role));
                latest.push(gauge(*given));
            }
        }
        Balance::of(&sensors, &latest)
    }

    #[test]
    fn what_comes_in_is_held_against_the_loads() {
        use Role::{Battery, Grid, Load, Solar};
        // 2000 from the panels, 300 into the battery, 500 fed in: 1200 are taken, 1100 are seen.
        let fine = [
            (Grid, Some(0), Some(500)),
            (Solar, Some(0), Some(2000)),
            (Battery, Some(300), Some(0)),
            (Load, Some(1100), None),
        ];
        let found = balance(&fine).unwrap();
        assert_eq!((found.difference(), found.agrees()), (Milli(100_000), true));
        // The panels' clamp the wrong way round.
        let mut turned = fine;
        turned[1] = (Solar, Some(2000), Some(0));
        let found = balance(&turned).unwrap();
        assert_eq!((found.difference(), found.agrees()), (Milli(-3_900_000), false));
    }

    #[test]
    fn without_both_sides_or_with_unknown_powers_there_is_none() {
        assert_eq!(balance(&[(Role::Grid, Some(1), Some(0))]), None);
        assert_eq!(balance(&[(Role::Load, Some(1), None), (Role::Solar, Some(1), Some(0))]), None);
        assert_eq!(balance(&[(Role::Grid, Some(1), None), (Role::Load, Some(1), None)]), None);
    }
}
