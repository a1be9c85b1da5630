//! How long things take on a link.

use std::time::Duration;

/// Times of a [`Line`](super::Line). The default has the vendor's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long packets may still come after they were told to hold.
    pub hold_wait: Duration,
    /// How long they hold.
    pub hold_lasts: Duration,
    /// How long packets are let through after a hold, if none comes.
    pub hold_gap: Duration,
    /// How long a GEM, or an ECM that has acknowledged, has for its answer.
    pub reply: Duration,
    /// How long silence is taken for an answer where the vendor documents none.
    pub unacknowledged: Duration,
    /// How long an ECM has for each acknowledgement.
    pub ack: Duration,
    /// How long a meter has for the query that separates its late answers from the next one.
    pub fence: Duration,
    /// How long a link is to be quiet before it is trusted again.
    pub quiet: Duration,
    /// After so long no answer is late any more: it will not come.
    pub forget: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            hold_wait: Duration::from_secs(3),
            hold_lasts: Duration::from_secs(15),
            hold_gap: Duration::from_secs(10),
            reply: Duration::from_secs(10),
            unacknowledged: Duration::from_secs(2),
            ack: Duration::from_secs(1),
            fence: Duration::from_secs(2),
            quiet: Duration::from_millis(300),
            forget: Duration::from_secs(30),
        }
    }
}
