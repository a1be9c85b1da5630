//! Changes of a GEM's settings: JSON to a typed command, and what is to be read back after it.

use std::time::Duration;

use meter_protocols::brultech::{
    BufferSize, Channel, ChunkPause, ChunkSize, Compensation, CtRange, CtType, GemCommand,
    GemInterval, KeepAliveInterval, KeepAliveText, LineFrequency, MaxChannels, OutOfRange,
    PerChannel, Phase, PtRange, PtType, PulseInput, TemperatureInput, TemperatureUnit,
};
use serde_json::{Value, json};

use super::arguments::{Arguments, number, switch};
use super::setting::Setting;
use super::{clock, formats, gem_get, invalid};
use crate::command::CommandError;

/// A change that can be made.
#[derive(Debug)]
pub(in super::super) struct Change {
    pub(super) setting: Setting,
    pub(super) channel: Option<i64>,
    /// `None`: the clock, whose time is taken when the command goes out.
    pub(super) command: Option<GemCommand>,
    pub(super) wanted: Wanted,
}

/// What is read back after a change.
#[derive(Debug, PartialEq)]
pub(super) enum Wanted {
    /// This value.
    Value(Value),
    /// These values of the first channels.
    Each(Vec<Value>),
    /// A clock that goes on from what it was set to.
    Clock,
    /// Whatever it is now: a toggle.
    Whatever,
    /// The meter does not tell; this is what it acknowledged.
    Unread(Value),
}

type Set = (GemCommand, Wanted);

/// The clock set to the gateway's, `wait` before the command is out.
pub(super) fn now(wait: Duration) -> Result<GemCommand, CommandError> {
    clock::time(None, wait).map(GemCommand::SetTime)
}

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Change, CommandError> {
    let name = arguments.text("setting", "the name of a setting, such as \"interval\"")?;
    let setting = Setting::among(name, WRITABLE, "a GEM", "set")?;
    let keys: &[&str] = match setting {
        Setting::PacketFormat => &["setting", "value", "force"],
        _ if gem_get::channels(setting) > 0 => &["setting", "channel", "value"],
        _ => &["setting", "value"],
    };
    arguments.only(keys)?;
    if setting == Setting::Time {
        let value = arguments.get("value");
        let time = value.map(|value| clock::time(Some(value), Duration::ZERO)).transpose()?;
        let command = time.map(GemCommand::SetTime);
        return Ok(Change { setting, channel: None, command, wanted: Wanted::Clock });
    }
    let value = arguments.value(hint(setting))?;
    if gem_get::channels(setting) > 0 {
        return of_channel(setting, arguments, value);
    }
    let (command, wanted) = of_meter(setting, value, arguments)?;
    Ok(Change { setting, channel: None, command: Some(command), wanted })
}

fn of_meter(
    setting: Setting,
    value: &Value,
    arguments: &Arguments<'_>,
) -> Result<Set, CommandError> {
    let n = || number(value, setting.name());
    let same = |command: GemCommand| (command, Wanted::Value(value.clone()));
    let unread = |command: GemCommand| (command, Wanted::Unread(value.clone()));
    Ok(match setting {
        Setting::RealTime => {
            let on = switch(value, setting.name())?;
            (GemCommand::SetRealTime(on), Wanted::Value(json!(on)))
        }
        Setting::PacketFormat => {
            let format = formats::parse(value)?;
            if !formats::is_readable(format.get()) && !arguments.flag("force")? {
                return Err(invalid(format!(
                    "packet format {value} would end this meter's readings, which come from the \
                     binary formats 4, 5, 7, 8 and 9; add \"force\":true if that is meant"
                )));
            }
            (GemCommand::SetPacketFormat(format), Wanted::Value(json!(format.get())))
        }
        Setting::SecondaryFormat => {
            let format = formats::parse(value)?;
            (GemCommand::SetSecondaryFormat(format), Wanted::Value(json!(format.get())))
        }
        Setting::Interval => same(GemCommand::SetInterval(ranged(GemInterval::new(n()?))?)),
        Setting::PtType => same(GemCommand::SetPtType(ranged(PtType::new(n()?))?)),
        Setting::PtRange => same(GemCommand::SetPtRange(ranged(PtRange::new(n()?))?)),
        Setting::MaxChannels => same(GemCommand::SetMaxChannels(ranged(MaxChannels::new(n()?))?)),
        Setting::ChunkSize => same(GemCommand::SetChunkSize(ranged(ChunkSize::new(n()?))?)),
        Setting::ChunkPause => same(GemCommand::SetChunkPause(ranged(ChunkPause::new(n()?))?)),
        Setting::Buffer => unread(GemCommand::SetBuffer(ranged(BufferSize::new(n()?))?)),
        Setting::TemperatureUnit => {
            let unit = temperature_unit(value)?;
            let wanted = Wanted::Value(json!(gem_get::unit_name(unit)));
            (GemCommand::SetTemperatureUnit(unit), wanted)
        }
        Setting::LineFrequency => match n()? {
            50 => unread(GemCommand::SetLineFrequency(LineFrequency::Hz50)),
            60 => unread(GemCommand::SetLineFrequency(LineFrequency::Hz60)),
            _ => return Err(invalid(format!("line_frequency {value}: write 50 or 60"))),
        },
        Setting::KeepAlive => unread(GemCommand::SetKeepAliveInterval(keep_alive(value)?)),
        Setting::KeepAliveText => {
            let text = value.as_str().ok_or_else(|| invalid(format!("{value} is no text")))?;
            let text = KeepAliveText::new(text).map_err(|error| invalid(error.to_string()))?;
            unread(GemCommand::SetKeepAliveText(text))
        }
        other => return Err(invalid(format!("a GEM cannot set {}", other.name()))),
    })
}

