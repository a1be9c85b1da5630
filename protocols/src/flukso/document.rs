//! The configuration documents that a Fluksometer publishes retained.
//!
//! They are generated from key/value files: whatever parses as a number is one, lists stay lists,
//! single values stay scalars. So each field is read by what it is for, and a field that makes no
//! sense is as good as absent; only a document that is no object of sections is refused.
//!
//! Source: protocol note, section 3.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Id;

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    NotJson(String),
    /// It is no object.
    #[error("it is no object of sections")]
    NoObject,
    /// It is larger than any document.
    #[error("it has {0} bytes, more than a configuration can have")]
    TooLarge(usize),
}

/// One sensor of `config/sensor`.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// The section's key: its number.
    pub number: u16,
    /// The sensor's id.
    pub id: Id,
    /// It is in use. Provisioned ones that are not have only an id.
    pub enabled: bool,
    /// What it is attached to, where that is said: an FLM03's sensors 1 to 39 do not.
    pub class: Option<Class>,
    /// `electricity`, `water`, `temperature`…
    pub kind: Option<String>,
    /// `pplus`, `vrms`…
    pub subtype: Option<String>,
    /// The name that the user gave it.
    pub function: Option<String>,
    /// The screw terminals; empty where there is none, or a serial port.
    pub ports: Vec<u8>,
    /// The number of the radio node.
    pub kid: Option<u8>,
    /// Wh or L for each pulse.
    pub constant: Option<f64>,
    /// Which of its values is recorded.
    pub data_type: DataType,
    /// The recycle id.
    pub rid: u32,
    /// It is recorded at all.
    pub tmpo: bool,
    /// The whole section as it stands, its keys in their order.
    pub fields: Map<String, Value>,
}

/// What a sensor is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A current clamp.
    Analog,
    /// A pulse input.
    Pulse,
    /// A serial port.
    Uart,
    /// A smart meter's customer port.
    Cosem,
    /// A radio node.
    Kube,
}

/// Which of a sensor's values is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// The running total.
    Counter,
    /// What is now.
    Gauge,
}

/// A port of an FLM03, or a radio node: what a sensor gets its name from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The user's name for it.
    pub name: Option<String>,
    /// `ct`, `pulse` or `uart`.
    pub class: Option<String>,
}

/// What `test/tap` tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tap {
    /// The serial number.
    pub serial: Option<String>,
    /// The firmware.
    pub firmware: Option<String>,
}

/// Reads a document as an object.
///
/// # Errors
/// When it is none, or too large.
pub fn object(payload: &[u8]) -> Result<Map<String, Value>, DocumentError> {
    if payload.len() > LARGEST {
        return Err(DocumentError::TooLarge(payload.len()));
    }
    match serde_json::from_slice(payload) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(DocumentError::NoObject),
        Err(error) => Err(DocumentError::NotJson(error.to_string())),
    }
}

/// The sensors of `config/sensor`, by number. Sections that are no sensors are passed over, and so is
/// a second sensor with an id that was there already.
pub fn sensors(document: &Map<String, Value>) -> Vec<Section> {
    let numbered = document.iter().filter_map(|(key, value)| {
        let Value::Object(fields) = value else { return None };
        Section::read(number(key)?, fields)
    });
    let mut all: Vec<Section> = numbered.collect();
    all.sort_by_key(|section| section.number);
    let mut seen = std::collections::HashSet::new();
    all.retain(|section| seen.insert(section.id));
    all
}

/// The numbered sections of `config/flx` or `config/kube`.
pub fn places(document: &Map<String, Value>) -> BTreeMap<u8, Place> {
    let numbered = document.iter().filter_map(|(key, value)| {
        let Value::Object(fields) = value else { return None };
        let key = number(key)?.try_into().ok()?;
        Some((key, Place { name: text(fields, "name"), class: text(fields, "class") }))
    });
    numbered.collect()
}

/// What `test/tap` tells; lines that say nothing of it are passed over.
pub fn tap(payload: &[u8]) -> Tap {
    let text = String::from_utf8_lossy(payload);
    let find = |what: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(what));
        let value = line.map(str::trim).filter(|value| !value.is_empty() && value.len() <= 64);
        value.map(str::to_owned)
    };
    Tap { serial: find("# serial:"), firmware: find("# firmware:") }
}

