//! Which times of readings are believed. The clock is the device's own.

use meter_protocols::flukso::tmpo::window;

/// The newest reading of one topic.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gate {
    last: Option<i64>,
}

/// What a reading's time comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is what is so now.
    Now,
    /// It is about a time that is over.
    Past,
    /// It was there already, or is older than what was, in the block that is open.
    Stale,
    /// The device's clock is ahead by so many seconds.
    Ahead(i64),
    /// It is so many seconds old: too old to be taken.
    TooOld(i64),
}

impl Gate {
    /// Judges a reading of `time` that arrives at `now`, both Unix seconds.
    pub(super) fn judge(&mut self, time: i64, now: i64) -> Verdict {
        if time > now + AHEAD {
            return Verdict::Ahead(time - now);
        }
        if time < now - OLDEST {
            return Verdict::TooOld(now - time);
        }
        match self.last {
            Some(last) if time <= last => {
                // Of another block: whether that has it already, the histories know.
                let same = window(LEVEL, time) == window(LEVEL, last);
                if same { Verdict::Stale } else { Verdict::Past }
            }
            before => {
                self.last = Some(time);
                // The first one says how things stand, however long that has been so.
                let is_over = before.is_some() && now - time > OVER;
                if is_over { Verdict::Past } else { Verdict::Now }
            }
        }
    }
}

/// The level of the blocks that are open.
const LEVEL: u8 = 8;
/// Source: architecture.md, section 2.
const AHEAD: i64 = 60;
const OLDEST: i64 = 15 * 86_400;
/// What is older is no news to anybody who looks at what is so now.
const OVER: i64 = 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_rise_within_a_window() {
        let (mut gate, now) = (Gate::default(), 1_800_000_000);
        assert_eq!(gate.judge(now + 61, now), Verdict::Ahead(61));
        assert_eq!(gate.judge(now - OLDEST - 1, now), Verdict::TooOld(OLDEST + 1));
        assert_eq!(gate.judge(now - OLDEST, now), Verdict::Now, "the first says how things stand");
        assert_eq!(gate.judge(now - OLDEST, now), Verdict::Stale);
        assert_eq!(gate.judge(now - 3601, now), Verdict::Past);
        assert_eq!(gate.judge(now - 3600, now), Verdict::Now);
        assert_eq!(gate.judge(now + 60, now), Verdict::Now);
        assert_eq!(gate.judge(now + 59, now), Verdict::Stale);
        assert_eq!(gate.judge(now - 300, now), Verdict::Past, "another block may want it");
        assert_eq!(gate.judge(now + 60, now), Verdict::Stale, "that was no step back");
    }
}
