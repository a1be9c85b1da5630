//! The router with an adapter that does what a test says.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use super::*;
use crate::broker::{Broker, BrokerSettings, Message, QoS};
use crate::bus::Queue;
use crate::command::directory::Expected;
use crate::command::directory::tests::{online, readings};
use crate::command::grammar::Verdict;
use crate::command::{Answer, Job};
use crate::metrics::Counter;
use crate::model::Make;

/// A router at work, and the adapter's end.
struct Stage {
    commands: Commands,
    jobs: mpsc::Receiver<Job>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    broker: Broker,
}

/// One meter that can be heard, one that cannot but is connected, one that is not there at all.
async fn stage(capacity: usize) -> Stage {
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let broker = Broker::bind(BrokerSettings { listen, ..BrokerSettings::default() }).await;
    let broker = broker.unwrap();
    let silent = |name: &str, serial: Option<&str>| Expected {
        name: name.into(),
        make: Make::Brultech,
        serial: serial.map(Arc::from),
    };
    let expected = [silent("mute", Some("2")), silent("gone", Some("3")), silent("empty", None)];
    let directory = Directory::new(expected.into_iter());
    directory.take(&readings("house"));
    directory.take(&online("house", true));
    let (sender, jobs) = mpsc::channel(capacity);
    let mut routes = Routes::default();
    routes.add_reaching(Make::Brultech, sender, Arc::new(|serial| serial == "2"));
    let metrics = Metrics::default();
    let (router, commands) = Router::new(broker.link(), directory, routes, metrics).unwrap();
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let token = stop.clone();
    tasks.spawn(async move { router.run(token).await.unwrap() });
    Stage { commands, jobs, stop, tasks, broker }
}

impl Stage {
    /// Asks in a task of its own; the replies are joined in the order they come.
    fn ask(&self, replies: &mut JoinSet<Reply>, meter: &'static str, command: Value) {
        let commands = self.commands.clone();
        replies.spawn(async move { commands.ask(meter, command.to_string().as_bytes()).await });
    }

    async fn job(&mut self) -> Job {
        tokio::time::timeout(Duration::from_secs(5), self.jobs.recv()).await.unwrap().unwrap()
    }
}

fn answer(number: u64) -> Answer {
    Map::from_iter([("value".to_owned(), Value::from(number))])
}

fn value(reply: &Reply) -> Value {
    serde_json::from_str(&reply.text).unwrap()
}

