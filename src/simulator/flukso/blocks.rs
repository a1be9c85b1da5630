//! The history on a simulated Fluksometer: which blocks it has stored, and what it answers to those
//! who ask for them.
//!
//! A block is made when it is asked for: what a sensor measured is a function of the time, and which
//! blocks there are follows from the time up to which all of them are closed. So nothing is kept.

use std::fmt::Write as _;

use meter_protocols::flukso::tmpo;
use serde::Deserialize;

use super::meter::Fluksometer;

/// A window of a sensor's history: it covers 2^level seconds from `bid` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) level: u32,
    pub(super) bid: i64,
}

impl Window {
    fn at(level: u32, at: i64) -> Window {
        Window { level, bid: at >> level << level }
    }

    fn end(self) -> i64 {
        self.bid + (1 << self.level)
    }

    /// The last second of it.
    fn tail(self) -> i64 {
        self.end() - 1
    }
}

/// One block of one sensor, by its place in the device's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) sensor: usize,
    pub(super) window: Window,
}

/// The windows that are stored when all up to `closed` (a multiple of 256) are: as large as fits into
/// what is over. Higher levels come first, and so does what is older.
pub(super) fn stored(begin: i64, closed: i64) -> Vec<Window> {
    let mut windows = Vec::new();
    let mut at = begin;
    while at < closed {
        let fits = LEVELS.map(|level| Window::at(level, at)).into_iter();
        let Some(window) = fits.rev().find(|window| window.end() <= closed) else { break };
        windows.push(window);
        at = window.end();
    }
    windows
}

/// What a flush publishes when `closed` moves: the new small windows of all sensors, then for each
/// sensor what they are merged into.
pub(super) fn flushed(meter: &Fluksometer, before: i64, closed: i64) -> Vec<Block> {
    let news = |level: u32| {
        let first = (before >> level) + 1;
        let last = closed >> level;
        (first..=last).map(move |end| Window { level, bid: (end - 1) << level })
    };
    let recorded = || (0..meter.sensors.len()).filter(|place| meter.sensors[*place].recorded);
    let small = recorded().flat_map(|sensor| news(8).map(move |window| Block { sensor, window }));
    let merged = recorded().flat_map(|sensor| {
        [12, 16, 20].into_iter().flat_map(news).map(move |window| Block { sensor, window })
    });
    small.chain(merged).collect()
}

/// One entry of what somebody says to have.
#[derive(Debug, Deserialize)]
struct Known {
    sid: String,
    rid: u32,
    lvl: u32,
    bid: i64,
}

/// The blocks that are newer than what the asker has.
///
/// # Errors
/// When the payload is no list of entries.
pub(super) fn newer(
    meter: &Fluksometer,
    closed: i64,
    payload: &[u8],
) -> Result<Vec<Block>, serde_json::Error> {
    let known: Vec<Known> = serde_json::from_slice(payload)?;
    let mut blocks = Vec::new();
    for entry in known {
        let Some(sensor) = place(meter, &entry.sid) else { continue };
        if meter.sensors[sensor].rid < entry.rid {
            continue;
        }
        let tail = entry.bid.saturating_add((1 << entry.lvl.min(20)) - 1);
        let windows = stored(meter.begin, closed).into_iter();
        let newer = windows.filter(|window| window.tail() > tail);
        blocks.extend(newer.map(|window| Block { sensor, window }));
    }
    Ok(blocks)
}

/// The blocks that may hold something between `from` and `to`, as the add-on query daemon picks them.
pub(super) fn between(
    meter: &Fluksometer,
    closed: i64,
    sensor: &str,
    from: i64,
    to: i64,
) -> Vec<Block> {
    let Some(sensor) = place(meter, sensor) else { return Vec::new() };
    let windows = stored(meter.begin, closed);
    let above = windows.iter().position(|window| window.bid > from).unwrap_or(windows.len());
    let matching = |(place, window): (usize, &Window)| {
        let within = from <= window.bid && window.bid <= to;
        (within || place + 1 == above).then_some(*window)
    };
    let mut found: Vec<Window> = windows.iter().enumerate().filter_map(matching).collect();
    if found.is_empty() {
        found.extend(windows.last().copied());
    }
    found.into_iter().map(|window| Block { sensor, window }).collect()
}

fn place(meter: &Fluksometer, sensor: &str) -> Option<usize> {
    meter.sensors.iter().position(|one| one.id == sensor && one.recorded)
}

/// The block as text; `None`: there was nothing to record.
pub(super) fn text(meter: &Fluksometer, block: Block) -> Option<String> {
    let sensor = &meter.sensors[block.sensor];
    let readings = meter.recorded(sensor, block.window.bid, block.window.end());
    let (head, tail) = (readings.first()?, readings.last()?);
    let mut text = String::with_capacity(readings.len() * 8 + 300);
    // Writing to a String cannot fail.
    let _ = write!(text, "{{\"h\":{{\"cfg\":{},\"head\":[{},", sensor.cfg, head.0);
    number(&mut text, head.1);
    let _ = write!(text, "],\"tail\":[{},", tail.0);
    number(&mut text, tail.1);
    text.push_str("],\"vsn\":1},\"t\":[0");
    for pair in readings.windows(2) {
        let _ = write!(text, ",{}", pair[1].0 - pair[0].0);
    }
    text.push_str("],\"v\":[0");
    for pair in readings.windows(2) {
        text.push(',');
        number(&mut text, pair[1].1 - pair[0].1);
    }
    text.push_str("]}");
    Some(text)
}

/// Thousandths as a number without trailing zeros.
fn number(text: &mut String, thousandths: i64) {
    let _ = write!(text, "{}", super::value::Value::Plain(thousandths));
}

/// The text as the file that the device keeps.
pub(super) fn packed(text: &str) -> Vec<u8> {
    tmpo::pack(text.as_bytes())
}

/// Small to large.
const LEVELS: [u32; 4] = [8, 12, 16, 20];

#[cfg(test)]
mod tests;
