//! From one form to the other and back: recorded as Home Assistant gets it, and replayed into the
//! rules.

use std::net::SocketAddr;

use crate::assistant::{Assistant, PREFIX};
use crate::meters::{bytes, gem_ch1};
use crate::mosquitto::Mosquitto;
use crate::rules::replay::{Event, Replay};
use crate::subscriber::Message;
use crate::support::{HOUSE, Running, Site};

fn configure(site: &Site, mosquitto: Option<u16>, form: &str) {
    let broker = match mosquitto {
        None => "{listen: 127.0.0.1:0}".to_owned(),
        Some(port) => format!("{{mode: external, external: {{url: \"mqtt://127.0.0.1:{port}\"}}}}"),
    };
    let text = format!(
        "data_dir: {:?}\nbroker: {broker}\nweb: {{listen: 127.0.0.1:0}}\n\
         homeassistant: {{discovery: {form}}}\nmeters:{HOUSE}",
        site.path().join("data")
    );
    std::fs::write(site.config_file(), text).unwrap();
}

async fn packets(gateway: &Running) -> crate::support::Meter {
    let mut meter = gateway.dial().await;
    meter.send(&bytes(&gem_ch1(100, 3_600_000, 0))).await;
    meter.send(&bytes(&gem_ch1(110, 3_610_000, 0))).await;
    meter
}

/// Waits until the last message on a topic fits.
async fn last(assistant: &Assistant, topic: &str, fits: impl Fn(&str) -> bool) {
    let last = |all: &[Message]| {
        let of = all.iter().rfind(|one| one.topic == topic);
        of.is_some_and(|one| fits(&one.payload)).then_some(())
    };
    assistant.messages.until(topic, last).await;
}

/// Waits until nothing is on the way any more.
async fn settled(assistant: &Assistant) {
    let settled = |text: &str| text.contains(r#""moving":0"#) && text.contains(r#""name":"house""#);
    last(assistant, "meterbridge/bridge/homeassistant", settled).await;
}

/// The broker elsewhere stays while the gateway starts again in another form; Home Assistant is
/// there all the time.
#[tokio::test]
async fn a_recorded_migration_breaks_no_rule() {
    let mosquitto = Mosquitto::start("").await;
    let broker = SocketAddr::from(([127, 0, 0, 1], mosquitto.port));
    let (site, mut replay) = (Site::bare(), Replay::new(PREFIX));
    let assistant = Assistant::connect(broker).await;
    let mut taken = 0;
    let mut follow = |replay: &mut Replay| {
        let events = assistant.discovery();
        replay.take_all(&events[taken..]);
        taken = events.len();
    };
    let mut before = None;
    for form in ["component", "device", "component", "device"] {
        configure(&site, Some(mosquitto.port), form);
        let gateway = site.start().await;
        let word = format!(r#""discovery":"{form}""#);
        last(&assistant, "meterbridge/bridge/homeassistant", |text| text.contains(&word)).await;
        // Connected by now: what is live is not kept for later.
        let _meter = packets(&gateway).await;
        assistant.all_well(2).await;
        follow(&mut replay);
        replay.take(&Event::Birth);
        assistant.birth().await;
        settled(&assistant).await;
        gateway.stop().await;
        follow(&mut replay);
        assert_eq!(replay.complaints(), [""; 0], "{form}");
        let entities = replay.entities();
        assert!(entities.len() > 30, "{entities:?}");
        let right = |topic: &String| topic.contains("/device/") == (form == "device");
        assert!(entities.values().all(right), "{form}: {entities:#?}");
        let ids: Vec<String> = entities.into_keys().collect();
        assert!(before.replace(ids.clone()).is_none_or(|before| before == ids), "{form}");
    }
}

/// Our own broker starts again in another form while Home Assistant is away, and it finds everything
/// in the order that it can move its entities by.
#[tokio::test]
async fn home_assistant_may_be_away_while_the_form_changes() {
    let (site, mut replay) = (Site::bare(), Replay::new(PREFIX));
    configure(&site, None, "component");
    let gateway = site.start().await;
    let assistant = Assistant::connect(gateway.broker()).await;
    let _meter = packets(&gateway).await;
    assistant.all_well(2).await;
    assistant.birth().await;
    replay.take_all(&assistant.discovery());
    gateway.stop().await;

    configure(&site, None, "device");
    // Twice: a second start, before anybody has seen the first, changes nothing.
    site.start().await.stop().await;
    let gateway = site.start().await;
    let assistant = Assistant::connect(gateway.broker()).await;
    let _meter = packets(&gateway).await;
    assistant.all_well(2).await;
    let found = assistant.discovery();
    replay.take_all(&found);
    let moving = |event: &&Event| matches!(event, Event::Published { payload, .. } if payload.contains("migrate"));
    assert!(found.iter().filter(moving).count() > 30, "the old topics wait for Home Assistant");
    replay.take(&Event::Birth);
    assistant.birth().await;
    settled(&assistant).await;
    replay.take_all(&assistant.discovery()[found.len()..]);
    assert_eq!(replay.complaints(), [""; 0]);
    assert!(replay.entities().values().all(|topic| topic.contains("/device/")));
}

#[tokio::test]
async fn none_takes_everything_back() {
    let site = Site::bare();
    configure(&site, None, "device");
    let gateway = site.start().await;
    let assistant = Assistant::connect(gateway.broker()).await;
    let _meter = packets(&gateway).await;
    assistant.all_well(2).await;
    gateway.stop().await;
    configure(&site, None, "none");
    let gateway = site.start().await;
    let assistant = Assistant::connect(gateway.broker()).await;
    let _meter = packets(&gateway).await;
    assistant.until("powermeter/house/state/channels", |_| true).await;
    assert_eq!(assistant.discovery(), []);
}