#[tokio::test]
async fn what_only_the_meter_knows_goes_to_its_adapter_one_at_a_time() {
    let mut stage = stage(8).await;
    let mut replies = JoinSet::new();
    stage.ask(&mut replies, "house", json!({"cmd": "get", "setting": "all", "id": 1}));
    let first = stage.job().await;
    assert_eq!((&*first.serial, &*first.command.name), ("01100603", "get"));
    assert_eq!(Value::Object(first.command.arguments.clone()), json!({"setting": "all"}));
    stage.ask(&mut replies, "house", json!({"cmd": "set", "id": 2}));
    // What the gateway knows itself does not wait, nor does another meter.
    let info = stage.commands.ask("house", br#"{"cmd":"info"}"#).await;
    assert_eq!(info.verdict, Verdict::Done);
    stage.ask(&mut replies, "mute", json!({"cmd": "poll", "id": 3}));
    let other = stage.job().await;
    assert_eq!(&*other.serial, "2");
    assert!(stage.jobs.try_recv().is_err(), "the second command of the house waits");

    first.reply.send(Ok(answer(7))).unwrap();
    let reply = replies.join_next().await.unwrap().unwrap();
    assert_eq!(value(&reply), json!({"error": false, "cmd": "get", "value": 7, "id": 1}));
    let second = stage.job().await;
    assert_eq!(second.command.name, "set");
    second.reply.send(Err(CommandError::Invalid("no".to_owned()))).unwrap();
    let reply = replies.join_next().await.unwrap().unwrap();
    assert_eq!(value(&reply), json!({"error": true, "cmd": "set", "msg": "no", "id": 2}));
    // An adapter that forgets a job.
    drop(other);
    let reply = replies.join_next().await.unwrap().unwrap();
    assert_eq!(value(&reply)["msg"], "the gateway could not do it");
}

#[tokio::test]
async fn a_meter_that_is_offline_is_said_to_be_unless_it_is_connected() {
    let mut stage = stage(8).await;
    for meter in ["gone", "empty"] {
        let reply = stage.commands.ask(meter, br#"{"cmd":"poll"}"#).await;
        assert_eq!(value(&reply)["msg"], "the meter is offline");
        assert_eq!(reply.verdict, Verdict::Unavailable);
    }
    let mut replies = JoinSet::new();
    stage.ask(&mut replies, "mute", json!({"cmd": "set", "setting": "realtime", "value": true}));
    stage.job().await.reply.send(Ok(answer(1))).unwrap();
    assert_eq!(replies.join_next().await.unwrap().unwrap().verdict, Verdict::Done);
}

#[tokio::test]
async fn beyond_what_may_wait_is_refused_and_the_rest_is_done_in_order() {
    let mut stage = stage(8).await;
    let mut replies = JoinSet::new();
    stage.ask(&mut replies, "house", json!({"cmd": "poll", "id": 0}));
    let mut job = stage.job().await;
    for id in 1..=40 {
        stage.ask(&mut replies, "house", json!({"cmd": "poll", "id": id, "n": id}));
    }
    // Sixteen wait, and all others are told at once.
    for _ in 0..24 {
        let reply = replies.join_next().await.unwrap().unwrap();
        assert!(reply.text.contains("too many commands"), "{}", reply.text);
    }
    for _ in 0..16 {
        job.reply.send(Ok(answer(0))).unwrap();
        job = stage.job().await;
    }
    job.reply.send(Ok(answer(0))).unwrap();
    while let Some(reply) = replies.join_next().await {
        assert_eq!(reply.unwrap().verdict, Verdict::Done);
    }
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_never_answers_is_not_waited_for_for_ever() {
    let mut stage = stage(8).await;
    let asking = stage.commands.clone();
    let (reply, _job) =
        tokio::join!(asking.ask("house", br#"{"cmd":"poll"}"#), async { stage.jobs.recv().await });
    assert_eq!(reply.verdict, Verdict::Silent);
    assert!(reply.text.contains("did not answer within 60 s"), "{}", reply.text);
}

#[tokio::test]
async fn at_the_end_everything_that_waits_is_answered() {
    let mut stage = stage(8).await;
    let mut replies = JoinSet::new();
    for id in 0..5 {
        stage.ask(&mut replies, "house", json!({"cmd": "poll", "id": id}));
    }
    let _job = stage.job().await;
    stage.stop.cancel();
    while let Some(reply) = replies.join_next().await {
        assert!(reply.unwrap().text.contains("the gateway could not do it"));
    }
    stage.tasks.join_next().await.unwrap().unwrap();
    let late = stage.commands.ask("house", br#"{"cmd":"info"}"#).await;
    assert_eq!(late.verdict, Verdict::Unavailable);
}

#[tokio::test]
async fn what_was_published_before_the_end_is_answered() {
    let mut stage = stage(8).await;
    let link = stage.broker.link();
    let mut replies = link.subscribe("powermeter/house/state/info").unwrap();
    for id in 0..100 {
        let payload = json!({"cmd": if id % 2 == 0 { "poll" } else { "info" }, "id": id});
        link.publish(Message {
            topic: "powermeter/house/cmd",
            payload: payload.to_string().as_bytes(),
            qos: QoS::AtMostOnce,
            retain: false,
        });
    }
    stage.stop.cancel();
    stage.tasks.join_next().await.unwrap().unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let reply = tokio::time::timeout(Duration::from_secs(5), replies.recv()).await.unwrap();
        let reply: Value = serde_json::from_slice(&reply.unwrap().payload).unwrap();
        assert_eq!(reply["error"], reply["cmd"] == "poll", "{reply}");
        ids.insert(reply["id"].as_u64().unwrap());
    }
    assert_eq!(ids.len(), 100);
}

#[tokio::test]
async fn an_adapter_that_is_behind_is_waited_for() {
    let mut stage = stage(1).await;
    let mut replies = JoinSet::new();
    // Both go to the same adapter, which takes one at a time.
    stage.ask(&mut replies, "house", json!({"cmd": "poll"}));
    stage.ask(&mut replies, "mute", json!({"cmd": "poll"}));
    tokio::task::yield_now().await;
    for _ in 0..2 {
        stage.job().await.reply.send(Ok(answer(0))).unwrap();
    }
    while let Some(reply) = replies.join_next().await {
        assert_eq!(reply.unwrap().verdict, Verdict::Done);
    }
}

#[tokio::test]
async fn the_directory_follows_the_bus() {
    let directory = Directory::new(std::iter::empty());
    let queue = Queue::new(8, Counter::default());
    queue.push_now(readings("house"));
    queue.push_now(online("house", true));
    queue.close();
    Arc::clone(&directory).follow(queue).await.unwrap();
    assert!(directory.find("house").unwrap().is_online());
    assert!(VecDeque::from(directory.all()).pop_front().is_some());
}

#[tokio::test(start_paused = true)]
async fn names_that_nobody_has_are_told_once_and_not_too_many_of_them() {
    let mut notices = Notices::default();
    let mut told = |name: &str| notices.pass_stranger(name).is_some();
    assert!(told("a") && !told("a") && told("b"));
    for _ in 0..100 {
        tokio::time::advance(Duration::from_secs(5)).await;
        told(&fastrand::u64(..).to_string());
    }
    assert!(!told("a") && !told("c"), "too many names");
    tokio::time::advance(AGAIN).await;
    assert!(told("a") && told("c"));
}
