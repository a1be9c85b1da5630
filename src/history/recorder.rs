//! From the journal's records to blocks: when windows are closed, and how both come to disk. The clock comes as an argument.
//!
//! The journal's cursor stays before the oldest reading that is still in an open block: after a
//! kill the open blocks are made anew from the records behind it. What of these is in a stored
//! block already is told by the number of the last record that the block has regarded.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use meter_protocols::flukso::tmpo::{self, Point, span};
use rusqlite::TransactionBehavior;

use super::open::{OpenBlock, Source};
use super::plan::{Plan, Planner};
use super::pushing::{Meter, Moment, push_one, recorded, regarded};
use super::tables::{self, Rows};
use super::{BlockKey, HistoryError, Published, Shared, meters};
use crate::journal::{Record, advance_in};
use crate::model::DeviceId;

/// Turns records into blocks.
#[derive(Debug)]
pub(super) struct Recorder {
    shared: Arc<Shared>,
    rows: Rows,
    meters: HashMap<DeviceId, Meter>,
    /// The last record that was pushed.
    position: u64,
    /// Records up to here were there at the start: their time is not judged by the clock.
    replay: u64,
    /// How far the clock may be behind the end of a window before it is closed.
    grace: i64,
    /// Sources whose merges are due, by the text of their id.
    due: BTreeMap<(String, u32), Source>,
    /// The window of 4096 s for which merges were looked for last.
    looked: Option<i64>,
    /// Where the journal's cursor was moved last.
    advanced: Option<u64>,
    /// When blocks that were merged are looked for next, to be removed.
    purge: i64,
}

impl Recorder {
    /// A recorder that goes on behind record `position`, where `replay` records are there already.
    pub(super) fn new(shared: Arc<Shared>, position: u64, replay: u64, grace: i64) -> Recorder {
        Recorder {
            shared,
            rows: Rows::default(),
            meters: HashMap::new(),
            position,
            replay,
            grace,
            due: BTreeMap::new(),
            looked: None,
            advanced: None,
            purge: 0,
        }
    }

    /// Records up to here were there before the start.
    #[cfg(test)]
    pub(super) fn set_replay(&mut self, replay: u64) {
        self.replay = replay;
    }

    /// The last record that was pushed.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Takes records in, in their order. `now`: Unix seconds.
    pub(super) fn push(&mut self, records: &[Record], now: i64) -> Result<(), HistoryError> {
        let shared = Arc::clone(&self.shared);
        let connection = shared.connection()?;
        let mut open = shared.open.lock();
        for record in records {
            let device = &record.set.device;
            let known = self
                .meters
                .get(&device.id)
                .is_some_and(|meter| Arc::ptr_eq(&meter.device, device) || meter.device == *device);
            if !known {
                let meter = Meter::new(device);
                shared.note_device(device);
                self.meters.insert(device.id, meter);
            }
            let Some(meter) = self.meters.get(&device.id) else { continue };
            for reading in &record.set.readings {
                let slot = meter.slots.get(usize::from(reading.sensor)).and_then(Option::as_ref);
                let (Some(slot), (kind, value)) = (slot, recorded(reading.value)) else { continue };
                if kind != slot.recorded {
                    continue;
                }
                let point = Point { at: record.set.at.seconds(), milli: value };
                let moment = Moment {
                    seq: record.seq,
                    replayed: record.seq <= self.replay,
                    now,
                    grace: self.grace,
                };
                let lookup = |rows: &mut Rows| {
                    regarded(&connection, rows, (slot.sensor, slot.rid), point.at)
                };
                let mut rows = std::mem::take(&mut self.rows);
                let pushed = push_one(&mut open, slot, point, moment, || lookup(&mut rows));
                self.rows = rows;
                shared.count(pushed.map_err(|source| shared.failed(source))?);
            }
            self.position = record.seq;
        }
        shared.metrics.history_open_blocks.set(open.len() as u64);
        drop(open);
        shared.give_back(connection);
        Ok(())
    }

