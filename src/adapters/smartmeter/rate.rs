//! The true rate of a stream whose device does not tell it.
//!
//! On its own stream port a device says nothing but floats. It should send at the rate that is written
//! down for it, but a SmartMeter keeps the decimation of an earlier `sample` command. So the rate is
//! measured before anything is made of the samples.
//!
//! Source: protocol note, section 4.4.

use meter_protocols::smartmeter::{Kind, RATES_HZ, SMART_RATES};
use tokio::time::{Duration, Instant};

/// Counts bytes for some seconds, and keeps them.
#[derive(Debug)]
pub(super) struct RateMeter {
    frame_bytes: usize,
    /// When the first bytes came; they are the past of that moment and not counted.
    begun: Option<(Instant, usize)>,
    last: Instant,
    bytes: Vec<u8>,
}

impl RateMeter {
    /// The connection was opened just now.
    pub(super) fn new(frame_bytes: usize, now: Instant) -> RateMeter {
        RateMeter { frame_bytes, begun: None, last: now, bytes: Vec::new() }
    }

    /// Takes bytes. The rate in Hz, once enough have come.
    pub(super) fn push(&mut self, bytes: &[u8], now: Instant) -> Option<f64> {
        self.bytes.extend_from_slice(bytes);
        self.last = now;
        let (begun, before) = *self.begun.get_or_insert((now, self.bytes.len()));
        let time = now.duration_since(begun);
        (time >= TIME || self.bytes.len() >= MOST_BYTES).then(|| {
            let frames = (self.bytes.len() - before) as f64 / self.frame_bytes as f64;
            frames / time.as_secs_f64().max(1e-3)
        })
    }

    /// When the last bytes came, or the connection was opened.
    pub(super) fn last(&self) -> Instant {
        self.last
    }

    /// What has come so far.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// What a device samples on its own port unless something is in force: frames a second.
pub(super) fn nominal(kind: Kind) -> f64 {
    match kind {
        Kind::SmartMeter => 8000.0,
        Kind::PowerMeter => 4000.0,
    }
}

/// The rate that the device must have by what was measured: its own, or one that it can be told. What is
/// near to none is taken as measured, and what can be none is `None`.
pub(super) fn true_rate(kind: Kind, measured_hz: f64) -> Option<f64> {
    let rates = SMART_RATES.iter().map(|rate| f64::from(*rate));
    let known = std::iter::once(nominal(kind)).chain(rates.filter(|_| kind == Kind::SmartMeter));
    let near = |rate: &f64| (measured_hz / rate - 1.0).abs() <= NEAR;
    let found = known.into_iter().find(near).unwrap_or(measured_hz);
    RATES_HZ.contains(&found).then_some(found)
}

/// Long enough that packets of an eighth of a second, and a busy network, do not matter.
const TIME: Duration = Duration::from_secs(3);
/// More than that many seconds of anything that a device can send.
const MOST_BYTES: usize = 4 << 20;
const NEAR: f64 = 0.08;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_measured_in_spite_of_a_burst_at_the_start() {
        let begin = Instant::now();
        let mut meter = RateMeter::new(24, begin);
        // The device had kept a second when it could send.
        assert_eq!(meter.push(&vec![0; 24 * 4000], begin + Duration::from_millis(1000)), None);
        let mut rate = None;
        for tenth in 1..=30 {
            let now = begin + Duration::from_millis(1000 + tenth * 100);
            rate = meter.push(&vec![0; 24 * 400], now);
        }
        assert!((rate.unwrap() - 4000.0).abs() < 1.0, "{rate:?}");
        assert_eq!(true_rate(Kind::SmartMeter, 3900.0), Some(4000.0));
        assert_eq!(meter.into_bytes().len(), 24 * 16_000);
    }

    #[test]
    fn a_rate_is_one_that_the_meter_can_have() {
        assert_eq!(true_rate(Kind::SmartMeter, 8100.0), Some(8000.0));
        assert_eq!(true_rate(Kind::SmartMeter, 990.0), Some(1000.0));
        assert_eq!(true_rate(Kind::PowerMeter, 3999.0), Some(4000.0));
        assert_eq!(true_rate(Kind::PowerMeter, 1234.0), Some(1234.0));
        // Four megabytes in no time: whoever that is, it is no meter.
        let mut meter = RateMeter::new(24, Instant::now());
        let flood = meter.push(&vec![0; MOST_BYTES], Instant::now()).unwrap();
        assert_eq!(true_rate(Kind::SmartMeter, flood), None);
        assert_eq!(true_rate(Kind::SmartMeter, 1e6), None);
    }
}
