//! Whether samples still come: a stream can dry up, stand still with the network, or be ended by others.
//!
//! Source: protocol note, sections 2.3 and 4.3.

use tokio::time::{Duration, Instant};

use super::Session;
use super::sampling::On;
use crate::model::Timestamp;

impl Session {
    /// A line that only an idle device sends.
    pub(super) fn lifeness(&mut self, now: Instant, at: Timestamp) {
        self.not_busy();
        let over = match &mut self.sampling.on {
            Some(on) => {
                on.idle_lines += 1;
                on.idle_lines >= IDLE_LINES && now >= on.last_data
            }
            None => false,
        };
        if over {
            self.ended_by_others(now, at);
        }
    }

    /// The dictionary says that the device is idle.
    pub(super) fn seen_idle(&mut self, now: Instant, at: Timestamp) {
        if self.sampling.on.as_ref().is_some_and(|on| on.got_data && now > on.last_data + QUIET) {
            self.ended_by_others(now, at);
        }
    }

    fn ended_by_others(&mut self, now: Instant, at: Timestamp) {
        tracing::info!(
            serial = self.serial(),
            "the meter has stopped sampling by itself, or for another client"
        );
        self.end_stream(None, now, at);
        self.sampling.next_try = now + self.sampling.pause.next_pause();
    }

    /// How long a device that samples may be silent.
    pub(super) fn stream_patience(&self) -> Duration {
        self.sampling.on.as_ref().map_or(Duration::ZERO, On::patience)
    }

    pub(super) fn sampling_deadline(&self) -> Option<Instant> {
        let on = self.sampling.on.as_ref().filter(|on| !on.paused)?;
        match on.probed {
            None => Some(on.last_data + on.patience()),
            Some(probed) => self.answered().map(|answered| probed.max(answered) + NO_DATA),
        }
    }

    /// How long a device that samples and does not answer may have its samples for us all the same:
    /// closing the connection would lose what it keeps.
    pub(super) fn buffered(&self) -> Duration {
        self.sampling.on.as_ref().map_or(Duration::ZERO, |on| on.buffer)
    }

    /// Whether samples still come.
    pub(super) fn watch_stream(&mut self, now: Instant, at: Timestamp) {
        let answered = self.answered();
        let Some(on) = self.sampling.on.as_mut().filter(|on| !on.paused) else { return };
        match on.probed {
            None if now >= on.last_data + on.patience() => {
                on.probed = Some(now);
                self.probe(now);
            }
            // It answers, so it is not the network; and what it kept has had time to come.
            Some(probed) if answered.is_some_and(|at| now >= probed.max(at) + NO_DATA) => {
                let dry = on.got_data && !on.rtc;
                self.dried_up(dry, now, at);
            }
            _ => {}
        }
    }

    fn dried_up(&mut self, no_clock: bool, now: Instant, at: Timestamp) {
        self.end_stream(None, now, at);
        self.sampling.to_stop = true;
        self.stream_refused(if no_clock { NO_CLOCK } else { DRY }, now);
    }
}

impl On {
    pub(super) fn note_data(&mut self, now: Instant) {
        (self.last_data, self.got_data, self.probed, self.idle_lines) = (now, true, None, 0);
    }

    fn patience(&self) -> Duration {
        NO_DATA + 2 * Duration::from_secs(self.slots.into())
    }
}

/// No data for so long, where some should come all the time.
pub(super) const NO_DATA: Duration = Duration::from_secs(5);
/// An idle device says so once a second; one such line may have been under way.
const IDLE_LINES: u32 = 2;
const QUIET: Duration = Duration::from_secs(1);
const DRY: &str = "no samples come any more, though it answers";
const NO_CLOCK: &str = "no samples come any more: it has no clock chip (rtc: false), and its firmware takes samples for one \
     second only then; p,q and v,i_RMS work";
