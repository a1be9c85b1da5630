//! One device on the gateway's broker: what it last said, and what is due.

use std::sync::Arc;

use tokio::time::{Duration, Instant};

use super::reader::HOLD;
use super::said::{Measurement, PerLine, Sampled};
use crate::adapters::smartmeter::{Energy, EnergyUnit, Frame, Line, Measured, Presence};
use crate::model::Model;
use crate::topic::DeviceTopics;

/// A device that was heard.
#[derive(Debug)]
pub(super) struct Device {
    name: Arc<str>,
    topics: Arc<DeviceTopics>,
    since: Instant,
    heard: Instant,
    model: Option<Model>,
    sampling: bool,
    relay: Option<bool>,
    /// What was retained of its relay before it was heard.
    relay_before: Option<bool>,
    /// What is not handed on yet.
    measurement: Option<Measurement>,
    /// It spoke, or its relay has changed, and that is not handed on yet.
    news: bool,
    arrived: bool,
    /// When it was asked how it is, and how often it has not answered since.
    asked: Option<Instant>,
    unanswered: u32,
    /// It is to be asked at once.
    curious: bool,
    gone: bool,
}

/// What is to be done about a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// It can be spoken to.
    Arrived(Model),
    /// What it said is handed on.
    Say,
    /// It is asked how it is.
    Ask,
    /// It says nothing any more.
    Gone,
}

