//! What the latest readings answer without asking the meter: `info`, `getPower` and its kin, and
//! the momentary values of the `sample` topic.
//!
//! A key whose value the meter did not give is left out; a command that the meter's hardware has no
//! answer for is refused in words.

use serde_json::{Map, Value};

use super::directory::{Heard, Meter};
use super::portrait::info;
use super::values::{lines, milliamperes, number};
use super::{Answer, Command, CommandError};
use crate::model::{Channel, Device, Make, Milli, Model, Quantity, Sensor, is_clamp};

/// The answer, or `None` for a command that is the meter's own business.
pub fn answer(command: &Command, meter: &Meter) -> Option<Result<Answer, CommandError>> {
    let answer: fn(&Heard, Scope) -> Result<Answer, CommandError> = match &*command.name {
        "info" => return Some(Ok(info(meter))),
        "getPower" => power,
        "getVoltage" => voltage,
        "getCurrent" => current,
        "getEnergy" => energy,
        "getPeriod" => period,
        "getPhaseAngle" => |heard, _| Err(not_measured(heard, "phase angles")),
        _ => return None,
    };
    Some(heard(meter).and_then(|heard| answer(heard, Scope::of(command, &heard.device)?)))
}

/// Whether the command asks for nothing but what readings may tell.
pub(super) fn is_reading(command: &str) -> bool {
    matches!(
        command,
        "info"
            | "getPower"
            | "getVoltage"
            | "getCurrent"
            | "getEnergy"
            | "getPeriod"
            | "getPhaseAngle"
    )
}

/// The answer to a payload of the `sample` topic: `v`, `i`, `p`, `q`, `s` or `e`, anything else
/// asks for the power.
///
/// # Errors
/// When the meter is offline or does not measure it.
pub fn sample(payload: &[u8], meter: &Meter) -> Result<Answer, CommandError> {
    let heard = heard(meter)?;
    let sum = || heard.sum();
    if let Some((values, unit)) = each_line(payload.trim_ascii(), heard) {
        return Ok(sampled(&values, unit, heard));
    }
    let (value, unit) = match payload.trim_ascii() {
        b"v" => (heard.line_voltage(), "V"),
        b"i" => (sum().and_then(|sum| sum.current).map(milliamperes), "mA"),
        b"q" if !heard.has(Quantity::Q1) => return Err(not_measured(heard, "reactive power")),
        b"s" if !heard.has(Quantity::Apparent) => {
            return Err(not_measured(heard, "apparent power"));
        }
        b"q" => (heard.reactive(Channel::Line), "var"),
        b"s" => (heard.gauge(Channel::Line, Quantity::Apparent), "VA"),
        b"e" => (sum().and_then(|sum| sum.energy).map(|energy| Milli(energy.0 / 1000)), "kWh"),
        _ => (sum().map(|sum| sum.power), "W"),
    };
    let value = value.ok_or_else(|| not_known_yet(unit))?;
    Ok(sampled(&[value], unit, heard))
}

fn sampled(values: &[Milli], unit: &str, heard: &Heard) -> Answer {
    Map::from_iter([
        ("value".to_owned(), Value::String(lines(values))),
        ("unit".to_owned(), unit.into()),
        ("ts".to_owned(), Value::String(heard.at.seconds().to_string())),
    ])
}

/// A SmartMeter tells its three lines in one text, where it tells them at all.
fn each_line(payload: &[u8], heard: &Heard) -> Option<(Vec<Milli>, &'static str)> {
    if heard.device.model != Model::Smartmeter {
        return None;
    }
    let of = |channel| match payload {
        b"v" => heard.gauge(channel, Quantity::Vrms),
        b"i" => heard.gauge(channel, Quantity::Irms).map(milliamperes),
        b"q" => heard.reactive(channel),
        b"s" => heard.gauge(channel, Quantity::Apparent),
        b"e" => heard.counter(channel, Quantity::PPlus).map(|energy| Milli(energy.0 / 1000)),
        _ => heard.net_power(channel),
    };
    let unit = match payload {
        b"v" => "V",
        b"i" => "mA",
        b"q" => "var",
        b"s" => "VA",
        b"e" => "kWh",
        _ => "W",
    };
    let values: Option<Vec<Milli>> = (1..=3).map(|line| of(Channel::L(line))).collect();
    values.map(|values| (values, unit))
}

