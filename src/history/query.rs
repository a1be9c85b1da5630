//! What readers ask of a history. A reader takes the open blocks and its view of the stored ones
//! together, so that closing and merging is for it either done or not begun.

use std::collections::BTreeSet;

use meter_protocols::flukso::tmpo::{self, Block, Point, span};
use rusqlite::{Connection, OptionalExtension, params};

use super::summary::Summary;
use super::tables;
use super::{BlockKey, History, HistoryError, Series, Tail};
use crate::model::{Milli, SensorId};

/// A view of all histories at one moment.
pub(super) struct View<'a> {
    connection: &'a Connection,
    row: Option<i64>,
}

/// A stored block's place in a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) id: i64,
    pub(super) level: u8,
    pub(super) begin: i64,
}

impl History {
    /// What is new to somebody who has everything up to `after`: rid rising, then level falling,
    /// then time. A block that ends where `after` does is new as well if it is of a higher level:
    /// whoever has its children only gets them all by it. Blocking.
    ///
    /// # Errors
    /// When the file fails.
    pub fn sync(&self, sensor: SensorId, after: Tail) -> Result<Vec<BlockKey>, HistoryError> {
        let keys = self.view(sensor, |view| view.listed(None), |_| ())?.0;
        let had = after.bid + span(after.level);
        let new = |key: &(u32, Place)| {
            let ends = key.1.begin + span(key.1.level);
            let above = after.level > 0 && key.1.level > after.level;
            key.0 >= after.rid && (ends > had || (ends == had && above))
        };
        let keys = keys.into_iter().filter(new);
        let key = |(rid, place): (u32, Place)| BlockKey {
            sensor,
            rid,
            level: place.level,
            bid: place.begin,
        };
        Ok(keys.map(key).collect())
    }

    /// The packed bytes of a block; those of a block that was merged for ten minutes. Blocking.
    ///
    /// # Errors
    /// When the file fails.
    pub fn block(&self, key: &BlockKey) -> Result<Option<Vec<u8>>, HistoryError> {
        let find = |view: &View<'_>| {
            let Some(row) = view.row else { return Ok(None) };
            let mut find = view.connection.prepare_cached(
                "SELECT body FROM history_block
                 WHERE sensor = ?1 AND rid = ?2 AND level = ?3 AND bid = ?4",
            )?;
            find.query_row(params![row, key.rid, key.level, key.bid], |row| row.get(0)).optional()
        };
        Ok(self.view(key.sensor, find, |_| ())?.0)
    }

    /// All listed blocks whose window has a part of `from` to `to`, with their packed bytes: rid
    /// rising, then level falling, then time. Blocking.
    ///
    /// # Errors
    /// When the file fails.
    pub fn covering(
        &self,
        sensor: SensorId,
        from: i64,
        to: i64,
    ) -> Result<Vec<(BlockKey, Vec<u8>)>, HistoryError> {
        let find = |view: &View<'_>| {
            let mut found = Vec::new();
            for (rid, place) in view.listed(None)? {
                if place.begin <= to && place.begin + span(place.level) > from {
                    let key = BlockKey { sensor, rid, level: place.level, bid: place.begin };
                    found.push((key, tables::body(view.connection, place.id)?.0));
                }
            }
            Ok(found)
        };
        Ok(self.view(sensor, find, |_| ())?.0)
    }

    /// The recycle ids of the sources that a sensor has had, rising. Blocking.
    ///
    /// # Errors
    /// When the file fails.
    pub fn rids(&self, sensor: SensorId) -> Result<Vec<u32>, HistoryError> {
        let stored = |view: &View<'_>| view.rids();
        let open = |open: &super::Open| -> Vec<u32> {
            open.sources.keys().filter(|source| source.0 == sensor).map(|source| source.1).collect()
        };
        let (stored, open) = self.view(sensor, stored, open)?;
        let rids: BTreeSet<u32> = stored.into_iter().chain(open).collect();
        Ok(rids.into_iter().collect())
    }

    /// The newest reading of the newest source. Blocking.
    ///
    /// # Errors
    /// When the file fails.
    pub fn latest(&self, sensor: SensorId) -> Result<Option<(i64, Milli)>, HistoryError> {
        let Some(rid) = self.rids(sensor)?.pop() else { return Ok(None) };
        let stored = |view: &View<'_>| view.last(rid);
        let open = |open: &super::Open| {
            let blocks = open.sources.get(&(sensor, rid)).map_or(&[][..], Vec::as_slice);
            blocks.iter().map(super::open::OpenBlock::tail).max_by_key(|point| point.at)
        };
        let (stored, open) = self.view(sensor, stored, open)?;
        let last = stored.into_iter().chain(open).max_by_key(|point| point.at);
        Ok(last.map(|point| (point.at, Milli(point.milli))))
    }

    /// The readings from `from` to `to`, both included, those of open blocks among them. `rid`:
    /// which source; `None`: the newest. Blocking.
    ///
    /// # Errors
    /// When the file fails.
    pub fn series(
        &self,
        sensor: SensorId,
        rid: Option<u32>,
        from: i64,
        to: i64,
    ) -> Result<Series, HistoryError> {
        let Some(rid) =
            rid.map_or_else(|| self.rids(sensor).map(|mut rids| rids.pop()), |rid| Ok(Some(rid)))?
        else {
            return Ok(Series::default());
        };
        let points = self.points(sensor, rid, from, to)?;
        let points = points.into_iter().map(|point| (point.at, Milli(point.milli)));
        Ok(Series { rid, points: points.collect() })
    }

    pub(super) fn points(
        &self,
        sensor: SensorId,
        rid: u32,
        from: i64,
        to: i64,
    ) -> Result<Vec<Point>, HistoryError> {
        let stored = |view: &View<'_>| view.points(rid, from, to);
        let open = |open: &super::Open| open.points((sensor, rid), from, to);
        let (stored, open) = self.view(sensor, stored, open)?;
        Ok(super::plan::union(&stored, &open))
    }

    /// Asks the stored blocks and the open ones as they are at one moment.
    pub(super) fn view<S, O>(
        &self,
        sensor: SensorId,
        stored: impl FnOnce(&View<'_>) -> rusqlite::Result<S>,
        open: impl FnOnce(&super::Open) -> O,
    ) -> Result<(S, O), HistoryError> {
        let connection = self.shared.connection()?;
        let outcome = (|| {
            let lock = self.shared.open.lock();
            let transaction = connection.unchecked_transaction()?;
            // The first statement decides what the transaction sees.
            let row = tables::row_of(&transaction, sensor)?;
            let open = open(&lock);
            drop(lock);
            let stored = stored(&View { connection: &transaction, row })?;
            Ok((stored, open))
        })();
        self.shared.give_back(connection);
        outcome.map_err(|source| self.shared.failed(source))
    }
}