/// A setting that each channel has, for one, for all, or a list for each of the 48.
fn of_channel(
    setting: Setting,
    arguments: &Arguments<'_>,
    value: &Value,
) -> Result<Change, CommandError> {
    let change =
        |channel, (command, wanted)| Change { setting, channel, command: Some(command), wanted };
    let all = arguments.get("channel").and_then(Value::as_str) == Some("all");
    if all {
        return to_all(setting, value).map(|set| change(None, set));
    }
    if let Value::Array(values) = value {
        if arguments.get("channel").is_some() {
            return Err(invalid("a list of values is for all channels: leave channel out"));
        }
        return to_each(setting, values).map(|set| change(None, set));
    }
    let greatest = gem_get::channels(setting);
    let n = arguments
        .channel(gem_get::family(setting))?
        .ok_or_else(|| invalid(format!("channel is missing: write \"channel\":1 to {greatest}")))?;
    to_one(setting, n, value).map(|set| change(Some(n), set))
}

fn to_one(setting: Setting, n: i64, value: &Value) -> Result<Set, CommandError> {
    let channel = || ranged(Channel::new(n));
    let same = Wanted::Value(value.clone());
    Ok(match setting {
        Setting::CtType => {
            let kind = ranged(CtType::new(number(value, "ct_type")?))?;
            (GemCommand::SetCtType(channel()?, kind), same)
        }
        Setting::CtRange => {
            let range = ranged(CtRange::new(number(value, "ct_range")?))?;
            (GemCommand::SetCtRange(channel()?, range), same)
        }
        Setting::Phase => {
            let (phase, name) = phase(value)?;
            (GemCommand::SetPhase(channel()?, phase), Wanted::Value(json!(name)))
        }
        Setting::Compensation => {
            let (compensation, n) = compensation(value)?;
            (GemCommand::SetCompensation(channel()?, compensation), Wanted::Value(json!(n)))
        }
        Setting::Polarity if value == "toggle" => {
            (GemCommand::TogglePolarity(channel()?), Wanted::Whatever)
        }
        Setting::Polarity => {
            let toggled = switch(value, "polarity")?;
            (GemCommand::SetPolarity(channel()?, toggled), Wanted::Value(json!(toggled)))
        }
        Setting::TemperatureInput => {
            let (input, on) = (ranged(TemperatureInput::new(n))?, switch(value, setting.name())?);
            (GemCommand::SetTemperatureInput(input, on), Wanted::Value(json!(on)))
        }
        Setting::PulseInput => {
            let (input, on) = (ranged(PulseInput::new(n))?, switch(value, setting.name())?);
            (GemCommand::SetPulseInput(input, on), Wanted::Value(json!(on)))
        }
        other => return Err(no_command(other)),
    })
}

fn to_all(setting: Setting, value: &Value) -> Result<Set, CommandError> {
    let (command, value) = match setting {
        Setting::CtType => {
            let kind = ranged(CtType::new(number(value, "ct_type")?))?;
            (GemCommand::SetCtTypeOfAll(kind), value.clone())
        }
        Setting::CtRange => {
            let range = ranged(CtRange::new(number(value, "ct_range")?))?;
            (GemCommand::SetCtRangeOfAll(range), value.clone())
        }
        Setting::Phase => {
            let (phase, name) = phase(value)?;
            (GemCommand::SetPhaseOfAll(phase), json!(name))
        }
        Setting::Polarity => {
            let toggled = switch(value, "polarity")?;
            (GemCommand::SetPolarityOfAll(toggled), json!(toggled))
        }
        other => {
            return Err(invalid(format!(
                "{} is set for one channel at a time: write its number as channel",
                other.name()
            )));
        }
    };
    // Channels above these are there only with an expansion board.
    Ok((command, Wanted::Each(vec![value; CERTAIN_CHANNELS])))
}

fn to_each(setting: Setting, values: &[Value]) -> Result<Set, CommandError> {
    let wanted =
        |values: &[Value]| Wanted::Each(values.iter().take(CERTAIN_CHANNELS).cloned().collect());
    Ok(match setting {
        Setting::CtType => {
            let kinds = each(values, |value| ranged(CtType::new(number(value, "ct_type")?)))?;
            (GemCommand::SetCtTypes(kinds), wanted(values))
        }
        Setting::CtRange => {
            let ranges = each(values, |value| ranged(CtRange::new(number(value, "ct_range")?)))?;
            (GemCommand::SetCtRanges(ranges), wanted(values))
        }
        Setting::Phase => {
            let phases = each(values, |value| phase(value).map(|(phase, _)| phase))?;
            let names: Vec<Value> =
                values.iter().filter_map(|value| Some(json!(phase(value).ok()?.1))).collect();
            (GemCommand::SetPhases(phases), wanted(&names))
        }
        other => {
            return Err(invalid(format!("{} takes no list: set each channel", other.name())));
        }
    })
}

