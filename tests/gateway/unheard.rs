//! Histories of a meter that nobody has heard since the gateway started: what it is, is told all the same.

use meterbridge::model::Timestamp;
use meterbridge::web::Tokens;

use crate::blocks::Client;
use crate::flukso::{ask, master};
use crate::histories::{Listener, cut_off, until_last, until_synced};
use crate::past;
use crate::record::within;
use crate::support::{HOUSE, Site};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_was_not_heard_again_is_known_from_the_history() {
    let end = Timestamp::now().seconds() - 1200;
    let readings: Vec<(i64, i64)> =
        (0..3000).map(|n| (end - 180_000 + 60 * n, 500_000 + 10_000 * n)).collect();
    let last = readings[2999];
    let site = Site::new(HOUSE);
    let data = site.path().join("data");
    past::write(&data, &readings).await;
    let (sid, did) = (past::sensor().to_string(), crate::meters::device_id(crate::meters::GEM));
    let token = Tokens::load(&data).unwrap().of(past::sensor());
    let gateway = site.start().await;
    until_last(gateway.web(), last.0).await;
    let mut client = Client::new(&sid, &token);
    until_synced(&mut client, gateway.web(), &readings).await;
    cut_off(&site, gateway).await;

    // Nothing of the meter is in the journal any more, and nothing comes from it.
    let gateway = site.start().await;
    let web = gateway.web();
    until_last(web, last.0).await;
    let facts = format!("/sensor/{sid}?version=1.0&token={token}&param=all");
    let facts = ask(web, "GET", &facts, "").await;
    assert_eq!(facts.status, 200, "{facts:?}");
    let facts = facts.json();
    assert_eq!((&facts["type"], &facts["function"]), (&"electricity".into(), &"ch1".into()));
    assert_eq!(facts["lastupdate"], serde_json::json!([last.0, last.1 / 1000]));

    let master = master(web).await;
    let list = format!("/device/{did}/sensor?version=1.0&token={master}");
    let list = ask(web, "GET", &list, "").await;
    assert_eq!(list.status, 200, "{list:?}");
    assert_eq!(list.json()[0]["sensor"], *sid);
    assert_eq!(list.json()[0]["subtype"], "pplus");
    let other = format!("/device/{}/sensor?version=1.0&token={master}", "0".repeat(32));
    assert_eq!(ask(web, "GET", &other, "").await.status, 404);
    let from = last.0 - 7200;
    let path = format!("/api/sensors/{sid}/history?from={from}&to={}&resolution=1h", last.0);
    let history = ask(web, "GET", &path, "").await.json();
    assert_eq!((&history["meter"], &history["name"]), (&"house".into(), &"ch1".into()));
    assert_eq!((&history["unit"], &history["rate_unit"]), (&"Wh".into(), &"W".into()));
    let energy: f64 = history["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["energy"].as_f64())
        .sum();
    assert!((energy - 1200.0).abs() < 0.01, "{history}");

    let listener = Listener::new(gateway.broker()).await;
    let wanted = format!(r#"[{{"sid":"{sid}","rid":0,"lvl":0,"bid":0}}]"#);
    listener.say(&format!("/d/device/{did}/tmpo/sync"), wanted, false).await;
    listener.until(&format!("/sensor/{sid}/tmpo/"), client.blocks()).await;
    let query = format!("[{from},{}]", last.0);
    listener.say(&format!("/query/{sid}/tmpo"), query, false).await;
    let answer = format!("/sensor/{sid}/query/{from}/{}", last.0);
    let count = client.covering(from, last.0);
    within("the answer", listener.until(&answer, count)).await;
}
