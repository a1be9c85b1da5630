//! Requests at bad moments: many of them, on a disk that fails, by people who may not.

use serde_json::{Value, json};

use super::{availability, with_house};
use crate::api::{basic, exchange};
use crate::meters::{GEM, bytes, counter, gem_ch1, watt_hours};
use crate::support::{HOUSE, Site};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_change_all_the_time_lose_no_reading() {
    let site = Site::new(HOUSE);
    let packet = |n: u32| gem_ch1(100 + n, u64::from(n) * 3_600, 0);
    let (gateway, mut stage, mut meter) = with_house(&site, &packet(0)).await;
    let names = ["house", "a", "b", "c"];
    for n in 1..=100 {
        let rename = json!({"from": GEM, "to": names[n % 4], "transaction": n});
        let packet = bytes(&packet(n as u32));
        let (_, response) = tokio::join!(meter.send(&packet), stage.ask("rename", rename));
        assert_eq!((&response["status"], &response["transaction"]), (&json!("ok"), &json!(n)));
    }
    let total = counter(GEM, "ch1", "pplus");
    stage.subscriber.on(&total, 101).await;
    let expected: Vec<i64> = (0..=100).map(|n| watt_hours(n * 3_600)).collect();
    assert_eq!(stage.totals(&total), expected);
    // Under each name the last word is right: only one of them has a state.
    stage
        .subscriber
        .messages
        .until("the last word under each name", |all| {
            let is_right = |name: &&str| {
                let topic = availability(name);
                let last = all.iter().rfind(|message| message.topic == topic);
                last.is_some_and(|last| {
                    last.payload == if *name == "house" { "online" } else { "" }
                })
            };
            names.iter().all(is_right).then_some(())
        })
        .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_cannot_be_written_is_told_and_written_later() {
    let site = Site::new(HOUSE);
    let (gateway, mut stage, mut meter) = with_house(&site, &gem_ch1(100, 3_600, 0)).await;
    let disk = rusqlite::Connection::open(site.path().join("data/meterbridge.db")).unwrap();
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    let rename = json!({"from": "house", "to": "main"});
    stage.refused("rename", rename, "could not be written to disk yet").await;
    disk.execute_batch("COMMIT").unwrap();
    drop(disk);
    meter.send(&bytes(&gem_ch1(110, 7_200, 0))).await;
    stage.subscriber.packets("main", 1).await;
    gateway.stop().await;
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    gateway.dial().await.send(&bytes(&gem_ch1(120, 7_200, 0))).await;
    subscriber.packets("main", 1).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_for_those_who_may_publish_them() {
    let hash = |password: &str| {
        let entry = meterbridge::passwd::entry("x", password).unwrap();
        entry.split("password_hash: \"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    let site = Site::bare();
    let config = format!(
        "data_dir: {:?}\nweb: {{listen: 127.0.0.1:0}}\nbroker:\n  listen: 127.0.0.1:0\n  allow_anonymous: false\n  \
         users:\n  - {{name: owner, password_hash: \"{}\"}}\n  - {{name: guest, password_hash: \"{}\"}}\n  \
         acl:\n  - {{user: owner, read: [\"#\"], write: [\"#\"]}}\n  - {{user: guest, read: [\"#\"]}}\n",
        site.path().join("data"),
        hash("one"),
        hash("two"),
    );
    std::fs::write(site.config_file(), config).unwrap();
    let gateway = site.start().await;
    let web = gateway.web();
    for (headers, wanted) in [
        (String::new(), 401),
        (basic("guest:two"), 403),
        (basic("owner:wrong"), 401),
        (basic("owner:one"), 200),
    ] {
        let request = format!(
            "POST /api/bridge/permit HTTP/1.1\r\nHost: {web}\r\nConnection: close\r\n{headers}\
             Content-Length: 14\r\n\r\n{{\"value\":true}}"
        );
        let (status, body) = exchange(web, &request).await;
        assert_eq!(status, wanted, "{body}");
        serde_json::from_str::<Value>(&body).unwrap();
    }
    gateway.stop().await;
}
