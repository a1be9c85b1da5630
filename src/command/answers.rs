//! What the latest readings answer without asking the meter: `info`, `getPower` and its kin, and
//! the momentary values of the `sample` topic.
//!
//! A key whose value the meter did not give is left out; a command that the meter's hardware has no
//! answer for is refused in words.

use serde_json::{Map, Number, Value};

use super::directory::{Heard, Meter};
use super::{Answer, Command, CommandError};
use crate::model::{Channel, Device, Latest, Milli, Quantity, Sensor, SensorType, Sum};
use crate::model::{is_clamp, summed_role};

/// The answer, or `None` for a command that is the meter's own business.
pub fn answer(command: &Command, meter: &Meter) -> Option<Result<Answer, CommandError>> {
    let answer: fn(&Heard, Scope) -> Result<Answer, CommandError> = match &*command.name {
        "info" => return Some(Ok(info(meter))),
        "getPower" => power,
        "getVoltage" => voltage,
        "getCurrent" => current,
        "getEnergy" => energy,
        "getPeriod" => |heard, _| Err(not_measured(heard, "the period of the mains")),
        "getPhaseAngle" => |heard, _| Err(not_measured(heard, "phase angles")),
        _ => return None,
    };
    Some(heard(meter).and_then(|heard| answer(heard, Scope::of(command, &heard.device)?)))
}

/// The answer to a payload of the `sample` topic: `v`, `i`, `p`, `q`, `s` or `e`, anything else
/// asks for the power.
///
/// # Errors
/// When the meter is offline or does not measure it.
pub fn sample(payload: &[u8], meter: &Meter) -> Result<Answer, CommandError> {
    let heard = heard(meter)?;
    let sum = || Sum::of(&heard.device.sensors, &heard.latest);
    let (value, unit) = match payload.trim_ascii() {
        b"v" => (line_voltage(heard), "V"),
        b"i" => (sum().and_then(|sum| sum.current).map(milliamperes), "mA"),
        b"q" => return Err(not_measured(heard, "reactive power")),
        b"s" => return Err(not_measured(heard, "apparent power")),
        b"e" => (sum().map(|sum| Milli(sum.energy.0 / 1000)), "kWh"),
        _ => (sum().map(|sum| sum.power), "W"),
    };
    let value = value.ok_or_else(|| not_known_yet(unit))?;
    Ok(Map::from_iter([
        ("value".to_owned(), Value::String(lines(&[value]))),
        ("unit".to_owned(), unit.into()),
        ("ts".to_owned(), Value::String(heard.at.seconds().to_string())),
    ]))
}

/// One value for each line, two decimals each.
fn lines(values: &[Milli]) -> String {
    let text = |value: &Milli| {
        let hundredths = value.hundredths().0 / 10;
        let sign = if hundredths < 0 { "-" } else { "" };
        let magnitude = hundredths.unsigned_abs();
        format!("{sign}{}.{:02}", magnitude / 100, magnitude % 100)
    };
    values.iter().map(text).collect::<Vec<_>>().join(",")
}

/// Commands are answered by meters that can be heard.
fn heard(meter: &Meter) -> Result<&Heard, CommandError> {
    match meter {
        Meter::Heard(heard) if heard.online => Ok(heard),
        Meter::Heard(_) | Meter::Expected(_) => Err(CommandError::Offline),
    }
}

/// What of the meter a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Whole,
    One(Channel),
}

impl Scope {
    /// From `"channel":"ch3"`, or `"channel":3`.
    fn of(command: &Command, device: &Device) -> Result<Scope, CommandError> {
        let channel = match command.arguments.get("channel") {
            None | Some(Value::Null) => return Ok(Scope::Whole),
            Some(Value::String(text)) => text.parse().ok(),
            Some(Value::Number(number)) => number
                .as_u64()
                .and_then(|n| u8::try_from(n).ok())
                .filter(|n| *n > 0)
                .map(Channel::Ch),
            Some(_) => None,
        };
        let there = |channel: &Channel| device.sensors.iter().any(|one| one.channel == *channel);
        channel.filter(there).map(Scope::One).ok_or_else(|| {
            let asked = command.arguments.get("channel").map(Value::to_string).unwrap_or_default();
            let asked: String = asked.chars().take(64).collect();
            let known = channels(device).collect::<Vec<_>>().join(", ");
            CommandError::Invalid(format!("channel {asked} is not one of {known}"))
        })
    }
}

