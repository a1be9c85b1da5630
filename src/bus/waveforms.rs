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
    /// A stream has begun; also the first word to who subscribes in the middle of one.
    Begun(Arc<StreamInfo>),
    /// A piece of it. A step from the end of the piece before to its first frame is what was lost.
    Piece(Arc<Waveform>),
    /// It is over, after so many frames, those lost included.
    Ended(Arc<StreamInfo>, u64),
}

impl Wave {
    /// The stream that it is about.
    pub fn stream(&self) -> &Arc<StreamInfo> {
        match self {
            Wave::Begun(stream) | Wave::Ended(stream, _) => stream,
            Wave::Piece(piece) => &piece.stream,
        }
    }
}

/// Whose streams are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Those of the meter with this serial number, as its make writes it.
    Serial(Arc<str>),
    /// Those of the first meter that has this name when it streams, and of the same meter from then
    /// on: an entry of the configuration may not know its meter before it is heard.
    Name(Arc<str>),
}

/// A subscriber's queue. Dropping it unsubscribes.
pub type WaveQueue = Arc<Queue<Wave>>;

/// Hands the pieces of streams to whoever wants them. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Waveforms(Arc<RwLock<Exchange>>);

type Subscribers = Vec<Weak<Queue<Wave>>>;

#[derive(Debug, Default)]
struct Exchange {
    /// By serial number.
    meters: HashMap<Arc<str>, Meter>,
    /// Those who know a name only, until a meter of that name streams.
    nameless: HashMap<Arc<str>, Subscribers>,
    /// Which meter a name has turned out to be.
    names: HashMap<Arc<str>, Arc<str>>,
}

#[derive(Debug, Default)]
struct Meter {
    running: Option<Arc<StreamInfo>>,
    subscribers: Subscribers,
}

impl Waveforms {
    /// The streams of a meter; also when it has none yet. `capacity`: pieces that may wait. Each one
    /// dropped is counted in `dropped`.
    pub fn subscribe_to(&self, whose: &Whose, capacity: usize, dropped: Counter) -> WaveQueue {
        let queue = Queue::new(capacity, dropped);
        let mut all = self.0.write();
        let serial = match whose {
            Whose::Serial(serial) => Arc::clone(serial),
            Whose::Name(name) => match all.serial_of(name) {
                Some(serial) => serial,
                None => {
                    add(all.nameless.entry(Arc::clone(name)).or_default(), &queue);
                    return queue;
                }
            },
        };
        let meter = all.meters.entry(serial).or_default();
        add(&mut meter.subscribers, &queue);
        if let Some(running) = &meter.running {
            queue.push_now(Wave::Begun(Arc::clone(running)));
        }
        queue
    }

    /// The streams of the meter with this serial number, as its make writes it.
    pub fn subscribe(&self, serial: &str, capacity: usize, dropped: Counter) -> WaveQueue {
        self.subscribe_to(&Whose::Serial(serial.into()), capacity, dropped)
    }

    /// Whether anybody would take a piece: nothing need be made of samples for nobody. The beginning
    /// and the end of a stream are sent all the same.
    pub fn wanted(&self, serial: &str) -> bool {
        let all = self.0.read();
        let mut nameless = all.nameless.values();
        all.meters.get(serial).is_some_and(|meter| is_heard(&meter.subscribers))
            || nameless.any(is_heard)
    }

    /// The meter of this name is known before it streams: by what is kept of earlier runs, or because it was
    /// heard. It may have been given another name since.
    pub fn know(&self, name: &Arc<str>, serial: &Arc<str>) {
        self.0.write().know(name, serial);
    }

    /// The stream of this meter that runs now.
    pub fn running(&self, whose: &Whose) -> Option<Arc<StreamInfo>> {
        let all = self.0.read();
        let serial = match whose {
            Whose::Serial(serial) => Arc::clone(serial),
            Whose::Name(name) => all.serial_of(name)?,
        };
        all.meters.get(&serial)?.running.clone()
    }

    /// The serial number of a meter whose streams are wanted, once it is known.
    pub fn serial(&self, whose: &Whose) -> Option<Arc<str>> {
        match whose {
            Whose::Serial(serial) => Some(Arc::clone(serial)),
            Whose::Name(name) => self.0.read().serial_of(name),
        }
    }

    /// Hands a piece, or the news of a stream, to everybody who wants it. Never waits.
    pub fn send(&self, serial: &str, wave: &Wave) {
        if self.0.read().is_news(serial, wave) {
            self.0.write().note(serial, wave);
        }
        let all = self.0.read();
        let subscribers = all.meters.get(serial).map(|meter| &meter.subscribers);
        for queue in subscribers.into_iter().flatten().filter_map(Weak::upgrade) {
            queue.push_now(wave.clone());
        }
    }
}

impl Exchange {
    fn serial_of(&self, name: &str) -> Option<Arc<str>> {
        self.names.get(name).cloned().or_else(|| {
            let is_it = |meter: &Meter| meter.running.as_ref().is_some_and(|s| *s.name == *name);
            self.meters.iter().find(|(_, meter)| is_it(meter)).map(|(serial, _)| Arc::clone(serial))
        })
    }

