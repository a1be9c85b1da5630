//! What a query over months needs of a block, without unpacking it: its first and last reading,
//! and what is known of each quarter of an hour between them.
//!
//! Quarters, because every local day and hour begins with one, whatever its offset from UTC.

use meter_protocols::flukso::tmpo::Point;

use super::cells::{Cell, Cells, Shape};
use super::varint::{put, put_signed, take, take_signed};

/// The seconds of a quarter of an hour.
pub(super) const QUARTER: i64 = 900;

/// A block in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) shape: Shape,
    pub(super) head: Point,
    pub(super) tail: Point,
    /// From the quarter that has the first reading to that of the last.
    pub(super) quarters: Vec<Cell>,
}

impl Summary {
    /// Of readings in their order; of none, nothing.
    pub(super) fn of(shape: Shape, points: &[Point]) -> Option<Summary> {
        let (head, tail) = (*points.first()?, *points.last()?);
        let bounds = quarters(head.at, tail.at + 1);
        let mut cells = Cells::new(shape, &bounds);
        cells.series(points);
        Some(Summary { shape, head, tail, quarters: cells.cells })
    }

    /// Where its first quarter begins, Unix seconds.
    pub(super) fn begin(&self) -> i64 {
        self.head.at - self.head.at.rem_euclid(QUARTER)
    }

    /// As it is stored.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + self.quarters.len() * 8);
        let flags = u8::from(self.shape.counter) | u8::from(self.shape.falls) << 1;
        bytes.extend([VERSION, flags]);
        put_signed(&mut bytes, self.head.at);
        put_signed(&mut bytes, self.head.milli);
        put_signed(&mut bytes, self.tail.at - self.head.at);
        put_signed(&mut bytes, self.tail.milli.wrapping_sub(self.head.milli));
        put(&mut bytes, self.quarters.len() as u64);
        let mut before = (0_i64, 0_i64);
        for cell in &self.quarters {
            let apart = cell.known != cell.covered;
            let flags = u64::from(cell.peak.is_some())
                | u64::from(apart) << 1
                | u64::from(cell.steepest.is_some()) << 2;
            put(&mut bytes, u64::from((QUARTER as u32).saturating_sub(cell.covered)) << 3 | flags);
            if apart {
                put(&mut bytes, u64::from(cell.known));
            }
            put_signed(&mut bytes, if self.shape.counter { cell.change } else { cell.integral });
            if let Some(peak) = cell.peak {
                put_signed(&mut bytes, peak.wrapping_sub(before.0));
                before.0 = peak;
            }
            if let Some(steepest) = cell.steepest {
                put_signed(&mut bytes, steepest.wrapping_sub(before.1));
                before.1 = steepest;
            }
        }
        bytes
    }

    /// What kind of readings it is of, which every version has told in the same place.
    pub(super) fn shape(bytes: &[u8]) -> Option<Shape> {
        let flags = bytes.get(1)?;
        Some(Shape { counter: flags & 1 != 0, falls: flags & 2 != 0 })
    }

    /// Reads what was stored; `None` when it is damaged, or of another version.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Summary> {
        let bytes = &mut bytes;
        let (version, flags) = (take(bytes)?, take(bytes)?);
        if version != u64::from(VERSION) {
            return None;
        }
        let shape = Shape { counter: flags & 1 != 0, falls: flags & 2 != 0 };
        let head = Point { at: take_signed(bytes)?, milli: take_signed(bytes)? };
        let at = head.at.checked_add(take_signed(bytes)?)?;
        let tail = Point { at, milli: head.milli.wrapping_add(take_signed(bytes)?) };
        let count = take(bytes)?;
        if count > MOST_QUARTERS {
            return None;
        }
        let mut quarters = Vec::with_capacity(count as usize);
        let mut before = (0_i64, 0_i64);
        for _ in 0..count {
            quarters.push(decode_cell(bytes, shape, &mut before)?);
        }
        Some(Summary { shape, head, tail, quarters })
    }
}

fn decode_cell(bytes: &mut &[u8], shape: Shape, before: &mut (i64, i64)) -> Option<Cell> {
    let first = take(bytes)?;
    let mut cell = Cell::default();
    cell.covered = (QUARTER as u32).saturating_sub(u32::try_from(first >> 3).ok()?);
    cell.known = cell.covered;
    if first & 2 != 0 {
        cell.known = u32::try_from(take(bytes)?).ok()?;
    }
    let value = take_signed(bytes)?;
    if shape.counter {
        cell.change = value;
    } else {
        cell.integral = value;
    }
    if first & 1 != 0 {
        before.0 = before.0.wrapping_add(take_signed(bytes)?);
        cell.peak = Some(before.0);
    }
    if first & 4 != 0 {
        before.1 = before.1.wrapping_add(take_signed(bytes)?);
        cell.steepest = Some(before.1);
    }
    Some(cell)
}

/// The bounds of all quarters that have a part of this span: one more than there are quarters.
pub(super) fn quarters(from: i64, to: i64) -> Vec<i64> {
    let begin = from - from.rem_euclid(QUARTER);
    let mut bounds = vec![begin];
    let mut at = begin;
    while at < to {
        at += QUARTER;
        bounds.push(at);
    }
    bounds
}

const VERSION: u8 = 2;
/// A block of 2^20 s touches 1,167 quarters at most.
const MOST_QUARTERS: u64 = 1200;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_summary_comes_back(
            counter: bool,
            falls: bool,
            begin in 0_i64..4_000_000_000,
            steps in prop::collection::vec((1_i64..9000, -100_000_i64..100_000), 1..40),
        ) {
            let (mut at, mut milli) = (begin, 0);
            let points: Vec<Point> = steps.iter().map(|(step, change)| {
                at += step;
                milli += change;
                Point { at, milli }
            }).collect();
            let summary = Summary::of(Shape { counter, falls }, &points).unwrap();
            prop_assert_eq!(Summary::decode(&summary.encode()), Some(summary.clone()));
            let bytes = summary.encode();
            prop_assert_eq!(Summary::decode(&bytes[..bytes.len() - 1]), None);
        }

        #[test]
        fn damage_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Summary::decode(&[&[VERSION], &bytes[..]].concat());
        }
    }
}
