//! Fan-out of samples, apart from the updates: some thousand a second, and only for those who ask for
//! them. A publisher never waits; whoever is behind loses the oldest of its own.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use super::Queue;
use crate::metrics::Counter;
use crate::model::{StreamInfo, Waveform};

/// What a subscriber is told of a meter's streams.
#[derive(Debug, Clone)]
pub enum Wave {
    /// A stream has begun.
    Begun(Arc<StreamInfo>),
    /// A piece of it. A step from the end of the piece before to its first frame is what was lost.
    Piece(Arc<Waveform>),
    /// It is over, after so many frames, those lost included.
    Ended(Arc<StreamInfo>, u64),
}

/// A subscriber's queue. Dropping it unsubscribes.
pub type WaveQueue = Arc<Queue<Wave>>;

/// Hands the pieces of streams to whoever wants them. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Waveforms(Arc<RwLock<HashMap<Arc<str>, Subscribers>>>);

type Subscribers = Vec<Weak<Queue<Wave>>>;

impl Waveforms {
    /// The streams of the meter with this serial number, as its make writes it; also when it has none
    /// yet. `capacity`: pieces that may wait. Each one dropped is counted in `dropped`.
    pub fn subscribe(&self, serial: &str, capacity: usize, dropped: Counter) -> WaveQueue {
        let queue = Queue::new(capacity, dropped);
        let mut all = self.0.write();
        let subscribers = all.entry(serial.into()).or_default();
        subscribers.retain(|one| one.strong_count() > 0);
        subscribers.push(Arc::downgrade(&queue));
        queue
    }

    /// Whether anybody would take a piece: nothing need be made of samples for nobody.
    pub fn wanted(&self, serial: &str) -> bool {
        let all = self.0.read();
        all.get(serial).is_some_and(|one| one.iter().any(|queue| queue.strong_count() > 0))
    }

    /// Hands a piece, or the news of a stream, to everybody who wants it. Never waits.
    pub fn send(&self, serial: &str, wave: &Wave) {
        let all = self.0.read();
        for queue in all.get(serial).into_iter().flatten().filter_map(Weak::upgrade) {
            queue.push_now(wave.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::model::{DeviceId, Make, Timestamp};

    fn piece(first: u64) -> Wave {
        let stream = Arc::new(StreamInfo {
            id: 1,
            device: DeviceId::derive(Make::Smartmeter, "a"),
            name: "a".into(),
            start: Timestamp(0),
            rate_hz: 4000.0,
            channels: [].into(),
        });
        Wave::Piece(Arc::new(Waveform { stream, first, samples: [].into() }))
    }

    #[tokio::test]
    async fn only_who_asked_gets_pieces_and_the_slow_one_loses_its_own() {
        let waves = Waveforms::default();
        let (slow, quick) = (Counter::default(), Counter::default());
        let one = waves.subscribe("a", 1, slow.clone());
        let other = waves.subscribe("a", 8, quick.clone());
        assert!(waves.wanted("a") && !waves.wanted("b"));
        for first in 0..3 {
            waves.send("a", &piece(first));
            waves.send("b", &piece(first));
        }
        let mut batch = VecDeque::new();
        assert!(other.drain(&mut batch).await);
        assert_eq!((batch.len(), slow.get(), quick.get()), (3, 2, 0));
        drop((one, other));
        assert!(!waves.wanted("a"));
    }
}
