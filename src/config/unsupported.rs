//! What the configuration knows and this version does not serve yet.
//!
//! Every key is read and checked, so that a file written for a later version is not a mistake
//! in its form. But a key that would silently do nothing is refused: a password that guards
//! nothing is worse than none. Serving a thing means deleting its line here.

use figment::value::Value;

/// Keys, with `*` for any entry of a list, and the values that are not served; no values: any
/// but an empty one.
const NOT_YET: &[(&str, &[&str])] = &[("sinks", &[]), ("log.format", &["json"])];

/// The paths of what is asked for in vain, each with its words.
pub(super) fn find(values: &Value) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    for (pattern, refused) in NOT_YET {
        let steps: Vec<&str> = pattern.split('.').collect();
        visit(values, &steps, &mut Vec::new(), &mut |path, value| {
            if let Some(what) = asked_for(value, refused) {
                found.push((path.to_vec(), format!("{what}{NOTICE}")));
            }
        });
    }
    found
}

fn visit(
    value: &Value,
    steps: &[&str],
    path: &mut Vec<String>,
    see: &mut impl FnMut(&[String], &Value),
) {
    let Some((step, rest)) = steps.split_first() else {
        return see(path, value);
    };
    let below: Vec<(String, &Value)> = match (*step, value) {
        ("*", Value::Array(_, entries)) => {
            entries.iter().enumerate().map(|(index, entry)| (index.to_string(), entry)).collect()
        }
        (key, Value::Dict(_, section)) => {
            section.get(key).map(|value| (key.to_owned(), value)).into_iter().collect()
        }
        _ => Vec::new(),
    };
    for (step, value) in below {
        path.push(step);
        visit(value, rest, path, see);
        path.pop();
    }
}

/// What stands before the notice; `None` if the value asks for nothing.
fn asked_for(value: &Value, refused: &[&str]) -> Option<String> {
    let empty = match value {
        Value::Array(_, entries) => entries.is_empty(),
        Value::Dict(_, section) => section.is_empty(),
        Value::Empty(..) => true,
        _ => false,
    };
    match (refused, value.as_str()) {
        ([], _) => (!empty).then(String::new),
        (refused, Some(word)) => refused.contains(&word).then(|| format!("{word}: ")),
        _ => None,
    }
}

/// The words that tell this from a mistake.
pub const NOTICE: &str = "not supported by this version yet";
