//! Requests and responses as JSON: `{"from":"house","to":"main","transaction":1}` in,
//! `{"data":{…},"status":"ok","transaction":1}` out.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::registry::change::Change;
use crate::registry::record::ChannelRequest;

/// A request with what its sender wants to see again.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked for.
    pub what: What,
    /// The `transaction`, to the letter.
    pub transaction: Option<Box<RawValue>>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A change of what is known of a meter.
    Change(Change),
    /// The list of meters.
    Devices,
    /// How the gateway is.
    Health,
    /// That a device, or every one, is announced to Home Assistant again that its user deleted there.
    Announce(Option<String>),
    /// That it begins again with the configuration read anew.
    Restart,
}

/// What was said is no request.
#[derive(Debug, Clone)]
pub struct Bad {
    /// What is wrong.
    pub words: String,
    /// More than is read.
    pub too_large: bool,
    /// The `transaction`, where one could be read.
    pub transaction: Option<Box<RawValue>>,
}

/// Everything that can be asked for, by the last level of its topic.
pub const KINDS: [&str; 10] = [
    "rename",
    "configure",
    "remove",
    "adopt",
    "permit",
    "replace",
    "restart",
    "devices",
    "health",
    "announce",
];

/// The largest request that is read, in bytes.
pub const LARGEST: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rename {
    from: String,
    to: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Configure {
    meter: String,
    channels: BTreeMap<String, Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Remove {
    meter: String,
    #[serde(default)]
    block: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Adopt {
    serial: String,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replace {
    meter: String,
    serial: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Permit {
    value: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Announce {
    #[serde(default)]
    meter: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
struct Identified {
    #[serde(default)]
    transaction: Option<Box<RawValue>>,
}

/// Reads the request `what`. An empty payload is an empty object.
///
/// # Errors
/// What is wrong with it.
pub fn read(what: &str, payload: &[u8]) -> Result<Request, Bad> {
    let bad = |words: String| Bad { words, too_large: false, transaction: None };
    if payload.len() > LARGEST {
        let words = format!("the request has {} bytes: at most {LARGEST} are read", payload.len());
        return Err(Bad { too_large: true, ..bad(words) });
    }
    let text =
        std::str::from_utf8(payload).map_err(|_| bad("the request is not UTF-8 text".into()))?;
    let text = if text.trim().is_empty() { "{}" } else { text };
    let value: Value = serde_json::from_str(text)
        .map_err(|error| bad(format!("the request is not JSON: {error}")))?;
    let Value::Object(mut arguments) = value else {
        return Err(bad("a request is a JSON object, such as {\"transaction\":1}".into()));
    };
    let transaction = arguments.shift_remove("transaction").and_then(|transaction| {
        let written = serde_json::from_str::<Identified>(text).ok();
        // As it was written; a `null` is one as well.
        let written = written.and_then(|found| found.transaction);
        written.or_else(|| serde_json::value::to_raw_value(&transaction).ok())
    });
    match parse(what, Value::Object(arguments)) {
        Ok(what) => Ok(Request { what, transaction }),
        Err(words) => Err(Bad { words, too_large: false, transaction }),
    }
}

fn parse(what: &str, arguments: Value) -> Result<What, String> {
    Ok(match what {
        "rename" => {
            let Rename { from, to } = of(arguments, r#"{"from":"house","to":"main"}"#)?;
            What::Change(Change::Rename { from, to })
        }
        "configure" => {
            let example = r#"{"meter":"house","channels":{"ch1":{"name":"Mains","role":"grid"}}}"#;
            let Configure { meter, channels } = of(arguments, example)?;
            // One by one, so that a mistake is told with its channel.
            let channels = channels.into_iter().map(|(key, asked)| {
                let asked = serde_json::from_value(Value::Object(asked));
                let asked = asked.map_err(|error| format!("channels.{key}: {error}"))?;
                Ok((key, asked))
            });
            let channels =
                channels.collect::<Result<BTreeMap<String, ChannelRequest>, String>>()?;
            What::Change(Change::Configure { meter, channels })
        }
        "remove" => {
            let Remove { meter, block } = of(arguments, r#"{"meter":"gem-01100999"}"#)?;
            What::Change(Change::Remove { meter, block })
        }
        "adopt" => {
            let Adopt { serial, name } = of(arguments, r#"{"serial":"01100999","name":"cellar"}"#)?;
            What::Change(Change::Adopt { serial, name })
        }
        "replace" => {
            let Replace { meter, serial } =
                of(arguments, r#"{"meter":"house","serial":"01100999"}"#)?;
            What::Change(Change::Replace { meter, serial })
        }
        "permit" => {
            let Permit { value } = of(arguments, r#"{"value":false}"#)?;
            What::Change(Change::Permit(value))
        }
        "devices" => of::<Nothing>(arguments, "{}").map(|Nothing {}| What::Devices)?,
        "health" => of::<Nothing>(arguments, "{}").map(|Nothing {}| What::Health)?,
        "announce" => {
            let Announce { meter } = of(arguments, r#"{"meter":"house"}"#)?;
            What::Announce(meter)
        }
        "restart" => of::<Nothing>(arguments, "{}").map(|Nothing {}| What::Restart)?,
        other => {
            let other: String = other.chars().take(64).collect();
            return Err(format!("unknown request {other:?}: there are {}", KINDS.join(", ")));
        }
    })
}

fn of<T: DeserializeOwned>(arguments: Value, example: &str) -> Result<T, String> {
    serde_json::from_value(arguments).map_err(|error| format!("{error}; write such as {example}"))
}

/// The response to a request: one JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The object.
    pub text: String,
    /// Whether it tells of success, and if not, of what kind the failure is.
    pub status: Status,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was done.
    Done,
    /// It is no request.
    Misunderstood,
    /// It is larger than what is read.
    TooLarge,
    /// There is no such meter.
    NoSuchMeter,
    /// It cannot be done.
    Refused,
    /// It cannot be done now.
    Unavailable,
}

impl Response {
    /// What was asked for.
    pub fn done(data: Map<String, Value>, transaction: Option<Box<RawValue>>) -> Response {
        Response { text: write(data, None, transaction), status: Status::Done }
    }

    /// Why it was not done.
    pub fn failed(status: Status, words: &str, transaction: Option<Box<RawValue>>) -> Response {
        Response { text: write(Map::new(), Some(words), transaction), status }
    }

    /// Why it could not be read.
    pub fn bad(bad: Bad) -> Response {
        let status = if bad.too_large { Status::TooLarge } else { Status::Misunderstood };
        Response::failed(status, &bad.words, bad.transaction)
    }
}

fn write(
    data: Map<String, Value>,
    error: Option<&str>,
    transaction: Option<Box<RawValue>>,
) -> String {
    let mut all = Map::new();
    all.insert("data".to_owned(), Value::Object(data));
    let status = if error.is_some() { "error" } else { "ok" };
    all.insert("status".to_owned(), Value::from(status));
    if let Some(error) = error {
        all.insert("error".to_owned(), Value::from(error));
    }
    let mut text = Value::Object(all).to_string();
    if let Some(transaction) = transaction {
        text.pop();
        text.push_str(",\"transaction\":");
        text.push_str(transaction.get());
        text.push('}');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_comes_back_to_the_letter() {
        for transaction in ["7", "\"a\\u00e9\"", "null", "[1, 2]", "12345678901234567890123"] {
            let payload = format!("{{\"transaction\":{transaction},\"value\":true}}");
            let request = read("permit", payload.as_bytes()).unwrap();
            assert_eq!(request.what, What::Change(Change::Permit(true)));
            let text = Response::done(Map::new(), request.transaction).text;
            let wanted = format!(r#"{{"data":{{}},"status":"ok","transaction":{transaction}}}"#);
            assert_eq!(text, wanted);
        }
        let bad = read("permit", br#"{"transaction":1}"#).unwrap_err();
        let text = Response::bad(bad).text;
        assert!(text.contains("missing field `value`; write such as"), "{text}");
        assert!(text.ends_with(r#","transaction":1}"#), "{text}");
    }

    #[test]
    fn what_is_no_request_is_told_in_words() {
        let large = vec![b' '; LARGEST + 1];
        let deep = "[".repeat(10_000);
        let cases: [(&str, &[u8], &str); 9] = [
            ("rename", b"junk", "not JSON"),
            ("rename", b"\xff", "not UTF-8"),
            ("rename", b"[]", "JSON object"),
            ("rename", deep.as_bytes(), "not JSON"),
            ("rename", &large, "65537 bytes"),
            ("rename", b"{\"from\":1,\"to\":\"a\"}", "expected a string"),
            ("rename", b"{\"from\":\"a\",\"to\":\"b\",\"too\":1}", "unknown field `too`"),
            ("fly", b"{}", "unknown request \"fly\": there are rename"),
            (
                "configure",
                b"{\"meter\":\"a\",\"channels\":{\"ch1\":{\"role\":\"sun\"}}}",
                "channels.ch1: unknown variant",
            ),
        ];
        for (what, payload, words) in cases {
            let bad = read(what, payload).unwrap_err();
            assert!(bad.words.contains(words), "{}", bad.words);
        }
        assert_eq!(read("devices", b"").unwrap().what, What::Devices);
    }
}
