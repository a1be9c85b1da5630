//! What happened between two readings, shared out over spans of time.
//!
//! The same arithmetic makes a block's summary and the answer to a query, so that both agree to
//! the thousandth: a share is the difference of two rounded sums, and all shares add up.

use meter_protocols::flukso::tmpo::Point;

/// What kind of number a sensor's readings are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// A running total; otherwise what is now.
    pub(super) counter: bool,
    /// A total that may fall: a difference of two.
    pub(super) falls: bool,
}

/// What is known of one span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cell {
    /// How far the counter came, thousandths. A total that cannot fall and did is taken as one that
    /// began again: nothing was counted.
    pub(super) change: i64,
    /// Seconds that lie between two readings.
    pub(super) covered: u32,
    /// Seconds that lie between two readings at most [`GAP`] apart.
    pub(super) known: u32,
    /// The greatest: of gauges a reading, of counters the change per hour over a minute or more: in less,
    /// the steps of a counter would be taken for power. Thousandths.
    pub(super) peak: Option<i64>,
    /// Of counters: the greatest change per hour between two readings, which tells what cannot be true.
    pub(super) steepest: Option<i64>,
    /// Of gauges: thousandths times seconds.
    pub(super) integral: i64,
}

impl Cell {
    /// Puts what follows this in time beside it.
    pub(super) fn add(&mut self, other: &Cell) {
        self.change = self.change.saturating_add(other.change);
        self.covered += other.covered;
        self.known += other.known;
        self.peak = self.peak.max(other.peak);
        self.steepest = self.steepest.max(other.steepest);
        self.integral = self.integral.saturating_add(other.integral);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.covered == 0 && self.peak.is_none()
    }
}

/// Spans of time, one behind the other, and what is known of each.
#[derive(Debug)]
pub(super) struct Cells<'a> {
    shape: Shape,
    /// Where spans begin and end, Unix seconds, rising.
    bounds: &'a [i64],
    pub(super) cells: Vec<Cell>,
    run: Run,
}

/// What a counter did since the last peak was looked for.
#[derive(Debug, Default)]
struct Run {
    begin: i64,
    end: i64,
    change: i64,
}

impl<'a> Cells<'a> {
    pub(super) fn new(shape: Shape, bounds: &'a [i64]) -> Cells<'a> {
        let cells = vec![Cell::default(); bounds.len().saturating_sub(1)];
        Cells { shape, bounds, cells, run: Run::default() }
    }

    /// All that lies between these readings.
    pub(super) fn series(&mut self, points: &[Point]) {
        points.windows(2).for_each(|pair| self.between(pair[0], pair[1]));
        if let (false, Some(last)) = (self.shape.counter, points.last()) {
            self.momentary(*last);
        }
    }

    /// A gauge's reading, which was there at least at its moment.
    fn momentary(&mut self, point: Point) {
        let place = self.bounds.partition_point(|bound| *bound <= point.at);
        if let Some(cell) = place.checked_sub(1).and_then(|place| self.cells.get_mut(place)) {
            cell.peak = cell.peak.max(Some(point.milli));
        }
    }

    /// What lies between two readings that follow each other.
    pub(super) fn between(&mut self, before: Point, after: Point) {
        if self.shape.counter {
            self.counted(before, after);
        } else {
            self.momentary(before);
            self.held(before, after.at.min(before.at.saturating_add(GAP)));
        }
    }

    /// A counter moves evenly from one reading to the next.
    fn counted(&mut self, before: Point, after: Point) {
        let length = after.at - before.at;
        let mut change = after.milli.saturating_sub(before.milli);
        if change < 0 && !self.shape.falls {
            change = 0;
        }
        let reached = |at: i64| share(change, at - before.at, length);
        let rate = share(change, 3600, length);
        self.each(before.at, after.at, |cell, begin, end| {
            let seconds = (end - begin) as u32;
            cell.change = cell.change.saturating_add(reached(end) - reached(begin));
            cell.covered += seconds;
            cell.known += if length <= GAP { seconds } else { 0 };
            cell.steepest = cell.steepest.max(Some(rate));
        });
        self.look_for_peak(before.at, after.at, change);
    }

    fn look_for_peak(&mut self, from: i64, to: i64, change: i64) {
        if self.run.end != from {
            self.run = Run { begin: from, end: from, change: 0 };
        }
        self.run.end = to;
        self.run.change = self.run.change.saturating_add(change);
        let Run { begin, end, change } = self.run;
        if end - begin >= MINUTE {
            let rate = share(change, 3600, end - begin);
            self.each(begin, end, |cell, _, _| cell.peak = cell.peak.max(Some(rate)));
            self.run = Run { begin: end, end, change: 0 };
        }
    }

    /// A gauge stays as it was read until the next reading.
    fn held(&mut self, before: Point, until: i64) {
        self.each(before.at, until, |cell, begin, end| {
            let seconds = end - begin;
            cell.covered += seconds as u32;
            cell.known += seconds as u32;
            cell.peak = cell.peak.max(Some(before.milli));
            cell.integral = cell.integral.saturating_add(before.milli.saturating_mul(seconds));
        });
    }

    /// Every span that has a part of this one, with where that part begins and ends.
    fn each(&mut self, from: i64, to: i64, mut see: impl FnMut(&mut Cell, i64, i64)) {
        let first = self.bounds.partition_point(|bound| *bound <= from).saturating_sub(1);
        let spans = self.bounds.windows(2).zip(&mut self.cells).skip(first);
        for (span, cell) in spans.take_while(|(span, _)| span[0] < to) {
            let (begin, end) = (span[0].max(from), span[1].min(to));
            if begin < end {
                see(cell, begin, end);
            }
        }
    }
}

/// `change` × `part` / `whole`, rounded to the nearest.
pub(super) fn share(change: i64, part: i64, whole: i64) -> i64 {
    let whole = i128::from(whole.max(1));
    let twice = 2 * i128::from(change) * i128::from(part) + whole;
    i64::try_from(twice.div_euclid(2 * whole)).unwrap_or(i64::MAX)
}

/// Readings further apart, in seconds, leave what lies between them unknown: it is not known how
/// a counter came from one to the other, and a gauge's value is not the same any more.
pub(super) const GAP: i64 = 3600;
/// How long a counter is looked at for a peak, at least.
const MINUTE: i64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTER: Shape = Shape { counter: true, falls: false };

