//! What a device is asked while it does not sample: power, voltage and current every few seconds, the
//! frequency now and then, and its dictionary for the energy, also while it samples.
//!
//! `getEnergy` is never sent by itself: of a SmartMeter each one loses what was counted since the last
//! time that it was stored.
//!
//! Source: protocol note, section 2.5 with its traps, section 5.

use std::collections::VecDeque;

use meter_protocols::smartmeter::{Command, Info, Kind, Reply, Values};
use tokio::time::{Duration, Instant};

use super::Session;
use super::turns::By;
use crate::adapters::smartmeter::measured::{Energy, Line, Measured};
use crate::config::meter::EnergySource;
use crate::model::Timestamp;

/// One question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poll {
    Power,
    Voltage,
    Current,
    Frequency,
    Info,
}

/// What is asked when, and what the answers were.
#[derive(Debug)]
pub(super) struct Idle {
    next: Instant,
    next_info: Instant,
    /// What is left of this round.
    round: VecDeque<Poll>,
    rounds: u64,
    heard: Round,
    /// Somebody else's samples are taken.
    busy: bool,
    /// The meter tells its energy.
    counts: bool,
    /// The last powers, for energy where the meter has none.
    before: Option<(Instant, [Option<f64>; 4])>,
}

/// The answers of a round.
#[derive(Debug, Default)]
struct Round {
    power: Option<Values>,
    reactive: Option<Values>,
    apparent: Option<Values>,
    voltage: Option<Values>,
    current_ma: Option<Values>,
    frequency: Option<f64>,
}

impl Idle {
    pub(super) fn new(now: Instant) -> Idle {
        Idle {
            next: now,
            next_info: now + INFO,
            round: VecDeque::new(),
            rounds: 0,
            heard: Round::default(),
            busy: false,
            counts: false,
            before: None,
        }
    }

    /// Another device is at the other end.
    pub(super) fn restart(&mut self, now: Instant) {
        *self = Idle::new(now);
    }

    /// The dictionary has come, asked for or not.
    pub(super) fn informed(&mut self, now: Instant) {
        self.next_info = now + INFO;
    }
}

impl Session {
    /// When the next question is due.
    pub(super) fn poll_due(&self) -> Option<Instant> {
        let info = (!self.is_raw()).then_some(self.idle.next_info);
        let asks = !self.is_sampling() && !self.idle.busy;
        let round = asks.then_some(self.idle.next);
        info.into_iter().chain(round).min()
    }

    pub(super) fn next_poll(&mut self, now: Instant) -> Option<(Command, By)> {
        let poll = match self.is_sampling() || self.idle.busy {
            true => {
                self.idle.round.clear();
                None
            }
            false => self.next_of_round(now),
        };
        let info = now >= self.idle.next_info && !self.is_raw();
        let poll = poll.or_else(|| info.then_some(Poll::Info))?;
        if poll == Poll::Info {
            self.idle.next_info = now + INFO;
        }
        self.context.metrics.polls.increment();
        let command = match poll {
            Poll::Power => Command::get_power(),
            Poll::Voltage => Command::get_voltage(),
            Poll::Current => Command::get_current(),
            Poll::Frequency => Command::get_period(),
            Poll::Info => Command::info(),
        };
        Some((command, By::Poll(poll)))
    }

    fn next_of_round(&mut self, now: Instant) -> Option<Poll> {
        if self.idle.round.is_empty() {
            if now < self.idle.next {
                return None;
            }
            let every = self.device.as_ref()?.entry.poll;
            self.idle.next = now + every;
            self.idle.heard = Round::default();
            let often = [Poll::Power, Poll::Voltage, Poll::Current];
            self.idle.round.extend(often);
            if self.idle.rounds.is_multiple_of(FREQUENCY_EVERY) {
                self.idle.round.push_back(Poll::Frequency);
            }
            self.idle.rounds += 1;
        }
        self.idle.round.pop_front()
    }

    /// An answer, or that there is none.
    pub(super) fn polled(&mut self, poll: Poll, reply: Option<&Reply>, now: Instant) {
        if reply.is_none() {
            self.context.metrics.failed_polls.increment();
        }
        let values = |key: &str| reply.and_then(|reply| reply.values(key));
        let heard = &mut self.idle.heard;
        match poll {
            Poll::Power => {
                heard.power = values("activePower");
                heard.reactive = values("reactivePower");
                heard.apparent = values("apparentPower");
            }
            Poll::Voltage => heard.voltage = values("voltage"),
            Poll::Current => heard.current_ma = values("current"),
            Poll::Frequency => heard.frequency = reply.and_then(Reply::frequency_hz),
            Poll::Info => return,
        }
        if self.idle.round.is_empty() {
            self.round_over(now);
        }
    }

    fn round_over(&mut self, now: Instant) {
        let kind = self.kind();
        let mut measured = std::mem::take(&mut self.idle.heard).measured(kind);
        if measured == Measured::default() {
            return;
        }
        measured.energy = self.flowed(&measured, now);
        if let Some(mut frame) = self.frame() {
            frame.now = Some(measured);
            self.frames.push_back(frame);
        }
    }

