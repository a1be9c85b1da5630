//! Programs that read a Fluksometer's tree, as strict as they are: what stops one of them or gives it
//! a wrong value is an objection. Nothing here comes from the gateway's own side of the wire.
//!
//! * [`payload`]: the grammar of a reading, and what programs do that cut the text at commas
//! * [`assistant`]: the two Home Assistant components, rule by rule

pub(crate) mod assistant;
pub(crate) mod payload;
pub(crate) mod tables;

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::ear::Heard;
use payload::Reading;

/// Documents by device and name (`sensor`, `flx`, `kube`, `tap`), as they stand.
pub(crate) type Documents = BTreeMap<String, BTreeMap<String, String>>;

/// All that is wrong with these messages, in words; and what both components make of them.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) objections: Vec<String>,
    /// Sensors with the number of values that were read of each topic.
    pub(crate) values: HashMap<String, usize>,
    /// Devices, each with the entities that the first component makes.
    pub(crate) entities: BTreeMap<String, Vec<assistant::Entity>>,
}

/// Reads everything below `/device` and `/sensor` as the components would.
pub(crate) fn judge(all: &[Heard]) -> Verdict {
    let mut verdict = Verdict::default();
    let documents = documents(all, &mut verdict.objections);
    match assistant::first_component(&documents) {
        Ok(entities) => verdict.entities = entities,
        Err(objection) => verdict.objections.push(objection),
    }
    let second = assistant::second_component(&documents);
    verdict.objections.extend(second.err());
    let sections = sections(&documents);
    let mut last: HashMap<String, i64> = HashMap::new();
    for heard in all.iter().filter(|heard| heard.topic.starts_with("/sensor/")) {
        let levels: Vec<&str> = heard.topic.split('/').collect();
        let ["", "sensor", id, kind @ ("gauge" | "counter")] = levels[..] else { continue };
        let text = heard.text();
        let objection = match payload::read(&text) {
            Err(objection) => Some(objection),
            Ok(reading) => {
                *verdict.values.entry(heard.topic.clone()).or_default() += 1;
                let rises = last
                    .insert(heard.topic.clone(), reading.at)
                    .is_none_or(|before| reading.at >= before);
                let order = (!rises).then(|| "its time is older than the one before".to_owned());
                order.or_else(|| about(&reading, sections.get(id), kind))
            }
        };
        verdict.objections.extend(objection.map(|why| format!("{}: {text}: {why}", heard.topic)));
    }
    verdict
}

/// What is wrong with a reading, as far as its section tells.
fn about(reading: &Reading, section: Option<&(bool, Value)>, kind: &str) -> Option<String> {
    let Some((third, section)) = section else {
        return Some("no document names this sensor".to_owned());
    };
    let units = tables::units(section, *third, kind);
    match units {
        None => Some(format!("no {kind} belongs to {section}")),
        Some(units) if !units.contains(&reading.unit.as_str()) => {
            Some(format!("the unit is none of {units:?}"))
        }
        Some(_) => None,
    }
}

/// The documents as they stand at the end. A reading before its device's documents is an objection:
/// readers that have just started would not know it.
fn documents(all: &[Heard], objections: &mut Vec<String>) -> Documents {
    let mut documents = Documents::new();
    for heard in all {
        let levels: Vec<&str> = heard.topic.split('/').collect();
        let name = match levels[..] {
            ["", "device", _, "config", name] => name,
            ["", "device", _, "test", "tap"] => "tap",
            _ => continue,
        };
        if name != "tap" && levels[2].len() != 32 {
            objections.push(format!("{}: the device id has not 32 characters", heard.topic));
        }
        let device = documents.entry(levels[2].to_owned()).or_default();
        device.insert(name.to_owned(), heard.text());
    }
    documents
}

/// Every section of a sensor by id, and whether its device says that it is of the third generation.
fn sections(documents: &Documents) -> HashMap<String, (bool, Value)> {
    let mut found = HashMap::new();
    for device in documents.values() {
        let third = device.contains_key("tap");
        let text = device.get("sensor").map_or("{}", String::as_str);
        let Ok(Value::Object(sensors)) = serde_json::from_str(text) else { continue };
        for section in sensors.values() {
            if let Some(id) = section["id"].as_str() {
                found.insert(id.to_owned(), (third, section.clone()));
            }
        }
    }
    found
}

