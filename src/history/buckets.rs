//! What was counted, the mean and the peak, span by span: from summaries where the spans are made
//! of quarters of an hour, as days and hours are, else from the readings.

use meter_protocols::flukso::tmpo::{Block, Point};

use super::cells::{Cell, Cells, Shape};
use super::query::{Place, View};
use super::summary::{QUARTER, Summary, quarters};
use super::{Bucket, History, HistoryError};
use crate::model::{Milli, SensorId};

/// What lies between readings, with the first of them.
struct Known {
    shape: Shape,
    cells: Vec<Cell>,
    /// The counter at the begin of the first cell, if it was read before; else at its first reading.
    start: Option<Point>,
}

impl History {
    /// What is known of each span between two neighbours of `bounds` (Unix seconds, rising). `rid`:
    /// which source; `None`: the newest. Blocking.
    ///
    /// Between two readings a counter is taken to move evenly, however far apart they are; a gauge
    /// stays as it was read, for an hour at most.
    ///
    /// # Errors
    /// When the file fails.
    pub fn buckets(
        &self,
        sensor: SensorId,
        rid: Option<u32>,
        bounds: &[i64],
    ) -> Result<Vec<Bucket>, HistoryError> {
        let rid = match rid {
            Some(rid) => Some(rid),
            None => self.rids(sensor)?.pop(),
        };
        let (Some(rid), [from, .., to]) = (rid, bounds) else {
            return Ok(empty(bounds));
        };
        let known = if bounds.iter().all(|bound| bound % QUARTER == 0) {
            self.of_quarters(sensor, rid, *from, *to)?
                .map(|(from, known)| fold(known, from, bounds))
        } else {
            self.of_readings(sensor, rid, bounds)?
        };
        Ok(known.map_or_else(|| empty(bounds), |known| told(&known, bounds)))
    }

    /// By summaries, quarter by quarter, and where the first quarter begins: no earlier than there
    /// are readings, and no quarter lies behind the last one, whatever was asked for.
    fn of_quarters(
        &self,
        sensor: SensorId,
        rid: u32,
        from: i64,
        to: i64,
    ) -> Result<Option<(i64, Known)>, HistoryError> {
        let stored = |view: &View<'_>| {
            let mut summaries = Vec::new();
            for place in neighbourhood(view, rid, from, to)? {
                summaries.extend(view.summary(place.id)?);
            }
            Ok(summaries)
        };
        let open = |open: &super::Open| -> Vec<Summary> {
            let blocks = open.sources.get(&(sensor, rid)).map_or(&[][..], Vec::as_slice);
            blocks.iter().filter_map(|one| Summary::of(one.shape, &one.points())).collect()
        };
        let (mut summaries, mut fresh) = self.view(sensor, stored, open)?;
        summaries.append(&mut fresh);
        summaries.sort_by_key(|summary| summary.head.at);
        let (Some(first), Some(last)) = (summaries.first(), summaries.last()) else {
            return Ok(None);
        };
        let shape = last.shape;
        let from = from.max(first.begin());
        let latest = summaries.iter().map(|summary| summary.tail.at).max().unwrap_or(from);
        let to = to.min(latest + QUARTER - latest.rem_euclid(QUARTER));
        if from >= to {
            return Ok(None);
        }
        if summaries.windows(2).any(|pair| pair[0].tail.at >= pair[1].head.at) {
            // Readings that came late lie between those of a stored block.
            let known = self.of_readings(sensor, rid, &quarters(from, to))?;
            return Ok(known.map(|known| (from, known)));
        }
        let bounds = quarters(from, to);
        let mut between = Cells::new(shape, &bounds);
        for pair in summaries.windows(2) {
            between.between(pair[0].tail, pair[1].head);
        }
        let mut cells = between.cells;
        let start = start_of(&summaries, from, to);
        for summary in &summaries {
            let offset = (summary.begin() - from) / QUARTER;
            for (cell, place) in summary.quarters.iter().zip(offset..) {
                let place = usize::try_from(place).ok();
                if let Some(sum) = place.and_then(|place| cells.get_mut(place)) {
                    sum.add(cell);
                }
            }
        }
        Ok(Some((from, Known { shape, cells, start })))
    }

    /// By the readings themselves, for spans of any length.
    fn of_readings(
        &self,
        sensor: SensorId,
        rid: u32,
        bounds: &[i64],
    ) -> Result<Option<Known>, HistoryError> {
        let (Some(from), Some(to)) = (bounds.first().copied(), bounds.last().copied()) else {
            return Ok(None);
        };
        let stored = |view: &View<'_>| {
            let (mut points, mut shape) = (Vec::new(), None);
            for place in neighbourhood(view, rid, from, to)? {
                let Some(summary) = view.summary(place.id)? else { continue };
                shape = Some(summary.shape);
                let (head, tail) = (summary.head, summary.tail);
                if tail.at < from || head.at > to {
                    // Of a neighbour only the reading that is nearest counts.
                    points =
                        super::plan::union(&points, &[if tail.at < from { tail } else { head }]);
                } else if let Ok(block) = Block::from_gzip(&view.body(place.id)?) {
                    points = super::plan::union(&points, block.points());
                }
            }
            Ok((points, shape))
        };
        let open = |open: &super::Open| {
            let blocks = open.sources.get(&(sensor, rid)).map_or(&[][..], Vec::as_slice);
            let points: Vec<Point> = blocks.iter().flat_map(|one| one.points()).collect();
            (points, blocks.last().map(|block| block.shape))
        };
        let ((stored, shape), (open, fresh)) = self.view(sensor, stored, open)?;
        let points = super::plan::union(&stored, &open);
        let Some(shape) = fresh.or(shape) else { return Ok(None) };
        let mut cells = Cells::new(shape, bounds);
        cells.series(&points);
        let place = points.partition_point(|point| point.at <= from);
        let start =
            match (place.checked_sub(1).and_then(|place| points.get(place)), points.get(place)) {
                (Some(before), Some(after)) => Some(between(shape, *before, *after, from)),
                (Some(before), None) => Some(*before).filter(|point| point.at == from),
                (None, Some(first)) => Some(*first).filter(|point| point.at < to),
                (None, None) => None,
            };
        Ok(Some(Known { shape, cells: cells.cells, start }))
    }
}

