//! `switchTS` of a plug that has a connection, where its firmware knows no such command.

use meterbridge::model::Timestamp;
use serde_json::json;

use super::device::{Answer, Device, Script};
use super::{command, dialled, heard};
use crate::commands::Sender;
use crate::support::Site;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_done_as_a_switch_and_never_late() {
    let off = json!({"cmd": "switch", "payload": {"value": 0}});
    let mut answer = Answer::line(r#"{"error":false,"cmd":"switch","msg":"Switching: "}"#);
    answer.pieces.push(b"Info:[I]03/02 16:04:02: Switched off\r\n".to_vec());
    let device = Device::start(Script::of("dialog_powermeter.jsonl").with(&off, answer)).await;
    let site = Site::new(&dialled("plug", device.address, "    poll: 1h\n"));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    heard(gateway.web(), "plug").await;
    subscriber.until("powermeter/plug/state/switch", "true").await;
    let now = Timestamp::now().seconds();
    let late = json!({"cmd": "switchTS", "payload": ["off", now - 100]});
    let reply = command(gateway.web(), "plug", &late).await;
    assert!(reply["msg"].as_str().unwrap().contains(" s old"), "{reply}");
    let topic = "powermeter/plug/switchTS";
    let mut sender = Sender::new(gateway.broker(), "sender").await;
    for ago in [100, 0] {
        let payload = format!(r#"["off",{}]"#, Timestamp::now().seconds() - ago);
        sender.send(topic, payload, true).await;
    }
    subscriber.until("powermeter/plug/state/switch", "false").await;
    subscriber.until(topic, "-").await;
    let switched = device.lines.all().into_iter().filter(|line| line.contains("switch"));
    assert_eq!(switched.collect::<Vec<_>>(), [off.to_string()]);
    gateway.stop().await;
}
