//! `meterbridge config`: each value in force, with where it came from.

use figment::value::Value;

use super::Config;
use super::layers::{Layers, Origin};
use super::path::KeyPath;

/// One line per value: `broker.listen: 127.0.0.1:1883  # config.yaml:12`, secrets masked.
pub(super) fn listing(config: &Config, layers: &Layers) -> String {
    let mut lines = Vec::new();
    if let Ok(Value::Dict(_, sections)) = Value::serialize(config) {
        let rank =
            |key: &str| SECTIONS.iter().position(|known| *known == key).unwrap_or(usize::MAX);
        let mut sections: Vec<_> = sections.into_iter().collect();
        sections.sort_by_key(|(key, _)| rank(key));
        for (key, value) in sections {
            add(&mut lines, KeyPath::default().child(&key), &value);
        }
    }
    let width = lines
        .iter()
        .map(|(path, text)| path.dotted().len() + text.len() + 2)
        .filter(|w| *w <= 60)
        .max();
    let mut text = String::new();
    for (path, value) in lines {
        let (value, origin) = match path.dotted().as_str() {
            "broker.allow_anonymous" if value == "null" => (
                config.broker.anonymous_allowed().to_string(),
                "default: true while every listener is on loopback".to_owned(),
            ),
            _ => (value, origin(layers, &path)),
        };
        let line = format!("{}: {value}", path.dotted());
        text.push_str(&format!("{line:width$}  # {origin}\n", width = width.unwrap_or(0)));
    }
    text
}

fn origin(layers: &Layers, path: &KeyPath) -> String {
    match layers.origin(path) {
        Origin::Default => "default".to_owned(),
        Origin::File(file, line) => format!("{}:{line}", file.display()),
        Origin::Environment(variable) => format!("environment {variable}"),
        Origin::Flag => "--set".to_owned(),
    }
}

fn add(lines: &mut Vec<(KeyPath, String)>, path: KeyPath, value: &Value) {
    match value {
        Value::Dict(_, section) if !section.is_empty() => {
            for (key, value) in section {
                add(lines, path.child(key), value);
            }
        }
        Value::Array(_, entries)
            if entries.iter().any(|entry| matches!(entry, Value::Dict(..))) =>
        {
            for (index, value) in entries.iter().enumerate() {
                add(lines, path.entry(index), value);
            }
        }
        value => lines.push((path, inline(value))),
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(_, text) => quoted(text),
        Value::Char(_, c) => quoted(&c.to_string()),
        Value::Bool(_, value) => value.to_string(),
        Value::Num(..) => number(value),
        Value::Empty(..) => "null".to_owned(),
        Value::Dict(..) => "{}".to_owned(),
        Value::Array(_, entries) => {
            format!("[{}]", entries.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
    }
}

fn number(value: &Value) -> String {
    match (value.to_i128(), value.to_u128(), value.to_f64()) {
        (Some(whole), _, _) => whole.to_string(),
        (_, Some(whole), _) => whole.to_string(),
        (_, _, number) => number.map_or_else(String::new, |number| number.to_string()),
    }
}

/// Quoted where YAML would read something else than this text.
fn quoted(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || "/._".contains(c))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-:@+$=".contains(c))
        && !text.ends_with(':')
        && text.parse::<f64>().is_err()
        && !["true", "false", "null", "yes", "no", "on", "off"]
            .contains(&text.to_lowercase().as_str());
    let mask = text == "***";
    if plain || mask { text.to_owned() } else { format!("{text:?}") }
}

/// The order of the contract.
const SECTIONS: [&str; 10] = [
    "data_dir",
    "log",
    "broker",
    "web",
    "meters",
    "journal",
    "history",
    "homeassistant",
    "mdns",
    "sinks",
];
