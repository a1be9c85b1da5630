//! When frames were due, by the gateway's clock.
//!
//! A meter's clock may be anything, so it is not asked. The frame that arrived soonest after its turn
//! tells when the stream began: frame n is due n / rate later. The soonest of the last minutes counts, and
//! not of all time, because two clocks drift apart and a gateway's clock may be set.

use crate::model::Timestamp;

/// Follows what arrives.
#[derive(Debug, Clone)]
pub(super) struct Arrivals {
    rate_hz: f64,
    /// The earliest begin that an arrival spoke for, ms: of this stretch and of the one before.
    begins: [f64; 2],
    /// When the next stretch begins.
    turn: Timestamp,
}

impl Arrivals {
    pub(super) fn new(rate_hz: f64, now: Timestamp) -> Arrivals {
        Arrivals { rate_hz, begins: [f64::INFINITY; 2], turn: after(now) }
    }

    /// All frames before `end` have arrived, or are lost.
    pub(super) fn saw(&mut self, end: u64, now: Timestamp) {
        // A clock that went back makes a stretch no longer than this.
        if now >= self.turn || after(now) < self.turn {
            self.begins = [f64::INFINITY, self.begins[0]];
            self.turn = after(now);
        }
        self.begins[0] = self.begins[0].min(now.0 as f64 - self.span(end));
    }

    /// When the frame was due, by the gateway's clock.
    pub(super) fn due(&self, frame: u64) -> Timestamp {
        let begin = self.begins[0].min(self.begins[1]);
        // As a cast saturates, nothing that was never seen is due far in the past.
        Timestamp((begin + self.span(frame)).round() as i64)
    }

    /// Whether what was due with this frame comes too late to be what is so now.
    pub(super) fn is_late(&self, frame: u64, now: Timestamp) -> bool {
        now.0.saturating_sub(self.due(frame).0) > LATE_MS
    }

    fn span(&self, frames: u64) -> f64 {
        frames as f64 / self.rate_hz * 1000.0
    }
}

/// The last message of a stream by messages: when it was sent, and when it came.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Messages(Option<(f64, Timestamp)>);

impl Messages {
    /// How many messages are missing before one that was sent then. A clock that was set says nothing
    /// about that: the time between arrivals has to agree.
    pub(super) fn missing(&mut self, sent: f64, now: Timestamp, rate_hz: f64) -> Option<u64> {
        let (before, arrival) = self.0.replace((sent, now))?;
        let passed = sent - before;
        let agrees = (now.since(arrival).as_secs_f64() - passed).abs() < CLOCK_SET_S;
        let steps = (passed * rate_hz).round();
        (agrees && steps >= 2.0).then_some(steps as u64 - 1)
    }
}

fn after(now: Timestamp) -> Timestamp {
    Timestamp(now.0.saturating_add(STRETCH_MS))
}

const LATE_MS: i64 = 3_000;
/// Messages do not wait longer than this on their way.
const CLOCK_SET_S: f64 = 2.0;
/// Longer than any meter's buffer lasts, at rates that fill it.
const STRETCH_MS: i64 = 300_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_makes_late_and_a_drift_does_not() {
        let mut arrivals = Arrivals::new(1000.0, Timestamp(50_000));
        arrivals.saw(100, Timestamp(50_120));
        arrivals.saw(200, Timestamp(50_205));
        assert_eq!(arrivals.due(1000), Timestamp(51_005));
        assert!(!arrivals.is_late(1000, Timestamp(54_005)));
        assert!(arrivals.is_late(1000, Timestamp(54_006)));
        // A day at 100 ppm: nearly nine seconds.
        for second in 1..86_400_u64 {
            let now = Timestamp(50_000 + second as i64 * 1000 + second as i64 / 10);
            arrivals.saw(second * 1000, now);
            assert!(!arrivals.is_late(second * 1000, now), "after {second} s");
        }
    }

    #[test]
    fn a_clock_that_is_set_is_followed() {
        let mut arrivals = Arrivals::new(1000.0, Timestamp(1_000_000));
        for second in 1..1000_u64 {
            let ahead = if second > 10 { 60_000 } else { 0 };
            arrivals.saw(second * 1000, Timestamp(1_000_000 + second as i64 * 1000 + ahead));
        }
        assert!(!arrivals.is_late(999_000, Timestamp(1_000_000 + 999_000 + 60_000)));
        arrivals.saw(1_000_000, Timestamp(5_000));
        assert_eq!(arrivals.due(1_000_000), Timestamp(5_000));
    }
}
