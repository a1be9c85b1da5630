//! A Fluksometer's documents as every reader of the gateway's broker can bear them.
//!
//! One device that lacks a document, or has a sensor whose port is no list, stops some readers
//! altogether. So what is missing is added and what is unfit is put right; what is recorded and what
//! it is recorded with stays the device's own (`OwnSection`).
//!
//! Source: protocol note, section 3.4.

use std::collections::HashSet;

use meter_protocols::flukso::Id;
use meter_protocols::flukso::document::{self, Class, DataType, Section};
use serde_json::{Map, Value, json};

use super::documents::{Documents, MARK_KEY};
use crate::model::{Model, OwnDocuments};

/// What is to be published. A text is empty where the device's own is on the gateway's broker already
/// and needs nothing.
pub(super) fn documents(
    device: Id,
    own: &Documents,
    object: &Map<String, Value>,
    sections: &[Section],
    model: Model,
    on_our_broker: bool,
) -> OwnDocuments {
    let read = |text: &Option<String>| {
        text.as_deref().and_then(|text| document::object(text.as_bytes()).ok())
    };
    let (own_flx, own_kube) = (read(&own.flx), read(&own.kube));
    let flx = flx(own_flx.clone().unwrap_or_default(), sections, model);
    let kube = kube(own_kube.clone().unwrap_or_default(), sections, on_our_broker);
    let mut sensor = sensors(object, sections, &flx, &kube, model);
    let given = |safe: &Map<String, Value>, own: Option<&Map<String, Value>>| {
        if on_our_broker && own == Some(safe) {
            String::new()
        } else {
            Value::Object(safe.clone()).to_string()
        }
    };
    let sensor = if on_our_broker && sensor == *object {
        String::new()
    } else {
        sensor.insert(MARK_KEY.to_owned(), json!({"device": device.to_string()}));
        Value::Object(sensor).to_string()
    };
    // An FLM02 has no tap, and one would make it an FLM03.
    let tap = own.tap.clone().filter(|_| !on_our_broker).unwrap_or_default();
    OwnDocuments {
        on_our_broker,
        sensor: sensor.into(),
        flx: given(&flx, own_flx.as_ref()).into(),
        kube: given(&kube, own_kube.as_ref()).into(),
        tap: tap.into(),
    }
}

/// The port that a sensor is said to have: its own, or the number of its section where it has none,
/// which no screw terminal has.
fn port(section: &Section) -> u16 {
    section.ports.first().map_or(section.number, |port| u16::from(*port))
}

fn flx(mut flx: Map<String, Value>, sections: &[Section], model: Model) -> Map<String, Value> {
    flx.retain(|_, section| section.is_object());
    let main = flx.remove("main");
    for section in in_use(sections).filter(|section| section.class != Some(Class::Kube)) {
        let class = match section.class {
            Some(Class::Pulse) => "pulse",
            Some(Class::Uart | Class::Cosem) => "uart",
            _ => "ct",
        };
        let name = section.function.as_deref().or(section.kind.as_deref()).unwrap_or("sensor");
        let number = port(section).to_string();
        let place = flx.entry(number).or_insert_with(|| json!({"enable": 1, "class": class}));
        if let Value::Object(place) = place
            && !place.get("name").is_some_and(Value::is_string)
        {
            place.insert("name".to_owned(), json!(name));
        }
    }
    let phase = if model == Model::Flm03 { "3p+n" } else { "1p" };
    flx.insert("main".to_owned(), main.unwrap_or_else(|| json!({"phase": phase, "led_mode": 255})));
    flx
}

