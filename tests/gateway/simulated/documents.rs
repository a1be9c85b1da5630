//! The documents of simulated Fluksometers beside those of the captures: the same keys in the same
//! order, and the same kinds of values.

use std::path::Path;

use serde_json::Map;

use super::*;

/// The documents of a capture by the end of their topics.
fn captured(name: &str) -> HashMap<String, Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("protocols/tests/captures/flukso/mqtt")
        .join(format!("{name}.jsonl"));
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter_map(|line| {
            let end = line["topic"].as_str()?.rsplit_once("/config/")?.1.to_owned();
            Some((end, serde_json::from_str(line["payload"].as_str()?).ok()?))
        })
        .collect()
}

/// What tells sections apart whose keys differ.
fn kind(section: &Map<String, Value>) -> String {
    let word = |key: &str| section.get(key).map(Value::to_string).unwrap_or_default();
    let medium = match word("class").as_str() {
        "\"analog\"" | "\"pulse\"" | "\"ct\"" | "\"kube\"" | "\"uart\"" => String::new(),
        _ => word("type"),
    };
    let [class, enable, tmpo] = ["class", "enable", "tmpo"].map(word);
    let [named, told_apart] = ["function", "subtype"].map(|key| section.contains_key(key));
    // The pulse inputs of an FLM03 have no class.
    let is_clamp = section.get("port").is_some_and(|port| port[0].as_u64() < Some(4));
    format!("{class} {medium} {enable} {tmpo} {named} {told_apart} {is_clamp}")
}

/// The keys of a section with the kinds of their values.
fn shape(section: &Map<String, Value>) -> Vec<(String, &'static str)> {
    let kinds = section.iter().map(|(key, value)| {
        let kind = match value {
            Value::Number(_) => "number",
            Value::String(_) => "text",
            Value::Array(_) => "list",
            _ => "something else",
        };
        (key.clone(), kind)
    });
    kinds.collect()
}

fn sections(document: &Value) -> impl Iterator<Item = (&String, &Map<String, Value>)> {
    let sections = document.as_object().unwrap().iter();
    sections.map(|(key, section)| (key, section.as_object().unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_have_the_keys_of_the_captures_in_their_order() {
    for (generation, name, least) in
        [(Generation::Flm02, "flm02b", 9), (Generation::Flm03, "flm03e", 9)]
    {
        let meter = Running::own(generation, FluksoManners::default()).await;
        let ear = meter.ear().await;
        let mut compared = BTreeSet::new();
        for (end, capture) in captured(name) {
            let topic = format!("/device/{}/config/{end}", meter.device);
            let heard = ear.until(&topic, |heard| heard.topic == topic).await;
            let own: Value = serde_json::from_str(&heard.text()).unwrap();
            let words = |document: &Value| -> Vec<String> {
                let keys = sections(document).map(|(key, _)| key.clone());
                keys.filter(|key| key.parse::<u32>().is_err()).collect()
            };
            assert_eq!(words(&own), words(&capture), "{topic}");
            let mut known = HashMap::new();
            for (key, section) in sections(&capture) {
                let by = if key.parse::<u32>().is_ok() { kind(section) } else { key.clone() };
                known.insert(by, shape(section));
            }
            for (key, section) in sections(&own) {
                let by = if key.parse::<u32>().is_ok() { kind(section) } else { key.clone() };
                if let Some(capture) = known.get(&by) {
                    assert_eq!(&shape(section), capture, "{topic} {key}");
                    compared.insert(format!("{end} {by}"));
                }
            }
        }
        assert!(compared.len() >= least, "{compared:?}");
        meter.stop().await;
    }
}
