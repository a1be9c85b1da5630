//! What a client says on a relay's port, and what it is answered: the manner of a meter's command
//! channel, as far as it is about samples. Without sockets and clocks.
//!
//! Source: firmware of SmartMeter 2.2 and PowerMeter 2.3, and the makers' public client.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::measures;
use super::tap::{Over, Portion, Tap, packet_frames};
use super::words::{Wish, begun, clock, complaint, line, number, refused, seconds};
use crate::model::{StreamInfo, Timestamp, Waveform};
use crate::streams::shape::{SAMPLE, Shape};

/// One client.
#[derive(Debug)]
pub(super) struct Talk {
    /// The meter's name, as long as no stream tells another.
    name: Arc<str>,
    /// The address that the client has reached.
    local: IpAddr,
    state: State,
    /// Flow control: whether anything is to be sent now.
    sending: bool,
    /// What is kept back until it is: what the answer to `sample` was made of.
    held: Vec<u8>,
    /// The last stream that was heard of.
    last: Option<Arc<StreamInfo>>,
    bad_lines: u32,
}

#[derive(Debug)]
enum State {
    Idle,
    /// `sample` was said; the answer waits for the first piece, which has its start.
    Asked(Wish),
    Sampling(Tap),
}

impl Talk {
    pub(super) fn new(name: Arc<str>, local: IpAddr) -> Talk {
        let (state, held) = (State::Idle, Vec::new());
        Talk { name, local, state, sending: true, held, last: None, bad_lines: 0 }
    }

    /// The first word, as a meter says it to everybody who connects.
    pub(super) fn greeting(
        &mut self,
        running: Option<&Arc<StreamInfo>>,
        now: Timestamp,
    ) -> Vec<u8> {
        self.last = running.cloned().or(self.last.take());
        line(&self.info(running, now))
    }

    /// Whether pieces are of use now.
    pub(super) fn listens(&self) -> bool {
        match self.state {
            State::Idle => false,
            State::Asked(_) => true,
            State::Sampling(_) => self.sending,
        }
    }

