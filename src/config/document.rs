//! The configuration file as text: its values, and where in the file each of them stands.
//!
//! serde-saphyr's figment format gives the values; a second pass over the same text keeps what
//! figment cannot hold: line and column of each key and value, and each scalar as it is spelled
//! (`01100603` is a number to YAML, and a serial number to us).

use std::collections::BTreeMap;
use std::fmt;

use figment::providers::Format;
use figment::value::{Dict, Value};
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::figment::Yaml;
use serde_saphyr::{Location, Spanned};

use super::path::KeyPath;

/// A line and a column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// A read file.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) values: Dict,
    marks: BTreeMap<KeyPath, Mark>,
}

/// What is kept of one key or list entry.
#[derive(Debug)]
struct Mark {
    position: Position,
    spelling: Option<String>,
}

/// Why a text is not YAML, and where.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) position: Option<Position>,
    pub(super) message: String,
}

impl Document {
    /// Reads a file's text.
    pub(super) fn read(text: &str) -> Result<Self, SyntaxError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // Bounded, because reading descends by recursion.
        let options = serde_saphyr::options! {
            with_snippet: false,
            budget: serde_saphyr::budget! { max_depth: 64, max_nodes: 200_000 },
        };
        let Node(top) = serde_saphyr::from_str_with_options(text, options)?;
        let mut document = Self::default();
        match &top.value {
            Shape::Scalar if Yaml::from_str::<()>(text).is_ok() => return Ok(document),
            Shape::Section(_) => {}
            _ => {
                let message = "expected keys such as \"broker:\" and \"meters:\"".to_owned();
                return Err(SyntaxError { position: position(top.referenced), message });
            }
        }
        document.mark(text, KeyPath::default(), None, &top);
        document.values = Yaml::from_str::<Dict>(text)?;
        Ok(document)
    }

    /// Where a key or a list entry stands.
    pub(super) fn position(&self, path: &KeyPath) -> Option<Position> {
        self.marks.get(path).map(|mark| mark.position)
    }

    /// How a scalar is spelled, if it stands there without quotes.
    pub(super) fn spelling(&self, path: &KeyPath) -> Option<&str> {
        self.marks.get(path)?.spelling.as_deref()
    }

    fn mark(&mut self, text: &str, path: KeyPath, key: Option<Location>, node: &Spanned<Shape>) {
        match &node.value {
            Shape::Section(keys) => {
                for (key, Node(value)) in keys {
                    self.mark(text, path.child(&key.value), Some(key.referenced), value);
                }
            }
            Shape::List(entries) => {
                for (index, Node(value)) in entries.iter().enumerate() {
                    self.mark(text, path.entry(index), None, value);
                }
            }
            Shape::Scalar => {}
        }
        let at = key.and_then(position).or_else(|| position(node.referenced));
        if let Some(position) = at {
            let spelling = match node.value {
                Shape::Scalar => spelled(text, node.defined),
                _ => None,
            };
            self.marks.insert(path, Mark { position, spelling });
        }
    }
}

/// The text of a plain scalar.
fn spelled(text: &str, location: Location) -> Option<String> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let length = usize::try_from(location.span().byte_len()?).ok()?;
    let spelled = text.get(start..start.checked_add(length)?)?.trim();
    let plain = !spelled.starts_with(['"', '\'', '|', '>', '&', '*', '!']);
    (plain && !spelled.is_empty() && !spelled.contains('\n')).then(|| spelled.to_owned())
}

fn position(location: Location) -> Option<Position> {
    let position = Position { line: location.line(), column: location.column() };
    (position.line > 0).then_some(position)
}

/// Takes out the keys without a value.
pub(super) fn drop_absent(section: &mut Dict) {
    section.retain(|_, value| !matches!(value, Value::Empty(..)));
    section.values_mut().for_each(drop_absent_below);
}

fn drop_absent_below(value: &mut Value) {
    match value {
        Value::Dict(_, section) => drop_absent(section),
        Value::Array(_, entries) => entries.iter_mut().for_each(drop_absent_below),
        _ => {}
    }
}

