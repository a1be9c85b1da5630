//! From the merged values to a [`Config`], with every mistake on the way.
//!
//! serde stops at the first value it cannot read. So the value is noted, taken out and the rest
//! read again, until the rest is right: what was taken out has its default, and the cross-checks
//! can go on with it. Two kinds of value are set right instead of refused: a number or a word that
//! YAML took for something else where a text is wanted (`name: 1`, `serial_number: 0110`) is
//! read again as it is spelled.

use std::collections::BTreeMap;

use figment::error::{Actual, Error, Kind};
use figment::value::Value;
use serde::Deserialize;

use super::Config;
use super::layers::Layers;
use super::mistake::{Mistake, Mistakes, Place};
use super::path::KeyPath;

/// List entries that were taken out, so that the ones behind them keep their number in messages.
#[derive(Debug, Default)]
pub(super) struct Removed(BTreeMap<KeyPath, Vec<usize>>);

/// Reads the configuration. What is wrong is added to `mistakes` and has its default.
pub(super) fn decode(layers: &Layers, mistakes: &mut Mistakes) -> (Config, Removed) {
    let mut removed = Removed::default();
    let mut values = layers.values().clone();
    loop {
        let error = match Config::deserialize(&values) {
            Ok(config) => return (config, removed),
            Err(error) => error,
        };
        let path = removed.original(&KeyPath::of(&error.path));
        if respell(layers, &mut values, &error, &path) {
            continue;
        }
        // A section is not to blame for what was taken out of it.
        if !mistakes.known_below(&path) {
            let place = place(layers, &path);
            let message = explain(&error.kind, &path, layers.spelling(&path).is_none());
            mistakes.add(Mistake { place, key: path, message });
        }
        if mistakes.full() || !remove(&mut values, &error.path, &mut removed) {
            return (Config::default(), removed);
        }
    }
}

/// Where a mistake at this path was made.
pub(super) fn place(layers: &Layers, path: &KeyPath) -> Place {
    let file =
        || Place::File(layers.file.clone().unwrap_or_else(|| "built-in defaults".into()), None);
    layers.place(path).unwrap_or_else(file)
}

impl Removed {
    /// The path as it was before anything was taken out.
    pub(super) fn original(&self, path: &KeyPath) -> KeyPath {
        let mut original = KeyPath::default();
        for step in path.steps() {
            original = match (step.parse::<usize>(), self.0.get(&original)) {
                (Ok(mut index), Some(gone)) => {
                    for gone in gone {
                        index += usize::from(*gone <= index);
                    }
                    original.entry(index)
                }
                _ => original.child(&step),
            };
        }
        original
    }

    fn note(&mut self, path: &KeyPath) {
        if let Some((list, index)) = path.as_entry() {
            let gone = self.0.entry(list).or_default();
            gone.push(index);
            gone.sort_unstable();
        }
    }
}

/// Replaces a value of the wrong type by its spelling; false if there is none to try.
fn respell(layers: &Layers, values: &mut Value, error: &Error, path: &KeyPath) -> bool {
    if !matches!(error.kind, Kind::InvalidType(..)) {
        return false;
    }
    let Some(spelling) = layers.spelling(path) else {
        return false;
    };
    match at(values, &error.path) {
        Some(Value::String(..)) | None => false,
        Some(value) => {
            *value = Value::from(spelling);
            true
        }
    }
}

fn at<'a>(values: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(values, |value, step| match value {
        Value::Dict(_, section) => section.get_mut(step),
        Value::Array(_, entries) => entries.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    })
}