    /// Whether it samples or is about to.
    pub(super) fn is_busy(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// Whether it waits for the first piece.
    pub(super) fn awaits_samples(&self) -> bool {
        matches!(self.state, State::Asked(_))
    }

    /// Whether what it says is no language of ours.
    pub(super) fn makes_no_sense(&self) -> bool {
        self.bad_lines > BAD_LINES
    }

    /// Frames since the first, written ones and missing ones.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        match &self.state {
            State::Sampling(tap) => tap.counts(),
            State::Idle | State::Asked(_) => (0, 0, 0),
        }
    }

    /// A line from the client, without its end. `running`: the meter's stream.
    pub(super) fn hear(
        &mut self,
        said: &[u8],
        running: Option<&Arc<StreamInfo>>,
        now: Timestamp,
    ) -> Vec<u8> {
        self.last = running.cloned().or(self.last.take());
        match said.first() {
            None | Some(b'!') => return Vec::new(),
            Some(b'?') => return b"Info:Setup done\r\n".to_vec(),
            Some(_) => {}
        }
        // What follows the first value is nobody's.
        let first = serde_json::Deserializer::from_slice(said).into_iter::<Value>().next();
        let Some(Ok(value)) = first else {
            self.bad_lines += 1;
            return complaint(said, now);
        };
        let Some(cmd) = value.get("cmd").and_then(Value::as_str) else {
            return line(&json!({"error": true, "msg": "JSON format error, does not contain cmd"}));
        };
        let nothing = Map::new();
        let payload = value.get("payload").and_then(Value::as_object).unwrap_or(&nothing);
        match cmd {
            "info" => {
                let mut out = line(&self.info(running, now));
                out.extend(line(&json!({"error": false})));
                out
            }
            "sample" => self.sample(payload, running),
            "stop" => self.stop(now),
            "cts" => self.clear_to_send(value.get("value").and_then(Value::as_bool)),
            "reqSamples" => self.request(),
            "log" => {
                let level = value.get("level").and_then(Value::as_str).unwrap_or("info");
                line(&json!({"error": false, "cmd": cmd, "msg": format!("log level: {level}")}))
            }
            _ => line(&json!({"error": true, "cmd": cmd, "msg": ONLY_SAMPLES})),
        }
    }

    /// A piece of the stream. What comes of it is added to `out`, which is to be empty.
    ///
    /// # Errors
    /// When there can be no more.
    pub(super) fn take(&mut self, piece: &Waveform, out: &mut Portion) -> Result<(), Over> {
        match &mut self.state {
            State::Idle => Ok(()),
            State::Asked(wish) => {
                let wish = wish.clone();
                self.begin(&wish, piece, out)
            }
            State::Sampling(tap) => {
                tap.take(piece, out)?;
                let mut held = std::mem::take(&mut self.held);
                if !held.is_empty() {
                    // Only packets are held back, and these have no zeros.
                    held.append(&mut out.bytes);
                    out.bytes = held;
                }
                Ok(())
            }
        }
    }

    /// No piece has come for too long.
    pub(super) fn give_up(&mut self) -> Vec<u8> {
        self.state = State::Idle;
        line(&refused("sample", NO_SAMPLES))
    }

    fn sample(
        &mut self,
        payload: &Map<String, Value>,
        running: Option<&Arc<StreamInfo>>,
    ) -> Vec<u8> {
        if self.is_busy() {
            let msg = format!("Device with IP: {} currently sampling", self.local);
            let cmd = "sample";
            return line(&json!({"error": true, "cmd": cmd, "msg": msg, "state": "busy"}));
        }
        let wish = match Wish::read(payload) {
            Ok(wish) => wish,
            Err(msg) => return line(&refused("sample", &msg)),
        };
        let Some(running) = running else { return line(&refused("sample", NOT_SAMPLING)) };
        if let Err(msg) = measures::choose(&running.channels, wish.measures.as_deref()) {
            return line(&refused("sample", &msg));
        }
        self.sending = true;
        self.state = State::Asked(wish);
        Vec::new()
    }

    /// The answer to `sample`, and what the first piece holds.
    fn begin(&mut self, wish: &Wish, piece: &Waveform, out: &mut Portion) -> Result<(), Over> {
        let stream = &piece.stream;
        self.last = Some(Arc::clone(stream));
        let columns = match measures::choose(&stream.channels, wish.measures.as_deref()) {
            Ok(columns) => columns,
            Err(msg) => {
                self.state = State::Idle;
                out.bytes.extend(line(&refused("sample", &msg)));
                return Ok(());
            }
        };
        let width = columns.as_ref().map_or(stream.channels.len(), Vec::len);
        let frames = packet_frames(stream.rate_hz, width * SAMPLE);
        let mut tap = if wish.framed {
            Tap::packets(columns.clone(), frames)
        } else {
            Tap::bare(columns.clone())
        };
        tap.take(piece, out)?;
        let start = tap.start().unwrap_or(stream.start);
        let reply = begun(wish, stream, columns.as_deref(), frames * width * SAMPLE, start);
        let mut bytes = line(&reply);
        if wish.flow_control {
            self.sending = false;
            self.held.append(&mut out.bytes);
        } else {
            bytes.append(&mut out.bytes);
        }
        out.bytes = bytes;
        self.state = State::Sampling(tap);
        Ok(())
    }

    fn stop(&mut self, now: Timestamp) -> Vec<u8> {
        let State::Sampling(mut tap) = std::mem::replace(&mut self.state, State::Idle) else {
            return line(&json!({"error": true, "cmd": "stop"}));
        };
        let mut out = std::mem::take(&mut self.held);
        tap.finish(&mut out);
        let (samples, sent, _) = tap.counts();
        let start = tap.start().unwrap_or(now);
        let duration = now.since(start).as_millis() as u64;
        let rate = samples as f64 / (duration.max(1) as f64 / 1000.0);
        out.extend(line(&json!({
            "msg": "Received stop command",
            "sample_duration": duration,
            "samples": samples,
            "sent_samples": sent,
            "start_ts": seconds(start),
            "stop_ts": seconds(now),
            "ip": self.local.to_string(),
            "avg_rate": (rate * 1e6).round() / 1e6,
            "cmd": "stop",
            "error": false,
        })));
        out
    }

    fn clear_to_send(&mut self, value: Option<bool>) -> Vec<u8> {
        let Some(value) = value else {
            let msg = "Info:[E] no value key. example: value:<true/false>";
            return line(&json!({"error": true, "cmd": "cts", "msg": msg}));
        };
        self.sending = value;
        let mut out = line(&json!({"error": false, "cmd": "cts"}));
        self.release(&mut out);
        out
    }

    /// A meter sends freely after the first request for samples, and so it is here.
    fn request(&mut self) -> Vec<u8> {
        if !matches!(self.state, State::Sampling(_)) {
            return line(&json!({"error": true, "cmd": "reqSamples"}));
        }
        self.sending = true;
        let mut out = Vec::new();
        self.release(&mut out);
        out.extend(line(&json!({"error": false, "cmd": "reqSamples"})));
        out
    }

    fn release(&mut self, out: &mut Vec<u8>) {
        if self.sending {
            out.append(&mut self.held);
        }
    }

    /// What a meter tells of itself. The kind is that of the stream: a single line is a PowerMeter's.
    fn info(&self, running: Option<&Arc<StreamInfo>>, now: Timestamp) -> Value {
        let known = running.or(self.last.as_ref());
        let single = known.is_some_and(|stream| Shape::of(stream).is_single());
        let mut info = json!({
            "cmd": "info",
            "type": if single { "powermeter" } else { "smartmeter" },
            "version": format!("meterbridge {}", env!("CARGO_PKG_VERSION")),
            "sys_time": clock(now, "%m/%d/%Y %H:%M:%S%.3f"),
            "name": known.map_or(&*self.name, |stream| &*stream.name),
            "ip": self.local.to_string(),
            "state": if self.is_busy() { "busy" } else { "idle" },
        });
        if let (Some(info), Some(stream)) = (info.as_object_mut(), known) {
            info.insert("sampling_rate".into(), number(stream.rate_hz));
            info.insert("measures".into(), measures::echo(&stream.channels).into());
        }
        info
    }
}

const ONLY_SAMPLES: &str =
    "this port only hands samples on: commands for the meter go to the gateway";
const NOT_SAMPLING: &str = "the meter does not sample now: stream.start: always, or a sample command to the \
                            gateway, begins it";
const NO_SAMPLES: &str = "no samples came from the meter";
/// Lines that make no sense until it is somebody else who has connected.
const BAD_LINES: u32 = 16;

#[cfg(test)]
mod tests;