fn kube(mut kube: Map<String, Value>, sections: &[Section], keep_keys: bool) -> Map<String, Value> {
    kube.retain(|_, section| section.is_object());
    let main = kube.entry("main").or_insert_with(|| json!({"encryption": 0, "max_nodes": 0}));
    if let Value::Object(main) = main
        && !keep_keys
    {
        // The keys of a radio network are nobody's business.
        main.retain(|key, _| key != "key" && key != "null_key");
    }
    for kid in in_use(sections).filter_map(|section| section.kid) {
        let name = format!("kube {kid}");
        kube.entry(kid.to_string()).or_insert_with(|| json!({"enable": 1, "name": name}));
    }
    kube
}

fn in_use(sections: &[Section]) -> impl Iterator<Item = &Section> {
    sections.iter().filter(|section| section.enabled)
}

fn sensors(
    own: &Map<String, Value>,
    sections: &[Section],
    flx: &Map<String, Value>,
    kube: &Map<String, Value>,
    model: Model,
) -> Map<String, Value> {
    let mut ids = HashSet::new();
    let mut safe = Map::new();
    for (key, value) in own {
        let Value::Object(fields) = value else { continue };
        let mut fields = fields.clone();
        let section = sections.iter().find(|section| section.number.to_string() == *key);
        match section {
            Some(section) => {
                let fits = section.enabled && put_right(section, &mut fields, flx, kube, model);
                if fields.contains_key("enable") || fits {
                    let fits = fits && ids.insert(section.id);
                    fields.insert("enable".to_owned(), json!(u8::from(fits)));
                }
            }
            // Something with `enable` that is no sensor: whoever takes it for one misses its id.
            None => drop(fields.remove("enable")),
        }
        safe.insert(key.clone(), Value::Object(fields));
    }
    safe
}

/// Puts a section right; `false`: it is a sensor that stops some readers whatever it says.
fn put_right(
    section: &Section,
    fields: &mut Map<String, Value>,
    flx: &Map<String, Value>,
    kube: &Map<String, Value>,
    model: Model,
) -> bool {
    let data_type = match section.data_type {
        DataType::Counter => "counter",
        DataType::Gauge => "gauge",
    };
    let mut fill = |key: &str, value: Value| {
        if fields.get(key) != Some(&value) {
            fields.insert(key.to_owned(), value);
        }
    };
    fill("data_type", json!(data_type));
    fill("rid", json!(section.rid));
    let is_kube = section.class == Some(Class::Kube);
    if !is_kube {
        let ports: Vec<u16> = section.ports.iter().map(|port| u16::from(*port)).collect();
        fill("port", if ports.is_empty() { json!([section.number]) } else { json!(ports) });
    }
    let is_electricity = section.kind.as_deref() == Some("electricity");
    let mut subtype = section.subtype.as_deref();
    if is_electricity && model == Model::Flm03 && subtype.is_none() {
        fill("subtype", json!("pplus"));
        subtype = Some("pplus");
    }
    let place_is_known = match (is_kube, section.kid) {
        (true, Some(kid)) => kube.contains_key(&kid.to_string()),
        (true, None) => false,
        (false, _) => flx.contains_key(&port(section).to_string()),
    };
    place_is_known && is_in_the_tables(section.kind.as_deref(), subtype, section.data_type, model)
}

/// The types that readers know.
fn is_in_the_tables(
    kind: Option<&str>,
    subtype: Option<&str>,
    data_type: DataType,
    model: Model,
) -> bool {
    let (counts, shows) = (data_type == DataType::Counter, data_type == DataType::Gauge);
    match (kind, subtype) {
        (Some("electricity"), None) => counts && model == Model::Flm02,
        (Some("electricity"), Some("pplus" | "pminus" | "q1" | "q2" | "q3" | "q4")) => {
            counts && model == Model::Flm03
        }
        (Some("electricity"), Some("vrms" | "irms" | "pf" | "vthd" | "ithd" | "alpha")) => {
            shows && model == Model::Flm03
        }
        (Some("gas" | "water" | "proximity" | "movement" | "vibration"), None) => counts,
        (Some("temperature" | "pressure" | "battery" | "light" | "humidity" | "error"), None) => {
            shows
        }
        _ => false,
    }
}
