//! Messages of QoS 1 and 2 that a client has been sent and has not yet acknowledged to the end.
//!
//! They stay in the order of their first sending, which is the order they are repeated in when the
//! client comes back.

use std::collections::VecDeque;

use super::packet::QoS;
use super::queue::Queued;

/// The unfinished exchanges of one session.
#[derive(Debug, Default)]
pub(crate) struct Inflight {
    entries: VecDeque<Entry>,
    last_id: u16,
    /// Ids ever given out: tells whether the oldest entry may have been lapped.
    given: u64,
    /// Entries at the front part that the present connection has not been sent yet.
    unsent: usize,
}

#[derive(Debug)]
struct Entry {
    id: u16,
    given: u64,
    /// The message's place in the queue it came from, by which it is known on disk.
    place: u64,
    sent: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// PUBLISH sent; PUBACK or PUBREC is awaited.
    Published(Queued),
    /// PUBREL sent; PUBCOMP is awaited.
    Released,
}

/// An exchange that is over.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) place: u64,
    /// The message, unless it was released before.
    pub(crate) item: Option<Queued>,
}

/// What became of a PUBREC.
#[derive(Debug)]
pub(crate) enum Release {
    /// The message has arrived just now.
    Now { place: u64, item: Queued },
    /// It had arrived before.
    Again,
    /// No QoS 2 message has this id.
    Unknown,
}

/// Something to be sent again to a client that has come back.
#[derive(Debug)]
pub(crate) enum Repeat {
    Publish { packet_id: u16, item: Queued },
    Release { packet_id: u16 },
}

impl Inflight {
    /// Exchanges that are open with the present connection.
    pub(crate) fn open(&self) -> usize {
        self.entries.len() - self.unsent
    }

