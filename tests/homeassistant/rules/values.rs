//! What fits together: categories, device classes, units, state classes, ranges.

use serde_json::{Map, Value};

use super::{Complaints, tables};

pub(super) fn category(platform: &str, config: &Map<String, Value>, complaints: &mut Complaints) {
    let allowed: &[&str] = match platform {
        "sensor" | "binary_sensor" => &["diagnostic"],
        _ => &["diagnostic", "config"],
    };
    if let Some(category) = config.get("entity_category")
        && !category.as_str().is_some_and(|category| allowed.contains(&category))
    {
        complaints.push(format!("a {platform} cannot be in the category {category}"));
    }
}

pub(super) fn sensor(config: &Map<String, Value>, complaints: &mut Complaints) {
    let text = |key| config.get(key).and_then(Value::as_str);
    let (class, unit, state) =
        (text("device_class"), text("unit_of_measurement"), text("state_class"));
    if let Some(state) = state
        && !["measurement", "measurement_angle", "total", "total_increasing"].contains(&state)
    {
        complaints.push(format!("no state_class is called {state}"));
    }
    if let Some(class) = class {
        match tables::CLASSES.iter().find(|(known, ..)| *known == class) {
            None => complaints.push(format!("the device_class {class} is not known here")),
            Some((_, units, states)) => {
                if !units.contains(&unit.unwrap_or_default()) {
                    complaints.push(format!("{class} cannot be in {unit:?}"));
                }
                if state.is_some_and(|state| !states.contains(&state)) {
                    complaints.push(format!("{class} cannot be a {state:?}"));
                }
            }
        }
    }
    if config.contains_key("options") && (state.is_some() || unit.is_some()) {
        complaints.push("options exclude state_class and unit".to_owned());
    }
    if config.contains_key("last_reset_value_template") && state != Some("total") {
        complaints.push("last_reset_value_template is for totals".to_owned());
    }
    if state.is_none() && unit.is_none() && class.is_none() {
        complaints.push("nothing tells that the values are numbers".to_owned());
    }
    let expires = config.get("expire_after");
    if expires.is_some_and(|after| after.as_u64().is_none_or(|after| after == 0)) {
        complaints.push("expire_after is no time".to_owned());
    }
    if class == Some("power") && expires.is_none() {
        complaints.push("an old power must expire".to_owned());
    }
    if state.is_some_and(|state| state.starts_with("total")) && expires.is_some() {
        complaints.push("a total is true however old it is".to_owned());
    }
}

pub(super) fn number(config: &Map<String, Value>, complaints: &mut Complaints) {
    let value = |key, default| config.get(key).map_or(Some(default), Value::as_f64);
    match (value("min", 1.0), value("max", 100.0)) {
        (Some(min), Some(max)) if min <= max => {}
        _ => complaints.push("min and max are no range".to_owned()),
    }
    let mode = config.get("mode").and_then(Value::as_str).unwrap_or("auto");
    if !["auto", "box", "slider"].contains(&mode) {
        complaints.push(format!("no mode is called {mode}"));
    }
}
