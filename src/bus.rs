//! Fan-out of updates: one bounded queue per subscriber.
//!
//! A queue that stays full drops its oldest update and counts it. Counters are cumulative, so a
//! dropped update costs resolution and never energy.

mod waveforms;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::metrics::Counter;
use crate::model::Update;

pub use waveforms::{Wave, WaveQueue, Waveforms, Whose};

/// A bounded queue that drops its oldest entry when it is full. Closed by the sender, it gives
/// what is left and then ends.
#[derive(Debug)]
pub struct Queue<T> {
    entries: Mutex<Entries<T>>,
    arrived: Notify,
    drained: Notify,
    capacity: usize,
    dropped: Counter,
    witness: Option<Witness<T>>,
}

/// Looks at each entry that is dropped.
struct Witness<T>(Box<dyn Fn(&T) + Send + Sync>);

impl<T> std::fmt::Debug for Witness<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Witness")
    }
}

#[derive(Debug)]
struct Entries<T> {
    waiting: VecDeque<T>,
    closed: bool,
    /// A sender has waited in vain: nobody waits again before the receiver has moved.
    stuck: bool,
}

impl<T> Queue<T> {
    /// A queue of at most `capacity` entries; each one dropped is counted in `dropped`.
    pub fn new(capacity: usize, dropped: Counter) -> Arc<Queue<T>> {
        Self::make(capacity, dropped, None)
    }

    /// The same, with somebody who looks at each entry that is dropped; not for long, because the
    /// queue waits.
    pub fn watched(
        capacity: usize,
        dropped: Counter,
        witness: impl Fn(&T) + Send + Sync + 'static,
    ) -> Arc<Queue<T>> {
        Self::make(capacity, dropped, Some(Witness(Box::new(witness))))
    }

    fn make(capacity: usize, dropped: Counter, witness: Option<Witness<T>>) -> Arc<Queue<T>> {
        let entries = Mutex::new(Entries { waiting: VecDeque::new(), closed: false, stuck: false });
        Arc::new(Queue {
            entries,
            arrived: Notify::new(),
            drained: Notify::new(),
            capacity,
            dropped,
            witness,
        })
    }

    /// Adds an entry, waiting a little when the queue is full: a burst is slowed down at its
    /// source rather than thinned out. A receiver that does not move for two seconds is waited
    /// for only once.
    pub async fn push(&self, entry: T) {
        if self.is_full_and_moving() {
            let room = async {
                loop {
                    let drained = self.drained.notified();
                    if !self.is_full_and_moving() {
                        break;
                    }
                    drained.await;
                }
            };
            if tokio::time::timeout(PATIENCE, room).await.is_err() {
                self.entries.lock().stuck = true;
            }
        }
        self.push_now(entry);
    }

    fn is_full_and_moving(&self) -> bool {
        let entries = self.entries.lock();
        entries.waiting.len() >= self.capacity && !entries.stuck && !entries.closed
    }

    /// Adds an entry without waiting.
    pub fn push_now(&self, entry: T) {
        let mut entries = self.entries.lock();
        if entries.closed {
            return;
        }
        if entries.waiting.len() >= self.capacity {
            let oldest = entries.waiting.pop_front();
            self.dropped.increment();
            if let (Some(oldest), Some(Witness(look))) = (oldest, &self.witness) {
                look(&oldest);
            }
        }
        entries.waiting.push_back(entry);
        drop(entries);
        self.arrived.notify_one();
    }

    /// Takes everything that waits into `batch`, waiting for the first. `false`: the queue is
    /// closed and empty. For one receiver.
    pub async fn drain(&self, batch: &mut VecDeque<T>) -> bool {
        loop {
            let arrived = self.arrived.notified();
            {
                let mut entries = self.entries.lock();
                if !entries.waiting.is_empty() {
                    std::mem::swap(&mut entries.waiting, batch);
                    entries.stuck = false;
                    drop(entries);
                    self.drained.notify_waiters();
                    return true;
                }
                if entries.closed {
                    return false;
                }
            }
            arrived.await;
        }
    }

    /// Takes no more entries; the receiver ends when it has taken what is left.
    pub fn close(&self) {
        self.entries.lock().closed = true;
        self.arrived.notify_one();
        self.drained.notify_waiters();
    }
}

/// How long a sender waits for room.
const PATIENCE: Duration = Duration::from_secs(2);

/// Hands every update to each subscriber's queue.
#[derive(Debug, Clone, Default)]
pub struct Bus {
    subscribers: Vec<Arc<Queue<Update>>>,
}

impl Bus {
    /// A new subscriber with room for `capacity` updates.
    pub fn subscribe(&mut self, capacity: usize, dropped: Counter) -> Arc<Queue<Update>> {
        let queue = Queue::new(capacity, dropped);
        self.subscribers.push(Arc::clone(&queue));
        queue
    }

    /// One more, whose queue was made elsewhere.
    pub fn add(&mut self, queue: Arc<Queue<Update>>) {
        self.subscribers.push(queue);
    }

    /// Hands over one update; waits as [`Queue::push`] does.
    pub async fn send(&self, update: &Update) {
        for queue in &self.subscribers {
            queue.push(update.clone()).await;
        }
    }

    /// Tells every subscriber that nothing follows.
    pub fn close(&self) {
        self.subscribers.iter().for_each(|queue| queue.close());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_drops_the_oldest_and_counts_it() {
        let dropped = Counter::default();
        let queue = Queue::new(2, dropped.clone());
        for entry in 1..=3 {
            queue.push_now(entry);
        }
        queue.close();
        queue.push_now(4);
        let mut batch = VecDeque::new();
        assert!(queue.drain(&mut batch).await);
        assert_eq!((batch, dropped.get()), (VecDeque::from([2, 3]), 1));
        assert!(!queue.drain(&mut VecDeque::new()).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_waits_for_room_but_only_once_for_a_receiver_that_is_stuck() {
        let dropped = Counter::default();
        let queue = Queue::new(1, dropped.clone());
        queue.push(1).await;
        let mut batch = VecDeque::new();
        let (_, drained) = tokio::join!(queue.push(2), queue.drain(&mut batch));
        assert!(drained);
        assert_eq!((&batch, dropped.get()), (&VecDeque::from([1]), 0));
        let begin = tokio::time::Instant::now();
        queue.push(3).await;
        assert_eq!((begin.elapsed(), dropped.get()), (PATIENCE, 1));
        queue.push(4).await;
        assert_eq!((begin.elapsed(), dropped.get()), (PATIENCE, 2));
    }
}
