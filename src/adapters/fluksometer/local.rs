//! Asking a Fluksometer's local API, for those that cannot be reached over MQTT: the gauges of the
//! last minute, each sensor by its id.
//!
//! Source: protocol note, section 5.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use meter_protocols::flukso::Id;
use serde_json::Value as Json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::documents::State;
use super::gate::{Gate, Verdict};
use super::layout::{Layout, Slot};
use super::meter::{Frame, Group, Presence};
use super::settings::LocalSensor;
use crate::adapters::fleet::{Arrival, LinkId, Mailbox};
use crate::model::{
    Channel, DeviceId, Make, Milli, Model, Quantity, Reading, SensorType, Timestamp, Unit, Value,
};

/// One Fluksometer's local API.
pub(super) struct Local<'a> {
    address: &'a str,
    interval: Duration,
    device: Id,
    serial: &'a Arc<str>,
    layout: Arc<Layout>,
    state: Arc<State>,
}

/// Why there was no answer that could be read.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("it cannot be reached: {0}")]
    Io(#[from] std::io::Error),
    #[error("it does not answer within {} s", PATIENCE.as_secs())]
    Silent,
    #[error("it has no sensor {0}: is the id right, and the sensor in use?")]
    NoSensor(Id),
    #[error("it answers with status {0}: is that a Fluksometer's local API, and switched on?")]
    Status(String),
    #[error("its answer cannot be read: {0}")]
    Malformed(&'static str),
}

impl<'a> Local<'a> {
    pub(super) fn new(
        address: &'a str,
        sensors: &[LocalSensor],
        interval: Duration,
        serial: &'a Arc<str>,
    ) -> Local<'a> {
        let slots = sensors.iter().map(|sensor| {
            let is_electricity = sensor.kind == SensorType::Electricity;
            let is_clamp = is_electricity && matches!(sensor.channel, Channel::Ch(_));
            let id: Id = sensor.id.to_string().parse().unwrap_or(Id([0; 16]));
            Slot {
                id,
                channel: sensor.channel,
                quantity: if is_clamp { Quantity::PPlus } else { Quantity::Pulse },
                kind: sensor.kind,
                name: None,
                gauge: Some(if is_electricity { Unit::Watt } else { Unit::LitrePerDay }),
                counter: None,
                constant: None,
                clamp: false,
                own: None,
            }
        });
        let layout = Layout { model: Model::Flm02, slots: slots.collect(), own: None };
        let device = DeviceId::derive(Make::Fluksometer, serial).to_string();
        let device = device.parse().unwrap_or(Id([0; 16]));
        Local { address, interval, device, serial, layout: Arc::new(layout), state: Arc::default() }
    }

    /// Asks until `stop`.
    pub(super) async fn ask(
        &self,
        link: LinkId,
        mailbox: &Mailbox<Frame>,
        stop: &CancellationToken,
    ) {
        let mut gates = HashMap::new();
        let mut tick = interval(self.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut said = String::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            let round = self.round(&mut gates);
            let frame = tokio::select! {
                () = stop.cancelled() => return,
                frame = round => frame,
            };
            let frame = match frame {
                Ok(frame) => {
                    said.clear();
                    frame
                }
                Err(fault) => {
                    let words = fault.to_string();
                    if said != words {
                        tracing::warn!(
                            address = self.address,
                            reason = words,
                            "no readings from a fluksometer; trying again"
                        );
                        said = words;
                    }
                    self.frame(Presence::Gone)
                }
            };
            let arrival = Arrival { link, at: Timestamp::now(), frame: Box::new(frame) };
            if mailbox.send(arrival).await.is_err() {
                return;
            }
        }
    }

    fn frame(&self, presence: Presence) -> Frame {
        Frame {
            device: self.device,
            serial: Arc::clone(self.serial),
            layout: Arc::clone(&self.layout),
            state: Arc::clone(&self.state),
            past: Vec::new(),
            now: None,
            presence,
        }
    }

    /// Asks for each sensor once. The newest second is what is so now, those before it are over.
    async fn round(&self, gates: &mut HashMap<u16, Gate>) -> Result<Frame, Fault> {
        let mut groups: Vec<Group> = Vec::new();
        for (slot, place) in self.layout.slots.iter().zip(0_u16..) {
            let unit = if slot.gauge == Some(Unit::Watt) { "watt" } else { "lperday" };
            let answer = timeout(PATIENCE, self.get(slot.id, unit)).await;
            let points = series(&answer.map_err(|_| Fault::Silent)??)?;
            let (gate, now) = (gates.entry(place).or_default(), Timestamp::now().seconds());
            for (time, value) in points {
                if !matches!(gate.judge(time, now), Verdict::Now | Verdict::Past) {
                    continue;
                }
                let reading = Reading { sensor: place, value: Value::Gauge(value) };
                match groups.iter_mut().find(|group| group.time == time) {
                    Some(group) => group.readings.push(reading),
                    None => groups.push(Group { time, past: true, readings: vec![reading] }),
                }
            }
        }
        groups.sort_by_key(|group| group.time);
        let now = groups.pop();
        Ok(Frame { past: groups, now, ..self.frame(Presence::Here) })
    }

    async fn get(&self, sensor: Id, unit: &str) -> Result<Vec<u8>, Fault> {
        let (host, port) = self.address.rsplit_once(':').unwrap_or((self.address, "8080"));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = crate::mdns::lookup(host, port.parse().unwrap_or(8080)).await?;
        let mut stream = TcpStream::connect(addresses.as_slice()).await?;
        let request = format!(
            "GET /sensor/{sensor}?version=1.0&interval=minute&unit={unit} HTTP/1.1\r\nHost: {}\r\n\
             Accept: application/json\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MOST_ANSWER).read_to_end(&mut answer).await?;
        body(&answer, sensor)
    }
}

/// The body of an answer.
fn body(answer: &[u8], sensor: Id) -> Result<Vec<u8>, Fault> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or(Fault::Malformed("it has no end of its head"))?;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let body = &answer[end + 4..];
    let status = head.split(' ').nth(1).unwrap_or_default();
    match status {
        "200" => {}
        "404" => return Err(Fault::NoSensor(sensor)),
        other => return Err(Fault::Status(other.chars().take(8).collect())),
    }
    let is_chunked = head.lines().any(|line| {
        line.strip_prefix("transfer-encoding:").is_some_and(|value| value.contains("chunked"))
    });
    if is_chunked { whole(body) } else { Ok(body.to_vec()) }
}

