//! Messages of a meter: replies, and what comes unasked. What the firmware gets wrong is undone here.

use std::fmt;

use serde_json::{Map, Value};

use super::sample::is_error;
use super::values::{boolean, number};
use super::{Command, Info, Kind, Values};

/// A JSON message of the command channel, or of `state/info` on a broker.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The dictionary: when a connection is made, and before the reply to `info`.
    Info(Box<Info>),
    /// The rows of the meter's log, before the reply to `getLog`. Their `cmd` is `log`, and they have no
    /// `error`: not to be taken for the reply to the command `log`.
    LogFile(Vec<String>),
    /// A reply, to this connection's command.
    Reply(Reply),
    /// JSON that is none of these.
    Other(Value),
}

/// What a meter answers to a command.
#[derive(Clone, PartialEq)]
pub struct Reply {
    /// The command, where the meter repeats it: not in the reply to `info`, nor to what it could not read.
    pub cmd: Option<String>,
    /// Whether the command failed: as the meter means it, not always as it says it.
    pub failed: bool,
    /// What it says about it, in words.
    pub message: Option<String>,
    /// The meter's keys beside `error`, `cmd` and `msg`, in its order. Passwords are masked.
    ///
    /// What a SmartMeter calls `apparentPower` is reactive power and is left out; voltage times current is
    /// apparent power.
    pub keys: Map<String, Value>,
}

impl Message {
    /// The message in the text behind `Info:`. `kind`: who says it, once that is known; without it, replies
    /// that a SmartMeter inverts are taken at their word.
    #[must_use]
    pub fn read(text: &str, kind: Option<Kind>) -> Option<Self> {
        match serde_json::from_str(text) {
            Ok(value) => Some(Self::of_value(value, kind)),
            Err(_) => log_file_of_text(text).map(Self::LogFile),
        }
    }

    /// The message in a JSON value.
    #[must_use]
    pub fn of_value(value: Value, kind: Option<Kind>) -> Self {
        if let Some(info) = Info::read(&value) {
            return Self::Info(Box::new(info));
        }
        let Value::Object(keys) = value else { return Self::Other(value) };
        if keys.contains_key("error") {
            return Self::Reply(Reply::of_keys(keys, kind));
        }
        match keys.get("msg").and_then(Value::as_str) {
            Some(rows) if keys.get("cmd").and_then(Value::as_str) == Some("log") => {
                Self::LogFile(rows_of(rows))
            }
            // The README shows replies without `error`.
            _ if keys.contains_key("cmd") || keys.contains_key("msg") => {
                Self::Reply(Reply::of_keys(keys, kind))
            }
            _ => Self::Other(Value::Object(keys)),
        }
    }
}

impl Reply {
    /// The reply to `asked` in a text; `None` where it is something else, or the reply to another command.
    #[must_use]
    pub fn read(text: &str, asked: &Command, kind: Option<Kind>) -> Option<Self> {
        match Message::read(text, kind)? {
            Message::Reply(reply) if reply.answers(asked) => Some(reply),
            _ => None,
        }
    }

    /// Whether this can be the reply to `asked`: it repeats its name, or no name at all.
    #[must_use]
    pub fn answers(&self, asked: &Command) -> bool {
        self.cmd.as_deref().is_none_or(|cmd| cmd == asked.name())
    }

    /// The meter samples, and this command has to wait.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.failed && self.keys.get("state").and_then(Value::as_str) == Some("busy")
    }

    /// One of the keys, as values of the lines.
    #[must_use]
    pub fn values(&self, key: &str) -> Option<Values> {
        self.keys.get(key).and_then(Values::read)
    }

    /// The frequency in Hz, from the reply to `getPeriod`, whose `period` it is. A period in seconds or
    /// milliseconds, should a firmware ever have one, is none: mains are 40 to 70 Hz.
    #[must_use]
    pub fn frequency_hz(&self) -> Option<f64> {
        let is_mains = |value: &f64| (40.0..=70.0).contains(value);
        let values = self.values("period").or_else(|| self.values("frequency"))?;
        [0, 1, 2, 3].into_iter().filter_map(|line| values.line(line)).find(is_mains)
    }

    fn of_keys(mut keys: Map<String, Value>, kind: Option<Kind>) -> Self {
        let failed = is_failure(&keys, kind);
        mask(&mut keys);
        let mut take = |key: &str| match keys.shift_remove(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let (cmd, message) = (take("cmd"), take("msg").map(|text| text.replace("//n", "\n")));
        keys.shift_remove("error");
        if kind == Some(Kind::SmartMeter) {
            keys.shift_remove("apparentPower");
        }
        Self { cmd, failed, message, keys }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = Value::Object(self.keys.clone());
        let Self { cmd, failed, message, .. } = self;
        write!(f, "Reply {{ cmd: {cmd:?}, failed: {failed}, message: {message:?}, keys: {keys} }}")
    }
}

