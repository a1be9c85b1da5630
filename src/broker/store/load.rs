//! Reading `broker.db` at the start, row by row: what is not needed in memory is never all there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::Row;

use super::batch::SessionRow;
use super::clock::Clock;
use super::database::{Database, StorageError};
use crate::broker::filter::{self, Filter};
use crate::broker::packet::{QoS, Will};
use crate::broker::publication::{KeptMessage, Publication};
use crate::broker::queue::{Queued, SubscriptionIds};
use crate::broker::router::Grant;

/// A session as it was kept.
#[derive(Debug)]
pub(crate) struct KeptSession {
    pub(crate) number: u64,
    pub(crate) row: SessionRow,
    /// In the order of their places.
    pub(crate) copies: Vec<KeptCopy>,
    pub(crate) received: Vec<u16>,
    /// The flag: its retained messages have still to be queued.
    pub(crate) filters: Vec<(Box<str>, Grant, bool)>,
}

/// A message of a kept session.
#[derive(Debug)]
pub(crate) struct KeptCopy {
    pub(crate) place: u64,
    /// 0: not sent yet.
    pub(crate) packet_id: u16,
    /// `None`: it has arrived and only the packet id is open.
    pub(crate) item: Option<Queued>,
}

type Messages = HashMap<i64, Arc<Publication>>;

impl Database {
    /// Hands every retained message to `take`. Those that have expired are among them.
    pub(crate) fn each_retained(
        &self,
        mut take: impl FnMut(Arc<Publication>),
    ) -> Result<(), StorageError> {
        let clock = Clock::now();
        self.each("SELECT topic, payload, properties, qos, expires FROM retained", |row| {
            take(retained(row, &clock)?);
            Ok(())
        })
    }

    /// Hands every session to `take`, those made last first.
    pub(crate) fn each_session(
        &self,
        mut take: impl FnMut(KeptSession),
    ) -> Result<(), StorageError> {
        let clock = Clock::now();
        let mut messages = Messages::new();
        let all =
            "SELECT number, topic_length, image, properties, qos, retain, expires FROM message";
        self.each(all, |row| {
            messages.insert(row.get(0)?, message(row, &clock)?);
            Ok(())
        })?;
        let mut sessions = Vec::new();
        self.each("SELECT * FROM session ORDER BY number DESC", |row| {
            sessions.push((row.get("number")?, session_row(row, &clock)?));
            Ok(())
        })?;
        for (number, row) in sessions {
            take(self.session(number, row, &messages)?);
        }
        Ok(())
    }

    fn session(
        &self,
        number: i64,
        row: SessionRow,
        messages: &Messages,
    ) -> Result<KeptSession, StorageError> {
        let mut kept = KeptSession {
            number: number.cast_unsigned(),
            row,
            copies: Vec::new(),
            received: Vec::new(),
            filters: Vec::new(),
        };
        let of = |table: &str, order: &str| {
            format!("SELECT * FROM {table} WHERE session = {number} ORDER BY {order}")
        };
        self.each(&of("copy", "place"), |row| {
            kept.copies.push(copy(row, messages)?);
            Ok(())
        })?;
        self.each(&of("received", "packet_id"), |row| {
            kept.received.push(row.get("packet_id")?);
            Ok(())
        })?;
        self.each(&of("subscription", "filter"), |row| {
            kept.filters.push(subscription(row)?);
            Ok(())
        })?;
        Ok(kept)
    }

    fn each(
        &self,
        statement: &str,
        mut take: impl FnMut(&Row<'_>) -> Result<(), Fault>,
    ) -> Result<(), StorageError> {
        let mut read = || {
            let mut statement = self.connection.prepare(statement)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                take(row)?;
            }
            Ok(())
        };
        read().map_err(|fault| match fault {
            Fault::Read(source @ rusqlite::Error::SqliteFailure(..)) => self.failed(source),
            Fault::Read(other) => self.damaged(other.to_string()),
            Fault::Content(what) => self.damaged(what),
        })
    }

    fn damaged(&self, fault: String) -> StorageError {
        StorageError::Damaged { path: self.path.clone(), fault }
    }
}

/// Why a row cannot be used.
enum Fault {
    Read(rusqlite::Error),
    Content(String),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Read(error)
    }
}

