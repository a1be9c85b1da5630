use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value as Json;

use super::live::Message;
use super::recent::Recent;
use super::value::Value;
use super::*;

/// About noon, so that there is sun.
const NOON: i64 = 1_795_262_400;

fn live(generation: Generation, manners: FluksoManners) -> Live {
    let house = Arc::new(House::new(1));
    let meter = Fluksometer::new(0, generation, house, 1, (NOON, 86_400));
    Live::new(Arc::new(meter), manners, NOON)
}

fn both() -> [Live; 2] {
    [Generation::Flm02, Generation::Flm03]
        .map(|generation| live(generation, FluksoManners::default()))
}

fn run(live: &mut Live, seconds: i64) -> Vec<Message> {
    let first = NOON + 1;
    (first..first + seconds).flat_map(|now| live.tick(now).0).collect()
}

/// Time, number as text, unit.
fn parts(message: &Message) -> (i64, String, String) {
    let text = String::from_utf8(message.payload.clone()).unwrap();
    let fields: Vec<&str> =
        text.trim_start_matches('[').trim_end_matches(']').split(',').map(str::trim).collect();
    let [at, value, unit] = fields[..] else { panic!("{text}") };
    (at.parse().unwrap(), value.to_owned(), unit.trim_matches('"').to_owned())
}

#[test]
fn a_device_says_who_it_is_first_and_asks_what_is_known() {
    let ends = both().map(|mut live| {
        let id = live.meter.id.clone();
        let messages = live.start();
        assert!(messages.iter().all(|message| message.retain != message.topic.ends_with("sync")));
        let end = |message: Message| message.topic.replace(&format!("/device/{id}/"), "");
        messages.into_iter().map(end).collect::<Vec<_>>()
    });
    assert_eq!(ends[0], ["config/kube", "config/sensor", "tmpo/sync"]);
    let all = ["config/flx", "config/kube", "config/sensor", "test/tap", "tmpo/sync"];
    assert_eq!(ends[1], all);
}

#[test]
fn documents_are_objects_of_objects_with_the_slots_of_the_generation() {
    for (mut live, slots) in both().into_iter().zip([64, 128]) {
        let start = live.start();
        let find = |end: &str| start.iter().find(|one| one.topic.ends_with(end)).unwrap();
        for end in ["config/sensor", "config/kube"] {
            let document: Json = serde_json::from_slice(&find(end).payload).unwrap();
            assert!(document.as_object().unwrap().values().all(Json::is_object));
        }
        let document: Json = serde_json::from_slice(&find("config/sensor").payload).unwrap();
        let ids: HashSet<&str> =
            document.as_object().unwrap().values().filter_map(|one| one["id"].as_str()).collect();
        assert_eq!(ids.len(), slots);
        assert!(live.meter.sensors.iter().all(|sensor| ids.contains(sensor.id.as_str())));
    }
}

#[test]
fn each_generation_has_its_grammar_and_its_retain_flags() {
    let [mut second, mut third] = both();
    for message in run(&mut second, 61) {
        let (_, value, _) = parts(&message);
        assert!(message.retain, "{message:?}");
        assert!(!message.payload.contains(&b' ') && !value.ends_with(".0"), "{message:?}");
    }
    let mut topics = HashSet::new();
    for message in run(&mut third, 61) {
        if message.topic.starts_with("/device/") {
            assert!(!message.retain);
            topics.insert(message.topic.rsplit_once("/flx/").unwrap().1.to_owned());
            continue;
        }
        let id = message.topic.split('/').nth(2).unwrap();
        let is_radio = matches!(third.meter.sensor(id).unwrap().source, source::Source::Kube(_));
        assert_eq!(message.retain, is_radio);
        assert_eq!(
            message.payload.iter().filter(|byte| **byte == b' ').count(),
            if is_radio { 0 } else { 2 }
        );
        let (_, value, _) = parts(&message);
        if !is_radio {
            assert!(value.split_once('.').is_none_or(|(_, rest)| rest.len() == 3), "{message:?}");
        }
    }
    let all = ["voltage/1", "current/1", "current/2", "time"];
    assert_eq!(topics, all.map(str::to_owned).into());
}

#[test]
fn the_angle_of_a_clamp_is_negative_and_written_as_the_daemon_writes_it() {
    let [_, mut third] = both();
    let messages = run(&mut third, 5);
    let angle = messages.iter().map(parts).find(|(_, _, unit)| unit == "°").unwrap();
    let (whole, rest) = angle.1.split_once('.').unwrap();
    let truth = whole.parse::<f64>().unwrap() + format!("0.{rest}").parse::<f64>().unwrap();
    assert!((-18.0..=-14.0).contains(&truth), "{angle:?}");
}

