//! One Fluksometer: from frames to readings. Values are its own; nothing is counted here.

use std::sync::Arc;

use meter_protocols::flukso::Id;

use super::documents::State;
use super::layout::Layout;
use crate::adapters::fleet::{self, Heard, Kept, MeterSettings, Standing};
use crate::config::meter::Kind;
use crate::model::{Device, Make, Model, Reading, ReadingSet, Timestamp, Value};

pub(super) use crate::adapters::fleet::Presence;

/// What a link hands over of one device.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(super) device: Id,
    pub(super) serial: Arc<str>,
    pub(super) layout: Arc<Layout>,
    /// What is to be kept of it.
    pub(super) state: Arc<State>,
    /// Readings about times that are over, oldest first.
    pub(super) past: Vec<Group>,
    /// Readings of one second.
    pub(super) now: Option<Group>,
    pub(super) presence: Presence,
}

/// Readings of one second.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    /// Unix seconds, by the device's clock.
    pub(super) time: i64,
    /// They are about a time that is over.
    pub(super) past: bool,
    pub(super) readings: Vec<Reading>,
}

/// A Fluksometer that has been heard.
#[derive(Debug)]
pub(crate) struct Meter {
    settings: MeterSettings,
    standing: Standing,
    layout: Arc<Layout>,
    device: Arc<Device>,
    state: Arc<State>,
    changed: bool,
    past: Vec<Arc<ReadingSet>>,
}

impl fleet::Meter for Meter {
    const MAKE: Make = Make::Fluksometer;
    const KIND: Kind = Kind::Fluksometer;
    type Frame = Frame;
    type Key = Id;
    type State = State;

    fn key(frame: &Frame) -> Id {
        frame.device
    }

    fn serial(frame: &Frame) -> Arc<str> {
        Arc::clone(&frame.serial)
    }

    fn model(frame: &Frame) -> Model {
        frame.layout.model
    }

    fn begin(
        frame: &Frame,
        _at: Timestamp,
        settings: MeterSettings,
        standing: Standing,
        _kept: Option<Kept<State>>,
    ) -> Meter {
        let state = Arc::clone(&frame.state);
        let layout = Arc::clone(&frame.layout);
        let device = Arc::new(layout.device(&frame.serial, &settings, standing.flags()));
        Meter { settings, standing, layout, device, state, changed: true, past: Vec::new() }
    }

    fn hear(&mut self, frame: &Frame, at: Timestamp) -> Heard {
        if !Arc::ptr_eq(&self.state, &frame.state) {
            self.changed |= self.state != frame.state;
            self.state = Arc::clone(&frame.state);
        }
        if !Arc::ptr_eq(&self.layout, &frame.layout) {
            self.layout = Arc::clone(&frame.layout);
            self.describe();
        }
        self.past = frame.past.iter().map(|group| self.set(group)).collect();
        let nothing = || {
            let device = Arc::clone(&self.device);
            Arc::new(ReadingSet { device, at, pulses: [None; 4], readings: Vec::new() })
        };
        let set = frame.now.as_ref().map_or_else(nothing, |group| self.set(group));
        Heard { set, earlier: Vec::new(), corrections: Vec::new() }
    }

    fn configure(&mut self, settings: MeterSettings, standing: Standing) {
        (self.settings, self.standing) = (settings, standing);
        self.changed = true;
        self.describe();
    }

    fn device(&self) -> &Arc<Device> {
        &self.device
    }

    fn settings(&self) -> &MeterSettings {
        &self.settings
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn presence(frame: &Frame) -> Presence {
        frame.presence
    }

    fn take_past(&mut self) -> Vec<Arc<ReadingSet>> {
        std::mem::take(&mut self.past)
    }

    fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

impl Meter {
    fn describe(&mut self) {
        let serial = Arc::clone(&self.device.serial);
        let flags = self.standing.flags();
        self.device = Arc::new(self.layout.device(&serial, &self.settings, flags));
    }

    fn set(&self, group: &Group) -> Arc<ReadingSet> {
        let mut readings = group.readings.clone();
        readings.sort_by_key(|one| (one.sensor, matches!(one.value, Value::Gauge(_))));
        let device = Arc::clone(&self.device);
        let at = Timestamp(group.time.saturating_mul(1000));
        Arc::new(ReadingSet { device, at, pulses: [None; 4], readings })
    }
}
