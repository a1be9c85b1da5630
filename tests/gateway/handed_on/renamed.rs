//! An entry without serial number keeps its meter, and with it relay and recorder, whatever name the meter
//! was given since.

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::Simulated;
use crate::api::post;
use crate::commands::Sender;
use crate::record::within;
use crate::support::{Running, Site};

/// The answer to a command, once the meter can be reached.
async fn command(gateway: &Running, body: Value) -> Value {
    within("the meter", async {
        loop {
            let (status, reply) = post(gateway.web(), "house", "", &body.to_string()).await;
            if status != 503 {
                return reply;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_recorded_and_relayed_stays_with_its_meter() {
    let meter = Simulated::start().await;
    let site = Site::new(&format!(
        "\n  - name: mains\n    kind: smartmeter\n    link: {{connect: {}}}\n    stream: {{rate: 2000, start: command, \
         relay: 127.0.0.1:0, record: {{start: command, keep_free: 0}}}}\n",
        meter.address
    ));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    subscriber.until("powermeter/mains/state/availability", "online").await;
    let mut sender = Sender::new(gateway.broker(), "sender").await;
    let rename = json!({"from": "mains", "to": "house"}).to_string();
    sender.send("meterbridge/bridge/request/rename", rename, false).await;
    subscriber.until("powermeter/house/state/availability", "online").await;
    // Nothing has been sampled yet.
    let state = command(&gateway, json!({"cmd": "record"})).await;
    assert_eq!((&state["error"], &state["recording"]), (&json!(false), &json!(false)), "{state}");
    gateway.stop().await;

    let gateway = site.start().await;
    let mut reader = TcpStream::connect(gateway.addresses.relays[0]).await.unwrap();
    let on = command(&gateway, json!({"cmd": "record", "payload": {"on": true}})).await;
    assert_eq!((&on["error"], &on["recording"]), (&json!(false), &json!(true)), "{on}");
    let sample = json!({"cmd": "sample", "payload": {"type": "TCP", "rate": 2000}});
    let sampled = command(&gateway, sample).await;
    assert_eq!(sampled["error"], false, "{sampled}");
    let mut frames = [0; 24 * 2000];
    within("samples", reader.read_exact(&mut frames)).await.unwrap();
    within("a recording", async {
        loop {
            let state = command(&gateway, json!({"cmd": "record"})).await;
            if state["frames"].as_u64().is_some_and(|frames| frames > 1000) {
                return;
            }
        }
    })
    .await;
    gateway.stop().await;
}
