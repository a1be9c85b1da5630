//! The time as a meter at work has it.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::Timestamp;

/// Seconds since 1970 that never go back.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    begin: Instant,
    unix: f64,
}

impl Clock {
    pub(super) fn new() -> Clock {
        Clock { begin: Instant::now(), unix: Timestamp::now().0 as f64 / 1000.0 }
    }

    pub(super) fn now(&self) -> f64 {
        self.unix + self.begin.elapsed().as_secs_f64()
    }

    /// At most a day ahead.
    pub(super) fn instant(&self, at: f64) -> Instant {
        let ahead = (at - self.now()).clamp(0.0, 86_400.0);
        Instant::now() + Duration::from_secs_f64(ahead)
    }
}
