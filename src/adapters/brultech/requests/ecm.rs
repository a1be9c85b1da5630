//! What an ECM can be asked and told.

use meter_protocols::brultech::{
    AuxOptions, EcmChannel, EcmCommand, EcmInterval, EcmSettings, OutOfRange,
};
use serde_json::{Value, json};

use super::super::call::Call;
use super::arguments::{Arguments, number, switch};
use super::setting::Setting;
use super::{answer, changed, gem, invalid, settings_json, told};
use crate::command::{Answer, CommandError};

/// A command that an ECM can carry out.
#[derive(Debug)]
pub(in super::super) enum Request {
    Poll,
    Get(Setting, Option<u8>),
    Set { setting: Setting, channel: Option<u8>, change: Change },
    Reset { what: &'static str, commands: Vec<EcmCommand> },
}

/// A change, of which some need to know what the meter is set to.
#[derive(Debug)]
pub(in super::super) enum Change {
    /// One number, already within its range.
    Number(u16),
    /// Aux options to be changed one by one.
    Options(Vec<(u8, bool)>),
    /// Real-time mode, which cannot be read.
    RealTime(bool),
    /// The polarity, which cannot be read.
    Toggle(EcmChannel),
}

pub(super) fn parse(name: &str, arguments: &Arguments<'_>) -> Result<Request, CommandError> {
    match name {
        "poll" => arguments.only(&[]).map(|()| Request::Poll),
        "get" => {
            arguments.only(&["setting", "channel"])?;
            let setting = setting(arguments, READABLE, "get")?;
            let channel =
                arguments.channel("ch")?.map(|n| ranged(EcmChannel::new(n))).transpose()?;
            if channel.is_some() && !is_of_channel(setting) {
                let name = setting.name();
                return Err(invalid(format!("{name} is not of a channel: leave channel out")));
            }
            Ok(Request::Get(setting, channel.map(EcmChannel::get)))
        }
        "set" => parse_set(arguments),
        "reset" => parse_reset(arguments),
        other => Err(CommandError::Unknown(other.to_owned())),
    }
}

fn parse_set(arguments: &Arguments<'_>) -> Result<Request, CommandError> {
    let setting = setting(arguments, WRITABLE, "set")?;
    let of_channel = is_of_channel(setting);
    arguments.only(if of_channel {
        &["setting", "channel", "value"]
    } else {
        &["setting", "value"]
    })?;
    let channel = match arguments.channel("ch")? {
        Some(n) => Some(ranged(EcmChannel::new(n))?),
        None if of_channel => return Err(invalid("channel is missing: write \"channel\":1 or 2")),
        None => None,
    };
    let value = arguments.value("what it is to be")?;
    let n = || number(value, setting.name());
    let change = match setting {
        Setting::Interval => Change::Number(ranged(EcmInterval::new(n()?))?.get().into()),
        Setting::Trigger => Change::Number(within(n()?, "trigger", 0, u16::MAX)?),
        Setting::CtType | Setting::CtRange | Setting::PtType | Setting::PtRange => {
            Change::Number(within(n()?, setting.name(), 0, 255)?)
        }
        Setting::AuxOptions => aux_options(value)?,
        Setting::RealTime => Change::RealTime(switch(value, setting.name())?),
        _ => match (channel, value.as_str()) {
            (Some(channel), Some("toggle")) => Change::Toggle(channel),
            _ => {
                return Err(invalid(format!(
                    "polarity {value}: an ECM can only turn it round, write \"toggle\""
                )));
            }
        },
    };
    Ok(Request::Set { setting, channel: channel.map(EcmChannel::get), change })
}

/// A whole mask, or single options by name.
fn aux_options(value: &Value) -> Result<Change, CommandError> {
    let Value::Object(options) = value else {
        let mask = number(value, "aux_options")?;
        return Ok(Change::Number(ranged(AuxOptions::new(mask))?.get().into()));
    };
    let bit = |(name, on): (&String, &Value)| {
        let bit = OPTIONS.iter().position(|known| known == name).ok_or_else(|| {
            invalid(format!("aux option {name:?} is unknown; known are {}", OPTIONS.join(", ")))
        })?;
        Ok((bit as u8, switch(on, name)?))
    };
    options.iter().map(bit).collect::<Result<_, _>>().map(Change::Options)
}

fn parse_reset(arguments: &Arguments<'_>) -> Result<Request, CommandError> {
    arguments.only(&["what", "confirm"])?;
    let hint = "\"all\", \"wh\" (the watt-seconds), \"seconds\" or \"reboot\"";
    let (what, commands) = match arguments.text("what", hint)? {
        "all" => ("all", vec![EcmCommand::ResetWattSeconds, EcmCommand::ResetSeconds]),
        "wh" | "watt_seconds" => ("wh", vec![EcmCommand::ResetWattSeconds]),
        "seconds" => ("seconds", vec![EcmCommand::ResetSeconds]),
        "reboot" => ("reboot", vec![EcmCommand::Reboot]),
        other => return Err(invalid(format!("an ECM cannot reset {other:?}: write {hint}"))),
    };
    gem::confirmed(arguments)?;
    Ok(Request::Reset { what, commands })
}

pub(super) async fn perform(request: Request, call: &mut Call) -> Result<Answer, CommandError> {
    match request {
        Request::Poll => {
            call.ecm(EcmCommand::Poll).await?;
            Ok(answer([("msg", json!("a packet has come"))]))
        }
        Request::Get(setting, channel) => {
            let settings = call.ecm_settings().await?;
            Ok(told(setting.name(), channel, read(setting, channel, &settings)))
        }
        Request::Set { setting, channel, change } => set(setting, channel, change, call).await,
        Request::Reset { what, commands } => {
            for command in commands {
                call.ecm(command).await?;
            }
            Ok(answer([("what", json!(what))]))
        }
    }
}

async fn set(
    setting: Setting,
    channel: Option<u8>,
    change: Change,
    call: &mut Call,
) -> Result<Answer, CommandError> {
    let unread = |value: Value| {
        let mut told = told(setting.name(), channel, value);
        told.insert("read_back".to_owned(), json!(false));
        told
    };
    let number = match change {
        Change::RealTime(on) => {
            call.ecm(EcmCommand::SetRealTime(on)).await?;
            return Ok(unread(json!(on)));
        }
        Change::Toggle(channel) => {
            call.ecm(EcmCommand::TogglePolarity(channel)).await?;
            return Ok(unread(json!("toggle")));
        }
        Change::Number(number) => number,
        Change::Options(changes) => {
            let mut mask = call.ecm_settings().await?.option_mask;
            for (bit, on) in changes {
                mask = if on { mask | 1 << bit } else { mask & !(1 << bit) };
            }
            mask.into()
        }
    };
    let command = command(setting, channel, number, call).await?;
    call.ecm(command).await?;
    let now = read(setting, channel, &call.ecm_settings().await?);
    changed(setting.name(), channel, &json!(number), now)
}

/// Type and range go out together, so the other one is read first.
async fn command(
    setting: Setting,
    channel: Option<u8>,
    number: u16,
    call: &mut Call,
) -> Result<EcmCommand, CommandError> {
    let byte = number.to_le_bytes()[0];
    let pair = |[kind, range]: [u8; 2]| match setting {
        Setting::CtType | Setting::PtType => (byte, range),
        _ => (kind, byte),
    };
    Ok(match setting {
        Setting::Interval => EcmCommand::SetInterval(ranged(EcmInterval::new(number.into()))?),
        Setting::Trigger => EcmCommand::SetTrigger(number),
        Setting::AuxOptions => EcmCommand::SetAuxOptions(ranged(AuxOptions::new(number.into()))?),
        Setting::PtType | Setting::PtRange => {
            let (kind, range) = pair(call.ecm_settings().await?.pt);
            EcmCommand::SetPt { kind, range }
        }
        _ => {
            let channel = ranged(EcmChannel::new(channel.unwrap_or(1).into()))?;
            let present = call.ecm_settings().await?.ct[usize::from(channel.get()) - 1];
            let (kind, range) = pair(present);
            EcmCommand::SetCt { channel, kind, range }
        }
    })
}

fn read(setting: Setting, channel: Option<u8>, settings: &EcmSettings) -> Value {
    let of_clamps = |place: usize| match channel {
        Some(n) => json!(settings.ct[usize::from(n) - 1][place]),
        None => settings.ct.iter().map(|ct| json!(ct[place])).collect(),
    };
    match setting {
        Setting::Serial => json!(settings.serial()),
        Setting::Firmware => settings_json::ecm_firmware(settings),
        Setting::Interval => json!(settings.interval),
        Setting::Ct => match channel {
            Some(n) => json!(settings.ct[usize::from(n) - 1]),
            None => json!(settings.ct),
        },
        Setting::CtType => of_clamps(0),
        Setting::CtRange => of_clamps(1),
        Setting::PtType => json!(settings.pt[0]),
        Setting::PtRange => json!(settings.pt[1]),
        Setting::Trigger => json!(settings.trigger_watts),
        Setting::AuxOptions => json!(settings.option_mask),
        _ => settings_json::ecm(settings),
    }
}

fn setting(
    arguments: &Arguments<'_>,
    known: &[Setting],
    verb: &str,
) -> Result<Setting, CommandError> {
    let name = arguments.text("setting", "the name of a setting, such as \"interval\"")?;
    Setting::among(name, known, "an ECM", verb)
}

fn is_of_channel(setting: Setting) -> bool {
    matches!(setting, Setting::Ct | Setting::CtType | Setting::CtRange | Setting::Polarity)
}

fn within(n: i64, what: &str, least: u16, greatest: u16) -> Result<u16, CommandError> {
    u16::try_from(n).ok().filter(|n| (least..=greatest).contains(n)).ok_or_else(|| {
        invalid(format!("{what} {n} is out of range; it goes from {least} to {greatest}"))
    })
}

fn ranged<T>(value: Result<T, OutOfRange>) -> Result<T, CommandError> {
    value.map_err(|error| invalid(error.to_string()))
}

/// By bit: double gain of the auxiliary channels, and what aux5 is.
const OPTIONS: [&str; 7] = [
    "aux1_double",
    "aux2_double",
    "aux3_double",
    "aux4_double",
    "aux5_double",
    "aux5_pulse",
    "aux5_dc",
];

const READABLE: &[Setting] = &[
    Setting::All,
    Setting::Serial,
    Setting::Firmware,
    Setting::Interval,
    Setting::Ct,
    Setting::CtType,
    Setting::CtRange,
    Setting::PtType,
    Setting::PtRange,
    Setting::Trigger,
    Setting::AuxOptions,
];

const WRITABLE: &[Setting] = &[
    Setting::Interval,
    Setting::RealTime,
    Setting::CtType,
    Setting::CtRange,
    Setting::Polarity,
    Setting::PtType,
    Setting::PtRange,
    Setting::Trigger,
    Setting::AuxOptions,
];
