//! Where replies go: to whoever listens on a topic, or to one caller.

use serde_json::json;
use tokio::sync::oneshot;

use super::grammar::{Echo, Reply, Verdict};
use super::{Answer, CommandError};
use crate::broker::{Link, Message, QoS};
use crate::metrics::Metrics;
use crate::model::Timestamp;
use crate::topic::{BridgeTopic, MeterState, Topic};

/// Who waits for a reply.
#[derive(Debug)]
pub(super) enum Asker {
    /// Whoever listens to the `state/info` of the meter.
    Topic,
    /// One caller.
    Caller(oneshot::Sender<Reply>),
}

/// Where replies go out.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    pub(super) link: Link,
    pub(super) metrics: Metrics,
}

impl Outbox {
    /// Sends a reply. Waits as the publisher does for whom it may be too much.
    pub(super) async fn reply(&self, name: &str, reply: Reply, asker: Asker) {
        self.metrics.commands.increment();
        if reply.verdict != Verdict::Done {
            self.metrics.failed_commands.increment();
        }
        match asker {
            // Whoever asked may have gone.
            Asker::Caller(caller) => drop(caller.send(reply)),
            Asker::Topic => {
                let topic = Topic::Meter(name.to_owned(), MeterState::Info).to_string();
                self.publish(&topic, &reply.text).await;
            }
        }
    }

    /// Leaves a word on a topic for whoever comes.
    pub(super) async fn retain(&self, topic: &str, word: &str) {
        let payload = word.as_bytes();
        let message = Message { topic, payload, qos: QoS::AtLeastOnce, retain: true };
        self.metrics.published.increment();
        self.link.publish_all(std::iter::once(message)).wait().await;
    }

    /// Tells on the event topic that a command was for nobody.
    pub(super) async fn event_no_such_meter(&self, name: &str, held_back: u64) {
        let event = json!({
            "ts": Timestamp::now().seconds(),
            "type": "command",
            "kind": "no_such_meter",
            "meter": name,
            "held_back": held_back,
            "message": format!("a command for {name:?}, but no meter is called so"),
        });
        let topic = Topic::Bridge(BridgeTopic::Event).to_string();
        self.publish(&topic, &event.to_string()).await;
    }

    async fn publish(&self, topic: &str, payload: &str) {
        let payload = payload.as_bytes();
        let message = Message { topic, payload, qos: QoS::AtMostOnce, retain: false };
        self.metrics.published.increment();
        self.link.publish_all(std::iter::once(message)).wait().await;
    }
}

/// What a reply repeats of a request that has only a name.
pub(super) fn echo(cmd: &str) -> Echo {
    Echo { cmd: Some(cmd.to_owned()), id: None }
}

/// What came of it, as a reply.
pub(super) fn reply(echo: &Echo, outcome: Result<Answer, CommandError>) -> Reply {
    match outcome {
        Ok(answer) => Reply::done(echo, answer),
        Err(error) => Reply::failed(echo, &error),
    }
}
