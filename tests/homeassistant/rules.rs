//! What Home Assistant 2026.11 makes of a discovery message, as strictly as it is strict anywhere:
//! what it would refuse, warn of, pass over in silence, or stumble over later is a complaint here.
//!
//! Written from the behaviour of its `mqtt` integration; the tables are in `rules/tables.rs`.

pub(crate) mod replay;
pub(crate) mod tables;
pub(crate) mod template;
mod values;

use serde_json::{Map, Value};

/// What is wrong with a message.
pub(crate) type Complaints = Vec<String>;

/// An entity as Home Assistant would make it, keys written out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entity {
    /// `sensor`, `number`, …
    pub(crate) platform: String,
    /// node id and object id: by these a component is known in either form.
    pub(crate) node: String,
    pub(crate) object: String,
    /// Everything it says, with what the device says for all.
    pub(crate) config: Map<String, Value>,
}

/// A discovery message that is taken.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Taken {
    /// These entities are there now.
    Entities { entities: Vec<Entity>, removed: Vec<(String, String)> },
    /// The entities of the topic wait to be announced elsewhere.
    Migrating,
    /// The topic is cleared.
    Cleared,
}

/// A topic below the prefix: platform (or `device`), node id, object id.
pub(crate) fn topic_parts(
    prefix: &str,
    topic: &str,
) -> Result<(String, Option<String>, String), String> {
    let rest = topic.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/'));
    let rest = rest.ok_or_else(|| format!("{topic} is not below {prefix}"))?;
    let levels: Vec<&str> = rest.split('/').collect();
    let good = |level: &str| {
        !level.is_empty()
            && level.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    let (platform, node, object) = match levels[..] {
        [platform, object, "config"] => (platform, None, object),
        [platform, node, object, "config"] => (platform, Some(node), object),
        _ => return Err(format!("{topic} has the wrong number of levels")),
    };
    if !good(object) || !node.is_none_or(good) {
        return Err(format!("{topic} has characters that are not allowed"));
    }
    if platform != "device" && !tables::PLATFORMS.iter().any(|(known, _)| *known == platform) {
        return Err(format!("{topic}: no platform is called {platform}"));
    }
    Ok((platform.to_owned(), node.map(str::to_owned), object.to_owned()))
}

/// Judges one message.
pub(crate) fn judge(prefix: &str, topic: &str, payload: &str) -> Result<Taken, Complaints> {
    let (platform, node, object) = topic_parts(prefix, topic).map_err(|error| vec![error])?;
    if payload.is_empty() {
        return Ok(Taken::Cleared);
    }
    let value: Value =
        serde_json::from_str(payload).map_err(|error| vec![format!("not JSON: {error}")])?;
    let Value::Object(root) = value else { return Err(vec!["not an object".to_owned()]) };
    if root.contains_key("migrate_discovery") || root.contains_key("migr_discvry") {
        let alone = root.len() == 1 && root.values().all(|value| *value == Value::Bool(true));
        return if alone {
            Ok(Taken::Migrating)
        } else {
            Err(vec!["migrate_discovery must be true and alone".to_owned()])
        };
    }
    if platform == "device" {
        if node.is_some() {
            return Err(vec![format!("{topic}: a device has no node id here")]);
        }
        return whole_device(&object, root);
    }
    let mut complaints = Vec::new();
    let config = expand(root, tables::SHORT, &mut complaints);
    component(&platform, &config, false, &mut complaints);
    if node.is_none() {
        complaints.push("without a node id it is another component than in the device form".into());
    }
    if !complaints.is_empty() {
        return Err(complaints);
    }
    let entity = Entity { platform, node: node.unwrap_or_default(), object, config };
    Ok(Taken::Entities { entities: vec![entity], removed: Vec::new() })
}

fn whole_device(id: &str, root: Map<String, Value>) -> Result<Taken, Complaints> {
    let mut complaints = Vec::new();
    if root.contains_key("~") {
        complaints.push("a ~ at the root refuses the whole message".to_owned());
    }
    let root = expand(root, tables::SHORT, &mut complaints);
    unknown("the root", &root, tables::ROOT, &mut complaints);
    for key in ["device", "origin", "components"] {
        if !root.contains_key(key) {
            complaints.push(format!("{key} is missing"));
        }
    }
    device_and_origin(&root, &mut complaints);
    availability("the root", &root, &mut complaints);
    let shared = |root: &Map<String, Value>| {
        let mut shared = root.clone();
        shared.remove("components");
        shared
    };
    let (mut entities, mut removed) = (Vec::new(), Vec::new());
    let components = root.get("components").and_then(Value::as_object).cloned().unwrap_or_default();
    if components.is_empty() {
        complaints.push("without components it makes nothing".to_owned());
    }
    for (key, value) in components {
        let own = &mut Vec::new();
        let Value::Object(one) = value else {
            complaints.push(format!("{key} is no object"));
            continue;
        };
        let mut one = expand(one, tables::SHORT, own);
        let Some(Value::String(platform)) = one.remove("platform") else {
            complaints.push(format!("{key} has no platform: the whole message is refused"));
            continue;
        };
        if !tables::PLATFORMS.iter().any(|(known, _)| *known == platform) {
            complaints.push(format!("{key}: no platform is called {platform}"));
            continue;
        }
        if !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            own.push("the key has characters that no topic may have".to_owned());
        }
        if one.is_empty() {
            removed.push((platform, key));
            continue;
        }
        if one.contains_key("availability_topic") && root.contains_key("availability") {
            own.push("availability_topic beside the root's availability loses the entity".into());
        }
        for (name, value) in shared(&root) {
            one.entry(name).or_insert(value);
        }
        component(&platform, &one, true, own);
        complaints.extend(own.iter().map(|complaint| format!("{key}: {complaint}")));
        entities.push(Entity { platform, node: id.to_owned(), object: key, config: one });
    }
    if complaints.is_empty() { Ok(Taken::Entities { entities, removed }) } else { Err(complaints) }
}

