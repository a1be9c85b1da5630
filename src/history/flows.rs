//! What a counter did span by span, minute by minute of its source, as Flukso's server keeps it: what
//! is too fast to be true and what lies between readings too far apart is not known.
//!
//! Summaries tell it wherever no minute of a quarter can have been too fast. The others are unpacked,
//! block by block, so that what is in memory does not grow with what is asked for.

use std::cell::OnceCell;

use meter_protocols::flukso::tmpo::{Block, Point};

use super::buckets::neighbourhood;
use super::cells::{Cell, Cells, Shape, share};
use super::query::{Place, View};
use super::summary::{QUARTER, Summary, quarters};
use super::{History, HistoryError};
use crate::model::{Milli, SensorId};

/// What a counter is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Readings further apart, in seconds, leave what lies between them unknown.
    pub gap: i64,
    /// A minute in which the counter went further per second, up or down, is unknown.
    pub rate: Milli,
}

/// What is known of a counter over one span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    /// By how much it rose in the seconds that are known.
    pub change: Milli,
    /// How many of the span's seconds those are.
    pub known: u64,
}

impl Flow {
    fn add(&mut self, other: Flow) {
        self.change = Milli(self.change.0.saturating_add(other.change.0));
        self.known += other.known;
    }
}

impl History {
    /// What is known of the newest source's counter between each two neighbours of `bounds` (Unix
    /// seconds, rising); nothing of gauges. Between two readings a counter moves evenly. Blocking.
    ///
    /// # Errors
    /// When the file fails.
    pub fn flows(
        &self,
        sensor: SensorId,
        bounds: &[i64],
        limits: Limits,
    ) -> Result<Vec<Flow>, HistoryError> {
        let unknown = || vec![Flow::default(); bounds.len().saturating_sub(1)];
        let rid = self.rids(sensor)?.pop();
        let (Some(rid), [from, .., to]) = (rid, bounds) else { return Ok(unknown()) };
        let fresh = OnceCell::new();
        let open = |open: &super::Open| {
            let blocks = open.sources.get(&(sensor, rid)).map_or(&[][..], Vec::as_slice);
            let parts: Vec<Part> = blocks.iter().filter_map(Part::open).collect();
            // Set once: this runs once.
            let _ = fresh.set(parts);
        };
        let stored = |view: &View<'_>| {
            let mut parts = fresh.get().cloned().unwrap_or_default();
            for place in neighbourhood(view, rid, *from, *to)? {
                let summary = view.summary(place.id)?;
                parts.extend(summary.map(|summary| Part { summary, from: Kept::Stored(place) }));
            }
            parts.sort_by_key(|part| part.summary.head.at);
            told(view, &Groups::of(parts), bounds, limits)
        };
        let (flows, ()) = self.view(sensor, stored, open)?;
        Ok(flows.unwrap_or_else(unknown))
    }
}

/// A block in short, and where its readings are.
#[derive(Debug, Clone)]
struct Part {
    summary: Summary,
    from: Kept,
}

#[derive(Debug, Clone)]
enum Kept {
    Stored(Place),
    Open(Vec<Point>),
}

impl Part {
    fn open(block: &super::open::OpenBlock) -> Option<Part> {
        let points = block.points();
        let summary = Summary::of(block.shape, &points)?;
        Some(Part { summary, from: Kept::Open(points) })
    }
}

/// Blocks in the order of time; those that lie in each other, because something came late, together.
struct Groups(Vec<Group>);

struct Group {
    head: Point,
    tail: Point,
    parts: Vec<Part>,
}

impl Groups {
    /// `parts`: in the order of their first readings.
    fn of(parts: Vec<Part>) -> Groups {
        let mut groups: Vec<Group> = Vec::new();
        for part in parts {
            let (head, tail) = (part.summary.head, part.summary.tail);
            match groups.last_mut().filter(|group| group.tail.at >= head.at) {
                Some(group) => {
                    group.tail = if tail.at > group.tail.at { tail } else { group.tail };
                    group.parts.push(part);
                }
                None => groups.push(Group { head, tail, parts: vec![part] }),
            }
        }
        Groups(groups)
    }

    fn shape(&self) -> Option<Shape> {
        self.0.last()?.parts.last().map(|part| part.summary.shape)
    }

