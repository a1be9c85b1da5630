//! A simulated Fluksometer at work, without any input or output: the time and what it is told come
//! in as arguments, messages go out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::blocks::{self, Block};
use super::meter::Fluksometer;
use super::recent::Recent;
use super::sensor::Sensor;
use super::source::{Flow, Source, last_pulse};
use super::value::Value;
use super::{FluksoManners, Generation, waves};

/// A message on its way to a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) retain: bool,
    /// At least once, else at most once.
    pub(super) acknowledged: bool,
}

impl Message {
    /// One for those who listen now.
    pub(super) fn live(topic: String, payload: Vec<u8>) -> Message {
        Message { topic, payload, retain: false, acknowledged: false }
    }
}

/// What a running Fluksometer remembers.
#[derive(Debug)]
pub struct Live {
    /// What it is.
    pub meter: Arc<Fluksometer>,
    /// Messages that it has sent.
    pub sent: u64,
    /// Requests for its history that it has heard.
    pub asked: u64,
    /// Times that it has started.
    pub starts: u64,
    manners: FluksoManners,
    /// The last second whose readings are out.
    done: Option<i64>,
    /// Of each pulse input, the last pulse and its time in milliseconds.
    pulses: HashMap<String, (u64, i64)>,
    recent: Recent,
    /// All windows up to here are closed.
    closed: i64,
    /// How long after its end a window is closed, seconds.
    grace: i64,
    /// What its broker keeps.
    retained: BTreeMap<String, Message>,
    /// An older message of each topic, for those manners that repeat some.
    older: HashMap<String, Message>,
}

impl Live {
    pub(super) fn new(meter: Arc<Fluksometer>, manners: FluksoManners, now: i64) -> Live {
        // As random as a real one's, and the same for each meter at each start.
        let grace = 4 + i64::from(meter.id.as_bytes()[0] % 16);
        Live {
            sent: 0,
            asked: 0,
            starts: 0,
            manners,
            done: None,
            pulses: HashMap::new(),
            recent: Recent::default(),
            closed: (now - grace) >> 8 << 8,
            grace,
            retained: BTreeMap::new(),
            older: HashMap::new(),
            meter,
        }
    }

    /// What it says when it has just been switched on; what it knew of pulses is gone.
    pub(super) fn start(&mut self) -> Vec<Message> {
        self.starts += 1;
        self.done = None;
        self.pulses.clear();
        let documents = self.meter.documents.iter().map(|document| Message {
            topic: document.topic.clone(),
            payload: document.payload.clone().into_bytes(),
            retain: true,
            acknowledged: document.acknowledged,
        });
        let mut messages: Vec<Message> = documents.collect();
        messages.push(Message::live(format!("/device/{}/tmpo/sync", self.meter.id), Vec::new()));
        self.keep(&messages);
        messages
    }

    /// What its broker keeps: what a bridge sends first on every connection.
    pub(super) fn retained(&self) -> Vec<Message> {
        self.retained.values().cloned().collect()
    }

    /// The messages of the seconds up to `now`, and the blocks that are to be published.
    pub(super) fn tick(&mut self, now: i64) -> (Vec<Message>, Vec<Block>) {
        let meter = Arc::clone(&self.meter);
        let first = self.done.map_or(now, |done| (done + 1).max(now - CATCH_UP));
        let mut messages = Vec::new();
        for at in first..=now {
            for sensor in &meter.sensors {
                self.measure(sensor, at, &mut messages);
            }
            if meter.generation == Generation::Flm03 && at % meter.step == 0 {
                messages.extend(waves::messages(&meter, at));
            }
            self.done = Some(at);
        }
        self.repeat(now, &mut messages);
        if self.manners.is_lost(now) {
            messages.clear();
        }
        self.keep(&messages);
        self.sent += messages.len() as u64;
        (messages, self.close(now))
    }

    /// Closes the windows that have been over for long enough.
    fn close(&mut self, now: i64) -> Vec<Block> {
        let closed = (now - self.grace) >> 8 << 8;
        if closed <= self.closed {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.closed, closed);
        blocks::flushed(&self.meter, before, closed)
    }

    /// The blocks that a message asks for: on `/d/device/<id>/tmpo/sync` or `/query/<sensor>/tmpo`.
    /// With the latter comes the topic that they go to.
    pub(super) fn asked(&mut self, topic: &str, payload: &[u8], retained: bool) -> Asked {
        let levels: Vec<&str> = topic.split('/').collect();
        match levels.as_slice() {
            ["", "d", "device", id, "tmpo", "sync"] if *id == self.meter.id => {
                self.asked += 1;
                match blocks::newer(&self.meter, self.closed, payload) {
                    Ok(blocks) => Asked { blocks, answer: None },
                    Err(error) => {
                        tracing::warn!(device = self.meter.id, %error, "not a list of blocks");
                        Asked::default()
                    }
                }
            }
            ["", "query", sensor, "tmpo"] if !retained => {
                let Ok((from, to)) = serde_json::from_slice::<(i64, i64)>(payload) else {
                    return Asked::default();
                };
                if self.meter.sensor(sensor).is_none() {
                    return Asked::default();
                }
                self.asked += 1;
                let blocks = blocks::between(&self.meter, self.closed, sensor, from, to);
                Asked { blocks, answer: Some(format!("/sensor/{sensor}/query/{from}/{to}")) }
            }
            _ => Asked::default(),
        }
    }

