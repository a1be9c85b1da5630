//! What a meter says by itself and in reply, and what is in the way of its readers.

use serde_json::{Map, Value};

use super::commands::Asker;
use super::device::{Out, Role, SmartDevice};
use super::say::{self, Level, json_line, log_line};

impl SmartDevice {
    /// Writes a log line to whoever wants to hear such, and keeps bad news.
    pub(super) fn log(&mut self, level: Level, text: &str, now: f64) {
        if level >= Level::Warning {
            if self.rows.len() == ROWS {
                self.rows.pop_front();
            }
            self.rows.push_back(say::row(level, text, now));
        }
        let line = log_line(level, text, now);
        for (id, connection) in &self.connections {
            if connection.role != Role::Reader && connection.level <= level {
                self.out.push_back(Out::Bytes(*id, line.clone()));
            }
        }
    }

    /// One of the log lines that make reading hard, if the manners are such.
    pub(super) fn make_noise(&mut self, now: f64) {
        if !self.manners.noise {
            return;
        }
        let long = "x".repeat(600);
        let lines = [
            (Level::Info, "{\"cmd\":\"getPower\",\"error\":true} Info:{\"cmd\":\"info\"}"),
            (Level::Warning, "Correcting: 2 samples"),
            (Level::Info, "MQTT: Data:\u{1}\u{2} \"quoted\" and Info:[E] inside"),
            (Level::Error, "MISSED 3 SAMPLES"),
            (Level::Info, long.as_str()),
            (Level::Warning, "Lost interrupt!"),
            (Level::Debug, "Loop 1200 ns behind"),
        ];
        let (level, text) = lines[self.noise % lines.len()];
        self.noise += 1;
        self.log(level, text, now);
    }

    /// A reply, now or late.
    pub(super) fn reply(&mut self, asker: Asker, mut keys: Map<String, Value>, now: f64) {
        if self.manners.silent {
            return;
        }
        if self.manners.wrong_keys && keys.contains_key("error") {
            keys.remove("cmd");
        }
        match asker {
            Asker::Connection(id) => {
                self.make_noise(now);
                self.later(Out::Bytes(id, json_line(&keys)), now);
                if self.manners.slow.is_zero() {
                    self.make_noise(now);
                }
            }
            Asker::Mqtt => self.publish("state/info", &Value::Object(keys).to_string(), false),
        }
    }

    /// Done after what is late, so that the order stays.
    pub(super) fn later(&mut self, out: Out, now: f64) {
        if self.manners.slow.is_zero() && self.late.is_empty() {
            self.out.push_back(out);
        } else {
            self.late.push_back((now + self.manners.slow.as_secs_f64(), out));
        }
    }
}

/// Rows of the log that are kept.
const ROWS: usize = 200;