    /// Takes a message in and gives it an id that no other open exchange has.
    ///
    /// `None` when all 65,535 are in use.
    pub(crate) fn start(&mut self, place: u64, item: Queued) -> Option<u16> {
        if self.entries.len() >= usize::from(u16::MAX) {
            return None;
        }
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            self.given += 1;
            // Ids are given in turn, so one can only be in use still when a whole round has passed
            // since the oldest open one was given.
            let lapped = self
                .entries
                .front()
                .is_some_and(|oldest| self.given - oldest.given >= u64::from(u16::MAX));
            if !lapped || self.entries.iter().all(|entry| entry.id != self.last_id) {
                break;
            }
        }
        let (id, given) = (self.last_id, self.given);
        let stage = Stage::Published(item);
        self.entries.push_back(Entry { id, given, place, sent: true, stage });
        Some(id)
    }

    /// Takes in an exchange that was open when the broker ended; `None`: its message is released.
    pub(crate) fn restore(&mut self, id: u16, place: u64, item: Option<Queued>) {
        let stage = item.map_or(Stage::Released, Stage::Published);
        // As if given a whole round ago, so that every new id is compared with it.
        self.given = u64::from(u16::MAX);
        self.last_id = id;
        self.entries.push_back(Entry { id, given: 0, place, sent: false, stage });
        self.unsent += 1;
    }

    /// PUBACK, or a PUBREC that refuses: the exchange is over. `qos` is what the packet implies.
    pub(crate) fn finish_publish(&mut self, id: u16, qos: QoS) -> Option<Finished> {
        self.remove(id, |stage| matches!(stage, Stage::Published(item) if item.qos == qos))
    }

    /// PUBCOMP: the exchange is over.
    pub(crate) fn finish_release(&mut self, id: u16) -> Option<Finished> {
        self.remove(id, |stage| matches!(stage, Stage::Released))
    }

    /// PUBREC: the message has arrived and is ours no longer.
    pub(crate) fn release(&mut self, id: u16) -> Release {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) else {
            return Release::Unknown;
        };
        match std::mem::replace(&mut entry.stage, Stage::Released) {
            Stage::Released => Release::Again,
            Stage::Published(item) if item.qos == QoS::ExactlyOnce => {
                Release::Now { place: entry.place, item }
            }
            other => {
                entry.stage = other;
                Release::Unknown
            }
        }
    }

    /// Drops a message that cannot be sent to this client at all.
    pub(crate) fn abandon(&mut self, id: u16) -> Option<Finished> {
        self.remove(id, |_| true)
    }

    /// The messages of shared subscriptions that others can have instead. Not those of QoS 2: one that
    /// was sent may have been received (MQTT 5, section 4.8.2).
    pub(crate) fn shared(&self) -> Vec<Queued> {
        let published = |entry: &Entry| match &entry.stage {
            Stage::Published(item) if item.qos == QoS::AtLeastOnce => Some(item.clone()),
            _ => None,
        };
        self.entries.iter().filter_map(published).filter(|item| item.share.is_some()).collect()
    }

    /// A new connection has come: everything open has to be sent again.
    pub(crate) fn restart(&mut self) {
        for entry in &mut self.entries {
            entry.sent = false;
        }
        self.unsent = self.entries.len();
    }

    /// The next exchange to take up again on the present connection.
    pub(crate) fn next_repeat(&mut self) -> Option<Repeat> {
        if self.unsent == 0 {
            return None;
        }
        let entry = self.entries.iter_mut().find(|entry| !entry.sent)?;
        entry.sent = true;
        self.unsent -= 1;
        Some(match &entry.stage {
            Stage::Published(item) => Repeat::Publish { packet_id: entry.id, item: item.clone() },
            Stage::Released => Repeat::Release { packet_id: entry.id },
        })
    }

    /// Clients acknowledge in order as a rule, so the search ends at the first entry.
    fn remove(&mut self, id: u16, fits: impl Fn(&Stage) -> bool) -> Option<Finished> {
        let index = self.entries.iter().position(|entry| entry.id == id)?;
        if !fits(&self.entries[index].stage) {
            return None;
        }
        let entry = self.entries.remove(index)?;
        self.unsent -= usize::from(!entry.sent);
        if self.entries.is_empty() {
            self.entries.shrink_to(64);
        }
        let item = match entry.stage {
            Stage::Published(item) => Some(item),
            Stage::Released => None,
        };
        Some(Finished { place: entry.place, item })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(qos: QoS) -> Queued {
        Queued::empty("a", qos)
    }

    #[test]
    fn an_id_in_use_is_never_given_again() {
        let mut inflight = Inflight::default();
        let stuck = inflight.start(0, item(QoS::AtLeastOnce)).unwrap();
        for _ in 0..200_000 {
            let id = inflight.start(0, item(QoS::AtLeastOnce)).unwrap();
            assert_ne!(id, stuck);
            assert_ne!(id, 0);
            assert!(inflight.finish_publish(id, QoS::AtLeastOnce).is_some());
        }
        assert_eq!(inflight.entries.len(), 1);
    }

    #[test]
    fn repeats_come_in_order_and_each_at_its_stage() {
        let mut inflight = Inflight::default();
        let ids: Vec<u16> = [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce]
            .map(|qos| inflight.start(0, item(qos)).unwrap())
            .to_vec();
        assert!(matches!(inflight.release(ids[1]), Release::Now { .. }));
        assert!(matches!(inflight.release(ids[1]), Release::Again));
        assert!(matches!(inflight.release(ids[0]), Release::Unknown), "PUBREC does not fit QoS 1");
        assert!(
            inflight.finish_publish(ids[2], QoS::AtLeastOnce).is_none(),
            "PUBACK does not fit QoS 2"
        );
        inflight.restart();
        assert_eq!(inflight.open(), 0);
        assert!(
            matches!(inflight.next_repeat(), Some(Repeat::Publish { packet_id, .. }) if packet_id == ids[0])
        );
        assert!(
            matches!(inflight.next_repeat(), Some(Repeat::Release { packet_id }) if packet_id == ids[1])
        );
        assert!(inflight.finish_release(ids[1]).is_some());
        assert!(
            matches!(inflight.next_repeat(), Some(Repeat::Publish { packet_id, .. }) if packet_id == ids[2])
        );
        assert!(inflight.next_repeat().is_none());
        assert_eq!((inflight.open(), inflight.entries.len()), (2, 2));
    }

    #[test]
    fn ids_kept_over_a_restart_are_not_given_again_while_they_are_open() {
        let mut inflight = Inflight::default();
        inflight.restore(1, 1, Some(item(QoS::AtLeastOnce)));
        inflight.restore(3, 2, None);
        inflight.restore(65_535, 3, Some(item(QoS::ExactlyOnce)));
        let given: Vec<u16> =
            (0..3).map(|_| inflight.start(9, item(QoS::AtLeastOnce)).unwrap()).collect();
        assert_eq!(given, [2, 4, 5]);
        assert_eq!(inflight.open(), 3, "what is to be repeated does not fill the window yet");
    }
}
