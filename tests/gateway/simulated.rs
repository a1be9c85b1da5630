//! Simulated Fluksometers through their own doors, read by programs that are not the gateway's.

mod documents;
mod through;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use meter_protocols::flukso::tmpo::{Block, span};
use meterbridge::broker::{Broker, BrokerSettings};
use meterbridge::config::scalar::HostPort;
use meterbridge::simulator::{
    FluksoManners, FluksoSimulation, FluksoSimulator, FluksoWay, Generation,
};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ear::{Ear, Heard};
use crate::process::{Kill, ends, lines, program};
use crate::readers::{self, payload};
use crate::record::within;
use crate::support::{Site, get};

const HERE: &str = "127.0.0.1:0";

/// A simulator in a task; cut off when dropped.
struct Running {
    broker: Option<SocketAddr>,
    rest: SocketAddr,
    ids: Vec<String>,
    device: String,
    begin: CancellationToken,
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl Running {
    async fn start(generation: Generation, way: FluksoWay, manners: FluksoManners) -> Running {
        let running = Running::waiting(generation, way, manners).await;
        running.begin.cancel();
        running
    }

    /// Its ports are open, and whoever connects waits until `begin` is cancelled.
    async fn waiting(generation: Generation, way: FluksoWay, manners: FluksoManners) -> Running {
        let simulation = FluksoSimulation {
            generation,
            meters: 1,
            interval: Duration::from_secs(1),
            seed: 1,
            past: Duration::from_secs(6 * 3600),
        };
        let rest = Some(HERE.parse().unwrap());
        let simulator = FluksoSimulator::build(&simulation, way, rest, manners).await.unwrap();
        let (ids, device) = simulator.meters()[0].look(|live| {
            let ids = live.meter.sensor_ids().into_iter().map(str::to_owned).collect();
            (ids, live.meter.id.clone())
        });
        let (broker, rest) = (simulator.address(), simulator.rest_address().unwrap());
        let (begin, stop) = (CancellationToken::new(), CancellationToken::new());
        let (begun, ended, mut task) = (begin.clone(), stop.clone(), JoinSet::new());
        task.spawn(async move {
            begun.cancelled().await;
            simulator.run(ended).await;
        });
        Running { broker, rest, ids, device, begin, stop, task }
    }

    async fn own(generation: Generation, manners: FluksoManners) -> Running {
        Running::start(generation, FluksoWay::Own(HERE.parse().unwrap()), manners).await
    }

    async fn ear(&self) -> Ear {
        Ear::at(self.broker.unwrap()).await
    }

    async fn stop(mut self) {
        self.stop.cancel();
        within("the end of the simulator", self.task.join_next()).await.unwrap().unwrap();
    }
}

/// What somebody asks who has nothing yet.
fn nothing_yet(ids: &[String]) -> String {
    let entries: Vec<Value> =
        ids.iter().map(|id| serde_json::json!({"sid": id, "rid": 0, "lvl": 0, "bid": 0})).collect();
    Value::Array(entries).to_string()
}

/// Of a block's topic: sensor, rid, level, begin.
fn block_key(topic: &str) -> Option<(String, u32, u8, i64)> {
    let levels: Vec<&str> = topic.split('/').collect();
    let ["", "sensor", id, "tmpo", rid, level, bid, "gz"] = levels[..] else { return None };
    Some((id.to_owned(), rid.parse().ok()?, level.parse().ok()?, bid.parse().ok()?))
}

fn blocks(all: &[Heard]) -> impl Iterator<Item = (&Heard, (String, u32, u8, i64))> {
    all.iter().filter_map(|heard| Some((heard, block_key(&heard.topic)?)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_generation_keeps_the_rules_of_its_messages() {
    let meter = Running::own(Generation::Flm02, FluksoManners::default()).await;
    let ear = meter.ear().await;
    let seconds = |all: &[Heard]| {
        let gauge = format!("/sensor/{}/gauge", meter.ids[0]);
        (all.iter().filter(|heard| heard.topic == gauge).count() >= 4).then_some(())
    };
    ear.heard.until("four seconds", seconds).await;
    let all = ear.heard.all();
    for heard in all.iter().filter(|heard| heard.topic.starts_with("/sensor/")) {
        let reading = payload::read(&heard.text()).unwrap();
        assert!(!reading.blanks, "{heard:?}");
    }
    assert_eq!(ear.last("config/flx"), None);
    // That it lacks this document is all that its readers object to: a plain FLM02 stops one of them.
    let objections = readers::judge(&all).objections;
    assert_eq!(objections.len(), 1, "{objections:?}");
    assert!(objections[0].contains("config/flx"), "{objections:?}");
    // Who comes later gets the documents and the last readings as well.
    let late = meter.ear().await;
    for end in ["config/sensor", "config/kube"] {
        let kept = |heard: &Heard| heard.topic.ends_with(end) && heard.retained;
        late.until(&format!("{end} that was kept"), kept).await;
    }
    let gauge = format!("/sensor/{}/gauge", meter.ids[0]);
    late.until("a gauge that was kept", |heard| heard.topic == gauge && heard.retained).await;
    meter.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_generation_keeps_all_rules_that_its_readers_have() {
    let meter = Running::own(Generation::Flm03, FluksoManners::default()).await;
    let ear = meter.ear().await;
    let seconds = |all: &[Heard]| {
        let gauge = format!("/sensor/{}/gauge", meter.ids[0]);
        (all.iter().filter(|heard| heard.topic == gauge).count() >= 3).then_some(())
    };
    ear.heard.until("three seconds", seconds).await;
    let verdict = readers::judge(&ear.heard.all());
    assert_eq!(verdict.objections, Vec::<String>::new());
    assert!(verdict.entities[&meter.device].len() >= 20, "{:?}", verdict.entities);
    let time = ear.last("/flx/time").unwrap().text();
    assert!(serde_json::from_str::<Value>(&time).is_err(), "{time}");
    let wave: Value = serde_json::from_str(&ear.last("/flx/voltage/1").unwrap().text()).unwrap();
    assert_eq!((wave[0][1].as_i64(), wave[1].as_array().unwrap().len()), (Some(500), 32));
    assert!(ear.heard.all().iter().all(|heard| {
        !heard.retained || heard.topic.starts_with("/device/") || !heard.text().contains(", ")
    }));
    meter.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_past_comes_when_it_is_asked_for_and_is_one_row_in_order() {
    for generation in [Generation::Flm02, Generation::Flm03] {
        let (main, all) = loop {
            let begin = jiff::Timestamp::now().as_second();
            let (main, all) = asked_for_its_past(generation).await;
            // What is closed just then is published to everybody, and is no part of the answer.
            if !a_window_was_closed(begin, jiff::Timestamp::now().as_second()) {
                break (main, all);
            }
        };
        let mut end = None;
        let mut points = 0;
        for (heard, (id, rid, level, bid)) in blocks(&all) {
            let block = Block::from_gzip(&heard.payload).unwrap();
            assert!(block.fits(level, bid) && rid == 0 && id == main, "{}", heard.topic);
            assert!(!heard.retained);
            let config: Value = serde_json::from_str(block.config()).unwrap();
            assert!(config["enable"].is_null() && config["id"] == main.as_str());
            assert!(end.is_none_or(|end| block.head().at > end), "{}", heard.topic);
            end = Some(block.tail().at);
            points += block.points().len();
        }
        assert!(points > 500, "{points}");
    }
}

/// A device's first sensor, and everything that was heard of the device up to its last block.
async fn asked_for_its_past(generation: Generation) -> (String, Vec<Heard>) {
    let meter = Running::own(generation, FluksoManners::default()).await;
    let ear = meter.ear().await;
    let main = meter.ids[..1].to_vec();
    let topic = format!("/d/device/{}/tmpo/sync", meter.device);
    ear.publish(&topic, &nothing_yet(&main)).await;
    // The last one that is closed ends with the present window.
    let is_last = |all: &[Heard]| {
        let (_, (_, _, level, bid)) = blocks(all).last()?;
        let age = jiff::Timestamp::now().as_second() - (bid + span(level));
        (age < 256 + 20).then(|| all.to_vec())
    };
    let all = ear.heard.until("the last block", is_last).await;
    meter.stop().await;
    (main[0].clone(), all)
}

/// Whether a device may have closed a window in this time: it does so 4 to 19 seconds behind its end.
fn a_window_was_closed(from: i64, to: i64) -> bool {
    (to - 4).div_euclid(256) > (from - 20).div_euclid(256)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_is_answered_on_a_topic_of_its_own() {
    let meter = Running::own(Generation::Flm02, FluksoManners::default()).await;
    let ear = meter.ear().await;
    let (id, now) = (&meter.ids[0], jiff::Timestamp::now().as_second());
    let (from, to) = (now - 3600, now);
    ear.publish(&format!("/query/{id}/tmpo"), &format!("[{from},{to}]")).await;
    let topic = format!("/sensor/{id}/query/{from}/{to}");
    let answer = ear.until("an answer", |heard| heard.topic == topic).await;
    assert!(Block::from_gzip(&answer.payload).unwrap().head().at <= to);
    meter.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_local_api_tells_the_last_minute() {
    let meter = Running::own(Generation::Flm02, FluksoManners::default()).await;
    let ear = meter.ear().await;
    let gauge = format!("/sensor/{}/gauge", meter.ids[0]);
    let reading = ear.until("a gauge", |heard| heard.topic == gauge).await;
    let reading = payload::read(&reading.text()).unwrap();
    let path = format!("/sensor/{}?version=1.0&interval=minute&unit=watt", meter.ids[0]);
    let answer = get(meter.rest, &path).await;
    let has = |name: &str, value: &str| {
        answer.lines().any(|line| line.eq_ignore_ascii_case(&format!("{name}: {value}")))
    };
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(has("content-type", "application/json"), "{answer}");
    assert!(has("connection", "close") && has("transfer-encoding", "chunked"), "{answer}");
    assert!(answer.contains(&format!("[{},{}]", reading.at, reading.number)), "{answer}");
    let jsonp = get(meter.rest, &format!("{path}&callback=f")).await;
    assert!(jsonp.contains("\nf([["), "{jsonp}");
    for (wrong, code) in [
        (path.replace("1.0", "2.0"), "400"),
        (path.replace("unit=watt", "unit=volt"), "400"),
        (path.replace("&unit=watt", ""), "400"),
        (path.replace("minute", "hour"), "400"),
        (path.replace(&meter.ids[0], &"0".repeat(32)), "404"),
    ] {
        let answer = get(meter.rest, &wrong).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{wrong}: {answer}");
    }
    meter.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_brings_everything_and_is_asked_through_the_other_broker() {
    let settings = BrokerSettings { listen: vec![HERE.parse().unwrap()], ..Default::default() };
    let broker = Broker::bind(settings).await.unwrap();
    let (address, stop) = (broker.addresses()[0], CancellationToken::new());
    let mut brokers = JoinSet::new();
    brokers.spawn(broker.run(stop.clone()));
    let ear = Ear::at(address).await;
    let to = HostPort { host: "127.0.0.1".to_owned(), port: address.port() };
    let way = FluksoWay::Bridge { to, login: None };
    let meter = Running::start(Generation::Flm03, way, FluksoManners::default()).await;
    ear.until("documents", |heard| heard.topic.ends_with("/config/sensor")).await;
    let sync = format!("/device/{}/tmpo/sync", meter.device);
    ear.until("its question", |heard| heard.topic == sync && heard.payload.is_empty()).await;
    ear.until("a reading", |heard| heard.topic.ends_with(&format!("{}/gauge", meter.ids[0]))).await;
    ear.publish(&format!("/d/device/{}/tmpo/sync", meter.device), &nothing_yet(&meter.ids)).await;
    let block = ear.until("a block", |heard| block_key(&heard.topic).is_some()).await;
    Block::from_gzip(&block.payload).unwrap();
    // Documents were published to be kept.
    let late = Ear::at(address).await;
    late.until("what is kept", |heard| heard.topic.ends_with("/config/flx") && heard.retained)
        .await;
    meter.stop().await;
    stop.cancel();
    within("the end of the broker", brokers.join_next()).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manners_are_what_they_are_called() {
    let repeats = true;
    let broken_blocks = true;
    let manners = FluksoManners { repeats, broken_blocks, clock: -7200, ..Default::default() };
    let meter = Running::own(Generation::Flm02, manners).await;
    let ear = meter.ear().await;
    ear.publish(&format!("/d/device/{}/tmpo/sync", meter.device), &nothing_yet(&meter.ids)).await;
    let kinds = |all: &[Heard]| {
        let good = |heard: &Heard| Block::from_gzip(&heard.payload).is_ok();
        let sorts: BTreeSet<bool> = blocks(all).map(|(heard, _)| good(heard)).collect();
        (sorts.len() == 2).then_some(())
    };
    ear.heard.until("good and malformed blocks", kinds).await;
    let gauge = format!("/sensor/{}/gauge", meter.ids[0]);
    let falls = |all: &[Heard]| {
        let of_it = all.iter().filter(|heard| heard.topic == gauge);
        let times: Vec<i64> = of_it.map(|heard| payload::read(&heard.text()).unwrap().at).collect();
        let count = times.iter().fold(HashMap::new(), |mut count: HashMap<i64, u32>, at| {
            *count.entry(*at).or_default() += 1;
            count
        });
        let found = times.windows(2).any(|two| two[1] < two[0]) && count.values().any(|n| *n > 1);
        found.then_some(times)
    };
    let times = ear.heard.until("readings twice and older ones", falls).await;
    let behind = jiff::Timestamp::now().as_second() - times.last().unwrap();
    assert!((7100..7300).contains(&behind), "{behind}");
    meter.stop().await;

    let restarts = Some(Duration::from_secs(5));
    let meter =
        Running::own(Generation::Flm02, FluksoManners { restarts, ..Default::default() }).await;
    let ear = meter.ear().await;
    ear.heard.closed("the device to be switched off").await;
    let address = meter.broker.unwrap();
    within("the device to be switched on again", async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    meter.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_starts_them_and_says_what_it_cannot() {
    let site = Site::bare();
    let arguments = ["simulate", "flm02", "--listen", HERE, "--rest", HERE, "--meters", "2"];
    let mut command = program(&site, &arguments);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let mut simulator = Kill(command.spawn().unwrap());
    let output = lines(simulator.0.stdout.take().unwrap());
    let url = output
        .until("where the broker is", |lines| {
            lines.iter().find_map(|line| line.strip_prefix("mqtt://").map(str::to_owned))
        })
        .await;
    let ear = Ear::at(url.parse().unwrap()).await;
    let devices = |all: &[Heard]| {
        let documents = all.iter().filter(|heard| heard.topic.ends_with("config/sensor"));
        (documents.count() >= 2).then_some(())
    };
    ear.heard.until("two devices", devices).await;
    for (arguments, part) in [
        (&["flm02", "--serial"][..], "--serial"),
        (&["flm03", "--listen", HERE, "--interval", "500ms"], "whole seconds"),
        (&["flm03", "--listen", HERE, "--noise"], "--noise"),
        (&["gem", "--listen", HERE, "--repeats"], "--repeats"),
    ] {
        let (code, message) = ends(program(&site, &[&["simulate"], arguments].concat())).await;
        assert_eq!(code, 64, "{message}");
        assert!(message.contains(part), "{message}");
    }
}
