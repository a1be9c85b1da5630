//! What is kept how long: everything, unless it is older than it was to be kept, or takes more room
//! than it was given. Then the oldest blocks of the highest level go, of all sensors alike.
//!
//! Room that is given back is used again by what comes next, and the journal gives back to the file
//! system what stays free.

use rusqlite::TransactionBehavior;

use super::{HistoryError, Shared, tables};

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Removed {
    /// Where the blocks began that went for want of room, Unix seconds.
    pub(super) oldest: Option<i64>,
    /// Nothing could be removed although there is too much.
    pub(super) stuck: bool,
    /// More is to be removed.
    pub(super) more: bool,
}

/// Removes what is too old or too much, some at a time. `now`: Unix seconds.
pub(super) fn enforce(shared: &Shared, now: i64) -> Result<Removed, HistoryError> {
    let mut removed = Removed { oldest: None, stuck: false, more: false };
    let bytes = shared.bytes.load(std::sync::atomic::Ordering::Relaxed);
    let over = bytes.max(0).unsigned_abs() > shared.settings.size;
    let keep = shared.settings.keep.map(|keep| now - keep);
    if !over && keep.is_none() {
        return Ok(removed);
    }
    let mut writer = shared.writer.lock();
    let mut write = || -> rusqlite::Result<i64> {
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut freed = match keep {
            Some(before) => tables::forget(&transaction, before)?,
            None => 0,
        };
        removed.more = freed > 0;
        if over {
            match tables::forget_oldest(&transaction)? {
                Some((oldest, bytes)) => {
                    removed.oldest = Some(oldest);
                    removed.more = true;
                    freed += bytes;
                }
                None => removed.stuck = true,
            }
        }
        transaction.commit()?;
        Ok(freed)
    };
    let freed = write().map_err(|source| shared.failed(source))?;
    shared.grow(-freed);
    Ok(removed)
}
