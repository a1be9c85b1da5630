//! What a meter can be told, as entities to press and to choose.
//!
//! A setting's value is shown as the meter last told it, on `state/info`: in Home Assistant a number
//! is unknown until somebody asks for it or sets it, and never what somebody only hoped for.

use serde_json::{Map, Value, json};

use super::describe::object;
use super::document::{Component, Platform};
use crate::adapters;
use crate::model::{Channel, Control, ControlKind, Device, Scope};
use crate::topic::{Leaf, MeterState, Topic};

/// The entities of a meter's controls, by their keys.
pub(super) fn components(device: &Device) -> Vec<(String, Component)> {
    let mut all = Vec::new();
    for control in adapters::controls(device.model) {
        match control.scope {
            Scope::Meter => all.push(component(device, control, None)),
            Scope::EachClamp => {
                all.extend(clamps(device).map(|clamp| component(device, control, Some(clamp))));
            }
        }
    }
    all
}

/// The numbered clamps with their names, each once.
fn clamps(device: &Device) -> impl Iterator<Item = (u8, &str)> {
    let mut last = None;
    device.sensors.iter().filter_map(move |sensor| match sensor.channel {
        Channel::Ch(n) if last.replace(n) != Some(n) => Some((n, &*sensor.name)),
        _ => None,
    })
}

fn component(device: &Device, control: &Control, clamp: Option<(u8, &str)>) -> (String, Component) {
    let (key, name) = match clamp {
        None => (control.key.to_owned(), control.name.to_owned()),
        Some((n, name)) => {
            (format!("{}_{}", Channel::Ch(n), control.key), format!("{name} {}", control.name))
        }
    };
    let mut fields = object([
        ("uniq_id", json!(format!("{}_{key}", device.id))),
        ("name", json!(name)),
        ("cmd_t", json!(Topic::Order(Some(device.name.to_string()), Leaf::Cmd).to_string())),
        ("ret", json!(false)),
        ("ent_cat", json!("config")),
    ]);
    if !control.offered {
        fields.insert("en".to_owned(), json!(false));
    }
    let (platform, more) = kind(device, control, clamp.map(|(n, _)| n));
    fields.extend(more);
    if platform == Platform::Switch {
        // What it is there for, and no setting.
        fields.shift_remove("ent_cat");
    }
    (key, Component { platform, fields })
}

/// What tells a control from those of other kinds.
fn kind(device: &Device, control: &Control, clamp: Option<u8>) -> (Platform, Map<String, Value>) {
    match control.kind {
        ControlKind::Press { command } => (Platform::Button, object([("pl_prs", json!(command))])),
        ControlKind::Relay => {
            let topic = |topic: Topic| json!(topic.to_string());
            let name = || device.name.to_string();
            let more = object([
                ("cmd_t", topic(Topic::Order(Some(name()), Leaf::Switch))),
                ("stat_t", topic(Topic::Meter(name(), MeterState::Switch))),
                ("pl_on", json!("on")),
                ("pl_off", json!("off")),
                ("stat_on", json!("true")),
                ("stat_off", json!("false")),
                ("dev_cla", json!("outlet")),
            ]);
            (Platform::Switch, more)
        }
        ControlKind::Number { setting, min, max, unit } => {
            // Out of range it would be logged as an error over there.
            let fits = format!("v is number and v >= {min} and v <= {max}");
            let mut more = told(device, setting, clamp, "value", &fits);
            more.extend(object([
                ("cmd_tpl", json!(set(setting, clamp, "{{ value|int }}"))),
                ("min", json!(min)),
                ("max", json!(max)),
                ("mode", json!("box")),
            ]));
            more.extend(unit.map(|unit| ("unit_of_meas".to_owned(), json!(unit))));
            (Platform::Number, more)
        }
        ControlKind::Choice { setting, options } => {
            let fits = format!("v in {}", json!(options));
            let mut more = told(device, setting, clamp, "name", &fits);
            more.extend(object([
                ("cmd_tpl", json!(set(setting, clamp, "\"{{ value }}\""))),
                ("ops", json!(options)),
            ]));
            (Platform::Select, more)
        }
    }
}

/// The command that sets it; `value` is a template that renders JSON.
fn set(setting: &str, clamp: Option<u8>, value: &str) -> String {
    let channel = clamp.map_or_else(String::new, |n| format!(",\"channel\":{n}"));
    format!("{{\"cmd\":\"set\",\"setting\":\"{setting}\"{channel},\"value\":{value}}}")
}

/// Where its value is told: `key` of the replies that are about this setting, if it `fits`. All
/// others give nothing, which changes nothing.
fn told(
    device: &Device,
    setting: &str,
    clamp: Option<u8>,
    key: &str,
    fits: &str,
) -> Map<String, Value> {
    let channel =
        clamp.map_or_else(String::new, |n| format!(" and value_json.channel|default(0) == {n}"));
    let template = format!(
        "{{% set v = value_json.{key}|default('') %}}\
         {{{{ v if value_json.setting|default('') == '{setting}'{channel} and {fits} else '' }}}}"
    );
    let topic = Topic::Meter(device.name.to_string(), MeterState::Info).to_string();
    object([("stat_t", json!(topic)), ("val_tpl", json!(template))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DeviceId, Make, Model};

    #[test]
    fn a_relay_is_a_switch_and_no_setting() {
        let device = Device {
            id: DeviceId::derive(Make::Smartmeter, "powermeter27"),
            make: Make::Smartmeter,
            model: Model::Powermeter,
            serial: "powermeter27".into(),
            name: "plug".into(),
            adopted: false,
            new: false,
            sensors: Vec::new(),
            own: None,
        };
        let all = components(&device);
        let [(key, relay)] = &all[..] else { panic!("{all:?}") };
        assert_eq!((key.as_str(), relay.platform), ("relay", Platform::Switch));
        let fields = Value::Object(relay.fields.clone());
        assert_eq!(fields["cmd_t"], "powermeter/plug/switch");
        assert_eq!(fields["stat_t"], "powermeter/plug/state/switch");
        assert_eq!((&fields["pl_on"], &fields["stat_on"]), (&json!("on"), &json!("true")));
        assert!(fields.get("ent_cat").is_none());
    }
}
