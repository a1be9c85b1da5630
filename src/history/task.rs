//! The task that drives the histories: reads the journal, closes and merges by the clock, and
//! publishes what is on disk.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::CURSOR;
use super::open::Open;
use super::recorder::Recorder;
use super::retention;
use super::{HistoryError, Published, Shared};
use crate::broker::{Link, Message, QoS};
use crate::error::chain;
use crate::journal::Journal;
use crate::model::Timestamp;
use crate::topic::Topic;

/// The part of the histories that runs.
#[derive(Debug)]
pub struct Task {
    shared: Arc<Shared>,
    told: tokio::sync::Mutex<mpsc::Receiver<Published>>,
}

/// What one look at the journal and the clock has brought.
#[derive(Debug, Default)]
struct Step {
    published: Vec<Published>,
    /// There is more to do at once.
    more: bool,
    failed: Option<HistoryError>,
}

/// The recorder with what it reads, on its way between threads.
#[derive(Debug)]
struct Work {
    recorder: Recorder,
    journal: Journal,
    shared: Arc<Shared>,
    /// Seconds at which retention is looked at next.
    retention: i64,
    said: Said,
}

/// What was said already, so that it is said once.
#[derive(Debug, Default)]
struct Said {
    stuck: bool,
    oldest: Option<i64>,
}

impl Task {
    pub(super) fn new(shared: Arc<Shared>, told: mpsc::Receiver<Published>) -> Task {
        Task { shared, told: tokio::sync::Mutex::new(told) }
    }

    /// Runs until the journal has come to its end. What is in open blocks stays in the journal, and
    /// is read from there when this is run again.
    ///
    /// # Errors
    /// When the journal cannot be read at the start, or the thread that works was lost. A file
    /// that fails later is counted, said, and tried again.
    pub async fn run(&self, journal: Journal, link: Link) -> Result<(), HistoryError> {
        let mut told = self.told.lock().await;
        *self.shared.open.lock() = Open::default();
        let mut committed = journal.committed();
        let end = *committed.borrow_and_update();
        let start = {
            let journal = journal.clone();
            let cursor = tokio::task::spawn_blocking(move || journal.cursor(CURSOR));
            cursor.await.map_err(|_| HistoryError::Lost)??
        };
        let (shared, grace) = (Arc::clone(&self.shared), self.shared.settings.grace);
        let recorder = Recorder::new(Arc::clone(&shared), start, end, grace);
        let mut work = Work { recorder, journal, shared, retention: 0, said: Said::default() };
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut failing = false;
        let mut ended = false;
        while !ended {
            tokio::select! {
                _ = tick.tick() => {}
                // The records of a second are pushed together: a wake for each commit is enough.
                changed = committed.changed() => ended = changed.is_err(),
                Some(block) = told.recv() => {
                    publish(&self.shared, &link, vec![block]).await;
                    continue;
                }
            }
            loop {
                let step;
                (work, step) = tokio::task::spawn_blocking(move || work.step())
                    .await
                    .map_err(|_| HistoryError::Lost)?;
                publish(&self.shared, &link, step.published).await;
                report(step.failed.as_ref(), &mut failing, &self.shared);
                if !step.more || (ended && step.failed.is_some()) {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Work {
    /// Reads on in the journal, and closes what is over. Blocking.
    fn step(mut self) -> (Work, Step) {
        let mut step = Step::default();
        match self.try_step() {
            Ok((published, more)) => {
                step.published = published;
                step.more = more;
            }
            Err(error) => step.failed = Some(error),
        }
        (self, step)
    }

    fn try_step(&mut self) -> Result<(Vec<Published>, bool), HistoryError> {
        let now = Timestamp::now().seconds();
        let records = self.journal.read(self.recorder.position(), RECORDS)?;
        let behind = records.len() >= RECORDS;
        // While there is more in the journal, its time goes by what has been read: else every
        // window of the past would be closed before all of it was there.
        let live = records.iter().filter(|record| record.live);
        let latest = live.map(|record| record.set.at.seconds()).max();
        let clock = match latest {
            Some(latest) if behind => latest.min(now),
            _ => now,
        };
        self.recorder.push(&records, clock)?;
        if behind && latest.is_none() {
            return Ok((Vec::new(), true));
        }
        let (published, more) = self.recorder.tick(clock)?;
        let more = more || behind || (now >= self.retention && self.retain(now)?);
        Ok((published, more))
    }

    /// Now and then: what is too old or too much goes. `true`: there is more of it.
    fn retain(&mut self, now: i64) -> Result<bool, HistoryError> {
        let removed = retention::enforce(&self.shared, now)?;
        if let Some(oldest) = removed.oldest
            && self.said.oldest.replace(oldest) != Some(oldest)
        {
            self.shared.metrics.history_removed.increment();
            tracing::warn!(
                size = self.shared.settings.size,
                oldest,
                "histories take more than history.size: the oldest blocks are removed, of all \
                 sensors; raise history.size if there is room"
            );
        }
        if removed.stuck && !self.said.stuck {
            tracing::error!(
                size = self.shared.settings.size,
                "histories take more than history.size although there is no block old enough to \
                 be removed; raise history.size"
            );
        }
        self.said.stuck = removed.stuck;
        if !removed.more {
            self.retention = now + RETENTION;
        }
        Ok(removed.more)
    }
}

/// Publishes blocks, and waits for those who listen as publishing readings does.
async fn publish(shared: &Shared, link: &Link, blocks: Vec<Published>) {
    for slice in blocks.chunks(64) {
        let loud = |block: &&Published| !shared.quiet.lock().contains(&block.key.sensor);
        let messages: Vec<(String, &[u8])> = slice
            .iter()
            .filter(loud)
            .map(|Published { key, gzip }| {
                let (sensor, rid, level, begin) = (key.sensor, key.rid, key.level, key.bid);
                (Topic::Tmpo { sensor, rid, level, begin }.to_string(), &gzip[..])
            })
            .collect();
        shared.metrics.published.add(messages.len() as u64);
        let (qos, retain) = (QoS::AtMostOnce, false);
        let messages = messages.iter();
        let crowded = link.publish_all(messages.map(|(topic, payload)| Message {
            topic,
            payload,
            qos,
            retain,
        }));
        crowded.wait().await;
    }
}

/// Says when the file begins to fail, and when it works again.
fn report(failed: Option<&HistoryError>, failing: &mut bool, shared: &Shared) {
    match failed {
        Some(error) => {
            shared.metrics.history_failures.increment();
            if !*failing {
                tracing::error!(
                    error = chain(error),
                    "histories cannot be written: readings stay in the journal until they can; \
                     check the disk of data_dir"
                );
            }
        }
        None if *failing => tracing::info!("histories are written again"),
        None => {}
    }
    *failing = failed.is_some();
}

/// Records read at once.
const RECORDS: usize = 2000;
/// How often retention is looked at, seconds.
const RETENTION: i64 = 300;
