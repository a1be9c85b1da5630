//! The two Home Assistant components that read a Fluksometer's tree.
//!
//! Source: flukso.md §3.4.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use super::Documents;
use super::tables::is_known;

/// What the first component makes of a section.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entity {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) state_topic: String,
}

/// flukso/hass_flukso_component: one device that it cannot read stops all of them.
pub(crate) fn first_component(
    documents: &Documents,
) -> Result<BTreeMap<String, Vec<Entity>>, String> {
    let (mut found, mut ids) = (BTreeMap::new(), HashSet::new());
    for (device, texts) in documents.iter().filter(|(_, texts)| has_config(texts)) {
        // Rule 2: all three of each device.
        let [sensor, flx, kube] = ["sensor", "flx", "kube"].map(|name| object(device, texts, name));
        let (sensor, flx, kube) = (sensor?, flx?, kube?);
        let mut entities = Vec::new();
        for (key, section) in &sensor {
            let about = format!("{device} sensor {key} {section}");
            let section = section.as_object().ok_or(format!("{about}: rule 3: no object"))?;
            if is_skipped(section) {
                continue;
            }
            let entity = entity(section, &flx, &kube).map_err(|why| format!("{about}: {why}"))?;
            if !ids.insert(entity.id.clone()) {
                return Err(format!("{about}: rule 6: the id is there twice"));
            }
            entities.push(entity);
        }
        found.insert(device.clone(), entities);
    }
    Ok(found)
}

fn has_config(texts: &BTreeMap<String, String>) -> bool {
    texts.keys().any(|name| name != "tap")
}

fn object(
    device: &str,
    texts: &BTreeMap<String, String>,
    name: &str,
) -> Result<Map<String, Value>, String> {
    let text = texts.get(name).ok_or(format!("{device}: rule 2: there is no config/{name}"))?;
    let object = serde_json::from_str(text);
    let object: Map<String, Value> =
        object.map_err(|error| format!("{device}: config/{name}: {error}"))?;
    match object.iter().find(|(_, section)| !section.is_object()) {
        Some((key, section)) => Err(format!("{device}: config/{name}: rule 3: {key}: {section}")),
        None => Ok(object),
    }
}

/// Rule 3.
fn is_skipped(section: &Map<String, Value>) -> bool {
    let zero = |name: &str| section.get(name).is_some_and(|value| value.as_i64() == Some(0));
    !section.contains_key("enable") || zero("enable") || zero("tmpo")
}

/// Rules 4 to 6.
fn entity(
    section: &Map<String, Value>,
    flx: &Map<String, Value>,
    kube: &Map<String, Value>,
) -> Result<Entity, String> {
    let text = |name: &str| section.get(name).and_then(Value::as_str);
    let id = text("id").ok_or("rule 4: no id")?;
    let data_type = text("data_type").ok_or("rule 4: no data_type")?;
    let kind = text("type").ok_or("rule 4: no type")?;
    let name = if text("class") == Some("kube") {
        let kid = section.get("kid").ok_or("rule 4: no kid")?.to_string();
        let node = kube.get(&kid).ok_or(format!("rule 4: config/kube has no {kid}"))?;
        node.get("name").and_then(Value::as_str).unwrap_or("unknown")
    } else if let Some(port) = section.get("port") {
        let first = port.as_array().and_then(|ports| ports.first());
        let first = first.ok_or("rule 4: port is no list with something in it")?.to_string();
        let port = flx.get(&first).ok_or(format!("rule 4: config/flx has no {first}"))?;
        port.get("name").and_then(Value::as_str).unwrap_or("unknown")
    } else {
        "flukso sensor"
    };
    let topic = if kind == "electricity" { "gauge" } else { data_type };
    Ok(Entity {
        id: id.to_owned(),
        name: name.to_owned(),
        state_topic: format!("/sensor/{id}/{topic}"),
    })
}

/// bertouttier/flukso-hacs: a combination that it does not know stops the platform.
pub(crate) fn second_component(documents: &Documents) -> Result<(), String> {
    for (device, texts) in documents.iter().filter(|(_, texts)| has_config(texts)) {
        if device.len() != 32 {
            return Err(format!("{device}: not 32 characters"));
        }
        let sensor = object(device, texts, "sensor")?;
        let [flx, kube] = ["flx", "kube"].map(|name| object(device, texts, name).ok());
        let third = texts.get("tap").is_some_and(|tap| {
            ["# serial: ", "# firmware: "]
                .iter()
                .all(|start| tap.lines().any(|line| line.starts_with(start)))
        });
        for (key, section) in &sensor {
            let about = format!("{device} sensor {key} {section}");
            let section = section.as_object().ok_or(format!("{about}: no object"))?;
            if section.get("enable").is_none_or(|enable| enable.as_i64() == Some(0)) {
                continue;
            }
            let text = |name: &str| section.get(name).and_then(Value::as_str);
            let combination = (text("type").unwrap_or_default(), text("subtype"));
            let data_type = text("data_type").unwrap_or_default();
            if !is_known(combination.0, combination.1, data_type, third) {
                return Err(format!("{about}: a combination it does not know"));
            }
            let refers = |document: &Option<Map<String, Value>>, key: Option<&Value>| {
                let Some(document) = document else { return true };
                key.is_none_or(|key| document.contains_key(&key.to_string()))
            };
            let first = section.get("port").and_then(|port| port.get(0));
            if !refers(&kube, section.get("kid")) || !refers(&flx, first) {
                return Err(format!("{about}: it refers to what is not there"));
            }
        }
    }
    Ok(())
}
