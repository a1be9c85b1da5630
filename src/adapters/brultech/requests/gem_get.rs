//! Reading a GEM's settings and values.

use meter_protocols::brultech::{
    Channel, ChannelOptions, Channels, GemCommand, GemSettings, Processor, Reply, TemperatureUnit,
};
use serde_json::{Value, json};

use super::super::call::Call;
use super::arguments::Arguments;
use super::gem::other;
use super::setting::Setting;
use super::{formats, invalid, settings_json};
use crate::command::CommandError;

/// What is to be read.
#[derive(Debug)]
pub(in super::super) struct Question {
    pub(super) setting: Setting,
    /// First and last channel; absent, all there are.
    pub(super) channel: Option<(i64, i64)>,
}

impl Question {
    /// The one channel that is asked for.
    pub(super) fn channel(&self) -> Option<u8> {
        self.channel.filter(|(first, last)| first == last).and_then(|(n, _)| n.try_into().ok())
    }

    /// The name that goes with the number of a packet format.
    pub(super) fn format_name(&self, value: &Value) -> Option<&'static str> {
        let is_format = matches!(self.setting, Setting::PacketFormat | Setting::SecondaryFormat);
        let number = value.as_u64().filter(|_| is_format)?;
        u8::try_from(number).ok().and_then(formats::name)
    }
}

pub(super) fn parse(arguments: &Arguments<'_>) -> Result<Question, CommandError> {
    arguments.only(&["setting", "channel"])?;
    let name = arguments.text("setting", "the name of a setting, such as \"interval\"")?;
    let setting = Setting::among(name, READABLE, "a GEM", "get")?;
    let channel = match arguments.get("channel") {
        Some(Value::String(range)) if range.contains('-') => Some(range_of(range)?),
        _ => arguments.channel(family(setting))?.map(|n| (n, n)),
    };
    let Some((first, last)) = channel else {
        return match setting {
            Setting::Ct => Err(invalid("channel is missing: write \"channel\":1 to 48")),
            _ => Ok(Question { setting, channel: None }),
        };
    };
    let greatest = channels(setting);
    if greatest == 0 {
        return Err(invalid(format!("{name} is not of a channel: leave channel out")));
    }
    if !(1..=greatest).contains(&first) || !(first..=greatest).contains(&last) {
        return Err(invalid(format!(
            "channel {first} is out of range; it goes from 1 to {greatest}"
        )));
    }
    if first != last && !matches!(setting, Setting::Watts | Setting::WattSeconds) {
        return Err(invalid(format!("{name}: write one channel, or none for all")));
    }
    Ok(Question { setting, channel })
}

/// `1-8`.
fn range_of(range: &str) -> Result<(i64, i64), CommandError> {
    range
        .split_once('-')
        .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)))
        .ok_or_else(|| invalid(format!("channel {range:?}: write a number, or two as \"1-8\"")))
}

/// The letters that may stand before the number of a channel.
pub(super) fn family(setting: Setting) -> &'static str {
    match setting {
        Setting::TemperatureInput => "t",
        Setting::PulseInput => "pulse",
        _ => "ch",
    }
}

/// How many channels a setting has; 0 for one of the meter as a whole.
pub(super) fn channels(setting: Setting) -> i64 {
    match setting {
        Setting::Ct
        | Setting::CtType
        | Setting::CtRange
        | Setting::Phase
        | Setting::Compensation
        | Setting::Polarity
        | Setting::NetMetering
        | Setting::Double
        | Setting::Watts
        | Setting::WattSeconds => 48,
        Setting::TemperatureInput => 8,
        Setting::PulseInput => 4,
        _ => 0,
    }
}

