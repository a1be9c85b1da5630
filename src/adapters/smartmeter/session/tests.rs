//! The rules of a session by the clock.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

use super::{Context, Session, Told};
use crate::adapters::fleet::LinkId;
use crate::adapters::smartmeter::settings::{EntrySettings, Roster};
use crate::adapters::smartmeter::switchboard::Ask;
use crate::bus::Waveforms;
use crate::command::{Answer, CommandError};
use crate::config::stream::Stream;
use crate::metrics::Metrics;
use crate::model::Timestamp;
use meter_protocols::smartmeter::{Command, Kind, Packet};

const INFO: &str = r#"{"cmd":"info","type":"smartmeter","version":"2.2","name":"smartmeter001","state":"idle","energy":"[1.5, 2.5, 3.5]"}"#;
const SAMPLES: &str = r#"{"error":false,"cmd":"sample","measures":"v,i,v,i,v,i","chunksize":1008,"samplingrate":4000,"conn_type":"TCP","measurements":6,"prefix":true,"flowCtr":false,"unit":"V,mA,V,mA,V,mA","startTs":"1.0"}"#;

/// A session with a clock of its own.
struct Stage {
    session: Session,
    now: Instant,
    metrics: Metrics,
}

impl Stage {
    fn new(stream: Option<Stream>) -> Stage {
        let adopted = EntrySettings::adopted(LinkId(0));
        let poll = Duration::from_secs(86_400);
        let entry = EntrySettings { name: "mains".into(), stream, poll, ..adopted };
        let metrics = Metrics::default();
        let context = Context {
            link: LinkId(0),
            peer: "192.0.2.7:54321".into(),
            serial_line: false,
            listens: false,
            roster: Roster::new(vec![Arc::new(entry)], Vec::new(), Waveforms::default()),
            waveforms: Waveforms::default(),
            metrics: metrics.clone(),
            told: Told::default(),
        };
        let now = Instant::now();
        Stage { session: Session::new(Arc::new(context), now), now, metrics }
    }

    /// One that has said who it is, with its first round of questions answered.
    fn known(stream: Option<Stream>) -> Stage {
        let mut stage = Stage::new(stream);
        stage.line(INFO);
        if stage.session.stream_due().is_some() {
            return stage;
        }
        for cmd in ["getPower", "getVoltage", "getCurrent", "getPeriod"] {
            assert_eq!(stage.sent(), [format!("{{\"cmd\":\"{cmd}\"}}")]);
            stage.line(&format!(r#"{{"error":false,"cmd":"{cmd}"}}"#));
        }
        stage
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.session.handle_bytes(bytes, self.now, Timestamp(0));
    }

    fn line(&mut self, text: &str) {
        self.bytes(format!("Info:{text}\r\n").as_bytes());
    }

    /// What was sent since.
    fn sent(&mut self) -> Vec<String> {
        let lines = std::iter::from_fn(|| self.session.poll_transmit());
        lines.map(|line| String::from_utf8(line).unwrap().trim().to_owned()).collect()
    }

    /// Lets time pass, and the session look at it whenever it wants to.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let next = self.session.poll_timeout();
            if next > end {
                break;
            }
            assert!(next >= self.now || next + Duration::from_secs(1) > self.now);
            self.now = self.now.max(next);
            self.session.handle_timeout(self.now, Timestamp(0));
            if self.session.finished.is_some() {
                return;
            }
        }
        self.now = end;
        self.session.handle_timeout(end, Timestamp(0));
    }

    fn ask(&mut self, command: Command) -> oneshot::Receiver<Result<Answer, CommandError>> {
        let (outcome, told) = oneshot::channel();
        self.session.ask(Ask { command, outcome }, self.now);
        told
    }

