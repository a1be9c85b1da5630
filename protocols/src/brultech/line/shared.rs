//! What a link's exchanges leave to those after them.

use std::time::Duration;

use super::Timing;
use super::doubt::Doubts;
use super::hold::Hold;

/// What is known of a link beyond one exchange.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) timing: Timing,
    pub(super) hold: Hold,
    pub(super) doubts: Doubts,
    /// The text that a GEM sends to keep its link open.
    pub(super) keep_alive: String,
    /// When bytes outside of frames last came.
    pub(super) heard: Duration,
    /// An ECM's bytes may still come that belong to an exchange that is over.
    pub(super) unsettled: bool,
}

impl Shared {
    pub(super) fn new(timing: Timing) -> Self {
        Self {
            timing,
            hold: Hold::default(),
            doubts: Doubts::default(),
            keep_alive: "Alive".to_owned(),
            heard: Duration::ZERO,
            unsettled: false,
        }
    }

    /// When the link will have been quiet for long enough, if nothing more comes; not after `most`.
    pub(super) fn quiet_at(&self, most: Duration) -> Duration {
        (self.heard + self.timing.quiet).min(most)
    }
}
