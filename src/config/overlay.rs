//! One value of the environment or of `--set`, put into the values below it.

use figment::providers::Format;
use figment::value::{Dict, Empty, Tag, Value};
use serde_saphyr::figment::Yaml;

/// Reads a value as YAML would, but gives lists and sections their meaning only in `[…]` and
/// `{…}`, so that a password may hold any character.
pub(super) fn read_value(text: &str) -> Value {
    if text.starts_with(['[', '{'])
        && let Ok(value) = Yaml::from_str::<Value>(text)
    {
        return value;
    }
    if let Ok(number) = text.parse::<u64>() {
        return Value::from(number);
    }
    if let Ok(number) = text.parse::<i64>() {
        return Value::from(number);
    }
    let numeric = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    match (text.to_ascii_lowercase().as_str(), text.parse::<f64>()) {
        ("true", _) => Value::from(true),
        ("false", _) => Value::from(false),
        // Takes a key of the layers below out again.
        ("null", _) => Value::Empty(Tag::Default, Empty::Unit),
        (_, Ok(number)) if numeric => Value::from(number),
        _ => Value::from(text),
    }
}

/// Puts a value at the path `steps`, which may lead through lists; one past the end of a list adds to it.
///
/// # Errors
/// When a list has no such entry.
pub(super) fn set(section: &mut Dict, steps: &[String], value: Value) -> Result<(), String> {
    let Some((first, rest)) = steps.split_first() else {
        return Ok(());
    };
    if rest.is_empty() {
        section.insert(first.clone(), value);
        return Ok(());
    }
    // What is there but has nothing below it gives way.
    let below = section.entry(first.clone()).or_insert_with(|| Value::from(false));
    if !matches!(below, Value::Dict(..) | Value::Array(..)) {
        let index = rest.first().is_some_and(|step| step.parse::<usize>().is_ok());
        *below = if index { Value::Array(Tag::Default, vec![]) } else { Value::from(Dict::new()) };
    }
    set_below(below, first, rest, value)
}

fn set_below(at: &mut Value, name: &str, steps: &[String], value: Value) -> Result<(), String> {
    let entries = match at {
        Value::Dict(_, section) => return set(section, steps, value),
        Value::Array(_, entries) => entries,
        _ => return Ok(()),
    };
    let Some((first, rest)) = steps.split_first() else {
        return Ok(());
    };
    let count = entries.len();
    let Ok(index) = first.parse::<usize>() else {
        return Err(format!("{name} is a list: \"{first}\" must be a number from 0 to {count}"));
    };
    if index > count {
        return Err(format!("{name} has {count} entries: the next one is {name}.{count}"));
    }
    if index == count {
        entries.push(Value::from(Dict::new()));
    }
    if rest.is_empty() {
        entries[index] = value;
        return Ok(());
    }
    if !matches!(entries[index], Value::Dict(..) | Value::Array(..)) {
        entries[index] = Value::from(Dict::new());
    }
    set_below(&mut entries[index], name, rest, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_yaml_would_and_texts_stay_texts() {
        assert_eq!(read_value("true"), Value::from(true));
        assert_eq!(read_value("-7"), Value::from(-7));
        assert_eq!(read_value("1.5"), Value::from(1.5));
        assert_eq!(read_value("[1, a]"), Value::from(vec![Value::from(1u64), Value::from("a")]));
        for text in ["", "#x", "{x", "[x", "*x", "a: b", "yes", "inf", "- x", "127.0.0.1:1883"] {
            assert_eq!(read_value(text), Value::from(text), "{text}");
        }
    }

    #[test]
    fn a_path_leads_through_lists() {
        let put = |values: &mut Dict, path: &str, value: u64| {
            let steps: Vec<String> = path.split('.').map(str::to_owned).collect();
            set(values, &steps, Value::from(value))
        };
        let mut values = Dict::new();
        put(&mut values, "a.0.b", 1).unwrap();
        put(&mut values, "a.1", 2).unwrap();
        put(&mut values, "a.1.c.d", 3).unwrap();
        put(&mut values, "a.0.b.0", 4).unwrap();
        assert_eq!(format!("{values:?}").matches("Num").count(), 2, "{values:?}");
        assert!(put(&mut values, "a.7", 1).unwrap_err().contains("the next one is a.2"));
        assert!(put(&mut values, "a.x", 1).unwrap_err().contains("from 0 to 2"));
    }
}
