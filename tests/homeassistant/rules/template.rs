//! Templates as Home Assistant renders them, for what ours use. What it would log a warning of, such
//! as a value that is not there and has no default, is an error here.

use minijinja::{Environment, UndefinedBehavior, context};
use serde_json::Value;

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
}

/// Whether it can be read at all.
pub(crate) fn compiles(template: &str) -> Result<(), String> {
    environment().template_from_str(template).map(drop).map_err(|error| error.to_string())
}

/// What a value template makes of a payload.
pub(crate) fn value(template: &str, payload: &str) -> Result<String, String> {
    let json: Value = serde_json::from_str(payload).map_err(|error| error.to_string())?;
    let json = minijinja::value::Serde(&json);
    environment()
        .render_str(
            template,
            context! { value => payload, value_json => minijinja::Value::from(json) },
        )
        .map_err(|error| format!("{template}: {error}"))
}

/// What a command template makes of a value.
pub(crate) fn command(
    template: &str,
    input: impl Into<minijinja::Value>,
) -> Result<String, String> {
    environment()
        .render_str(template, context! { value => input.into() })
        .map_err(|error| format!("{template}: {error}"))
}
