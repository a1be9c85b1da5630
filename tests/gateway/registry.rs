//! Requests over MQTT and HTTP, with their effect on topics, over restarts and a sudden end.

mod letting_in;
mod replacing;
mod restarting;
mod trouble;

use std::net::SocketAddr;

use meter_protocols::brultech::Packet;
use serde_json::{Value, json};

use crate::commands::Sender;
use crate::meters::{GEM, bytes, counter, device_id, gem_ch1, reading, sensor_id, watt_hours};
use crate::process::Process;
use crate::subscriber::{Message, Subscriber};
use crate::support::{HOUSE, Meter, Running, Site};

/// A client that hears everything and one that asks.
pub(crate) struct Stage {
    pub(crate) subscriber: Subscriber,
    sender: Sender,
}

impl Stage {
    pub(crate) async fn at(broker: SocketAddr) -> Self {
        let subscriber = Subscriber::new(broker).await;
        Self { subscriber, sender: Sender::new(broker, "asker").await }
    }

    /// Sends a request and returns its response.
    async fn ask(&mut self, what: &str, request: Value) -> Value {
        self.ask_text(what, &request.to_string()).await
    }

    async fn ask_text(&mut self, what: &str, request: &str) -> Value {
        let topic = format!("meterbridge/bridge/response/{what}");
        let before = self.subscriber.payloads(&topic).len();
        self.sender.send(&format!("meterbridge/bridge/request/{what}"), request, false).await;
        let response = self.subscriber.on(&topic, before + 1).await[before].clone();
        serde_json::from_str(&response).unwrap_or_else(|error| panic!("{error}: {response}"))
    }

    /// The same, which must succeed.
    pub(crate) async fn done(&mut self, what: &str, request: Value) -> Value {
        let response = self.ask(what, request).await;
        assert_eq!(response["status"], "ok", "{response}");
        assert_eq!(response.get("error"), None, "{response}");
        response["data"].clone()
    }

    /// The same, which must fail with these words.
    pub(crate) async fn refused(&mut self, what: &str, request: Value, words: &str) {
        let response = self.ask(what, request).await;
        assert_eq!((&response["status"], &response["data"]), (&json!("error"), &json!({})));
        let error = response["error"].as_str().unwrap();
        assert!(error.contains(words), "{words:?} in {error:?}");
    }

    /// Waits until the list of meters has one that fits.
    async fn listed(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.subscriber
            .messages
            .until(what, |all| {
                let mut lists = all.iter().filter(|one| one.topic == "meterbridge/bridge/devices");
                let last: Vec<Value> = serde_json::from_str(&lists.next_back()?.payload).ok()?;
                last.into_iter().find(|device| fits(device))
            })
            .await
    }

    /// Waits for an event of the registry.
    pub(crate) async fn told(&self, kind: &str, serial: &str) -> Value {
        self.subscriber
            .messages
            .until(&format!("the event {kind} of {serial}"), |all| {
                all.iter()
                    .filter(|message| message.topic == "meterbridge/bridge/event")
                    .filter_map(|message| serde_json::from_str::<Value>(&message.payload).ok())
                    .find(|event| {
                        event["type"] == "registry"
                            && event["kind"] == kind
                            && event["serial"] == serial
                    })
            })
            .await
    }

    /// The published values of a total so far.
    fn totals(&self, topic: &str) -> Vec<i64> {
        self.subscriber.payloads(topic).iter().map(|payload| reading(payload).1).collect()
    }
}

/// A gateway whose house is heard with this first packet.
async fn with_house(site: &Site, first: &Packet) -> (Running, Stage, Meter) {
    let gateway = site.start().await;
    let stage = Stage::at(gateway.broker()).await;
    let mut meter = gateway.dial().await;
    meter.send(&bytes(first)).await;
    stage.subscriber.packets("house", 1).await;
    (gateway, stage, meter)
}

/// What a client that comes now finds on a topic.
async fn retained(broker: SocketAddr, topic: &str) -> Option<String> {
    let subscriber = Subscriber::new(broker).await;
    // What is retained comes before what is published after the subscription.
    Sender::new(broker, "marker").await.send("test/marker", "", false).await;
    subscriber.on("test/marker", 1).await;
    let kept = |message: &Message| message.topic == topic && message.retain;
    subscriber.seen().into_iter().find(kept).map(|message| message.payload)
}

