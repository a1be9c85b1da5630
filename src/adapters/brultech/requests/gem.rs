//! What a GEM can be asked and told.

use meter_protocols::brultech::{Channel, GemCommand, PulseInput, Reply};
use serde_json::{Value, json};

use super::super::call::{Call, unexpected};
use super::arguments::Arguments;
use super::gem_get::Question;
use super::gem_set::{Change, Wanted};
use super::{answer, changed, gem_get, gem_set, invalid, told};
use crate::command::{Answer, CommandError};

/// A command that a GEM can carry out.
#[derive(Debug)]
pub(in super::super) enum Request {
    Poll,
    Get(Question),
    Set(Change),
    Reset { what: &'static str, channel: Option<u8>, command: GemCommand },
}

pub(super) fn parse(name: &str, arguments: &Arguments<'_>) -> Result<Request, CommandError> {
    match name {
        "poll" => arguments.only(&[]).map(|()| Request::Poll),
        "get" => gem_get::parse(arguments).map(Request::Get),
        "set" => gem_set::parse(arguments).map(Request::Set),
        "reset" => parse_reset(arguments),
        other => Err(CommandError::Unknown(other.to_owned())),
    }
}

pub(super) async fn perform(request: Request, call: &mut Call) -> Result<Answer, CommandError> {
    match request {
        Request::Poll => poll(call).await,
        Request::Get(question) => {
            let value = gem_get::read(&question, call).await?;
            let mut told = told(question.setting.name(), question.channel(), value);
            if let Some(name) = told.get("value").and_then(|value| question.format_name(value)) {
                told.insert("name".to_owned(), json!(name));
            }
            Ok(told)
        }
        Request::Set(change) => set(change, call).await,
        Request::Reset { what, channel, command } => {
            call.gem(command).await?;
            let mut done = answer([("what", json!(what))]);
            if let Some(channel) = channel {
                done.insert("channel".to_owned(), json!(channel));
            }
            Ok(done)
        }
    }
}

/// Waits for a packet, which a meter in real-time mode sends by itself.
async fn poll(call: &mut Call) -> Result<Answer, CommandError> {
    let msg = |text: &str| answer([("msg", json!(text))]);
    let silent = match call.gem_promptly(GemCommand::Poll).await {
        Ok(_) => return Ok(msg("a packet has come")),
        Err(CommandError::Silent(waited)) => waited,
        Err(other) => return Err(other),
    };
    // In real-time mode it does not listen to this, but speaks in its own time.
    let Ok(Reply::RealTime(true)) = call.gem_promptly(GemCommand::RealTime).await else {
        return Err(CommandError::Silent(silent));
    };
    loop {
        match call.gem_promptly(GemCommand::Poll).await {
            Ok(_) => return Ok(msg("a packet has come; the meter sends them by itself")),
            Err(CommandError::Silent(_)) if !call.is_over() => {}
            Err(other) => return Err(other),
        }
    }
}

async fn set(change: Change, call: &mut Call) -> Result<Answer, CommandError> {
    let Change { setting, channel, command, wanted } = change;
    let channel_number = channel.map(|n| n as u8);
    let command = match command {
        Some(command) => command,
        None => gem_set::now(call.hold().await?)?,
    };
    let time = match &command {
        GemCommand::SetTime(time) => Some(time.get()),
        _ => None,
    };
    call.gem(command).await?;
    let question = Question { setting, channel: channel.map(|n| (n, n)) };
    match wanted {
        Wanted::Unread(value) => {
            let mut told = told(setting.name(), channel_number, value);
            told.insert("read_back".to_owned(), json!(false));
            Ok(told)
        }
        Wanted::Value(value) => {
            let now = gem_get::read(&question, call).await?;
            let mut done = changed(setting.name(), channel_number, &value, now)?;
            if let Some(name) = question.format_name(&value) {
                done.insert("name".to_owned(), json!(name));
            }
            Ok(done)
        }
        Wanted::Whatever => {
            Ok(told(setting.name(), channel_number, gem_get::read(&question, call).await?))
        }
        Wanted::Each(values) => {
            let now = gem_get::read(&question, call).await?;
            let same =
                |list: &Vec<Value>| list.iter().zip(&values).all(|(now, wanted)| now == wanted);
            match &now {
                Value::Array(list) if list.len() >= values.len() && same(list) => {
                    Ok(told(setting.name(), None, now))
                }
                _ => Err(CommandError::Refused(format!(
                    "the meter took the command, but its {} is now {now}",
                    setting.name()
                ))),
            }
        }
        Wanted::Clock => {
            let Reply::Time(now) = call.gem(GemCommand::Time).await? else {
                return Err(CommandError::Refused("the meter does not tell its clock".to_owned()));
            };
            let text = now.map(|now| now.to_string());
            match now.zip(time) {
                Some((now, wanted)) if super::clock::follows(wanted, now) => {
                    Ok(told(setting.name(), None, json!(text)))
                }
                _ => Err(CommandError::Refused(format!(
                    "the meter took the command, but its clock shows {}",
                    text.as_deref().unwrap_or("nothing")
                ))),
            }
        }
    }
}

fn parse_reset(arguments: &Arguments<'_>) -> Result<Request, CommandError> {
    arguments.only(&["what", "channel", "confirm"])?;
    let what = arguments.text("what", RESETS)?;
    let (what, command, takes_channel) = match what {
        "all" => ("all", GemCommand::ResetAll, false),
        "seconds" => ("seconds", GemCommand::ResetSeconds, false),
        "pulses" => ("pulses", GemCommand::ResetPulses, false),
        "wh" => ("wh", GemCommand::ResetWattHours, false),
        "channel" => {
            let n = needed(arguments.channel("ch")?, "channel", 48)?;
            let channel = Channel::new(n).map_err(|error| invalid(error.to_string()))?;
            ("channel", GemCommand::ResetChannel(channel), true)
        }
        "pulse" => {
            let n = needed(arguments.channel("pulse")?, "pulse counter", 4)?;
            let input = PulseInput::new(n).map_err(|error| invalid(error.to_string()))?;
            ("pulse", GemCommand::ResetPulse(input), true)
        }
        other => return Err(invalid(format!("{other:?} cannot be reset: write {RESETS}"))),
    };
    let channel = arguments.channel(if what == "pulse" { "pulse" } else { "ch" })?;
    if channel.is_some() && !takes_channel {
        return Err(invalid(format!("channel means nothing with what: {what:?}")));
    }
    confirmed(arguments)?;
    Ok(Request::Reset { what, channel: channel.and_then(|n| n.try_into().ok()), command })
}

/// What cannot be taken back has to be meant.
pub(super) fn confirmed(arguments: &Arguments<'_>) -> Result<(), CommandError> {
    if arguments.flag("confirm")? {
        return Ok(());
    }
    Err(invalid("a reset cannot be taken back: add \"confirm\":true"))
}

fn needed(channel: Option<i64>, what: &str, greatest: u8) -> Result<i64, CommandError> {
    channel.ok_or_else(|| {
        invalid(format!("channel is missing: write which {what}, \"channel\":1 to {greatest}"))
    })
}

const RESETS: &str =
    "\"all\", \"seconds\", \"channel\" or \"pulse\" with \"channel\":n, \"pulses\" or \"wh\"";

/// Anything but the reply that a question has.
pub(super) fn other<T>(reply: &Reply) -> Result<T, CommandError> {
    Err(unexpected(reply))
}
