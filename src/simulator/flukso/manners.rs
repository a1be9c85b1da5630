//! How a simulated Fluksometer misbehaves.

use std::time::Duration;

/// What is not as it should be; nothing by default. All of it combines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FluksoManners {
    /// It is switched off and on again so often.
    pub restarts: Option<Duration>,
    /// Its clock is so many seconds ahead, or behind where negative.
    pub clock: i64,
    /// Every five seconds readings come twice, and those of five seconds before once more.
    pub repeats: bool,
    /// Of three blocks one is malformed, each time in another way.
    pub broken_blocks: bool,
    /// For so long in each minute its readings reach nobody.
    pub silence: Duration,
    /// Requests for its history are never answered.
    pub silent: bool,
}

impl FluksoManners {
    /// What its clock says.
    pub(super) fn now(&self) -> i64 {
        crate::model::Timestamp::now().0.div_euclid(1000) + self.clock
    }

    /// Whether nobody hears it in this second.
    pub(super) fn is_lost(&self, at: i64) -> bool {
        at.rem_euclid(60) < self.silence.as_secs() as i64
    }
}

/// A block that a reader has to refuse; `turn` says which of the ways.
pub(super) fn broken(text: &str, turn: u64) -> Vec<u8> {
    match turn % 3 {
        // As an early firmware wrote them: more values than times.
        0 => super::blocks::packed(&text.replace("],\"v\":[0", "],\"v\":[0,0,,1")),
        1 => {
            let packed = super::blocks::packed(text);
            packed[..packed.len() / 2].to_vec()
        }
        _ => text.as_bytes().to_vec(),
    }
}
