//! The retained documents that describe a meter, held against the rules of the two Home Assistant
//! components that read them.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::meters::{
    Capture, ECM, ECM_CAPTURE, GEM, bytes, counter, device_id, gem_ch1, sensor_id,
};
use crate::subscriber::Subscriber;
use crate::support::{HOUSE, Site};

/// The documents of one device as they stand.
struct Documents {
    sensor: Map<String, Value>,
    flx: Map<String, Value>,
    kube: Map<String, Value>,
    tap: String,
}

impl Documents {
    fn of(subscriber: &Subscriber, serial: &str) -> Self {
        let device = device_id(serial);
        let last = |end: &str| {
            let topic = format!("/device/{device}/{end}");
            subscriber.last(&topic).unwrap_or_else(|| panic!("no {topic}"))
        };
        let object = |end: &str| -> Map<String, Value> {
            serde_json::from_str(&last(end)).unwrap_or_else(|error| panic!("{end}: {error}"))
        };
        Self {
            sensor: object("config/sensor"),
            flx: object("config/flx"),
            kube: object("config/kube"),
            tap: last("test/tap"),
        }
    }

    /// Every rule of both readers.
    fn check(&self) {
        for (key, section) in self.sensor.iter().chain(&self.flx).chain(&self.kube) {
            assert!(section.is_object(), "{key}: every top-level value is an object");
        }
        assert!(self.tap.lines().any(|line| line.starts_with("# serial: ")), "{}", self.tap);
        assert!(self.tap.lines().any(|line| line.starts_with("# firmware: ")), "{}", self.tap);
        let mut ids = HashSet::new();
        for (key, section) in &self.sensor {
            let enabled = section["enable"].as_i64();
            assert!(matches!(enabled, Some(0 | 1)), "{key}: enable is a number: {section}");
            let id = section["id"].as_str().expect("every section has an id");
            assert!(ids.insert(id.to_owned()), "{key}: the id {id} is there twice");
            let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            assert!(id.len() == 32 && id.bytes().all(hex), "{id}");
            if enabled == Some(1) {
                self.check_enabled(key, section);
            }
        }
        for (key, port) in self.flx.iter().filter(|(key, _)| *key != "main") {
            assert!(key.parse::<u16>().is_ok_and(|number| number > 0), "{key}");
            assert!(matches!(port["class"].as_str(), Some("ct" | "pulse" | "uart")), "{port}");
            assert!(port["enable"].is_i64(), "{port}");
        }
    }

    fn check_enabled(&self, key: &str, section: &Value) {
        let word = |name: &str| section[name].as_str();
        let data_type = word("data_type").expect("an enabled section has a data_type");
        assert!(section["rid"].is_i64(), "{key}: {section}");
        assert_ne!(word("class"), Some("kube"), "{key}: there are no radio nodes");
        let ports = section["port"].as_array().expect("port is a list");
        let port = ports.first().and_then(Value::as_i64).expect("of numbers, not empty");
        let named = &self.flx.get(&port.to_string()).expect("and the first is a port")["name"];
        assert!(named.as_str().is_some_and(|name| !name.is_empty()), "{key}: port {port}");
        let kind = word("type").expect("a type");
        let allowed = match (kind, word("subtype"), data_type) {
            ("electricity", Some(subtype), "counter") => {
                ["pplus", "pminus", "q1", "q2", "q3", "q4"].contains(&subtype)
            }
            ("electricity", Some(subtype), "gauge") => {
                ["vrms", "irms", "pf", "vthd", "ithd", "alpha"].contains(&subtype)
            }
            ("gas" | "water", None, "counter") => true,
            ("movement" | "proximity" | "vibration", None, "counter") => true,
            (kind, None, "gauge") => {
                ["temperature", "pressure", "battery", "light", "humidity", "error"].contains(&kind)
            }
            _ => false,
        };
        assert!(allowed, "{key}: a combination that stops the whole set-up: {section}");
    }

    /// The section of a sensor.
    fn section(&self, id: &str) -> &Value {
        let mut sections = self.sensor.values();
        sections.find(|section| section["id"] == id).unwrap_or_else(|| panic!("no sensor {id}"))
    }
}

