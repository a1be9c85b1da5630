//! The shared run: its readings give the published messages and the final store byte for byte.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use meter_protocols::flukso::tmpo;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::*;
use crate::history::Tail;
use crate::topic::Topic;

fn captures() -> &'static Path {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/protocols/tests/captures/flukso/tmpo-synthetic"
    ))
}

fn json(name: &str) -> Json {
    serde_json::from_slice(&std::fs::read(captures().join(name)).unwrap()).unwrap()
}

fn lines(name: &str) -> Vec<Json> {
    let text = std::fs::read_to_string(captures().join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The meter of the run, and the place of each sensor.
fn meter() -> (Arc<Device>, HashMap<String, u16>) {
    let config = json("sensors.json")["config"].clone();
    let (mut sensors, mut places) = (Vec::new(), HashMap::new());
    for (id, section) in config.as_object().unwrap() {
        let record = match section["data_type"].as_str().unwrap() {
            "gauge" => Recorded::Gauge,
            _ => Recorded::Counter,
        };
        let rid = section["rid"].as_u64().unwrap() as u32;
        places.insert(id.clone(), sensors.len() as u16);
        sensors.push(sensor(id.parse().unwrap(), record, rid, section.to_string()));
    }
    (device(sensors), places)
}

/// The run: readings and ticks in their order, a kill after each tick if wanted.
fn run(kills: bool) -> (Bench, Vec<(i64, Published)>) {
    let about = json("sensors.json");
    let (grace, begin, last) = (
        about["grace"].as_i64().unwrap(),
        about["window_start"].as_i64().unwrap(),
        about["last_tick"].as_i64().unwrap(),
    );
    let (device, places) = meter();
    let mut bench = Bench::new(grace);
    let mut readings = lines("readings.jsonl").into_iter().peekable();
    let mut published = Vec::new();
    let (mut tick, mut arrived) = (begin + grace, begin);
    while tick <= last {
        while let Some(reading) =
            readings.next_if(|one| one[1].as_i64().unwrap().max(arrived) < tick)
        {
            let (at, value) = (reading[1].as_i64().unwrap(), reading[2].as_f64().unwrap());
            arrived = arrived.max(at);
            let place = places[reading[0].as_str().unwrap()];
            bench.push(&device, place, at, Milli::from_f64(value).unwrap().0, true, arrived);
        }
        published.extend(bench.tick(tick).into_iter().map(|block| (tick, block)));
        if kills && (tick / 256) % 7 == 0 {
            bench.kill(tick);
        }
        tick += 256;
    }
    assert!(readings.next().is_none(), "a reading was never pushed");
    (bench, published)
}

#[test]
fn the_shared_run_is_published_byte_for_byte() {
    let (_bench, published) = run(false);
    let expected = lines("published.jsonl");
    for (one, (at, block)) in expected.iter().zip(&published) {
        let BlockKey { sensor, rid, level, bid } = block.key;
        let topic = Topic::Tmpo { sensor, rid, level, begin: bid }.to_string();
        let text = String::from_utf8(tmpo::unpack(&block.gzip).unwrap()).unwrap();
        assert_eq!((one["at"].as_i64(), one["topic"].as_str()), (Some(*at), Some(&*topic)));
        assert_eq!(one["json"].as_str(), Some(&*text), "{topic}");
    }
    assert_eq!(published.len(), expected.len());
}

#[test]
fn the_shared_run_leaves_the_same_store_also_with_kills_on_the_way() {
    for kills in [false, true] {
        let (bench, _) = run(kills);
        let mut stored = BTreeMap::new();
        for id in json("sensors.json")["config"].as_object().unwrap().keys() {
            let sensor: SensorId = id.parse().unwrap();
            for key in bench.history.sync(sensor, Tail::default()).unwrap() {
                let gzip = bench.history.block(&key).unwrap().unwrap();
                let path = format!("{id}/{}/{}/{}.gz", key.rid, key.level, key.bid);
                let expected = std::fs::read(captures().join("store").join(&path)).unwrap();
                assert_eq!(tmpo::unpack(&gzip), tmpo::unpack(&expected), "{path}");
                stored.insert(path, points(&gzip).len());
            }
        }
        let expected = json("expected_store.json");
        let expected: BTreeMap<String, usize> = expected
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                let sid = one["sid"].as_str().unwrap();
                let path = format!("{sid}/{}/{}/{}.gz", one["rid"], one["lvl"], one["bid"]);
                (path, one["points"].as_u64().unwrap() as usize)
            })
            .collect();
        assert_eq!(stored, expected, "kills: {kills}");
    }
}

#[test]
fn the_shared_run_gives_its_series_and_answers_sync() {
    let (bench, _) = run(false);
    let text = std::fs::read(captures().join("expected_series.json")).unwrap();
    let expected: HashMap<String, HashMap<String, Box<RawValue>>> =
        serde_json::from_slice(&text).unwrap();
    for (id, one) in expected {
        let list: Vec<(i64, f64)> = serde_json::from_str(one["series"].get()).unwrap();
        let list: Vec<(i64, i64)> =
            list.iter().map(|(at, value)| (*at, Milli::from_f64(*value).unwrap().0)).collect();
        let sensor = id.parse().unwrap();
        assert_eq!(series(&bench.history, sensor), list, "{id}");
        let last = list.last().map(|(at, milli)| (*at, Milli(*milli)));
        assert_eq!(bench.history.latest(sensor).unwrap(), last);
    }
    let expected = json("expected_sync.json");
    let sensor = expected["sid"].as_str().unwrap().parse().unwrap();
    for case in expected["cases"].as_array().unwrap() {
        let number = |name: &str| case[name].as_i64().unwrap();
        let (rid, level) = (number("rid") as u32, number("lvl") as u8);
        let told = bench.history.sync(sensor, Tail { rid, level, bid: number("bid") }).unwrap();
        let told: Vec<Json> = told
            .iter()
            .map(|key| serde_json::json!({"rid": key.rid, "lvl": key.level, "bid": key.bid, "ext": "gz"}))
            .collect();
        assert_eq!(Json::from(told), case["answer"], "{case}");
    }
}
