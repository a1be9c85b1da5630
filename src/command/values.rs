//! The latest values of a meter, and how replies write them.
//!
//! Whatever [`answers`](super::answers) says in numbers comes from here.

use serde_json::{Map, Number, Value};

use super::directory::Heard;
use crate::model::{Channel, Latest, Milli, Quantity, Sensor, Sum, is_clamp, summed_role};

impl Heard {
    /// The meter's sum, as on `state/sample`.
    pub(super) fn sum(&self) -> Option<Sum> {
        Sum::of(&self.device.sensors, &self.latest)
    }

    /// The voltage that the meter measures for all its clamps, or that of the first phase.
    pub(super) fn line_voltage(&self) -> Option<Milli> {
        let of = |channel| self.gauge(channel, Quantity::Vrms);
        of(Channel::Line).or_else(|| of(Channel::L(1)))
    }

    /// Power taken less power given back.
    pub(super) fn net_power(&self, channel: Channel) -> Option<Milli> {
        let taken = self.gauge(channel, Quantity::PPlus)?;
        let given = self.gauge(channel, Quantity::PMinus).unwrap_or_default();
        Some(Milli(taken.0 - given.0))
    }

    /// Reactive power with its sign, positive where the current lags: one quadrant has it, the others 0.
    pub(super) fn reactive(&self, channel: Channel) -> Option<Milli> {
        let of = |quantity| self.gauge(channel, quantity).map(|value| value.0);
        let lagging = of(Quantity::Q1)? + of(Quantity::Q2)?;
        Some(Milli(lagging - of(Quantity::Q3)? - of(Quantity::Q4)?))
    }

    /// Whether the meter measures it anywhere.
    pub(super) fn has(&self, quantity: Quantity) -> bool {
        self.device.sensors.iter().any(|sensor| sensor.quantity == quantity)
    }

    pub(super) fn gauge(&self, channel: Channel, quantity: Quantity) -> Option<Milli> {
        self.sensor(channel, quantity).and_then(|(_, latest)| latest.gauge)
    }

    pub(super) fn counter(&self, channel: Channel, quantity: Quantity) -> Option<Milli> {
        self.sensor(channel, quantity).and_then(|(_, latest)| latest.counter)
    }

    /// The total over the clamps that make up the meter's sum; `None` if none of them has one.
    pub(super) fn total(&self, quantity: Quantity) -> Option<Milli> {
        let role = summed_role(&self.device.sensors);
        let all = self.device.sensors.iter().zip(&self.latest);
        let summed = all
            .filter(|(one, _)| one.quantity == quantity && one.role == role && is_clamp(one))
            .filter_map(|(_, latest)| latest.counter);
        summed.reduce(|one, other| Milli(one.0 + other.0))
    }

    /// A value for each clamp or phase that has it, by its channel.
    pub(super) fn by_channel(&self, of: &dyn Fn(Channel) -> Option<Milli>) -> Map<String, Value> {
        let groups = self.device.sensors.chunk_by(|one, other| one.channel == other.channel);
        let is_one = |sensor: &&Sensor| {
            matches!(sensor.channel, Channel::Ch(_) | Channel::Aux(_) | Channel::L(_))
        };
        let clamps = groups.filter_map(|sensors| sensors.first().filter(is_one));
        clamps
            .filter_map(|sensor| Some((sensor.channel.to_string(), number(of(sensor.channel)?))))
            .collect()
    }

    pub(super) fn sensor(
        &self,
        channel: Channel,
        quantity: Quantity,
    ) -> Option<(&Sensor, &Latest)> {
        let mut all = self.device.sensors.iter().zip(&self.latest);
        all.find(|(sensor, _)| sensor.channel == channel && sensor.quantity == quantity)
    }
}

/// The SmartMeter's grammar has currents in mA.
pub(super) fn milliamperes(amperes: Milli) -> Milli {
    Milli(amperes.0.saturating_mul(1000))
}

/// As a number, without a fraction where there is none.
pub(super) fn number(value: Milli) -> Value {
    if value.0 % 1000 == 0 {
        return Value::from(value.0 / 1000);
    }
    Number::from_f64(value.to_f64()).map_or(Value::Null, Value::Number)
}

/// As text: one value for each line of the mains, two decimals each.
pub(super) fn lines(values: &[Milli]) -> String {
    let text = |value: &Milli| {
        let hundredths = value.hundredths().0 / 10;
        let sign = if hundredths < 0 { "-" } else { "" };
        let magnitude = hundredths.unsigned_abs();
        format!("{sign}{}.{:02}", magnitude / 100, magnitude % 100)
    };
    values.iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_two_decimals_and_commas_between_lines() {
        assert_eq!(
            lines(&[Milli(230_104), Milli(-5), Milli(-4), Milli(231_405)]),
            "230.10,-0.01,0.00,231.41"
        );
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        assert_eq!(number(Milli(-4000)).to_string(), "-4");
        assert_eq!(number(Milli(2_218_400)).to_string(), "2218.4");
    }
}
