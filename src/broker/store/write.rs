//! How a batch of changes gets into the tables.

use std::sync::atomic::Ordering;

use rusqlite::{Transaction, params};

use super::batch::{Batch, CopyChange, FilterChange, MessageChange, SessionChange, SessionRow};
use super::clock::{Clock, milliseconds};
use crate::broker::publication::Publication;

/// Puts all of it there; nothing else runs in the transaction.
pub(super) fn write_all(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    let clock = Clock::now();
    if batch.purge {
        let purge = "DELETE FROM retained WHERE expires <= ?1";
        transaction.prepare_cached(purge)?.execute([clock.now_ms])?;
    }
    for (number, change) in batch.sessions.iter().filter(|(_, change)| change.ended) {
        end_session(transaction, *number)?;
        debug_assert!(change.copies.is_empty());
    }
    for (number, change) in &batch.messages {
        count_copies(transaction, *number, change, &clock)?;
    }
    for (number, change) in &batch.sessions {
        write_session(transaction, *number, change)?;
    }
    for (topic, value) in &batch.retained {
        write_retained(transaction, topic, value.as_deref(), &clock)?;
    }
    Ok(())
}

fn end_session(transaction: &Transaction<'_>, session: u64) -> rusqlite::Result<()> {
    for statement in [
        "UPDATE message SET copies = copies - (SELECT count(*) FROM copy
             WHERE copy.session = ?1 AND copy.message = message.number)
         WHERE number IN (SELECT message FROM copy WHERE session = ?1)",
        "DELETE FROM message WHERE copies <= 0
         AND number IN (SELECT message FROM copy WHERE session = ?1)",
        "DELETE FROM copy WHERE session = ?1",
        "DELETE FROM subscription WHERE session = ?1",
        "DELETE FROM received WHERE session = ?1",
        "DELETE FROM session WHERE number = ?1",
    ] {
        transaction.prepare_cached(statement)?.execute([session.cast_signed()])?;
    }
    Ok(())
}

/// Writes a message with its first copies, and takes it away with its last.
fn count_copies(
    transaction: &Transaction<'_>,
    number: u64,
    change: &MessageChange,
    clock: &Clock,
) -> rusqlite::Result<()> {
    let number = number.cast_signed();
    let counted = transaction
        .prepare_cached("UPDATE message SET copies = copies + ?2 WHERE number = ?1")?
        .execute(params![number, change.copies])?;
    if counted == 0 && change.copies > 0 {
        let publication = &change.publication;
        transaction
            .prepare_cached(
                "INSERT INTO message
                 (number, copies, topic_length, image, properties, qos, retain, expires)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                number,
                change.copies,
                publication.topic_length(),
                publication.image(),
                publication.properties(),
                publication.qos as u8,
                publication.retain,
                clock.wall(publication.expires()),
            ])?;
    } else if change.copies < 0 {
        transaction
            .prepare_cached("DELETE FROM message WHERE number = ?1 AND copies <= 0")?
            .execute([number])?;
    }
    Ok(())
}

fn write_session(
    transaction: &Transaction<'_>,
    number: u64,
    change: &SessionChange,
) -> rusqlite::Result<()> {
    let session = number.cast_signed();
    if let Some(row) = &change.row {
        write_row(transaction, session, row)?;
    }
    for (filter, change) in &change.filters {
        match change {
            FilterChange::Set(grant, feeding) => transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO subscription
                     (session, filter, qos, no_local, retain_as_published, id, feeding)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    session,
                    filter,
                    grant.qos as u8,
                    grant.no_local,
                    grant.retain_as_published,
                    grant.id,
                    feeding,
                ])?,
            FilterChange::Fed => transaction
                .prepare_cached(
                    "UPDATE subscription SET feeding = 0 WHERE session = ?1 AND filter = ?2",
                )?
                .execute(params![session, filter])?,
            FilterChange::Gone => transaction
                .prepare_cached("DELETE FROM subscription WHERE session = ?1 AND filter = ?2")?
                .execute(params![session, filter])?,
        };
    }
    for (place, copy) in &change.copies {
        write_copy(transaction, session, place.cast_signed(), copy)?;
    }
    for (packet_id, open) in &change.received {
        let statement = if *open {
            "INSERT OR REPLACE INTO received (session, packet_id) VALUES (?1, ?2)"
        } else {
            "DELETE FROM received WHERE session = ?1 AND packet_id = ?2"
        };
        transaction.prepare_cached(statement)?.execute(params![session, packet_id])?;
    }
    Ok(())
}

fn write_row(
    transaction: &Transaction<'_>,
    session: i64,
    row: &SessionRow,
) -> rusqlite::Result<()> {
    let will = row.will.as_ref();
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO session
             (number, client_id, owner, expiry, left_at, will_topic, will_payload, will_properties,
              will_qos, will_retain, will_delay, will_expiry)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            session,
            &*row.client_id,
            row.owner.as_deref(),
            row.expiry,
            row.left.map(milliseconds),
            will.map(|will| &*will.topic),
            will.map(|will| &*will.payload),
            will.map(|will| &*will.properties),
            will.map(|will| will.qos as u8),
            will.map(|will| will.retain),
            will.map(|will| will.delay),
            will.and_then(|will| will.expiry),
        ])?;
    Ok(())
}

fn write_copy(
    transaction: &Transaction<'_>,
    session: i64,
    place: i64,
    change: &CopyChange,
) -> rusqlite::Result<()> {
    match change {
        CopyChange::Insert { copy, packet_id, released } => {
            let number = copy.publication.number.load(Ordering::Relaxed);
            let ids: Vec<u8> = copy.ids.iter().flat_map(|id| id.to_be_bytes()).collect();
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO copy
                     (session, place, message, qos, retain, ids, packet_id, share)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    session,
                    place,
                    (!released).then_some(number.cast_signed()),
                    copy.qos as u8,
                    copy.retain,
                    ids,
                    packet_id,
                    copy.share.as_deref(),
                ])?;
        }
        CopyChange::Update { packet_id, released } => {
            transaction
                .prepare_cached(
                    "UPDATE copy SET packet_id = ifnull(?3, packet_id),
                     message = CASE WHEN ?4 THEN NULL ELSE message END
                     WHERE session = ?1 AND place = ?2",
                )?
                .execute(params![session, place, packet_id, released.is_some()])?;
        }
        CopyChange::Delete { .. } => {
            transaction
                .prepare_cached("DELETE FROM copy WHERE session = ?1 AND place = ?2")?
                .execute([session, place])?;
        }
    }
    Ok(())
}

fn write_retained(
    transaction: &Transaction<'_>,
    topic: &[u8],
    value: Option<&Publication>,
    clock: &Clock,
) -> rusqlite::Result<()> {
    match value {
        Some(publication) => transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO retained (topic, payload, properties, qos, expires)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                topic,
                publication.payload(),
                publication.properties(),
                publication.qos as u8,
                clock.wall(publication.expires()),
            ])?,
        None => {
            transaction.prepare_cached("DELETE FROM retained WHERE topic = ?1")?.execute([topic])?
        }
    };
    Ok(())
}
