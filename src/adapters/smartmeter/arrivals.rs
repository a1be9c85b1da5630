//! When frames were due, by the gateway's clock.
//!
//! A meter's clock may be anything, so it is not asked. The frame that arrived soonest after its turn
//! tells when the stream began: frame n is due n / rate later. That begin yields a little all the time,
//! because no two clocks run alike. It is known by a clock that only goes on: when the gateway's own is
//! set, nothing becomes late by that.

use tokio::time::{Duration, Instant};

use crate::model::Timestamp;

/// A moment by both clocks: the one that only goes on, and the gateway's, which may be set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// By the one that only goes on.
    pub(crate) instant: Instant,
    /// The same by the gateway's.
    pub(crate) at: Timestamp,
}

/// Follows what arrives.
#[derive(Debug, Clone)]
pub(super) struct Arrivals {
    rate_hz: f64,
    /// The stream was begun then: the zero of all milliseconds here.
    origin: Instant,
    /// When frame 0 was taken, by the arrival that came soonest, ms.
    begin_ms: Option<f64>,
    last_ms: f64,
    pace: Pace,
}

impl Arrivals {
    pub(super) fn new(rate_hz: f64, now: Instant) -> Arrivals {
        Arrivals { rate_hz, origin: now, begin_ms: None, last_ms: 0.0, pace: Pace::default() }
    }

    /// All frames before `end` have arrived, or are lost. Answers the rate at which they come, in Hz,
    /// when that has turned out to be another than was told; frames are due at that rate from then on.
    pub(super) fn saw(&mut self, end: u64, now: Instant) -> Option<f64> {
        let now_ms = self.ms(now);
        let passed = now_ms - self.last_ms;
        self.last_ms = now_ms;
        let spoken = now_ms - self.span(end);
        // What waits for the network yields nothing.
        let yielded = passed.min(LONGEST_STEP_MS) * YIELDS;
        let begin = self.begin_ms.map_or(spoken, |begin| (begin + yielded).min(spoken));
        self.begin_ms = Some(begin);
        let measured = self.pace.take(end, now_ms, passed)?;
        if (measured / self.rate_hz - 1.0).abs() <= ODD {
            return None;
        }
        self.rate_hz = measured;
        self.begin_ms = Some(now_ms - self.span(end));
        Some(measured)
    }

    /// When the frame was due, by the gateway's clock as it is now.
    pub(super) fn due(&self, frame: u64, now: Moment) -> Timestamp {
        Timestamp(now.at.0.saturating_sub(self.age_ms(frame, now.instant).round() as i64))
    }

    /// Whether what was due with this frame comes too late to be what is so now.
    pub(super) fn is_late(&self, frame: u64, now: Instant) -> bool {
        self.age_ms(frame, now) > LATE_MS
    }

    /// Whether a meter that samples at this rate can have taken this frame by now.
    pub(super) fn can_be(&self, frame: u64, now: Instant) -> bool {
        let begin = self.begin_ms.unwrap_or(0.0);
        begin + self.span(frame) <= self.ms(now) + AHEAD_MS
    }

    /// How long ago the frame was due, ms; below zero: it is not yet.
    fn age_ms(&self, frame: u64, now: Instant) -> f64 {
        let now_ms = self.ms(now);
        now_ms - self.begin_ms.map_or(now_ms, |begin| begin + self.span(frame))
    }

    fn span(&self, frames: u64) -> f64 {
        frames as f64 / self.rate_hz * 1000.0
    }

    fn ms(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.origin).as_secs_f64() * 1000.0
    }
}

/// How many frames come in a minute in which the network did not stand still.
#[derive(Debug, Clone, Default)]
struct Pace {
    /// The minute that is looked at: its begin, and the frame that came next then.
    since: Option<(f64, u64)>,
    /// What the minute before came to, Hz. One alone may have begun with what had waited.
    before: Option<f64>,
}

impl Pace {
    /// All before frame `end` has come. The rate, once two minutes agree on it.
    fn take(&mut self, end: u64, now_ms: f64, passed: f64) -> Option<f64> {
        let (begin, first) = *self.since.get_or_insert((now_ms, end));
        if passed > STILL_MS {
            *self = Pace { since: Some((now_ms, end)), before: None };
            return None;
        }
        if now_ms - begin < MINUTE_MS {
            return None;
        }
        self.since = Some((now_ms, end));
        let frames = end - first;
        let rate_hz = frames as f64 / (now_ms - begin) * 1000.0;
        let before = self.before.replace(rate_hz)?;
        let agrees = (rate_hz / before - 1.0).abs() <= ODD / 2.0;
        (agrees && frames >= ENOUGH).then_some(rate_hz)
    }
}