    /// The last minute of a sensor's gauges, as the local API gives it; `None`: no such sensor.
    pub(super) fn last_minute(&self, sensor: &str, now: i64) -> Option<String> {
        self.meter.sensor(sensor)?;
        Some(self.recent.body(sensor, now))
    }

    /// What one sensor says in the second `now`, if anything.
    fn measure(&mut self, sensor: &Sensor, now: i64, messages: &mut Vec<Message>) {
        let period = self.meter.step.max(sensor.source.period());
        // The board of an FLM03 tells of the second before.
        let at = if matches!(sensor.source, Source::Clamp(..)) { now - 1 } else { now };
        if at % period != 0 {
            return;
        }
        let (gauge, counter) = match sensor.source {
            Source::Pulses { flow, constant, fixed } => {
                self.pulse(sensor, (flow, constant, fixed), at, period)
            }
            Source::PortGas => self.pulse(sensor, (Flow::Gas, 1000, false), at, period),
            source => {
                let house = &self.meter.house;
                let counter = source.counter(house, at).filter(|counter| {
                    let is_first = self.done.is_none();
                    !source.counts_steps()
                        || (!is_first && source.counter(house, at - period) != Some(*counter))
                });
                (source.gauge(house, at), counter)
            }
        };
        if let Some(gauge) = gauge {
            self.recent.add(&sensor.id, at, gauge);
            messages.push(self.reading(sensor, "gauge", at, gauge, sensor.units.0));
        }
        if let Some(counter) = counter {
            messages.push(self.reading(sensor, "counter", at, counter, sensor.units.1));
        }
    }

    /// Gauge and counter when a pulse has come: the gauge from the time since the one before. The
    /// first pulse after a start has none, and an FLM02 takes its counter for a reference.
    fn pulse(
        &mut self,
        sensor: &Sensor,
        (flow, constant, fixed): (Flow, u64, bool),
        at: i64,
        period: i64,
    ) -> (Option<Value>, Option<Value>) {
        let house = &self.meter.house;
        let counter = sensor.source.counter(house, at);
        if counter == sensor.source.counter(house, at - period) {
            return (None, None);
        }
        let (number, milliseconds) = last_pulse(flow, constant, house, at);
        let Some((first, begin)) = self.pulses.insert(sensor.id.clone(), (number, milliseconds))
        else {
            return (None, counter.filter(|_| fixed));
        };
        let amount = number.saturating_sub(first) as f64 * constant as f64 / 1000.0;
        let rate = amount / (milliseconds - begin).max(1) as f64;
        let gauge = match (fixed, flow) {
            (false, Flow::Gas | Flow::Water) => Value::Plain(rounded(rate * 86.4e6)),
            (false, _) => Value::Plain(rounded(rate * 3.6e6)),
            (true, Flow::Gas | Flow::Water) => Value::gauge(rate * 1000.0),
            (true, _) => Value::gauge(rate * 3.6e6),
        };
        // An FLM03 does not send nothing.
        (Some(gauge).filter(|gauge| !fixed || !gauge.is_zero()), counter)
    }

    fn reading(&self, sensor: &Sensor, topic: &str, at: i64, value: Value, unit: &str) -> Message {
        let is_radio = matches!(sensor.source, Source::Kube(_));
        let has_blanks = self.meter.generation == Generation::Flm03 && !is_radio;
        let payload = if has_blanks {
            format!("[{at}, {value}, \"{unit}\"]")
        } else {
            format!("[{at},{value},\"{unit}\"]")
        };
        Message {
            topic: format!("/sensor/{}/{topic}", sensor.id),
            payload: payload.into_bytes(),
            retain: !has_blanks,
            acknowledged: sensor.acknowledged,
        }
    }

    /// With such manners, some messages come twice, and some of an earlier time once more.
    fn repeat(&mut self, now: i64, messages: &mut Vec<Message>) {
        if !self.manners.repeats || now % 5 != 0 {
            return;
        }
        let readings = messages.iter().filter(|message| message.topic.starts_with("/sensor/"));
        let mut again: Vec<Message> = readings.cloned().collect();
        for message in again.clone() {
            if let Some(older) = self.older.insert(message.topic.clone(), message) {
                again.push(older);
            }
        }
        messages.extend(again);
    }

    fn keep(&mut self, messages: &[Message]) {
        for message in messages.iter().filter(|message| message.retain) {
            self.retained.insert(message.topic.clone(), message.clone());
        }
    }
}

/// What is to be sent to somebody who asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) blocks: Vec<Block>,
    /// The topic for all of them; `None`: each its own.
    pub(super) answer: Option<String>,
}

fn rounded(value: f64) -> i64 {
    (value + 0.5).floor() as i64 * 1000
}

/// Seconds that are made up for when the simulator was held up.
const CATCH_UP: i64 = 10;