fn availability(name: &str) -> String {
    format!("powermeter/{name}/state/availability")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_is_renamed_while_its_packets_flow() {
    let site = Site::new(HOUSE);
    let packet = |n: u32| gem_ch1(100 + n, u64::from(n) * 3_600, 0);
    let (gateway, mut stage, mut meter) = with_house(&site, &packet(0)).await;

    // Fifty packets in one go, and the request somewhere among them.
    let burst: Vec<u8> = (1..=50).flat_map(|n| bytes(&packet(n))).collect();
    let rename = json!({"from": "house", "to": "main", "transaction": [7, "a"]});
    let (_, response) = tokio::join!(meter.send(&burst), stage.ask("rename", rename));
    assert_eq!(response["status"], "ok", "{response}");
    assert_eq!(response["transaction"], json!([7, "a"]));
    let data = &response["data"];
    let told = (&data["from"], &data["to"], &data["serial"], &data["id"]);
    let id = device_id(GEM);
    assert_eq!(told, (&json!("house"), &json!("main"), &json!(GEM), &json!(id)));

    meter.send(&bytes(&packet(51))).await;
    let total = counter(GEM, "ch1", "pplus");
    stage.subscriber.on(&total, 52).await;
    let expected: Vec<i64> = (0..=51).map(|n| watt_hours(n * 3_600)).collect();
    assert_eq!(stage.totals(&total), expected, "no reading is lost, and ids are the same");
    stage.subscriber.until(&availability("main"), "online").await;
    stage.told("renamed", GEM).await;
    let device = stage.listed("the new name", |device| device["name"] == "main").await;
    assert_eq!((&device["id"], &device["online"]), (&json!(id), &json!(true)));
    assert_eq!((&device["adopted"], &device["new"]), (&json!(false), &json!(false)));
    let names = ["house", "main"];
    let channels = names
        .map(|name| stage.subscriber.payloads(&format!("powermeter/{name}/state/channels")).len());
    assert_eq!(channels.iter().sum::<usize>(), 52);
    assert_eq!(retained(gateway.broker(), &availability("house")).await, None);
    assert_eq!(retained(gateway.broker(), &availability("main")).await.as_deref(), Some("online"));

    // Commands follow the name.
    let mut ask = async |name: &str| {
        stage.sender.send(&format!("powermeter/{name}/cmd"), r#"{"cmd":"info"}"#, false).await;
    };
    ask("house").await;
    ask("main").await;
    stage.subscriber.on("powermeter/main/state/info", 1).await;
    assert!(stage.subscriber.payloads("powermeter/house/state/info").is_empty());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_outlives_a_restart_and_a_sudden_end_until_the_file_is_edited() {
    let site = Site::new(HOUSE);
    let process = Process::run(&site, &["run"]).await;
    let mut stage = Stage::at(process.broker).await;
    process.dial().await.send(&bytes(&gem_ch1(100, 36_000, 0))).await;
    stage.subscriber.packets("house", 1).await;
    stage.done("rename", json!({"from": GEM, "to": "main"})).await;
    // The answer says that the name is kept. What was retained under the old one goes right behind it, and
    // is on disk when something later is.
    stage.subscriber.until(&availability("house"), "").await;
    Sender::new(process.broker, "marker").await.send("test/later", "x", true).await;
    process.kill().await;

    for (n, name) in [(1, "main"), (2, "main")] {
        let gateway = site.start().await;
        let subscriber = gateway.subscriber().await;
        gateway.dial().await.send(&bytes(&gem_ch1(100 + n, 36_000, 0))).await;
        subscriber.packets(name, 1).await;
        assert_eq!(retained(gateway.broker(), &availability("house")).await, None);
        gateway.stop().await;
    }
    // The entry has no serial number: it is the meter's by the name it had.
    site.configure(&HOUSE.replace("house", "home"));
    let gateway = site.start().await;
    let stage = Stage::at(gateway.broker()).await;
    gateway.dial().await.send(&bytes(&gem_ch1(110, 36_000, 0))).await;
    stage.subscriber.packets("home", 1).await;
    let event = stage.told("overruled", GEM).await;
    assert!(event["message"].as_str().unwrap().contains("was edited after"), "{event}");
    stage.subscriber.until(&availability("main"), "").await;
    assert_eq!(retained(gateway.broker(), &availability("main")).await, None);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_are_configured_while_the_meter_runs_and_totals_go_on() {
    let site = Site::new(HOUSE);
    let (gateway, mut stage, mut meter) = with_house(&site, &gem_ch1(100, 36_000, 7_200)).await;

    let asked = json!({"meter": "house", "channels": {
        "ch1": {"name": "Mains", "role": "grid"},
        "ch2": {"multiplier": 2},
        "pulse1": {"name": "Gas", "type": "gas", "constant": 10},
    }});
    let data = stage.done("configure", asked).await;
    assert_eq!(data["channels"]["ch1"]["name"], "Mains", "{data}");
    stage.told("configured", GEM).await;
    // Before the next packet: who looks for the meter's documents finds them.
    let flx = format!("/device/{}/config/flx", device_id(GEM));
    let named = |text: &String| text.contains("\"name\":\"Mains\"");
    stage
        .subscriber
        .messages
        .until("the document", |all| {
            all.iter().any(|one| one.topic == flx && named(&one.payload)).then_some(())
        })
        .await;
    let document = stage.subscriber.last(&format!("/device/{}/config/sensor", device_id(GEM)));
    assert!(document.unwrap().contains(&sensor_id(GEM, "ch1", "pminus")));

    let mut packet = gem_ch1(110, 46_000, 10_200);
    packet.absolute_watt_seconds[1] = 3_600;
    packet.pulses[0] = 3;
    meter.send(&bytes(&packet)).await;
    stage.subscriber.packets("house", 2).await;
    // 10 kJ, 3 kJ of it back.
    let taken = counter(GEM, "ch1", "pplus");
    assert_eq!(stage.totals(&taken), [36_000, 43_000].map(watt_hours));
    assert_eq!(stage.totals(&counter(GEM, "ch1", "pminus")), [watt_hours(10_200)]);
    assert_eq!(stage.totals(&counter(GEM, "ch2", "pplus")), [0, 2_000]);
    assert_eq!(
        stage
            .subscriber
            .last(&counter(GEM, "pulse1", "pulse"))
            .map(|payload| reading(&payload).2)
            .as_deref(),
        Some("L")
    );

    gateway.stop().await;
    // The file has another role by now; everything else that was asked for stays.
    site.configure(&format!("{HOUSE}    channels: {{ch1: {{role: solar}}}}\n"));
    let gateway = site.start().await;
    let mut stage = Stage::at(gateway.broker()).await;
    gateway.dial().await.send(&bytes(&gem_ch1(120, 56_000, 10_200))).await;
    stage.subscriber.packets("house", 1).await;
    assert_eq!(stage.totals(&taken), [watt_hours(53_000)]);
    assert!(named(&stage.subscriber.last(&flx).unwrap()));
    // null: the file's again.
    let asked = json!({"meter": "house", "channels": {"ch1": {"name": null}}});
    let data = stage.done("configure", asked).await;
    assert_eq!(data["channels"]["ch1"]["name"], Value::Null);
    assert_eq!(data["channels"]["ch1"]["role"], "solar");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_requests_are_answered_in_words_and_change_nothing() {
    let meters = format!(
        "{HOUSE}    serial_number: \"{GEM}\"
  - name: shed
    kind: brultech
    link: {{listen: 127.0.0.1:0}}
"
    );
    let site = Site::new(&meters);
    let gateway = site.start().await;
    let mut stage = Stage::at(gateway.broker()).await;
    for (from, to, words) in [
        ("nobody", "main", "no meter has the name, serial number or id \"nobody\""),
        ("shed", "barn", "no meter was heard yet that belongs to the entry \"shed\""),
        ("house", "the house", "is not a name for a topic"),
        ("house", "", "is not a name for a topic"),
        ("house", "state", "is taken by the topic tree"),
        ("house", "shed", "\"shed\" is the name of an entry in the configuration"),
    ] {
        stage.refused("rename", json!({"from": from, "to": to}), words).await;
    }
    let configure =
        |channel: &str, value: Value| json!({"meter": "house", "channels": {channel: value}});
    for (channel, value, words) in [
        ("ch1", json!({"multiplier": 0}), "channels.ch1.multiplier: 0 is not a factor"),
        ("ch49", json!({"name": "x"}), "has no channel \"ch49\""),
        ("aux1", json!({"role": "grid"}), "aux1 counts one way only"),
        ("t1", json!({"multiplier": 2}), "t1 has no clamp"),
        ("ch1", json!({"constant": 2}), "counts no pulses"),
        ("ch1", json!({"rol": "grid"}), "unknown field `rol`"),
        ("ch1", json!({"role": "sun"}), "unknown variant `sun`"),
    ] {
        stage.refused("configure", configure(channel, value), words).await;
    }
    stage.refused("remove", json!({"meter": "house"}), "take it out there").await;
    stage.refused("adopt", json!({"serial": "1"}), "is not a serial number").await;
    stage
        .refused("replace", json!({"meter": "house", "serial": GEM}), "is that meter already")
        .await;
    stage.refused("permit", json!({"value": 1}), "expected a boolean").await;
    stage.refused("fly", json!({}), "unknown request \"fly\"").await;
    let bad = stage.ask_text("rename", "{\"from\":").await;
    assert!(bad["error"].as_str().unwrap().contains("not JSON"), "{bad}");
    let bad = stage.ask_text("rename", r#"{"transaction":"x"}"#).await;
    assert_eq!((&bad["status"], &bad["transaction"]), (&json!("error"), &json!("x")));
    // Retained ones are not looked at; the one after it is.
    let rename = r#"{"from":"house","to":"kept"}"#;
    stage.sender.send("meterbridge/bridge/request/rename", rename, true).await;
    let data = stage.done("devices", json!({})).await;
    assert_eq!((&data["meters"], &data["permit"]), (&json!([]), &json!(true)));
    gateway.dial().await.send(&bytes(&gem_ch1(100, 36_000, 0))).await;
    stage.subscriber.packets("house", 1).await;
    let health = stage.done("health", json!({})).await;
    assert_eq!(health["meters"]["online"], 1, "{health}");
    gateway.stop().await;
}

/// A meter of its own behind the first port.
async fn hear(gateway: &Running, packet: &Packet) {
    gateway.dial().await.send(&bytes(packet)).await;
}
