//! Samples that come as messages: an entry has the meter begin, and seconds become readings.

use serde_json::{Value, json};

use super::device::{Device, Kind};
use crate::support::Site;

const MAINS: &str = "
  - name: mains
    kind: smartmeter
    serial_number: smartmeter001
    link: {mqtt: embedded}
    stream: {over: mqtt, rate: 10, measures: \"p,q\"}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_messages_is_begun_read_and_ended() {
    let site = Site::new(MAINS);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let device = Device::start(gateway.broker(), "smartmeter001", Kind::Smart).await;
    device.measure(5.0, 1.0).await;
    let begun = |all: &[(String, String)]| {
        let (_, text) = all.iter().find(|one| one.1.contains("\"sample\""))?;
        serde_json::from_str::<Value>(text).ok()
    };
    let command = device.obeyed.until("to be told to sample", begun).await;
    assert_eq!(command["payload"]["type"], "MQTT", "{command}");
    assert_eq!(
        (&command["payload"]["rate"], &command["payload"]["measures"]),
        (&10.into(), &"p,q".into())
    );
    device.say("state/sample", "on").await;
    let start = meterbridge::model::Timestamp::now().0 as f64 / 1000.0;
    for n in 0..40 {
        let ts = format!("{:.3}", start + f64::from(n) / 10.0);
        let values = [900.5, 199.25, -13.75, 191.0, -92.0, 23.0];
        let sample = json!({"unit": "W,W,W,VAR,VAR,VAR", "ts": ts, "values": values});
        device.say("state/info", &sample.to_string()).await;
    }
    let is_it = |one: &&crate::subscriber::Message| {
        let is_state = one.topic == "powermeter/mains/state/channels";
        let value: Option<Value> =
            is_state.then(|| serde_json::from_str(&one.payload).ok()).flatten();
        value.is_some_and(|value| {
            value["line"]["power"] == 1086.0
                && value["l3"]["power"] == -13.75
                && value["l2"]["reactive"] == -92.0
        })
    };
    subscriber.messages.until("its powers", |all| all.iter().find(is_it).map(|_| ())).await;
    gateway.stop().await;
}
