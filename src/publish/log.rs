//! `meterbridge/bridge/log`: the gateway's warnings and errors, as many as can be read.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::log::{self, Line};

/// Lines that are to be published.
#[derive(Debug)]
pub(super) struct Log {
    lines: broadcast::Receiver<Line>,
    window: Instant,
    published: u32,
    held_back: u64,
}

impl Log {
    pub(super) fn new() -> Log {
        Log { lines: log::subscribe(), window: Instant::now(), published: 0, held_back: 0 }
    }

    /// The next line as it is to be published. Safe to cancel.
    pub(super) async fn next(&mut self) -> Value {
        loop {
            match self.lines.recv().await {
                Ok(line) if line.of_publishing => {}
                Ok(line) => {
                    if let Some(text) = self.pass(&line, Instant::now()) {
                        return text;
                    }
                }
                Err(RecvError::Lagged(missed)) => self.held_back += missed,
                // The sender is never dropped.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    fn pass(&mut self, line: &Line, now: Instant) -> Option<Value> {
        if now.duration_since(self.window) >= WINDOW {
            self.window = now;
            self.published = 0;
        }
        if self.published >= MOST {
            self.held_back += 1;
            return None;
        }
        self.published += 1;
        let mut text = line.to_json();
        let held_back = std::mem::take(&mut self.held_back);
        if held_back > 0 {
            text["held_back"] = json!(held_back);
        }
        Some(text)
    }
}

/// At most so many lines in such a time; how many were held back stands in the next one.
const MOST: u32 = 50;
const WINDOW: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn a_flood_is_cut_and_said_to_be() {
        let mut log = Log::new();
        let line = Line {
            at: Timestamp(1_700_000_000_000),
            level: "warning",
            message: "x".into(),
            of_publishing: false,
        };
        let now = log.window;
        let passed = (0..MOST + 7).filter(|_| log.pass(&line, now).is_some()).count();
        assert_eq!(passed, MOST as usize);
        let next = log.pass(&line, now + WINDOW).unwrap();
        assert_eq!(next["held_back"], 7);
        assert_eq!(
            log.pass(&line, now + WINDOW).unwrap().to_string(),
            r#"{"level":"warning","message":"x","ts":1700000000}"#
        );
    }
}
