//! Commands and their replies.

use serde_json::{Map, Value, json};

use super::device::{Out, SmartDevice};
use super::mains::LineLevel;
use super::say::{self, Level, date, json_line, number, object};

/// Who wants the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    Connection(u64),
    Mqtt,
}

/// Refused while the meter samples.
const BLOCKED: [&str; 18] = [
    "getPower",
    "getVoltage",
    "getCurrent",
    "getEnergy",
    "getPeriod",
    "getPhaseAngle",
    "mdns",
    "addWifi",
    "delWifi",
    "calibration",
    "dailyRestart",
    "resetEnergy",
    "sample",
    "clearLog",
    "getLog",
    "mqttServer",
    "streamServer",
    "timeServer",
];

/// What a command says when it is done: the keys behind `error` and `cmd`.
type Keys = Vec<(&'static str, Value)>;

impl SmartDevice {
    /// Does what a line says.
    pub(super) fn obey(&mut self, line: &str, asker: Asker, now: f64) {
        if line.starts_with('!') {
            return;
        }
        if line.starts_with('?') {
            if let (Asker::Connection(id), false) = (asker, self.manners.silent) {
                self.later(Out::Bytes(id, b"Info:Setup done\r\n".to_vec()), now);
            }
            return;
        }
        // What stands behind the first value is ignored.
        let mut values = serde_json::Deserializer::from_str(line).into_iter::<Value>();
        let Some(Ok(value)) = values.next() else {
            let text: String = line.chars().take(30).map(without_marks).collect();
            self.log(Level::Error, &format!("deserializeJson() failed: {text}"), now);
            return;
        };
        let Some(command) = value.get("cmd").and_then(Value::as_str).map(str::to_owned) else {
            let text = match self.kind.is_smart() {
                true => "JSON format error, syntax: {\"cmd\":<cmdName>, \"[payload\":{<data>}]}}",
                false => "Syntax error: \"{\"cmd\":<commandName>,\"[payload\":{<possible data>}]}",
            };
            self.reply(asker, object([("error", json!(true)), ("msg", json!(text))]), now);
            return;
        };
        let is_blocked = BLOCKED.contains(&command.as_str())
            || (command == "publishInterval" && !self.kind.is_smart())
            || (command == "ade9k" && self.kind.is_smart());
        if is_blocked && self.is_busy() {
            let busy = self.busy(&command);
            self.reply(asker, busy, now);
            return;
        }
        self.run(&command, &value, asker, now);
    }

    fn run(&mut self, command: &str, value: &Value, asker: Asker, now: f64) {
        match command {
            "info" => self.info(asker, now),
            "getLog" => self.tell_log(asker, now),
            "sample" => self.sample(value, asker, now),
            "reqSamples" => self.request_samples(value, asker, now),
            "stop" => self.stop(asker, now),
            "restart" => self.restart(),
            "factoryReset" | "basicReset" => self.reset(command == "factoryReset", now),
            _ => {
                let (error, keys) = self.short(command, value, asker, now);
                self.reply(asker, with_keys(error, command, keys), now);
            }
        }
    }

    /// Commands whose reply is `error`, `cmd` and some keys.
    fn short(&mut self, command: &str, value: &Value, asker: Asker, now: f64) -> (bool, Keys) {
        let smart = self.kind.is_smart();
        match command {
            "getPower" | "getVoltage" | "getCurrent" | "getPeriod" | "getPhaseAngle" => {
                (false, self.measured(command, now))
            }
            "getEnergy" => (false, self.tell_energy(now)),
            "cts" => self.clear_to_send(value),
            "log" => self.log_level(value, asker),
            "clearLog" => {
                self.rows.clear();
                (false, Vec::new())
            }
            "ntp" => self.sync_time(now),
            "addWifi" => self.add_wifi(value),
            "delWifi" => self.delete_wifi(value),
            "mdns" => self.rename(value, now),
            "mqttServer" => self.set_broker(value),
            "streamServer" => self.set_stream_server(value),
            "timeServer" => self.set_time_server(value, now),
            "calibration" => self.calibrate(value),
            "dailyRestart" => self.set_daily_restart(value),
            "resetEnergy" => self.reset_energy(value, now),
            "switch" if !smart => self.switch_as_told(value, now),
            "publishInterval" if !smart => self.set_publish_interval(value, now),
            "ade9k" if smart => (false, vec![("value", json!("0x00000000"))]),
            _ => {
                self.log(Level::Warning, "Received unknown command", now);
                (true, vec![("msg", json!("unknown command"))])
            }
        }
    }

    fn info(&mut self, asker: Asker, now: f64) {
        // Over MQTT the dictionary goes to whoever spoke last over TCP.
        let reader = match asker {
            Asker::Connection(id) => Some(id),
            Asker::Mqtt => self.last_client,
        };
        if let (Some(id), false) = (reader, self.manners.silent) {
            let dictionary = json_line(&self.dictionary(now));
            self.later(Out::Bytes(id, dictionary), now);
        }
        self.reply(asker, object([("error", json!(false))]), now);
    }

    /// An array of the lines' values, or the only one.
    fn each(&self, now: f64, value: impl Fn(&LineLevel) -> f64) -> Value {
        self.lines(self.levels(now).iter().map(value).collect())
    }

    pub(super) fn lines(&self, values: Vec<f64>) -> Value {
        match self.kind.is_smart() {
            true => values.into_iter().map(number).collect(),
            false => number(values.first().copied().unwrap_or_default()),
        }
    }

    fn measured(&self, command: &str, now: f64) -> Keys {
        let unit = |unit: &str| ("unit", json!(unit));
        match command {
            "getPower" => {
                let reactive = self.each(now, |line| line.reactive_var);
                // A SmartMeter has the reactive values here.
                let apparent = match self.kind.is_smart() {
                    true => reactive.clone(),
                    false => self.each(now, LineLevel::apparent_va),
                };
                vec![
                    ("activePower", self.each(now, |line| line.active_w)),
                    ("reactivePower", reactive),
                    ("apparentPower", apparent),
                    unit("W/var/VA"),
                ]
            }
            "getVoltage" => vec![("voltage", self.each(now, |line| line.voltage_v)), unit("V")],
            "getCurrent" => {
                vec![("current", self.each(now, |line| line.current_a * 1000.0)), unit("mA")]
            }
            "getPeriod" => vec![("period", self.each(now, |_| 50.0)), unit("Hz")],
            _ => {
                let angles = self.mains.loads.iter().map(|load| load.angle.rem_euclid(360.0));
                let mut keys = vec![("phase", self.lines(angles.collect())), unit("Deg")];
                if !self.kind.is_smart() {
                    keys.push(("swell", json!(0)));
                }
                keys
            }
        }
    }

    fn tell_energy(&mut self, now: f64) -> Keys {
        let energy = self.read_energy(now);
        let since = self.energy.since;
        vec![
            ("energy", self.lines(energy)),
            ("unit", json!("Wh")),
            ("startTs", json!(since as i64)),
            ("start", json!(date(since.floor()))),
            ("days", json!(((now - since) / 86_400.0 + 1e-6) as i64)),
        ]
    }

    /// The log in two lines; rows are not escaped, so the first may be no JSON.
    fn tell_log(&mut self, asker: Asker, now: f64) {
        let Asker::Connection(id) = asker else {
            self.reply(asker, object([("error", json!(false)), ("cmd", json!("getLog"))]), now);
            return;
        };
        if !self.manners.silent {
            let prefix = if self.kind.is_smart() { "Info:" } else { "" };
            let mut pieces = vec!["Info:{\"cmd\":\"log\",\"msg\":\"*** LOGFile *** //n".to_owned()];
            for row in &self.rows {
                let prefix = if row.starts_with('[') { prefix } else { "" };
                pieces.push(format!("{prefix}{row}//n"));
            }
            pieces.push("*** LOGFile *** \"}\r\n".to_owned());
            for piece in pieces {
                self.later(Out::Bytes(id, piece.into_bytes()), now);
            }
        }
        self.reply(asker, object([("error", json!(false)), ("cmd", json!("getLog"))]), now);
    }

    fn log_level(&mut self, value: &Value, asker: Asker) -> (bool, Keys) {
        let word = value.get("level").and_then(Value::as_str).unwrap_or_default();
        let (Some(level), Asker::Connection(id)) = (Level::named(word), asker) else {
            return (true, vec![("msg", json!(format!("Unknown log level: {word}")))]);
        };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.level = level;
        }
        (false, vec![("msg", json!(format!("Log Level set to: {word}")))])
    }

    /// On a SmartMeter `error` says the opposite.
    fn sync_time(&mut self, now: f64) -> (bool, Keys) {
        self.manners.no_time = false;
        self.log(Level::Info, "NTP synced with conf: 11", now);
        let keys = vec![("msg", json!("Time synced")), ("current_time", json!(date(now)))];
        (self.kind.is_smart(), keys)
    }

    fn switch_as_told(&mut self, value: &Value, now: f64) -> (bool, Keys) {
        let value = match value.pointer("/payload/value") {
            None | Some(Value::Null) => {
                return (true, vec![("msg", json!("Not a valid \"switch\" command"))]);
            }
            Some(Value::Bool(value)) => i64::from(*value),
            // Texts count as 0.
            Some(value) => value.as_f64().unwrap_or_default() as i64,
        };
        let closed = if value < 0 { !self.relay } else { value > 0 };
        self.switch(closed, now);
        (false, vec![("msg", json!("Switching: "))])
    }

    fn reset(&mut self, whole: bool, now: f64) {
        let interval = self.settings.publish.unwrap_or(5.0);
        self.settings = super::settings::Settings::new(self.kind, interval);
        self.energy.stored.fill(0.0);
        self.energy.since = now;
        if whole {
            self.name = if self.kind.is_smart() { "smartmeterX" } else { "powermeterX" }.to_owned();
        }
        self.restart();
    }
}

/// Marks that would make a reader stumble are turned into others; so is the end of the line.
fn without_marks(letter: char) -> char {
    if matches!(letter, '{' | '}' | '"' | '\r') { '_' } else { letter }
}

/// The keys of a reply that failed with a message.
pub(super) fn failed(message: impl Into<String>) -> (bool, Keys) {
    (true, vec![("msg", Value::String(message.into()))])
}

/// `payload.<key>` as text.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get("payload")?.get(key)?.as_str()
}

/// The reply with `error`, `cmd`, and these keys.
pub(super) fn with_keys(error: bool, command: &str, keys: Keys) -> Map<String, Value> {
    let mut reply = say::object([("error", json!(error)), ("cmd", json!(command))]);
    reply.extend(keys.into_iter().map(|(key, value)| (key.to_owned(), value)));
    reply
}