impl Device {
    pub(super) fn new(name: Arc<str>, topics: Arc<DeviceTopics>, now: Instant) -> Device {
        Device {
            name,
            topics,
            since: now,
            heard: now,
            model: None,
            sampling: false,
            relay: None,
            relay_before: None,
            measurement: None,
            news: false,
            arrived: false,
            asked: None,
            unanswered: 0,
            curious: false,
            gone: false,
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn topics(&self) -> &Arc<DeviceTopics> {
        &self.topics
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// It said something on `state/sample`.
    pub(super) fn sampled(&mut self, sampled: Sampled, now: Instant) {
        self.spoke(now);
        match sampled {
            Sampled::Measurement(measurement) => {
                self.sampling = false;
                self.model = self.model.or(measurement.looks_like);
                self.measurement = Some(measurement);
            }
            Sampled::Sampling(on) => self.sampling = on,
            Sampled::Other => {}
        }
    }

    /// It said how it is.
    pub(super) fn state(&mut self, sampling: bool, relay: Option<bool>, now: Instant) {
        self.spoke(now);
        self.sampling = sampling;
        self.relay = relay.or(self.relay);
        if relay.is_some() {
            self.model = Some(Model::Powermeter);
        }
    }

    /// It said how its relay is; `None`: the message hides it.
    pub(super) fn switched(&mut self, closed: Option<bool>, retained: bool, now: Instant) {
        match (closed, retained) {
            (None, _) => self.curious = true,
            // Held until the device has spoken itself: it may have been away for a year.
            (closed, true) => self.relay_before = closed,
            (closed, false) => {
                self.spoke(now);
                self.model = Some(Model::Powermeter);
                self.relay = closed;
            }
        }
    }

    /// How it is may have changed.
    pub(super) fn look_again(&mut self, now: Instant) {
        self.curious = true;
        self.asked = self.asked.filter(|asked| now.duration_since(*asked) < SOON);
    }

    fn spoke(&mut self, now: Instant) {
        self.heard = now;
        (self.asked, self.unanswered, self.news) = (None, 0, true);
    }

    /// What is to be done now. `is_known`: nobody else can be meant by the name.
    pub(super) fn due(&mut self, now: Instant, is_known: bool) -> Vec<Due> {
        let mut due = Vec::new();
        let silent = now.duration_since(self.heard);
        if self.unanswered >= ASKED_IN_VAIN || (!self.arrived && silent > LOST) {
            self.gone = true;
            due.push(Due::Gone);
            return due;
        }
        let may_arrive = is_known || now.duration_since(self.since) >= HOLD;
        let first = self.measurement.is_some() || self.sampling;
        if !self.arrived && first && may_arrive {
            self.arrived = true;
            self.relay = self.relay.or(self.relay_before);
            // A plug says how its relay is.
            self.curious |= self.model() == Model::Powermeter;
            due.push(Due::Arrived(self.model()));
        }
        if !self.arrived {
            return due;
        }
        if std::mem::take(&mut self.news) {
            due.push(Due::Say);
        }
        let patience = if self.sampling { WHILE_SAMPLING } else { SILENT };
        let is_silent = silent >= patience;
        let waits = self.asked.is_some_and(|asked| now.duration_since(asked) < AGAIN);
        if (self.curious || is_silent) && !waits {
            self.unanswered += u32::from(is_silent && self.asked.is_some());
            self.curious = false;
            self.asked = Some(now);
            due.push(Due::Ask);
        }
        due
    }

    /// What it looks like; its name tells where its messages do not.
    fn model(&self) -> Model {
        let by_name = || {
            let is_plug = self.name.to_ascii_lowercase().starts_with("power");
            if is_plug { Model::Powermeter } else { Model::Smartmeter }
        };
        self.model.unwrap_or_else(by_name)
    }

    /// What it said, for the adapter. `connected`: what it is by a connection of its own, which tells all
    /// but energy and relay better. `with_energy`: its own count is believed.
    pub(super) fn frame(&mut self, connected: Option<Model>, with_energy: bool) -> Frame {
        let model = connected.unwrap_or_else(|| self.model());
        let measured = self.measurement.take().map(|measurement| {
            let energy = energy(&measurement, model).filter(|_| with_energy);
            match connected {
                Some(_) => Measured { energy, ..Measured::default() },
                None => Measured { energy, ..measured(&measurement, model) },
            }
        });
        let presence = if connected.is_some() { Presence::Unknown } else { Presence::Here };
        Frame {
            serial: Arc::clone(&self.name),
            model,
            presence,
            on_our_broker: true,
            now: measured.filter(|one| connected.is_none() || one.energy.is_some()),
            past: Vec::new(),
            relay: self.relay.filter(|_| model == Model::Powermeter),
        }
    }
}

/// All but the energy.
fn measured(measurement: &Measurement, model: Model) -> Measured {
    let line = |line: &PerLine| Line {
        active_w: line.power,
        voltage_v: line.volt,
        current_a: line.current,
        apparent_va: line.volt.zip(line.current).map(|(volt, current)| volt * current),
        ..Line::default()
    };
    let [a, b, c] = measurement.lines;
    // The meter's own sum has the neutral conductor in it.
    let sum = || Some(a.current? + b.current? + c.current?);
    let whole = Line {
        active_w: Some(measurement.power),
        voltage_v: measurement.volt,
        current_a: sum().or(measurement.current),
        ..Line::default()
    };
    let lines = if model == Model::Smartmeter { measurement.lines } else { Default::default() };
    Measured { lines: lines.map(|one| line(&one)), whole, ..Measured::default() }
}

/// A SmartMeter says kWh; a plug's message does not tell.
fn energy(measurement: &Measurement, model: Model) -> Option<Energy> {
    let unit = (model == Model::Smartmeter).then_some(EnergyUnit::KilowattHour);
    let lines = measurement.lines.map(|line| line.energy);
    Some(Energy::Message { whole: measurement.energy?, lines, unit })
}

/// A device that is idle speaks every five seconds, or as seldom as every hour where it was told so.
const SILENT: Duration = Duration::from_secs(25);
/// It says nothing by itself then.
const WHILE_SAMPLING: Duration = Duration::from_secs(15);
/// How long it has for an answer.
const AGAIN: Duration = Duration::from_secs(5);
/// How often it is asked before it is given up.
const ASKED_IN_VAIN: u32 = 6;
/// A question just sent tells what is wanted.
const SOON: Duration = Duration::from_millis(500);
/// A name that was heard once and never again.
const LOST: Duration = Duration::from_secs(60);