    /// Where there are readings, as far as quarters go.
    fn extent(&self) -> Option<(i64, i64)> {
        let (first, last) = (self.0.first()?.head.at, self.0.last()?.tail.at);
        Some((first - first.rem_euclid(QUARTER), last - last.rem_euclid(QUARTER) + QUARTER))
    }
}

impl Group {
    fn points(&self, view: &View<'_>) -> rusqlite::Result<Vec<Point>> {
        let mut points = Vec::new();
        for part in &self.parts {
            points = match &part.from {
                Kept::Open(fresh) => super::plan::union(&points, fresh),
                Kept::Stored(place) => match Block::from_gzip(&view.body(place.id)?) {
                    Ok(block) if points.is_empty() => block.into_points(),
                    Ok(block) => super::plan::union(&points, block.points()),
                    Err(_) => points,
                },
            };
        }
        Ok(points)
    }
}

/// `None`: nothing is known at all.
fn told(
    view: &View<'_>,
    groups: &Groups,
    bounds: &[i64],
    limits: Limits,
) -> rusqlite::Result<Option<Vec<Flow>>> {
    let (Some(shape), Some(extent)) =
        (groups.shape().filter(|shape| shape.counter), groups.extent())
    else {
        return Ok(None);
    };
    let ([from, .., to], true) = (bounds, bounds.iter().all(|bound| bound % QUARTER == 0)) else {
        let flows = vec![None; bounds.len().saturating_sub(1)];
        let mut sieve = Sieve::new(shape, bounds, flows, limits);
        sieve.unpack(view, groups)?;
        return Ok(Some(sieve.finish()));
    };
    let (from, to) = ((*from).max(extent.0), (*to).min(extent.1));
    if from >= to {
        return Ok(None);
    }
    let fine = quarters(from, to);
    let flows = in_short(groups, shape, &fine, limits);
    let suspicious = flows.iter().any(Option::is_none);
    let mut sieve = Sieve::new(shape, &fine, flows, limits);
    if suspicious {
        sieve.unpack(view, groups)?;
    }
    let flows = sieve.finish();
    let place =
        |bound: i64| usize::try_from((bound - from) / QUARTER).unwrap_or(0).min(flows.len());
    let folded = bounds.windows(2).map(|span| {
        let mut sum = Flow::default();
        let part = flows.get(place(span[0])..place(span[1])).unwrap_or_default();
        part.iter().for_each(|flow| sum.add(*flow));
        sum
    });
    Ok(Some(folded.collect()))
}

/// What summaries tell of each quarter; `None` where the readings themselves have to be looked at.
fn in_short(groups: &Groups, shape: Shape, fine: &[i64], limits: Limits) -> Vec<Option<Flow>> {
    let mut between = Cells::new(shape, fine);
    for pair in groups.0.windows(2) {
        if pair[1].head.at - pair[0].tail.at <= limits.gap {
            between.between(pair[0].tail, pair[1].head);
        }
    }
    let mut cells = between.cells;
    let mut mixed = vec![false; cells.len()];
    let from = fine.first().copied().unwrap_or(0);
    for group in &groups.0 {
        for part in &group.parts {
            let offset = (part.summary.begin() - from) / QUARTER;
            for (cell, place) in part.summary.quarters.iter().zip(offset..) {
                let Ok(place) = usize::try_from(place) else { continue };
                if let (Some(sum), Some(mixed)) = (cells.get_mut(place), mixed.get_mut(place)) {
                    *mixed |= group.parts.len() > 1;
                    sum.add(cell);
                }
            }
        }
    }
    let flow = |(cell, mixed): (&Cell, bool)| {
        let known = Flow { change: Milli(cell.change), known: u64::from(cell.covered) };
        (!mixed && !can_be_too_fast(cell, shape, limits.rate.0)).then_some(known)
    };
    cells.iter().zip(mixed).map(flow).collect()
}

