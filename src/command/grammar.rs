//! Commands and replies as JSON, in the SmartMeter's grammar: one object each way, the reply with
//! `error` and `cmd` first.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Answer, Command, CommandError};

/// A command with what its sender wants to see again.
#[derive(Debug, Clone)]
pub struct Request {
    /// The command.
    pub command: Command,
    /// What the reply is to carry.
    pub echo: Echo,
}

/// What a reply repeats of its request.
#[derive(Debug, Clone, Default)]
pub struct Echo {
    /// The `cmd`; `None` where none could be read.
    pub cmd: Option<String>,
    /// The `id`, to the letter: a number may have more digits than a number here could hold.
    pub id: Option<Box<RawValue>>,
}

/// What was said is no command.
#[derive(Debug, Clone)]
pub struct BadRequest {
    /// What could be read nevertheless.
    pub echo: Echo,
    /// What is wrong.
    pub error: Misunderstanding,
}

/// Why a payload is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misunderstanding {
    /// More than is read.
    #[error("the command has {0} bytes: at most {LARGEST} are read")]
    TooLarge(usize),
    /// Bytes that are no text.
    #[error("the command is not UTF-8 text")]
    NotText,
    /// Text that is no JSON.
    #[error("the command is not JSON: {0}")]
    NotJson(String),
    /// JSON without a command in it.
    #[error("a command is a JSON object with a text \"cmd\", such as {{\"cmd\":\"info\"}}")]
    NoCommand,
}

/// The largest command that is read, in bytes.
pub const LARGEST: usize = 16 * 1024;

/// The only key whose text matters.
#[derive(Deserialize)]
struct Identified {
    #[serde(default)]
    id: Option<Box<RawValue>>,
}

/// Reads a command.
///
/// # Errors
/// What is wrong, with as much of `cmd` and `id` as could be read.
pub fn read(payload: &[u8]) -> Result<Request, BadRequest> {
    let bad = |error| BadRequest { echo: Echo::default(), error };
    if payload.len() > LARGEST {
        return Err(bad(Misunderstanding::TooLarge(payload.len())));
    }
    let text = std::str::from_utf8(payload).map_err(|_| bad(Misunderstanding::NotText))?;
    let value: Value = serde_json::from_str(text)
        .map_err(|error| bad(Misunderstanding::NotJson(error.to_string())))?;
    let Value::Object(mut arguments) = value else {
        return Err(bad(Misunderstanding::NoCommand));
    };
    let id = arguments.shift_remove("id").and_then(|id| identity(text, &id));
    let Some(Value::String(name)) = arguments.shift_remove("cmd") else {
        let echo = Echo { cmd: None, id };
        return Err(BadRequest { echo, error: Misunderstanding::NoCommand });
    };
    let echo = Echo { cmd: Some(name.clone()), id };
    Ok(Request { command: Command { name, arguments }, echo })
}

/// The `id` as it was written. A `null` is one as well.
fn identity(text: &str, id: &Value) -> Option<Box<RawValue>> {
    let written = serde_json::from_str::<Identified>(text).ok().and_then(|found| found.id);
    written.or_else(|| serde_json::value::to_raw_value(id).ok())
}

/// The reply to a request: one JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The object.
    pub text: String,
    /// Whether it tells of success, and if not, of what kind the failure is.
    pub verdict: Verdict,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was done.
    Done,
    /// It is no command.
    Misunderstood,
    /// It is larger than what is read.
    TooLarge,
    /// Nobody has that name.
    NoSuchMeter,
    /// The gateway or the meter will not do it.
    Refused,
    /// The meter cannot be reached at present, or has too much to do.
    Unavailable,
    /// The meter did not answer.
    Silent,
}

impl Reply {
    /// What was asked for.
    pub fn done(echo: &Echo, answer: Answer) -> Reply {
        Reply { text: write(echo, false, answer), verdict: Verdict::Done }
    }

    /// Why it was not done.
    pub fn failed(echo: &Echo, error: &CommandError) -> Reply {
        Reply::error(echo, error.to_string(), Verdict::of(error))
    }

    /// Why it could not even be read.
    pub fn misunderstood(bad: &BadRequest) -> Reply {
        let verdict = match bad.error {
            Misunderstanding::TooLarge(_) => Verdict::TooLarge,
            _ => Verdict::Misunderstood,
        };
        Reply::error(&bad.echo, bad.error.to_string(), verdict)
    }

