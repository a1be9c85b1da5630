//! A device as Home Assistant is told of it, and the two forms of telling it.
//!
//! One [`Document`] is kept for each device; both forms are made from it, so that changing the form
//! changes no identity. Keys inside are Home Assistant's abbreviations, which the device form goes
//! out with; the component form writes them out, for programs that know no abbreviations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Form;
use crate::topic::DiscoveryTopics;

/// One device with its components.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The device: `ids`, `name` and what is known of it.
    pub dev: Map<String, Value>,
    /// The topics that must all say `online`.
    pub available: Vec<String>,
    /// Its entities by their keys, which never change: `ch1_power`.
    pub components: BTreeMap<String, Component>,
    /// Entities that are to go, by key, until Home Assistant has seen it.
    #[serde(default)]
    pub removed: BTreeMap<String, Platform>,
}

/// One entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// What kind of entity it is.
    pub platform: Platform,
    /// Everything else, with Home Assistant's abbreviations for keys.
    pub fields: Map<String, Value>,
}

/// Kinds of entities that are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// A value.
    Sensor,
    /// Something to press.
    Button,
    /// A number to set.
    Number,
    /// One of several to choose.
    Select,
    /// Something to turn on and off.
    Switch,
}

impl Platform {
    /// Every kind.
    pub const ALL: [Platform; 5] =
        [Platform::Sensor, Platform::Button, Platform::Number, Platform::Select, Platform::Switch];

    /// Home Assistant's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Platform::Sensor => "sensor",
            Platform::Button => "button",
            Platform::Number => "number",
            Platform::Select => "select",
            Platform::Switch => "switch",
        }
    }
}

/// A discovery message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Where it goes.
    pub topic: String,
    /// The component it is about; `None`: the whole device.
    pub component: Option<String>,
    /// JSON; empty to clear the topic.
    pub payload: String,
}

impl Document {
    /// The messages that announce the device `id`. `wanted` tells of a component whether it is to
    /// be there; without any, nothing is announced.
    pub fn announce(
        &self,
        id: &str,
        form: Form,
        topics: &DiscoveryTopics,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<Announcement> {
        let mut components = self.components.iter().filter(|(key, _)| wanted(key)).peekable();
        if components.peek().is_none() {
            return Vec::new();
        }
        match form {
            Form::Device => {
                let components = components.map(|(key, one)| (key.clone(), one.in_device()));
                let removed = self
                    .removed
                    .iter()
                    .map(|(key, platform)| (key.clone(), json!({"p": platform.as_str()})));
                let all: Map<String, Value> = components.chain(removed).collect();
                let payload = json!({
                    "dev": self.dev,
                    "o": origin(),
                    "avty": self.availability(),
                    "avty_mode": "all",
                    "cmps": all,
                });
                let topic = topics.device(id);
                vec![Announcement { topic, component: None, payload: payload.to_string() }]
            }
            Form::Component => components
                .map(|(key, one)| Announcement {
                    topic: topics.component(one.platform.as_str(), id, key),
                    component: Some(key.clone()),
                    payload: self.alone(one).to_string(),
                })
                .collect(),
        }
    }

    /// One component as a message of its own.
    fn alone(&self, component: &Component) -> Value {
        let mut all = component.fields.clone();
        all.insert("dev".to_owned(), Value::Object(self.dev.clone()));
        all.insert("o".to_owned(), origin());
        all.insert("avty".to_owned(), self.availability());
        all.insert("avty_mode".to_owned(), json!("all"));
        written_out(Value::Object(all), WORDS)
    }

    fn availability(&self) -> Value {
        self.available.iter().map(|topic| json!({"t": topic})).collect()
    }
}

impl Component {
    fn in_device(&self) -> Value {
        let mut all = Map::with_capacity(self.fields.len() + 1);
        all.insert("p".to_owned(), json!(self.platform.as_str()));
        all.extend(self.fields.clone());
        Value::Object(all)
    }
}

/// Who announces.
fn origin() -> Value {
    json!({"name": "meterbridge", "sw": env!("CARGO_PKG_VERSION")})
}

/// Home Assistant's abbreviations that are used here, and what they stand for.
type Words =
    &'static [(&'static str, &'static str, Option<&'static [(&'static str, &'static str)]>)];

