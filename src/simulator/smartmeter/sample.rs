//! The commands of streams: `sample`, `stop`, `cts`, `reqSamples`.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::commands::{Asker, failed, with_keys};
use super::device::{Role, SmartDevice};
use super::layout::Layout;
use super::sampling::{Request, Sampling, Sink, chunk};
use super::say::{date, number, object, stamp};

impl SmartDevice {
    pub(super) fn sample(&mut self, value: &Value, asker: Asker, now: f64) {
        let payload = value.get("payload").unwrap_or(&Value::Null);
        let mut request = match self.request(payload, asker) {
            Ok(request) => request,
            Err(message) => {
                let (error, keys) = failed(message);
                self.reply(asker, with_keys(error, "sample", keys), now);
                return;
            }
        };
        let smart = self.kind.is_smart();
        let mut reply = object([("error", json!(false)), ("cmd", json!("sample"))]);
        let mut start = (now * 1000.0).round() / 1000.0;
        if let Some(time) = payload.get("time").and_then(Value::as_f64) {
            let ahead = time - now;
            let can = (0.5..=20.0).contains(&ahead);
            let word = if can { "Start" } else { "Cannot start" };
            let message = format!(
                "Should sample at: {}//n{word} sampling in: {}ms",
                date(time),
                (ahead * 1000.0) as i64
            );
            // A PowerMeter leaves the error as it was before it knew.
            reply.insert("error".to_owned(), json!(!can || !smart));
            reply.insert("msg".to_owned(), json!(message));
            if !can {
                self.reply(asker, reply, now);
                return;
            }
            start = time;
            if smart && request.layout.latched {
                // The wrong samples under the right label.
                request.layout = Layout { echo: request.layout.echo, ..Layout::all(self.kind) };
            }
        }
        self.describe(&mut reply, payload, &request);
        reply.insert("startTs".to_owned(), json!(stamp(start)));
        self.reply(asker, reply, now);
        self.begin_sampling(request, start);
    }

    fn describe(&self, reply: &mut Map<String, Value>, payload: &Value, request: &Request) {
        let mut put = |key: &str, value: Value| {
            reply.insert(key.to_owned(), value);
        };
        if let Sink::Datagrams(to, _) = request.sink {
            put("port", json!(to.port()));
        }
        if let Some((k, n)) = request.slot {
            put("slot", json!([k, n]));
        }
        put("measures", json!(request.layout.echo));
        put("chunksize", json!(request.chunk));
        put("samplingrate", json!(request.rate));
        put("conn_type", payload.get("type").cloned().unwrap_or_default());
        put("measurements", json!(request.layout.values.len()));
        put("prefix", json!(request.prefix));
        put("flowCtr", json!(request.flow_control));
        put("unit", json!(request.layout.unit));
        if !self.kind.is_smart() && payload.get("ntpConf").is_some() {
            put("ntpConfidence", json!(3));
        }
    }

    /// What is asked for, or what the meter says about it.
    fn request(&self, payload: &Value, asker: Asker) -> Result<Request, String> {
        let missing = |key: &str| format!("Not a valid \"sample\" command, \"{key}\" missing");
        let way = payload.get("type").and_then(Value::as_str).ok_or_else(|| missing("type"))?;
        let rate = payload.get("rate").and_then(Value::as_f64).ok_or_else(|| missing("rate"))?;
        let rate = rate as u32;
        let measures = payload.get("measures").and_then(Value::as_str);
        let layout = Layout::of(self.kind, measures)
            .ok_or_else(|| format!("Unsupported measures{}", measures.unwrap_or_default()))?;
        if let Some(objection) = layout.objection(self.kind, rate) {
            return Err(objection);
        }
        let sink = self.sink_of(way, payload, asker)?;
        let serial = matches!(sink, Sink::Connection(id) if self.is_serial(id));
        let smart = self.kind.is_smart();
        let limit = match sink {
            Sink::Datagrams(..) => 512,
            Sink::Connection(_) if serial => {
                if smart {
                    128
                } else {
                    16
                }
            }
            _ => 1024,
        };
        // Quoted words are misread; here each counts as true.
        let flag = |key: &str, usual: bool| match payload.get(key) {
            None | Some(Value::Null) => usual,
            Some(Value::Bool(value)) => *value,
            Some(_) => true,
        };
        let slot = payload.get("slot").and_then(Value::as_array).map(|slot| {
            let part = |place: usize| slot.get(place).and_then(Value::as_u64).unwrap_or_default();
            (part(0) as u32, (part(1) as u32).max(1))
        });
        Ok(Request {
            sink,
            chunk: chunk(self.kind, rate, layout.bytes(), limit),
            one_second: smart && self.manners.no_rtc && !layout.latched,
            layout,
            rate,
            prefix: flag("prefix", true),
            flow_control: flag("flowCtr", false),
            slot,
            serial,
        })
    }

