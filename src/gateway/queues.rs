//! Who is told of updates, each by a queue of its own.

use std::sync::Arc;

use crate::bus::{Bus, Queue};
use crate::journal;
use crate::metrics::Metrics;
use crate::model::Update;

/// The queues of those who are always there.
pub(super) struct Queues {
    pub(super) directory: Arc<Queue<Update>>,
    /// Whoever looks at the status page.
    pub(super) shown: Arc<Queue<Update>>,
    pub(super) publisher: Arc<Queue<Update>>,
    pub(super) announcer: Arc<Queue<Update>>,
    pub(super) last_minute: Arc<Queue<Update>>,
    pub(super) journal: Arc<Queue<Update>>,
}

impl Queues {
    /// Subscribes them, in the order in which they are told.
    pub(super) fn open(bus: &mut Bus, metrics: &Metrics) -> Queues {
        // The directory first: who hears that a meter is online may send it a command at once.
        let (directory, shown) = (live(bus, metrics), live(bus, metrics));
        let tallies = metrics.meters.clone();
        let publisher = Queue::watched(WAITING, metrics.dropped_updates.clone(), move |update| {
            tallies.note_drop(update);
        });
        bus.add(Arc::clone(&publisher));
        let (announcer, last_minute) = (live(bus, metrics), live(bus, metrics));
        let journal = journal::queue(metrics);
        bus.add(Arc::clone(&journal));
        Queues { directory, shown, publisher, announcer, last_minute, journal }
    }
}

/// One more queue for what is so now: full, it drops the oldest.
pub(super) fn live(bus: &mut Bus, metrics: &Metrics) -> Arc<Queue<Update>> {
    bus.subscribe(WAITING, metrics.dropped_updates.clone())
}

/// Updates that may wait: about a second of a thousand meters.
const WAITING: usize = 1024;
