//! A meter as a [`Document`]: which entities it has, and what of them has gone.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::classes::{self, Entity, Of};
use super::document::{Component, Document, Platform};
use super::{BRIDGE, controls};
use crate::model::{Channel, Device, Role, Sensor, is_clamp};
use crate::topic::{BridgeTopic, MeterState, Topic};

/// What a meter has said since the gateway started: the gauge, counter and count of each sensor,
/// by its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen(Vec<[bool; 3]>);

impl Seen {
    /// Nothing of so many sensors.
    pub(super) fn none(sensors: usize) -> Seen {
        Seen(vec![[false; 3]; sensors])
    }

    /// Notes a value; answers whether it is the first.
    pub(super) fn note(&mut self, place: usize, of: Of) -> bool {
        let Some(seen) = self.0.get_mut(place) else { return false };
        !std::mem::replace(&mut seen[of as usize], true)
    }

    fn has(&self, place: usize, of: Of) -> bool {
        self.0.get(place).is_some_and(|seen| seen[of as usize])
    }
}

/// The meter with everything that it has said, and what it was known to have before.
///
/// `silence`: seconds without a word after which a power is worth nothing.
pub(super) fn meter(
    device: &Device,
    seen: &Seen,
    before: Option<&Document>,
    silence: u64,
) -> Document {
    let name = &*device.name;
    let id = device.id.to_string();
    let known = |key: &str| before.is_some_and(|before| before.components.contains_key(key));
    let mut components = BTreeMap::new();
    for (place, sensor) in device.sensors.iter().enumerate() {
        for entity in classes::entities(sensor) {
            let key = format!("{}_{}", sensor.channel, entity.field);
            if seen.has(place, entity.of) || known(&key) {
                let component = component(&id, name, &key, sensor, &entity, silence);
                components.insert(key, component);
            }
        }
    }
    if has_balance(device) {
        components.insert(BALANCE.to_owned(), balance(&id, name, silence));
    }
    components.extend(controls::components(device));
    let mut document = Document {
        dev: about(device, &id),
        available: [Topic::Bridge(BridgeTopic::State), state(name, MeterState::Availability)]
            .map(|topic| topic.to_string())
            .to_vec(),
        components,
        removed: BTreeMap::new(),
    };
    if let Some(before) = before {
        carry_over(&mut document, before, device);
    }
    document
}

/// Keeps what the meter is not known to lack: a probe that was pulled out may come back, and an
/// entity that Home Assistant is told to remove loses what its user has set. What a channel cannot
/// be any more, as it is configured now, goes.
fn carry_over(document: &mut Document, before: &Document, device: &Device) {
    for (key, component) in &before.components {
        if document.components.contains_key(key) {
            continue;
        }
        if is_gone(key, device) {
            document.removed.insert(key.clone(), component.platform);
        } else {
            let mut component = component.clone();
            let topic = state(&device.name, MeterState::Channels).to_string();
            component.fields.insert("stat_t".to_owned(), json!(topic));
            document.components.insert(key.clone(), component);
        }
    }
    for (key, platform) in &before.removed {
        if !document.components.contains_key(key) {
            document.removed.insert(key.clone(), *platform);
        }
    }
}

fn is_gone(key: &str, device: &Device) -> bool {
    let of = |channel: Channel| key.strip_prefix(&format!("{channel}_"));
    let channel = device.sensors.iter().find_map(|sensor| {
        of(sensor.channel)
            .filter(|field| classes::fields(sensor.channel).contains(field))
            .map(|field| (sensor, field))
    });
    match channel {
        // The meter tells the direction of energy in some of its formats only.
        Some((sensor, "energy_export")) => !sensor.role.counts_both_ways(),
        Some((_, "total")) => true,
        Some((sensor, "power" | "flow")) => matches!(sensor.channel, Channel::Pulse(_)),
        // It has had such values, and nothing but time has passed.
        Some(_) => false,
        // A probe is a channel as long as it is plugged in. All else has gone for good: another model
        // in the meter's place, or something that is offered no more.
        None => !is_probe(key),
    }
}

fn is_probe(key: &str) -> bool {
    let Some((channel, field)) = key.split_once('_') else { return false };
    channel.parse().is_ok_and(|channel| {
        matches!(channel, Channel::T(_)) && classes::fields(channel).contains(&field)
    })
}

fn about(device: &Device, id: &str) -> Map<String, Value> {
    let model = device.model.title();
    let (maker, model) = model.split_once(' ').unwrap_or(("", model));
    object([
        ("ids", json!([id])),
        ("name", json!(*device.name)),
        ("mf", json!(maker)),
        ("mdl", json!(model)),
        ("sn", json!(*device.serial)),
        ("via_device", json!(BRIDGE)),
    ])
}

fn component(
    id: &str,
    meter: &str,
    key: &str,
    sensor: &Sensor,
    entity: &Entity,
    silence: u64,
) -> Component {
    let path = format!("(value_json.{}|default({{}})).{}", sensor.channel, entity.field);
    let template = if entity.negated {
        format!("{{% set v = {path}|default('') %}}{{{{ v if v == '' else 0 - v }}}}")
    } else {
        format!("{{{{ {path}|default('') }}}}")
    };
    let mut fields = object([
        ("uniq_id", json!(format!("{id}_{key}"))),
        ("name", json!(label(sensor, entity))),
        ("stat_t", json!(state(meter, MeterState::Channels).to_string())),
        ("val_tpl", json!(template)),
        ("stat_cla", json!(entity.state_class)),
    ]);
    let mut add = |key: &str, value: Value| drop(fields.insert(key.to_owned(), value));
    if let Some(class) = entity.device_class {
        add("dev_cla", json!(class));
    }
    if let Some(unit) = entity.unit {
        add("unit_of_meas", json!(unit));
    }
    add("sug_dsp_prc", json!(entity.decimals));
    if entity.diagnostic {
        add("ent_cat", json!("diagnostic"));
    }
    if entity.expires {
        add("exp_aft", json!(silence));
    }
    Component { platform: Platform::Sensor, fields }
}

/// The channel's name with what is measured; the line has no name of its own.
fn label(sensor: &Sensor, entity: &Entity) -> String {
    if sensor.channel == Channel::Line {
        let mut name = entity.name.to_owned();
        name[..1].make_ascii_uppercase();
        return name;
    }
    format!("{} {}", sensor.name, entity.name)
}

/// Whether what comes in can be held against what the loads take.
fn has_balance(device: &Device) -> bool {
    let has = |role: Role| device.sensors.iter().any(|one| one.role == role && is_clamp(one));
    has(Role::Grid) && has(Role::Load)
}

/// The key of the entity that shows the balance.
const BALANCE: &str = "balance";

fn balance(id: &str, meter: &str, silence: u64) -> Component {
    let fields = object([
        ("uniq_id", json!(format!("{id}_{BALANCE}"))),
        ("name", json!("Balance")),
        ("stat_t", json!(state(meter, MeterState::Balance).to_string())),
        ("val_tpl", json!("{{ value_json.difference|default('') }}")),
        ("dev_cla", json!("power")),
        ("stat_cla", json!("measurement")),
        ("unit_of_meas", json!("W")),
        ("sug_dsp_prc", json!(0)),
        ("ent_cat", json!("diagnostic")),
        ("exp_aft", json!(silence)),
    ]);
    Component { platform: Platform::Sensor, fields }
}

fn state(meter: &str, state: MeterState) -> Topic {
    Topic::Meter(meter.to_owned(), state)
}

/// A JSON object of these.
pub(super) fn object<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
