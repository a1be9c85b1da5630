//! The keys under `history:`: every sensor's readings, for good.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;
use super::size::ByteSize;
use crate::history::Settings;

/// What is recorded, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Whether readings are recorded at all.
    pub enabled: bool,
    /// How long; zero: for good.
    #[serde(with = "duration")]
    pub keep: Duration,
    /// What all blocks may take on disk.
    pub size: ByteSize,
    /// How long after the end of a block's window it is closed.
    #[serde(with = "duration")]
    pub grace: Duration,
}

impl Default for History {
    fn default() -> Self {
        let Settings { keep: _, size, grace } = Settings::default();
        let grace = Duration::from_secs(grace.unsigned_abs());
        Self { enabled: true, keep: Duration::ZERO, size: ByteSize(size), grace }
    }
}

impl History {
    /// The same, as the histories want it; `None`: nothing is recorded.
    pub fn settings(&self) -> Option<Settings> {
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        self.enabled.then(|| Settings {
            keep: (!self.keep.is_zero()).then(|| seconds(self.keep)),
            size: self.size.0,
            grace: seconds(self.grace),
        })
    }
}
