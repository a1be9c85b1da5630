//! The relay of a PowerMeter with a time: done while it is fresh, and never late.
//!
//! The firmware takes it on a topic of its own, `switchTS`, and not as a command: `["on",1700000000]`, meant
//! to be retained, so that a plug that comes back within a minute still does it.
//!
//! Source: protocol note, section 3.3.

use serde_json::{Map, Value};

use super::arguments::Arguments;
use super::make::Switch;
use super::{Command, CommandError};
use crate::smartmeter::Reply;

/// A state for the relay, and when it was asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimedSwitch {
    /// Closed, or open.
    pub on: bool,
    /// When it was asked for, whole Unix seconds.
    pub at: i64,
}

impl TimedSwitch {
    /// The name of the command, and of the topic.
    pub const NAME: &'static str = "switchTS";
    /// What stands in the place of one that is over, where it was retained.
    pub const OVER: &'static str = "-";

    /// What was published on the topic; `None`: nothing, or what stands where one was.
    ///
    /// # Errors
    /// In words, where it is something else.
    pub fn read(payload: &[u8]) -> Result<Option<Self>, CommandError> {
        let payload = payload.trim_ascii();
        if payload.is_empty() || payload == Self::OVER.as_bytes() {
            return Ok(None);
        }
        let value: Value = serde_json::from_slice(payload).unwrap_or_default();
        let words = || {
            let said: String = String::from_utf8_lossy(payload).chars().take(64).collect();
            CommandError::Invalid(format!("switchTS takes {LIST}, not {said:?}"))
        };
        let list = value.as_array().ok_or_else(words)?;
        Self::of_list(list).map(Some).ok_or_else(words)
    }

    /// The one in a command, if it is such.
    #[must_use]
    pub fn of_command(command: &Command) -> Option<Self> {
        let is_it = command.name() == Self::NAME;
        Self::of_list(command.arguments().get("payload").filter(|_| is_it)?.as_array()?)
    }

    /// From `value` and `ts`, or from the list in `payload`.
    pub(super) fn of_arguments(
        arguments: &Arguments<'_>,
        top: &Map<String, Value>,
    ) -> Result<Self, CommandError> {
        if let Some(list) = top.get("payload").and_then(Value::as_array) {
            return Self::of_list(list).ok_or_else(|| arguments.wrong("payload", LIST));
        }
        arguments.only(&["value", "ts"])?;
        let wanted = "on or off";
        let value = arguments.get("value").ok_or_else(|| arguments.missing("value", wanted))?;
        let on = closed(value).ok_or_else(|| arguments.wrong("value", wanted))?;
        let wanted = "the time in Unix seconds; without one the command is switch";
        let at = arguments.get("ts").ok_or_else(|| arguments.missing("ts", wanted))?;
        let at = seconds(at).ok_or_else(|| arguments.wrong("ts", wanted))?;
        Ok(Self { on, at })
    }

    /// Whether it may be done at `now`, Unix seconds.
    ///
    /// # Errors
    /// Where it is older than a minute; where it lies further ahead than two clocks are apart, since it
    /// would be fresh then for as long.
    pub fn check(self, now: i64) -> Result<(), CommandError> {
        let age = now.saturating_sub(self.at);
        let words = match age {
            age if age > OLDEST => format!("is {age} s old: it is done within {OLDEST} s only"),
            age if age < -AHEAD => {
                format!("lies {} s ahead: the time is to be in Unix seconds", age.saturating_neg())
            }
            _ => return Ok(()),
        };
        Err(CommandError::Invalid(format!("the switchTS of {} {words}", self.at)))
    }

    /// Whether it is older than a minute.
    #[must_use]
    pub const fn is_over(self, now: i64) -> bool {
        now.saturating_sub(self.at) > OLDEST
    }

    /// A plug's answer to one, which is no JSON; `None`: another text.
    #[must_use]
    pub fn answer(text: &str) -> Option<Reply> {
        let failed = match text {
            text if text.starts_with(DONE) => false,
            text if text.starts_with(TOO_OLD) => true,
            _ => return None,
        };
        let (cmd, message) = (Some(Self::NAME.to_owned()), Some(text.to_owned()));
        Some(Reply { cmd, failed, message, keys: Map::new() })
    }

    /// Whether this is such an answer, and not one to a command of that name, which no firmware knows.
    #[must_use]
    pub fn is_answer(reply: &Reply) -> bool {
        reply.message.as_deref().and_then(Self::answer).is_some()
    }

    /// What is published for it.
    #[must_use]
    pub fn payload(self) -> String {
        self.list().to_string()
    }

    /// The same without its time.
    #[must_use]
    pub fn switch(self) -> Command {
        Command::switch(if self.on { Switch::On } else { Switch::Off })
    }

    pub(super) fn command(self) -> Command {
        Command::bare(Self::NAME).with("payload", self.list())
    }