/// The last message of a stream by messages: when it was sent, and when it came.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Messages(Option<(f64, Instant)>);

impl Messages {
    /// How many messages are missing before one that was sent then. A clock that was set says nothing
    /// about that: the time between arrivals has to agree.
    pub(super) fn missing(&mut self, sent: f64, now: Instant, rate_hz: f64) -> Option<u64> {
        let (before, arrival) = self.0.replace((sent, now))?;
        let passed = sent - before;
        let waited = now.saturating_duration_since(arrival);
        let agrees = (waited.as_secs_f64() - passed).abs() < CLOCK_SET.as_secs_f64();
        let steps = (passed * rate_hz).round();
        (agrees && steps >= 2.0).then_some(steps as u64 - 1)
    }
}

const LATE_MS: f64 = 3_000.0;
/// More than two clocks can come apart by while a stream lasts for weeks, and than is due in one piece.
const AHEAD_MS: f64 = 60_000.0;
/// So much of the time that passes the begin moves: far more than two clocks differ by.
const YIELDS: f64 = 0.05;
/// Packets come more often, but after a stall.
const LONGEST_STEP_MS: f64 = 200.0;
/// A rate that is off by more than any clock.
const ODD: f64 = 0.02;
const MINUTE_MS: f64 = 60_000.0;
/// Without a frame for so long, the network stood still, or frames come by slots.
const STILL_MS: f64 = 1_000.0;
/// So many frames tell a rate.
const ENOUGH: u64 = 300;
/// Messages do not wait longer than this on their way.
const CLOCK_SET: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_stall_makes_late_and_a_drift_does_not() {
        let begin = Instant::now();
        let mut arrivals = Arrivals::new(1000.0, begin);
        arrivals.saw(100, begin + ms(120));
        arrivals.saw(200, begin + ms(205));
        let now = Moment { instant: begin + ms(2000), at: Timestamp(52_000) };
        assert_eq!(arrivals.due(1000, now), Timestamp(51_005));
        assert!(!arrivals.is_late(1000, begin + ms(4005)));
        assert!(arrivals.is_late(1000, begin + ms(4006)));
        // A day at 100 ppm: nearly nine seconds.
        for second in 1..86_400_u64 {
            let now = begin + ms(second * 1000 + second / 10);
            assert_eq!(arrivals.saw(second * 1000, now), None);
            assert!(!arrivals.is_late(second * 1000, now), "after {second} s");
        }
    }

    #[test]
    fn a_rate_that_is_not_what_was_told_is_found_out_and_followed() {
        let begin = Instant::now();
        let mut arrivals = Arrivals::new(1000.0, begin);
        // A tenth of a second takes a ninth.
        let mut found = Vec::new();
        for tenth in 1..6000_u64 {
            let now = begin + ms(tenth * 1000 / 9);
            found.extend(arrivals.saw(tenth * 100, now));
            assert!(tenth < 2000 || !arrivals.is_late(tenth * 100, now), "tenth {tenth}");
        }
        assert!(matches!(found[..], [hz] if (hz - 900.0).abs() < 1.0), "{found:?}");
    }

    #[test]
    fn what_had_waited_is_no_rate() {
        let begin = Instant::now();
        let mut arrivals = Arrivals::new(1000.0, begin);
        for tenth in 1..6000_u64 {
            // Twenty seconds in each two minutes nothing moves, and all of it comes at once then.
            let ready = tenth * 100;
            let now =
                if ready % 120_000 < 20_000 { ready.next_multiple_of(120_000) } else { ready };
            let now = if ready % 120_000 < 20_000 { now - 100_000 } else { now };
            assert_eq!(arrivals.saw(tenth * 100, begin + ms(now)), None, "tenth {tenth}");
        }
    }

    #[test]
    fn no_meter_is_ahead_of_its_time() {
        let begin = Instant::now();
        let mut arrivals = Arrivals::new(1000.0, begin);
        assert!(arrivals.can_be(60_000, begin) && !arrivals.can_be(60_001, begin));
        arrivals.saw(1000, begin + ms(21_000));
        assert!(!arrivals.can_be(3_000_000, begin + ms(22_000)));
    }
}
