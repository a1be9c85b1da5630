//! Meters that speak on the gateway's broker under `powermeter/<their own name>/…` themselves, as
//! SmartMeters do: what they say and hear there themselves, the gateway does not say or tell them again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use crate::command::{Answer, CommandError};

/// Those that were heard. Clones are the same list.
#[derive(Debug, Clone, Default)]
pub struct Guests {
    all: Arc<RwLock<HashMap<Arc<str>, Guest>>>,
    overheard: Arc<Overheard>,
}

/// Replies of theirs to what they heard themselves, for a few seconds.
#[derive(Debug, Default)]
struct Overheard {
    replies: Mutex<VecDeque<Said>>,
    news: Notify,
}

/// One of them.
#[derive(Debug)]
struct Said {
    at: Instant,
    name: Arc<str>,
    cmd: Option<String>,
    outcome: Result<Answer, CommandError>,
}

/// One of them.
#[derive(Debug, Clone, Copy, Default)]
struct Guest {
    /// When it last published its sum.
    summed: Option<Instant>,
}

impl Guests {
    /// A meter of this name is there, and hears what is published to it and to all.
    pub(crate) fn arrive(&self, name: &Arc<str>) {
        if !self.is_there(name) {
            self.all.write().entry(Arc::clone(name)).or_default();
        }
    }

    /// It has published its sum just now.
    pub(crate) fn sum(&self, name: &Arc<str>) {
        let summed = Some(Instant::now());
        self.all.write().insert(Arc::clone(name), Guest { summed });
    }

    /// It is not there any more.
    pub(crate) fn leave(&self, name: &str) {
        self.all.write().remove(name);
    }

    /// It has replied to a command that it heard.
    pub(crate) fn reply(
        &self,
        name: &Arc<str>,
        cmd: Option<String>,
        outcome: Result<Answer, CommandError>,
    ) {
        let mut replies = self.overheard.replies.lock();
        replies.retain(|said| said.at.elapsed() < REMEMBERED);
        if replies.len() >= MOST_REPLIES {
            replies.pop_front();
        }
        replies.push_back(Said { at: Instant::now(), name: Arc::clone(name), cmd, outcome });
        drop(replies);
        self.overheard.news.notify_waiters();
    }

    /// Waits for its reply to `cmd`, which it may have given just before; each is taken once.
    pub(crate) async fn replied(&self, name: &str, cmd: &str) -> Result<Answer, CommandError> {
        loop {
            let news = self.overheard.news.notified();
            tokio::pin!(news);
            // From here on nothing is missed.
            news.as_mut().enable();
            if let Some(outcome) = self.take_reply(name, cmd) {
                return outcome;
            }
            news.await;
        }
    }

    fn take_reply(&self, name: &str, cmd: &str) -> Option<Result<Answer, CommandError>> {
        let mut replies = self.overheard.replies.lock();
        let is_it = |said: &Said| {
            *said.name == *name
                && said.cmd.as_deref() == Some(cmd)
                && said.at.elapsed() < REMEMBERED
        };
        let place = replies.iter().position(is_it)?;
        Some(replies.remove(place)?.outcome)
    }

    /// Whether a meter of this name is there.
    pub fn is_there(&self, name: &str) -> bool {
        self.all.read().contains_key(name)
    }

    /// Whether it publishes its sum itself at present: not while it samples, for one.
    pub fn sums(&self, name: &str) -> bool {
        let summed = self.all.read().get(name).and_then(|guest| guest.summed);
        summed.is_some_and(|at| at.elapsed() < SUMMED)
    }
}

/// A reply may be here before whoever waits for it.
const REMEMBERED: Duration = Duration::from_secs(2);
const MOST_REPLIES: usize = 256;
/// Every five seconds while it is idle; one message may be lost on the way.
const SUMMED: Duration = Duration::from_secs(12);