fn each<T>(
    values: &[Value],
    read: impl Fn(&Value) -> Result<T, CommandError>,
) -> Result<PerChannel<T>, CommandError> {
    let read: Vec<T> = values.iter().map(read).collect::<Result<_, _>>()?;
    let count = read.len();
    let all: Box<[T]> = read.into_boxed_slice();
    all.try_into().map_err(|_| {
        invalid(format!("the list has {count} values: write 48, one for each channel"))
    })
}

fn phase(value: &Value) -> Result<(Phase, &'static str), CommandError> {
    match value.as_str().map(str::to_ascii_uppercase).as_deref() {
        Some("A") => Ok((Phase::A, "A")),
        Some("B") => Ok((Phase::B, "B")),
        Some("C") => Ok((Phase::C, "C")),
        _ => Err(invalid(format!("phase {value}: write \"A\", \"B\" or \"C\""))),
    }
}

/// By the vendor's number, or in degrees.
fn compensation(value: &Value) -> Result<(Compensation, u8), CommandError> {
    match value.as_i64() {
        Some(0) => Ok((Compensation::None, 0)),
        Some(1 | 4) => Ok((Compensation::Degrees4, 1)),
        Some(2 | 8) => Ok((Compensation::Degrees8, 2)),
        _ => Err(invalid(format!("compensation {value}: write 0 (none), 1 (4°) or 2 (8°)"))),
    }
}

fn temperature_unit(value: &Value) -> Result<TemperatureUnit, CommandError> {
    match value.as_str().map(str::to_ascii_lowercase).as_deref() {
        Some("celsius" | "c" | "°c") => Ok(TemperatureUnit::Celsius),
        Some("fahrenheit" | "f" | "°f") => Ok(TemperatureUnit::Fahrenheit),
        _ => Err(invalid(format!("temperature_unit {value}: write \"celsius\" or \"fahrenheit\""))),
    }
}

/// By the vendor's number, or as the seconds it stands for.
fn keep_alive(value: &Value) -> Result<KeepAliveInterval, CommandError> {
    let wrong = || {
        invalid(format!(
            "keep_alive {value}: write 0 (off) to 7, which stand for 4, 8, 16, 32, 64, 128 and \
             256 s, or \"8s\""
        ))
    };
    let code = match value {
        Value::String(text) => {
            let seconds: u32 =
                text.trim_end_matches('s').trim_end().parse().map_err(|_| wrong())?;
            (1..=7).find(|code| 1_u32 << (code + 1) == seconds).ok_or_else(wrong)?
        }
        _ => value.as_i64().ok_or_else(wrong)?,
    };
    KeepAliveInterval::new(code).map_err(|_| wrong())
}

fn ranged<T>(value: Result<T, OutOfRange>) -> Result<T, CommandError> {
    value.map_err(|error| invalid(error.to_string()))
}

fn no_command(setting: Setting) -> CommandError {
    invalid(format!(
        "{} can be read and not set: the vendor documents no command for it; use the meter's own \
         set-up page",
        setting.name()
    ))
}

/// What a value of a setting looks like.
fn hint(setting: Setting) -> &'static str {
    match setting {
        Setting::RealTime | Setting::TemperatureInput | Setting::PulseInput => "true or false",
        Setting::PacketFormat | Setting::SecondaryFormat => {
            "a number or name, such as \"bin48_net\""
        }
        Setting::Phase => "\"A\", \"B\" or \"C\"",
        Setting::Polarity => "true, false or \"toggle\"",
        Setting::TemperatureUnit => "\"celsius\" or \"fahrenheit\"",
        Setting::KeepAliveText => "1 to 8 characters",
        _ => "a number",
    }
}

/// Every GEM has these; the others come with an expansion board.
const CERTAIN_CHANNELS: usize = 32;

const WRITABLE: &[Setting] = &[
    Setting::Time,
    Setting::RealTime,
    Setting::PacketFormat,
    Setting::SecondaryFormat,
    Setting::Interval,
    Setting::CtType,
    Setting::CtRange,
    Setting::Phase,
    Setting::Compensation,
    Setting::Polarity,
    Setting::NetMetering,
    Setting::Double,
    Setting::PtType,
    Setting::PtRange,
    Setting::TemperatureUnit,
    Setting::TemperatureInput,
    Setting::PulseInput,
    Setting::MaxChannels,
    Setting::KeepAlive,
    Setting::KeepAliveText,
    Setting::ChunkSize,
    Setting::ChunkPause,
    Setting::Buffer,
    Setting::LineFrequency,
];
