//! The keys of a command, each read with its type. One that nobody asked for is a mistake: a
//! misspelled `confirm` or `channel` must not be passed over.

use serde_json::{Map, Value};

use super::invalid;
use crate::command::CommandError;

#[derive(Debug)]
pub(super) struct Arguments<'a>(&'a Map<String, Value>);

impl<'a> Arguments<'a> {
    pub(super) fn new(keys: &'a Map<String, Value>) -> Arguments<'a> {
        Arguments(keys)
    }

    /// Refuses keys that this command does not have.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), CommandError> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) if known.is_empty() => {
                Err(invalid(format!("{key:?} means nothing here: the command takes no more keys")))
            }
            Some(key) => {
                Err(invalid(format!("{key:?} means nothing here; known are {}", known.join(", "))))
            }
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// A text that must be there.
    pub(super) fn text(&self, key: &str, hint: &str) -> Result<&'a str, CommandError> {
        match self.get(key) {
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(invalid(format!("{key} is {other}: write {hint}"))),
            None => Err(invalid(format!("{key} is missing: write {hint}"))),
        }
    }

    /// Whether a switch such as `confirm` is on.
    pub(super) fn flag(&self, key: &str) -> Result<bool, CommandError> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(on)) => Ok(*on),
            Some(other) => Err(invalid(format!("{key} is {other}: write true or false"))),
        }
    }

    /// The value that must be there.
    pub(super) fn value(&self, hint: &str) -> Result<&'a Value, CommandError> {
        self.get("value").ok_or_else(|| invalid(format!("value is missing: write {hint}")))
    }

    /// The number of a channel or input: `5`, or with its family, as `"ch5"`.
    pub(super) fn channel(&self, family: &str) -> Result<Option<i64>, CommandError> {
        let wrong = |value: &Value| {
            invalid(format!("channel is {value}: write its number, such as 5 or \"{family}5\""))
        };
        match self.get("channel") {
            None => Ok(None),
            Some(Value::Number(number)) => {
                number.as_i64().map(Some).ok_or_else(|| wrong(&Value::Number(number.clone())))
            }
            Some(value @ Value::String(text)) => {
                let digits = text.strip_prefix(family).unwrap_or(text);
                digits.parse().map(Some).map_err(|_| wrong(value))
            }
            Some(other) => Err(wrong(other)),
        }
    }
}

/// A whole number.
pub(super) fn number(value: &Value, what: &str) -> Result<i64, CommandError> {
    value.as_i64().ok_or_else(|| invalid(format!("{what} {value} is no whole number")))
}

/// `true` or `false`, also as `1`, `0`, `"on"` and `"off"`.
pub(super) fn switch(value: &Value, what: &str) -> Result<bool, CommandError> {
    match value {
        Value::Bool(on) => Ok(*on),
        Value::Number(number) if number.as_i64() == Some(0) => Ok(false),
        Value::Number(number) if number.as_i64() == Some(1) => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("on") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("off") => Ok(false),
        _ => Err(invalid(format!("{what} {value} is no switch: write true or false"))),
    }
}