fn period(heard: &Heard, scope: Scope) -> Result<Answer, CommandError> {
    if !heard.has(Quantity::Frequency) || scope != Scope::Whole {
        return Err(not_measured(heard, "the period of the mains"));
    }
    let frequency = heard.gauge(Channel::Line, Quantity::Frequency);
    let frequency = frequency.ok_or_else(|| not_known_yet("Hz"))?;
    // In Hz despite the name, as the firmware of those meters has it that know the command.
    Ok(closed(Map::from_iter([("period".to_owned(), number(frequency))]), heard, "Hz"))
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
    /// From `"channel":"ch3"`, or `"channel":3`. A key that is misspelt must not make the answer one
    /// about something else.
    fn of(command: &Command, device: &Device) -> Result<Scope, CommandError> {
        if let Some(other) = command.arguments.keys().find(|key| *key != "channel") {
            let (other, name) = (other.chars().take(64).collect::<String>(), &command.name);
            return Err(CommandError::Invalid(format!(
                "{other:?} means nothing to {name}: it takes \"channel\", such as \"ch3\", or nothing"
            )));
        }
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

fn power(heard: &Heard, scope: Scope) -> Result<Answer, CommandError> {
    let whole = || heard.sum().map(|sum| sum.power);
    let of = |channel| heard.net_power(channel);
    let answer = Measure { key: "activePower", unit: "W", of: &of, whole: &whole };
    let mut answer = answer.values(heard, scope)?;
    let channel = match scope {
        Scope::Whole => Channel::Line,
        Scope::One(channel) => channel,
    };
    for (key, value) in [
        ("reactivePower", heard.reactive(channel)),
        ("apparentPower", heard.gauge(channel, Quantity::Apparent)),
    ] {
        answer.extend(value.map(|value| (key.to_owned(), number(value))));
    }
    Ok(closed(answer, heard, "W/var/VA"))
}

fn current(heard: &Heard, scope: Scope) -> Result<Answer, CommandError> {
    let whole = || heard.sum()?.current.map(milliamperes);
    let of = |channel| heard.gauge(channel, Quantity::Irms).map(milliamperes);
    let answer = Measure { key: "current", unit: "mA", of: &of, whole: &whole };
    Ok(closed(answer.values(heard, scope)?, heard, "mA"))
}

fn energy(heard: &Heard, scope: Scope) -> Result<Answer, CommandError> {
    let whole = || heard.total(Quantity::PPlus);
    let of = |channel| heard.counter(channel, Quantity::PPlus);
    let taken = Measure { key: "energy", unit: "Wh", of: &of, whole: &whole };
    let mut answer = taken.values(heard, scope)?;
    let of = |channel| heard.counter(channel, Quantity::PMinus);
    let given = match scope {
        Scope::Whole => heard.total(Quantity::PMinus),
        Scope::One(channel) => of(channel),
    };
    if let Some(given) = given {
        answer.insert("energyExport".to_owned(), number(given));
    }
    if scope == Scope::Whole {
        let each = heard.by_channel(&of);
        if !each.is_empty() {
            answer.insert("channelsExport".to_owned(), Value::Object(each));
        }
    }
    let mut answer = closed(answer, heard, "Wh");
    // Since when the meter counts, no packet tells.
    answer.insert("startTs".to_owned(), Value::Null);
    Ok(answer)
}

fn voltage(heard: &Heard, scope: Scope) -> Result<Answer, CommandError> {
    if let Scope::One(channel) = scope
        && heard.sensor(channel, Quantity::Vrms).is_none()
    {
        let message = format!(
            "{channel} has no voltage of its own: the meter measures one, ask without \"channel\""
        );
        return Err(CommandError::Refused(message));
    }
    let of = |channel| heard.gauge(channel, Quantity::Vrms);
    let voltage = match scope {
        Scope::One(channel) => of(channel),
        Scope::Whole => heard.line_voltage(),
    };
    let voltage = voltage.ok_or_else(|| not_known_yet("V"))?;
    let mut answer = Map::from_iter([("voltage".to_owned(), number(voltage))]);
    let each = heard.by_channel(&of);
    if scope == Scope::Whole && each.len() > 1 {
        answer.insert("channels".to_owned(), Value::Object(each));
    }
    Ok(closed(answer, heard, "V"))
}

/// A quantity that each clamp has, and the meter as a whole.
struct Measure<'a> {
    key: &'a str,
    unit: &'a str,
    of: &'a dyn Fn(Channel) -> Option<Milli>,
    whole: &'a dyn Fn() -> Option<Milli>,
}

impl Measure<'_> {
    fn values(&self, heard: &Heard, scope: Scope) -> Result<Answer, CommandError> {
        let value = match scope {
            Scope::Whole => (self.whole)(),
            Scope::One(channel) => {
                let clamp = heard.device.sensors.iter().find(|one| one.channel == channel);
                let measures =
                    |sensor: &Sensor| is_clamp(sensor) || matches!(channel, Channel::L(_));
                if !clamp.is_some_and(measures) {
                    let message =
                        format!("{channel} is no clamp: it has no value in {}", self.unit);
                    return Err(CommandError::Refused(message));
                }
                (self.of)(channel)
            }
        };
        let value = value.ok_or_else(|| not_known_yet(self.unit))?;
        let mut answer = Map::from_iter([(self.key.to_owned(), number(value))]);
        match scope {
            Scope::One(channel) => {
                answer.insert("channel".to_owned(), channel.to_string().into());
            }
            Scope::Whole => {
                let each = heard.by_channel(self.of);
                if each.len() > 1 {
                    answer.insert("channels".to_owned(), Value::Object(each));
                }
            }
        }
        Ok(answer)
    }
}

/// The answer with its unit, and the time of the reading.
fn closed(mut answer: Answer, heard: &Heard, unit: &str) -> Answer {
    answer.insert("unit".to_owned(), unit.into());
    answer.insert("ts".to_owned(), heard.at.seconds().into());
    answer
}

fn not_measured(heard: &Heard, what: &str) -> CommandError {
    if heard.device.make == Make::Smartmeter {
        // It is asked where that is possible.
        return CommandError::Unreachable(format!(
            "only the meter can tell {what}, and it is not connected now"
        ));
    }
    CommandError::Refused(format!("a {} does not measure {what}", heard.device.model.title()))
}

fn not_known_yet(unit: &str) -> CommandError {
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
        let words = refused(json!({"cmd": "getPower", "chanel": "ch3"}));
        assert!(words.contains("\"chanel\" means nothing to getPower"), "{words}");
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
    }
}
