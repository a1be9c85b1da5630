//! What a peer has said so far, and waiting until it has said enough.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Awaits `work`, but not for ever.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("it should have happened by now: {what}"),
    }
}

/// Everything that arrived, in order.
#[derive(Debug, Clone)]
pub(crate) struct Record<T> {
    entries: Arc<Mutex<Vec<T>>>,
    count: watch::Receiver<usize>,
}

/// The end that writes; dropped, it tells that nothing follows.
#[derive(Debug)]
pub(crate) struct Recorder<T> {
    entries: Arc<Mutex<Vec<T>>>,
    count: watch::Sender<usize>,
}

pub(crate) fn record<T>() -> (Recorder<T>, Record<T>) {
    let entries = Arc::new(Mutex::new(Vec::new()));
    let (sender, count) = watch::channel(0);
    (Recorder { entries: Arc::clone(&entries), count: sender }, Record { entries, count })
}

impl<T> Recorder<T> {
    pub(crate) fn push(&self, entry: T) {
        let mut entries = self.entries.lock();
        entries.push(entry);
        self.count.send_replace(entries.len());
    }
}

impl<T: Clone + Debug> Record<T> {
    pub(crate) fn all(&self) -> Vec<T> {
        self.entries.lock().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.lock().len()
    }

    /// Waits until `find` finds something in all that was recorded; `what` is told otherwise.
    pub(crate) async fn until<R>(&self, what: &str, find: impl Fn(&[T]) -> Option<R>) -> R {
        let mut count = self.count.clone();
        let search = async {
            loop {
                count.borrow_and_update();
                if let Some(found) = find(&self.entries.lock()) {
                    return Some(found);
                }
                if count.changed().await.is_err() {
                    return find(&self.entries.lock());
                }
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, search).await;
        let reason = match outcome {
            Ok(Some(found)) => return found,
            Ok(None) => "the other side has ended",
            Err(_) => "it takes too long",
        };
        let all = self.all();
        let tail = &all[all.len().saturating_sub(30)..];
        panic!("{reason}: {what}; {} entries, the last: {tail:#?}", all.len());
    }

    /// Waits for the other side to end.
    pub(crate) async fn closed(&self, what: &str) {
        let mut count = self.count.clone();
        within(what, async { while count.changed().await.is_ok() {} }).await;
    }
}