fn channels(device: &Device) -> impl Iterator<Item = String> {
    let groups = device.sensors.chunk_by(|one, other| one.channel == other.channel);
    groups.filter_map(|sensors| Some(sensors.first()?.channel.to_string()))
}

fn info(meter: &Meter) -> Answer {
    let mut info = Map::new();
    if let Meter::Heard(heard) = meter {
        info.insert("type".to_owned(), heard.device.model.as_str().into());
    }
    info.insert("name".to_owned(), (&**meter.name()).into());
    if let Some(serial) = meter.serial() {
        info.insert("serial".to_owned(), (&**serial).into());
    }
    info.insert("make".to_owned(), meter.make().as_str().into());
    if let Meter::Heard(heard) = meter {
        info.insert("model".to_owned(), heard.device.model.title().into());
        info.insert("device".to_owned(), heard.device.id.to_string().into());
        info.insert("adopted".to_owned(), heard.device.adopted.into());
    }
    info.insert("online".to_owned(), meter.is_online().into());
    let last_seen = match meter {
        Meter::Heard(heard) => heard.at.seconds().into(),
        Meter::Expected(_) => Value::Null,
    };
    info.insert("last_seen".to_owned(), last_seen);
    if let Meter::Heard(heard) = meter {
        info.insert("channels".to_owned(), Value::Object(described(&heard.device)));
    }
    info
}

/// Name and role, or medium, of each channel.
fn described(device: &Device) -> Map<String, Value> {
    let groups = device.sensors.chunk_by(|one, other| one.channel == other.channel);
    let described = groups.filter_map(|sensors| {
        let sensor = sensors.first()?;
        let mut channel = Map::from_iter([("name".to_owned(), Value::from(&*sensor.name))]);
        if is_clamp(sensor) {
            let role = serde_json::to_value(sensor.role).unwrap_or_default();
            channel.insert("role".to_owned(), role);
        } else if sensor.kind != SensorType::Electricity || sensor.quantity == Quantity::Pulse {
            channel.insert("type".to_owned(), sensor.kind.as_str().into());
        }
        Some((sensor.channel.to_string(), Value::Object(channel)))
    });
    described.collect()
}

fn power(heard: &Heard, scope: Scope) -> Result<Answer, CommandError> {
    let sum = || Sum::of(&heard.device.sensors, &heard.latest).map(|sum| sum.power);
    let of = |channel| {
        let taken = gauge(heard, channel, Quantity::PPlus)?;
        let given = gauge(heard, channel, Quantity::PMinus).unwrap_or_default();
        Some(Milli(taken.0 - given.0))
    };
    let power = Measure { key: "activePower", unit: "W/var/VA", of: &of, whole: &sum };
    power.answer(heard, scope)
}

fn current(heard: &Heard, scope: Scope) -> Result<Answer, CommandError> {
    let sum = || {
        let sum = Sum::of(&heard.device.sensors, &heard.latest)?;
        sum.current.map(milliamperes)
    };
    let of = |channel| gauge(heard, channel, Quantity::Irms).map(milliamperes);
    Measure { key: "current", unit: "mA", of: &of, whole: &sum }.answer(heard, scope)
}

fn energy(heard: &Heard, scope: Scope) -> Result<Answer, CommandError> {
    let total = |quantity| summed(heard, quantity);
    let whole = || total(Quantity::PPlus);
    let of = |channel| counter(heard, channel, Quantity::PPlus);
    let energy = Measure { key: "energy", unit: "Wh", of: &of, whole: &whole };
    let mut answer = energy.answer(heard, scope)?;
    let given = match scope {
        Scope::Whole => total(Quantity::PMinus),
        Scope::One(channel) => counter(heard, channel, Quantity::PMinus),
    };
    if let Some(given) = given {
        answer.insert("energyExport".to_owned(), number(given));
    }
    if scope == Scope::Whole {
        let of = |channel| counter(heard, channel, Quantity::PMinus);
        let each = by_channel(heard, &of);
        if !each.is_empty() {
            answer.insert("channelsExport".to_owned(), Value::Object(each));
        }
    }
    // Since when the meter counts, no packet tells.
    answer.insert("startTs".to_owned(), Value::Null);
    Ok(answer)
}

fn voltage(heard: &Heard, scope: Scope) -> Result<Answer, CommandError> {
    if let Scope::One(channel) = scope
        && sensor(heard, channel, Quantity::Vrms).is_none()
    {
        let message = format!(
            "{channel} has no voltage of its own: the meter measures one, ask without \"channel\""
        );
        return Err(CommandError::Refused(message));
    }
    let voltage = line_voltage(heard).ok_or_else(|| not_known_yet("V"))?;
    let mut answer = Map::from_iter([("voltage".to_owned(), number(voltage))]);
    close(&mut answer, heard, "V");
    Ok(answer)
}

