//! The gateway itself as a device, announced before all others.

use serde_json::json;

use super::BRIDGE;
use super::describe::object;
use super::document::{Component, Document, Platform};
use crate::topic::{BridgeTopic, Topic};

/// The gateway's document. Values come from `meterbridge/bridge/health`.
pub(super) fn document() -> Document {
    let sensors = [
        ("meters_online", "Meters online", "meters.online", "measurement"),
        ("packets", "Packets", "meters.packets", "total_increasing"),
        ("dropped_updates", "Dropped updates", "dropped.updates", "total_increasing"),
    ];
    let sensors = sensors.map(|(key, name, path, state_class)| {
        (key.to_owned(), sensor(key, name, path, state_class))
    });
    let mut components = std::collections::BTreeMap::from(sensors);
    components.insert("announce".to_owned(), announce());
    Document {
        dev: object([
            ("ids", json!([BRIDGE])),
            ("name", json!("meterbridge")),
            ("mf", json!("meterbridge")),
            ("mdl", json!("Energy gateway")),
            ("sw", json!(env!("CARGO_PKG_VERSION"))),
        ]),
        available: vec![Topic::Bridge(BridgeTopic::State).to_string()],
        components,
        removed: Default::default(),
    }
}

fn sensor(key: &str, name: &str, path: &str, state_class: &str) -> Component {
    let (group, field) = path.split_once('.').unwrap_or((path, ""));
    let template = format!("{{{{ (value_json.{group}|default({{}})).{field}|default('') }}}}");
    let fields = object([
        ("uniq_id", json!(format!("{BRIDGE}_{key}"))),
        ("name", json!(name)),
        ("stat_t", json!(Topic::Bridge(BridgeTopic::Health).to_string())),
        ("val_tpl", json!(template)),
        ("stat_cla", json!(state_class)),
        ("ent_cat", json!("diagnostic")),
    ]);
    Component { platform: Platform::Sensor, fields }
}

/// Offers again what the user deleted.
fn announce() -> Component {
    let fields = object([
        ("uniq_id", json!(format!("{BRIDGE}_announce"))),
        ("name", json!("Offer deleted meters again")),
        ("cmd_t", json!(Topic::Request("announce".to_owned()).to_string())),
        ("pl_prs", json!("{}")),
        ("ret", json!(false)),
        ("ent_cat", json!("config")),
    ]);
    Component { platform: Platform::Button, fields }
}
