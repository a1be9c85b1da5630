//! One command at a time: the next goes out after the reply to the one before, or its deadline.
//!
//! Replies have no number. So a command whose deadline has passed is fenced off: `?` is sent, which the
//! device answers in its turn, and whatever comes before that answer is late and belongs to nobody.
//!
//! Source: protocol note, sections 2.2, 2.4 and 2.5.

use std::collections::VecDeque;

use meter_protocols::smartmeter::{Command, Kind, Message, Reply};
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

use super::Session;
use super::idle::Poll;
use crate::adapters::smartmeter::switchboard::{Ask, cut_off};
use crate::command::{Answer, CommandError};
use crate::model::Timestamp;

/// What is under way, and what waits.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pub(super) waiting: VecDeque<Ask>,
    turn: Option<Turn>,
    /// `?` was sent after a command without a reply.
    fence: Option<Instant>,
}

/// A command that was sent.
#[derive(Debug)]
struct Turn {
    command: Command,
    by: By,
    deadline: Instant,
    /// The first of two lines that a reply has.
    first: Option<Map<String, Value>>,
}

/// Who wants to know.
#[derive(Debug)]
pub(super) enum By {
    /// Somebody outside.
    Ask(oneshot::Sender<Result<Answer, CommandError>>),
    /// The session, for readings.
    Poll(Poll),
    /// The session, so that it can sample without numbers.
    Level,
    /// The session, to begin a stream.
    Sample,
    /// The session, to end one that nobody hears.
    Stop,
    /// The session, before it uses the device's stream port.
    Port,
}

impl Turns {
    pub(super) fn deadline(&self, buffered: Duration) -> Option<Instant> {
        self.turn
            .as_ref()
            .map(|turn| turn.deadline)
            .or(self.fence.map(|sent| sent + FENCE.max(buffered)))
    }

    /// How long the device may work on what was sent without a word.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.turn.as_ref().map(|turn| turn.command.deadline() + STALL)
    }

    pub(super) fn is_free(&self) -> bool {
        self.turn.is_none() && self.fence.is_none()
    }
}

impl Session {
    pub(super) fn kind(&self) -> Kind {
        self.device.as_ref().map_or(Kind::SmartMeter, |device| device.kind)
    }

    /// When there is something to be sent that is not waited for.
    pub(super) fn work_due(&self) -> Option<Instant> {
        if !self.turns.is_free() || self.device.is_none() {
            return None;
        }
        let stream = self.stream_due();
        let poll = self.poll_due();
        stream.into_iter().chain(poll).min()
    }

    /// Sends the next command, if it is time for one.
    pub(super) fn next_turn(&mut self, now: Instant, at: Timestamp) {
        while self.turns.is_free() && self.device.is_some() && self.finished.is_none() {
            if let Some(Ask { command, outcome }) = self.turns.waiting.pop_front() {
                if outcome.is_closed() {
                    continue;
                }
                if let Some(first) = self.before(&command) {
                    self.said_before();
                    self.turns.waiting.push_front(Ask { command, outcome });
                    self.begin(first, By::Level, now);
                    continue;
                }
                match self.fitting(command) {
                    Ok(command) => self.begin(command, By::Ask(outcome), now),
                    // Whoever asked may be gone.
                    Err(error) => drop(outcome.send(Err(error))),
                }
                continue;
            }
            let next = self.next_of_stream(now, at).or_else(|| self.next_poll(now));
            match next {
                Some((command, by)) => self.begin(command, by, now),
                None => return,
            }
        }
    }

    fn begin(&mut self, command: Command, by: By, now: Instant) {
        let line = command.line().into_bytes();
        let deadline = now + command.deadline();
        self.turns.turn = Some(Turn { command, by, deadline, first: None });
        self.send(line, now);
    }

    /// A JSON message: the device's dictionary, or a reply.
    pub(super) fn json(&mut self, text: &str, now: Instant, at: Timestamp) {
        let kind = self.device.as_ref().map(|device| device.kind);
        let value = serde_json::from_str::<Value>(text).unwrap_or_default();
        match Message::read(text, kind) {
            Some(Message::Info(info)) => {
                self.informed(&info, now, at);
                self.first_line("info", info.keys);
            }
            Some(Message::LogFile(rows)) => {
                let rows = Value::from(rows);
                self.first_line("getLog", Map::from_iter([("log".to_owned(), rows)]));
            }
            Some(Message::Reply(reply)) if self.is_answer(&reply) => {
                if let Some(turn) = self.turns.turn.take() {
                    self.replied(turn, reply, &value, now, at);
                }
            }
            Some(Message::Reply(_)) => {
                self.context.metrics.smartmeter_late_replies.increment();
                tracing::debug!(serial = self.serial(), "a reply to nothing was passed over");
            }
            Some(Message::Other(_)) | None => {
                tracing::debug!(
                    serial = self.serial(),
                    "a message that says nothing was passed over"
                );
            }
        }
    }

