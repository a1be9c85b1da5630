//! Adopted meters: accepted, removed, blocked, and whether unknown ones are let in at all.

use serde_json::json;

use super::{Stage, availability, hear, retained, with_house};
use crate::meters::{bytes, device_id, gem};
use crate::support::{HOUSE, Site};

const SECOND: &str = "01100700";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adopted_meter_is_accepted_removed_and_blocked() {
    let site = Site::new(HOUSE);
    let (gateway, mut stage, _house) = with_house(&site, &gem(603, 100)).await;
    hear(&gateway, &gem(700, 100)).await;
    stage.told("adopted", SECOND).await;
    let found = stage.listed("a new meter", |device| device["serial"] == SECOND).await;
    assert_eq!((&found["adopted"], &found["new"]), (&json!(true), &json!(true)));

    let data = stage.done("adopt", json!({"serial": SECOND, "name": "cellar"})).await;
    assert_eq!(data["meter"], "cellar");
    let found = stage.listed("the accepted meter", |device| device["name"] == "cellar").await;
    assert_eq!((&found["adopted"], &found["new"]), (&json!(true), &json!(false)));
    gateway.stop().await;

    // It is remembered, and its document is retained until it is removed.
    let gateway = site.start().await;
    let mut stage = Stage::at(gateway.broker()).await;
    hear(&gateway, &gem(700, 110)).await;
    stage.subscriber.packets("cellar", 1).await;
    let found = stage.listed("the accepted meter", |device| device["name"] == "cellar").await;
    assert_eq!(found["new"], false);
    let document = format!("/device/{}/config/sensor", device_id(SECOND));
    assert!(retained(gateway.broker(), &document).await.is_some());
    stage.done("remove", json!({"meter": "cellar", "block": true})).await;
    stage.told("removed", SECOND).await;
    for topic in [&availability("cellar"), &document] {
        stage.subscriber.until(topic, "").await;
        assert_eq!(retained(gateway.broker(), topic).await, None, "{topic}");
    }
    hear(&gateway, &gem(700, 120)).await;
    stage.told("blocked", SECOND).await;
    gateway.stop().await;

    let gateway = site.start().await;
    let mut stage = Stage::at(gateway.broker()).await;
    assert_eq!(retained(gateway.broker(), &availability("cellar")).await, None);
    hear(&gateway, &gem(700, 130)).await;
    stage.told("blocked", SECOND).await;
    let data = stage.done("devices", json!({})).await;
    assert_eq!(data["not_let_in"][0]["serial"], SECOND, "{data}");
    assert_eq!(data["not_let_in"][0]["reason"], "blocked", "{data}");
    assert_eq!(gateway.metric("meterbridge_strange_packets_total").await, 1);
    stage.done("adopt", json!({"serial": SECOND})).await;
    hear(&gateway, &gem(700, 140)).await;
    stage.subscriber.packets("gem-01100700", 1).await;
    let data = stage.done("devices", json!({})).await;
    assert_eq!(data["not_let_in"], json!([]), "{data}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_meter_that_is_heard_again_is_a_new_one() {
    let site = Site::new(HOUSE);
    let (gateway, mut stage, _house) = with_house(&site, &gem(603, 100)).await;
    let mut meter = gateway.dial().await;
    meter.send(&bytes(&gem(700, 100))).await;
    stage.subscriber.packets("gem-01100700", 1).await;
    stage.done("rename", json!({"from": "gem-01100700", "to": "cellar"})).await;
    stage.done("remove", json!({"meter": device_id(SECOND)})).await;
    meter.send(&bytes(&gem(700, 110))).await;
    stage.subscriber.packets("gem-01100700", 2).await;
    let found = stage.listed("a new meter", |device| device["name"] == "gem-01100700").await;
    assert_eq!((&found["new"], &found["online"]), (&json!(true), &json!(true)));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_meters_stay_out_while_they_are_not_permitted() {
    let site = Site::new(HOUSE);
    let (gateway, mut stage, _house) = with_house(&site, &gem(603, 100)).await;
    stage.done("permit", json!({"value": false})).await;
    // Who is named before it was ever heard is let in.
    stage.done("adopt", json!({"serial": "01100701", "name": "barn"})).await;
    let taken = json!({"serial": "01100702", "name": "barn"});
    stage.refused("adopt", taken, "is the name of meter 01100701").await;
    stage.refused("adopt", json!({"serial": "01100603"}), "has an entry").await;
    gateway.stop().await;

    let gateway = site.start().await;
    let mut stage = Stage::at(gateway.broker()).await;
    let mut stranger = gateway.dial().await;
    stranger.send(&bytes(&gem(700, 100))).await;
    let event = stage.told("blocked", SECOND).await;
    assert!(event["message"].as_str().unwrap().contains("is not let in"), "{event}");
    hear(&gateway, &gem(701, 100)).await;
    stage.subscriber.packets("barn", 1).await;
    hear(&gateway, &gem(603, 110)).await;
    stage.subscriber.packets("house", 1).await;
    let data = stage.done("devices", json!({})).await;
    assert_eq!(data["not_let_in"][0]["reason"], "not_permitted", "{data}");

    stage.done("permit", json!({"value": true})).await;
    stranger.send(&bytes(&gem(700, 110))).await;
    stage.subscriber.packets("gem-01100700", 1).await;
    gateway.stop().await;
}