/// Chunks put together.
fn whole(mut rest: &[u8]) -> Result<Vec<u8>, Fault> {
    let cut = || Fault::Malformed("it is cut off");
    let mut whole = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").ok_or_else(cut)?;
        let size = std::str::from_utf8(&rest[..end]).unwrap_or_default();
        let size = size.split(';').next().unwrap_or_default().trim();
        let size =
            usize::from_str_radix(size, 16).map_err(|_| Fault::Malformed("a chunk has no size"))?;
        if size == 0 {
            return Ok(whole);
        }
        let end_of_chunk = (end + 2).checked_add(size).ok_or_else(cut)?;
        whole.extend_from_slice(rest.get(end + 2..end_of_chunk).ok_or_else(cut)?);
        rest = rest.get(end_of_chunk + 2..).ok_or_else(cut)?;
    }
}

/// The points of a body, rising; `"nan"` is passed over.
fn series(body: &[u8]) -> Result<Vec<(i64, Milli)>, Fault> {
    let no_list = || Fault::Malformed("it is no list of times and values");
    let list: Vec<(i64, Json)> = serde_json::from_slice(body).map_err(|_| no_list())?;
    let mut points = Vec::new();
    for (time, value) in list {
        match value {
            Json::Number(number) => {
                let value = number.as_f64().and_then(Milli::from_f64).ok_or_else(no_list)?;
                points.push((time, value));
            }
            Json::String(text) if text == "nan" => {}
            _ => return Err(no_list()),
        }
    }
    points.sort_by_key(|(time, _)| *time);
    Ok(points)
}

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Sixty points have some two kilobytes.
const MOST_ANSWER: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const SENSOR: Id = Id([0xa1; 16]);

    fn read(answer: &str) -> Result<Vec<(i64, Milli)>, String> {
        let body = body(answer.as_bytes(), SENSOR).map_err(|fault| fault.to_string())?;
        series(&body).map_err(|fault| fault.to_string())
    }

    #[test]
    fn an_answer_is_read_in_one_piece_or_in_chunks_without_nan() {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
        let body = "[[1459065180,157],[1459065181,\"nan\"],[1459065182,-3]]";
        let points = vec![(1_459_065_180, Milli(157_000)), (1_459_065_182, Milli(-3000))];
        assert_eq!(read(&format!("{head}\r\n{body}")), Ok(points.clone()));
        let (one, two) = body.split_at(20);
        let chunks = format!("14\r\n{one}\r\n{:x};x=y\r\n{two}\r\n0\r\n\r\n", two.len());
        let chunked = format!("{head}Transfer-Encoding: Chunked\r\n\r\n{chunks}");
        assert_eq!(read(&chunked), Ok(points));
        assert_eq!(read(&format!("{head}\r\n[]")), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_answer_is_told_in_words() {
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        for (answer, words) in [
            ("".to_owned(), "no end of its head"),
            ("HTTP/1.1 404 Not Found\r\n\r\n".to_owned(), "it has no sensor a1a1"),
            ("HTTP/1.1 400 Bad\r\n\r\n".to_owned(), "status 400"),
            ("HTTP/1.1 200 OK\r\n\r\n<html>".to_owned(), "no list"),
            ("HTTP/1.1 200 OK\r\n\r\n[[1,null]]".to_owned(), "no list"),
            (format!("{chunked}ffffffffffffffff\r\n"), "cut off"),
            (format!("{chunked}4\r\nab"), "cut off"),
            (format!("{chunked}zz\r\n"), "no size"),
        ] {
            let refused = read(&answer).unwrap_err();
            assert!(refused.contains(words), "{answer:?}: {refused}");
        }
    }
}