    fn points(list: &[(i64, i64)]) -> Vec<Point> {
        list.iter().map(|(at, milli)| Point { at: *at, milli: *milli }).collect()
    }

    #[test]
    fn a_counter_is_shared_out_to_the_thousandth() {
        let bounds = [0, 10, 20, 30];
        let mut cells = Cells::new(COUNTER, &bounds);
        cells.series(&points(&[(5, 1000), (15, 1001), (25, 900), (28, 1500)]));
        let changes: Vec<i64> = cells.cells.iter().map(|cell| cell.change).collect();
        assert_eq!(changes, [1, 0, 600]);
        assert_eq!(cells.cells[2].peak, None, "a step within seconds tells no power");
        assert_eq!((cells.cells[0].known, cells.cells[2].known), (5, 8));
    }

    #[test]
    fn a_peak_is_that_of_a_minute_or_more() {
        let bounds = [0, 100, 10_000];
        let mut cells = Cells::new(COUNTER, &bounds);
        // 1 Wh each 20 s, counted in whole Wh; then 5 Wh in a minute, half of it in the next span; a gap.
        let mut list: Vec<(i64, i64)> = (0..=70).map(|at| (at, at / 20 * 1000)).collect();
        list.extend([(130, 8000), (4000, 9000)]);
        cells.series(&points(&list));
        assert_eq!(cells.cells[0].peak, Some(257_143), "5 Wh in 70 s");
        assert_eq!(cells.cells[1].peak, Some(257_143));
    }

    #[test]
    fn a_gauge_is_weighed_by_how_long_it_stood() {
        let bounds = [0, 10, 20, 8000];
        let mut cells = Cells::new(Shape { counter: false, falls: true }, &bounds);
        cells.series(&points(&[(5, 1000), (15, -500), (7000, 20)]));
        let integrals: Vec<i64> = cells.cells.iter().map(|cell| cell.integral).collect();
        assert_eq!(integrals, [5000, 5000 - 2500, -500 * 3595]);
        let peaks: Vec<Option<i64>> = cells.cells.iter().map(|cell| cell.peak).collect();
        assert_eq!(peaks, [Some(1000), Some(1000), Some(20)]);
    }
}
