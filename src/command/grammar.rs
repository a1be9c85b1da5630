//! Commands and replies as JSON, in the SmartMeter's grammar: one object each way, the reply with
//! `error` and `cmd` first.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
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
    /// Which of the two is meant nobody can know.
    #[error("{0:?} stands twice in the command")]
    Twice(String),
    /// No command has such a name, and nobody wants to read it again.
    #[error("the \"cmd\" is longer than {LONGEST_NAME} characters: no command has such a name")]
    LongName,
    /// JSON without a command in it.
    #[error("a command is a JSON object with a text \"cmd\", such as {{\"cmd\":\"info\"}}")]
    NoCommand,
}

/// The largest command that is read, in bytes.
pub const LARGEST: usize = 16 * 1024;
/// The longest name of one, in characters.
const LONGEST_NAME: usize = 64;

/// Reads a command.
///
/// # Errors
/// What is wrong, with as much of `cmd` and `id` as could be read.
pub fn read(payload: &[u8]) -> Result<Request, BadRequest> {
    let mut echo = Echo::default();
    command(payload, &mut echo)
        .map(|command| Request { command, echo: echo.clone() })
        .map_err(|error| BadRequest { echo, error })
}

fn command(payload: &[u8], echo: &mut Echo) -> Result<Command, Misunderstanding> {
    if payload.len() > LARGEST {
        return Err(Misunderstanding::TooLarge(payload.len()));
    }
    let text = std::str::from_utf8(payload).map_err(|_| Misunderstanding::NotText)?;
    let Members(members) = serde_json::from_str(text).map_err(|error| match error.classify() {
        // Something else than an object.
        Category::Data => Misunderstanding::NoCommand,
        _ => Misunderstanding::NotJson(error.to_string()),
    })?;
    let (mut name, mut twice) = (None, None);
    let mut arguments = Map::new();
    for (key, written) in members {
        let known = match key.as_str() {
            "id" => echo.id.replace(written).is_some(),
            "cmd" => name.replace(value(&written)?).is_some(),
            _ => arguments.insert(key.clone(), value(&written)?).is_some(),
        };
        twice = twice.or(known.then_some(key));
    }
    if let Some(Value::String(name)) = &name {
        if name.chars().nth(LONGEST_NAME).is_some() {
            return Err(Misunderstanding::LongName);
        }
        echo.cmd = Some(name.clone());
    }
    match (twice, name) {
        (Some(key), _) => Err(Misunderstanding::Twice(key.chars().take(64).collect())),
        (None, Some(Value::String(name))) => Ok(Command { name, arguments }),
        (None, _) => Err(Misunderstanding::NoCommand),
    }
}

/// A value that matters by what it means. One that is nested too deep, or a number beyond all
/// measure, is refused.
fn value(written: &RawValue) -> Result<Value, Misunderstanding> {
    serde_json::from_str(written.get())
        .map_err(|error| Misunderstanding::NotJson(error.to_string()))
}

/// The members of an object as they are written, also those of one name.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
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
        let deep = "[".repeat(5000) + &"]".repeat(5000);
        for id in [
            "7",
            "\"a\\u00e9b\"",
            "null",
            "[1, 2]",
            "{\"id\":{\"cmd\":1}}",
            "123456789012345678901234567890",
            "1.0",
            "-0",
            "1e999",
            &deep,
        ] {
            let text = done(&format!("{{\"id\":{id},\"cmd\":\"getVoltage\"}}"));
            let wanted = format!(r#"{{"error":false,"cmd":"getVoltage","voltage":230,"id":{id}}}"#);
            assert_eq!(text, wanted);
        }
        assert_eq!(done(r#"{"cmd":"x"}"#), r#"{"error":false,"cmd":"x","voltage":230}"#);
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
        let deep_value = format!("{{\"cmd\":\"set\",\"value\":{deep}{}}}", "]".repeat(10_000));
        let long_name = format!("{{\"cmd\":\"{}\"}}", "é".repeat(LONGEST_NAME + 1));
        let cases: [(&[u8], &str); 17] = [
            (long_name.as_bytes(), "longer than 64 characters"),
            (deep_value.as_bytes(), "bytes"),
            (&deep_value.as_bytes()[..9000], "not JSON"),
            (b"{\"cmd\":\"set\",\"value\":1e999}", "not JSON: number out of range"),
            (b"{\"cmd\":\"a\",\"cmd\":\"b\"}", "\"cmd\" stands twice"),
            (b"{\"cmd\":\"a\",\"id\":1,\"id\":2}", "\"id\" stands twice"),
            (b"{\"cmd\":\"a\",\"value\":1,\"v\\u0061lue\":1}", "\"value\" stands twice"),
            (b"null", "with a text"),
            (b"", "not JSON"),
            (b"info", "not JSON"),
            (b"{\"cmd\":\"info\"} and more", "not JSON"),
            (deep.as_bytes(), "with a text"),
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
