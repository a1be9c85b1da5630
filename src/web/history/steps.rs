//! What is known of each step. Histories answer from short sums where steps are made of quarters of an
//! hour, and from the readings elsewhere; so what is asked of them is made of quarters as far as it
//! can be, and of nothing that lies outside of what there is.

use meter_protocols::flukso::tmpo;

use crate::history::{Bucket, History, HistoryError, Tail};
use crate::model::{Milli, SensorId};

/// What is known of one step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Step {
    /// By how much the counter rose; `None` where that is not known, and for gauges.
    pub(super) change: Option<Milli>,
    /// The greatest, as a [`Bucket`] has it.
    pub(super) peak: Option<f64>,
    /// Seconds between readings at most an hour apart.
    pub(super) known: u64,
    /// Means times the seconds that they are over, and these seconds.
    sum: f64,
    seconds: f64,
}

impl Step {
    /// The mean, as a [`Bucket`] has it.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.sum / self.seconds)
    }

    fn add(&mut self, bucket: &Bucket) {
        let change = bucket.begin.zip(bucket.end).map(|(begin, end)| end.0 - begin.0);
        if let Some(change) = change {
            self.change = Some(Milli(self.change.unwrap_or_default().0.saturating_add(change)));
        }
        self.peak = self.peak.into_iter().chain(bucket.peak).reduce(f64::max);
        self.known += bucket.known;
        let Some(mean) = bucket.mean else { return };
        // A counter's mean is over all seconds between readings, also those far apart.
        let seconds = match change {
            Some(change) if mean != 0.0 => change as f64 * 3.6 / mean,
            _ => bucket.known as f64,
        };
        self.sum += mean * seconds;
        self.seconds += seconds;
    }
}

/// A step for each two neighbours of `bounds`, which rise.
///
/// # Errors
/// When the history cannot be read.
pub(super) fn steps(
    history: &History,
    sensor: SensorId,
    bounds: &[i64],
) -> Result<Vec<Step>, HistoryError> {
    let mut steps = vec![Step::default(); bounds.len().saturating_sub(1)];
    let Some((begin, end)) = extent(history, sensor)? else { return Ok(steps) };
    let mut inside: Vec<i64> = bounds.iter().map(|bound| (*bound).clamp(begin, end)).collect();
    inside.dedup();
    for piece in pieces(&inside) {
        for bucket in history.buckets(sensor, None, &piece)? {
            let place = bounds.partition_point(|bound| *bound <= bucket.from);
            if let Some(step) = place.checked_sub(1).and_then(|place| steps.get_mut(place)) {
                step.add(&bucket);
            }
        }
    }
    Ok(steps)
}

/// Readings of the latest source from `from` to before `to`; `None`: more than `most`.
///
/// # Errors
/// When the history cannot be read.
pub(super) fn readings(
    history: &History,
    sensor: SensorId,
    (from, to): (i64, i64),
    most: usize,
) -> Result<Option<Vec<(i64, Milli)>>, HistoryError> {
    let mut readings = Vec::new();
    let Some((begin, end)) = extent(history, sensor)? else { return Ok(Some(readings)) };
    let (mut at, to) = (from.max(begin), to.min(end));
    // By the largest blocks, so that not more than one is unpacked before it is seen to be too much.
    while at < to {
        let next = (tmpo::window(20, at) + tmpo::span(20)).min(to);
        readings.extend(history.series(sensor, None, at, next - 1)?.points);
        if readings.len() > most {
            return Ok(None);
        }
        at = next;
    }
    Ok(Some(readings))
}

/// Whether steps can be answered from sums over quarters, but for the first and the last.
pub(super) fn is_of_quarters(bounds: &[i64]) -> bool {
    let inner = bounds.get(1..bounds.len().saturating_sub(1)).unwrap_or_default();
    inner.iter().all(|bound| bound % QUARTER == 0)
}

/// The quarters between which all readings of a sensor lie, Unix seconds.
fn extent(history: &History, sensor: SensorId) -> Result<Option<(i64, i64)>, HistoryError> {
    let Some((last, _)) = history.latest(sensor)? else { return Ok(None) };
    let blocks = history.sync(sensor, Tail::default())?;
    let first = blocks.iter().map(|block| block.bid).min();
    let first = first.unwrap_or(last).min(last - OPEN);
    Ok(Some((floor(first), floor(last) + QUARTER)))
}

/// Bounds in pieces of which the middle one is made of quarters, if that can be.
fn pieces(bounds: &[i64]) -> Vec<Vec<i64>> {
    let (Some(first), Some(last)) = (bounds.first().copied(), bounds.last().copied()) else {
        return Vec::new();
    };
    let (begin, end) = (floor(first + QUARTER - 1), floor(last));
    if !is_of_quarters(bounds) || begin >= end {
        return vec![bounds.to_vec()];
    }
    let inner = bounds.iter().copied().filter(|bound| (begin + 1..end).contains(bound));
    let middle = std::iter::once(begin).chain(inner).chain([end]).collect();
    let ends = |from: i64, to: i64| (from < to).then(|| vec![from, to]);
    ends(first, begin).into_iter().chain([middle]).chain(ends(end, last)).collect()
}

fn floor(at: i64) -> i64 {
    at - at.rem_euclid(QUARTER)
}

const QUARTER: i64 = 900;
/// How far back there may be readings that are in no stored block yet, seconds.
const OPEN: i64 = 16 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_made_of_quarters_is_cut_off() {
        let cut = |bounds: &[i64]| pieces(bounds);
        assert_eq!(cut(&[]), Vec::<Vec<i64>>::new());
        assert_eq!(cut(&[0, 900, 1800]), [vec![0, 900, 1800]]);
        assert_eq!(cut(&[5, 900, 3600, 4000]), [vec![5, 900], vec![900, 3600], vec![3600, 4000]]);
        assert_eq!(cut(&[5, 2000]), [vec![5, 900], vec![900, 1800], vec![1800, 2000]]);
        assert_eq!(cut(&[5, 950]), [vec![5, 950]]);
        assert_eq!(cut(&[0, 60, 900]), [vec![0, 60, 900]]);
        assert!(is_of_quarters(&[1, 5]) && is_of_quarters(&[]) && !is_of_quarters(&[0, 60, 900]));
    }

    #[test]
    fn parts_of_a_step_add_up() {
        let counted = |begin: i64, end: i64, mean: f64, known: u64| Bucket {
            begin: Some(Milli(begin)),
            end: Some(Milli(end)),
            mean: Some(mean),
            peak: Some(mean * 2.0),
            known,
            ..Bucket::default()
        };
        let mut step = Step::default();
        assert_eq!(step.mean(), None);
        // 1 Wh in 60 s, and 5 Wh in 1740 s.
        step.add(&counted(500, 1500, 60.0, 60));
        step.add(&Bucket::default());
        step.add(&counted(0, 5000, 5000.0 * 3.6 / 1740.0, 0));
        assert_eq!((step.change, step.peak, step.known), (Some(Milli(6000)), Some(120.0), 60));
        assert!((step.mean().unwrap() - 12.0).abs() < 1e-9, "{step:?}");
        let gauge = |mean: f64, known: u64| Bucket { mean: Some(mean), known, ..Bucket::default() };
        let mut step = Step::default();
        step.add(&gauge(20.0, 300));
        step.add(&gauge(-10.0, 100));
        assert_eq!((step.change, step.mean()), (None, Some(12.5)));
    }
}
