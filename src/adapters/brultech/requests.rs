//! What a command says, made into typed requests before anything is sent; and what the meter
//! answers, made into JSON.
//!
//! | module | subject |
//! |---|---|
//! | `arguments` | the keys of a command |
//! | `setting` | the names of settings |
//! | `gem`, `gem_get`, `gem_set` | what a GEM can be asked and told |
//! | `ecm` | the same for an ECM |
//! | `settings_json` | whole lists of settings as JSON |
//! | `formats`, `clock` | packet formats by name; the meter's clock |

mod arguments;
mod clock;
mod ecm;
mod formats;
mod gem;
mod gem_get;
mod gem_set;
mod setting;
mod settings_json;

use arguments::Arguments;
use serde_json::{Value, json};

use super::call::Call;
use crate::command::{Answer, Command, CommandError};
use crate::model::Model;

/// A command that can be carried out.
#[derive(Debug)]
pub(super) enum Request {
    Gem(gem::Request),
    Ecm(ecm::Request),
}

/// Reads a command for a meter of this model; nothing is sent.
pub(super) fn parse(command: &Command, model: Model) -> Result<Request, CommandError> {
    let arguments = Arguments::new(&command.arguments);
    match model {
        Model::Gem => gem::parse(&command.name, &arguments).map(Request::Gem),
        // Whatever of the make is no GEM is an ECM.
        _ => ecm::parse(&command.name, &arguments).map(Request::Ecm),
    }
}

/// Carries a command out.
pub(super) async fn perform(request: Request, call: &mut Call) -> Result<Answer, CommandError> {
    match request {
        Request::Gem(request) => gem::perform(request, call).await,
        Request::Ecm(request) => ecm::perform(request, call).await,
    }
}

/// The keys of an answer.
fn answer<const N: usize>(pairs: [(&str, Value); N]) -> Answer {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The answer to a change, with what the meter says now; an error when that is something else.
fn changed(
    setting: &str,
    channel: Option<u8>,
    wanted: &Value,
    now: Value,
) -> Result<Answer, CommandError> {
    let of_channel = channel.map_or_else(String::new, |n| format!(" of channel {n}"));
    if now != *wanted {
        return Err(CommandError::Refused(format!(
            "the meter took the command, but its {setting}{of_channel} is {now} and not {wanted}"
        )));
    }
    Ok(told(setting, channel, now))
}

/// The answer to a question.
fn told(setting: &str, channel: Option<u8>, value: Value) -> Answer {
    let mut told = answer([("setting", json!(setting))]);
    if let Some(channel) = channel {
        told.insert("channel".to_owned(), json!(channel));
    }
    told.insert("value".to_owned(), value);
    told
}

fn invalid(message: impl Into<String>) -> CommandError {
    CommandError::Invalid(message.into())
}