/// Appends a JSON message as a meter sends it: `Info:`, the message, a line end.
pub fn line(json: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Info:");
    out.extend_from_slice(json.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Whether a command has failed (protocol note, section 2.5, "traps per command").
fn is_failure(keys: &Map<String, Value>, kind: Option<Kind>) -> bool {
    let text = |key: &str| keys.get(key).and_then(Value::as_str);
    let told = keys.get("error").and_then(boolean).unwrap_or(false);
    let message = text("msg").unwrap_or_default();
    // Two replies of a SmartMeter are inverted; the words are right on either, also where `cmd` is missing.
    let words = [
        ("ntp", "Time synced", false),
        ("ntp", "Error syncing", true),
        ("addWifi", "New Ap", false),
        ("addWifi", "Wifi AP", true),
    ];
    let cmd = text("cmd");
    let is_meant = |(of, begin, _): &&(&str, &str, bool)| {
        cmd.is_none_or(|cmd| cmd == *of) && message.starts_with(begin)
    };
    if let Some((.., failed)) = words.iter().find(is_meant) {
        return *failed;
    }
    match cmd {
        // Whatever it says when its list is full, a SmartMeter calls it no error.
        Some("addWifi") if kind == Some(Kind::SmartMeter) && !message.is_empty() => true,
        Some("sample") | None if keys.contains_key("startTs") => is_error(keys),
        _ => told,
    }
}

/// Replaces passwords among the keys of a message, also where it repeats them in words.
pub fn mask(keys: &mut Map<String, Value>) {
    for (key, value) in keys.iter_mut() {
        match value {
            Value::Object(inner) => mask(inner),
            Value::String(text) if key == "pwd" && !text.is_empty() => *text = MASK.to_owned(),
            Value::String(text) if key == "msg" => {
                if let Some(place) = text.find("PW:") {
                    text.truncate(place);
                    text.push_str("PW: ");
                    text.push_str(MASK);
                }
            }
            Value::String(_) => {}
            other if key == "pwd" && !other.is_null() => *other = Value::from(MASK),
            _ => {}
        }
    }
}

/// The rows in an answer to `getLog` that is no JSON, since a row has a quote.
fn log_file_of_text(text: &str) -> Option<Vec<String>> {
    let begin = "\"msg\":\"";
    if !text.starts_with("{\"cmd\":\"log\"") {
        return None;
    }
    let inner = text.split_once(begin)?.1;
    Some(rows_of(inner.rsplit_once("\"}").map_or(inner, |(rows, _)| rows)))
}

fn rows_of(text: &str) -> Vec<String> {
    let rows = text.split("//n").map(str::trim);
    rows.filter(|row| !row.is_empty() && !row.starts_with("*** LOGFile"))
        .map(str::to_owned)
        .collect()
}

/// Names in a text that looks like a list and is none: `[energywifi, Test, ]`.
pub(super) fn names_of(text: &str) -> Vec<String> {
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    inner.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// A number among keys.
pub(super) fn number_of(keys: &Map<String, Value>, key: &str) -> Option<f64> {
    keys.get(key).and_then(number)
}

/// What stands for a password.
const MASK: &str = "***";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reply(text: &str, kind: Kind) -> Reply {
        match Message::read(text, Some(kind)) {
            Some(Message::Reply(reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn inverted_errors_are_undone() {
        use Kind::{PowerMeter, SmartMeter};
        let cases = [
            (SmartMeter, r#"{"error":true,"cmd":"ntp","msg":"Time synced"}"#, false),
            (SmartMeter, r#"{"error":false,"cmd":"ntp","msg":"Error syncing time"}"#, true),
            (PowerMeter, r#"{"error":false,"cmd":"ntp","msg":"Time synced"}"#, false),
            (PowerMeter, r#"{"error":true,"cmd":"ntp","msg":"Error syncing time"}"#, true),
            (SmartMeter, r#"{"error":true,"cmd":"addWifi","msg":"New Ap, SSID: a, PW: b"}"#, false),
            (
                SmartMeter,
                r#"{"error":true,"cmd":"addWifi","msg":"Wifi AP a already in list"}"#,
                true,
            ),
            (SmartMeter, r#"{"error":false,"cmd":"addWifi","msg":"List full"}"#, true),
            (PowerMeter, r#"{"error":true,"cmd":"addWifi","msg":"List full"}"#, true),
            (PowerMeter, r#"{"error":true,"cmd":"sample","startTs":"1.5"}"#, false),
            (PowerMeter, r#"{"error":true,"cmd":"sample","msg":"no"}"#, true),
            (PowerMeter, r#"{"error":true,"cmd":"stop"}"#, true),
            (SmartMeter, r#"{"error":true,"msg":"Time synced"}"#, false),
            (SmartMeter, r#"{"error":true,"msg":"New Ap, SSID: a, PW: b"}"#, false),
            (SmartMeter, r#"{"error":true,"cmd":"mdns","msg":"New Ap"}"#, true),
            (SmartMeter, r#"{"msg":"Time synced"}"#, false),
        ];
        for (kind, text, failed) in cases {
            assert_eq!(reply(text, kind).failed, failed, "{kind}: {text}");
        }
    }

    #[test]
    fn passwords_are_masked() {
        let text = r#"{"error":true,"cmd":"addWifi","ssid":"a","pwd":"geheim","msg":"New Ap, SSID: a, PW: geheim"}"#;
        let reply = reply(text, Kind::SmartMeter);
        assert!(!format!("{reply:?}").contains("geheim"), "{reply:?}");
        assert_eq!(reply.keys, *json!({"ssid": "a", "pwd": "***"}).as_object().unwrap());
    }

    #[test]
    fn what_is_called_apparent_power_of_a_smartmeter_goes() {
        let text =
            r#"{"error":false,"cmd":"getPower","activePower":[1,2,null],"apparentPower":[1,1,1]}"#;
        let smart = reply(text, Kind::SmartMeter);
        assert_eq!(smart.values("apparentPower"), None);
        let active = Values::Lines([Some(1.0), Some(2.0), None]);
        assert_eq!(smart.values("activePower"), Some(active));
        assert!(reply(text, Kind::PowerMeter).values("apparentPower").is_some());
    }

    #[test]
    fn a_period_is_a_frequency() {
        let text = r#"{"error":false,"cmd":"getPeriod","period":[49.98,50,50],"unit":"Hz"}"#;
        assert_eq!(reply(text, Kind::SmartMeter).frequency_hz(), Some(49.98));
        let text = r#"{"error":false,"cmd":"getPeriod","period":20,"unit":"ms"}"#;
        assert_eq!(reply(text, Kind::PowerMeter).frequency_hz(), None);
    }

    #[test]
    fn rows_of_the_log_are_read_though_they_are_no_json() {
        let rows = vec!["Boot".to_owned(), "Info:[W]x \"quoted\" {".to_owned()];
        let text = "{\"cmd\":\"log\",\"msg\":\"*** LOGFile *** //nBoot//nInfo:[W]x \"quoted\" {//n*** LOGFile *** \"}";
        assert_eq!(Message::read(text, None), Some(Message::LogFile(rows)));
        let reply =
            Message::read(r#"{"error":false,"cmd":"log","msg":"Log Level set to: info"}"#, None);
        assert!(matches!(reply, Some(Message::Reply(_))));
        assert_eq!(Message::read("{bad", None), None);
    }

    #[test]
    fn a_reply_without_a_name_answers_anything() {
        let bare = reply(r#"{"error":false}"#, Kind::PowerMeter);
        assert!(bare.answers(&Command::info()) && bare.answers(&Command::stop()));
        let stop = reply(r#"{"error":true,"cmd":"stop"}"#, Kind::PowerMeter);
        assert!(stop.answers(&Command::stop()) && !stop.answers(&Command::info()));
    }
}
