//! Commands to one device by the broker, one at a time, and its replies.

use std::sync::Arc;

use meter_protocols::smartmeter::{Command, Kind, Reply, TimedSwitch};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::adapters::smartmeter::switchboard::{Ask, Registration};
use crate::broker::{Link, Message, QoS};
use crate::command::{Answer, CommandError};
use crate::topic::DeviceTopics;

/// Speaks to one device.
pub(super) struct Speaker {
    pub(super) name: Arc<str>,
    pub(super) kind: Kind,
    pub(super) topics: Arc<DeviceTopics>,
    pub(super) link: Link,
    /// What it replies, whomever.
    pub(super) replies: mpsc::Receiver<Reply>,
    /// Where its name goes after it was told something.
    pub(super) told: mpsc::Sender<WasTold>,
    /// The command whose reply it waits for.
    pub(super) waits_for: Arc<Mutex<Option<String>>>,
}

/// A device was told something; with the rate, where it was told to sample.
pub(super) type WasTold = (Arc<str>, Option<f64>);

impl Speaker {
    /// Speaks until `stop`, or until the device is gone.
    pub(super) async fn run(mut self, mut registration: Registration, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = registration.replaced.cancelled() => return,
                ask = registration.asks.recv() => {
                    let Some(Ask { command, outcome }) = ask else { return };
                    *self.waits_for.lock() = Some(command.name().to_owned());
                    let answer = self.ask(&command).await;
                    *self.waits_for.lock() = None;
                    // Whoever asked may be gone.
                    let _ = outcome.send(answer);
                    // Full, it will be asked in its turn.
                    let _ = self.told.try_send((Arc::clone(&self.name), None));
                }
            }
        }
    }

    async fn ask(&mut self, command: &Command) -> Result<Answer, CommandError> {
        // This one is no command for the firmware: it has a topic of its own.
        let timed = TimedSwitch::of_command(command);
        let text = timed.map_or_else(|| command.json(), TimedSwitch::payload);
        self.refuse(command, &text)?;
        // Late replies, and those to others.
        while self.replies.try_recv().is_ok() {}
        if command.name() == "sample" {
            let rate = command.arguments().get("payload").and_then(|one| one.get("rate")?.as_f64());
            // The samples may be here before the reply.
            let _ = self.told.send((Arc::clone(&self.name), rate)).await;
        }
        let topic = match timed {
            Some(_) => self.topics.timed_switch(&self.name),
            None => self.topics.command(&self.name),
        };
        let payload = text.as_bytes();
        self.link.publish(Message { topic: &topic, payload, qos: QoS::AtMostOnce, retain: false });
        if command.restarts() {
            let words = "sent; the meter restarts and does not reply";
            return Ok(Answer::from_iter([("msg".to_owned(), Value::from(words))]));
        }
        let is_answer = |reply: &Reply| match timed {
            // Whoever sent the command to the meter as well has it answered that it knows none such.
            Some(_) => TimedSwitch::is_answer(reply),
            None => reply.cmd.as_deref() == Some(command.name()),
        };
        let deadline = Instant::now() + command.deadline();
        loop {
            match timeout_at(deadline, self.replies.recv()).await {
                Ok(Some(reply)) if is_answer(&reply) => return judged(reply),
                Ok(Some(_)) => {}
                Ok(None) => return Err(CommandError::Offline),
                Err(_) => return Err(self.silent(command)),
            }
        }
    }

    /// What cannot be told or answered on a broker.
    fn refuse(&self, command: &Command, text: &str) -> Result<(), CommandError> {
        let most = self.topics.longest_command(&self.name);
        if text.len() > most {
            return Err(CommandError::Unreachable(format!(
                "the command has {} bytes, and over MQTT the meter takes at most {most}: {CONNECT}",
                text.len()
            )));
        }
        let sampled_to = || command.arguments().get("payload")?.get("type")?.as_str();
        match command.name() {
            "sample" if sampled_to() != Some("MQTT") => Err(CommandError::Invalid(format!(
                "over MQTT a meter samples to MQTT only, \"type\":\"MQTT\": {CONNECT}"
            ))),
            "getLog" => Err(CommandError::Unreachable(format!(
                "the log of the meter is longer than what it can send over MQTT: {CONNECT}"
            ))),
            _ if command.loses_energy(self.kind) => Err(CommandError::Refused(
                "a SmartMeter loses energy when it is asked for it; getEnergy is answered here as soon \
                 as one of its messages has told it"
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }

    fn silent(&self, command: &Command) -> CommandError {
        let most = self.topics.longest_reply(&self.name);
        CommandError::Unreachable(format!(
            "the meter did not answer within {} s; a reply of more than {most} bytes it cannot send over MQTT: \
             {CONNECT}",
            command.deadline().as_secs()
        ))
    }
}

/// What helps.
const CONNECT: &str = "an entry with link: {connect: …} and this serial_number has no such limit";

/// What a reply comes to.
pub(super) fn judged(reply: Reply) -> Result<Answer, CommandError> {
    let Reply { failed, message, mut keys, .. } = reply;
    if failed {
        let words = message.unwrap_or_else(|| "the meter refused".to_owned());
        return Err(CommandError::Refused(words));
    }
    keys.extend(message.map(|words| ("msg".to_owned(), Value::from(words))));
    Ok(keys)
}