    /// The dictionary tells whether the device samples, for whom nobody knows.
    pub(super) fn state(&mut self, info: &Info, now: Instant, at: Timestamp) {
        match info.busy {
            Some(true) => {
                let busy = !self.is_sampling();
                let first = !std::mem::replace(&mut self.idle.busy, busy);
                if first && busy {
                    let (serial, peer) = (self.serial(), &self.context.peer);
                    tracing::warn!(
                        serial,
                        peer,
                        "the meter samples for another client: until that ends it tells its energy only \
                         (the command stop ends it)"
                    );
                }
                self.idle.next_info = now + BUSY_INFO;
            }
            Some(false) => {
                self.idle.busy = false;
                self.seen_idle(now, at);
            }
            None => {}
        }
    }

    /// The dictionary is asked for now.
    pub(super) fn info_now(&mut self, now: Instant) {
        self.idle.next_info = now;
    }

    /// What is asked for is asked now.
    pub(super) fn poll_now(&mut self, now: Instant) {
        self.idle.next = now;
    }

    /// The device does not sample.
    pub(super) fn not_busy(&mut self) {
        self.idle.busy = false;
    }

    /// The meter's total, where that is believed.
    pub(super) fn energy(&mut self, info: &Info) -> Option<Energy> {
        let entry = &self.device.as_ref()?.entry;
        if entry.energy == EnergySource::Integrated {
            return None;
        }
        let energy = info.energy_wh.as_ref()?;
        let lines_wh = match energy {
            Values::Whole(_) => [None; 3],
            Values::Lines(lines) => *lines,
        };
        let total = Energy::Total { whole_wh: energy.sum()?, lines_wh };
        self.idle.counts = true;
        self.stream_counts_no_energy();
        Some(total)
    }

    /// Whether powers are to be integrated, because the meter counts nothing or is not believed.
    pub(super) fn integrates(&self) -> bool {
        match self.device.as_ref().map_or(EnergySource::Auto, |device| device.entry.energy) {
            EnergySource::Auto => !self.idle.counts,
            EnergySource::Meter => false,
            EnergySource::Integrated => true,
        }
    }

    /// What has flowed since the last round, by the mean of both powers; nothing after a pause.
    fn flowed(&mut self, measured: &Measured, now: Instant) -> Option<Energy> {
        let watts = measured.watts();
        let before = self.idle.before.replace((now, watts));
        let poll = self.device.as_ref()?.entry.poll;
        let (then, before) = before.filter(|_| self.integrates())?;
        let span = now.duration_since(then);
        if span > poll * 3 {
            return None;
        }
        let hours = span.as_secs_f64() / 3600.0;
        Energy::flowed_between(before, watts, hours)
    }
}

impl Round {
    fn measured(self, kind: Kind) -> Measured {
        let mut measured = Measured { frequency_hz: self.frequency, ..Measured::default() };
        if kind == Kind::PowerMeter {
            measured.whole = self.line(0, kind);
            return measured;
        }
        measured.lines = [1, 2, 3].map(|line| self.line(line, kind));
        let sum = |of: fn(&Line) -> Option<f64>| measured.lines.iter().map(of).sum::<Option<f64>>();
        let active_w = sum(|line| line.active_w);
        let apparent_va = sum(|line| line.apparent_va);
        measured.whole = Line {
            active_w,
            reactive_var: sum(|line| line.reactive_var),
            apparent_va,
            power_factor: factor(active_w, apparent_va),
            voltage_v: sum(|line| line.voltage_v).map(|sum| sum / 3.0),
            current_a: sum(|line| line.current_a),
        };
        measured
    }

    fn line(&self, line: u8, kind: Kind) -> Line {
        let of = |values: &Option<Values>| values.as_ref().and_then(|values| values.line(line));
        let voltage_v = of(&self.voltage);
        let current_a = of(&self.current_ma).map(|current| current / 1000.0);
        // A SmartMeter gives the reactive power in place of the apparent one.
        let apparent_va = match kind {
            Kind::SmartMeter => voltage_v.zip(current_a).map(|(volts, amperes)| volts * amperes),
            Kind::PowerMeter => of(&self.apparent),
        };
        let active_w = of(&self.power);
        Line {
            active_w,
            reactive_var: of(&self.reactive),
            apparent_va,
            power_factor: factor(active_w, apparent_va),
            voltage_v,
            current_a,
        }
    }
}

/// P / S, where something flows. The two were asked for one after the other, so it is held within what
/// can be.
fn factor(active: Option<f64>, apparent: Option<f64>) -> Option<f64> {
    let (active, apparent) = active.zip(apparent)?;
    (apparent > 0.0).then(|| (active / apparent).clamp(-1.0, 1.0))
}

/// How often the dictionary is asked for, which is not refused while the device samples.
const INFO: Duration = Duration::from_secs(30);
/// The same while somebody else's samples keep the rest from being asked.
const BUSY_INFO: Duration = Duration::from_secs(10);
/// The frequency is asked for in each so manieth round.
const FREQUENCY_EVERY: u64 = 12;