/// Readers that are too kind would find nothing: each kind of fault is seen here.
#[test]
fn the_readers_refuse_what_would_stop_them() {
    let heard = |topic: &str, payload: &str| Heard {
        topic: topic.to_owned(),
        payload: payload.as_bytes().to_vec(),
        retained: true,
    };
    let (device, id) = ("ab".repeat(16), "cd".repeat(16));
    let reading = format!("/sensor/{id}/gauge");
    let section = |text: &str| format!("{{\"1\":{{\"id\":\"{id}\",\"rid\":0,{text}}}}}");
    let good = "\"enable\":1,\"type\":\"electricity\",\"subtype\":\"pplus\",\"port\":[1],\
                \"data_type\":\"counter\"";
    let device_of = |sensor: &str, payload: &str, without: &str| -> Vec<Heard> {
        let documents = [
            ("config/sensor", section(sensor)),
            ("config/flx", "{\"1\":{\"enable\":1,\"class\":\"ct\",\"name\":\"a\"}}".to_owned()),
            ("config/kube", "{\"main\":{}}".to_owned()),
            ("test/tap", "# serial: 1\n# firmware: 2\n".to_owned()),
        ];
        let mut all: Vec<Heard> = documents
            .iter()
            .filter(|(end, _)| *end != without)
            .map(|(end, text)| heard(&format!("/device/{device}/{end}"), text))
            .collect();
        all.push(heard(&reading, payload));
        all
    };
    let fine = "[1795262400,1.5,\"W\"]";
    let verdict = judge(&device_of(good, fine, ""));
    assert_eq!(verdict.objections, Vec::<String>::new());
    assert_eq!((verdict.values[&reading], verdict.entities[&device].len()), (1, 1));
    let sections = [
        "\"enable\":1,\"type\":\"electricity\",\"subtype\":\"pplus\",\"port\":[1]",
        "\"enable\":1,\"type\":\"electricity\",\"port\":[1],\"data_type\":\"counter\"",
        &good.replace("[1]", "\"ttyS0\""),
        &good.replace("[1]", "[]"),
        &good.replace("[1]", "[2]"),
        &good.replace("pplus", "vrms"),
        &good.replace("electricity", "plasma"),
        "\"enable\":\"0\",\"data_type\":\"counter\"",
        "\"enable\":1,\"class\":\"kube\",\"type\":\"light\",\"kid\":1,\"data_type\":\"gauge\"",
        "\"enable\":1,\"class\":\"kube\",\"type\":\"light\",\"data_type\":\"gauge\"",
    ];
    for text in sections {
        assert!(!judge(&device_of(text, fine, "")).objections.is_empty(), "{text}");
    }
    for without in ["config/sensor", "config/flx", "config/kube"] {
        assert!(!judge(&device_of(good, fine, without)).objections.is_empty(), "{without}");
    }
    let payloads = [
        "{\"t\":1,\"v\":2}",
        "[157,\"W\"]",
        "[1795262400,\"157\",\"W\"]",
        "[1795262400,null,\"W\"]",
        "[1795262400.5,157,\"W\"]",
        "[1795262400000,157,\"W\"]",
        "[1795262400,157]",
        "[1795262400,NaN,\"W\"]",
        "[1795262400,1e3,\"W\"]",
        "[1795262400,157,\"kW\"]",
        "[1795262400,01,\"W\"]",
        "[1795262400,1.,\"W\"]",
        "[1795262400,157,\"W\"] ",
    ];
    for text in payloads {
        assert_eq!(judge(&device_of(good, text, "")).objections.len(), 1, "{text}");
    }
    let mut twice = device_of(good, fine, "");
    twice.push(heard(&reading, "[1795262399,1.5,\"W\"]"));
    assert_eq!(judge(&twice).objections.len(), 1);
    let stranger = heard(&format!("/sensor/{}/gauge", "ef".repeat(16)), fine);
    assert_eq!(judge(&[&device_of(good, fine, "")[..], &[stranger]].concat()).objections.len(), 1);
}