const NAMED: &str = "
  - name: house
    kind: brultech
    link: {listen: 127.0.0.1:0}
    channels:
      ch1: {name: Mains, role: grid}
      ch2: {name: 'Dach \"Süd\"', role: solar}
      pulse1: {name: Gas, type: gas, constant: 10}
      pulse2: {name: Heat pump, type: electricity, constant: 0.5}
      pulse3: {name: Rain, type: water, constant: 1}
      t2: {name: Cellar}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documents_keep_every_rule_of_their_readers() {
    for meters in [HOUSE, NAMED] {
        let site = Site::new(meters);
        let gateway = site.start().await;
        let subscriber = gateway.subscriber().await;
        let mut meter = gateway.dial().await;
        meter.send(&Capture::load("BIN48-NET-TIME").bytes).await;
        meter.send(&Capture::load(ECM_CAPTURE).bytes).await;
        subscriber.packets("house", 1).await;
        subscriber.packets("ecm1240-500434", 1).await;
        for serial in [GEM, ECM] {
            Documents::of(&subscriber, serial).check();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_kinds_and_constants_stand_where_readers_look() {
    let site = Site::new(NAMED);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    gateway.dial().await.send(&Capture::load("BIN48-NET-TIME").bytes).await;
    subscriber.packets("house", 1).await;
    let documents = Documents::of(&subscriber, GEM);
    let port = |section: &Value| documents.flx[&section["port"][0].to_string()].clone();

    let mains = documents.section(&sensor_id(GEM, "ch1", "pplus"));
    assert_eq!(port(mains)["name"], "Mains");
    assert_eq!(documents.section(&sensor_id(GEM, "ch1", "pminus"))["subtype"], "pminus");
    assert_eq!(port(documents.section(&sensor_id(GEM, "ch2", "irms")))["name"], "Dach \"Süd\"");
    let gas = documents.section(&sensor_id(GEM, "pulse1", "pulse"));
    assert_eq!((&gas["type"], &gas["enable"]), (&"gas".into(), &1.into()));
    assert_eq!((&port(gas)["constant"], &port(gas)["class"]), (&10.into(), &"pulse".into()));
    let heat_pump = documents.section(&sensor_id(GEM, "pulse2", "pulse"));
    assert_eq!(heat_pump["subtype"], "pplus");
    assert_eq!(port(heat_pump)["constant"], 0.5);
    // Nobody said what pulse 4 counts: it is there, and not enabled.
    assert_eq!(documents.section(&sensor_id(GEM, "pulse4", "pulse"))["enable"], 0);
    let cellar = documents.section(&sensor_id(GEM, "t2", "temperature"));
    assert_eq!(port(cellar)["name"], "Cellar");
    assert!(documents.tap.contains("# serial: 01100603\n"), "{}", documents.tap);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_come_before_the_first_reading_and_stay_for_those_who_come_later() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let early = gateway.subscriber().await;
    gateway.dial().await.send(&Capture::load("BIN32-NET").bytes).await;
    early.packets("house", 1).await;
    let seen = early.seen();
    let first = seen.iter().position(|message| message.topic.starts_with("/sensor/")).unwrap();
    let device = device_id(GEM);
    let late = Subscriber::v5(gateway.broker(), "/device/+/#").await;
    for end in ["config/sensor", "config/flx", "config/kube", "test/tap"] {
        let topic = format!("/device/{device}/{end}");
        let place = seen.iter().position(|message| message.topic == topic);
        assert!(place.is_some_and(|place| place < first), "{end}: {place:?} {first}");
        late.on(&topic, 1).await;
    }
    assert!(late.seen().iter().all(|message| message.retain), "{:?}", late.seen());
    Documents::of(&late, GEM).check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_that_appears_later_is_described_before_its_first_reading() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut meter = gateway.dial().await;
    let mut packet = gem_ch1(100, 36_000, 0);
    meter.send(&bytes(&packet)).await;
    subscriber.packets("house", 1).await;
    let document = format!("/device/{}/config/sensor", device_id(GEM));
    let before = subscriber.payloads(&document);
    assert_eq!(before.len(), 1);
    let probe = sensor_id(GEM, "t6", "temperature");
    assert!(!before[0].contains(&probe));

    packet.seconds = 110;
    meter.send(&bytes(&packet)).await;
    subscriber.packets("house", 2).await;
    assert_eq!(subscriber.payloads(&document).len(), 1, "not published without need");

    (packet.seconds, packet.temperatures[5]) = (120, 41);
    meter.send(&bytes(&packet)).await;
    subscriber.packets("house", 3).await;
    Documents::of(&subscriber, GEM).check();
    assert_eq!(subscriber.payloads(&document).len(), 2);
    let seen = subscriber.seen();
    let described = seen.iter().rposition(|message| message.topic == document).unwrap();
    let read = seen.iter().position(|message| message.topic == format!("/sensor/{probe}/gauge"));
    assert!(read.is_some_and(|read| described < read), "{described} {read:?}");
    let totals = subscriber.payloads(&counter(GEM, "ch1", "pplus"));
    assert_eq!(totals.len(), 3, "the other sensors go on");

    // And it is still described after a restart, before the probe is heard again.
    gateway.stop().await;
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    (packet.seconds, packet.temperatures[5]) = (130, 0x0200);
    gateway.dial().await.send(&bytes(&packet)).await;
    subscriber.packets("house", 1).await;
    assert!(subscriber.last(&document).unwrap().contains(&probe));
    assert_eq!(subscriber.last(&format!("/sensor/{probe}/gauge")), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_describes_itself() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    subscriber.until("meterbridge/bridge/state", "online").await;
    let info = subscriber.on("meterbridge/bridge/info", 1).await;
    let info: Value = serde_json::from_str(&info[0]).unwrap();
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    gateway.dial().await.send(&Capture::load("BIN32-NET").bytes).await;
    let devices = subscriber
        .messages
        .until("the meter on the list", |all| {
            all.iter()
                .filter(|message| message.topic == "meterbridge/bridge/devices")
                .filter_map(|message| serde_json::from_str::<Value>(&message.payload).ok())
                .find(|devices| devices[0]["online"] == true)
        })
        .await;
    let device = &devices[0];
    assert_eq!(device["id"], device_id(GEM));
    assert_eq!((&device["name"], &device["serial"]), (&"house".into(), &GEM.into()));
    assert_eq!((&device["make"], &device["model"]), (&"brultech".into(), &"gem".into()));
    assert_eq!(device["adopted"], false);
}
