//! One device on the gateway's broker: what it last said, and what is due.

use std::sync::Arc;

use meter_protocols::smartmeter::Kind;
use meter_protocols::smartmeter::mqtt::{LineMeasurement, Measurement};
use tokio::time::{Duration, Instant};

use super::reader::HOLD;
use super::said::Sampled;
use crate::adapters::smartmeter::{
    Energy, EnergyUnit, EntrySettings, Frame, Line, Measured, Presence,
};
use crate::config::meter::{self, EnergySource};
use crate::model::Model;
use crate::topic::DeviceTopics;

/// A device that was heard.
#[derive(Debug)]
pub(super) struct Device {
    name: Arc<str>,
    topics: Arc<DeviceTopics>,
    since: Instant,
    heard: Instant,
    kind: Option<Kind>,
    sampling: bool,
    relay: Option<bool>,
    /// What was retained of its relay before it was heard.
    relay_before: Option<bool>,
    /// What is not handed on yet.
    measurement: Option<Measurement>,
    /// °C.
    temperature: Option<f64>,
    /// The powers that were handed on last: of the whole and of the lines, W.
    powers: Option<(Instant, [Option<f64>; 4])>,
    /// It spoke, or its relay has changed, and that is not handed on yet.
    news: bool,
    said: Option<Instant>,
    arrived: bool,
    /// When it was asked how it is, and how often it has not answered since.
    asked: Option<Instant>,
    unanswered: u32,
    /// It is to be asked at once.
    curious: bool,
    /// It was asked which of the two it is.
    asked_kind: bool,
    gone: bool,
}

