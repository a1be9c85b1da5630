//! The rules themselves: a good message passes, and each wrong thing is refused.

use serde_json::{Value, json};

use crate::assistant::PREFIX;
use crate::rules::replay::{Event, Replay};
use crate::rules::{Taken, judge};

const TOPIC: &str = "homeassistant/device/abc/config";

fn good() -> Value {
    json!({
        "dev": {"ids": ["abc"], "name": "house"},
        "o": {"name": "meterbridge"},
        "avty": [{"t": "a/b"}, {"t": "c"}],
        "avty_mode": "all",
        "cmps": {
            "ch1_energy": {
                "p": "sensor", "uniq_id": "abc_ch1_energy", "stat_t": "x", "dev_cla": "energy",
                "stat_cla": "total_increasing", "unit_of_meas": "kWh",
                "val_tpl": "{{ value_json.e|default('') }}",
            },
            "poll": {"p": "button", "uniq_id": "abc_poll", "cmd_t": "y", "ret": false},
        },
    })
}

fn complaints(change: impl FnOnce(&mut Value)) -> String {
    let mut message = good();
    change(&mut message);
    match judge(PREFIX, TOPIC, &message.to_string()) {
        Ok(taken) => panic!("taken: {taken:?}"),
        Err(complaints) => complaints.join("; "),
    }
}

#[test]
fn a_good_message_makes_its_entities() {
    let Ok(Taken::Entities { entities, removed }) = judge(PREFIX, TOPIC, &good().to_string())
    else {
        panic!()
    };
    assert_eq!((entities.len(), removed.len()), (2, 0));
    assert_eq!(entities[0].config["device"]["identifiers"], json!(["abc"]));
    assert_eq!(entities[0].config["availability_mode"], "all");
    let mut gone = good();
    gone["cmps"]["poll"] = json!({"p": "button"});
    let Ok(Taken::Entities { removed, .. }) = judge(PREFIX, TOPIC, &gone.to_string()) else {
        panic!()
    };
    assert_eq!(removed, [("button".to_owned(), "poll".to_owned())]);
}