/// The blocks with a part of a span, the one before and the one behind.
pub(super) fn neighbourhood(
    view: &View<'_>,
    rid: u32,
    from: i64,
    to: i64,
) -> rusqlite::Result<Vec<Place>> {
    let all = view.blocks(rid, i64::MIN / 2, i64::MAX / 2)?;
    // Two more on each side: where blocks overlap, the nearest in the list may not be the nearest.
    let first = all.partition_point(|place| place.begin <= from).saturating_sub(2);
    let last = all.partition_point(|place| place.begin < to).saturating_add(1).min(all.len());
    Ok(all.get(first..last).unwrap_or_default().to_vec())
}

/// Where the counter stands at `from`: between the readings around it, or at the first behind it.
fn start_of(summaries: &[Summary], from: i64, to: i64) -> Option<Point> {
    let mut before: Option<&Summary> = None;
    for summary in summaries {
        if summary.head.at > from {
            return match before {
                Some(before) => Some(between(summary.shape, before.tail, summary.head, from)),
                None => Some(summary.head).filter(|head| head.at < to),
            };
        }
        if summary.tail.at >= from {
            let quarters = usize::try_from((from - summary.begin()) / QUARTER).unwrap_or(0);
            let counted: i64 = summary.quarters.iter().take(quarters).map(|cell| cell.change).sum();
            return Some(Point { at: from, milli: summary.head.milli.saturating_add(counted) });
        }
        before = Some(summary);
    }
    None
}

/// The counter at a moment between two readings, carried on over a reset.
fn between(shape: Shape, before: Point, after: Point, at: i64) -> Point {
    let bounds = [before.at, at.max(before.at)];
    let mut cells = Cells::new(shape, &bounds);
    cells.between(before, after);
    let change = cells.cells.first().map_or(0, |cell| cell.change);
    Point { at, milli: before.milli.saturating_add(change) }
}

/// Quarters to the spans asked for.
fn fold(known: Known, from: i64, bounds: &[i64]) -> Known {
    let place =
        |bound: i64| usize::try_from((bound - from) / QUARTER).unwrap_or(0).min(known.cells.len());
    let cells = bounds.windows(2).map(|span| {
        let mut sum = Cell::default();
        let quarters = known.cells.get(place(span[0])..place(span[1]));
        quarters.unwrap_or_default().iter().for_each(|cell| sum.add(cell));
        sum
    });
    Known { cells: cells.collect(), ..known }
}

fn told(known: &Known, bounds: &[i64]) -> Vec<Bucket> {
    let mut reached: Option<i64> = None;
    let spans = bounds.windows(2).zip(&known.cells);
    let bucket = |(span, cell): (&[i64], &Cell)| {
        let mut bucket = Bucket { from: span[0], to: span[1], ..Bucket::default() };
        if cell.is_empty() {
            return bucket;
        }
        let seconds = f64::from(cell.covered);
        if known.shape.counter {
            let begin = reached.or(known.start.map(|point| point.milli)).unwrap_or(0);
            let end = begin.saturating_add(cell.change);
            (bucket.begin, bucket.end) = (Some(Milli(begin)), Some(Milli(end)));
            reached = Some(end);
            bucket.mean = Some(cell.change as f64 * 3.6 / seconds);
        } else if cell.covered > 0 {
            bucket.mean = Some(cell.integral as f64 / 1000.0 / seconds);
        }
        bucket.peak = cell.peak.map(|peak| peak as f64 / 1000.0);
        if known.shape.counter && cell.covered >= 60 {
            // The span is a minute or more itself, and need not begin where a peak was looked for.
            bucket.peak = bucket.peak.into_iter().chain(bucket.mean).reduce(f64::max);
        }
        bucket.known = u64::from(cell.known);
        bucket
    };
    spans.map(bucket).collect()
}

fn empty(bounds: &[i64]) -> Vec<Bucket> {
    let spans = bounds.windows(2);
    spans.map(|span| Bucket { from: span[0], to: span[1], ..Bucket::default() }).collect()
}
