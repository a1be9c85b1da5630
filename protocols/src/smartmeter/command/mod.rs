//! Commands to a meter: one line of JSON each, checked before it goes out.
//!
//! * `make.rs`: a function for each; `limits.rs`: what its arguments can be
//! * `json.rs`: what users send, by name; `arguments.rs`: what stands beside the name
//! * `timed.rs`: the relay with a time, which has a topic of its own
//! * `table.rs`: how long each takes, what blocks it
//! * `error.rs`: what is wrong with one, in words

mod arguments;
mod error;
mod json;
mod limits;
mod make;
mod table;
mod timed;

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Kind;
pub use error::CommandError;
pub use make::{MqttServer, Switch};
use table::Entry;
pub use timed::TimedSwitch;

/// A command that a meter understands.
///
/// Source: protocol note, sections 2.2 and 2.5.
#[derive(Clone, PartialEq)]
pub struct Command {
    name: String,
    /// Everything beside `cmd`.
    keys: Map<String, Value>,
}

impl Command {
    /// Its name: `getPower`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The line that is sent, with its end: at most 499 bytes, what a PowerMeter takes. To be sent in
    /// one write: half a line stops the meter's loop for up to 10 s.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = self.json();
        line.push_str("\r\n");
        line
    }

    /// The same without its end, as it goes over MQTT.
    #[must_use]
    pub fn json(&self) -> String {
        let mut object = Map::new();
        object.insert("cmd".to_owned(), Value::from(self.name.as_str()));
        object.extend(self.keys.iter().map(|(key, value)| (key.clone(), value.clone())));
        Value::Object(object).to_string()
    }

    /// How long the reply may take.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        Duration::from_secs(self.entry().map_or(5, |entry| entry.seconds))
    }

    /// Whether a meter that samples refuses it as busy.
    #[must_use]
    pub fn blocked_while_sampling(&self) -> bool {
        self.entry().is_some_and(|entry| entry.blocked)
    }

    /// Whether the meter restarts instead of replying.
    #[must_use]
    pub fn restarts(&self) -> bool {
        matches!(self.name.as_str(), "restart" | "factoryReset" | "basicReset")
    }

    /// Whether the meter forgets energy that it has counted: a SmartMeter's registers clear on reading.
    #[must_use]
    pub fn loses_energy(&self, kind: Kind) -> bool {
        kind == Kind::SmartMeter && self.name == "getEnergy"
    }

    /// Whether a message comes before the reply: the dictionary for `info`, the rows for `getLog`.
    #[must_use]
    pub fn has_two_lines(&self) -> bool {
        matches!(self.name.as_str(), "info" | "getLog")
    }

    /// The names of all commands that a meter of this kind understands, and that are let through.
    pub fn names(kind: Kind) -> impl Iterator<Item = &'static str> {
        Entry::all(kind).map(|entry| entry.name)
    }

    /// What stands beside `cmd`.
    #[must_use]
    pub fn arguments(&self) -> &Map<String, Value> {
        &self.keys
    }

    fn bare(name: &str) -> Self {
        Self { name: name.to_owned(), keys: Map::new() }
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.keys.insert(key.to_owned(), value.into());
        self
    }

    fn with_payload(self, payload: Map<String, Value>) -> Self {
        self.with("payload", payload)
    }

    fn entry(&self) -> Option<&'static Entry> {
        Entry::of(&self.name)
    }
}

impl fmt::Debug for Command {
    /// Without passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.clone();
        super::reply::mask(&mut shown.keys);
        f.write_str(&shown.json())
    }
}

#[cfg(test)]
mod tests;
