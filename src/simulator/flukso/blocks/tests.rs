use std::sync::Arc;

use meter_protocols::flukso::tmpo;

use super::*;
use crate::simulator::flukso::Generation;
use crate::simulator::house::House;

/// A multiple of 2^20.
const NOON: i64 = 1702 << 20;

fn meter(generation: Generation) -> Fluksometer {
    Fluksometer::new(0, generation, Arc::new(House::new(1)), 1, (NOON, 86_400))
}

/// Head and tail, times and values as a reader adds them up.
fn series(text: &str) -> Vec<(i64, f64)> {
    let block: serde_json::Value = serde_json::from_str(text).unwrap();
    let list = |key: &str| -> Vec<f64> {
        block[key].as_array().unwrap().iter().map(|one| one.as_f64().unwrap()).collect()
    };
    let (mut at, mut value) =
        (block["h"]["head"][0].as_f64().unwrap(), block["h"]["head"][1].as_f64().unwrap());
    let steps = list("t").into_iter().zip(list("v"));
    steps
        .map(|(time, step)| {
            (at, value) = (at + time, ((value + step) * 1000.0).round() / 1000.0);
            (at as i64, value)
        })
        .collect()
}

#[test]
fn what_is_stored_covers_all_that_is_closed_once() {
    let begin = (NOON - 3 * 65_536) >> 16 << 16;
    for closed in (begin..NOON + 70_000).step_by(256 * 7) {
        let mut at = begin;
        let mut level = 20;
        for window in stored(begin, closed) {
            assert!(window.bid <= at && window.bid % (1 << window.level) == 0, "{window:?}");
            assert!(window.level <= level, "large ones come first");
            (at, level) = (window.end(), window.level);
        }
        assert_eq!(at, closed, "all of it");
    }
}

#[test]
fn flushes_one_by_one_leave_what_is_stored() {
    let meter = meter(Generation::Flm02);
    let sensor = meter.sensors.iter().position(|sensor| sensor.recorded).unwrap();
    let mut closed = meter.begin;
    let mut kept: Vec<Window> = Vec::new();
    while closed < NOON + 5000 {
        let next = closed + 256;
        for block in flushed(&meter, closed, next) {
            if block.sensor == sensor {
                kept.retain(|child| {
                    child.bid < block.window.bid || child.end() > block.window.end()
                });
                kept.push(block.window);
            }
        }
        closed = next;
    }
    assert_eq!(kept, stored(meter.begin, closed));
}

#[test]
fn a_block_says_what_the_sensor_measured_and_a_large_one_the_same_as_its_parts() {
    for generation in [Generation::Flm02, Generation::Flm03] {
        let meter = meter(generation);
        for sensor in 0..meter.sensors.len() {
            let large = Block { sensor, window: Window::at(12, NOON - 1) };
            let part = |n: i64| Window { level: 8, bid: large.window.bid + (n << 8) };
            let parts = (0..16).filter_map(|n| text(&meter, Block { sensor, window: part(n) }));
            let parts: Vec<(i64, f64)> = parts.flat_map(|text| series(&text)).collect();
            let whole = text(&meter, large).map(|text| series(&text)).unwrap_or_default();
            assert_eq!(whole, parts, "{:?}", meter.sensors[sensor]);
            assert!(whole.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }
}

#[test]
fn the_text_has_its_order_and_no_blank() {
    let meter = meter(Generation::Flm02);
    let block = Block { sensor: 0, window: Window::at(8, NOON - 1) };
    let text = text(&meter, block).unwrap();
    let id = &meter.sensors[0].id;
    let begin = format!(
        "{{\"h\":{{\"cfg\":{{\"id\":\"{id}\",\"class\":\"analog\",\"type\":\"electricity\",\
         \"function\":\"main\",\"port\":[1],\"voltage\":230,\"current\":50,\
         \"data_type\":\"counter\",\"rid\":0}},\"head\":["
    );
    assert!(text.starts_with(&begin), "{text}");
    assert!(text.contains("],\"vsn\":1},\"t\":[0,") && text.contains("],\"v\":[0,"), "{text}");
    let packed = packed(&text);
    assert_eq!(packed[..10], [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 2, 3]);
    assert_eq!(tmpo::unpack(&packed).unwrap(), text.as_bytes());
}

#[test]
fn who_asks_gets_what_ends_later_than_what_he_has() {
    let meter = meter(Generation::Flm02);
    let (closed, id) = (NOON + 4096 + 512, meter.sensors[0].id.clone());
    let ask = |rid: u32, lvl: u32, bid: i64| {
        let list = format!("[{{\"sid\":\"{id}\",\"rid\":{rid},\"lvl\":{lvl},\"bid\":{bid}}}]");
        let blocks = newer(&meter, closed, list.as_bytes()).unwrap();
        blocks.into_iter().map(|block| block.window).collect::<Vec<_>>()
    };
    assert_eq!(ask(0, 0, 0), stored(meter.begin, closed));
    assert_eq!(ask(1, 0, 0), []);
    let small = |n: i64| Window { level: 8, bid: NOON + 4096 + n * 256 };
    // Of the same tail, a larger one is not newer.
    assert_eq!(ask(0, 8, NOON + 4096 - 256), [small(0), small(1)]);
    assert_eq!(ask(0, 8, small(0).bid), [small(1)]);
    assert_eq!(ask(0, 8, small(1).bid), []);
    assert!(newer(&meter, closed, b"{}").is_err());
    let stranger = br#"[{"sid":"00","rid":0,"lvl":0,"bid":0}]"#;
    assert_eq!(newer(&meter, closed, stranger).unwrap(), []);
}

#[test]
fn a_query_gets_what_may_hold_its_span() {
    let meter = meter(Generation::Flm02);
    let (closed, id) = (NOON + 1024, meter.sensors[0].id.clone());
    let ask = |from, to| -> Vec<i64> {
        between(&meter, closed, &id, from, to).iter().map(|block| block.window.bid).collect()
    };
    assert_eq!(ask(NOON + 10, NOON + 300), [NOON, NOON + 256]);
    assert_eq!(ask(NOON + 100_000, NOON + 100_010), [NOON + 768], "the last one where none fits");
    assert_eq!(between(&meter, closed, "00", NOON, NOON + 10), []);
}
