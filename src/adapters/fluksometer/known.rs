//! One Fluksometer as it is seen on one link: what it has said and what of it is still to be handed on.

use std::collections::HashMap;
use std::sync::Arc;

use meter_protocols::flukso::Id;
use meter_protocols::flukso::topic::Document;

use super::documents::{Documents, State};
use super::gate::{Gate, Verdict};
use super::layout::Layout;
use super::meter::{Frame, Group, Presence};
use super::past::Ask;
use crate::broker::Received;
use crate::metrics::Metrics;
use crate::model::{Reading, Timestamp};

/// A device that has said something of itself.
#[derive(Default)]
pub(super) struct Known {
    pub(super) serial: Arc<str>,
    pub(super) documents: Documents,
    /// The same for the disk.
    pub(super) state: Arc<State>,
    pub(super) layout: Option<Arc<Layout>>,
    /// Since when its documents are complete enough, while it is not sure yet that they are its own.
    pub(super) held: Option<Timestamp>,
    pub(super) gates: HashMap<(u16, bool), Gate>,
    /// Readings that are not handed on yet.
    pub(super) groups: Vec<Group>,
    /// Something else is to be handed on.
    pub(super) news: bool,
    pub(super) presence: Presence,
    /// It is to be asked for its past.
    pub(super) ask: bool,
    pub(super) asked: Option<Timestamp>,
    /// Its clock was wrong when it was last said so.
    pub(super) wrong_clock: bool,
}

impl Known {
    pub(super) fn new(device: Id) -> Known {
        Known { serial: device.to_string().into(), ..Known::default() }
    }

    /// It has said something: on its own broker also what it said before tells that it is there.
    pub(super) fn heard(&mut self, received: &Received, ours: bool) {
        if !ours || !received.retained {
            self.presence = Presence::Here;
            self.news = true;
        }
    }

    /// Whether the gateway has published this text in the place of the device's.
    pub(super) fn published(&self, document: Document, text: &str) -> bool {
        let Some(own) = self.layout.as_ref().and_then(|layout| layout.own.as_ref()) else {
            return false;
        };
        let ours = match document {
            Document::Sensor => &own.sensor,
            Document::Kube => &own.kube,
            Document::Flx => &own.flx,
        };
        **ours == *text
    }

    /// Takes a reading if its time is to be believed.
    pub(super) fn put(
        &mut self,
        reading: Reading,
        counts: bool,
        time: i64,
        now: Timestamp,
        metrics: &Metrics,
    ) {
        let gate = self.gates.entry((reading.sensor, counts)).or_default();
        let past = match gate.judge(time, now.seconds()) {
            Verdict::Now => false,
            Verdict::Past => true,
            Verdict::Stale => return metrics.flukso_stale.increment(),
            verdict @ (Verdict::Ahead(_) | Verdict::TooOld(_)) => {
                metrics.flukso_wrong_time.increment();
                return self.complain(verdict);
            }
        };
        self.presence = Presence::Here;
        let group = self.groups.iter_mut().find(|one| one.time == time && one.past == past);
        match group {
            Some(group) => group.readings.push(reading),
            None => self.groups.push(Group { time, past, readings: vec![reading] }),
        }
    }

    pub(super) fn complain(&mut self, verdict: Verdict) {
        if std::mem::replace(&mut self.wrong_clock, true) {
            return;
        }
        let device = &self.serial;
        match verdict {
            Verdict::Ahead(seconds) => tracing::warn!(
                %device,
                seconds,
                "the clock of a fluksometer is ahead of this machine's: its readings are not taken; \
                 set whichever is wrong"
            ),
            Verdict::TooOld(seconds) => tracing::warn!(
                %device,
                seconds,
                "readings of a fluksometer are older than 15 days and are not taken: is its clock set?"
            ),
            _ => {}
        }
    }

    /// One frame for each second, in order; what is over, and all news, go with the first.
    pub(super) fn frames(&mut self, device: Id, key: &str, frames: &mut Vec<Frame>) {
        let Some(layout) = &self.layout else { return };
        if self.groups.is_empty() && !self.news {
            return;
        }
        let groups = std::mem::take(&mut self.groups);
        if !groups.is_empty() {
            self.wrong_clock = false;
        }
        // What is over keeps the order it came in: histories go by it.
        let (past, mut now): (Vec<Group>, Vec<Group>) =
            groups.into_iter().partition(|one| one.past);
        now.sort_by_key(|group| group.time);
        let mut now = now.into_iter();
        if std::mem::take(&mut self.news) {
            let state = State { link: key.to_owned(), documents: self.documents.clone() };
            if *self.state != state {
                self.state = Arc::new(state);
            }
        }
        let presence = std::mem::replace(&mut self.presence, Presence::Unknown);
        let frame = |past, now| Frame {
            device,
            serial: Arc::clone(&self.serial),
            layout: Arc::clone(layout),
            state: Arc::clone(&self.state),
            past,
            now,
            presence,
        };
        frames.push(frame(past, now.next()));
        frames.extend(now.map(|group| frame(Vec::new(), Some(group))));
    }

    pub(super) fn question(&mut self, device: Id, now: Timestamp) -> Option<Ask> {
        let layout = self.layout.as_ref()?;
        let due = self.asked.is_none_or(|at| now.since(at).as_secs() >= ASK_AGAIN_S);
        if !self.ask || !due {
            return None;
        }
        (self.ask, self.asked) = (false, Some(now));
        let sensors = layout.slots.iter().filter_map(|slot| {
            slot.own.as_ref()?.record?;
            Some(slot.id)
        });
        let sensors: Vec<Id> = sensors.collect();
        (!sensors.is_empty()).then_some(Ask { device, sensors })
    }
}

const ASK_AGAIN_S: u64 = 30;
