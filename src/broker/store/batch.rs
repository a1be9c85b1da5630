//! What has changed since the last commit, each thing once.
//!
//! Changes to the same thing replace each other, so a message that is queued and acknowledged between
//! two commits never reaches the disk, and what waits for a slow disk stays as small as what the
//! broker holds in memory anyway.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use crate::broker::packet::Will;
use crate::broker::publication::Publication;
use crate::broker::queue::Queued;
use crate::broker::router::Grant;

/// A session, without what hangs on it.
#[derive(Debug, Clone)]
pub(crate) struct SessionRow {
    pub(crate) client_id: Arc<str>,
    /// The user it belongs to; `None`: a client without login.
    pub(crate) owner: Option<Arc<str>>,
    /// Seconds it outlives its connection; `u32::MAX` is for ever.
    pub(crate) expiry: u32,
    /// When its connection ended; `None` while it has one.
    pub(crate) left: Option<SystemTime>,
    /// The will that is still to be published.
    pub(crate) will: Option<Will>,
}

/// The changes of one commit.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// By topic; `None`: no longer retained.
    pub(super) retained: HashMap<Box<[u8]>, Option<Arc<Publication>>>,
    /// By number.
    pub(super) sessions: HashMap<u64, SessionChange>,
    /// By number.
    pub(super) messages: HashMap<u64, MessageChange>,
    /// Retained messages that have expired are to go.
    pub(super) purge: bool,
}

/// What changed for one session.
#[derive(Debug, Default)]
pub(super) struct SessionChange {
    /// There is nothing of it on disk.
    new: bool,
    /// All that is on disk of it goes, before anything else here is done.
    pub(super) ended: bool,
    pub(super) row: Option<SessionRow>,
    /// By filter.
    pub(super) filters: HashMap<Box<str>, FilterChange>,
    /// By place in the queue.
    pub(super) copies: BTreeMap<u64, CopyChange>,
    /// By packet id, whether it is open.
    pub(super) received: HashMap<u16, bool>,
}

/// What changed for one subscription.
#[derive(Debug, Clone)]
pub(crate) enum FilterChange {
    /// Granted; the flag: its retained messages are still to be queued.
    Set(Grant, bool),
    /// They are queued.
    Fed,
    /// Unsubscribed.
    Gone,
}

/// What changed for one session's copy of a message.
#[derive(Debug)]
pub(super) enum CopyChange {
    Insert {
        copy: Queued,
        packet_id: u16,
        released: bool,
    },
    Update {
        packet_id: Option<u16>,
        /// Set when the client has the message: only the packet id is needed from there.
        released: Option<Arc<Publication>>,
    },
    Delete {
        publication: Option<Arc<Publication>>,
    },
}

