//! Every command of the recorded dialogs through the gateway, and what comes of it.

use serde_json::{Value, json};

use super::device::{Device, Script};
use super::{command, dialled, heard};
use crate::support::Site;

/// What the gateway answers by itself, or refuses before anything goes out.
const OWN: [&str; 6] = ["info", "getPower", "getVoltage", "getCurrent", "getEnergy", "getPeriod"];

async fn every_command_of(dialog: &str, name: &str) {
    let script = Script::of(dialog);
    let device = Device::start(script.clone()).await;
    let site = Site::new(&dialled(name, device.address, "    poll: 1h\n"));
    let gateway = site.start().await;
    heard(gateway.web(), name).await;
    for (at, asked) in script.order.iter().enumerate() {
        let Some(cmd) = asked["cmd"].as_str().filter(|cmd| !OWN.contains(cmd)) else { continue };
        let mut body = asked.clone();
        if !cmd.starts_with("get") {
            body["confirm"] = true.into();
        }
        body["id"] = 7.into();
        let reply = command(gateway.web(), name, &body).await;
        assert_eq!((&reply["cmd"], &reply["id"]), (&json!(cmd), &json!(7)), "{asked}: {reply}");
        let sent = sent(&device, asked);
        // The same command twice is answered as it was then.
        let before = script.order[..at].iter().filter(|other| *other == asked).count();
        let recorded = script
            .answers
            .iter()
            .find(|(said, _)| serde_json::from_str::<Value>(said).is_ok_and(|one| one == *asked))
            .and_then(|(_, answers)| answers.get(before)?.reply());
        let refused = |reply: &Value| match cmd {
            "ntp" => reply["msg"] != "Time synced",
            "addWifi" => !reply["msg"].as_str().unwrap().starts_with("New Ap"),
            _ => reply["error"] == true,
        };
        // What the gateway knows to be wrong does not go out.
        let wrong = !sent || recorded.as_ref().is_none_or(refused);
        assert_eq!(reply["error"], wrong, "{asked}: {reply}");
        assert!(!reply.to_string().contains("TestPwd"), "{reply}");
        if wrong {
            assert!(
                reply["msg"].as_str().is_some_and(|words| !words.is_empty()),
                "{asked}: {reply}"
            );
        }
        for (key, value) in recorded.as_ref().and_then(Value::as_object).into_iter().flatten() {
            let same = ["error", "cmd", "msg", "pwd", "ssids"].contains(&key.as_str()) || wrong;
            assert!(same || reply[key] == *value, "{key} of {asked}: {reply}");
        }
    }
    gateway.stop().await;
}

/// Whether the command itself reached the device, `true` as 1 where that is the same.
fn sent(device: &Device, asked: &Value) -> bool {
    let same = |line: &str| {
        let Ok(mut line) = serde_json::from_str::<Value>(line) else { return false };
        if asked["cmd"] == "switch" && asked["payload"]["value"] == true {
            line["payload"]["value"] = (line["payload"]["value"] == 1).into();
        }
        line == *asked
    };
    device.lines.all().iter().any(|line| same(line))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_smartmeter_is_asked_everything() {
    every_command_of("dialog_smartmeter.jsonl", "mains").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_powermeter_is_asked_everything() {
    every_command_of("dialog_powermeter.jsonl", "plug").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_lines_and_small_pieces_make_no_difference() {
    every_command_of("dialog_noisy.jsonl", "mains").await;
}
