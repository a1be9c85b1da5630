//! What is wrong with `history:`.

use std::time::Duration;

use super::Check;
use crate::config::duration::display;
use crate::config::size::ByteSize;

impl Check<'_> {
    pub(super) fn history(&mut self) {
        let history = self.config.history;
        if history.size < SMALLEST {
            let message = format!("{} is too small: write at least {SMALLEST}", history.size);
            self.report("history.size", message);
        }
        if !history.keep.is_zero() && history.keep < SHORTEST_KEEP {
            let message = format!(
                "{} is too short: blocks have up to twelve days; write at least 30d, or 0s to keep everything",
                display(history.keep)
            );
            self.report("history.keep", message);
        }
        if !(Duration::from_secs(1)..=LONGEST_GRACE).contains(&history.grace) {
            let message = format!("{} is out of range: write 1s to 1m", display(history.grace));
            self.report("history.grace", message);
        }
    }
}

/// Some weeks of a house.
const SMALLEST: ByteSize = ByteSize(10_000_000);
const SHORTEST_KEEP: Duration = Duration::from_secs(30 * 86_400);
const LONGEST_GRACE: Duration = Duration::from_secs(60);
