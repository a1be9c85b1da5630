//! Commands over MQTT: the reply on `state/info`, and what is no command.

mod awkward;
mod grammar;
mod rights;

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};

use crate::meters::{bytes, ecm, gem, gem_ch1};
use crate::process::{Kill, lines};
use crate::record::within;
use crate::subscriber::Subscriber;
use crate::support::{HOUSE, Meter, Running, Site};

const INFO: &str = "powermeter/house/state/info";
const EVENT: &str = "meterbridge/bridge/event";

/// A client that publishes; each message is acknowledged before the next one.
pub(crate) struct Sender(AsyncClient, rumqttc::EventLoop);

impl Sender {
    pub(crate) async fn new(broker: SocketAddr, name: &str) -> Self {
        let mut options = MqttOptions::new(name, broker.ip().to_string(), broker.port());
        options.set_max_packet_size(1 << 20, 1 << 20);
        Self::with(options)
    }

    pub(crate) fn with(options: MqttOptions) -> Self {
        let (client, events) = AsyncClient::new(options, 10);
        Self(client, events)
    }

    pub(crate) async fn send(&mut self, topic: &str, payload: impl Into<Vec<u8>>, retain: bool) {
        self.0.publish(topic, QoS::AtLeastOnce, retain, payload).await.unwrap();
        within("an acknowledgement", async {
            while !matches!(self.1.poll().await.unwrap(), Event::Incoming(Packet::PubAck(_))) {}
        })
        .await;
    }
}

/// A gateway, a client that hears everything, and one that publishes.
struct Stage {
    gateway: Running,
    subscriber: Subscriber,
    sender: Sender,
}

impl Stage {
    async fn at(site: &Site) -> Self {
        let gateway = site.start().await;
        let subscriber = gateway.subscriber().await;
        let sender = Sender::new(gateway.broker(), "sender").await;
        Self { gateway, subscriber, sender }
    }

    /// Sends to the house and returns the reply that comes.
    async fn ask(&mut self, command: &str) -> Value {
        self.ask_of("house", command).await
    }

    /// The same for any meter.
    async fn ask_of(&mut self, meter: &str, command: &str) -> Value {
        reply(&self.exchange(meter, "cmd", command).await)
    }

    /// One momentary value of the house.
    async fn sampled(&mut self, payload: &str) -> String {
        self.exchange("house", "sample", payload).await
    }

    async fn exchange(&mut self, meter: &str, leaf: &str, payload: &str) -> String {
        let info = format!("powermeter/{meter}/state/info");
        let before = self.subscriber.payloads(&info).len();
        self.sender.send(&format!("powermeter/{meter}/{leaf}"), payload, false).await;
        self.subscriber.on(&info, before + 1).await.remove(before)
    }
}