/// What is to be done about a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// It can be spoken to.
    Arrived(Kind),
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
            kind: None,
            sampling: false,
            relay: None,
            relay_before: None,
            measurement: None,
            temperature: None,
            powers: None,
            news: false,
            said: None,
            arrived: false,
            asked: None,
            unanswered: 0,
            curious: false,
            asked_kind: false,
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
            Sampled::Measurement(measurement, looks) => {
                self.sampling = false;
                self.kind = self.kind.or(looks.kind);
                self.measurement = Some(*measurement);
            }
            Sampled::Sampling(on) => {
                self.sampling = on;
                self.powers = None;
            }
            Sampled::Other => {}
        }
    }

    /// A sample of a stream came.
    pub(super) fn streamed(&mut self, now: Instant) {
        self.spoke(now);
        // That it is there is said now and then, whatever comes of its samples.
        let is_due = self.said.is_none_or(|said| now.duration_since(said) >= AGAIN);
        (self.sampling, self.news) = (true, is_due);
        // Its samples tell what flows meanwhile.
        self.powers = None;
    }

    /// It said how it is.
    pub(super) fn state(&mut self, sampling: Option<bool>, relay: Option<bool>, now: Instant) {
        self.spoke(now);
        self.sampling = sampling.unwrap_or(self.sampling);
        self.relay = relay.or(self.relay);
        match relay {
            Some(_) => self.kind = Some(Kind::PowerMeter),
            // Who says how it is and has no relay.
            None if sampling.is_some() => self.kind = self.kind.or(Some(Kind::SmartMeter)),
            None => {}
        }
    }

    /// Its sensor board said something, `temperature` in °C or else.
    pub(super) fn sensed(&mut self, temperature: Option<f64>, now: Instant) {
        self.spoke(now);
        self.kind = Some(Kind::PowerMeter);
        self.temperature = temperature.or(self.temperature);
    }

    /// It said how its relay is; `None`: the message hides it.
    pub(super) fn switched(&mut self, closed: Option<bool>, retained: bool, now: Instant) {
        match (closed, retained) {
            (None, _) => self.curious = true,
            // Held until the device has spoken itself: it may have been away for a year.
            (closed, true) => self.relay_before = closed,
            (closed, false) => {
                self.spoke(now);
                self.kind = Some(Kind::PowerMeter);
                self.relay = closed;
            }
        }
    }

    /// What it is by a connection of its own, if it has one.
    pub(super) fn is_surely(&mut self, connected: Option<Kind>) {
        self.kind = connected.or(self.kind);
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
        if !self.arrived && first && may_arrive && self.has_shown_its_kind(now) {
            self.arrived = true;
            self.relay = self.relay.or(self.relay_before);
            // A plug says how its relay is.
            self.curious |= self.kind() == Kind::PowerMeter;
            due.push(Due::Arrived(self.kind()));
        }
        if !self.arrived {
            let ask = first && may_arrive && !std::mem::replace(&mut self.asked_kind, true);
            due.extend((ask && !self.is_kind_known()).then_some(Due::Ask));
            return due;
        }
        if std::mem::take(&mut self.news) {
            self.said = Some(now);
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

    /// Whether its samples are anybody's business.
    pub(super) fn has_arrived(&self) -> bool {
        self.arrived
    }

    fn is_kind_known(&self) -> bool {
        self.kind.is_some() || Kind::of_name(&self.name).is_some()
    }

    /// What it is taken for at first holds for its commands: who samples is asked, and has some time.
    fn has_shown_its_kind(&self, now: Instant) -> bool {
        self.is_kind_known() || now.duration_since(self.since) >= HOLD + AGAIN
    }

    /// What it looks like; its name tells where its messages do not.
    pub(super) fn kind(&self) -> Kind {
        self.kind.or_else(|| Kind::of_name(&self.name)).unwrap_or(Kind::SmartMeter)
    }

    /// What it said, for the adapter. `connected`: what it is by a connection of its own, which tells all
    /// but energy, relay and temperature better. `entry`: whose count of energy is believed, and its unit.
    pub(super) fn frame(
        &mut self,
        connected: Option<Kind>,
        entry: &EntrySettings,
        now: Instant,
    ) -> Frame {
        let kind = connected.unwrap_or_else(|| self.kind());
        let measured = self.measurement.take().map(|measurement| {
            let energy = energy(&measurement, kind, entry.energy_unit)
                .filter(|_| entry.energy != EnergySource::Integrated);
            if connected.is_some() {
                // What flows meanwhile is told by the connection.
                self.powers = None;
                return Measured { energy, ..Measured::default() };
            }
            let measured = measured(&measurement, kind);
            let flowed = self.flow(&measured, now);
            Measured {
                energy: energy.or(flowed.filter(|_| entry.energy != EnergySource::Meter)),
                ..measured
            }
        });
        let presence = if connected.is_some() { Presence::Unknown } else { Presence::Here };
        let measured = measured.filter(|one| connected.is_none() || one.energy.is_some());
        let now = match self.temperature.take() {
            None => measured,
            temperature_c => Some(Measured { temperature_c, ..measured.unwrap_or_default() }),
        };
        Frame { now, ..self.bare(kind, presence) }
    }

    fn bare(&self, kind: Kind, presence: Presence) -> Frame {
        Frame {
            serial: Arc::clone(&self.name),
            model: match kind {
                Kind::SmartMeter => Model::Smartmeter,
                Kind::PowerMeter => Model::Powermeter,
            },
            presence,
            on_our_broker: true,
            message_unit: None,
            now: None,
            past: Vec::new(),
            relay: self.relay.filter(|_| kind == Kind::PowerMeter),
        }
    }

    /// What has flowed since the message before; `None` after a pause.
    fn flow(&mut self, measured: &Measured, now: Instant) -> Option<Energy> {
        let powers = measured.watts();
        let (at, before) = self.powers.replace((now, powers))?;
        let waited = now.duration_since(at);
        if waited > PAUSE {
            return None;
        }
        let hours = waited.as_secs_f64() / 3600.0;
        Energy::flowed_between(before, powers, hours)
    }
}

/// All but the energy. No apparent power: two decimals of a current do not give one.
fn measured(measurement: &Measurement, kind: Kind) -> Measured {
    let line = |line: LineMeasurement| Line {
        active_w: line.power_w,
        voltage_v: line.voltage_v,
        current_a: line.current_a,
        ..Line::default()
    };
    let lines =
        measurement.lines.filter(|_| kind == Kind::SmartMeter).unwrap_or_default().map(line);
    let sum = |of: fn(&Line) -> Option<f64>| {
        lines.iter().map(of).try_fold(0.0, |sum, value| Some(sum + value?))
    };
    let whole = Line {
        active_w: measurement.power_w,
        voltage_v: measurement.voltage_v,
        // The meter's own sum has the neutral conductor in it.
        current_a: sum(|line| line.current_a).or(measurement.current_a),
        ..Line::default()
    };
    Measured { lines, whole, ..Measured::default() }
}

/// A SmartMeter says kWh; a plug's message does not tell.
fn energy(measurement: &Measurement, kind: Kind, configured: meter::EnergyUnit) -> Option<Energy> {
    let unit = match (kind, configured) {
        (Kind::SmartMeter, _) | (_, meter::EnergyUnit::KWh) => Some(EnergyUnit::KilowattHour),
        (_, meter::EnergyUnit::Wh) => Some(EnergyUnit::WattHour),
        (_, meter::EnergyUnit::Auto) => None,
    };
    let lines = measurement.lines.unwrap_or_default().map(|line| line.energy_wh);
    Some(Energy::Message { whole: measurement.energy_wh?, lines, unit })
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
/// Between two messages so far apart nothing is known of the power.
const PAUSE: Duration = Duration::from_secs(30);
/// A name that was heard once and never again.
const LOST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