    fn list(self) -> Value {
        Value::from(vec![Value::from(if self.on { "on" } else { "off" }), self.at.into()])
    }

    fn of_list(list: &[Value]) -> Option<Self> {
        match list {
            [value, at] => Some(Self { on: closed(value)?, at: seconds(at)? }),
            _ => None,
        }
    }
}

fn closed(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(on) => Some(*on),
        Value::Number(number) if number.as_f64() == Some(1.0) => Some(true),
        Value::Number(number) if number.as_f64() == Some(0.0) => Some(false),
        Value::String(text) => match text.as_str() {
            "on" | "true" => Some(true),
            "off" | "false" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Whole seconds; what is no time at all is none.
fn seconds(value: &Value) -> Option<i64> {
    value.as_f64().filter(|at| (0.0..1e15).contains(at)).map(|at| at as i64)
}

const LIST: &str = "[\"on\",<Unix seconds>] or [\"off\",<Unix seconds>]";
/// What a plug says of one, before a time.
const DONE: &str = "Handle switch cmd at";
const TOO_OLD: &str = "Switch message too old";
/// How long it may be done, seconds.
const OLDEST: i64 = 60;
/// How far two clocks may be apart, seconds.
const AHEAD: i64 = 60;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::smartmeter::{Kind, Message};

    #[test]
    fn what_is_published_is_read_and_written_back() {
        let read = |text: &str| TimedSwitch::read(text.as_bytes());
        let on = TimedSwitch { on: true, at: 1_700_000_000 };
        assert_eq!(read(r#"["on",1700000000]"#), Ok(Some(on)));
        assert_eq!(read(&on.payload()), Ok(Some(on)));
        let off = TimedSwitch { on: false, at: 5 };
        assert_eq!(read(r#" ["false", 5.9] "#), Ok(Some(off)));
        for nothing in ["", "-", " - "] {
            assert_eq!(read(nothing), Ok(None));
        }
        for bad in ["on", "[]", r#"["on"]"#, r#"["toggle",5]"#, r#"["on","5"]"#, r#"["on",-5]"#] {
            let words = read(bad).unwrap_err().to_string();
            assert!(words.contains("Unix seconds"), "{bad}: {words}");
        }
    }

    #[test]
    fn it_is_never_done_late_nor_again_and_again() {
        let at = |at| TimedSwitch { on: true, at };
        let now = 1_700_000_000;
        for fresh in [now, now - 60, now + 60] {
            assert_eq!(at(fresh).check(now), Ok(()));
        }
        assert!(at(now - 61).check(now).unwrap_err().to_string().contains("is 61 s old"));
        assert!(at(now - 61).is_over(now) && !at(now - 60).is_over(now));
        // Milliseconds would be fresh for 50,000 years.
        assert!(at(now * 1000).check(now).unwrap_err().to_string().contains("ahead"));
        assert!(at(i64::MAX).check(i64::MIN).is_err() && at(i64::MIN).check(i64::MAX).is_err());
    }

    #[test]
    fn a_plug_answers_in_words() {
        let failed = |text| TimedSwitch::answer(text).map(|reply| reply.failed);
        assert_eq!(failed("Handle switch cmd at: 03/02/2021 11:59:59.034"), Some(false));
        assert_eq!(failed("Switch message too old: 03/02/2021 11:59:59.034"), Some(true));
        assert_eq!(failed("Parse error"), None);
        let unknown = r#"{"error":true,"cmd":"switchTS","msg":"unknown command"}"#;
        let Some(Message::Reply(reply)) = Message::read(unknown, None) else { panic!() };
        assert!(!TimedSwitch::is_answer(&reply));
    }

    #[test]
    fn it_can_be_sent_as_a_command_in_either_form() {
        let command = |arguments: Value| {
            let arguments = arguments.as_object().unwrap().clone();
            Command::from_json("switchTS", &arguments, Kind::PowerMeter)
        };
        let on = TimedSwitch { on: true, at: 1_700_000_000 };
        for arguments in [
            json!({"payload": ["on", 1_700_000_000]}),
            json!({"value": "on", "ts": 1_700_000_000}),
            json!({"payload": {"value": true, "ts": 1_700_000_000}, "id": 1}),
        ] {
            let command = command(arguments).unwrap();
            assert_eq!(TimedSwitch::of_command(&command), Some(on));
        }
        assert_eq!(on.switch(), Command::switch(Switch::On));
        assert_eq!(TimedSwitch::of_command(&on.switch()), None);
        let words = |arguments| command(arguments).unwrap_err().to_string();
        assert!(words(json!({"value": "on"})).contains("needs \"ts\""));
        assert!(words(json!({"value": -1, "ts": 5})).contains("on or off"));
        assert!(words(json!({"payload": ["on"]})).contains("Unix seconds"));
        let smart = Command::from_json("switchTS", &Map::new(), Kind::SmartMeter);
        assert!(smart.unwrap_err().to_string().contains("SmartMeter cannot do switchTS"));
    }
}