/// Whether a minute of this quarter can have been faster than `rate`, thousandths a second.
fn can_be_too_fast(cell: &Cell, shape: Shape, rate: i64) -> bool {
    let Some(steepest) = cell.steepest else { return false };
    // No minute moves further than its quarter; where some of that is not known, it may be a short one.
    let least = if i64::from(cell.covered) >= QUARTER { MINUTE } else { 1 };
    let enough = i128::from(rate) * i128::from(least);
    let up_at_most = i128::from(steepest.max(0)) * i128::from(cell.covered) / 3600;
    if !shape.falls {
        return i128::from(steepest) > i128::from(rate) * 3600 && i128::from(cell.change) > enough;
    }
    let fast = i128::from(steepest) > i128::from(rate) * 3600 && up_at_most > enough;
    // How far down it went is what it went up less what remained of that.
    fast || up_at_most - i128::from(cell.change) > enough
}

/// Puts readings together to minutes, and believable minutes to spans.
struct Sieve<'a> {
    shape: Shape,
    bounds: &'a [i64],
    /// Of each span what is known already, or `None` where minutes are to be summed.
    told: Vec<Option<Flow>>,
    sums: Vec<Flow>,
    limits: Limits,
    /// The minute that readings are at: its span, its begin, what it came to so far.
    minute: Option<(usize, i64, Flow)>,
}

impl<'a> Sieve<'a> {
    fn new(shape: Shape, bounds: &'a [i64], told: Vec<Option<Flow>>, limits: Limits) -> Self {
        let sums = vec![Flow::default(); told.len()];
        Sieve { shape, bounds, told, sums, limits, minute: None }
    }

    fn unpack(&mut self, view: &View<'_>, groups: &Groups) -> rusqlite::Result<()> {
        let mut before: Option<Point> = None;
        for group in &groups.0 {
            if let Some(before) = before
                && group.head.at - before.at <= self.limits.gap
            {
                self.between(before, group.head);
            }
            if self.wanted(group.head.at, group.tail.at).next().is_some() {
                let points = group.points(view)?;
                points.windows(2).for_each(|pair| self.between(pair[0], pair[1]));
            }
            before = Some(group.tail);
        }
        Ok(())
    }

    /// The spans with a part of this one whose minutes are to be summed.
    fn wanted(&self, from: i64, to: i64) -> impl Iterator<Item = usize> + use<> {
        let first = self.bounds.partition_point(|bound| *bound <= from).saturating_sub(1);
        let end = self.bounds.partition_point(|bound| *bound < to).min(self.told.len());
        let told = self.told.get(first..end.max(first)).unwrap_or_default();
        let wanted = told.iter().zip(first..).filter(|(told, _)| told.is_none());
        wanted.map(|(_, place)| place).collect::<Vec<_>>().into_iter()
    }

    /// Two readings that follow each other.
    fn between(&mut self, before: Point, after: Point) {
        let length = after.at - before.at;
        let mut change = after.milli.saturating_sub(before.milli);
        if change < 0 && !self.shape.falls {
            change = 0;
        }
        let reached = |at: i64| share(change, at - before.at, length);
        for span in self.wanted(before.at, after.at) {
            let (begin, end) =
                (self.bounds[span].max(before.at), self.bounds[span + 1].min(after.at));
            let mut at = begin;
            while at < end {
                let minute = at - at.rem_euclid(MINUTE);
                let next = (minute + MINUTE).min(end);
                let change = Milli(reached(next) - reached(at));
                self.count(span, minute, Flow { change, known: (next - at).unsigned_abs() });
                at = next;
            }
        }
    }

    fn count(&mut self, span: usize, minute: i64, flow: Flow) {
        match &mut self.minute {
            Some((in_span, at, sum)) if (*in_span, *at) == (span, minute) => sum.add(flow),
            _ => {
                self.settle();
                self.minute = Some((span, minute, flow));
            }
        }
    }

    /// A minute is over.
    fn settle(&mut self) {
        let Some((span, _, flow)) = self.minute.take() else { return };
        let most = i128::from(self.limits.rate.0) * i128::from(flow.known);
        let believed = i128::from(flow.change.0.unsigned_abs()) <= most;
        if let Some(sum) = self.sums.get_mut(span).filter(|_| believed) {
            sum.add(flow);
        }
    }

    fn finish(mut self) -> Vec<Flow> {
        self.settle();
        self.told.iter().zip(&self.sums).map(|(told, sum)| told.unwrap_or(*sum)).collect()
    }
}

const MINUTE: i64 = 60;
