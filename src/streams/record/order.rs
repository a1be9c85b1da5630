//! The `record` command: switches recording on and off, and tells how it goes.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::writer::Status;
use crate::command::{Answer, Command, CommandError};
use crate::config::duration;
use crate::model::Timestamp;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// How it goes.
    State,
    /// On, for so long if that is said.
    On(Option<Duration>),
    Off,
}

/// A command on its way to the recorder.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) wanted: Wanted,
    pub(super) reply: oneshot::Sender<Answer>,
}

impl Wanted {
    pub(super) fn read(command: &Command) -> Result<Wanted, CommandError> {
        let invalid = |words: String| Err(CommandError::Invalid(words));
        if let Some(key) = command.arguments.keys().find(|key| *key != "payload") {
            let key: String = key.chars().take(64).collect();
            return invalid(format!("{key:?} means nothing to record: {HOW}"));
        }
        let payload = match command.arguments.get("payload") {
            None | Some(Value::Null) => return Ok(Wanted::State),
            Some(Value::Object(payload)) => payload,
            Some(_) => return invalid(format!("the payload is no object: {HOW}")),
        };
        if let Some(key) = payload.keys().find(|key| *key != "on" && *key != "duration") {
            let key: String = key.chars().take(64).collect();
            return invalid(format!("{key:?} means nothing to record: {HOW}"));
        }
        let span = payload.get("duration").map(span).transpose()?;
        match (payload.get("on"), span) {
            (Some(Value::Bool(true)), span) => Ok(Wanted::On(span)),
            (Some(Value::Bool(false)), None) => Ok(Wanted::Off),
            (Some(Value::Bool(false)), Some(_)) => invalid("a duration needs \"on\":true".into()),
            (None, None) if payload.is_empty() => Ok(Wanted::State),
            _ => invalid(format!("\"on\" is to be true or false: {HOW}")),
        }
    }
}

/// `"10m"`, or a number of seconds.
fn span(value: &Value) -> Result<Duration, CommandError> {
    let span = match value {
        Value::String(text) => duration::parse(text),
        Value::Number(number) => {
            let seconds = number.as_f64().unwrap_or_default();
            Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
        }
        _ => Err("write a span such as \"10m\"".to_owned()),
    };
    match span {
        Ok(span) if span.is_zero() => Err("it is zero".to_owned()),
        Ok(span) if span > LONGEST => Err("it is longer than a year".to_owned()),
        span => span,
    }
    .map_err(|error| CommandError::Invalid(format!("duration: {error}")))
}

/// What is told of a recorder.
pub(super) fn answer(on: bool, until: Option<Timestamp>, status: &Status) -> Answer {
    let state = match (on, &status.hindrance, &status.file) {
        (false, ..) => "off".to_owned(),
        (true, Some(why), _) => format!("paused: {why}"),
        (true, None, Some(_)) => "recording".to_owned(),
        (true, None, None) => "waiting for samples".to_owned(),
    };
    let mut answer = Map::from_iter([
        ("recording".to_owned(), json!(on)),
        ("state".to_owned(), json!(state)),
        ("file".to_owned(), json!(status.file.as_ref().map(|file| file.display().to_string()))),
        ("frames".to_owned(), json!(status.frames)),
        ("gaps".to_owned(), json!(status.gaps)),
        ("lost".to_owned(), json!(status.lost)),
    ]);
    if let Some(until) = until {
        answer.insert("until".to_owned(), json!(until.seconds()));
    }
    answer
}

const HOW: &str = "write {\"cmd\":\"record\",\"payload\":{\"on\":true,\"duration\":\"10m\"}}, {\"on\":false}, or no \
                   payload to be told how it goes";
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(payload: &str) -> Result<Wanted, CommandError> {
        let text = format!("{{\"cmd\":\"record\"{payload}}}");
        Wanted::read(&crate::command::grammar::read(text.as_bytes()).unwrap().command)
    }

    #[test]
    fn orders_are_read_and_what_is_none_is_explained() {
        assert_eq!(read(""), Ok(Wanted::State));
        assert_eq!(read(r#","payload":{}"#), Ok(Wanted::State));
        assert_eq!(read(r#","payload":{"on":false}"#), Ok(Wanted::Off));
        assert_eq!(read(r#","payload":{"on":true}"#), Ok(Wanted::On(None)));
        let ten = Ok(Wanted::On(Some(Duration::from_secs(600))));
        assert_eq!(read(r#","payload":{"on":true,"duration":"10m"}"#), ten);
        assert_eq!(read(r#","payload":{"on":true,"duration":600}"#), ten);
        for (payload, words) in [
            (r#","payload":{"on":"true"}"#, "true or false"),
            (r#","payload":{"duration":"10m"}"#, "true or false"),
            (r#","payload":{"on":false,"duration":"10m"}"#, "needs"),
            (r#","payload":{"on":true,"duration":"soon"}"#, "duration"),
            (r#","payload":{"on":true,"duration":-1}"#, "duration"),
            (r#","payload":{"on":true,"duration":1e300}"#, "duration"),
            (r#","payload":{"on":true,"file":"x"}"#, "file"),
            (r#","on":true"#, "payload"),
            (r#","payload":3"#, "no object"),
        ] {
            let error = read(payload).unwrap_err().to_string();
            assert!(error.contains(words), "{payload}: {error}");
        }
    }
}