/// Writes abbreviations out. A key that is there twice would be decided by chance.
fn expand(
    object: Map<String, Value>,
    short: &[(&str, &str)],
    complaints: &mut Complaints,
) -> Map<String, Value> {
    let mut all = Map::new();
    for (key, value) in object {
        let long = short.iter().find(|(short, _)| *short == key).map_or(&*key, |(_, long)| long);
        let value = match (long, value) {
            ("device", Value::Object(value)) => {
                Value::Object(expand(value, tables::SHORT_DEVICE, complaints))
            }
            ("origin", Value::Object(value)) => {
                Value::Object(expand(value, tables::SHORT_ORIGIN, complaints))
            }
            ("availability", Value::Array(list)) => list
                .into_iter()
                .map(|entry| match entry {
                    Value::Object(entry) => Value::Object(expand(entry, short, complaints)),
                    other => other,
                })
                .collect(),
            (_, value) => value,
        };
        if all.insert(long.to_owned(), value).is_some() {
            complaints.push(format!("{long} is there twice"));
        }
    }
    all
}

fn unknown(place: &str, object: &Map<String, Value>, known: &[&str], complaints: &mut Complaints) {
    for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
        complaints.push(format!("{place} has the unknown key {key}"));
    }
}

fn device_and_origin(config: &Map<String, Value>, complaints: &mut Complaints) {
    if let Some(device) = config.get("device") {
        let device = device.as_object().cloned().unwrap_or_default();
        unknown("the device", &device, tables::DEVICE, complaints);
        let named = |key| {
            device.get(key).is_some_and(|ids| {
                ids.as_array().map_or(ids.as_str().is_some_and(|id| !id.is_empty()), |ids| {
                    !ids.is_empty() && ids.iter().all(Value::is_string)
                })
            })
        };
        if !named("identifiers") && !device.contains_key("connections") {
            complaints.push("the device has nothing to know it by".to_owned());
        }
        let is_text = |(key, value): (&String, &Value)| {
            matches!(key.as_str(), "identifiers" | "connections") || value.is_string()
        };
        if !device.iter().all(is_text) {
            complaints.push("the device has a value that is no text".to_owned());
        }
    }
    if let Some(origin) = config.get("origin") {
        let origin = origin.as_object().cloned().unwrap_or_default();
        unknown("the origin", &origin, tables::ORIGIN, complaints);
        if !origin.get("name").is_some_and(Value::is_string) {
            complaints.push("the origin has no name".to_owned());
        }
    }
}