    /// The first of two lines that some replies have.
    fn first_line(&mut self, command: &str, keys: Map<String, Value>) {
        if let Some(turn) = self.turns.turn.as_mut().filter(|turn| turn.command.name() == command) {
            turn.first = Some(keys);
        }
    }

    /// Whether the reply is to the command under way. One without a name is, but for commands whose reply
    /// has two lines: the second follows on the first.
    fn is_answer(&self, reply: &Reply) -> bool {
        let Some(turn) = &self.turns.turn else { return false };
        let is_bare = reply.cmd.is_none() && turn.command.name() == "info" && turn.first.is_none();
        self.turns.fence.is_none() && reply.answers(&turn.command) && !is_bare
    }

    fn replied(&mut self, turn: Turn, reply: Reply, value: &Value, now: Instant, at: Timestamp) {
        let Turn { command, by, first, .. } = turn;
        let failed = reply.failed;
        if !failed {
            self.note_done(&command, matches!(by, By::Ask(_)), value, now, at);
        }
        if let By::Poll(poll) = by {
            return self.polled(poll, Some(&reply).filter(|_| !failed), now);
        }
        let outcome = match failed {
            true => Err(CommandError::Refused(refusal(&reply))),
            false => {
                let mut answer = first.unwrap_or_default();
                answer.extend(reply.message.map(|words| ("msg".to_owned(), words.into())));
                answer.extend(reply.keys);
                Ok(if command.name() == "switch" { self.with_relay(answer) } else { answer })
            }
        };
        match by {
            // Whoever asked may be gone.
            By::Ask(told) => drop(told.send(outcome)),
            By::Sample => {
                if let Err(error) = outcome {
                    self.stream_refused(&error.to_string(), now);
                }
            }
            By::Port => self.port_checked(outcome.is_ok(), now),
            By::Poll(_) | By::Level | By::Stop => {}
        }
    }

    /// What a command changes here that was done, whoever asked.
    fn note_done(
        &mut self,
        command: &Command,
        by_others: bool,
        reply: &Value,
        now: Instant,
        at: Timestamp,
    ) {
        match command.name() {
            "sample" => self.begin_stream(command, reply, now, at),
            "stop" => self.stopped(reply, by_others, now, at),
            "cts" | "reqSamples" => self.flow(command, now),
            "log" => self.level_set(command),
            // Its dictionary tells what has become of it.
            "switch" | "resetEnergy" => self.info_now(now),
            _ => {}
        }
    }

    pub(super) fn watch_turn(&mut self, now: Instant, _at: Timestamp) {
        if self.turns.turn.as_ref().is_some_and(|turn| now >= turn.deadline)
            && let Some(turn) = self.turns.turn.take()
        {
            self.turns.fence = Some(now);
            self.probe(now);
            let waited = turn.command.deadline();
            match turn.by {
                By::Ask(told) => drop(told.send(Err(CommandError::Silent(waited)))),
                By::Poll(poll) => self.polled(poll, None, now),
                By::Sample | By::Port => self.stream_refused("the meter did not answer", now),
                By::Level | By::Stop => {}
            }
        }
        if self.turns.fence.is_some_and(|sent| now >= sent + FENCE.max(self.buffered())) {
            self.finish("the meter has not answered a command, and `?` neither");
        }
    }

    /// Text that is neither log nor JSON: `Setup done`, the answer to `?`.
    pub(super) fn text(&mut self, text: &str, _now: Instant) {
        if text.trim() == "Setup done" {
            self.turns.fence = None;
        }
    }

    /// The connection has ended: nothing is left without an outcome.
    pub(super) fn give_up_turns(&mut self) {
        if let Some(Turn { command, by: By::Ask(told), .. }) = self.turns.turn.take() {
            let outcome = match command.restarts() {
                true => Ok(Map::from_iter([("msg".to_owned(), RESTARTS.into())])),
                false => Err(cut_off()),
            };
            // Whoever asked may be gone.
            let _ = told.send(outcome);
        }
        for ask in self.turns.waiting.drain(..) {
            let _ = ask.outcome.send(Err(CommandError::Offline));
        }
    }
}

/// Why the device did not do it, in its own words. About samples it has none: it refuses these commands
/// while it is idle (protocol note, sections 2.5 and 4.5).
fn refusal(reply: &Reply) -> String {
    let words = reply.message.as_deref().filter(|words| !words.trim().is_empty());
    words.map_or_else(
        || match reply.cmd.as_deref() {
            Some("stop" | "cts" | "reqSamples") => "the meter does not sample".to_owned(),
            _ => "the meter refused it, and did not say why".to_owned(),
        },
        str::to_owned,
    )
}

/// Another client's half line can make a device stand still for so long.
const STALL: Duration = Duration::from_secs(10);
const FENCE: Duration = Duration::from_secs(15);
const RESTARTS: &str = "the meter has closed the connection: it restarts";