impl View<'_> {
    pub(super) fn connection(&self) -> &Connection {
        self.connection
    }

    pub(super) fn row(&self) -> Option<i64> {
        self.row
    }

    /// The listed blocks of one source or all: rid rising, then level falling, then time.
    pub(super) fn listed(&self, rid: Option<u32>) -> rusqlite::Result<Vec<(u32, Place)>> {
        let Some(row) = self.row else { return Ok(Vec::new()) };
        let mut list = self.connection.prepare_cached(
            "SELECT rid, id, level, bid FROM history_block
             WHERE sensor = ?1 AND (?2 IS NULL OR rid = ?2) AND retired IS NULL
             ORDER BY rid, level DESC, bid",
        )?;
        let rows = list.query_map(params![row, rid], |row| {
            Ok((row.get(0)?, Place { id: row.get(1)?, level: row.get(2)?, begin: row.get(3)? }))
        })?;
        rows.collect()
    }

    fn rids(&self) -> rusqlite::Result<Vec<u32>> {
        let Some(row) = self.row else { return Ok(Vec::new()) };
        let list = "SELECT DISTINCT rid FROM history_block WHERE sensor = ?1 AND retired IS NULL";
        let mut list = self.connection.prepare_cached(list)?;
        list.query_map([row], |row| row.get(0))?.collect()
    }

    /// The listed blocks of a source that have a part of a span of time, in the order of time.
    pub(super) fn blocks(&self, rid: u32, from: i64, to: i64) -> rusqlite::Result<Vec<Place>> {
        let listed = self.listed(Some(rid))?.into_iter().map(|(_, place)| place);
        let mut places: Vec<Place> = listed
            .filter(|place| place.begin <= to && place.begin + span(place.level) > from)
            .collect();
        places.sort_by_key(|place| place.begin);
        Ok(places)
    }

    pub(super) fn body(&self, id: i64) -> rusqlite::Result<Vec<u8>> {
        Ok(tables::body(self.connection, id)?.0)
    }

    /// A block in short: as it is stored, or made of the block where another version of this program
    /// has stored it. `None` when neither can be read.
    pub(super) fn summary(&self, id: i64) -> rusqlite::Result<Option<Summary>> {
        let find = "SELECT summary FROM history_block WHERE id = ?1";
        let stored: Vec<u8> =
            self.connection.prepare_cached(find)?.query_row([id], |row| row.get(0))?;
        if let Some(summary) = Summary::decode(&stored) {
            return Ok(Some(summary));
        }
        let Some(shape) = Summary::shape(&stored) else { return Ok(None) };
        let block = Block::from_gzip(&self.body(id)?).ok();
        Ok(block.and_then(|block| Summary::of(shape, block.points())))
    }

    /// The stored readings of a span of time. A block that cannot be read is passed over.
    pub(super) fn points(&self, rid: u32, from: i64, to: i64) -> rusqlite::Result<Vec<Point>> {
        let mut points: Vec<Point> = Vec::new();
        for place in self.blocks(rid, from, to)? {
            let Ok(block) = Block::from_gzip(&self.body(place.id)?) else { continue };
            let inside = |point: &Point| (from..=to).contains(&point.at);
            let part: Vec<Point> = block.into_points().into_iter().filter(inside).collect();
            points = match (points.last(), part.first()) {
                (Some(last), Some(first)) if last.at >= first.at => {
                    super::plan::union(&points, &part)
                }
                _ => {
                    points.extend_from_slice(&part);
                    points
                }
            };
        }
        Ok(points)
    }

    /// The newest stored reading of a source.
    fn last(&self, rid: u32) -> rusqlite::Result<Option<Point>> {
        let Some(row) = self.row else { return Ok(None) };
        let mut last: Option<Point> = None;
        for level in tmpo::LEVELS {
            let mut find = self.connection.prepare_cached(
                "SELECT summary FROM history_block
                 WHERE sensor = ?1 AND rid = ?2 AND level = ?3 AND retired IS NULL
                 ORDER BY bid DESC LIMIT 1",
            )?;
            let found = find.query_row(params![row, rid, level], |row| row.get(0)).optional()?;
            let tail = found
                .and_then(|summary: Vec<u8>| super::summary::Summary::decode(&summary))
                .map(|summary| summary.tail);
            last = last.into_iter().chain(tail).max_by_key(|point| point.at);
        }
        Ok(last)
    }
}
