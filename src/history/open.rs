//! Blocks whose window is not over, or not yet written: readings in memory, in few bytes each.

use std::collections::HashMap;
use std::sync::Arc;

use meter_protocols::flukso::tmpo::{self, Point};

use super::cells::Shape;
use super::varint::{put, put_signed, take, take_signed};
use crate::model::SensorId;

/// Whose readings: the sensor and the recycle id of its source.
pub(super) type Source = (SensorId, u32);

/// All open blocks.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Of each source in the order of time; mostly one, around the end of a window two.
    pub(super) sources: HashMap<Source, Vec<OpenBlock>>,
}

/// The readings of one window of 256 s.
#[derive(Debug, Clone)]
pub(super) struct OpenBlock {
    /// Where the window begins.
    pub(super) begin: i64,
    /// The sensor's section when the window was opened.
    pub(super) config: Arc<str>,
    pub(super) shape: Shape,
    /// The first record of the journal that has a reading of it.
    pub(super) first: u64,
    /// When it may be written, by the clock.
    pub(super) due: i64,
    /// The last record that a stored block of the same window has regarded.
    pub(super) regarded: Option<u64>,
    head: Point,
    tail: Point,
    count: usize,
    /// Differences from reading to reading.
    steps: Vec<u8>,
}

/// What became of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    Taken,
    /// There is one of the same time, or a later one where only newer ones are taken.
    Dropped,
}

impl OpenBlock {
    pub(super) fn new(point: Point, config: Arc<str>, shape: Shape, first: u64) -> OpenBlock {
        let begin = tmpo::window(8, point.at);
        let steps = Vec::new();
        OpenBlock {
            begin,
            config,
            shape,
            first,
            due: 0,
            regarded: None,
            head: point,
            tail: point,
            count: 1,
            steps,
        }
    }

    /// Adds a reading newer than all.
    pub(super) fn push(&mut self, point: Point) -> Pushed {
        if point.at <= self.tail.at {
            return Pushed::Dropped;
        }
        put_step(&mut self.steps, self.tail, point);
        self.tail = point;
        self.count += 1;
        Pushed::Taken
    }

    /// Adds a reading wherever it belongs.
    pub(super) fn insert(&mut self, point: Point) -> Pushed {
        if point.at > self.tail.at {
            return self.push(point);
        }
        let mut points = self.points();
        let Err(place) = points.binary_search_by_key(&point.at, |point| point.at) else {
            return Pushed::Dropped;
        };
        points.insert(place, point);
        self.steps.clear();
        for pair in points.windows(2) {
            put_step(&mut self.steps, pair[0], pair[1]);
        }
        self.head = points[0];
        self.count = points.len();
        Pushed::Taken
    }

    pub(super) fn tail(&self) -> Point {
        self.tail
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The readings in their order.
    pub(super) fn points(&self) -> Vec<Point> {
        let mut points = Vec::with_capacity(self.count);
        let mut point = self.head;
        points.push(point);
        let mut steps = &self.steps[..];
        while let Some(step) = take(&mut steps) {
            let seconds = if step & 1 == 0 { 1 } else { take(&mut steps).unwrap_or(1) };
            let change = (step >> 2) as i64 ^ -((step >> 1 & 1) as i64);
            let change = if step == WIDE { take_signed(&mut steps).unwrap_or(0) } else { change };
            point.at += seconds as i64;
            point.milli = point.milli.wrapping_add(change);
            points.push(point);
        }
        points
    }
}

/// One second to the next reading is the rule, and takes no byte of its own.
fn put_step(bytes: &mut Vec<u8>, before: Point, after: Point) {
    let seconds = (after.at - before.at) as u64;
    let change = after.milli.wrapping_sub(before.milli);
    if change.unsigned_abs() >= 1 << 60 {
        put(bytes, WIDE);
        put(bytes, seconds);
        put_signed(bytes, change);
        return;
    }
    let zigzag = ((change << 1) ^ (change >> 63)) as u64;
    put(bytes, zigzag << 1 | u64::from(seconds != 1));
    if seconds != 1 {
        put(bytes, seconds);
    }
}

/// A change too large for the short form; odd, so that seconds follow.
const WIDE: u64 = u64::MAX;

impl Open {
    /// The block of this source that has `at`.
    pub(super) fn block(&mut self, source: Source, at: i64) -> Option<&mut OpenBlock> {
        let begin = tmpo::window(8, at);
        let blocks = self.sources.get_mut(&source)?;
        blocks.iter_mut().rev().find(|block| block.begin == begin)
    }

    /// Adds a block, in the order of time.
    pub(super) fn add(&mut self, source: Source, block: OpenBlock) {
        let blocks = self.sources.entry(source).or_default();
        let place = blocks.partition_point(|other| other.begin < block.begin);
        blocks.insert(place, block);
    }

    /// Lets go of written blocks.
    pub(super) fn remove(&mut self, source: Source, begins: &[i64]) {
        if let Some(blocks) = self.sources.get_mut(&source) {
            blocks.retain(|block| !begins.contains(&block.begin));
            if blocks.is_empty() {
                self.sources.remove(&source);
            }
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.sources.values().map(Vec::len).sum()
    }

    /// The readings of a source from `from` to `to`, both included.
    pub(super) fn points(&self, source: Source, from: i64, to: i64) -> Vec<Point> {
        let blocks = self.sources.get(&source).map_or(&[][..], Vec::as_slice);
        let overlapping = blocks.iter().filter(|block| block.begin <= to && block.tail.at >= from);
        let points = overlapping.flat_map(OpenBlock::points);
        points.filter(|point| (from..=to).contains(&point.at)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn readings_come_back_in_their_order(
            list in prop::collection::vec((1_000_192_i64..1_000_448, any::<i64>()), 1..80), sorted: bool,
        ) {
            let mut list: Vec<Point> =
                list.into_iter().map(|(at, milli)| Point { at, milli }).collect();
            if sorted {
                list.sort_by_key(|point| point.at);
            }
            let shape = Shape { counter: true, falls: false };
            let mut block = OpenBlock::new(list[0], "{}".into(), shape, 1);
            let mut expected = vec![list[0]];
            for point in &list[1..] {
                let known = expected.iter().any(|other| other.at == point.at);
                let pushed = block.insert(*point);
                prop_assert_eq!(pushed == Pushed::Dropped, known);
                if !known {
                    expected.push(*point);
                }
            }
            expected.sort_by_key(|point| point.at);
            prop_assert_eq!(block.count(), expected.len());
            prop_assert_eq!(block.points(), expected);
        }
    }
}
