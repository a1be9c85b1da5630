//! `meterbridge demo` in front of Home Assistant.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::assistant::Assistant;
use crate::process::{Process, program};
use crate::subscriber::Message;
use crate::support::{Site, free_port};

/// The gateway, and a meter of each family.
const DEVICES: usize = 1 + 6;

async fn demo(site: &Site, broker: u16) -> Process {
    let listen = format!("broker.listen=127.0.0.1:{broker}");
    let data = format!("data_dir={}", site.path().join("data").display());
    let arguments = ["demo", "--set", &listen, "--set", "web.listen=127.0.0.1:0", "--set", &data];
    Process::start(program(site, &arguments)).await
}

#[tokio::test]
async fn every_message_passes_every_template_gives_a_number_and_all_is_well_after_a_kill() {
    let (site, port) = (Site::bare(), free_port());
    let gateway = demo(&site, port).await;
    let assistant = Assistant::connect(gateway.broker).await;
    let first = assistant.all_well(DEVICES).await;
    assert!(first.entities.contains_key("meterbridge_bridge_packets"));
    // 32 clamps with power, energy and current, two of them both ways.
    for (end, least) in [("_power", 32), ("_energy", 32), ("_energy_export", 2), ("_current", 32)] {
        let found = first.numbers.keys().filter(|id| id.ends_with(end)).count();
        assert!(found >= least, "{found} {end}");
    }
    let production = first.numbers.iter().find(|(id, _)| id.ends_with("ch2_power")).unwrap().1;
    assert!(*production >= 0.0, "what a panel gives is positive: {production}");

    gateway.kill().await;
    let gateway = demo(&site, port).await;
    let assistant = Assistant::connect(gateway.broker).await;
    let second = assistant.all_well(DEVICES).await;
    // Pulses and radio sensors that were heard for the first time may have come on top.
    let gone = first.entities.keys().find(|id| !second.entities.contains_key(*id));
    assert_eq!(gone, None);
    for (id, before) in first.numbers.iter().filter(|(id, _)| id.contains("_energy")) {
        assert!(second.numbers[id] >= before * 0.9, "{id} fell from {before}");
    }
}

#[tokio::test]
async fn each_power_speaks_often_and_a_birth_brings_everything_again() {
    let site = Site::bare();
    let gateway = demo(&site, free_port()).await;
    let assistant = Assistant::connect(gateway.broker).await;
    assistant.all_well(DEVICES).await;
    let channels = |all: &[Message]| {
        let is_it = |message: &&Message| message.topic == "powermeter/demo-gem/state/channels";
        let of = all.iter().filter(is_it);
        let seconds = of.map(|message| {
            let value: serde_json::Value = serde_json::from_str(&message.payload).unwrap();
            value["ts"].as_i64().unwrap()
        });
        let seconds: Vec<i64> = seconds.collect();
        (seconds.len() >= 5).then_some(seconds)
    };
    let seconds = assistant.messages.until("five packets", channels).await;
    assert!(seconds.windows(2).all(|pair| pair[1] - pair[0] <= 20), "{seconds:?}");

    let before = assistant.discovery().len();
    assistant.birth().await;
    let again = |all: &[Message]| {
        let topics =
            all.iter().map(|one| &one.topic).filter(|one| crate::assistant::is_discovery(one));
        let topics: Vec<&String> = topics.skip(before).collect();
        // A meter that has just measured something new is announced in between.
        let first = topics
            .iter()
            .position(|one| *one == "homeassistant/device/meterbridge_bridge/config")?;
        let after: BTreeSet<&&String> = topics[first..].iter().collect();
        (after.len() >= DEVICES).then_some(())
    };
    assistant.messages.until("everything again, the gateway first", again).await;
    assert!(crate::record::PATIENCE <= Duration::from_secs(60));
}