    /// That nobody has that name.
    pub fn no_such_meter(echo: &Echo, name: &str) -> Reply {
        let name: String = name.chars().take(64).collect();
        Reply::error(echo, format!("no meter is called {name:?}"), Verdict::NoSuchMeter)
    }

    fn error(echo: &Echo, message: String, verdict: Verdict) -> Reply {
        let answer = Map::from_iter([("msg".to_owned(), Value::String(message))]);
        Reply { text: write(echo, true, answer), verdict }
    }
}

impl Verdict {
    fn of(error: &CommandError) -> Verdict {
        match error {
            CommandError::Unknown(_) | CommandError::Invalid(_) | CommandError::Refused(_) => {
                Verdict::Refused
            }
            CommandError::Offline
            | CommandError::Unreachable(_)
            | CommandError::Busy
            | CommandError::Lost => Verdict::Unavailable,
            CommandError::Silent(_) => Verdict::Silent,
        }
    }
}

/// `error`, `cmd`, the answer's own keys, and the `id` at the end.
fn write(echo: &Echo, error: bool, answer: Answer) -> String {
    let mut all = Map::with_capacity(answer.len() + 2);
    all.insert("error".to_owned(), Value::Bool(error));
    if let Some(cmd) = &echo.cmd {
        all.insert("cmd".to_owned(), Value::String(cmd.clone()));
    }
    for (key, value) in answer {
        if !matches!(key.as_str(), "error" | "cmd" | "id") {
            all.insert(key, value);
        }
    }
    let mut text = Value::Object(all).to_string();
    if let Some(id) = &echo.id {
        text.pop();
        text.push_str(",\"id\":");
        text.push_str(id.get());
        text.push('}');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(payload: &str) -> String {
        let request = read(payload.as_bytes()).unwrap();
        let answer = Map::from_iter([("voltage".to_owned(), Value::from(230))]);
        Reply::done(&request.echo, answer).text
    }

    #[test]
    fn an_id_comes_back_to_the_letter() {
        for id in ["7", "\"a\\u00e9b\"", "null", "[1, 2]", "123456789012345678901234567890", "1.0"]
        {
            let text = done(&format!("{{\"id\":{id},\"cmd\":\"getVoltage\"}}"));
            let wanted = format!(r#"{{"error":false,"cmd":"getVoltage","voltage":230,"id":{id}}}"#);
            assert_eq!(text, wanted);
            serde_json::from_str::<Value>(&text).unwrap();
        }
        assert_eq!(done(r#"{"cmd":"x"}"#), r#"{"error":false,"cmd":"x","voltage":230}"#);
        assert_eq!(
            done(r#"{"id":1,"cmd":"x","id":2}"#),
            r#"{"error":false,"cmd":"x","voltage":230,"id":2}"#
        );
    }

    #[test]
    fn the_arguments_are_all_other_keys() {
        let request = read(br#" {"cmd":"set","setting":"interval","value":5,"id":1} "#).unwrap();
        assert_eq!(request.command.name, "set");
        let keys: Vec<&str> = request.command.arguments.keys().map(String::as_str).collect();
        assert_eq!(keys, ["setting", "value"]);
    }

    #[test]
    fn what_is_no_command_is_told_with_its_id() {
        let deep = "[".repeat(10_000);
        let large = vec![b' '; LARGEST + 1];
        let cases: [(&[u8], &str); 9] = [
            (b"", "not JSON"),
            (b"info", "not JSON"),
            (b"{\"cmd\":\"info\"} and more", "not JSON"),
            (deep.as_bytes(), "not JSON"),
            (b"\xff{}", "not UTF-8"),
            (b"[1]", "with a text"),
            (b"{}", "with a text"),
            (b"{\"cmd\":5}", "with a text"),
            (&large, "16385 bytes"),
        ];
        for (payload, words) in cases {
            let reply = Reply::misunderstood(&read(payload).unwrap_err());
            let value: Value = serde_json::from_str(&reply.text).unwrap();
            assert_eq!(value["error"], true);
            assert!(value["msg"].as_str().unwrap().contains(words), "{}", reply.text);
        }
        let reply = Reply::misunderstood(&read(br#"{"id":"a"}"#).unwrap_err());
        assert!(reply.text.ends_with(r#","id":"a"}"#), "{}", reply.text);
    }
}