/// Asks the meter.
pub(super) async fn read(question: &Question, call: &mut Call) -> Result<Value, CommandError> {
    let channel = question.channel();
    match question.setting {
        Setting::Serial => match call.gem(GemCommand::Serial).await? {
            Reply::Serial(digits) => serial(&digits, call),
            reply => other(&reply),
        },
        Setting::Firmware => firmware(call).await,
        Setting::Time => match call.gem(GemCommand::Time).await? {
            Reply::Time(time) => Ok(json!(time.map(|time| time.to_string()))),
            reply => other(&reply),
        },
        Setting::RealTime => match call.gem(GemCommand::RealTime).await? {
            Reply::RealTime(on) => Ok(json!(on)),
            reply => other(&reply),
        },
        Setting::PacketFormat => match call.gem(GemCommand::PacketFormat).await? {
            Reply::PacketFormat(number) => Ok(json!(number)),
            reply => other(&reply),
        },
        Setting::Interval => match call.gem(GemCommand::Interval).await? {
            Reply::Interval(seconds) => Ok(json!(seconds)),
            reply => other(&reply),
        },
        Setting::Ct | Setting::CtType | Setting::CtRange => {
            clamp(question.setting, channel, call).await
        }
        Setting::Phase => options(channel, settings_json::phase, call).await,
        Setting::Compensation => options(channel, settings_json::compensation, call).await,
        Setting::Polarity => options(channel, |o| json!(o.polarity_toggled()), call).await,
        Setting::NetMetering => options(channel, |o| json!(o.net_metering()), call).await,
        Setting::Double => options(channel, |o| json!(o.double()), call).await,
        Setting::Volts
        | Setting::Seconds
        | Setting::Watts
        | Setting::WattSeconds
        | Setting::Values => measured(question, call).await,
        setting => {
            let settings = match call.gem(GemCommand::Settings).await? {
                Reply::Settings(settings) => settings,
                reply => return other(&reply),
            };
            from_list(setting, channel, &settings)
        }
    }
}

/// What only the whole list of settings tells.
fn from_list(
    setting: Setting,
    channel: Option<u8>,
    settings: &GemSettings,
) -> Result<Value, CommandError> {
    let value = match setting {
        Setting::All => settings_json::gem(settings),
        Setting::SecondaryFormat => json!(settings.secondary_format),
        Setting::PtType => json!(settings.pt[0]),
        Setting::PtRange => json!(settings.pt[1]),
        Setting::TemperatureUnit => json!(settings.temperature_unit().map(unit_name)),
        Setting::TemperatureInput => inputs(settings.temperature_inputs, 8, channel),
        Setting::PulseInput => inputs(settings.pulse_inputs, 4, channel),
        Setting::MaxChannels => json!(settings.max_channels),
        Setting::ChunkSize => json!(settings.chunk_size),
        Setting::ChunkPause => json!(settings.chunk_pause),
        other => return Err(invalid(format!("a GEM does not tell its {}", other.name()))),
    };
    if value.is_null() {
        let values = settings.values;
        return Err(CommandError::Refused(format!(
            "the meter's list of settings has {values} values and not the {}: its firmware is older",
            setting.name()
        )));
    }
    Ok(value)
}

/// An answer does not say whose it is, but here it is the meter's own name.
fn serial(digits: &str, call: &Call) -> Result<Value, CommandError> {
    let number = digits.parse::<u32>().ok().map(|digits| digits % 100_000);
    if number == Some(call.meter().number.into()) {
        return Ok(json!(format!("{digits:0>8}")));
    }
    Err(CommandError::Refused(format!(
        "another meter answered, with serial number {digits}; with several GEMs on a line, write \
         their serial numbers as `units` in the configuration"
    )))
}

/// How a unit of temperature is spelled.
pub(super) fn unit_name(unit: TemperatureUnit) -> &'static str {
    match unit {
        TemperatureUnit::Celsius => "celsius",
        TemperatureUnit::Fahrenheit => "fahrenheit",
    }
}

fn inputs(mask: Option<u8>, count: u8, channel: Option<u8>) -> Value {
    let Some(mask) = mask else { return Value::Null };
    match channel {
        Some(n) => json!(mask & 1 << (n - 1) != 0),
        None => json!(settings_json::inputs(mask, count)),
    }
}

