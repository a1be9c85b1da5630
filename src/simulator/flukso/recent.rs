//! The last minute of every sensor's gauges, as the local API of a Fluksometer gives it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use super::value::Value;

/// Gauges by sensor and second; only those of the last minute matter.
#[derive(Debug, Default)]
pub(super) struct Recent(HashMap<String, Gauges>);

#[derive(Debug)]
struct Gauges {
    /// The very first since the start.
    first: i64,
    by_second: BTreeMap<i64, i64>,
}

impl Recent {
    pub(super) fn add(&mut self, sensor: &str, at: i64, value: Value) {
        let gauges = self
            .0
            .entry(sensor.to_owned())
            .or_insert_with(|| Gauges { first: at, by_second: BTreeMap::new() });
        gauges.by_second.insert(at, value.as_read().div_euclid(1000));
        gauges.by_second = gauges.by_second.split_off(&(at - MINUTE));
    }

    /// `[[t,v],…]` from a minute ago up to `now`: a gauge fills the gap before it, and after the last
    /// one all is `"nan"`. Empty when there was none since the start.
    pub(super) fn body(&self, sensor: &str, now: i64) -> String {
        let Some(gauges) = self.0.get(sensor) else { return "[]".to_owned() };
        let mut body = String::from("[");
        for at in gauges.first.max(now - MINUTE + 1)..=now {
            if body.len() > 1 {
                body.push(',');
            }
            // Writing to a String cannot fail.
            let _ = match gauges.by_second.range(at..).next() {
                Some((_, value)) => write!(body, "[{at},{value}]"),
                None => write!(body, "[{at},\"nan\"]"),
            };
        }
        body.push(']');
        body
    }
}

const MINUTE: i64 = 60;