/// A quantity that each clamp has, and the meter as a whole.
struct Measure<'a> {
    key: &'a str,
    unit: &'a str,
    of: &'a dyn Fn(Channel) -> Option<Milli>,
    whole: &'a dyn Fn() -> Option<Milli>,
}

impl Measure<'_> {
    fn answer(&self, heard: &Heard, scope: Scope) -> Result<Answer, CommandError> {
        let unit = self.unit.split('/').next().unwrap_or_default();
        let value = match scope {
            Scope::Whole => (self.whole)(),
            Scope::One(channel) => {
                let clamp = heard.device.sensors.iter().find(|one| one.channel == channel);
                if !clamp.is_some_and(is_clamp) {
                    let message = format!("{channel} is no clamp: it has no value in {unit}");
                    return Err(CommandError::Refused(message));
                }
                (self.of)(channel)
            }
        };
        let value = value.ok_or_else(|| not_known_yet(unit))?;
        let mut answer = Map::from_iter([(self.key.to_owned(), number(value))]);
        match scope {
            Scope::One(channel) => {
                answer.insert("channel".to_owned(), channel.to_string().into());
            }
            Scope::Whole => {
                let each = by_channel(heard, self.of);
                if each.len() > 1 {
                    answer.insert("channels".to_owned(), Value::Object(each));
                }
            }
        }
        close(&mut answer, heard, self.unit);
        Ok(answer)
    }
}

fn close(answer: &mut Answer, heard: &Heard, unit: &str) {
    answer.insert("unit".to_owned(), unit.into());
    answer.insert("ts".to_owned(), heard.at.seconds().into());
}

fn by_channel(heard: &Heard, of: &dyn Fn(Channel) -> Option<Milli>) -> Map<String, Value> {
    let groups = heard.device.sensors.chunk_by(|one, other| one.channel == other.channel);
    let clamps = groups.filter_map(|sensors| sensors.first().filter(|sensor| is_clamp(sensor)));
    clamps
        .filter_map(|sensor| Some((sensor.channel.to_string(), number(of(sensor.channel)?))))
        .collect()
}

/// The total over the clamps that make up the meter's sum; `None` if none of them has one.
fn summed(heard: &Heard, quantity: Quantity) -> Option<Milli> {
    let role = summed_role(&heard.device.sensors);
    let all = heard.device.sensors.iter().zip(&heard.latest);
    let summed = all
        .filter(|(one, _)| one.quantity == quantity && one.role == role && is_clamp(one))
        .filter_map(|(_, latest)| latest.counter);
    summed.reduce(|one, other| Milli(one.0 + other.0))
}

fn sensor(heard: &Heard, channel: Channel, quantity: Quantity) -> Option<(&Sensor, &Latest)> {
    let mut all = heard.device.sensors.iter().zip(&heard.latest);
    all.find(|(sensor, _)| sensor.channel == channel && sensor.quantity == quantity)
}

fn gauge(heard: &Heard, channel: Channel, quantity: Quantity) -> Option<Milli> {
    sensor(heard, channel, quantity).and_then(|(_, latest)| latest.gauge)
}

fn counter(heard: &Heard, channel: Channel, quantity: Quantity) -> Option<Milli> {
    sensor(heard, channel, quantity).and_then(|(_, latest)| latest.counter)
}

fn line_voltage(heard: &Heard) -> Option<Milli> {
    gauge(heard, Channel::Line, Quantity::Vrms)
}

/// The SmartMeter's grammar has currents in mA.
fn milliamperes(amperes: Milli) -> Milli {
    Milli(amperes.0.saturating_mul(1000))
}

/// Without a fraction where there is none.
fn number(value: Milli) -> Value {
    if value.0 % 1000 == 0 {
        return Value::from(value.0 / 1000);
    }
    Number::from_f64(value.to_f64()).map_or(Value::Null, Value::Number)
}

fn not_measured(heard: &Heard, what: &str) -> CommandError {
    CommandError::Refused(format!("a {} does not measure {what}", heard.device.model.title()))
}

