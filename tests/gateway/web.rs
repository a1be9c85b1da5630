//! The status page's side of the web port: lists, what happens, and the description of it all.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::api::{basic, exchange, user, with_house};
use crate::commands::Sender;
use crate::meters::{bytes, gem_ch1};
use crate::record::within;
use crate::subscriber::Subscriber;
use crate::support::{HOUSE, Site, get};

/// A listener at `/api/events`.
pub(crate) struct Events {
    lines: BufReader<TcpStream>,
}

impl Events {
    /// Connects with further header lines; the answer has begun and is 200.
    async fn open(web: SocketAddr, path: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(web).await.unwrap();
        // HTTP/1.0 knows no chunks, so the stream comes as it is.
        let request = format!("GET {path} HTTP/1.0\r\nHost: {web}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut events = Self { lines: BufReader::new(stream) };
        let status = events.line().await;
        assert!(status.contains(" 200 "), "{status}");
        while !events.line().await.is_empty() {}
        events
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        within("a line of events", self.lines.read_line(&mut line)).await.unwrap();
        assert!(line.ends_with('\n'), "the stream ended: {line:?}");
        line.trim_end().to_owned()
    }

    /// The next event, passing over what is announced to Home Assistant, which comes when it comes.
    async fn next(&mut self) -> (String, Value) {
        loop {
            let (name, data) = self.any().await;
            if name != "homeassistant" {
                return (name, data);
            }
        }
    }

    /// The next event: its name and data.
    async fn any(&mut self) -> (String, Value) {
        let mut name = String::new();
        loop {
            let line = self.line().await;
            if let Some(text) = line.strip_prefix("event: ") {
                name = text.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (name, serde_json::from_str(data).unwrap());
            }
        }
    }

    /// Waits for an event of this name that fits.
    async fn until(&mut self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        within(name, async {
            loop {
                let (found, data) = self.any().await;
                if found == name && fits(&data) {
                    return data;
                }
            }
        })
        .await
    }
}

/// The JSON that is answered to a GET, with its status.
async fn ask(web: SocketAddr, path: &str, headers: &str) -> (u16, Value) {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {web}\r\nConnection: close\r\n{headers}\r\n");
    let (status, body) = exchange(web, &request).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_told_as_it_happens() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let mut events = Events::open(gateway.web(), "/api/events", "").await;
    let names = [events.next().await.0, events.next().await.0, events.next().await.0];
    assert_eq!(names, ["info", "meters", "clients"]);
    assert_eq!(events.next().await, ("past".to_owned(), json!([])));

    // A meter that was expected comes without anybody asking again.
    let mut meter = gateway.dial().await;
    for (seconds, energy) in [(100, 7200), (101, 10_800)] {
        meter.send(&bytes(&gem_ch1(seconds, energy, 0))).await;
    }
    events.until("availability", |one| *one == json!({"name": "house", "online": true})).await;
    let list = events.until("meters", |list| list[0]["model"] == "gem").await;
    assert_eq!(
        (&list[0]["name"], &list[0]["channels"][0]["channel"]),
        (&json!("house"), &json!("ch1"))
    );
    let values = events.until("readings", |values| values["power"] == 3600.0).await;
    assert_eq!(
        (&values["name"], &values["state"]["ch1"]["energy"]),
        (&json!("house"), &json!(0.003))
    );

    let announced = |overview: &Value| overview["announced"].to_string().contains("\"house\"");
    let mut another = Events::open(gateway.web(), "/api/events", "").await;
    another.until("homeassistant", announced).await;

    // Clients, and events, also those from before.
    let subscriber = Subscriber::new(gateway.broker()).await;
    let clients = events.until("clients", |list| list[0]["connected"] == true).await;
    assert_eq!(
        (&clients[0]["version"], &clients[0]["address"]),
        (&json!("3.1.1"), &json!("127.0.0.1"))
    );
    let mut sender = Sender::new(gateway.broker(), "sender").await;
    sender.send("powermeter/nobody/cmd", r#"{"cmd":"info"}"#, false).await;
    let event = events.until("event", |event| event["kind"] == "no_such_meter").await;
    let mut later = Events::open(gateway.web(), "/api/events", "").await;
    let past = later.until("past", |_| true).await;
    assert_eq!(past, json!([{"kind": "event", "data": event}]));
    drop(subscriber);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_nothing_holds_nobody_up() {
    let site = Site::new(HOUSE);
    let (gateway, mut meter) = with_house(&site).await;
    let mut stuck = Vec::new();
    for _ in 0..64 {
        stuck.push(Events::open(gateway.web(), "/api/events", "").await);
    }
    let (status, reply) = ask(gateway.web(), "/api/events", "").await;
    assert_eq!(status, 503, "{reply}");
    for second in 0..500_u32 {
        meter.send(&bytes(&gem_ch1(102 + second, 10_800 + 100 * u64::from(second), 0))).await;
    }
    gateway.until_metric("meterbridge_packets_total", |count| count == 502).await;
    assert_eq!(gateway.metric("meterbridge_dropped_updates_total").await, 0);
    assert_eq!(gateway.metric("meterbridge_web_viewers").await, 64);
    // Who reads again gets to what is true now.
    let mut late = stuck.pop().unwrap();
    late.until("readings", |values| values["state"]["ts"].is_i64()).await;
    drop((stuck, late));
    gateway.until_metric("meterbridge_web_viewers", |count| count == 0).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sensors_have_ids_and_tokens_that_stay() {
    let site = Site::new(HOUSE);
    let (gateway, _meter) = with_house(&site).await;
    let (status, sensors) = ask(gateway.web(), "/api/sensors", "").await;
    assert_eq!(status, 200, "{sensors}");
    let first = &sensors[0];
    let keys: Vec<&str> = first.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["id", "token", "device", "channel", "quantity", "unit", "name"]);
    assert_eq!(first["id"], "6f4225de13dcc0c7604a698085074c09");
    assert_eq!(first["device"], "451cfd7c3906c59356e7fd2bd0ab6cea");
    assert_eq!(
        (&first["channel"], &first["quantity"], &first["unit"]),
        (&json!("ch1"), &json!("pplus"), &json!("Wh"))
    );
    let token = first["token"].as_str().unwrap().to_owned();
    assert!(token.len() == 32 && token != sensors[1]["token"].as_str().unwrap(), "{token}");
    gateway.stop().await;
    let (gateway, _meter) = with_house(&site).await;
    let (_, sensors) = ask(gateway.web(), "/api/sensors", "").await;
    assert_eq!(sensors[0]["token"], token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_sees_what_he_may_read() {
    let site = Site::bare();
    let (ann, bob) = (user(&site, "ann", "secret1"), user(&site, "bob", "secret2"));
    let acl = r##"[{user: ann, read: ["#"]}, {user: bob, read: ["powermeter/house/#", "meterbridge/bridge/devices"]}]"##;
    let text = format!(
        "data_dir: {:?}\nbroker: {{listen: 127.0.0.1:0, users: [{ann}, {bob}], acl: {acl}}}\n\
         web: {{listen: 127.0.0.1:0}}\nmeters:\n  - {{name: house, kind: brultech, serial_number: \"01100603\", link: {{listen: 127.0.0.1:0}}}}\n  \
         - {{name: barn, kind: brultech, serial_number: \"01100604\", link: {{listen: 127.0.0.1:0}}}}\n",
        site.path().join("data")
    );
    std::fs::write(site.config_file(), text).unwrap();
    let gateway = site.start().await;
    let web = gateway.web();
    let (ann, bob) = (basic("ann:secret1"), basic("bob:secret2"));
    let names = |list: &Value| -> Vec<String> {
        list.as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    for path in ["/", "/api/events", "/api/sensors", "/api/clients", "/api/info", "/api/meters"] {
        assert_eq!(ask(web, path, "").await.0, 401, "{path}");
        let foreign = format!("{ann}Origin: http://evil.example\r\n");
        if path.starts_with("/api/") && path != "/api/meters" {
            assert_eq!(ask(web, path, &foreign).await.0, 403, "{path}");
        }
    }
    assert_eq!(names(&ask(web, "/api/meters", &ann).await.1), ["barn", "house"]);
    assert_eq!(names(&ask(web, "/api/meters", &bob).await.1), ["house"]);
    assert_eq!(ask(web, "/api/clients", &ann).await.0, 200);
    assert_eq!(ask(web, "/api/clients", &bob).await.0, 403);
    assert_eq!(ask(web, "/api/sensors", &bob).await, (200, json!([])));
    assert_eq!(ask(web, "/api/info", &bob).await.1["user"], "bob");
    assert_eq!(ask(web, "/api/meters/barn/openhab.things", &bob).await.0, 403);
    assert_eq!(ask(web, "/api/meters/barn/openhab.things", &ann).await.0, 404);
    assert_eq!(ask(web, "/", &bob).await.0, 200);
    let mut events = Events::open(web, "/api/events", &bob).await;
    assert_eq!(events.next().await.0, "info");
    let (name, list) = events.next().await;
    assert_eq!((name.as_str(), names(&list)), ("meters", vec!["house".to_owned()]));
    assert_eq!(events.next().await, ("past".to_owned(), json!([])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_described_and_every_description_is_a_route() {
    let site = Site::new(HOUSE);
    let (gateway, _meter) = with_house(&site).await;
    let text = get(gateway.web(), "/api/openapi.json").await;
    let text = text.split_once("\r\n\r\n").unwrap().1;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expected/openapi.json");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "UPDATE_EXPECTED=1 writes {}", path.display());
    let api: Value = serde_json::from_str(text).unwrap();
    for (path, methods) in api["paths"].as_object().unwrap() {
        if path == "/api/events" {
            Events::open(gateway.web(), path, "").await;
            continue;
        }
        let of_an_id = path.contains("id}");
        let path = path.replace("{name}", "house").replace("{what}", "devices");
        let path = path.replace("{sid}", &"0".repeat(32));
        let (status, _) = ask(gateway.web(), &path, "").await;
        let wanted = match methods["get"].is_object() {
            // Without what these have to be asked for.
            true if of_an_id => 400,
            true => 200,
            false => 405,
        };
        assert_eq!(status, wanted, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_it_is_under_the_base_path_too() {
    let site = Site::new(HOUSE);
    let text = std::fs::read_to_string(site.config_file()).unwrap();
    let text = text.replace("web: {", "web: {base_path: /my/energy, ");
    std::fs::write(site.config_file(), text).unwrap();
    let gateway = site.start().await;
    let web = gateway.web();
    for base in ["", "/my/energy"] {
        for (path, word) in [
            ("/", "<title>meterbridge</title>"),
            ("/page/app.js", "EventSource"),
            ("/page/style.css", "prefers-color-scheme"),
            ("/api/meters", "\"house\""),
            ("/healthz", "\"ok\""),
            ("/metrics", "meterbridge_packets_total"),
        ] {
            let answer = get(web, &format!("{base}{path}")).await;
            assert!(
                answer.starts_with("HTTP/1.1 200") && answer.contains(word),
                "{base}{path}: {answer}"
            );
        }
    }
    let answer = get(web, "/my/energy").await.to_ascii_lowercase();
    assert!(
        answer.starts_with("http/1.1 308") && answer.contains("location: energy/\r\n"),
        "{answer}"
    );
    // Also with the slash at its end in the configuration, and what is not there is not there.
    assert!(get(web, "/my/energy/nothing").await.starts_with("HTTP/1.1 404"));
    assert!(get(web, "/my/").await.starts_with("HTTP/1.1 404"));
}
