//! The replies to the commands of every meter, key by key in their order.

use serde_json::Value;

use super::{Stage, reply};
use crate::meters::{bytes, ecm, gem_ch1};
use crate::support::{HOUSE, Site};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_common_reply_has_its_keys_in_their_order() {
    let site = Site::new(&format!("{HOUSE}    channels: {{ch1: {{role: grid}}}}\n"));
    let mut stage = Stage::at(&site).await;
    let mut meter = stage.gateway.dial().await;
    for seconds in [100, 101] {
        meter.send(&bytes(&gem_ch1(seconds, u64::from(seconds) * 3600, 7200))).await;
        meter.send(&bytes(&ecm(434, seconds))).await;
    }
    stage.subscriber.packets("house", 2).await;
    stage.subscriber.packets("ecm1240-500434", 2).await;
    let who = "type name serial make model device adopted online last_seen channels";
    let power = "activePower channels unit ts";
    let energy = "energy channels energyExport channelsExport unit ts startTs";
    for (meter, command, keys) in [
        ("house", r#"{"cmd":"info"}"#, who),
        ("house", r#"{"cmd":"getPower"}"#, power),
        ("house", r#"{"cmd":"getPower","channel":1}"#, "activePower channel unit ts"),
        ("house", r#"{"cmd":"getVoltage"}"#, "voltage unit ts"),
        ("house", r#"{"cmd":"getCurrent"}"#, "current channels unit ts"),
        ("house", r#"{"cmd":"getEnergy"}"#, energy),
        (
            "house",
            r#"{"cmd":"getEnergy","channel":"ch1"}"#,
            "energy channel energyExport unit ts startTs",
        ),
        ("house", r#"{"cmd":"getPeriod"}"#, "msg"),
        ("house", r#"{"cmd":"getPhaseAngle"}"#, "msg"),
        ("ecm1240-500434", r#"{"cmd":"info"}"#, who),
        ("ecm1240-500434", r#"{"cmd":"getPower"}"#, power),
        ("ecm1240-500434", r#"{"cmd":"getVoltage"}"#, "voltage unit ts"),
        ("ecm1240-500434", r#"{"cmd":"getCurrent"}"#, "current channels unit ts"),
        ("ecm1240-500434", r#"{"cmd":"getEnergy"}"#, "energy channels unit ts startTs"),
        (
            "ecm1240-500434",
            r#"{"cmd":"getEnergy","channel":"aux5"}"#,
            "energy channel unit ts startTs",
        ),
        ("ecm1240-500434", r#"{"cmd":"getPeriod"}"#, "msg"),
    ] {
        let said = stage.ask_of(meter, command).await;
        let said_keys: Vec<&str> = said.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(said_keys.join(" "), format!("error cmd {keys}"), "{command} {said}");
        assert_eq!(said["error"], keys == "msg");
        for (key, unit) in
            [("activePower", "W/var/VA"), ("voltage", "V"), ("current", "mA"), ("energy", "Wh")]
        {
            if let Some(value) = said.get(key) {
                assert!(value.is_number() && said["unit"] == unit, "{said}");
                assert!(said["ts"].as_i64().unwrap() > 1_700_000_000, "{said}");
            }
        }
    }
    let kilowatt_hours: Value = reply(&stage.sampled("e").await);
    assert_eq!(kilowatt_hours["value"], "0.10", "{kilowatt_hours}");
    let all: Vec<&String> = kilowatt_hours.as_object().unwrap().keys().collect();
    assert_eq!(all, ["value", "unit", "ts"]);
    assert_eq!((&kilowatt_hours["unit"], kilowatt_hours["ts"].is_string()), (&"kWh".into(), true));
}