fn not_known_yet(unit: &str) -> CommandError {
    let unit = if unit == "W/var/VA" { "W" } else { unit };
    let message = format!("no value in {unit} is known yet: some come with the second packet");
    CommandError::Unreachable(message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::command::directory::Directory;
    use crate::command::directory::tests::{online, readings};

    fn meter(is_online: bool) -> Meter {
        let directory = Directory::new(std::iter::empty());
        directory.take(&readings("house"));
        directory.take(&online("house", is_online));
        directory.find("house").unwrap()
    }

    fn ask(meter: &Meter, command: Value) -> Result<Value, CommandError> {
        let Value::Object(mut arguments) = command else { panic!() };
        let name = arguments.shift_remove("cmd").unwrap().as_str().unwrap().to_owned();
        answer(&Command { name, arguments }, meter).unwrap().map(Value::Object)
    }

    #[test]
    fn the_latest_readings_answer() {
        let meter = meter(true);
        // Grid: taken 1 W, given 2 W, 3 A; then loads with 4 W, 5 A and 6 W, 7 A; 8 V.
        assert_eq!(
            ask(&meter, json!({"cmd": "getPower"})).unwrap(),
            json!({"activePower": -1, "channels": {"ch1": -1, "ch2": 4, "ch3": 6},
                   "unit": "W/var/VA", "ts": 1_700_000_000})
        );
        assert_eq!(
            ask(&meter, json!({"cmd": "getCurrent", "channel": "ch2"})).unwrap(),
            json!({"current": 5000, "channel": "ch2", "unit": "mA", "ts": 1_700_000_000})
        );
        assert_eq!(
            ask(&meter, json!({"cmd": "getVoltage"})).unwrap(),
            json!({"voltage": 8, "unit": "V", "ts": 1_700_000_000})
        );
        assert_eq!(
            ask(&meter, json!({"cmd": "getEnergy"})).unwrap(),
            json!({"energy": 10, "channels": {"ch1": 10, "ch2": 40, "ch3": 60}, "unit": "Wh",
                   "ts": 1_700_000_000, "energyExport": 20, "channelsExport": {"ch1": 20},
                   "startTs": null})
        );
        let info = ask(&meter, json!({"cmd": "info"})).unwrap();
        assert_eq!(info["channels"]["ch1"], json!({"name": "ch1", "role": "grid"}));
        assert_eq!((&info["type"], &info["online"]), (&json!("gem"), &json!(true)));
    }

    #[test]
    fn what_cannot_be_answered_is_told_in_words() {
        let meter = meter(true);
        let refused = |command| ask(&meter, command).unwrap_err().to_string();
        assert!(refused(json!({"cmd": "getPeriod"})).contains("does not measure the period"));
        assert!(refused(json!({"cmd": "getPhaseAngle"})).contains("phase angles"));
        for channel in [json!("ch9"), json!(9), json!({}), json!("ch2,ch3"), json!(0), json!(-1)] {
            let words = refused(json!({"cmd": "getPower", "channel": channel}));
            assert!(words.contains("is not one of ch1, ch2, ch3, line"), "{words}");
        }
        assert!(refused(json!({"cmd": "getPower", "channel": "line"})).contains("no clamp"));
        assert!(refused(json!({"cmd": "getVoltage", "channel": 1})).contains("of its own"));
        assert!(answer(&Command { name: "poll".into(), arguments: Map::new() }, &meter).is_none());
    }

    #[test]
    fn offline_only_info_is_answered() {
        let meter = meter(false);
        assert_eq!(ask(&meter, json!({"cmd": "info"})).unwrap()["online"], false);
        assert_eq!(ask(&meter, json!({"cmd": "getPower"})), Err(CommandError::Offline));
        assert_eq!(sample(b"v", &meter), Err(CommandError::Offline));
    }

    #[test]
    fn samples_are_text_with_two_decimals() {
        let meter = meter(true);
        let text = |payload: &[u8]| Value::Object(sample(payload, &meter).unwrap()).to_string();
        assert_eq!(text(b"v"), r#"{"value":"8.00","unit":"V","ts":"1700000000"}"#);
        assert_eq!(text(b"i"), r#"{"value":"3000.00","unit":"mA","ts":"1700000000"}"#);
        for power in [&b"p"[..], b"", b"anything"] {
            assert_eq!(text(power), r#"{"value":"-1.00","unit":"W","ts":"1700000000"}"#);
        }
        assert!(sample(b"q", &meter).unwrap_err().to_string().contains("reactive"));
        assert_eq!(
            lines(&[Milli(230_104), Milli(-5), Milli(-4), Milli(231_405)]),
            "230.10,-0.01,0.00,231.41"
        );
    }
}
