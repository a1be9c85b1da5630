//! The request `restart`, and requests over HTTP.

use serde_json::{Value, json};

use super::Stage;
use crate::api::exchange;
use crate::meters::{bytes, gem_ch1};
use crate::process::Process;
use crate::record::within;
use crate::support::{HOUSE, Meter, Site, free_port};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_begins_again_with_its_configuration_read_anew() {
    let site = Site::new(HOUSE);
    let port = free_port();
    let mut process =
        Process::run(&site, &["run", "--set", &format!("broker.listen=127.0.0.1:{port}")]).await;
    let mut stage = Stage::at(process.broker).await;

    // With mistakes nothing happens, and they are told.
    let good = std::fs::read_to_string(site.config_file()).unwrap();
    std::fs::write(site.config_file(), format!("{good}wob: 1\n")).unwrap();
    stage.refused("restart", json!({}), "wob").await;
    stage.done("devices", json!({})).await;

    let meter_port = free_port();
    let new =
        HOUSE.replace("house", "home").replace("127.0.0.1:0", &format!("127.0.0.1:{meter_port}"));
    site.configure(&new);
    let response = stage.ask("restart", json!({"transaction": 5})).await;
    assert_eq!((&response["status"], &response["transaction"]), (&json!("ok"), &json!(5)));
    process
        .log
        .until("the end", |log| log.iter().any(|line| line.contains("stopped")).then_some(()))
        .await;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], meter_port));
    within("the new port", async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let stage = Stage::at(process.broker).await;
    Meter::dial(address).await.send(&bytes(&gem_ch1(100, 3_600, 0))).await;
    stage.subscriber.packets("home", 1).await;
    process.signal("TERM");
    assert!(process.exited().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_cannot_begin_anew_goes_on_as_it_was() {
    let site = Site::new(HOUSE);
    let port = free_port();
    let broker = format!("broker.listen=127.0.0.1:{port}");
    let process = Process::run(&site, &["run", "--set", &broker]).await;
    let mut stage = Stage::at(process.broker).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = taken.local_addr().unwrap().to_string();
    site.configure(&HOUSE.replace("127.0.0.1:0", &elsewhere));
    stage.done("restart", json!({})).await;
    let told = "goes on with the one before";
    process.log.until(told, |log| log.iter().any(|line| line.contains(told)).then_some(())).await;
    within("the broker", async {
        while tokio::net::TcpStream::connect(process.broker).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut stage = Stage::at(process.broker).await;
    stage.done("devices", json!({})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_a_file_does_not_restart() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let mut stage = Stage::at(gateway.broker()).await;
    stage.refused("restart", json!({}), "was not started from a configuration").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_over_http_have_the_same_answers() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let stage = Stage::at(gateway.broker()).await;
    gateway.dial().await.send(&bytes(&gem_ch1(100, 3_600, 0))).await;
    stage.subscriber.packets("house", 1).await;
    let web = gateway.web();
    let post = async |what: &str, headers: &str, body: &str| -> (u16, Value) {
        let request = format!(
            "POST /api/bridge/{what} HTTP/1.1\r\nHost: {web}\r\nConnection: close\r\n{headers}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (status, body) = exchange(web, &request).await;
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    };
    let rename = r#"{"from":"house","to":"main","transaction":1}"#;
    let (status, _) = post("rename", "Origin: http://elsewhere\r\n", rename).await;
    assert_eq!(status, 403);
    let (status, response) = post("rename", "", rename).await;
    assert_eq!(
        (status, &response["status"], &response["transaction"]),
        (200, &json!("ok"), &json!(1))
    );
    stage.listed("the new name", |device| device["name"] == "main").await;
    let large = "x".repeat(65 * 1024);
    for (what, body, wanted) in [
        ("rename", rename, 404),
        ("rename", "junk", 400),
        ("fly", "{}", 400),
        ("remove", r#"{"meter":"main"}"#, 422),
        ("rename", large.as_str(), 413),
        ("health", "", 200),
    ] {
        assert_eq!(post(what, "", body).await.0, wanted, "{what} {body:.40}");
    }
    gateway.stop().await;
}