async fn firmware(call: &mut Call) -> Result<Value, CommandError> {
    let mut versions = Vec::new();
    for processor in [Processor::Com, Processor::Engine] {
        match call.gem(GemCommand::Firmware(processor)).await? {
            Reply::Firmware(version) => versions.push(version),
            reply => return other(&reply),
        }
    }
    // There may be no expansion board, and then it says nothing.
    let expansion = match call.gem(GemCommand::Firmware(Processor::Expansion)).await {
        Ok(Reply::Firmware(version)) => Some(version),
        _ => None,
    };
    Ok(json!({"com": versions[0], "eng": versions[1], "expansion": expansion}))
}

async fn clamp(
    setting: Setting,
    channel: Option<u8>,
    call: &mut Call,
) -> Result<Value, CommandError> {
    let command = match (channel, setting) {
        (Some(n), _) => GemCommand::Ct(gem_channel(n)?),
        (None, Setting::CtRange) => GemCommand::CtRanges,
        (None, _) => GemCommand::CtTypes,
    };
    Ok(match (call.gem(command).await?, setting) {
        (Reply::Ct { kind, range }, Setting::Ct) => json!({"type": kind, "range": range}),
        (Reply::Ct { kind, .. }, Setting::CtType) => json!(kind),
        (Reply::Ct { range, .. }, Setting::CtRange) => json!(range),
        (Reply::CtTypes(list) | Reply::CtRanges(list), _) => json!(list),
        (reply, _) => return other(&reply),
    })
}

async fn options(
    channel: Option<u8>,
    read: impl Fn(ChannelOptions) -> Value,
    call: &mut Call,
) -> Result<Value, CommandError> {
    let list = match call.gem(GemCommand::ChannelOptions).await? {
        Reply::ChannelOptions(list) => list,
        reply => return other(&reply),
    };
    match channel {
        None => Ok(list.into_iter().map(read).collect()),
        Some(n) => list.get(usize::from(n) - 1).map(|options| read(*options)).ok_or_else(|| {
            CommandError::Refused(format!("the meter told of {} channels only", list.len()))
        }),
    }
}

async fn measured(question: &Question, call: &mut Call) -> Result<Value, CommandError> {
    let (first, last) = question.channel.unwrap_or((1, 32));
    let channels = || -> Result<Channels, CommandError> {
        let [first, last] = [first, last].map(|n| n.try_into().map_err(|_| invalid("channel")));
        Channels::new(gem_channel(first?)?, gem_channel(last?)?)
            .map_err(|error| invalid(error.to_string()))
    };
    let one = question.channel();
    let command = match (question.setting, one) {
        (Setting::Volts, _) => GemCommand::Volts,
        (Setting::Seconds, _) => GemCommand::Seconds,
        (Setting::Watts, Some(n)) => GemCommand::Watts(gem_channel(n)?),
        (Setting::Watts, None) => GemCommand::WattsOf(channels()?),
        (Setting::WattSeconds, Some(n)) => GemCommand::WattSeconds(gem_channel(n)?),
        (Setting::WattSeconds, None) => GemCommand::WattSecondsOf(channels()?),
        _ => GemCommand::Values,
    };
    Ok(match call.gem(command).await? {
        Reply::Volts(volts) => json!(volts),
        Reply::Seconds(seconds) => json!(seconds),
        Reply::Watts(list) if one.is_some() => json!(list.first()),
        Reply::WattSeconds(list) if one.is_some() => json!(list.first()),
        Reply::Watts(list) => json!(list),
        Reply::WattSeconds(list) => json!(list),
        Reply::Values(values) => settings_json::values(&values),
        reply => return other(&reply),
    })
}

/// A channel by its number.
pub(super) fn gem_channel(n: u8) -> Result<Channel, CommandError> {
    Channel::new(n.into()).map_err(|error| invalid(error.to_string()))
}

const READABLE: &[Setting] = &[
    Setting::All,
    Setting::Serial,
    Setting::Firmware,
    Setting::Time,
    Setting::RealTime,
    Setting::PacketFormat,
    Setting::SecondaryFormat,
    Setting::Interval,
    Setting::Ct,
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
    Setting::ChunkSize,
    Setting::ChunkPause,
    Setting::Volts,
    Setting::Seconds,
    Setting::Watts,
    Setting::WattSeconds,
    Setting::Values,
];