/// What changed in the number of copies that share a message.
#[derive(Debug)]
pub(super) struct MessageChange {
    pub(super) publication: Arc<Publication>,
    pub(super) copies: i64,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.retained.is_empty()
            && self.sessions.is_empty()
            && self.messages.is_empty()
            && !self.purge
    }

    pub(super) fn session(&mut self, number: u64) -> &mut SessionChange {
        self.sessions.entry(number).or_default()
    }

    /// Notes a session's row. `new`: there never was one.
    pub(super) fn keep_session(&mut self, number: u64, row: SessionRow, new: bool) {
        let change = self.session(number);
        change.new |= new;
        change.row = Some(row);
    }

    /// Forgets a session with all that hangs on it.
    pub(super) fn end_session(&mut self, number: u64) {
        let Some(change) = self.sessions.remove(&number) else {
            self.session(number).ended = true;
            return;
        };
        // What is on disk is counted there; what this batch has counted so far is taken back.
        for copy in change.copies.values() {
            match copy {
                CopyChange::Insert { released: true, .. } => {}
                CopyChange::Insert { copy, .. } => self.count(&copy.publication, -1),
                CopyChange::Update { released: publication, .. }
                | CopyChange::Delete { publication } => {
                    if let Some(publication) = publication {
                        self.count(publication, 1);
                    }
                }
            }
        }
        if !change.new || change.ended {
            self.session(number).ended = true;
        }
    }

    pub(super) fn subscribe(&mut self, number: u64, filter: &str, change: FilterChange) {
        let filters = &mut self.session(number).filters;
        let merged = match (filters.get(filter), change.clone()) {
            (Some(FilterChange::Set(grant, _)), FilterChange::Fed) => {
                FilterChange::Set(grant.clone(), false)
            }
            (Some(FilterChange::Gone), FilterChange::Fed) => return,
            _ => change,
        };
        filters.insert(filter.into(), merged);
    }

    pub(super) fn queue(&mut self, number: u64, place: u64, copy: Queued) {
        self.count(&copy.publication, 1);
        let insert = CopyChange::Insert { copy, packet_id: 0, released: false };
        self.session(number).copies.insert(place, insert);
    }

    pub(super) fn sent(&mut self, number: u64, place: u64, id: u16) {
        let nothing = || CopyChange::Update { packet_id: None, released: None };
        match self.session(number).copies.entry(place).or_insert_with(nothing) {
            CopyChange::Insert { packet_id, .. } => *packet_id = id,
            CopyChange::Update { packet_id, .. } => *packet_id = Some(id),
            CopyChange::Delete { .. } => {}
        }
    }

    pub(super) fn released(&mut self, number: u64, place: u64, publication: &Arc<Publication>) {
        let nothing = || CopyChange::Update { packet_id: None, released: None };
        match self.session(number).copies.entry(place).or_insert_with(nothing) {
            CopyChange::Insert { released, .. } => *released = true,
            CopyChange::Update { released, .. } => *released = Some(Arc::clone(publication)),
            CopyChange::Delete { .. } => return,
        }
        self.count(publication, -1);
    }

    /// `publication`: `None` when it was released before.
    pub(super) fn done(&mut self, number: u64, place: u64, publication: Option<&Arc<Publication>>) {
        let copies = &mut self.session(number).copies;
        let gone = match copies.remove(&place) {
            Some(CopyChange::Insert { .. }) => None,
            Some(CopyChange::Update { released: Some(publication), .. }) => Some(Some(publication)),
            _ => Some(publication.cloned()),
        };
        if let Some(publication) = gone {
            copies.insert(place, CopyChange::Delete { publication });
        }
        if let Some(publication) = publication {
            self.count(publication, -1);
        }
    }

    fn count(&mut self, publication: &Arc<Publication>, copies: i64) {
        let number = publication.number.load(Ordering::Relaxed);
        let change = self
            .messages
            .entry(number)
            .or_insert_with(|| MessageChange { publication: Arc::clone(publication), copies: 0 });
        change.copies += copies;
        if change.copies == 0 {
            self.messages.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::packet::QoS;
    use crate::broker::publication::Draft;
    use crate::broker::queue::SubscriptionIds;

    fn copy(number: u64) -> Queued {
        let (qos, properties) = (QoS::ExactlyOnce, Vec::new());
        let publication =
            Draft { topic: "a", payload: b"", qos, retain: false, expiry: None, properties }
                .share();
        publication.number.store(number, Ordering::Relaxed);
        Queued { publication, qos, retain: false, ids: SubscriptionIds::new(), share: None }
    }

    fn counts(batch: &Batch) -> Vec<(u64, i64)> {
        batch.messages.iter().map(|(number, change)| (*number, change.copies)).collect()
    }

    #[test]
    fn what_comes_and_goes_between_two_commits_leaves_nothing_to_write() {
        let mut batch = Batch::default();
        let copy = copy(1);
        for session in [1, 2] {
            batch.queue(session, 1, copy.clone());
        }
        assert_eq!(counts(&batch), [(1, 2)], "one message, two copies");
        batch.sent(1, 1, 9);
        batch.released(1, 1, &copy.publication);
        batch.done(1, 1, None);
        batch.done(2, 1, Some(&copy.publication));
        assert!(batch.messages.is_empty());
        assert!(batch.sessions.values().all(|change| change.copies.is_empty()));
    }

    #[test]
    fn the_end_of_a_session_takes_back_what_was_counted_for_it() {
        let mut batch = Batch::default();
        let [one, two, three] = [copy(1), copy(2), copy(3)];
        // On disk: 1 and 2. In the batch: 1 is done, 2 is released, 3 is new.
        batch.done(7, 1, Some(&one.publication));
        batch.released(7, 2, &two.publication);
        batch.queue(7, 3, three);
        assert_eq!(batch.messages.len(), 3);
        batch.end_session(7);
        assert!(batch.messages.is_empty(), "what is on disk is counted there");
        assert!(batch.sessions[&7].ended);
        let row =
            SessionRow { client_id: "c".into(), owner: None, expiry: 1, left: None, will: None };
        batch.keep_session(8, row, true);
        batch.end_session(8);
        assert!(!batch.sessions.contains_key(&8), "it never came to be");
    }
}
