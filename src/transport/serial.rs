//! Serial ports of this machine.
//!
//! A port is opened again whenever it goes away: an adapter that is unplugged and plugged in again,
//! also into another socket, is back within seconds. The path is looked up each time.

mod device;
mod open;
mod permission;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::{End, LastHeard, converse};
use super::{Backoff, Conversation};
use crate::metrics::Metrics;
use open::Opened;

pub use device::find as find_device;
pub(crate) use device::path_fault;
pub(crate) use permission::explain as explain_permission;

/// A serial port with meters on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialLine {
    /// The device file, a link to it, or a pattern that fits one; looked up at each attempt.
    pub device: PathBuf,
    /// Bits per second.
    pub baud: u32,
    /// What a character is made of.
    pub framing: Framing,
}

/// What a character is made of on the line, with one start and one stop bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Framing {
    /// Eight bits, no parity: 8N1.
    #[default]
    EightNone,
    /// Seven bits, even parity: 7E1.
    SevenEven,
}

/// Why a serial port does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SerialError {
    /// No such device.
    #[error("there is no {}: {there}", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
        /// What is there instead.
        there: String,
    },
    /// A pattern fits more than one device.
    #[error("{} fits several devices, {found}: write the one that is meant", pattern.display())]
    Several {
        /// The pattern.
        pattern: PathBuf,
        /// What it fits.
        found: String,
    },
    /// The user may not.
    #[error("permission denied: {words}")]
    Permission {
        /// Whose the device is, who asks, and the fix.
        words: String,
    },
    /// Another program has it.
    #[error("{} is in use by {by}", device.display())]
    InUse {
        /// The device.
        device: PathBuf,
        /// Who has it.
        by: String,
    },
    /// It is something else.
    #[error("{} is not a serial port", device.display())]
    NotSerial {
        /// The path.
        device: PathBuf,
    },
    /// The hardware cannot go that fast, or that slow.
    #[error("{} does not do {baud} baud{}", device.display(), instead(*.set))]
    Baud {
        /// The device.
        device: PathBuf,
        /// What was asked for.
        baud: u32,
        /// What the driver took instead.
        set: Option<u32>,
    },
    /// Anything else, in the system's words.
    #[error("{} cannot be opened: {reason}", device.display())]
    Failed {
        /// The device.
        device: PathBuf,
        /// Why.
        reason: String,
    },
}

fn instead(set: Option<u32>) -> String {
    set.map_or_else(String::new, |set| format!(" (it took {set}): set meter and link to another"))
}

/// Keeps a serial port open until `stop`.
pub async fn attend<C: Conversation>(
    line: SerialLine,
    stop: CancellationToken,
    metrics: Metrics,
    begin: impl Fn() -> C + Send,
) -> Result<(), std::convert::Infallible> {
    let mut pause = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
    let mut log = Log::new(&line.device);
    loop {
        let begun = Instant::now();
        let session = async {
            let Opened { stream, device, others } = tokio::select! {
                opened = open(line.clone()) => opened?,
                () = stop.cancelled() => return Ok(End::Left),
            };
            log.opened(&device, line.baud);
            for holder in &others {
                tracing::warn!(
                    device = %device.display(),
                    "{holder} has the serial port open too: each of them gets a part of the bytes"
                );
            }
            let _held = metrics.meter_connections.hold();
            Ok(converse(stream, begin(), None, &LastHeard::now(), &stop).await)
        };
        let outcome: Result<End, SerialError> = session.await;
        if stop.is_cancelled() {
            return Ok(());
        }
        let lasted = begun.elapsed();
        if lasted > STEADY {
            pause.reset();
        }
        log.lost(&outcome.map_or_else(|error| error.to_string(), describe), lasted);
        let pause = pause.next_pause();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Drivers may take their time to open, so no worker of the runtime waits for them.
async fn open(line: SerialLine) -> Result<Opened, SerialError> {
    let device = line.device.clone();
    let failed =
        |error: tokio::task::JoinError| SerialError::Failed { device, reason: error.to_string() };
    tokio::task::spawn_blocking(move || open::open(&line)).await.map_err(failed)?
}

fn describe(end: End) -> String {
    match end {
        End::Closed | End::Idle => "the serial port hung up, as when it is unplugged".to_owned(),
        End::Failed(error) => format!("the serial port failed ({error}), as when it is unplugged"),
        End::Finished(reason) => reason,
        End::Left => "the gateway closed the serial port".to_owned(),
    }
}

/// Says once that a port is lost, why it does not open, and that it is back. A contact that is loose
/// for a month fills no log.
struct Log {
    path: PathBuf,
    /// Reasons that were told since the port last worked for a while.
    told: Vec<String>,
    /// The last word was that the port is open.
    said_open: bool,
    failing: Option<Instant>,
}

impl Log {
    fn new(path: &Path) -> Log {
        Log { path: path.to_owned(), told: Vec::new(), said_open: false, failing: None }
    }

    fn opened(&mut self, device: &Path, baud: u32) {
        self.failing = None;
        if !self.said_open {
            self.said_open = true;
            tracing::info!(device = %device.display(), baud, "serial port is open");
        }
    }

    fn lost(&mut self, reason: &str, lasted: Duration) {
        if self.is_news(reason, lasted) {
            tracing::warn!(serial = %self.path.display(), "{reason}; it is tried again and again");
        }
    }

    fn is_news(&mut self, reason: &str, lasted: Duration) -> bool {
        if lasted > STEADY || self.told.len() > MOST_REASONS {
            self.told.clear();
        }
        let failing = *self.failing.get_or_insert_with(Instant::now);
        let known = self.told.iter().any(|told| told == reason);
        // A port that came and went unmentioned is lost for good now, and the log says it is open.
        let stale = self.said_open && failing.elapsed() > STEADY;
        if known && !stale {
            return false;
        }
        if !known {
            self.told.push(reason.to_owned());
        }
        self.said_open = false;
        true
    }
}

/// A port that was open for so long works.
const STEADY: Duration = Duration::from_secs(10);
const MOST_REASONS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loose_contact_is_told_once_and_its_end_is_told() {
        let mut log = Log::new(Path::new("/dev/meter"));
        let (brief, long) = (Duration::from_secs(1), Duration::from_secs(3600));
        for told in [[true, true], [false, false], [false, false]] {
            log.opened(Path::new("/dev/ttyUSB0"), 19_200);
            let news = ["hung up", "missing"].map(|reason| log.is_news(reason, brief));
            assert_eq!(news, told);
        }
        // The last word was that it is open, and it stays away.
        assert!(log.said_open);
        tokio::time::advance(STEADY * 2).await;
        assert!(log.is_news("missing", brief) && !log.is_news("missing", brief));
        // After it has worked everything is news again.
        log.opened(Path::new("/dev/ttyUSB0"), 19_200);
        assert!(log.is_news("hung up", long) && log.is_news("missing", brief));
    }
}
