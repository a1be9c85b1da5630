//! Holding packets back while commands run, and letting them through in between.

use std::time::Duration;

use super::Timing;

/// What is known of the hold on a link.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// When the last one was asked for.
    begun: Option<Duration>,
    /// A packet has come since then that was not merely on its way.
    let_through: bool,
}

/// Whether a command may go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Packets are held, and long enough yet.
    Yes,
    /// Ask for a hold now.
    No,
    /// Let packets through until then, or until one comes.
    Gap(Duration),
}

impl Hold {
    pub(super) fn state(&self, now: Duration, timing: &Timing) -> Held {
        let Some(begun) = self.begun else {
            return Held::No;
        };
        let end = begun + timing.hold_lasts;
        if now + timing.hold_wait <= end {
            return Held::Yes;
        }
        let gap_end = end + timing.hold_gap;
        if self.let_through || now >= gap_end { Held::No } else { Held::Gap(gap_end) }
    }

    /// The meter was told to hold.
    pub(super) const fn begin(&mut self, now: Duration) {
        self.begun = Some(now);
        self.let_through = false;
    }

    /// A packet came.
    pub(super) fn packet(&mut self, now: Duration, timing: &Timing) {
        self.let_through |= self.begun.is_some_and(|begun| now >= begun + timing.hold_wait);
    }

    /// When the command that is sent `now` is to be answered: within the hold, if one lasts.
    pub(super) fn limit(&self, now: Duration, timing: &Timing) -> Duration {
        let until = now + timing.reply;
        match self.begun.map(|begun| begun + timing.hold_lasts) {
            Some(end) if end > now => until.min(end.max(now + timing.hold_wait)),
            _ => until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_let_through_between_two_holds() {
        let timing = Timing::default();
        let at = Duration::from_secs;
        let mut hold = Hold::default();
        assert_eq!(hold.state(at(0), &timing), Held::No);
        hold.begin(at(0));
        hold.packet(at(2), &timing);
        assert_eq!(hold.state(at(12), &timing), Held::Yes);
        assert_eq!(hold.limit(at(3), &timing), at(13));
        assert_eq!(hold.limit(at(8), &timing), at(15), "within the hold");
        assert_eq!(hold.state(at(13), &timing), Held::Gap(at(25)), "that one was on its way");
        hold.packet(at(16), &timing);
        assert_eq!(hold.state(at(16), &timing), Held::No);
        hold.begin(at(16));
        assert_eq!(hold.state(at(40), &timing), Held::Gap(at(41)));
        assert_eq!(hold.state(at(41), &timing), Held::No);
        assert_eq!(hold.limit(at(41), &timing), at(51));
    }
}