impl From<serde_saphyr::Error> for SyntaxError {
    fn from(error: serde_saphyr::Error) -> Self {
        use serde_saphyr::Error as Yaml;
        let error = error.without_snippet();
        let at = error.location().and_then(position);
        let message = match error {
            Yaml::DuplicateMappingKey { key: Some(key), .. } => {
                format!("\"{key}\" is there twice in the same section: keep one of them")
            }
            Yaml::MultipleDocuments { .. } => {
                "a second document begins here: take the \"---\" out".to_owned()
            }
            Yaml::NullIntoString { .. } => "null is not a key: take it out or quote it".to_owned(),
            error => {
                let text = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
                // The place stands before the message already.
                let message = text.split(" at line ").next().unwrap_or(&text);
                format!("not YAML: {}", message.trim())
            }
        };
        Self { position: at, message }
    }
}

/// One YAML node and its place.
struct Node(Spanned<Shape>);

enum Shape {
    Section(Vec<(Spanned<String>, Node)>),
    List(Vec<Node>),
    Scalar,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Node)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyShape;

        macro_rules! scalars {
            ($($method:ident($type:ty)),* $(,)?) => {$(
                fn $method<E: de::Error>(self, _: $type) -> Result<Shape, E> {
                    Ok(Shape::Scalar)
                }
            )*};
        }

        impl<'de> Visitor<'de> for AnyShape {
            type Value = Shape;

            scalars! {
                visit_bool(bool), visit_i64(i64), visit_i128(i128), visit_u64(u64),
                visit_u128(u128), visit_f64(f64), visit_str(&str), visit_bytes(&[u8]),
            }

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Shape, E> {
                Ok(Shape::Scalar)
            }

            fn visit_none<E: de::Error>(self) -> Result<Shape, E> {
                Ok(Shape::Scalar)
            }

            fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Shape, D::Error> {
                Shape::deserialize(inner)
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                inner: D,
            ) -> Result<Shape, D::Error> {
                Shape::deserialize(inner)
            }

            fn visit_enum<A: de::EnumAccess<'de>>(self, data: A) -> Result<Shape, A::Error> {
                data.variant::<IgnoredAny>().map(|_| Shape::Scalar)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = list.next_element()? {
                    entries.push(entry);
                }
                Ok(Shape::List(entries))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
                let mut keys = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    keys.push(entry);
                }
                Ok(Shape::Section(keys))
            }
        }

        deserializer.deserialize_any(AnyShape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_knows_its_place_and_spelling() {
        let text = "a:\n  - b: 007\n    c: {d: \"8\"}\n  - x\nempty:\n";
        let document = Document::read(text).unwrap();
        let at = |path: &str| {
            let path = KeyPath::parse(path).unwrap();
            document.position(&path).map(|p| (p.line, p.column))
        };
        assert_eq!(at("a"), Some((1, 1)));
        assert_eq!(at("a.0.b"), Some((2, 5)));
        assert_eq!(at("a.0.c.d"), Some((3, 9)));
        assert_eq!(at("a.1"), Some((4, 5)));
        let spelling = |path: &str| document.spelling(&KeyPath::parse(path).unwrap());
        assert_eq!(spelling("a.0.b"), Some("007"));
        assert_eq!(spelling("a.0.c.d"), None);
        let mut values = document.values;
        drop_absent(&mut values);
        assert_eq!(values.into_keys().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn nothing_is_a_file_too() {
        for text in ["", "# only words\n", "\u{feff}", "---\n", "null\n"] {
            assert!(Document::read(text).unwrap().values.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_yaml_is_refused_with_its_place() {
        let deep = "[".repeat(5000);
        let bomb = format!(
            "a: &a [x,x]\n{}",
            (0..40).map(|i| format!("b{i}: &b{i} [*a, *a, *a]\n")).collect::<String>()
        );
        for (text, line) in [
            ("a: [1\nb: 2\n", 2),
            ("a: 1\na: 2\n", 2),
            ("a:\n\t- b\n", 2),
            ("- a\n", 1),
            ("7", 1),
            (&*deep, 1),
        ] {
            let error = Document::read(text).unwrap_err();
            assert_eq!(error.position.map(|p| p.line), Some(line), "{}", error.message);
        }
        let _ = Document::read(&bomb);
        assert!(Document::read("a: 1\n---\nb: 2\n").is_err());
    }
}
