//! From the clock that moments in memory are counted by to the one that goes on between two runs.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Both clocks at one moment: what is counted in memory by the one is kept on disk by the other.
#[derive(Debug)]
pub(super) struct Clock {
    now: Instant,
    wall: SystemTime,
    pub(super) now_ms: i64,
}

impl Clock {
    pub(super) fn now() -> Self {
        let wall = SystemTime::now();
        Self { now: Instant::now(), wall, now_ms: milliseconds(wall) }
    }

    /// A moment as milliseconds since 1970.
    pub(super) fn wall(&self, at: Option<Instant>) -> Option<i64> {
        let left = at?.saturating_duration_since(self.now);
        Some(self.now_ms.saturating_add(i64::try_from(left.as_millis()).unwrap_or(i64::MAX)))
    }

    /// What is left of the time until `at_ms`; nothing when it has passed.
    pub(super) fn instant(&self, at_ms: i64) -> Instant {
        let left = u64::try_from(at_ms.saturating_sub(self.now_ms)).unwrap_or(0);
        self.now + Duration::from_millis(left).min(LONGEST)
    }

    /// A moment that has passed, in the past also when the system's clock was set back since.
    pub(super) fn ago(&self, at_ms: i64) -> SystemTime {
        let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(at_ms).unwrap_or(0)).min(LONGEST);
        at.min(self.wall)
    }
}

pub(super) fn milliseconds(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// 300 years: more than MQTT can ask for, and little enough for every clock.
const LONGEST: Duration = Duration::from_secs(300 * 365 * 24 * 60 * 60);
