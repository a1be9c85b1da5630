//! Blocks that a Fluksometer has made itself: checked, stored, and preferred to what was recorded
//! of the same readings. Nothing that was recorded beside them is given up.

use meter_protocols::flukso::tmpo::{self, Block, BlockError, span};
use rusqlite::{OptionalExtension, TransactionBehavior, params};
use serde::Deserialize;

use super::cells::Shape;
use super::plan::Planner;
use super::query::View;
use super::recorder::{apply, published};
use super::summary::Summary;
use super::{BlockKey, History, HistoryError, Published, Tail};
use crate::model::{SensorId, Timestamp};

/// What became of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is stored.
    New,
    /// All of it was there already.
    Known,
}

/// Why a block was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There can be no such block.
    #[error("level {level} has no window that begins at {bid}")]
    Place {
        /// The level named.
        level: u8,
        /// The begin named.
        bid: i64,
    },
    /// It is malformed.
    #[error("the block is malformed: {0}")]
    Malformed(#[from] BlockError),
    /// Its readings are not those of its window.
    #[error(
        "the block of the {seconds} s from {bid} has readings from {first} to {last}",
        seconds = span(*.level)
    )]
    Elsewhere {
        /// The level named.
        level: u8,
        /// The begin named.
        bid: i64,
        /// The time of the first reading.
        first: i64,
        /// The time of the last.
        last: i64,
    },
    /// It cannot be stored.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// What a block's own section says of its readings.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Section {
    class: String,
    #[serde(rename = "type")]
    kind: String,
    subtype: String,
    data_type: String,
}

impl History {
    /// Takes over a block that a Fluksometer has published: checked, stored, and preferred to what
    /// was recorded at the same times. A malformed one is refused and counted.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn take_over(&self, key: BlockKey, gzip: Vec<u8>) -> Result<Taken, Refused> {
        let history = self.clone();
        let work = move || history.take_over_now(key, gzip);
        let outcome = tokio::task::spawn_blocking(work).await.map_err(|_| HistoryError::Lost)?;
        let news = match outcome {
            Ok(news) => news,
            Err(refused) => {
                if !matches!(refused, Refused::History(_)) {
                    self.shared.metrics.history_malformed.increment();
                }
                return Err(refused);
            }
        };
        let Some(news) = news else { return Ok(Taken::Known) };
        for block in news {
            // Whoever publishes is behind or gone: those who want the block ask for it.
            let _ = self.shared.news.send_timeout(block, NEWS_PATIENCE).await;
        }
        Ok(Taken::New)
    }

    /// The last block of the sensor that came from the meter itself: what to name when asking it for
    /// more. To be asked before its new blocks are subscribed to. Blocking.
    ///
    /// # Errors
    /// When the file fails.
    pub fn last_stored(&self, sensor: SensorId) -> Result<Tail, HistoryError> {
        let find = |view: &View<'_>| view.last_taken();
        Ok(self.view(sensor, find, |_| ())?.0)
    }

    /// What is to be published; `None` when all of it was there.
    fn take_over_now(
        &self,
        key: BlockKey,
        gzip: Vec<u8>,
    ) -> Result<Option<Vec<Published>>, Refused> {
        let (level, bid) = (key.level, key.bid);
        if !tmpo::is_window(level, bid) {
            return Err(Refused::Place { level, bid });
        }
        let block = Block::from_gzip(&gzip)?;
        if !block.fits(level, bid) {
            let (first, last) = (block.head().at, block.tail().at);
            return Err(Refused::Elsewhere { level, bid, first, last });
        }
        let shape = shape(&block);
        let shared = &self.shared;
        let failed = |source| shared.failed(source);
        let now = Timestamp::now().seconds();
        let mut writer = shared.writer.lock();
        let source = (key.sensor, key.rid);
        let row = super::tables::row_of(&writer, key.sensor).map_err(failed)?;
        let mut planner = Planner::new(&writer, row, source, now, 0).map_err(failed)?;
        let changed = planner.take_in((level, bid), block, shape, gzip).map_err(failed)?;
        let plan = planner.finish();
        if plan.puts.is_empty() && plan.retired.is_empty() {
            return Ok(None);
        }
        let write = || -> rusqlite::Result<i64> {
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let grown = apply(&transaction, &plan, now)?;
            transaction.commit()?;
            Ok(grown)
        };
        let mut write = write;
        let grown = write().map_err(failed)?;
        shared.grow(grown);
        drop(writer);
        let plans = vec![plan];
        shared.count_plans(&plans);
        let news = published(plans);
        Ok(changed.then_some(news))
    }
}

/// What a section says its readings are; a total where it says nothing.
fn shape(block: &Block) -> Shape {
    let section: Section = serde_json::from_str(block.config()).unwrap_or_default();
    // A smart meter's one counter is what was taken less what was given back.
    let net =
        section.class == "cosem" && section.kind == "electricity" && section.subtype.is_empty();
    Shape { counter: section.data_type != "gauge", falls: net }
}

impl View<'_> {
    /// A block above the lowest level may have been merged here, of as much as had come when its window
    /// was over. So it is named by the window that its last reading lies in: a meter looks for what ends
    /// later than the block that is named to it, and would keep the rest of the larger window back.
    fn last_taken(&self) -> rusqlite::Result<Tail> {
        let Some(row) = self.row() else { return Ok(Tail::default()) };
        let mut last = self.connection().prepare_cached(
            "SELECT rid, level, bid, summary FROM history_block
             WHERE sensor = ?1 AND retired IS NULL AND taken = 1
             ORDER BY rid DESC, bid + (1 << level) DESC, level DESC LIMIT 1",
        )?;
        let found = last.query_row(params![row], |row| {
            let tail = Tail { rid: row.get(0)?, level: row.get(1)?, bid: row.get(2)? };
            Ok((tail, row.get::<_, Vec<u8>>(3)?))
        });
        let Some((tail, summary)) = found.optional()? else { return Ok(Tail::default()) };
        let reached = Summary::decode(&summary).map(|summary| tmpo::window(8, summary.tail.at));
        Ok(reached.map_or(tail, |bid| Tail { level: 8, bid, ..tail }))
    }
}

const NEWS_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
