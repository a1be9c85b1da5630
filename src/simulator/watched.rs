//! State that a simulator's tasks and a test both hold.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Something that can be looked at, changed, and waited for. Clones are the same thing.
#[derive(Debug)]
pub struct Watched<T>(Arc<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    state: Mutex<T>,
    /// Told whenever it changed.
    changed: Notify,
    /// Told when it was changed from outside.
    poked: Arc<Notify>,
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Watched(Arc::clone(&self.0))
    }
}

impl<T> Watched<T> {
    /// `poked` is told when it was changed from outside.
    pub(super) fn new(state: T, poked: Arc<Notify>) -> Watched<T> {
        Watched(Arc::new(Inner { state: Mutex::new(state), changed: Notify::new(), poked }))
    }

    /// What `look` finds in it.
    pub fn look<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.0.state.lock())
    }

    /// Changes it, and tells whoever waits. Keep it short: the meter does not speak meanwhile.
    pub fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = self.update(change);
        self.0.poked.notify_waiters();
        result
    }

    /// Changes it as the meter itself does.
    pub(super) fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.0.state.lock());
        self.0.changed.notify_waiters();
        result
    }

    /// Waits until `look` finds something.
    pub async fn until<R>(&self, mut look: impl FnMut(&T) -> Option<R>) -> R {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if let Some(found) = self.look(&mut look) {
                return found;
            }
            changed.await;
        }
    }
}