    fn sink_of(&self, way: &str, payload: &Value, asker: Asker) -> Result<Sink, String> {
        // Who asks over MQTT has it streamed to whoever spoke last over TCP.
        let client = match asker {
            Asker::Connection(id) => Some(id),
            Asker::Mqtt => self.last_client,
        };
        match (way, client) {
            ("TCP", Some(id)) => Ok(Sink::Connection(id)),
            ("Serial", _) => {
                let serial = self.connections.iter().find(|(_, other)| other.role == Role::Serial);
                let (id, _) = serial.ok_or("Serial not connected")?;
                Ok(Sink::Connection(*id))
            }
            ("UDP", Some(id)) => {
                let port = payload.get("port").and_then(Value::as_u64).unwrap_or_default();
                if !(1..=80_000).contains(&port) {
                    return Err(format!("Unsupported UDP port{port}"));
                }
                let peer = self.connections.get(&id).and_then(|client| client.peer);
                let peer = peer.ok_or("No client for UDP")?;
                Ok(Sink::Datagrams(SocketAddr::new(peer, (port % 65_536) as u16), id))
            }
            ("MQTT", _) if self.on_mqtt => Ok(Sink::Mqtt),
            ("MQTT", _) => Err("MQTT Server not connected".to_owned()),
            ("FFMPEG", _) => Err("No FFMPEG client connected".to_owned()),
            ("TCP" | "UDP", None) => Err("No TCP client connected".to_owned()),
            _ => Err(format!("Unsupported sampling type: {way}")),
        }
    }

    fn is_serial(&self, id: u64) -> bool {
        self.connections.get(&id).is_some_and(|other| other.role == Role::Serial)
    }

    pub(super) fn stop(&mut self, asker: Asker, now: f64) {
        let Some(ended) = self.end_sampling(now, true) else {
            self.reply(asker, with_keys(true, "stop", Vec::new()), now);
            return;
        };
        let summary = self.summary(&ended, now);
        self.reply(asker, summary, now);
    }

    fn summary(&self, ended: &Sampling, now: f64) -> Map<String, Value> {
        let seconds = (now - ended.start).max(0.001);
        let samples = ended.taken(now);
        let mut keys = vec![
            ("msg", json!("Received stop command")),
            ("sample_duration", json!((seconds * 1000.0) as i64)),
            ("samples", json!(samples)),
            ("sent_samples", json!(ended.sent())),
            ("start_ts", json!(stamp(ended.start))),
            ("stop_ts", json!(stamp(now))),
            ("ip", json!(self.ip)),
            ("avg_rate", number(samples as f64 / seconds)),
        ];
        let head = [("error", json!(false)), ("cmd", json!("stop"))];
        if self.kind.is_smart() {
            keys.extend(head.into_iter().rev());
        } else {
            keys.splice(0..0, head);
        }
        keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    pub(super) fn clear_to_send(&mut self, value: &Value) -> (bool, Vec<(&'static str, Value)>) {
        let sends = match value.get("value") {
            None | Some(Value::Null) => return failed("Info:Not a valid \"cts\" command"),
            Some(Value::Bool(value)) => *value,
            // A quoted word is misread.
            Some(_) => true,
        };
        match &mut self.sampling {
            Some(sampling) => {
                sampling.sending = sends;
                (false, Vec::new())
            }
            None => (true, Vec::new()),
        }
    }

    /// One frame of exactly so many samples; everything flows freely from then on.
    pub(super) fn request_samples(&mut self, value: &Value, asker: Asker, now: f64) {
        let samples = value.get("samples").and_then(Value::as_u64).unwrap_or_default();
        let refused = match (&self.sampling, (11..=2000).contains(&samples)) {
            (None, _) => Some((true, Vec::new())),
            (Some(_), false) => Some(failed(format!("Unsupported number of samples: {samples}"))),
            (Some(_), true) => None,
        };
        if let Some((error, keys)) = refused {
            self.reply(asker, with_keys(error, "reqSamples", keys), now);
            return;
        }
        let Some(sampling) = &mut self.sampling else { return };
        if samples as usize * sampling.request.layout.bytes() > REQUEST_BUFFER {
            tracing::warn!(
                name = self.name,
                samples,
                "more than the send buffer takes: the meter crashes"
            );
            self.restart();
            return;
        }
        // With too few in the buffer it does not answer at all.
        let Some(pieces) = sampling.requested(samples, now, &self.manners) else { return };
        self.samples_sent += samples;
        self.send(pieces);
        self.reply(asker, object([("error", json!(false))]), now);
    }
}

/// Bytes of samples that one request may have before it runs over other memory.
const REQUEST_BUFFER: usize = 1029;
