//! Deletions by the user, meters that come and go, brokers that are restarted.

use std::net::SocketAddr;

use serde_json::Value;

use crate::assistant::{Assistant, PREFIX, View};
use crate::meters::{GEM, bytes, device_id, gem_ch1};
use crate::mosquitto::Mosquitto;
use crate::process::{Kill, program};
use crate::subscriber::Message;
use crate::support::{HOUSE, Running, Site, free_port};

/// A gateway that has heard two packets of a meter.
async fn heard(site: &Site) -> (Running, crate::support::Meter) {
    let gateway = site.start().await;
    let mut meter = gateway.dial().await;
    meter.send(&bytes(&gem_ch1(100, 3_600_000, 0))).await;
    meter.send(&bytes(&gem_ch1(110, 3_610_000, 0))).await;
    (gateway, meter)
}

#[tokio::test]
async fn a_device_that_the_user_deleted_stays_away_until_it_is_offered_again() {
    let site = Site::new(HOUSE);
    let (gateway, mut meter) = heard(&site).await;
    let assistant = Assistant::connect(gateway.broker()).await;
    let topic = format!("{PREFIX}/device/{}/config", device_id(GEM));
    assistant.until(&topic, |payload| payload.contains("ch1_power")).await;

    // Home Assistant clears the topic of a device that its user deletes.
    assistant.publish(&topic, "", true).await;
    let overview = "meterbridge/bridge/homeassistant";
    assistant.until(overview, |text| text.contains(r#""deleted":[{"id""#)).await;
    let event = assistant.until("meterbridge/bridge/event", |text| text.contains("deleted")).await;
    assert!(event.contains("house was deleted in home assistant"), "{event}");

    let count = |all: &[Message], topic: &str| all.iter().filter(|one| one.topic == topic).count();
    let gone = count(&assistant.messages.all(), &topic);
    let bridge = format!("{PREFIX}/device/meterbridge_bridge/config");
    for _ in 0..2 {
        let births = count(&assistant.messages.all(), &bridge);
        assistant.birth().await;
        let again = |all: &[Message]| (count(all, &bridge) > births).then_some(());
        assistant.messages.until("the gateway again", again).await;
    }
    meter.send(&bytes(&gem_ch1(120, 3_620_000, 0))).await;
    assistant.until("powermeter/house/state/channels", |text| text.contains("1.005")).await;
    assert_eq!(count(&assistant.messages.all(), &topic), gone, "it stays away over births");
    gateway.stop().await;

    let (gateway, mut meter) = heard(&site).await;
    let assistant = Assistant::connect(gateway.broker()).await;
    meter.send(&bytes(&gem_ch1(120, 3_620_000, 0))).await;
    assistant.until("powermeter/house/state/channels", |_| true).await;
    assistant.until(overview, |text| text.contains(r#""deleted":[{"id""#)).await;
    assert_eq!(count(&assistant.messages.all(), &topic), 0, "and over a restart");

    let request = "meterbridge/bridge/request/announce";
    assistant.publish(request, r#"{"meter":"nobody","transaction":1}"#, false).await;
    let response = "meterbridge/bridge/response/announce";
    let refusal = assistant.until(response, |text| text.contains("nobody")).await;
    let refusal: Value = serde_json::from_str(&refusal).unwrap();
    assert_eq!((&refusal["status"], &refusal["transaction"]), (&"error".into(), &1.into()));
    assistant.publish(request, r#"{"meter":"house","transaction":"a"}"#, false).await;
    assistant.until(response, |text| text.contains(r#""status":"ok""#)).await;
    assistant.until(&topic, |payload| payload.contains("ch1_power")).await;
    assistant.until(overview, |text| text.contains(r#""deleted":[]"#)).await;
}

#[tokio::test]
async fn a_new_name_moves_the_topics_and_no_identity() {
    let site = Site::new(HOUSE);
    let (gateway, _meter) = heard(&site).await;
    let assistant = Assistant::connect(gateway.broker()).await;
    let topic = format!("{PREFIX}/device/{}/config", device_id(GEM));
    let before = assistant.until(&topic, |payload| payload.contains("ch1_power")).await;
    gateway.stop().await;
    site.configure(
        &HOUSE.replace("house", "cabin").replace("0}", "0}\n    channels: {ch1: {name: Oven}}"),
    );
    let (gateway, _meter) = heard(&site).await;
    let assistant = Assistant::connect(gateway.broker()).await;
    let after = assistant.until(&topic, |payload| payload.contains("powermeter/cabin/")).await;
    assert!(after.contains("Oven power") && !after.contains("powermeter/house/"), "{after}");
    let ids = |payload: &str| {
        let message = Message { topic: topic.clone(), payload: payload.to_owned(), retain: false };
        View::of(&[message]).entities.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(ids(&before), ids(&after));
}

#[tokio::test]
async fn requests_rename_a_meter_and_remove_another() {
    let site = Site::new(HOUSE);
    let (gateway, mut meter) = heard(&site).await;
    let assistant = Assistant::connect(gateway.broker()).await;
    let other = |n: u64| {
        let mut packet = gem_ch1(100 + 10 * n as u32, 3_600_000 + 9_000 * n, 0);
        packet.serial_number = 604;
        bytes(&packet)
    };
    meter.send(&other(0)).await;
    meter.send(&other(1)).await;
    let [house, adopted] =
        [GEM, "01100604"].map(|serial| format!("{PREFIX}/device/{}/config", device_id(serial)));
    assistant.until(&house, |payload| payload.contains("ch1_power")).await;
    assistant.until(&adopted, |payload| payload.contains("ch1_power")).await;

    let request = |what: &str| format!("meterbridge/bridge/request/{what}");
    assistant.publish(&request("rename"), r#"{"from":"house","to":"main"}"#, false).await;
    assistant.until(&house, |payload| payload.contains("powermeter/main/state/channels")).await;
    assistant.publish(&request("remove"), r#"{"meter":"gem-01100604"}"#, false).await;
    assistant.until(&adopted, str::is_empty).await;
    let overview = |text: &str| text.contains(r#""deleted":[]"#) && !text.contains("gem-01100604");
    let last = |all: &[Message]| {
        let of = all.iter().rfind(|one| one.topic == "meterbridge/bridge/homeassistant");
        of.is_some_and(|one| overview(&one.payload)).then_some(())
    };
    assistant.messages.until("nobody deleted it", last).await;
}

#[tokio::test]
async fn another_role_takes_one_entity_away_and_tells_it() {
    let role =
        |role: &str| HOUSE.replace("0}", &format!("0}}\n    channels: {{ch1: {{role: {role}}}}}"));
    let site = Site::new(&role("grid"));
    let (gateway, _meter) = heard(&site).await;
    let assistant = Assistant::connect(gateway.broker()).await;
    let topic = format!("{PREFIX}/device/{}/config", device_id(GEM));
    assistant
        .until(&topic, |payload| payload.contains("ch1_energy_export\":{\"p\":\"sensor\","))
        .await;
    gateway.stop().await;
    site.configure(&role("load"));
    let (gateway, _meter) = heard(&site).await;
    let assistant = Assistant::connect(gateway.broker()).await;
    let gone = r#""ch1_energy_export":{"p":"sensor"}"#;
    assistant.until(&topic, |payload| payload.contains(gone)).await;
    assistant.birth().await;
    let bridge = format!("{PREFIX}/device/meterbridge_bridge/config");
    let twice =
        |all: &[Message]| (all.iter().filter(|one| one.topic == bridge).count() >= 2).then_some(());
    assistant.messages.until("the gateway again", twice).await;
    gateway.stop().await;
    let (gateway, _meter) = heard(&site).await;
    let assistant = Assistant::connect(gateway.broker()).await;
    let after = assistant.until(&topic, |payload| payload.contains("ch1_energy\"")).await;
    assert!(!after.contains("ch1_energy_export"), "told once, then left out");
}

#[tokio::test]
async fn all_is_well_again_after_the_broker_or_the_meter_was_killed() {
    let mut mosquitto = Mosquitto::start("").await;
    let (site, port) = (Site::bare(), free_port());
    let text = format!(
        "data_dir: {:?}\nbroker: {{mode: external, external: {{url: \"mqtt://127.0.0.1:{}\"}}}}\n\
         web: {{listen: 127.0.0.1:0}}\nmeters:\n  - name: house\n    kind: brultech\n    \
         link: {{listen: 127.0.0.1:{port}}}\n    timeout: 3s\n",
        site.path().join("data"),
        mosquitto.port,
    );
    std::fs::write(site.config_file(), text).unwrap();
    let _gateway = site.start().await;
    let simulate = || {
        let address = format!("127.0.0.1:{port}");
        let arguments = ["simulate", "gem", "--connect", &address, "--interval", "1s"];
        let mut command = program(&site, &arguments);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        Kill(command.spawn().unwrap())
    };
    let meter = simulate();
    let broker = SocketAddr::from(([127, 0, 0, 1], mosquitto.port));
    let assistant = Assistant::connect(broker).await;
    let before = assistant.all_well(2).await;

    // Without a disk this broker forgets everything.
    mosquitto.stop();
    mosquitto.start_again().await;
    let assistant = Assistant::connect(broker).await;
    let after = assistant.all_well(2).await;
    assert!(before.entities.keys().eq(after.entities.keys()));

    drop(meter);
    assistant.until("powermeter/house/state/availability", |text| text == "offline").await;
    let _meter = simulate();
    let after = assistant.all_well(2).await;
    assert!(before.entities.keys().eq(after.entities.keys()));
}
