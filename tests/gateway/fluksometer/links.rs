//! Ways to a Fluksometer that come and go.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::device::{DEVICE, Flm, Said, parts, session};
use super::until_described;
use crate::meters::reading;
use crate::record::within;
use crate::subscriber::{Message, Subscriber};
use crate::support::{Site, free_port};

async fn last_words(subscriber: &Subscriber, meter: &str, wanted: &[&str]) {
    let topic = format!("powermeter/{meter}/state/availability");
    let fits = |all: &[Message]| {
        let words = all.iter().filter(|one| one.topic == topic);
        let mut words: Vec<&str> = words.map(|one| one.payload.as_str()).collect();
        words.dedup();
        words == wanted
    };
    let what = format!("{wanted:?} of {meter}");
    subscriber.messages.until(&what, |all| fits(all).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fluksometer_that_goes_is_offline_and_comes_back_by_itself() {
    let address = format!("127.0.0.1:{}", free_port()).parse().unwrap();
    let flm = Flm::on(address).await;
    let (documents, readings) = parts(session("flm03e"));
    flm.say(&documents);
    let site = Site::new(&flm.entry("cellar"));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    until_described(&subscriber, DEVICE).await;
    flm.say(&readings);
    subscriber.packets("cellar", 1).await;
    drop(flm);
    last_words(&subscriber, "cellar", &["offline", "online", "offline"]).await;
    let flm = Flm::on(address).await;
    flm.say(&documents);
    last_words(&subscriber, "cellar", &["offline", "online", "offline", "online"]).await;
    let main = &readings[0];
    // Documents are subscribed to before readings: as a meter does, it says one each second until it is heard.
    let mut time = reading_time(main) + 60;
    let say = async {
        loop {
            flm.publish(&main.topic, &format!("[{time}, 42, \"W\"]"), false);
            tokio::time::sleep(Duration::from_secs(1)).await;
            time += 1;
        }
    };
    let got = tokio::select! {
        got = subscriber.on(&main.topic, 2) => got,
        () = say => unreachable!(),
    };
    let (at, value, unit) = reading(&got[1]);
    assert!(at >= reading_time(main) + 60, "{at}");
    assert_eq!((value, &*unit), (42_000, "W"));
}

fn reading_time(said: &Said) -> i64 {
    let payload: Value = serde_json::from_str(&said.payload).unwrap();
    payload[0].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_before_the_gateway_listened_is_no_reading() {
    let flm = Flm::start().await;
    // An FLM02 retains its readings: they are there when the gateway comes.
    flm.say(&session("flm02b"));
    let site = Site::new(&flm.entry("cellar"));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    until_described(&subscriber, DEVICE).await;
    let kube = session("flm02b").pop().unwrap();
    let time = reading_time(&kube) + 1;
    flm.publish(&kube.topic, &format!("[{time},-1.5,\"°C\"]"), true);
    let got = subscriber.on(&kube.topic, 1).await;
    assert_eq!(reading(&got[0]), (time, -1500, "°C".to_owned()));
    let readings = subscriber.seen().into_iter().filter(|one| one.topic.starts_with("/sensor/"));
    assert_eq!(readings.count(), 1);
}

/// Answers each request with what `answer` makes of its path.
async fn local_api(answer: impl Fn(&str) -> String + Send + 'static) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut task = JoinSet::new();
    task.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let _ = stream.write_all(answer(path).as_bytes()).await;
        }
    });
    (port, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_api_is_asked_for_gauges() {
    let (main, gas) = ("a1".repeat(16), "c3".repeat(16));
    let now = meterbridge::model::Timestamp::now().seconds();
    let (asked_for, expected) = (main.clone(), format!("/sensor/{gas}/gauge"));
    let (port, _task) = local_api(move |path| {
        let body = if path.contains(&asked_for) {
            assert!(path.ends_with("?version=1.0&interval=minute&unit=watt"), "{path}");
            format!("[[{},150],[{},157],[{},\"nan\"]]", now - 3, now - 2, now - 1)
        } else {
            assert!(path.ends_with("&unit=lperday"), "{path}");
            format!("[[{},50823]]", now - 2)
        };
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked";
        format!("{head}\r\nConnection: close\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
    })
    .await;
    let site = Site::new(&format!(
        "\n  - name: cellar\n    kind: fluksometer\n    link: {{http: \"http://127.0.0.1:{port}\"}}\n    \
         poll: 1s\n    channels:\n      ch1: {{id: {main}, name: Mains}}\n      \
         pulse2: {{id: {gas}, type: gas}}\n"
    ));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let got = subscriber.on(&expected, 1).await;
    assert_eq!(reading(&got[0]), (now - 2, 50_823_000, "L/day".to_owned()));
    let got = subscriber.on(&format!("/sensor/{main}/gauge"), 1).await;
    assert_eq!(got, [format!("[{},157,\"W\"]", now - 2)], "the one before is over");
    subscriber.until("powermeter/cellar/state/availability", "online").await;
    let sample = subscriber.on("powermeter/cellar/state/channels", 1).await;
    let sample: Value = serde_json::from_str(&sample[0]).unwrap();
    assert_eq!(sample["ch1"], json!({"power": 157}));
    drop(gateway);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_api_that_is_not_there_is_told_once_and_found_later() {
    let port = free_port();
    let id = "a1".repeat(16);
    let site = Site::new(&format!(
        "\n  - name: cellar\n    kind: fluksometer\n    link: {{http: \"http://127.0.0.1:{port}\"}}\n    \
         poll: 1s\n    channels: {{ch1: {{id: {id}}}}}\n"
    ));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    subscriber.until("powermeter/cellar/state/availability", "offline").await;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let (mut stream, _) = within("the gateway to ask", listener.accept()).await.unwrap();
    let mut request = [0; 1024];
    let _ = stream.read(&mut request).await.unwrap();
    let now = meterbridge::model::Timestamp::now().seconds();
    let body = format!("[[{now},12]]");
    let head = "HTTP/1.0 200 OK\r\nContent-Type: application/json";
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
    drop(stream);
    assert_eq!(
        subscriber.on(&format!("/sensor/{id}/gauge"), 1).await,
        [format!("[{now},12,\"W\"]")]
    );
    subscriber.until("powermeter/cellar/state/availability", "online").await;
}
