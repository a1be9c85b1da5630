//! Connections that come and go, and readings of a meter that does not sample.

use serde_json::{Value, json};

use super::device::{Answer, Device, Script};
use super::{command, dialled, heard};
use crate::record::within;
use crate::support::Site;

const LISTEN: &str = "
  - name: mains
    kind: smartmeter
    serial_number: smartmeter001
    link: {listen: 127.0.0.1:0}
    poll: 1h
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_meter_is_asked_what_it_measures() {
    let device = Device::start(Script::of("dialog_smartmeter.jsonl")).await;
    let site = Site::new(&dialled("mains", device.address, "    poll: 1s\n"));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let sample = |messages: &[crate::subscriber::Message]| {
        let of_meter =
            |one: &&crate::subscriber::Message| one.topic == "powermeter/mains/state/sample";
        let mut samples = messages.iter().filter(of_meter);
        samples.find_map(|one| {
            let value: Value = serde_json::from_str(&one.payload).ok()?;
            (value.get("power").is_some() && value.get("volt").is_some()).then_some(value)
        })
    };
    let sample = subscriber.messages.until("a sample of the meter", sample).await;
    assert_eq!(sample["power"], 1113.28, "{sample}");
    assert_eq!(sample["current"], 5.07, "{sample}");
    assert_eq!(sample["volt"], 230.27, "{sample}");
    assert_eq!(sample["energy"], 19.760011, "{sample}");
    let power = command(gateway.web(), "mains", &json!({"cmd": "getPower"})).await;
    assert_eq!(power["channels"]["l1"], 900.287, "{power}");
    // Its own words and the gateway's are one answer.
    let info = heard(gateway.web(), "mains").await;
    assert_eq!(info["serial"], "smartmeter001");
    assert_eq!((&info["name"], &info["version"]), (&json!("mains"), &json!("2.2")));
    assert_eq!(info["state"], "idle");
    assert!(!device.lines.all().iter().any(|line| line.contains("getEnergy")));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_restarts_is_found_again() {
    let device = Device::start(Script::of("dialog_restart.jsonl")).await;
    let site = Site::new(&dialled("plug", device.address, "    poll: 1h\n"));
    let gateway = site.start().await;
    heard(gateway.web(), "plug").await;
    let reply = command(gateway.web(), "plug", &json!({"cmd": "restart"})).await;
    assert_eq!(reply["error"], false, "{reply}");
    device.said("{\"cmd\":\"restart\"}", 1).await;
    device.said("{\"cmd\":\"getPower\"}", 2).await;
    heard(gateway.web(), "plug").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_cut_off_is_no_answer() {
    let angle = json!({"cmd": "getPhaseAngle"});
    let cut = Script::of("dialog_cut_mid_reply.jsonl").answers[r#"{"cmd":"getEnergy"}"#][0].clone();
    assert!(cut.closes);
    let whole = Answer::line(r#"{"error":false,"cmd":"getPhaseAngle","phase":[1,2,3]}"#);
    let mut script = Script::of("dialog_smartmeter.jsonl").with(&angle, whole);
    let answers = script.answers.get_mut(&angle.to_string()).unwrap();
    answers.insert(0, cut);
    let device = Device::start(script).await;
    let site = Site::new(&dialled("mains", device.address, "    poll: 1h\n"));
    let gateway = site.start().await;
    heard(gateway.web(), "mains").await;
    let (status, reply) = crate::api::post(gateway.web(), "mains", "", &angle.to_string()).await;
    assert_eq!((status, &reply["error"]), (503, &json!(true)), "{reply}");
    assert!(reply["msg"].as_str().unwrap().contains("may have obeyed"), "{reply}");
    heard(gateway.web(), "mains").await;
    let reply = command(gateway.web(), "mains", &angle).await;
    assert_eq!(reply["phase"], json!([1, 2, 3]), "{reply}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn meters_dial_the_stream_server_and_come_back() {
    let site = Site::new(LISTEN);
    let gateway = site.start().await;
    let port = gateway.addresses.meters[0];
    let first = Device::dialling(port, Script::of("dialog_smartmeter.jsonl"));
    let _plug = Device::dialling(port, Script::of("dialog_powermeter.jsonl"));
    assert_eq!(heard(gateway.web(), "mains").await["serial"], "smartmeter001");
    let plug = heard(gateway.web(), "powermeter-powermeter27").await;
    assert_eq!((&plug["adopted"], &plug["relay"]), (&json!(true), &json!(true)), "{plug}");
    // It comes again before anybody knows that its old connection is dead.
    first.said("{\"cmd\":\"getPower\"}", 1).await;
    let again = Device::dialling(port, Script::of("dialog_smartmeter.jsonl"));
    again.said("{\"cmd\":\"getPower\"}", 1).await;
    within("the end of the old connection", first.ended()).await;
    let reply = command(gateway.web(), "mains", &json!({"cmd": "getPhaseAngle"})).await;
    assert_eq!(reply["error"], false, "{reply}");
    again.said("{\"cmd\":\"getPhaseAngle\"}", 1).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relay_is_switched_once_and_told() {
    let device = Device::start(Script::of("dialog_powermeter.jsonl")).await;
    let site = Site::new(&dialled("plug", device.address, "    poll: 1h\n"));
    let gateway = site.start().await;
    heard(gateway.web(), "plug").await;
    let toggle = json!({"cmd": "switch", "payload": {"value": -1}});
    let reply = command(gateway.web(), "plug", &toggle).await;
    assert_eq!((&reply["error"], &reply["relay"]), (&json!(false), &json!(true)), "{reply}");
    let text = json!({"cmd": "switch", "payload": {"value": "true"}});
    let reply = command(gateway.web(), "plug", &text).await;
    assert_eq!(reply["error"], true, "{reply}");
    let switched = |line: &&String| line.contains("switch");
    assert_eq!(device.lines.all().iter().filter(switched).count(), 1);
    // What could cut it off is asked for twice.
    let reply = command(gateway.web(), "plug", &json!({"cmd": "factoryReset"})).await;
    assert!(reply["msg"].as_str().unwrap().contains("\"confirm\":true"), "{reply}");
    let reply = command(gateway.web(), "plug", &json!({"cmd": "nosuch"})).await;
    assert!(reply["msg"].as_str().unwrap().contains("publishInterval"), "{reply}");
    gateway.stop().await;
}
