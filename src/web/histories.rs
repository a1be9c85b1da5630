//! Histories, for those who ask over HTTP.

use std::sync::Arc;

use jiff::tz::TimeZone;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::error::chain;
use crate::history::{History, HistoryError};
use crate::log::Allowance;
use crate::model::{Device, DeviceId, SensorId};

/// The way to the histories. Clones are the same way.
#[derive(Debug, Clone)]
pub struct Histories {
    history: History,
    turns: Arc<Semaphore>,
    failures: Arc<Mutex<Allowance>>,
    zone: TimeZone,
}

/// The histories cannot be read; the log says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the history cannot be read now: the gateway's log says why")]
pub(super) struct Unreadable;

impl Histories {
    /// `zone`: whose days are meant where nobody says so.
    pub fn new(history: History, zone: TimeZone) -> Histories {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Histories { history, turns, failures: Arc::default(), zone }
    }

    /// A meter as it was heard last, before the start if need be.
    pub(super) fn meter(&self, id: DeviceId) -> Option<Arc<Device>> {
        self.history.meter(id)
    }

    /// The meter that has this sensor, as it was heard last, and the sensor's place in it.
    pub(super) fn meter_of(&self, id: SensorId) -> Option<(Arc<Device>, usize)> {
        self.history.meter_of(id)
    }

    /// The gateway's own time zone.
    pub(super) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Asks on a thread that may wait for the disk; a few at a time, and the others wait.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&History) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, Unreadable> {
        // Nobody closes it.
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Unreadable)?;
        let history = self.history.clone();
        let answer = tokio::task::spawn_blocking(move || {
            // Whoever asked may have gone; the thread is taken until the answer is there.
            let _turn = turn;
            question(&history).map_err(|error| chain(&error))
        });
        match answer.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(error) => Err(self.failed(&error.to_string())),
        }
    }

    fn failed(&self, error: &str) -> Unreadable {
        if let Some(held_back) = self.failures.lock().pass() {
            tracing::error!(
                error,
                held_back,
                "history that was asked for over http cannot be read"
            );
        }
        Unreadable
    }
}

/// Questions that are answered at the same time.
const AT_ONCE: usize = 4;
