//! Growing pauses between attempts, with jitter so that many who lost one peer do not return at once.

use std::time::Duration;

/// The pauses of one series of attempts.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses that double from `first` to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { first, longest, next: first }
    }

    /// The pause before the next attempt: between half and all of the present step.
    pub fn next_pause(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.longest);
        step.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// An attempt has succeeded: begin again with the first pause.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_begin_again() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(8));
        let mut backoff = Backoff::new(first, longest);
        for step in [1, 2, 4, 8, 8] {
            let pause = backoff.next_pause();
            let step = Duration::from_secs(step);
            assert!(pause >= step / 2 && pause <= step, "{pause:?} {step:?}");
        }
        backoff.reset();
        assert!(backoff.next_pause() <= first);
    }
}