const WORDS: Words = &[
    ("avty", "availability", Some(&[("t", "topic")])),
    ("avty_mode", "availability_mode", None),
    ("cmd_t", "command_topic", None),
    ("cmd_tpl", "command_template", None),
    ("dev", "device", Some(DEVICE_WORDS)),
    ("dev_cla", "device_class", None),
    ("en", "enabled_by_default", None),
    ("ent_cat", "entity_category", None),
    ("exp_aft", "expire_after", None),
    ("ic", "icon", None),
    ("o", "origin", Some(&[("sw", "sw_version")])),
    ("ops", "options", None),
    ("pl_off", "payload_off", None),
    ("pl_on", "payload_on", None),
    ("pl_prs", "payload_press", None),
    ("ret", "retain", None),
    ("stat_cla", "state_class", None),
    ("stat_off", "state_off", None),
    ("stat_on", "state_on", None),
    ("stat_t", "state_topic", None),
    ("sug_dsp_prc", "suggested_display_precision", None),
    ("uniq_id", "unique_id", None),
    ("unit_of_meas", "unit_of_measurement", None),
    ("val_tpl", "value_template", None),
];

const DEVICE_WORDS: &[(&str, &str)] = &[
    ("ids", "identifiers"),
    ("mdl", "model"),
    ("mf", "manufacturer"),
    ("sn", "serial_number"),
    ("sw", "sw_version"),
];

fn written_out(value: Value, words: Words) -> Value {
    let Value::Object(object) = value else { return value };
    let write = |(key, value): (String, Value)| match words.iter().find(|(short, ..)| *short == key)
    {
        Some((_, long, Some(inner))) => ((*long).to_owned(), inside(value, inner)),
        Some((_, long, None)) => ((*long).to_owned(), value),
        None => (key, value),
    };
    Value::Object(object.into_iter().map(write).collect())
}

fn inside(value: Value, words: &[(&str, &str)]) -> Value {
    match value {
        Value::Array(entries) => entries.into_iter().map(|entry| inside(entry, words)).collect(),
        Value::Object(object) => {
            let long = |key: String| {
                let known = words.iter().find(|(short, _)| *short == key);
                known.map_or(key, |(_, long)| (*long).to_owned())
            };
            Value::Object(object.into_iter().map(|(key, value)| (long(key), value)).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        let fields = json!({"uniq_id": "x_ch1_power", "stat_t": "a/b", "name": "Kitchen power"});
        let Value::Object(fields) = fields else { panic!() };
        let Value::Object(dev) = json!({"ids": ["x"], "name": "house"}) else { panic!() };
        let component = Component { platform: Platform::Sensor, fields };
        Document {
            dev,
            available: vec!["g".into(), "m".into()],
            components: [("ch1_power".to_owned(), component)].into(),
            removed: [("ch2_power".to_owned(), Platform::Sensor)].into(),
        }
    }

    #[test]
    fn the_device_form_is_short_and_names_what_is_to_go() {
        let topics = DiscoveryTopics::new("ha");
        let all = document().announce("x", Form::Device, &topics, |_| true);
        assert_eq!((all.len(), all[0].topic.as_str()), (1, "ha/device/x/config"));
        let payload: Value = serde_json::from_str(&all[0].payload).unwrap();
        assert_eq!(payload["avty"], json!([{"t": "g"}, {"t": "m"}]));
        assert_eq!(payload["cmps"]["ch1_power"]["p"], "sensor");
        assert_eq!(payload["cmps"]["ch2_power"], json!({"p": "sensor"}));
        assert!(document().announce("x", Form::Device, &topics, |_| false).is_empty());
    }

    #[test]
    fn the_component_form_is_written_out() {
        let topics = DiscoveryTopics::new("ha");
        let all = document().announce("x", Form::Component, &topics, |_| true);
        assert_eq!(all[0].topic, "ha/sensor/x/ch1_power/config");
        let payload: Value = serde_json::from_str(&all[0].payload).unwrap();
        assert_eq!(
            payload,
            json!({
                "unique_id": "x_ch1_power",
                "state_topic": "a/b",
                "name": "Kitchen power",
                "device": {"identifiers": ["x"], "name": "house"},
                "origin": {"name": "meterbridge", "sw_version": env!("CARGO_PKG_VERSION")},
                "availability": [{"topic": "g"}, {"topic": "m"}],
                "availability_mode": "all",
            })
        );
    }
}
