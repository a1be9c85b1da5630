//! Sessions as they come back from the disk, within the rights that their clients have now.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Clients;
use crate::broker::access::{Access, Judgement, Login};
use crate::broker::filter::Filter;
use crate::broker::queue::Queue;
use crate::broker::session::Session;
use crate::broker::stats::BrokerStats;
use crate::broker::store::KeptSession;

impl Clients {
    /// Takes in a session from the disk, and what it subscribes to. Newer ones come first: a client's
    /// older session was ended, and only its will may still be due.
    pub(crate) fn restore(&self, mut kept: KeptSession, access: &Access) {
        let number = kept.number;
        self.next_number.fetch_max(number + 1, Ordering::Relaxed);
        let login = Login(kept.row.owner.clone());
        let identity = access.identify(login, &kept.row.client_id);
        // Rights may have changed meanwhile: what the client may no longer read is forgotten.
        kept.filters.retain_mut(|(text, grant, _)| {
            match Filter::parse(text).map(|filter| identity.judge(filter.path)) {
                Ok(Judgement::Granted) => true,
                Ok(Judgement::Screened(screen)) => {
                    grant.screen = Some(screen);
                    true
                }
                Ok(Judgement::Refused) | Err(_) => false,
            }
        });
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
}