fn remove(values: &mut Value, path: &[String], removed: &mut Removed) -> bool {
    let Some((last, above)) = path.split_last() else {
        return false;
    };
    let original = removed.original(&KeyPath::of(path));
    match at(values, above) {
        Some(Value::Dict(_, section)) => section.remove(last).is_some(),
        Some(Value::Array(_, entries)) => match last.parse::<usize>() {
            Ok(index) if index < entries.len() => {
                entries.remove(index);
                removed.note(&original);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// The mistake in words. `quoted`: a text was written as one, in quotes.
fn explain(kind: &Kind, path: &KeyPath, quoted: bool) -> String {
    match kind {
        Kind::Message(message) => message.clone(),
        Kind::InvalidType(found, expected) => {
            let expected = wanted(expected);
            match found {
                Actual::Str(text) if is_secret(path) => {
                    format!("expected {expected}, found a text ({} characters)", text.len())
                }
                Actual::Str(text) if text.is_empty() => {
                    format!("expected {expected}, found nothing")
                }
                Actual::Str(text) if !quoted && text.parse::<f64>().is_ok() => {
                    format!("expected {expected}, found {text}")
                }
                Actual::Str(text) if expected.contains("number") && text.parse::<f64>().is_ok() => {
                    format!("expected {expected}, found the text \"{text}\": leave the quotes off")
                }
                found => format!("expected {expected}, found {}", shown(found)),
            }
        }
        Kind::InvalidValue(found, expected) => {
            format!("{} is out of range: expected {}", shown(found), wanted(expected))
        }
        Kind::InvalidLength(count, expected) => {
            format!("{count} entries: expected {}", wanted(expected))
        }
        Kind::UnknownField(key, known) => match nearest(key, known) {
            Some(near) => format!("unknown key; did you mean `{near}`?"),
            None => format!("unknown key; known here: {}", known.join(", ")),
        },
        Kind::UnknownVariant(word, known) => {
            let near = other_name(word, known).or_else(|| nearest(word, known));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            format!("\"{word}\" is not one of {}{hint}", known.join(", "))
        }
        other => other.to_string(),
    }
}

/// The kind of a meter that somebody calls by its model, or by what its port is called.
fn other_name<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let (_, kind) = KINDS.iter().find(|(begin, _)| word.starts_with(begin))?;
    known.iter().find(|known| *known == kind).copied()
}

/// The known word a person most likely meant; `None` when nothing comes near.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    let likeness = |known: &str| {
        let contained = word.len() >= 3 && (known.contains(&word) || word.contains(known));
        let spelled = strsim::normalized_damerau_levenshtein(&word, known);
        let begun = strsim::jaro_winkler(&word, known);
        spelled.max(begun) + if contained { 0.3 } else { 0.0 }
    };
    let scored = known.iter().map(|known| (likeness(known), *known));
    let (score, near) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score >= LIKE_ENOUGH).then_some(near)
}

/// What serde expected, in a user's words.
fn wanted(expected: &str) -> &str {
    match expected {
        "a boolean" => "true or false",
        "a string" => "a text",
        "a sequence" => "a list (entries that start with \"- \", or [])",
        "a map" => "a section (keys below it)",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "f32" | "f64" => "a number",
        "a tuple of size 2" => "two whole numbers, such as [0, 3]",
        other if other.starts_with("struct ") => "a section (keys below it)",
        other => other.strip_prefix("enum ").map_or(other, |_| "one word"),
    }
}

fn shown(found: &Actual) -> String {
    match found {
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(number) => number.to_string(),
        Actual::Signed(number) => number.to_string(),
        Actual::Float(number) => number.to_string(),
        Actual::Str(text) => format!("\"{}\"", beginning(text)),
        Actual::Unit | Actual::Option => "nothing".to_owned(),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a section (keys below it)".to_owned(),
        other => other.to_string(),
    }
}

/// Enough of a text to find it again: a block of text may be long, and hold what is private.
fn beginning(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut beginning: String = line.chars().take(LONGEST_SHOWN).collect();
    if beginning.len() < text.len() {
        beginning.push('…');
    }
    beginning
}

/// Whether a value there may be one that must not be shown.
fn is_secret(path: &KeyPath) -> bool {
    let mut steps = path.steps();
    if steps.next().as_deref() == Some("meters") && steps.next_back().as_deref() == Some("key") {
        return true;
    }
    path.steps().any(|step| {
        ["password", "users", "sinks", "url", "token"].iter().any(|word| step.contains(word))
    })
}

/// How names of meters begin, and the kind of these.
const KINDS: [(&str, &str); 9] = [
    ("powermeter", "smartmeter"),
    ("gem", "brultech"),
    ("greeneye", "brultech"),
    ("ecm", "brultech"),
    ("flm", "fluksometer"),
    ("flukso", "fluksometer"),
    ("dsmr", "p1"),
    ("esmr", "p1"),
    ("tic", "p1"),
];
const LONGEST_SHOWN: usize = 60;
const LIKE_ENOUGH: f64 = 0.72;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_named() {
        let keys = ["name", "kind", "link", "serial_number", "poll", "polarity", "timeout"];
        for (word, near) in [
            ("nmae", Some("name")),
            ("serial", Some("serial_number")),
            ("serial-number", Some("serial_number")),
            ("serialnumber", Some("serial_number")),
            ("polarty", Some("polarity")),
            ("Name", Some("name")),
            ("xyz", None),
            ("wifi", None),
        ] {
            assert_eq!(nearest(word, &keys), near, "{word}");
        }
    }

    #[test]
    fn entries_keep_their_number_when_others_are_gone() {
        let path = |text: &str| KeyPath::parse(text).unwrap();
        let mut removed = Removed::default();
        removed.note(&path("meters.1"));
        removed.note(&path("meters.2"));
        assert_eq!(removed.original(&path("meters.0.name")), path("meters.0.name"));
        assert_eq!(removed.original(&path("meters.1.name")), path("meters.3.name"));
    }
}
