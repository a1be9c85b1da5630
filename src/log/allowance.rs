//! What others may make the log say: cut short, and not too often.

use std::time::Duration;

use tokio::time::Instant;

/// As much of a text from outside as a log line should hold, nothing in it that a terminal obeys.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(80).map(|one| if one.is_control() { '?' } else { one }).collect()
}

/// Lets ten lines through at once, and then one every five seconds.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: u32,
    since: Instant,
    held_back: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Allowance { left: BURST, since: Instant::now(), held_back: 0 }
    }
}

impl Allowance {
    /// One more line is not written, whatever is left.
    pub(crate) fn hold_back(&mut self) {
        self.held_back += 1;
    }

    /// `Some(n)` when a line may be written now; `n` were held back before it.
    pub(crate) fn pass(&mut self) -> Option<u64> {
        let earned = (self.since.elapsed().as_millis() / REFILL.as_millis()).min(u128::from(BURST));
        if earned > 0 {
            self.left = BURST.min(self.left + earned as u32);
            self.since = Instant::now();
        }
        if self.left == 0 {
            self.held_back += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.held_back))
    }
}

const BURST: u32 = 10;
const REFILL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_complaints_is_thinned_out() {
        let mut allowance = Allowance::default();
        let passed = (0..100).filter(|_| allowance.pass().is_some()).count();
        assert_eq!(passed, BURST as usize);
        tokio::time::advance(REFILL).await;
        assert_eq!(allowance.pass(), Some(90));
        assert_eq!(allowance.pass(), None);
    }
}