fn availability(place: &str, config: &Map<String, Value>, complaints: &mut Complaints) {
    if config.contains_key("availability") && config.contains_key("availability_topic") {
        complaints.push(format!("{place}: availability and availability_topic exclude each other"));
    }
    let mode = config.get("availability_mode").and_then(Value::as_str).unwrap_or("latest");
    if !["all", "any", "latest"].contains(&mode) {
        complaints.push(format!("{place}: no availability_mode is called {mode}"));
    }
    let list = config.get("availability").and_then(Value::as_array).cloned().unwrap_or_default();
    if list.len() > 1 && mode != "all" {
        complaints.push(format!("{place}: several availabilities must all hold, not {mode}"));
    }
    for entry in list {
        let entry = entry.as_object().cloned().unwrap_or_default();
        unknown("an availability", &entry, tables::AVAILABILITY, complaints);
        if !entry.get("topic").and_then(Value::as_str).is_some_and(is_topic) {
            complaints.push(format!("{place}: an availability has no good topic"));
        }
    }
}

/// A topic that can be published on, which all of ours are.
fn is_topic(topic: &str) -> bool {
    !topic.is_empty() && topic.len() < 65_536 && !topic.contains(['+', '#', '\0'])
}

/// Judges what one component says. `in_device`: the device said the rest.
fn component(
    platform: &str,
    config: &Map<String, Value>,
    in_device: bool,
    complaints: &mut Complaints,
) {
    let own = tables::PLATFORMS.iter().find(|(known, _)| *known == platform);
    let own = own.map_or(&[][..], |(_, keys)| keys);
    for key in config.keys() {
        let fits = own.contains(&key.as_str()) || tables::COMMON.contains(&key.as_str());
        if !fits {
            complaints.push(format!("a {platform} has no key {key}"));
        }
    }
    if config.get("unique_id").and_then(Value::as_str).is_none_or(str::is_empty) {
        complaints.push("unique_id is missing: the whole message is refused".to_owned());
    }
    for key in ["device", "origin"] {
        if !config.contains_key(key) {
            complaints.push(format!("{key} is missing: the entity would belong to nothing"));
        }
    }
    if !in_device {
        device_and_origin(config, complaints);
    }
    availability("the component", config, complaints);
    let required: &[&str] = match platform {
        "sensor" | "binary_sensor" => &["state_topic"],
        "select" => &["command_topic", "options"],
        "number" | "button" | "switch" => &["command_topic"],
        _ => &[],
    };
    for key in required.iter().filter(|key| !config.contains_key(**key)) {
        complaints.push(format!("{key} is missing"));
    }
    for (key, value) in config.iter().filter(|(key, _)| key.ends_with("_topic")) {
        if !value.as_str().is_some_and(is_topic) {
            complaints.push(format!("{key} is no topic"));
        }
    }
    for (key, value) in config.iter().filter(|(key, _)| key.ends_with("_template")) {
        if let Err(error) = template::compiles(value.as_str().unwrap_or("{{")) {
            complaints.push(format!("{key}: {error}"));
        }
    }
    values::category(platform, config, complaints);
    let truth = ["retain", "optimistic", "enabled_by_default", "force_update"];
    for key in truth.into_iter().filter(|key| config.get(*key).is_some_and(|v| !v.is_boolean())) {
        complaints.push(format!("{key} is neither true nor false"));
    }
    if config.contains_key("command_topic") && config.get("retain") == Some(&Value::Bool(true)) {
        complaints.push("a retained command would be carried out again".to_owned());
    }
    match platform {
        "sensor" => values::sensor(config, complaints),
        "number" => values::number(config, complaints),
        "select" if config.get("options").and_then(Value::as_array).is_none_or(Vec::is_empty) => {
            complaints.push("nothing to choose".to_owned());
        }
        _ => {}
    }
}