fn reply(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Two packets, one second and 3600 Ws apart on channel 1, so that powers are known.
async fn feed(meter: &mut Meter, subscriber: &Subscriber) {
    for (seconds, energy) in [(100, 7200), (101, 10_800)] {
        meter.send(&bytes(&gem_ch1(seconds, energy, 0))).await;
    }
    subscriber.packets("house", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn common_commands_are_answered_from_the_latest_readings() {
    let site = Site::new(HOUSE);
    let mut stage = Stage::at(&site).await;
    let mut meter = stage.gateway.dial().await;
    feed(&mut meter, &stage.subscriber).await;

    let info = stage.ask(r#"{"cmd":"info","id":{"a":[1,"é"]}}"#).await;
    let keys: Vec<&String> = info.as_object().unwrap().keys().collect();
    assert_eq!(keys[..2], ["error", "cmd"]);
    assert_eq!(info["id"], json!({"a": [1, "é"]}));
    assert_eq!(info["error"], false);
    for (key, value) in
        [("type", "gem"), ("name", "house"), ("serial", "01100603"), ("make", "brultech")]
    {
        assert_eq!(info[key], value, "{info}");
    }
    assert_eq!(info["online"], true);
    assert_eq!(info["channels"]["ch1"]["role"], "load");

    let power = stage.ask(r#"{"cmd":"getPower","id":1}"#).await;
    assert_eq!((&power["activePower"], &power["unit"]), (&json!(3600), &json!("W/var/VA")));
    assert_eq!((&power["channels"]["ch1"], &power["id"]), (&json!(3600), &json!(1)));
    assert!(power.get("reactivePower").is_none());
    let voltage = stage.ask(r#"{"cmd":"getVoltage"}"#).await;
    assert_eq!((&voltage["voltage"], &voltage["unit"]), (&json!(230.1), &json!("V")));
    let energy = stage.ask(r#"{"cmd":"getEnergy","channel":"ch1"}"#).await;
    assert_eq!((&energy["energy"], &energy["unit"]), (&json!(3), &json!("Wh")));
    assert_eq!(stage.ask(r#"{"cmd":"getCurrent"}"#).await["unit"], "mA");
    for cmd in ["getPeriod", "getPhaseAngle"] {
        let refused = stage.ask(&json!({"cmd": cmd}).to_string()).await;
        assert_eq!((&refused["error"], &refused["cmd"]), (&json!(true), &json!(cmd)));
        assert!(refused["msg"].as_str().unwrap().contains("does not measure"), "{refused}");
    }
    assert!(stage.subscriber.seen().iter().all(|one| one.topic != INFO || !one.retain));
    // Nothing of it was kept for later clients.
    let late = stage.gateway.subscriber().await;
    stage.ask(r#"{"cmd":"info"}"#).await;
    assert_eq!(late.on(INFO, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_are_one_text() {
    let site = Site::new(HOUSE);
    let mut stage = Stage::at(&site).await;
    let mut meter = stage.gateway.dial().await;
    feed(&mut meter, &stage.subscriber).await;
    let cases = [("v", "230.10", "V"), ("p", "3600.00", "W"), ("", "3600.00", "W")];
    for (count, (payload, value, unit)) in cases.into_iter().enumerate() {
        stage.sender.send("powermeter/house/sample", payload, false).await;
        let answer = reply(&stage.subscriber.on(INFO, count + 1).await[count]);
        assert_eq!((&answer["value"], &answer["unit"]), (&json!(value), &json!(unit)));
        assert!(answer["ts"].as_str().unwrap().parse::<i64>().unwrap() > 1_700_000_000);
    }
    stage.sender.send("powermeter/sample", "q", false).await;
    let refused = reply(&stage.subscriber.on(INFO, 4).await[3]);
    assert_eq!((&refused["error"], &refused["cmd"]), (&json!(true), &json!("sample")));
    stage.sender.send("powermeter/house/switch", "on", false).await;
    let refused = reply(&stage.subscriber.on(INFO, 5).await[4]);
    assert_eq!((&refused["error"], &refused["cmd"]), (&json!(true), &json!("switch")));
    assert!(refused["msg"].as_str().unwrap().contains("no relay"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_is_answered_by_every_meter_on_its_own_topic() {
    let site = Site::new(HOUSE);
    let mut stage = Stage::at(&site).await;
    let mut meter = stage.gateway.dial().await;
    for packet in [gem(603, 100), ecm(434, 100)] {
        meter.send(&bytes(&packet)).await;
    }
    stage.subscriber.packets("ecm1240-500434", 1).await;
    stage.sender.send("powermeter/cmd", r#"{"cmd":"info","id":9}"#, false).await;
    for (name, kind) in [("house", "gem"), ("ecm1240-500434", "ecm1240")] {
        let topic = format!("powermeter/{name}/state/info");
        let info = reply(&stage.subscriber.on(&topic, 1).await[0]);
        assert_eq!((&info["type"], &info["id"]), (&json!(kind), &json!(9)));
    }
    stage.sender.send("powermeter/cmd", "junk", false).await;
    let answer = reply(&stage.subscriber.on(INFO, 2).await[1]);
    assert!(answer["msg"].as_str().unwrap().contains("not JSON"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_answered_in_words() {
    let site = Site::new(HOUSE);
    let mut stage = Stage::at(&site).await;
    // Before its first packet.
    let info = stage.ask(r#"{"cmd":"info"}"#).await;
    assert_eq!((&info["error"], &info["online"]), (&json!(false), &json!(false)));
    assert_eq!((&info["name"], &info["last_seen"]), (&json!("house"), &Value::Null));
    let offline = stage.ask(r#"{"cmd":"getPower"}"#).await;
    assert_eq!(offline["msg"], "the meter is offline");

    let mut meter = stage.gateway.dial().await;
    feed(&mut meter, &stage.subscriber).await;
    let large = format!("{{\"cmd\":\"info\",\"x\":\"{}\"}}", "y".repeat(16 * 1024));
    let cases = [
        (r#"{"cmd":"info""#, "not JSON"),
        ("", "not JSON"),
        ("{}", "\"cmd\""),
        (r#"{"cmd":["info"],"id":3}"#, "\"cmd\""),
        (large.as_str(), "bytes"),
        (r#"{"cmd":"getPower","channel":"ch99"}"#, "ch99"),
    ];
    for (payload, words) in cases {
        let answer = stage.ask(payload).await;
        assert_eq!(answer["error"], true, "{answer}");
        assert!(answer["msg"].as_str().unwrap().contains(words), "{answer}");
    }
    let unknown = stage.ask(r#"{"cmd":"frobnicate","id":"x"}"#).await;
    assert_eq!((&unknown["cmd"], &unknown["id"]), (&json!("frobnicate"), &json!("x")));
    assert_eq!(unknown["error"], true);

    stage.sender.send("powermeter/nobody/cmd", r#"{"cmd":"info"}"#, false).await;
    let event = reply(&stage.subscriber.on(EVENT, 1).await[0]);
    assert_eq!((&event["kind"], &event["meter"]), (&json!("no_such_meter"), &json!("nobody")));
    assert!(stage.subscriber.payloads("powermeter/nobody/state/info").is_empty());

    // Whoever hears everything would hear what is no text.
    stage.subscriber = Subscriber::to(stage.gateway.broker(), INFO).await;
    stage.sender.send("powermeter/house/cmd", [0xFF, 0xFE], false).await;
    let answer = reply(&stage.subscriber.on(INFO, 1).await[0]);
    assert!(answer["msg"].as_str().unwrap().contains("UTF-8"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retained_commands_and_the_gateways_own_words_are_no_commands() {
    let site = Site::new(HOUSE);
    let mut stage = Stage::at(&site).await;
    stage.sender.send("powermeter/house/cmd", r#"{"cmd":"info","id":"kept"}"#, true).await;
    stage.sender.send("powermeter/cmd", r#"{"cmd":"info","id":"kept"}"#, true).await;
    for topic in [INFO, "powermeter/house/state/cmd", "powermeter/house/state/sample"] {
        stage.sender.send(topic, r#"{"cmd":"info","id":"echo"}"#, false).await;
    }
    // What was published there just now, and no reply to it.
    assert!(stage.subscriber.on(INFO, 1).await[0].contains("echo"));
    let answer = stage.ask(r#"{"cmd":"info","id":"real"}"#).await;
    assert_eq!(answer["id"], "real");
    assert_eq!(stage.subscriber.payloads(INFO).len(), 2);
    stage.gateway.stop().await;

    // After a restart the broker still has them.
    let mut stage = Stage::at(&site).await;
    assert_eq!(stage.subscriber.on("powermeter/cmd", 1).await.len(), 1);
    assert_eq!(stage.ask(r#"{"cmd":"info","id":"again"}"#).await["id"], "again");
    assert_eq!(stage.subscriber.payloads(INFO).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_commands_is_answered_and_holds_up_no_reading() {
    let site = Site::new(HOUSE);
    let stage = Stage::at(&site).await;
    let mut meter = stage.gateway.dial().await;
    feed(&mut meter, &stage.subscriber).await;
    let broker = stage.gateway.broker();
    let count = 2000;
    let mut flood = tokio::task::JoinSet::new();
    for client in 0..2 {
        flood.spawn(async move {
            let mut sender = Sender::new(broker, &format!("flood-{client}")).await;
            for id in 0..count / 2 {
                let command = json!({"cmd": "getPower", "id": id}).to_string();
                sender.send("powermeter/house/cmd", command, false).await;
            }
        });
    }
    for seconds in 102..152 {
        meter.send(&bytes(&gem_ch1(seconds, u64::from(seconds) * 3600, 0))).await;
        stage.subscriber.packets("house", seconds as usize - 99).await;
    }
    while let Some(ended) = within("the flood", flood.join_next()).await {
        ended.unwrap();
    }
    let replies = stage.subscriber.on(INFO, count).await;
    assert!(replies.iter().all(|text| reply(text)["error"] == false));
    assert_eq!(stage.gateway.metric("meterbridge_commands_total").await, count as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquittos_clients_ask_and_hear_the_answer() {
    let site = Site::new(HOUSE);
    let stage = Stage::at(&site).await;
    let mut meter = stage.gateway.dial().await;
    feed(&mut meter, &stage.subscriber).await;
    let broker = stage.gateway.broker();
    let (host, port) = (broker.ip().to_string(), broker.port().to_string());
    let mut child = Command::new("mosquitto_sub")
        .args(["-h", &host, "-p", &port, "-t", "powermeter/+/state/availability", "-t", INFO])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("mosquitto_sub is there: package mosquitto-clients");
    let heard = lines(child.stdout.take().unwrap());
    let _child = Kill(child);
    // The retained availability tells that it has subscribed.
    heard.until("online", |lines| lines.iter().any(|line| line == "online").then_some(())).await;
    let status = tokio::process::Command::new("mosquitto_pub")
        .args(["-h", &host, "-p", &port, "-t", "powermeter/house/cmd"])
        .args(["-m", r#"{"cmd":"getVoltage","id":7}"#])
        .status();
    assert!(within("mosquitto_pub", status).await.unwrap().success());
    heard
        .until("the voltage", |lines| {
            let wanted = r#"{"error":false,"cmd":"getVoltage","voltage":230.1,"unit":"V","#;
            lines.iter().any(|line| line.starts_with(wanted)).then_some(())
        })
        .await;
}