#[test]
fn times_rise_and_counters_do_not_fall_but_for_the_net_of_the_port() {
    for mut live in both() {
        let mut before: HashMap<String, (i64, f64)> = HashMap::new();
        let messages = run(&mut live, 600);
        for message in messages.iter().filter(|one| one.topic.starts_with("/sensor/")) {
            let (at, value, _) = parts(message);
            let value: f64 = value.parse().unwrap();
            let last = before.insert(message.topic.clone(), (at, value));
            let Some((time, number)) = last else { continue };
            assert!(at > time, "{message:?}");
            let id = message.topic.split('/').nth(2).unwrap();
            let is_net = live.meter.sensor(id).unwrap().source == source::Source::Net;
            if message.topic.ends_with("/counter") && !is_net {
                assert!(value >= number, "{message:?}");
            }
        }
        assert!(before.len() >= 12, "{before:?}");
    }
}

#[test]
fn pulses_give_both_and_the_first_after_a_start_is_a_reference() {
    let [mut second, _] = both();
    let solar = second.meter.sensors.iter().find(|one| one.cfg.contains("\"solar\"")).unwrap();
    let begin = format!("/sensor/{}/", solar.id);
    let house = House::new(1);
    let messages = run(&mut second, 30);
    let of_it: Vec<&Message> =
        messages.iter().filter(|one| one.topic.starts_with(&begin)).collect();
    let gauges = of_it.iter().filter(|one| one.topic.ends_with("gauge"));
    let counters = of_it.iter().filter(|one| one.topic.ends_with("counter")).count();
    assert!(counters > 20, "{counters}");
    assert_eq!(gauges.clone().count(), counters);
    for gauge in gauges {
        let (at, value, unit) = parts(gauge);
        let difference = value.parse::<f64>().unwrap() + house.solar(at as f64).watts;
        assert!(difference.abs() < 40.0 && unit == "W", "{gauge:?} {difference}");
    }
}

#[test]
fn what_is_published_is_what_is_recorded() {
    for mut live in both() {
        let messages = run(&mut live, 300);
        let meter = Arc::clone(&live.meter);
        for sensor in meter.sensors.iter().filter(|sensor| sensor.recorded) {
            let topic = format!("/sensor/{}/{}", sensor.id, sensor.data_type());
            let read = |message: &Message| {
                let (at, value, _) = parts(message);
                (at, (value.parse::<f64>().unwrap() * 1000.0).round() as i64)
            };
            let heard: Vec<(i64, i64)> =
                messages.iter().filter(|one| one.topic == topic).map(read).collect();
            let kept = meter.recorded(sensor, NOON + 2, NOON + 300);
            // An FLM02 does not publish the first counter after its start.
            let heard: Vec<_> =
                heard.into_iter().filter(|one| (NOON + 2..NOON + 300).contains(&one.0)).collect();
            let missing = kept.len() - heard.len();
            assert!(missing <= 1 && kept.ends_with(&heard), "{topic}: {kept:?} {heard:?}");
        }
    }
}

#[test]
fn closed_windows_are_published_after_their_grace() {
    let [mut second, _] = both();
    let window = NOON >> 8 << 8;
    let (mut now, mut blocks) = (NOON, Vec::new());
    while blocks.is_empty() {
        now += 1;
        blocks = second.tick(now).1;
    }
    let late = now - (window + 256);
    assert!((4..20).contains(&late), "{late}");
    let recorded = second.meter.sensors.iter().filter(|sensor| sensor.recorded).count();
    assert!(blocks.len() >= recorded);
    assert!(blocks.iter().all(|block| block.window.bid <= window));
}

#[test]
fn manners_show() {
    let of = |manners| live(Generation::Flm02, manners);
    let mut repeats = of(FluksoManners { repeats: true, ..FluksoManners::default() });
    let messages = run(&mut repeats, 20);
    let times: Vec<i64> = messages
        .iter()
        .filter(|one| one.topic == messages[0].topic)
        .map(|message| parts(message).0)
        .collect();
    assert!(times.windows(2).any(|pair| pair[0] == pair[1]), "{times:?}");
    assert!(times.windows(2).any(|pair| pair[0] > pair[1]), "{times:?}");

    let silence = Duration::from_secs(60);
    let mut silent = of(FluksoManners { silence, ..FluksoManners::default() });
    assert_eq!(run(&mut silent, 20), []);

    let text = "{\"h\":{},\"t\":[0],\"v\":[0]}";
    for turn in 0..3 {
        assert_ne!(manners::broken(text, turn), blocks::packed(text));
    }
}

#[test]
fn the_last_minute_is_filled_backwards_and_ends_in_nothing() {
    let mut recent = Recent::default();
    assert_eq!(recent.body("solar", 100), "[]");
    recent.add("solar", 100, Value::Plain(347_000));
    recent.add("solar", 103, Value::gauge(289.9));
    let body = "[[100,347],[101,289],[102,289],[103,289],[104,\"nan\"],[105,\"nan\"]]";
    assert_eq!(recent.body("solar", 105), body);
    let later: Json = serde_json::from_str(&recent.body("solar", 162)).unwrap();
    assert_eq!(later.as_array().unwrap().len(), 60);
    assert_eq!(later[0].to_string(), "[103,289]");
    let nothing: Json = serde_json::from_str(&recent.body("solar", 1000)).unwrap();
    assert!(nothing.as_array().unwrap().iter().all(|pair| pair[1] == "nan"));
}