#[test]
fn each_wrong_thing_is_refused() {
    type Change = (&'static str, fn(&mut Value));
    let wrong: &[Change] = &[
        ("unknown key color", |m| m["color"] = json!(1)),
        ("unknown key via", |m| m["dev"]["via"] = json!("x")),
        ("unknown key mf", |m| m["o"]["mf"] = json!("x")),
        ("~ at the root", |m| m["~"] = json!("a")),
        ("unknown key child_devices", |m| m["cdevs"] = json!([])),
        ("no key obj_id", |m| m["cmps"]["poll"]["obj_id"] = json!("poll")),
        ("no key object_id", |m| m["cmps"]["poll"]["object_id"] = json!("poll")),
        ("has no platform", |m| drop(m["cmps"]["poll"].as_object_mut().unwrap().remove("p"))),
        ("unique_id is missing", |m| {
            drop(m["cmps"]["poll"].as_object_mut().unwrap().remove("uniq_id"));
        }),
        ("exclude each other", |m| m["avty_t"] = json!("a")),
        ("loses the entity", |m| m["cmps"]["poll"]["avty_t"] = json!("a")),
        ("category \"config\"", |m| m["cmps"]["ch1_energy"]["ent_cat"] = json!("config")),
        ("category \"x\"", |m| m["cmps"]["poll"]["ent_cat"] = json!("x")),
        ("energy cannot be a", |m| m["cmps"]["ch1_energy"]["stat_cla"] = json!("measurement")),
        ("energy cannot be in", |m| m["cmps"]["ch1_energy"]["unit_of_meas"] = json!("W")),
        ("energy cannot be in None", |m| {
            drop(m["cmps"]["ch1_energy"].as_object_mut().unwrap().remove("unit_of_meas"));
        }),
        ("however old", |m| m["cmps"]["ch1_energy"]["exp_aft"] = json!(60)),
        ("an old power must expire", |m| {
            m["cmps"]["ch1_energy"]["dev_cla"] = json!("power");
            m["cmps"]["ch1_energy"]["stat_cla"] = json!("measurement");
            m["cmps"]["ch1_energy"]["unit_of_meas"] = json!("W");
        }),
        ("no state_class", |m| m["cmps"]["ch1_energy"]["stat_cla"] = json!("rising")),
        ("device_class juice", |m| m["cmps"]["ch1_energy"]["dev_cla"] = json!("juice")),
        ("carried out again", |m| m["cmps"]["poll"]["ret"] = json!(true)),
        ("command_topic is missing", |m| {
            drop(m["cmps"]["poll"].as_object_mut().unwrap().remove("cmd_t"));
        }),
        ("state_topic is no topic", |m| m["cmps"]["ch1_energy"]["stat_t"] = json!("a/#")),
        ("unknown key q", |m| m["avty"][0]["q"] = json!(1)),
        ("no good topic", |m| m["avty"][0]["t"] = json!("")),
        ("must all hold", |m| m["avty_mode"] = json!("any")),
        ("no availability_mode", |m| m["avty_mode"] = json!("most")),
        ("makes nothing", |m| m["cmps"] = json!({})),
        ("device is missing", |m| drop(m.as_object_mut().unwrap().remove("dev"))),
        ("nothing to know it by", |m| m["dev"]["ids"] = json!([])),
        ("origin is missing", |m| drop(m.as_object_mut().unwrap().remove("o"))),
        ("value_template", |m| m["cmps"]["ch1_energy"]["val_tpl"] = json!("{{ value_json.")),
        ("characters", |m| {
            let poll = m["cmps"]["poll"].clone();
            m["cmps"]["po ll"] = poll;
        }),
        ("twice", |m| m["device"] = json!({"ids": ["x"]})),
        ("no platform is called", |m| m["cmps"]["poll"]["p"] = json!("knob")),
    ];
    for (words, change) in wrong {
        let found = complaints(change);
        assert!(found.contains(words), "{words:?} is not in {found:?}");
    }
}

#[test]
fn topics_have_few_characters() {
    for topic in [
        "homeassistant/device/a b/config",
        "homeassistant/device/ä/config",
        "homeassistant/device/a.b/config",
        "homeassistant/device//config",
        "homeassistant/device/config",
        "homeassistant/sensor/a/b/c/config",
        "homeassistant/knob/a/b/config",
        "other/device/a/config",
    ] {
        assert!(judge(PREFIX, topic, &good().to_string()).is_err(), "{topic}");
    }
    assert!(judge(PREFIX, TOPIC, "no json").is_err());
    assert!(judge(PREFIX, TOPIC, r#"{"migrate_discovery": true, "x": 1}"#).is_err());
    assert_eq!(judge(PREFIX, TOPIC, r#"{"migrate_discovery": true}"#), Ok(Taken::Migrating));
}

fn published(topic: &str, payload: impl ToString) -> Event {
    Event::Published { topic: topic.to_owned(), payload: payload.to_string() }
}

fn single(id: &str) -> Value {
    json!({
        "unique_id": id, "state_topic": "x", "state_class": "measurement", "name": "a",
        "device": {"identifiers": ["abc"]}, "origin": {"name": "meterbridge"},
    })
}

/// One entity that moves to the device form, with the changes of `events` given.
fn moving(events: &[Event]) -> Vec<String> {
    let mut replay = Replay::new(PREFIX);
    replay.take(&published("homeassistant/sensor/abc/ch1_energy/config", single("abc_ch1_energy")));
    replay.take_all(events);
    replay.complaints().to_vec()
}

#[test]
fn only_the_one_order_moves_an_entity() {
    let old = "homeassistant/sensor/abc/ch1_energy/config";
    let migrate = || published(old, r#"{"migrate_discovery": true}"#);
    let (device, clear) = (|| published(TOPIC, good()), || published(old, ""));
    assert_eq!(moving(&[migrate(), device(), Event::Birth, clear()]), [""; 0]);
    let early = moving(&[migrate(), device(), clear(), Event::Birth]);
    assert!(early[0].contains("too early"), "{early:?}");
    let before = moving(&[migrate(), Event::Birth, clear(), device()]);
    assert!(before[0].contains("too early"), "{before:?}");
    let unsaid = moving(&[device()]);
    assert!(unsaid[0].contains("announced twice"), "{unsaid:?}");
    let renamed = moving(&[published(old, single("abc_other"))]);
    assert!(renamed[0].contains("is abc_other now"), "{renamed:?}");
    let doubled =
        moving(&[published("homeassistant/sensor/abc/x/config", single("abc_ch1_energy"))]);
    assert!(doubled[0].contains("announced twice"), "{doubled:?}");
}