    /// Closes what is over, merges what follows, and writes both. Answers what to publish, and
    /// whether there is more to be done. `now`: Unix seconds.
    pub(super) fn tick(&mut self, now: i64) -> Result<(Vec<Published>, bool), HistoryError> {
        self.look_for_merges(now)?;
        self.add_due(now);
        let begin = Instant::now();
        let shared = Arc::clone(&self.shared);
        let mut writer = shared.writer.lock();
        let connection = shared.connection()?;
        let mut plans = Vec::new();
        while let Some((_, source)) = self.due.pop_first() {
            let planned = self.plan(&connection, source, now);
            plans.push(planned.map_err(|source| shared.failed(source))?);
            if begin.elapsed() > SLICE {
                break;
            }
        }
        shared.give_back(connection);
        let behind = self.behind(&plans);
        let purge = now >= self.purge || now < self.purge - PURGE;
        let meters = shared.meters.lock().unwritten();
        let settled = self.advanced == Some(behind) && meters.is_empty();
        if plans.is_empty() && !purge && settled {
            // Nothing to write: a disk that is not written to lasts longer.
            return Ok((Vec::new(), false));
        }
        let transaction = writer
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|source| shared.failed(source))?;
        let apply = || -> rusqlite::Result<i64> {
            let mut grown = if purge { -tables::purge(&transaction, now)? } else { 0 };
            for plan in &plans {
                grown += apply(&transaction, plan, now)?;
            }
            meters::write(&transaction, &meters)?;
            advance_in(&transaction, CURSOR, behind)?;
            Ok(grown)
        };
        let outcome = apply();
        // From here on a reader sees either all of it in the open blocks, or all of it stored.
        let mut open = shared.open.lock();
        let grown = outcome
            .and_then(|grown| transaction.commit().map(|()| grown))
            .map_err(|source| shared.failed(source));
        let grown = match grown {
            Ok(grown) => grown,
            Err(error) => {
                let again = plans.iter().map(|plan| (due_key(plan.source), plan.source));
                self.due.extend(again);
                return Err(error);
            }
        };
        for plan in &plans {
            open.remove(plan.source, &plan.written);
        }
        shared.metrics.history_open_blocks.set(open.len() as u64);
        drop(open);
        shared.meters.lock().written(&meters);
        self.advanced = Some(behind);
        self.purge = if purge { now + PURGE } else { self.purge };
        shared.grow(grown);
        drop(writer);
        shared.count_plans(&plans);
        Ok((published(plans), !self.due.is_empty()))
    }

    /// When a window of the second level has ended, all sources that have something to merge.
    fn look_for_merges(&mut self, now: i64) -> Result<(), HistoryError> {
        let window = tmpo::window(12, now - self.grace);
        if self.looked.is_some_and(|looked| looked >= window) {
            return Ok(());
        }
        let connection = self.shared.connection()?;
        let waiting = tables::waiting(&connection, now - self.grace);
        self.shared.give_back(connection);
        let waiting = waiting.map_err(|source| self.shared.failed(source))?;
        self.due.extend(waiting.into_iter().map(|source| (due_key(source), source)));
        self.looked = Some(window);
        Ok(())
    }

    fn add_due(&mut self, now: i64) {
        let open = self.shared.open.lock();
        for (source, blocks) in &open.sources {
            if blocks.iter().any(|block| block.due <= now || is_absurd(block, now)) {
                self.due.insert(due_key(*source), *source);
            }
        }
    }

    fn plan(
        &mut self,
        connection: &rusqlite::Connection,
        source: Source,
        now: i64,
    ) -> rusqlite::Result<Plan> {
        let over =
            |block: &&OpenBlock| block.begin + span(8) + self.grace <= now || is_absurd(block, now);
        let open = self.shared.open.lock();
        let blocks = open.sources.get(&source).map_or(&[][..], Vec::as_slice);
        let blocks: Vec<OpenBlock> = blocks.iter().filter(over).cloned().collect();
        drop(open);
        let row = self.rows.find(connection, source.0)?;
        let mut planner = Planner::new(connection, row, source, now, self.grace)?;
        for block in &blocks {
            planner.close(block, self.position)?;
        }
        planner.cascade(self.position)?;
        Ok(planner.finish())
    }

    /// The last record before the oldest reading that will be in an open block.
    fn behind(&self, plans: &[Plan]) -> u64 {
        let written: HashMap<Source, &[i64]> =
            plans.iter().map(|plan| (plan.source, &plan.written[..])).collect();
        let open = self.shared.open.lock();
        let left = open.sources.iter().flat_map(|(source, blocks)| {
            let written = written.get(source).copied().unwrap_or_default();
            blocks.iter().filter(|block| !written.contains(&block.begin))
        });
        let first = left.map(|block| block.first).min();
        first.map_or(self.position, |first| first.saturating_sub(1))
    }
}

/// Makes the changes of a plan; answers by how many bytes the whole has grown.
pub(super) fn apply(
    transaction: &rusqlite::Transaction<'_>,
    plan: &Plan,
    now: i64,
) -> rusqlite::Result<i64> {
    let mut grown = 0;
    // First, because a block that could not be read may have got another in its place.
    for id in &plan.retired {
        tables::retire(transaction, *id, now)?;
    }
    if !plan.puts.is_empty() {
        let row = tables::make_row(transaction, plan.source.0)?;
        for put in &plan.puts {
            grown += tables::put(transaction, row, plan.source.1, put)?;
        }
    }
    Ok(grown)
}

/// What is to be published: all that was closed, then all that was merged.
pub(super) fn published(plans: Vec<Plan>) -> Vec<Published> {
    let (mut closed, mut merged) = (Vec::new(), Vec::new());
    for plan in plans {
        let (sensor, rid) = plan.source;
        let mut blocks: HashMap<(u8, i64), Vec<u8>> =
            plan.puts.into_iter().map(|put| ((put.level, put.begin), put.gzip)).collect();
        let mut take = |place: &(u8, i64)| {
            let key = BlockKey { sensor, rid, level: place.0, bid: place.1 };
            blocks.remove(place).map(|gzip| Published { key, gzip })
        };
        closed.extend(plan.closed.iter().filter_map(&mut take));
        merged.extend(plan.merged.iter().filter_map(&mut take));
    }
    closed.append(&mut merged);
    closed
}

fn due_key((sensor, rid): Source) -> (String, u32) {
    (sensor.to_string(), rid)
}

/// A window in the far future: the clock was wrong, and the journal must not wait for it.
fn is_absurd(block: &OpenBlock, now: i64) -> bool {
    block.begin > now + 86_400
}

/// The name of the journal's cursor.
pub(crate) const CURSOR: &str = "history";
/// How often merged blocks are looked for that may go, seconds.
const PURGE: i64 = 30;
/// How long one step may take, about; the rest follows in the next.
const SLICE: Duration = Duration::from_millis(400);
