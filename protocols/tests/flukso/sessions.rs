//! Every line of the recorded sessions, and random input.

use std::path::Path;

use meter_protocols::flukso::document::{self, Class, DataType, Section};
use meter_protocols::flukso::payload::Reading;
use meter_protocols::flukso::topic::{Document, Topic};
use proptest::prelude::*;
use serde_json::Value;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/flukso/mqtt").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// Topics and payloads of a session.
fn session(name: &str) -> Vec<(String, String)> {
    let lines = read(name);
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (text(&line, "topic"), text(&line, "payload"))).collect()
}

fn sections(name: &str) -> Vec<Section> {
    let all = session(name);
    let document = all.iter().find(|(topic, _)| topic.ends_with("/config/sensor")).unwrap();
    document::sensors(&document::object(document.1.as_bytes()).unwrap())
}

#[test]
fn every_reading_of_both_generations_is_read_to_the_number() {
    for (name, expected) in [("flm02b.jsonl", 9), ("flm03e.jsonl", 17)] {
        let mut count = 0;
        for (topic, payload) in session(name) {
            if !matches!(Topic::parse(&topic), Some(Topic::Gauge(_) | Topic::Counter(_))) {
                continue;
            }
            let reading = Reading::read(payload.as_bytes()).unwrap();
            let json: Value = serde_json::from_str(&payload).unwrap();
            assert_eq!(Some(reading.time), json[0].as_i64());
            assert_eq!(reading.milli, (json[1].as_f64().unwrap() * 1000.0).round() as i64);
            assert_eq!(Some(reading.unit), json[2].as_str());
            count += 1;
        }
        assert_eq!(count, expected, "{name}");
    }
}

#[test]
fn what_a_strict_reader_refuses_is_refused() {
    let flm02b = sections("flm02b.jsonl");
    let reasons: Vec<Value> = serde_json::from_str(&read("bad.reasons.json")).unwrap();
    assert_eq!(reasons.len(), read("bad.sub-v.txt").lines().count());
    for reason in reasons {
        let line = reason["line"].as_str().unwrap();
        let (topic, payload) = line.split_once(' ').unwrap();
        let refused = match Topic::parse(topic) {
            None => true,
            Some(Topic::Config(_, _)) => document::object(payload.as_bytes()).is_err(),
            Some(Topic::Gauge(id)) => match Reading::read(payload.as_bytes()) {
                Err(_) => true,
                // Known as wrong only by the one who knows the sensor.
                Ok(reading) => {
                    let of = flm02b.iter().find(|one| one.id == id).unwrap();
                    of.kind.as_deref() == Some("electricity") && reading.unit != "W"
                }
            },
            Some(_) => false,
        };
        assert!(refused, "{line}: {}", reason["why"]);
    }
}

#[test]
fn an_flm02_is_understood() {
    let all = sections("flm02b.jsonl");
    let enabled: Vec<&Section> = all.iter().filter(|one| one.enabled).collect();
    let classes: Vec<_> = enabled.iter().map(|one| one.class.unwrap()).collect();
    use Class::{Analog, Cosem, Kube, Pulse};
    assert_eq!(classes, [Analog, Pulse, Pulse, Pulse, Cosem, Kube]);
    let cosem = enabled[4];
    assert_eq!((cosem.number, cosem.ports.len()), (7, 0));
    assert_eq!(cosem.function.as_deref(), Some("smart-main"));
    assert!(cosem.header().contains(r#""port":"ttyS0","protocol":"dlms","obis":["1-0:1.8.1*255""#));
    let kube = enabled[5];
    assert_eq!((kube.kid, kube.rid, kube.data_type), (Some(1), 2, DataType::Gauge));
    assert_eq!(all.len(), 9, "provisioned ones and those out of use as well");
}

#[test]
fn an_flm03_is_understood() {
    let all = sections("flm03e.jsonl");
    let enabled: Vec<&Section> = all.iter().filter(|one| one.enabled).collect();
    assert_eq!((all.len(), enabled.len()), (49, 24));
    assert_eq!(enabled[0].subtype.as_deref(), Some("pplus"));
    assert!(!enabled[3].tmpo, "q2 is not recorded");
    let session = session("flm03e.jsonl");
    let of = |document| {
        let is_it = |topic: &str| matches!(Topic::parse(topic), Some(Topic::Config(_, one)) if one == document);
        let payload = &session.iter().find(|(topic, _)| is_it(topic)).unwrap().1;
        document::places(&document::object(payload.as_bytes()).unwrap())
    };
    assert_eq!(of(Document::Flx)[&1].name.as_deref(), Some("phase 1"));
    assert_eq!(of(Document::Flx)[&7].class.as_deref(), Some("uart"));
    assert_eq!(of(Document::Kube)[&1].name.as_deref(), Some("attic"));
}

proptest! {
    #[test]
    fn a_reading_that_was_written_reads_back(
        time in 1_234_567_890_i64..99_999_999_999,
        milli in -4_000_000_000_000_000_i64..4_000_000_000_000_000,
    ) {
        let (whole, fraction) = (milli.unsigned_abs() / 1000, milli.unsigned_abs() % 1000);
        let sign = if milli < 0 { "-" } else { "" };
        let text = format!("[{time}, {sign}{whole}.{fraction:03}, \"W\"]");
        let reading = Reading::read(text.as_bytes()).unwrap();
        prop_assert_eq!((reading.time, reading.milli, reading.unit), (time, milli, "W"));
        // What the device made of a value, floor and positive fraction, is undone.
        let floor = milli.div_euclid(1000);
        let text = format!("[{time}, {floor}.{:03}, \"W\"]", milli.rem_euclid(1000));
        if floor != 0 {
            prop_assert_eq!(Reading::read(text.as_bytes()).unwrap().clamp_milli(), milli);
        }
    }

    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "\\PC*") {
        for input in [&bytes[..], text.as_bytes()] {
            let _ = Reading::read(input).map(|reading| reading.clamp_milli());
            if let Ok(object) = document::object(input) {
                document::sensors(&object).iter().for_each(|one| drop(one.header()));
                document::places(&object);
            }
            document::tap(input);
        }
        if let Some(topic) = Topic::parse(&text) {
            prop_assert_eq!(topic.to_string(), text);
        }
    }
}
