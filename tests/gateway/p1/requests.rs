//! Requests of meters of two makes: each goes to whom it concerns, and names are unique among all.

use serde_json::json;

use super::{SERIAL, house};
use crate::meters::{bytes, gem_ch1};
use crate::registry::Stage;
use crate::support::{Meter, Site, free_port};

/// One meter of each make, each on a port of its own.
fn both() -> String {
    format!(
        "
  - name: house
    kind: brultech
    link: {{listen: 127.0.0.1:0}}
  - name: grid
    kind: p1
    serial_number: none-such
    link: {{listen: 127.0.0.1:{}}}
",
        free_port()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_goes_to_the_make_of_its_meter() {
    let site = Site::new(&both());
    let gateway = site.start().await;
    let mut stage = Stage::at(gateway.broker()).await;
    Meter::dial(gateway.addresses.meters[0]).await.send(&bytes(&gem_ch1(100, 36_000, 0))).await;
    stage.subscriber.packets("house", 1).await;
    stage.done("permit", json!({"value": false})).await;
    let mut port = Meter::dial(gateway.addresses.meters[1]).await;
    port.send(&house(71_250, &[])).await;
    stage.told("blocked", SERIAL).await;
    let data = stage.done("devices", json!({})).await;
    assert_eq!(data["not_let_in"][0]["serial"], SERIAL, "{data}");
    assert_eq!(data["not_let_in"][0]["make"], "p1", "{data}");

    stage.done("adopt", json!({"serial": SERIAL, "name": "meter"})).await;
    port.send(&house(71_260, &[])).await;
    stage.subscriber.packets("meter", 1).await;
    for taken in ["house", "grid"] {
        stage.refused("rename", json!({"from": "meter", "to": taken}), "unique").await;
    }
    stage.refused("rename", json!({"from": "nobody", "to": "x"}), "nobody").await;
    stage.done("rename", json!({"from": "meter", "to": "cellar"})).await;
    let channels = json!({"line": {"name": "Mains"}, "pulse1": {"name": "Gas"}});
    stage.done("configure", json!({"meter": "cellar", "channels": channels})).await;
    stage
        .refused(
            "configure",
            json!({"meter": "cellar", "channels": {"ch1": {"name": "x"}}}),
            "has no channel",
        )
        .await;
    port.send(&house(71_270, &[])).await;
    stage.subscriber.packets("cellar", 1).await;
    stage.done("remove", json!({"meter": "cellar"})).await;
    stage.done("rename", json!({"from": "house", "to": "cellar"})).await;
    gateway.stop().await;
}
