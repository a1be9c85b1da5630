//! What programs for Fluksometers ask over HTTP, and what they get: tokens, forms, refusals.

use std::net::SocketAddr;

use serde_json::Value;

use crate::api::{basic, configure, exchange, user, with_house};
use crate::record::within;
use crate::support::{HOUSE, Site, get, post};

/// Status, head in lower case, and body of an answer; chunks are put together.
pub(crate) async fn ask(web: SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {web}\r\nConnection: close\r\n{headers}\r\n");
    Answer::of(&crate::flukso::raw(web, &request).await)
}

async fn raw(web: SocketAddr, request: &str) -> Vec<u8> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(web).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within("an HTTP answer", stream.read_to_end(&mut answer)).await.unwrap();
    answer
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn of(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let mut rest = &bytes[end + 4..];
        let mut body = Vec::new();
        if head.contains("transfer-encoding: chunked") {
            while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
                let size = std::str::from_utf8(&rest[..line]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                body.extend_from_slice(&rest[line + 2..line + 2 + size]);
                rest = &rest[line + 4 + size..];
            }
        } else {
            body.extend_from_slice(rest);
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Id and token of a sensor of the house.
pub(crate) async fn sensor(web: SocketAddr, channel: &str, quantity: &str) -> (String, String) {
    let list = get(web, "/api/sensors").await;
    let list: Value = serde_json::from_str(list.split_once("\r\n\r\n").unwrap().1).unwrap();
    let mut sensors = list.as_array().unwrap().iter();
    let sensor = sensors
        .find(|one| one["channel"] == channel && one["quantity"] == quantity)
        .unwrap_or_else(|| panic!("no {channel} {quantity} in {list}"));
    (sensor["id"].as_str().unwrap().to_owned(), sensor["token"].as_str().unwrap().to_owned())
}

pub(crate) async fn master(web: SocketAddr) -> String {
    let info = ask(web, "GET", "/api/info", "").await.json();
    info["master_token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_minute_is_served_as_a_fluksometer_does() {
    let site = Site::new(HOUSE);
    let (gateway, _meter) = with_house(&site).await;
    let web = gateway.web();
    let (sid, _) = sensor(web, "ch1", "pplus").await;
    let query = "version=1.0&interval=minute&unit=watt";
    for path in [format!("/sensor/{sid}"), format!("/api/sensor/{sid}")] {
        let answer = ask(web, "GET", &format!("{path}?{query}"), "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        for line in [
            "transfer-encoding: chunked",
            "connection: close",
            "content-type: application/json",
            "access-control-allow-origin: *",
        ] {
            assert!(answer.head.contains(line), "{line}: {answer:?}");
        }
        let rows = answer.json();
        let rows = rows.as_array().unwrap();
        assert!(rows.iter().any(|row| row[1] == 3600), "{answer:?}");
        assert!(rows.len() <= 60 && !answer.text().contains(' '), "{answer:?}");
    }
    for name in ["callback", "jsonp_callback"] {
        let answer = ask(web, "GET", &format!("/sensor/{sid}?{query}&{name}=a.b"), "").await;
        assert!(answer.text().starts_with("a.b([["), "{answer:?}");
        assert!(answer.text().ends_with("]]);"), "{answer:?}");
    }
    // A counter alone is no gauge: there is nothing, and it is not wrapped.
    let (pulse, _) = sensor(web, "pulse1", "pulse").await;
    let answer = ask(web, "GET", &format!("/sensor/{pulse}?{query}&callback=f"), "").await;
    assert_eq!((answer.status, answer.text()), (200, "[]"));
    let nobody = "0".repeat(32);
    for (path, status) in [
        (format!("/sensor/{sid}?interval=minute&unit=watt"), 400),
        (format!("/sensor/{sid}?interval=minute&version=1.0"), 400),
        (format!("/sensor/{sid}?interval=minute&version=1.0&unit=kwh"), 400),
        (format!("/sensor/{sid}?interval=minute&version=2.0&unit=watt"), 400),
        (format!("/sensor/{nobody}?{query}"), 404),
        (format!("/sensor/house?{query}"), 404),
    ] {
        let answer = ask(web, "GET", &path, "").await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.text().lines().count(), 1, "{answer:?}");
        assert!(answer.head.contains("content-type: text/plain"), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_open_their_sensor_and_the_masters_all() {
    let site = Site::new(HOUSE);
    let (gateway, _meter) = with_house(&site).await;
    let web = gateway.web();
    let (sid, token) = sensor(web, "ch1", "pplus").await;
    let (other, others) = sensor(web, "ch2", "pplus").await;
    let master = master(web).await;
    let facts =
        |sid: &str, token: &str| format!("/sensor/{sid}?version=1.0&param=all&token={token}");
    for (sid, token, status) in [
        (&sid, &token, 200),
        (&sid, &master, 200),
        (&other, &others, 200),
        (&sid, &others, 401),
        (&other, &token, 401),
        (&master, &master, 404),
    ] {
        let answer = ask(web, "GET", &facts(sid, token), "Origin: http://elsewhere\r\n").await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.head.contains("access-control-allow-origin: *"), "{answer:?}");
        assert_eq!(answer.head.contains("www-authenticate: "), status == 401, "{answer:?}");
    }
    let answer = ask(web, "GET", &facts(&sid, &token), "").await.json();
    assert_eq!((&answer["type"], &answer["enabled"]), (&"electricity".into(), &1.into()));
    assert!(answer.as_object().unwrap().contains_key("voltage"), "{answer}");
    assert!(answer["lastupdate"][1].is_number(), "{answer}");

    let headers = format!("X-Version: 1.0\r\nX-Token: {token}\r\n");
    let series = format!("/sensor/{sid}?interval=hour&unit=watt");
    let cases = [
        (series.clone(), String::new(), 400),
        (format!("{series}&token={token}"), headers.clone(), 400),
        (format!("{series}&version=1.0"), headers.clone(), 400),
        (series.replace("unit=watt", "unit=kwh"), headers.clone(), 400),
        (format!("{series}&param=all"), headers.clone(), 400),
        (format!("{series}&start=1310042700"), headers.clone(), 400),
        (format!("/sensor/{sid}?update=true"), headers.clone(), 400),
        (format!("/sensor/{sid}"), headers.clone(), 400),
        ("/sensor/house?interval=hour&unit=watt".to_owned(), headers.clone(), 400),
        (series.clone(), headers.replace("1.0", "1.1"), 400),
        (series.clone(), format!("{headers}Accept: text/html\r\n"), 406),
        (format!("/sensor/{sid}?param=all"), format!("{headers}Accept: text/csv\r\n"), 406),
        (format!("{series}&callback=a.b"), headers.clone(), 400),
    ];
    for (path, headers, status) in cases {
        let answer = ask(web, "GET", &path, &headers).await;
        assert_eq!(answer.status, status, "{path} {headers} {answer:?}");
        assert!(!answer.text().contains(&token), "a token is told: {answer:?}");
    }
    let (volts, volts_token) = sensor(web, "line", "vrms").await;
    let path = format!("/sensor/{volts}?interval=hour&unit=watt&version=1.0&token={volts_token}");
    assert_eq!(ask(web, "GET", &path, "").await.status, 404, "no rates of a voltage");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_for_the_master_token() {
    let site = Site::new(HOUSE);
    let (gateway, _meter) = with_house(&site).await;
    let web = gateway.web();
    let (sid, token) = sensor(web, "ch1", "pplus").await;
    let meters = ask(web, "GET", "/api/meters", "").await.json();
    let did = meters[0]["id"].as_str().unwrap().to_owned();
    let master = master(web).await;
    let asked = |path: &str, token: &str| format!("{path}?version=1.0&token={token}");
    for path in [format!("/device/{did}/sensor"), "/api/user/me/sensor".to_owned()] {
        assert_eq!(ask(web, "GET", &asked(&path, &token), "").await.status, 401, "{path}");
        let answer = ask(web, "GET", &asked(&path, &master), "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let list = answer.json();
        let mut rows = list.as_array().unwrap().iter();
        let row = rows.find(|row| row["sensor"] == sid.as_str()).unwrap();
        assert_eq!(row["type"], "electricity");
        if path.contains("device") {
            assert_eq!((&row["port"], &row["data_type"]), (&1.into(), &"counter".into()));
            assert!(row["config"].is_u64(), "{row}");
        } else {
            assert_eq!((&row["ip"], &row["port"]), (&"127.0.0.1".into(), &web.port().into()));
        }
    }
    let nobody = format!("/device/{}/sensor", "0".repeat(32));
    assert_eq!(ask(web, "GET", &asked(&nobody, &master), "").await.status, 404);
    assert_eq!(ask(web, "GET", &asked("/device/house/sensor", &master), "").await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_taken_in_and_pages_may_ask_first() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let web = gateway.web();
    let sid = "0".repeat(32);
    for path in [format!("/sensor/{sid}"), format!("/api/sensor/{sid}/tmpo/sync")] {
        let answer = post(web, &path, "{}").await;
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
        assert!(answer.contains("no measurements"), "{answer}");
        let answer = ask(web, "OPTIONS", &path, "Origin: http://elsewhere\r\n").await;
        assert_eq!(answer.status, 204, "{answer:?}");
        assert!(answer.head.contains("access-control-allow-headers: x-version, x-token"));
        assert!(answer.head.contains("access-control-allow-origin: *"));
    }
}

/// A token is enough for what it opens, also where everything else needs a login or is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_one_is_let_in_as_to_any_page() {
    let site = Site::bare();
    let ann = user(&site, "ann", "secret1");
    let acl = r##", acl: [{user: ann, read: ["powermeter/#"]}]"##;
    configure(&site, &format!(", users: [{ann}]{acl}"), "127.0.0.1:0");
    let gateway = site.start().await;
    let web = gateway.web();
    let sid = "0".repeat(32);
    let minute = format!("/sensor/{sid}?version=1.0&interval=minute&unit=watt");
    assert_eq!(ask(web, "GET", &minute, "").await.status, 401);
    assert_eq!(ask(web, "GET", &minute, &basic("ann:secret1")).await.status, 403);
    let info = ask(web, "GET", "/api/info", &basic("ann:secret1")).await.json();
    assert!(info["master_token"].is_null(), "who may not read every sensor: {info}");
    let with_token = format!("/sensor/{sid}?version=1.0&param=all&token={sid}");
    assert_eq!(ask(web, "GET", &with_token, "").await.status, 401);
    gateway.stop().await;

    configure(&site, "", "0.0.0.0:0");
    let gateway = site.start().await;
    let web = SocketAddr::from(([127, 0, 0, 1], gateway.web().port()));
    assert_eq!(ask(web, "GET", &minute, "").await.status, 403);
    let answer = ask(web, "GET", &with_token, "").await;
    assert_eq!(answer.status, 401, "tokens guard what they open: {answer:?}");
    let request = format!("GET {minute} HTTP/1.0\r\n\r\n");
    assert_eq!(exchange(web, &request).await.0, 403);
}