    fn lifeness(&mut self) {
        self.line("[I]03/02 16:04:02: ");
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn a_late_reply_never_answers_the_next_command() {
    let mut stage = Stage::known(None);
    let mut first = stage.ask(Command::get_phase_angle());
    let mut second = stage.ask(Command::get_phase_angle());
    assert_eq!(stage.sent(), [r#"{"cmd":"getPhaseAngle"}"#]);
    stage.pass(seconds(5));
    let silent = first.try_recv().unwrap();
    assert_eq!(silent, Err(CommandError::Silent(seconds(5))));
    // The next waits until it is certain that no reply is under way.
    assert_eq!(stage.sent(), ["?"]);
    stage.line(r#"{"error":false,"cmd":"getPhaseAngle","phase":[1,1,1]}"#);
    assert!(stage.sent().is_empty() && second.try_recv().is_err());
    assert_eq!(stage.metrics.smartmeter_late_replies.get(), 1);
    stage.line("Setup done");
    assert_eq!(stage.sent(), [r#"{"cmd":"getPhaseAngle"}"#]);
    stage.line(r#"{"error":false,"cmd":"getPhaseAngle","phase":[2,2,2]}"#);
    assert_eq!(second.try_recv().unwrap().unwrap()["phase"], Value::from(vec![2, 2, 2]));
}

#[test]
fn a_device_that_is_silent_is_asked_and_then_given_up() {
    let mut stage = Stage::known(None);
    stage.pass(seconds(4));
    stage.lifeness();
    stage.pass(seconds(4));
    assert!(stage.sent().is_empty());
    stage.pass(seconds(1));
    assert_eq!(stage.sent(), ["?"]);
    stage.line("Setup done");
    stage.pass(seconds(5));
    assert_eq!(stage.sent(), ["?"]);
    stage.pass(seconds(6));
    assert!(stage.session.take_finished().unwrap().contains("`?`"));
}

#[test]
fn who_does_not_say_who_it_is_is_asked_five_times() {
    let mut stage = Stage::new(None);
    stage.pass(seconds(2));
    assert!(stage.sent().is_empty());
    stage.pass(seconds(20));
    assert_eq!(stage.sent(), vec![r#"{"cmd":"info"}"#; 5]);
    assert!(stage.session.take_finished().unwrap().contains("who is there"));
}

#[test]
fn a_connection_that_is_not_used_is_kept_alive() {
    let mut stage = Stage::known(Some(Stream::default()));
    stage.sent();
    stage.line(SAMPLES);
    let mut sent = Vec::new();
    for number in 0..25_u32 {
        let mut packet = b"Data:".to_vec();
        packet.extend(24_u16.to_le_bytes());
        packet.extend(number.to_le_bytes());
        packet.extend([0; 24]);
        stage.bytes(&packet);
        stage.pass(seconds(1));
        sent.extend(stage.sent());
    }
    assert!(sent.is_empty(), "{sent:?}");
    stage.pass(seconds(4));
    stage.bytes(b"Info:[I]03/02 16:04:02: 4000.12Hz, 4000s\r\n");
    stage.pass(seconds(1));
    // The dictionary is asked for while samples come, too; `!` only where nothing else was said.
    assert!(stage.sent().contains(&r#"{"cmd":"info"}"#.to_owned()));
}

#[test]
fn a_restart_ends_the_connection_and_was_done() {
    let mut stage = Stage::known(None);
    let mut restart = stage.ask(Command::restart());
    let mut next = stage.ask(Command::get_power());
    drop(stage);
    assert!(restart.try_recv().unwrap().unwrap()["msg"].as_str().unwrap().contains("restarts"));
    assert_eq!(next.try_recv().unwrap(), Err(CommandError::Offline));
    let mut stage = Stage::known(None);
    let mut other = stage.ask(Command::get_power());
    drop(stage);
    assert!(matches!(other.try_recv().unwrap(), Err(CommandError::Unreachable(_))));
}

#[test]
fn a_stream_that_is_refused_is_asked_for_again_with_pauses() {
    let mut stage = Stage::known(Some(Stream::default()));
    let sample =
        r#"{"cmd":"sample","payload":{"type":"TCP","rate":4000,"prefix":true,"flowCtr":false}}"#;
    assert_eq!(stage.sent(), [sample]);
    let mut times = 1;
    for _ in 0..120 {
        stage.line(r#"{"error":true,"cmd":"sample","msg":"Device with IP: 1 currently sampling","state":"busy"}"#);
        stage.lifeness();
        stage.pass(seconds(1));
        for line in stage.sent() {
            match line.contains("sample") {
                true => times += 1,
                // Meanwhile it is asked as any idle meter is.
                false => {
                    let cmd: Value = serde_json::from_str(&line).unwrap_or_default();
                    stage.line(&format!(r#"{{"error":true,"cmd":{}}}"#, cmd["cmd"]));
                }
            }
        }
    }
    assert!((4..=20).contains(&times), "{times}");
}

#[test]
fn a_stream_that_somebody_ended_is_begun_anew() {
    let mut stage = Stage::known(Some(Stream::default()));
    stage.sent();
    stage.line(SAMPLES);
    assert_eq!(stage.metrics.streams.get(), 1);
    // An idle device says so each second.
    stage.lifeness();
    assert_eq!(stage.metrics.streams.get(), 1);
    stage.pass(seconds(1));
    stage.lifeness();
    assert_eq!(stage.metrics.streams.get(), 0);
    // The second pause has up to ten seconds.
    for _ in 0..15 {
        stage.lifeness();
        stage.pass(seconds(1));
        let sent = stage.sent();
        if sent.iter().any(|line| line.contains("\"sample\"")) {
            return;
        }
        for line in sent.iter().filter(|line| line.starts_with('{')) {
            let cmd: Value = serde_json::from_str(line).unwrap();
            stage.line(&format!(r#"{{"error":false,"cmd":{}}}"#, cmd["cmd"]));
        }
    }
    panic!("no sample was sent");
}

#[test]
fn samples_in_slots_may_be_long_in_coming() {
    let slots = Stream { slot: Some((0, 20)), ..Stream::default() };
    let mut stage = Stage::known(Some(slots));
    assert!(stage.sent()[0].contains("\"slot\":[0,20]"));
    stage.line(&SAMPLES.replace("\"measures\"", "\"slot\":[0,20],\"measures\""));
    let mut sent = Vec::new();
    for _ in 0..44 {
        stage.bytes(b"Info:[I]03/02 16:04:02: 4000.12Hz, 4000s\r\n");
        stage.pass(seconds(1));
        sent.extend(stage.sent());
        if sent.last().is_some_and(|line| line.contains("info")) {
            stage.line(&INFO.replace("idle", "busy"));
            stage.line(r#"{"error":false}"#);
        }
    }
    assert!(!sent.contains(&"?".to_owned()), "{sent:?}");
    stage.pass(seconds(2));
    assert!(stage.sent().contains(&"?".to_owned()));
}

#[test]
fn no_samples_between_two_lives_are_lost_to_silence() {
    let mut stage = Stage::known(Some(Stream::default()));
    stage.sent();
    stage.line(SAMPLES);
    stage.pass(seconds(5));
    assert_eq!(stage.sent(), ["?"]);
    stage.line("Setup done");
    stage.pass(seconds(5));
    // It lives and does not sample: what is left of the stream is stopped, and another asked for.
    assert_eq!(stage.sent().last().unwrap(), r#"{"cmd":"stop"}"#);
    stage.line(r#"{"error":true,"cmd":"stop"}"#);
    assert_eq!(stage.metrics.streams.get(), 0);
}

#[test]
fn packets_that_cannot_be_of_the_stream_are_no_stream() {
    let mut stage = Stage::known(Some(Stream::default()));
    stage.sent();
    stage.line(SAMPLES);
    let packet = |number| {
        let mut bytes = Vec::new();
        Packet { number, payload: vec![0; 1008] }.encode(&mut bytes);
        bytes
    };
    stage.bytes(&packet(5));
    let mut sent = Vec::new();
    for number in 0..110 {
        // The first ones are old, and no meter is as far as the others say.
        let number = if number < 5 { number } else { number + 1_000_000 };
        stage.bytes(&packet(number));
        stage.pass(Duration::from_millis(100));
        sent.extend(stage.sent());
    }
    assert!(sent.contains(&r#"{"cmd":"stop"}"#.to_owned()), "{sent:?}");
    assert_eq!((stage.metrics.streams.get(), stage.metrics.stream_packets.get()), (0, 1));
}

#[test]
fn energy_is_the_meters_total() {
    let mut stage = Stage::known(None);
    let frame = stage.session.poll_frame().unwrap();
    let energy = frame.now.unwrap().energy.unwrap();
    let lines_wh = [Some(1.5), Some(2.5), Some(3.5)];
    assert_eq!(energy, super::super::measured::Energy::Total { whole_wh: 7.5, lines_wh });
    assert_eq!((&*frame.serial, stage.session.kind()), ("smartmeter001", Kind::SmartMeter));
}
