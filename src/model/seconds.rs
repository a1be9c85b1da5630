//! A meter's own seconds counter: the time base of every power value.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The seconds counter of one meter, with the pace at which it was last seen to move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seconds {
    modulus: u32,
    last: u32,
    interval: Option<u32>,
}

/// The time between two packets by the meter's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elapsed {
    /// So many seconds; the counter may have wrapped in between.
    Seconds {
        /// Never zero.
        seconds: u32,
        /// Whether the counter ran over its width.
        wrapped: bool,
    },
    /// The same second again: no power can be had.
    SameSecond,
    /// The counter started again: how long it took cannot be told from it.
    Restarted,
}

impl Seconds {
    /// A counter that runs from 0 to `modulus - 1`, first seen at `raw`.
    pub fn new(modulus: u32, raw: u32) -> Seconds {
        Seconds { modulus, last: raw, interval: None }
    }

    /// The value it was last seen at.
    pub fn last(&self) -> u32 {
        self.last
    }

    /// Takes the next value; `waited` is the time that passed on the gateway's clock.
    ///
    /// A fall is a wrap when the time it would stand for is sensible: up to ten times the pace
    /// seen (at most a day), or about what the gateway's clock says. Else the meter restarted.
    pub fn advance(&mut self, raw: u32, waited: Duration) -> Elapsed {
        let before = std::mem::replace(&mut self.last, raw);
        if raw == before {
            return Elapsed::SameSecond;
        }
        let wrapped = raw < before;
        let seconds =
            if wrapped { self.modulus.saturating_sub(before) + raw } else { raw - before };
        if wrapped && !self.is_sensible(seconds, waited) {
            self.interval = None;
            return Elapsed::Restarted;
        }
        self.interval = Some(seconds);
        Elapsed::Seconds { seconds, wrapped }
    }

    fn is_sensible(&self, seconds: u32, waited: Duration) -> bool {
        let usual = self.interval.unwrap_or(UNKNOWN_INTERVAL).saturating_mul(10).min(DAY);
        let waited = waited.as_secs();
        let off = u64::from(seconds).abs_diff(waited);
        seconds <= usual || off <= 60 + waited / 100
    }
}

const DAY: u32 = 86_400;
/// Until a pace is seen: ten times a minute.
const UNKNOWN_INTERVAL: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: u32 = 1 << 24;

    #[test]
    fn counts_wraps_and_restarts() {
        let mut seconds = Seconds::new(WIDTH, WIDTH - 20);
        let soon = Duration::ZERO;
        assert_eq!(
            seconds.advance(WIDTH - 10, soon),
            Elapsed::Seconds { seconds: 10, wrapped: false }
        );
        assert_eq!(seconds.advance(WIDTH - 10, soon), Elapsed::SameSecond);
        assert_eq!(seconds.advance(5, soon), Elapsed::Seconds { seconds: 15, wrapped: true });
        assert_eq!(seconds.advance(1_000_000, soon), {
            Elapsed::Seconds { seconds: 999_995, wrapped: false }
        });
        assert_eq!(seconds.advance(3, soon), Elapsed::Restarted);
        assert_eq!(seconds.advance(13, soon), Elapsed::Seconds { seconds: 10, wrapped: false });
    }

    #[test]
    fn a_wrap_over_a_long_silence_is_known_by_the_gateways_clock() {
        let three_days = 3 * 86_400;
        let mut seconds = Seconds::new(WIDTH, WIDTH - 1_000);
        assert_eq!(
            seconds.advance(three_days - 1_000, Duration::from_secs(u64::from(three_days) + 20)),
            Elapsed::Seconds { seconds: three_days, wrapped: true }
        );
    }
}
