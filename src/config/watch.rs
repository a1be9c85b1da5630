//! Whether the configuration file still is the one that runs.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::metrics::Gauge;

/// A file as it was when it was read.
#[derive(Debug, Clone)]
pub struct Watched {
    path: PathBuf,
    /// `None`: it could not be read.
    digest: Option<[u8; 32]>,
}

impl Watched {
    /// The file as it is now.
    pub fn new(path: &Path) -> Watched {
        Watched { path: path.to_owned(), digest: digest(path) }
    }

    /// The same file, as it is now.
    #[must_use]
    pub fn again(self) -> Watched {
        Watched::new(&self.path)
    }

    /// Whether it holds something else by now.
    pub fn has_changed(&self) -> bool {
        digest(&self.path) != self.digest
    }

    /// Sets `changed` to 1 while the file holds something else, until `stop`.
    ///
    /// # Errors
    /// None.
    pub async fn follow(self, changed: Gauge, stop: CancellationToken) -> Result<(), Infallible> {
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = tick.tick() => {}
            }
            let file = self.clone();
            // A drive that hangs must not hang us.
            let look = tokio::task::spawn_blocking(move || file.has_changed());
            let Ok(is_changed) = look.await else { continue };
            if u64::from(is_changed) != changed.get() {
                changed.set(u64::from(is_changed));
                if is_changed {
                    tracing::warn!(
                        file = %self.path.display(),
                        "the configuration file has changed: what it says now counts after a restart"
                    );
                }
            }
        }
    }
}

fn digest(path: &Path) -> Option<[u8; 32]> {
    let bytes = std::fs::read(path).ok()?;
    Some(Sha256::digest(bytes).into())
}

const LOOK_EVERY: Duration = Duration::from_secs(2);
