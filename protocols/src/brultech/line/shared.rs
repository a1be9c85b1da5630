//! What a link's exchanges leave to those after them.

use std::time::Duration;

use super::Timing;
use super::doubt::Doubts;
use super::hold::Hold;

/// Answers that may still come late: what one connection to a meter leaves to the next, since a
/// bridge can deliver there what was asked here. Its times are those of the [`Line`](super::Line)
/// that it comes from, so both lines count from the same moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owed {
    doubts: Doubts,
    unsettled: bool,
}

impl Owed {
    /// Whether nothing is owed.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.doubts.is_empty() && !self.unsettled
    }

    /// Adds what is owed elsewhere as well.
    pub fn join(&mut self, other: &Owed) {
        self.doubts.join(&other.doubts);
        self.unsettled |= other.unsettled;
    }
}

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

    pub(super) fn owed(&self) -> Owed {
        Owed { doubts: self.doubts.clone(), unsettled: self.unsettled }
    }

    pub(super) fn set_owed(&mut self, owed: Owed) {
        (self.doubts, self.unsettled) = (owed.doubts, owed.unsettled);
    }

    /// When the link will have been quiet for long enough, if nothing more comes; not after `most`.
    pub(super) fn quiet_at(&self, most: Duration) -> Duration {
        (self.heard + self.timing.quiet).min(most)
    }
}