fn retained(row: &Row<'_>, clock: &Clock) -> Result<Arc<Publication>, Fault> {
    let topic = row.get_ref(0)?.as_blob().map_err(|_| content("a topic that is no blob"))?;
    let payload = row.get_ref(1)?.as_blob().map_err(|_| content("a payload that is no blob"))?;
    let topic_length = checked_topic(topic)?;
    let mut image = Vec::with_capacity(2 + topic.len() + payload.len());
    image.extend_from_slice(&topic_length.to_be_bytes());
    image.extend_from_slice(topic);
    image.extend_from_slice(payload);
    Ok(Publication::kept(KeptMessage {
        number: 0,
        image,
        topic_length,
        qos: qos(row.get(3)?)?,
        retain: true,
        expires: row.get::<_, Option<i64>>(4)?.map(|at| clock.instant(at)),
        properties: row.get(2)?,
    }))
}

fn message(row: &Row<'_>, clock: &Clock) -> Result<Arc<Publication>, Fault> {
    let image: Vec<u8> = row.get("image")?;
    let length = usize::from(row.get::<_, u16>("topic_length")?);
    let topic =
        image.get(2..2 + length).ok_or_else(|| content("a topic longer than its message"))?;
    let topic_length = checked_topic(topic)?;
    if image[..2] != topic_length.to_be_bytes() {
        return Err(content("a message whose topic length does not fit"));
    }
    Ok(Publication::kept(KeptMessage {
        number: row.get::<_, i64>("number")?.cast_unsigned(),
        topic_length,
        qos: qos(row.get("qos")?)?,
        retain: row.get("retain")?,
        expires: row.get::<_, Option<i64>>("expires")?.map(|at| clock.instant(at)),
        properties: row.get("properties")?,
        image,
    }))
}

fn session_row(row: &Row<'_>, clock: &Clock) -> Result<SessionRow, Fault> {
    let client_id: String = row.get("client_id")?;
    let left: Option<i64> = row.get("left_at")?;
    Ok(SessionRow {
        client_id: client_id.into(),
        owner: row.get::<_, Option<String>>("owner")?.map(Into::into),
        expiry: row.get("expiry")?,
        left: left.map(|at| -> SystemTime { clock.ago(at) }),
        will: will(row)?,
    })
}

fn will(row: &Row<'_>) -> Result<Option<Will>, Fault> {
    let Some(topic) = row.get::<_, Option<String>>("will_topic")? else { return Ok(None) };
    checked_topic(topic.as_bytes())?;
    Ok(Some(Will {
        topic,
        payload: row.get::<_, Vec<u8>>("will_payload")?.into(),
        qos: qos(row.get("will_qos")?)?,
        retain: row.get("will_retain")?,
        delay: row.get("will_delay")?,
        expiry: row.get("will_expiry")?,
        properties: row.get("will_properties")?,
    }))
}

fn copy(row: &Row<'_>, messages: &Messages) -> Result<KeptCopy, Fault> {
    let ids: Vec<u8> = row.get("ids")?;
    let (ids, rest) = ids.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(content("subscription identifiers of a wrong length"));
    }
    let item = match row.get::<_, Option<i64>>("message")? {
        None => None,
        Some(number) => Some(Queued {
            share: row.get::<_, Option<String>>("share")?.map(Into::into),
            publication: Arc::clone(
                messages.get(&number).ok_or_else(|| content("a copy without its message"))?,
            ),
            qos: qos(row.get("qos")?)?,
            retain: row.get("retain")?,
            ids: ids.iter().map(|id| u32::from_be_bytes(*id)).collect::<SubscriptionIds>(),
        }),
    };
    Ok(KeptCopy {
        place: row.get::<_, i64>("place")?.cast_unsigned(),
        packet_id: row.get("packet_id")?,
        item,
    })
}

fn subscription(row: &Row<'_>) -> Result<(Box<str>, Grant, bool), Fault> {
    let filter: Box<str> = row.get("filter")?;
    Filter::parse(&filter).map_err(|error| Fault::Content(error.to_string()))?;
    let grant = Grant {
        qos: qos(row.get("qos")?)?,
        no_local: row.get("no_local")?,
        retain_as_published: row.get("retain_as_published")?,
        id: row.get("id")?,
        // Judged anew by whoever restores the session: rights may have changed meanwhile.
        screen: None,
    };
    Ok((filter, grant, row.get("feeding")?))
}

fn qos(level: u8) -> Result<QoS, Fault> {
    QoS::from_level(level).ok_or_else(|| Fault::Content(format!("a QoS of {level}")))
}

/// The length of a topic that is one.
fn checked_topic(topic: &[u8]) -> Result<u16, Fault> {
    let text = std::str::from_utf8(topic).map_err(|_| content("a topic that is no UTF-8"))?;
    filter::check_topic(text).map_err(|error| Fault::Content(error.to_string()))?;
    Ok(u16::try_from(topic.len()).expect("check_topic has seen to its length"))
}

fn content(what: &str) -> Fault {
    Fault::Content(what.to_owned())
}
