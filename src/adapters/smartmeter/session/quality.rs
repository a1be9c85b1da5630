//! Log lines that tell of trouble with the samples: all are counted, and each kind is told once a
//! minute at most.

use std::collections::HashMap;
use std::mem::discriminant;

use meter_protocols::smartmeter::{FrameError, LogLine, Quality as Trouble};
use tokio::time::{Duration, Instant};

use super::Session;

/// What was said when.
#[derive(Debug, Default)]
pub(super) struct Quality {
    troubles: HashMap<std::mem::Discriminant<Trouble>, Held>,
    skipped: Held,
}

/// Lines that were held back since one was told.
#[derive(Debug, Default)]
struct Held {
    told: Option<Instant>,
    count: u64,
}

impl Held {
    /// `Some(n)`: it is time to tell, of so many.
    fn add(&mut self, count: u64, now: Instant, pause: Duration) -> Option<u64> {
        self.count += count;
        if self.told.is_some_and(|told| now.duration_since(told) < pause) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

impl Session {
    /// A line that tells of the quality of samples.
    pub(super) fn trouble(&mut self, line: &LogLine, trouble: &Trouble, now: Instant) {
        self.context.metrics.smartmeter_quality.increment();
        let held = self.quality.troubles.entry(discriminant(trouble)).or_default();
        if let Some(count) = held.add(1, now, MINUTE) {
            let text: String =
                line.text.chars().filter(|one| !one.is_control()).take(120).collect();
            let (serial, peer) = (self.serial(), &self.context.peer);
            tracing::warn!(serial, peer, count, "the meter says of its samples: {text}");
        }
    }

    /// Bytes that were part of nothing.
    pub(super) fn skipped(&mut self, error: &FrameError, now: Instant) {
        let metrics = &self.context.metrics;
        metrics.bad_frames.increment();
        metrics.skipped_bytes.add(error.bytes as u64);
        if let Some(bytes) = self.quality.skipped.add(error.bytes as u64, now, SECOND) {
            let (serial, peer) = (self.serial(), &self.context.peer);
            tracing::warn!(serial, peer, bytes, latest = %error, "bytes that are no message were skipped");
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
