//! Each line of a recorded dialog, said to a simulated meter: the replies have the same keys in the
//! same order, and the same values where these are not measured or times.

use meterbridge::simulator::{SmartKind, SmartManners};
use serde_json::{Map, Value};

use crate::client::{Client, Said, listening};

/// Keys whose values are measured, times, or of this machine.
const OWN: [&str; 19] = [
    "sys_time",
    "ip",
    "energy",
    "MAC",
    "activePower",
    "reactivePower",
    "apparentPower",
    "current",
    "startTs",
    "start",
    "days",
    "current_time",
    "sample_duration",
    "samples",
    "sent_samples",
    "start_ts",
    "stop_ts",
    "avg_rate",
    "phase",
];

fn recorded(name: &str) -> Vec<(bool, String)> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/protocols/tests/captures/smartmeter");
    let text = std::fs::read_to_string(format!("{directory}/{name}.jsonl")).unwrap();
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        Some((line["dir"] == "host", line["bytes"].as_str()?.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// What both sides have to agree on, of one JSON line.
fn essence(text: &str) -> Result<Vec<(String, Value)>, String> {
    let Ok(object) = serde_json::from_str::<Map<String, Value>>(text) else {
        return Err(text.chars().filter(|letter| !letter.is_ascii_digit()).collect());
    };
    let own = |(key, value): (String, Value)| {
        let value = match value {
            _ if OWN.contains(&key.as_str()) => Value::Null,
            Value::String(text) if text.contains("LOGFile") => {
                text.chars().filter(|letter| !letter.is_ascii_digit()).collect::<String>().into()
            }
            // The time of a reset, and the address of a meter that is busy.
            Value::String(text) if text.contains('@') => text.split('@').next().into(),
            Value::String(text) if text.starts_with("Device with IP") => "busy".into(),
            value => value,
        };
        (key, value)
    };
    Ok(object.into_iter().map(own).collect())
}

/// The lines of text that stand in recorded bytes, without log lines and data.
fn lines(bytes: &str) -> Vec<String> {
    let lines = bytes.split("\r\n").filter_map(|line| line.strip_prefix("Info:"));
    lines.filter(|line| !line.starts_with('[')).map(str::to_owned).collect()
}

async fn said(client: &mut Client) -> String {
    loop {
        match client.next().await {
            Said::Json(text) | Said::Text(text) => return text,
            Said::Log(..) | Said::Data(..) => {}
            Said::Closed => panic!("closed"),
        }
    }
}

async fn compare(kind: SmartKind, name: &str, meter: &str) {
    let running = listening(kind, SmartManners::default()).await;
    running.meter().change(|device| {
        device.name = meter.to_owned();
        device.manners.store = std::time::Duration::from_secs(3600);
    });
    let mut client = running.client().await;
    let mut pieces = String::new();
    for (from_host, bytes) in recorded(name) {
        if from_host {
            client.send(bytes.trim_end()).await;
            continue;
        }
        // A log is written in pieces.
        pieces.push_str(&bytes);
        if !pieces.ends_with("\r\n") {
            continue;
        }
        for line in lines(&std::mem::take(&mut pieces)) {
            let mine = said(&mut client).await;
            assert_eq!(essence(&mine), essence(&line), "\nmine  {mine}\ntheirs {line}");
        }
    }
}

#[tokio::test]
async fn a_smartmeter_answers_as_recorded() {
    compare(SmartKind::SmartMeter, "dialog_smartmeter", "smartmeter001").await;
}

#[tokio::test]
async fn a_powermeter_answers_as_recorded() {
    compare(SmartKind::PowerMeter, "dialog_powermeter", "powermeter27").await;
}

#[tokio::test]
async fn a_stream_is_talked_about_as_recorded() {
    let running = listening(SmartKind::SmartMeter, SmartManners::default()).await;
    let mut client = running.client().await;
    for (from_host, bytes) in recorded("dialog_sampling") {
        if from_host {
            client.send(bytes.trim_end()).await;
            continue;
        }
        for line in lines(&bytes) {
            let mine = said(&mut client).await;
            assert_eq!(essence(&mine), essence(&line), "\nmine  {mine}\ntheirs {line}");
        }
    }
}

#[tokio::test]
async fn what_is_no_command_is_told_in_the_log_alone() {
    let running = listening(SmartKind::PowerMeter, SmartManners::default()).await;
    let mut client = running.client().await;
    client.reply().await;
    client.send("{bad json").await;
    client.send("!").await;
    client.send("?").await;
    let mut heard = Vec::new();
    loop {
        match client.next().await {
            Said::Log('I', text) if text.is_empty() || text.starts_with("Client with IP") => {}
            said @ Said::Text(_) => {
                heard.push(said);
                break;
            }
            said => heard.push(said),
        }
    }
    let failed = Said::Log('E', "deserializeJson() failed: _bad json_".to_owned());
    assert_eq!(heard, [failed, Said::Text("Setup done".to_owned())]);
}