impl Section {
    fn read(number: u16, fields: &Map<String, Value>) -> Option<Section> {
        let class = match fields.get("class").and_then(Value::as_str) {
            Some("analog") => Some(Class::Analog),
            Some("pulse") => Some(Class::Pulse),
            Some("uart") => Some(Class::Uart),
            Some("cosem") => Some(Class::Cosem),
            Some("kube") => Some(Class::Kube),
            _ => None,
        };
        let ports = match fields.get("port") {
            Some(Value::Array(ports)) => ports.iter().filter_map(small).collect(),
            Some(port) => small(port).into_iter().collect(),
            None => Vec::new(),
        };
        let rid = fields.get("rid").and_then(Value::as_u64).and_then(|rid| rid.try_into().ok());
        Some(Section {
            number,
            id: fields.get("id")?.as_str()?.parse().ok()?,
            enabled: fields.get("enable").is_some_and(is_on),
            class,
            kind: text(fields, "type"),
            subtype: text(fields, "subtype"),
            function: text(fields, "function"),
            ports,
            kid: fields.get("kid").and_then(small),
            constant: fields.get("constant").and_then(Value::as_f64),
            data_type: match fields.get("data_type").and_then(Value::as_str) {
                Some("gauge") => DataType::Gauge,
                _ => DataType::Counter,
            },
            rid: rid.unwrap_or(0),
            tmpo: fields.get("tmpo").is_none_or(is_on),
            fields: fields.clone(),
        })
    }

    /// The section as history blocks carry it: without `enable`, `counter` and `tmpo`, its keys in
    /// their order.
    ///
    /// Source: protocol note, section 4.2.
    pub fn header(&self) -> String {
        let kept = self.fields.iter().filter(|(key, _)| !PASSING.contains(&key.as_str()));
        let kept: Map<String, Value> =
            kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        Value::Object(kept).to_string()
    }
}

/// What is a matter of the moment and stands in no history.
const PASSING: [&str; 3] = ["enable", "counter", "tmpo"];
/// A document with all 128 sensors has some 25 kB.
const LARGEST: usize = 256 * 1024;

fn is_on(value: &Value) -> bool {
    match value {
        Value::Bool(on) => *on,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => text != "0" && !text.is_empty(),
        _ => false,
    }
}

fn small(value: &Value) -> Option<u8> {
    value.as_u64().and_then(|value| value.try_into().ok()).filter(|value| *value > 0)
}

/// A name. What parses as a number has become one, a user's "12" as well.
fn text(fields: &Map<String, Value>, key: &str) -> Option<String> {
    let text = match fields.get(key)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let fits = !text.is_empty() && text.len() <= 64 && !text.contains(char::is_control);
    fits.then_some(text)
}

/// A section's number: plain digits, not 0.
fn number(key: &str) -> Option<u16> {
    let plain = key.bytes().all(|byte| byte.is_ascii_digit()) && !key.starts_with('0');
    key.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Section {
        let document = format!("{{\"7\":{text}}}");
        sensors(&object(document.as_bytes()).unwrap()).remove(0)
    }

    const ID: &str = "7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a";

    #[test]
    fn a_header_keeps_the_order_of_the_keys_and_drops_what_passes() {
        let section = one(&format!(
            r#"{{"type":"gas","tmpo":1,"id":"{ID}","enable":1,"constant":0.5,"port":[5],"counter":3,"rid":2}}"#
        ));
        let header = format!(r#"{{"type":"gas","id":"{ID}","constant":0.5,"port":[5],"rid":2}}"#);
        assert_eq!(section.header(), header);
        assert_eq!((section.rid, section.tmpo, section.ports), (2, true, vec![5]));
    }

    #[test]
    fn fields_that_make_no_sense_are_as_good_as_absent() {
        let section = one(&format!(
            r#"{{"id":"{ID}","enable":"0","port":"ttyS0","rid":-1,"data_type":7,"type":[],"function":12,"kid":300,"tmpo":0}}"#
        ));
        assert!(!section.enabled && !section.tmpo && section.ports.is_empty());
        assert_eq!((section.rid, section.data_type, section.kid), (0, DataType::Counter, None));
        assert_eq!((section.kind, section.function.as_deref()), (None, Some("12")));
        assert!(!one(&format!(r#"{{"id":"{ID}"}}"#)).enabled);
    }

    #[test]
    fn sections_that_are_no_sensors_are_passed_over() {
        let text = format!(
            r#"{{"main":{{"id":"{ID}"}},"01":{{"id":"{ID}"}},"2":[1],"3":{{"id":"XY"}},"4":{{"id":"{ID}"}},"5":{{"id":"{ID}"}}}}"#
        );
        let found = sensors(&object(text.as_bytes()).unwrap());
        assert_eq!(found.iter().map(|one| one.number).collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn what_is_no_document_is_refused() {
        assert_eq!(object(b"[1,2]"), Err(DocumentError::NoObject));
        assert!(matches!(object(b"{\"1\":"), Err(DocumentError::NotJson(_))));
        let large = vec![b' '; LARGEST + 1];
        assert_eq!(object(&large), Err(DocumentError::TooLarge(LARGEST + 1)));
        let deep = "[".repeat(100_000);
        assert!(object(deep.as_bytes()).is_err());
    }

    #[test]
    fn a_tap_tells_serial_number_and_firmware() {
        let tap = tap(b"# serial: FL03000000\n# firmware: 3.4.0\nok 1 - flash\n");
        assert_eq!(tap.serial.as_deref(), Some("FL03000000"));
        assert_eq!(tap.firmware.as_deref(), Some("3.4.0"));
        assert_eq!(super::tap(b"\xFF# serial: \n"), Tap::default());
    }
}
