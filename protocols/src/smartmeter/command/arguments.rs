//! Arguments of a command, as they were sent: what is missing, wrong or too much is told by its name.

use serde_json::{Map, Value};

use super::CommandError;

/// Arguments of a command.
pub(super) struct Arguments<'a> {
    pub(super) command: &'static str,
    top: &'a Map<String, Value>,
    payload: Option<&'a Map<String, Value>>,
}

impl<'a> Arguments<'a> {
    pub(super) fn new(command: &'static str, top: &'a Map<String, Value>) -> Self {
        Self { command, top, payload: top.get("payload").and_then(Value::as_object) }
    }

    /// No others than these.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), CommandError> {
        let passed = |key: &&String| {
            let is_payload = *key == "payload" && self.payload.is_some();
            !is_payload && !PASSED_OVER.contains(&key.as_str())
        };
        let inner = self.payload.into_iter().flat_map(Map::keys);
        let mut all = self.top.keys().filter(passed).chain(inner);
        match all.find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(CommandError::UnknownKey {
                command: self.command.to_owned(),
                key: key.chars().take(64).collect(),
                known: if known.is_empty() { "no arguments".into() } else { known.join(", ") },
            }),
        }
    }

    /// An argument that is there and not `null`.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        let payload = self.payload.and_then(|payload| payload.get(key));
        payload.or_else(|| self.top.get(key)).filter(|value| !value.is_null())
    }

    pub(super) fn missing(&self, key: &'static str, wanted: &str) -> CommandError {
        CommandError::Missing { command: self.command.to_owned(), key, wanted: wanted.to_owned() }
    }

    pub(super) fn wrong(&self, key: &'static str, wanted: &str) -> CommandError {
        let shown = match self.get(key) {
            _ if key == "pwd" => "no text".to_owned(),
            None => "missing".to_owned(),
            Some(value) => value.to_string().chars().take(64).collect(),
        };
        let (command, wanted) = (self.command.to_owned(), wanted.to_owned());
        CommandError::Wrong { command, key, value: shown, wanted }
    }

    pub(super) fn text(
        &self,
        key: &'static str,
        wanted: &str,
    ) -> Result<Option<&'a str>, CommandError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, wanted)),
        }
    }

    pub(super) fn needed_text(
        &self,
        key: &'static str,
        wanted: &str,
    ) -> Result<&'a str, CommandError> {
        self.text(key, wanted)?.ok_or_else(|| self.missing(key, wanted))
    }

    /// A JSON boolean: a text is misread by the firmware.
    pub(super) fn flag(&self, key: &'static str) -> Result<Option<bool>, CommandError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => {
                Err(self.wrong(key, "true or false without quotes; a meter misreads others"))
            }
        }
    }

    pub(super) fn needed_flag(&self, key: &'static str) -> Result<bool, CommandError> {
        self.flag(key)?.ok_or_else(|| self.missing(key, "true or false"))
    }

    pub(super) fn number(
        &self,
        key: &'static str,
        wanted: &str,
    ) -> Result<Option<f64>, CommandError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_f64()),
            Some(_) => Err(self.wrong(key, wanted)),
        }
    }

    pub(super) fn needed_number(
        &self,
        key: &'static str,
        wanted: &str,
    ) -> Result<f64, CommandError> {
        self.number(key, wanted)?.ok_or_else(|| self.missing(key, wanted))
    }

    pub(super) fn integer(
        &self,
        key: &'static str,
        wanted: &str,
    ) -> Result<Option<i64>, CommandError> {
        let Some(number) = self.number(key, wanted)? else { return Ok(None) };
        match number.fract() == 0.0 && number.abs() < 1e12 {
            true => Ok(Some(number as i64)),
            false => Err(self.wrong(key, wanted)),
        }
    }

    pub(super) fn port(&self, key: &'static str) -> Result<Option<u16>, CommandError> {
        let wanted = "a port from 1 to 65535";
        let port = self.integer(key, wanted)?;
        let is_port = |port: &i64| (1..=65_535).contains(port);
        match port {
            Some(port) if !is_port(&port) => Err(self.wrong(key, wanted)),
            port => Ok(port.and_then(|port| u16::try_from(port).ok())),
        }
    }

    /// One number or a list of them.
    pub(super) fn numbers(
        &self,
        key: &'static str,
        wanted: &str,
    ) -> Result<Option<Vec<f64>>, CommandError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_f64().map(|number| vec![number])),
            Some(Value::Array(items)) => {
                let numbers = items.iter().map(Value::as_f64).collect::<Option<Vec<_>>>();
                numbers.map(Some).ok_or_else(|| self.wrong(key, wanted))
            }
            Some(_) => Err(self.wrong(key, wanted)),
        }
    }
}

/// What stands beside a command and is not for the meter.
pub(super) const PASSED_OVER: [&str; 3] = ["cmd", "id", "confirm"];
