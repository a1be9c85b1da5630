//! Sessions as they come back from the disk, within the rights that their clients have now.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Clients;
use crate::broker::access::{Access, Identity, Judgement, Login};
use crate::broker::filter::Filter;
use crate::broker::queue::Queue;
use crate::broker::session::Session;
use crate::broker::stats::BrokerStats;
use crate::broker::store::{FilterChange, KeptSession};

impl Clients {
    /// Takes in a session from the disk, and what it subscribes to. Newer ones come first: a client's
    /// older session was ended, and only its will may still be due.
    pub(crate) fn restore(&self, mut kept: KeptSession, access: &Access) {
        let number = kept.number;
        self.next_number.fetch_max(number.saturating_add(1), Ordering::Relaxed);
        let login = Login(kept.row.owner.clone());
        let identity = access.identify(login, &kept.row.client_id);
        self.forget_denied(&mut kept, &identity);
        let filters = kept.filters.clone();
        let queue = Queue::new(self.limits.queued_messages, self.limits.queued_bytes);
        let (store, stats) = (Arc::clone(&self.store), Arc::clone(&self.stats));
        let mut sessions = self.sessions.lock();
        let successor = sessions.contains_key(&kept.row.client_id);
        if successor {
            kept.row.expiry = 0;
        }
        let session = Session::restored(kept, queue, store, stats);
        if !successor {
            sessions.insert(Arc::clone(session.client_id()), Arc::clone(&session));
        }
        BrokerStats::set(&self.stats.sessions, sessions.len());
        drop(sessions);
        for (text, grant, _) in filters {
            let Ok(filter) = Filter::parse(&text) else { continue };
            self.router.subscribe(filter, &session, grant);
        }
        if let Some(at) = session.deadline() {
            self.deadlines.lock().set(&session, at);
        }
        session.note();
    }

    /// Rights may have changed meanwhile: what the client may no longer read or publish is forgotten,
    /// on disk as well. A message that it had been sent before is its own, and comes again.
    fn forget_denied(&self, kept: &mut KeptSession, identity: &Identity) {
        let number = kept.number;
        kept.filters.retain_mut(|(text, grant, _)| {
            match Filter::parse(text).map(|filter| identity.judge(filter.path)) {
                Ok(Judgement::Granted) => true,
                Ok(Judgement::Screened(screen)) => {
                    grant.screen = Some(screen);
                    true
                }
                Ok(Judgement::Refused) | Err(_) => {
                    self.store.subscribe(number, text, FilterChange::Gone);
                    false
                }
            }
        });
        kept.copies.retain(|copy| {
            let Some(item) = copy.item.as_ref().filter(|_| copy.packet_id == 0) else {
                return true;
            };
            let allowed = identity.may_read(item.publication.topic());
            if !allowed {
                BrokerStats::count(&self.stats.withheld);
                self.store.done(number, copy.place, Some(&item.publication));
            }
            allowed
        });
        if kept.row.will.as_ref().is_some_and(|will| !identity.may_publish(&will.topic)) {
            BrokerStats::count(&self.stats.refused_wills);
            let client = &*kept.row.client_id;
            tracing::warn!(?client, "will dropped: no longer allowed to its client");
            kept.row.will = None;
        }
    }
}