    /// Whether a wave changes what is known of who streams; most pieces do not.
    fn is_news(&self, serial: &str, wave: &Wave) -> bool {
        let running = self.meters.get(serial).and_then(|meter| meter.running.as_ref());
        let is_same = running.is_some_and(|running| running.id == wave.stream().id);
        is_same == matches!(wave, Wave::Ended(..))
            || self.nameless.contains_key(&wave.stream().name)
    }

    /// Who waits for the name waits for this meter from now on.
    fn know(&mut self, name: &Arc<str>, serial: &Arc<str>) {
        self.names.insert(Arc::clone(name), Arc::clone(serial));
        if let Some(waiting) = self.nameless.remove(name) {
            self.meters.entry(Arc::clone(serial)).or_default().subscribers.extend(waiting);
        }
    }

    fn note(&mut self, serial: &str, wave: &Wave) {
        let stream = wave.stream();
        let serial: Arc<str> = serial.into();
        if self.nameless.contains_key(&stream.name) {
            self.know(&stream.name, &serial);
        }
        let meter = self.meters.entry(Arc::clone(&serial)).or_default();
        meter.running = match wave {
            Wave::Ended(..) => None,
            Wave::Begun(_) | Wave::Piece(_) => Some(Arc::clone(stream)),
        };
        // Any device may call itself anything: nothing is kept of those that nobody listens to.
        if meter.running.is_none() && !is_heard(&meter.subscribers) {
            self.meters.remove(&serial);
        }
    }
}

fn add(subscribers: &mut Subscribers, queue: &WaveQueue) {
    subscribers.retain(|one| one.strong_count() > 0);
    subscribers.push(Arc::downgrade(queue));
}

fn is_heard(subscribers: &Subscribers) -> bool {
    subscribers.iter().any(|queue| queue.strong_count() > 0)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::model::{DeviceId, Make, Timestamp};

    fn stream(id: u64, name: &str) -> Arc<StreamInfo> {
        Arc::new(StreamInfo {
            id,
            device: DeviceId::derive(Make::Smartmeter, "a"),
            name: name.into(),
            start: Timestamp(0),
            rate_hz: 4000.0,
            channels: [].into(),
        })
    }

    fn piece(first: u64) -> Wave {
        Wave::Piece(Arc::new(Waveform { stream: stream(1, "a"), first, samples: [].into() }))
    }

    async fn heard(queue: &WaveQueue) -> Vec<&'static str> {
        queue.push_now(Wave::Ended(stream(99, "end"), 0));
        let mut batch = VecDeque::new();
        assert!(queue.drain(&mut batch).await);
        batch.pop_back();
        let word = |wave: &Wave| match wave {
            Wave::Begun(_) => "begun",
            Wave::Piece(_) => "piece",
            Wave::Ended(..) => "ended",
        };
        batch.iter().map(word).collect()
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

    #[tokio::test]
    async fn who_comes_late_hears_first_that_a_stream_runs() {
        let waves = Waveforms::default();
        waves.send("a", &Wave::Begun(stream(1, "mains")));
        let late = waves.subscribe("a", 8, Counter::default());
        waves.send("a", &piece(0));
        assert_eq!(heard(&late).await, ["begun", "piece"]);
        waves.send("a", &Wave::Ended(stream(1, "mains"), 1));
        assert!(waves.running(&Whose::Serial("a".into())).is_none());
        drop(late);
        assert_eq!(heard(&waves.subscribe("a", 8, Counter::default())).await, [""; 0]);
    }

    #[tokio::test]
    async fn a_name_is_the_meter_that_has_it_first_whatever_it_is_called_later() {
        let waves = Waveforms::default();
        let whose = Whose::Name("mains".into());
        let queue = waves.subscribe_to(&whose, 8, Counter::default());
        assert!(waves.wanted("any"), "nobody knows yet which meter that is");
        waves.send("b", &Wave::Begun(stream(7, "other")));
        waves.send("a", &Wave::Begun(stream(8, "mains")));
        assert!(waves.wanted("a") && !waves.wanted("b"));
        assert_eq!(waves.serial(&whose).as_deref(), Some("a"));
        waves.send("a", &Wave::Ended(stream(8, "mains"), 0));
        waves.send("a", &Wave::Begun(stream(9, "renamed")));
        assert_eq!(heard(&queue).await, ["begun", "ended", "begun"]);
        let second = waves.subscribe_to(&whose, 8, Counter::default());
        assert_eq!(heard(&second).await, ["begun"]);
    }

    #[tokio::test]
    async fn who_is_known_from_before_is_the_one_whatever_others_are_called() {
        let waves = Waveforms::default();
        let whose = Whose::Name("mains".into());
        let queue = waves.subscribe_to(&whose, 8, Counter::default());
        waves.know(&"mains".into(), &"a".into());
        assert_eq!(waves.serial(&whose).as_deref(), Some("a"));
        assert!(waves.wanted("a") && !waves.wanted("b"));
        waves.send("b", &Wave::Begun(stream(7, "mains")));
        waves.send("a", &Wave::Begun(stream(8, "house")));
        assert_eq!(heard(&queue).await, ["begun"]);
        assert_eq!(waves.running(&whose).map(|stream| stream.id), Some(8));
    }
}
