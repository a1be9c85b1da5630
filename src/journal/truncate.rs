//! What may go from the journal, and what has to.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::{TransactionBehavior, params};

use super::cursors::{self, Cursor};
use super::keeper::{Extent, Keeper, ROW_BYTES, keep};
use super::{JournalError, database, devices, signed, unsigned};
use crate::model::Timestamp;

/// What is known of records that had to go although somebody needed them.
#[derive(Debug, Default)]
pub(super) struct Cutting {
    /// When it was said last.
    told: Option<Instant>,
}

impl Keeper {
    /// Takes a part of what may go out of the file; answers whether there is more.
    pub(super) fn tidy(&mut self, now: Timestamp) -> Result<bool, JournalError> {
        self.try_tidy(now).map_err(|source| self.shared.failed(source))
    }

    fn try_tidy(&mut self, now: Timestamp) -> rusqlite::Result<bool> {
        let cursors = self.current_cursors(now)?;
        let last = self.extent.last;
        let done = cursors.iter().map(|cursor| cursor.done).min().unwrap_or(last).min(last);
        let mut slices = SLICES;
        while slices > 0 && self.extent.first <= done {
            self.remove((self.extent.first + SLICE - 1).min(done), false)?;
            slices -= 1;
        }
        let behind = self.cut(&cursors, &mut slices)?;
        if self.extent.last - self.noted > UNNOTED {
            keep(&self.connection, self.extent)?;
            self.noted = self.extent.last;
        }
        devices::remove_unused(&self.connection, &self.shared, self.extent.first)?;
        let smaller = database::give_back(&self.connection)?;
        if behind {
            self.show(&cursors::list(&self.connection)?);
        } else {
            self.show(&cursors);
        }
        Ok(smaller || slices == 0)
    }

    /// The cursors; those that are in use are marked, and those that nobody wants are let go.
    fn current_cursors(&self, now: Timestamp) -> rusqlite::Result<Vec<Cursor>> {
        let mut cursors = cursors::list(&self.connection)?;
        let claimed = self.shared.claimed.lock().clone();
        for cursor in &cursors {
            let age = now.since(cursor.used);
            if claimed.contains(&cursor.name) {
                // Also when the clock went back by much.
                if age > MARK || cursor.used.since(now) > MARK {
                    cursors::touch(&self.connection, &cursor.name, now)?;
                }
            } else if age > KEPT_FOR {
                tracing::info!(
                    cursor = cursor.name,
                    "nothing in the configuration reads the journal under this name any more: what \
                     waited for it goes"
                );
                cursors::remove(&self.connection, &cursor.name)?;
            }
        }
        cursors
            .retain(|cursor| claimed.contains(&cursor.name) || now.since(cursor.used) <= KEPT_FOR);
        // Whoever registers is among the claimed before it looks at the file.
        let claimed = self.shared.claimed.lock();
        if cursors.is_empty() && claimed.is_empty() {
            self.shared.wanted.store(false, Ordering::Release);
        }
        Ok(cursors)
    }

    /// Takes the oldest away while the journal is too large, needed or not; answers whether
    /// somebody needed them.
    fn cut(&mut self, cursors: &[Cursor], slices: &mut u32) -> rusqlite::Result<bool> {
        if self.extent.bytes <= self.limit {
            return Ok(false);
        }
        // A little more than has to be, so that it is not for every few records.
        let target = self.limit / 100 * 95;
        let from = self.extent.first;
        while *slices > 0 && self.extent.bytes > target && self.extent.rows() > 0 {
            self.remove((self.extent.first + SLICE - 1).min(self.extent.last), true)?;
            *slices -= 1;
        }
        let behind: Vec<&Cursor> =
            cursors.iter().filter(|cursor| cursor.done + 1 < self.extent.first).collect();
        let count = self.extent.first - from;
        if count == 0 {
            return Ok(false);
        }
        self.shared.metrics.journal_cut.add(count);
        if self.cutting.told.is_none_or(|told| told.elapsed() > REMINDER) {
            self.cutting.told = Some(Instant::now());
            let names: Vec<&str> = behind.iter().map(|cursor| &*cursor.name).collect();
            tracing::error!(
                cursors = names.join(", "),
                records = count,
                limit_bytes = self.limit,
                "the journal is full: its oldest records go, although these cursors still need them, \
                 and are missing there; see why they do not get on, or raise journal.size"
            );
        }
        Ok(!behind.is_empty())
    }

    /// Takes away what is there up to `until`; `skip`: also from under cursors.
    fn remove(&mut self, until: u64, skip: bool) -> rusqlite::Result<()> {
        let behavior = TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        let sum = "SELECT count(*), ifnull(sum(length(body)), 0) FROM journal WHERE seq <= ?1";
        let (rows, bodies): (i64, i64) =
            transaction.query_row(sum, [signed(until)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        transaction.execute("DELETE FROM journal WHERE seq <= ?1", params![signed(until)])?;
        if skip {
            cursors::skip(&transaction, until)?;
        }
        let gone = unsigned(bodies) + unsigned(rows) * ROW_BYTES;
        let first = until + 1;
        let bytes = match first > self.extent.last {
            true => 0,
            false => self.extent.bytes.saturating_sub(gone),
        };
        let extent = Extent { first, bytes, ..self.extent };
        keep(&transaction, extent)?;
        transaction.commit()?;
        (self.extent, self.noted) = (extent, extent.last);
        Ok(())
    }
}

/// Records in one transaction: a few milliseconds.
const SLICE: u64 = 2000;
/// Records that may have to be counted at a start.
const UNNOTED: u64 = 20_000;
/// Transactions before the next commit has its turn.
const SLICES: u32 = 10;
/// How often it is noted that a cursor is in use.
const MARK: Duration = Duration::from_secs(3600);
/// How long a cursor that nobody asks for is kept: an output may be put back.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// How often it is said that records are missing.
const REMINDER: Duration = Duration::from_secs(3600);
