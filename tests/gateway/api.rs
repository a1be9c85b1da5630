//! Commands over HTTP and from the command line, and who may send them.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::meters::{bytes, gem_ch1};
use crate::process::program;
use crate::record::within;
use crate::support::{HOUSE, Running, Site, get};

/// Sends a request as it is and reads the answer: status and body.
pub(crate) async fn exchange(web: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(web).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("an HTTP answer", stream.read_to_string(&mut answer)).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// A command with further header lines.
pub(crate) async fn post(web: SocketAddr, meter: &str, headers: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let request = format!(
        "POST /api/meters/{meter}/command HTTP/1.1\r\nHost: {web}\r\nConnection: close\r\n\
         {headers}Content-Length: {length}\r\n\r\n{body}"
    );
    let (status, body) = exchange(web, &request).await;
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

pub(crate) fn basic(login: &str) -> String {
    use base64ct::{Base64, Encoding};
    format!("Authorization: Basic {}\r\n", Base64::encode_string(login.as_bytes()))
}

/// A gateway whose house is known with its powers.
pub(crate) async fn with_house(site: &Site) -> (Running, crate::support::Meter) {
    let gateway = site.start().await;
    let mut meter = gateway.dial().await;
    for (seconds, energy) in [(100, 7200), (101, 10_800)] {
        meter.send(&bytes(&gem_ch1(seconds, energy, 0))).await;
    }
    gateway.until_metric("meterbridge_packets_total", |count| count == 2).await;
    // The readings are on their way through the ledger.
    within("the power", async {
        while post(gateway.web(), "house", "", r#"{"cmd":"getPower"}"#).await.0 == 503 {}
    })
    .await;
    (gateway, meter)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_over_http_is_answered_with_the_same_reply() {
    let site = Site::new(HOUSE);
    let (gateway, _meter) = with_house(&site).await;
    let web = gateway.web();
    let (status, reply) = post(web, "house", "", r#"{"cmd":"getPower","id":"a"}"#).await;
    assert_eq!((status, &reply["activePower"], &reply["id"]), (200, &json!(3600), &json!("a")));
    let large = format!("{{\"cmd\":\"info\",\"x\":\"{}\"}}", "y".repeat(16 * 1024));
    let cases = [
        ("house", "junk", 400),
        ("house", "{}", 400),
        ("house", "", 400),
        ("house", large.as_str(), 413),
        ("nobody", r#"{"cmd":"info"}"#, 404),
        ("a%2Fb", r#"{"cmd":"info"}"#, 404),
        ("%2B", r#"{"cmd":"info"}"#, 404),
        ("%00", r#"{"cmd":"info"}"#, 404),
        ("%FF", r#"{"cmd":"info"}"#, 400),
        ("house", r#"{"cmd":"info","cmd":"poll"}"#, 400),
        ("house", r#"{"cmd":"getPeriod"}"#, 422),
        ("house", r#"{"cmd":"frobnicate"}"#, 422),
    ];
    for (meter, body, wanted) in cases {
        let (status, reply) = post(web, meter, "", body).await;
        assert_eq!(status, wanted, "{reply}");
        assert_eq!(reply["error"], true, "{reply}");
        assert!(!reply["msg"].as_str().unwrap().is_empty(), "{reply}");
    }
    let list = get(web, "/api/meters").await;
    let (head, list) = list.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let list: Value = serde_json::from_str(list).unwrap();
    assert_eq!((&list[0]["name"], &list[0]["online"]), (&json!("house"), &json!(true)));
    assert_eq!(list[0]["serial"], "01100603");
    let (status, _) = exchange(
        web,
        &format!(
            "GET /api/meters/house/command HTTP/1.1\r\nHost: {web}\r\nConnection: close\r\n\r\n"
        ),
    )
    .await;
    assert_eq!(status, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_sites_may_not_send_commands() {
    let site = Site::new(HOUSE);
    let (gateway, _meter) = with_house(&site).await;
    let web = gateway.web();
    let info = r#"{"cmd":"info"}"#;
    for (origin, wanted) in [
        (format!("http://{web}"), 200),
        ("http://evil.example".to_owned(), 403),
        ("null".to_owned(), 403),
        (format!("http://{web}.evil.example"), 403),
    ] {
        let header = format!("Origin: {origin}\r\n");
        assert_eq!(post(web, "house", &header, info).await.0, wanted, "{origin}");
    }
}

/// The entry of a user, made by the program.
pub(crate) fn user(site: &Site, name: &str, password: &str) -> String {
    use std::io::Write;
    let mut child = program(site, &["passwd", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().trim_start_matches("- ").to_owned()
}

/// A configuration with this section `broker:` and this web port.
pub(crate) fn configure(site: &Site, broker: &str, web: &str) {
    let text = format!(
        "data_dir: {:?}\nbroker: {{listen: 127.0.0.1:0{broker}}}\nweb: {{listen: \"{web}\"}}\n\
         meters:{HOUSE}",
        site.path().join("data")
    );
    std::fs::write(site.config_file(), text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_rights_are_those_of_the_broker() {
    let site = Site::bare();
    let (ann, bob) = (user(&site, "ann", "secret:1"), user(&site, "bob", "secret2"));
    let acl =
        r##"[{user: ann, read: ["#"], write: ["powermeter/+/cmd"]}, {user: bob, read: ["x"]}]"##;
    configure(&site, &format!(", users: [{ann}, {bob}], acl: {acl}"), "127.0.0.1:0");
    let gateway = site.start().await;
    let web = gateway.web();
    let info = r#"{"cmd":"info"}"#;
    assert_eq!(post(web, "house", "", info).await.0, 401);
    assert_eq!(post(web, "house", &basic("ann:wrong"), info).await.0, 401);
    assert_eq!(post(web, "house", "Authorization: Bearer x\r\n", info).await.0, 400);
    assert_eq!(post(web, "house", &basic("bob:secret2"), info).await.0, 403);
    let (status, reply) = post(web, "house", &basic("ann:secret:1"), info).await;
    assert_eq!((status, &reply["online"]), (200, &json!(false)));
    let (status, reply) = post(web, "house", &basic("ann:secret:1"), r#"{"cmd":"poll"}"#).await;
    assert!(matches!(status, 422 | 503), "{reply}");
    let ask = |login: &str| {
        format!(
            "GET /api/meters HTTP/1.1\r\nHost: {web}\r\nConnection: close\r\n{}\r\n",
            basic(login)
        )
    };
    assert_eq!(exchange(web, &ask("ann:secret:1")).await.0, 200);
    assert_eq!(exchange(web, &ask("bob:secret2")).await.0, 403);
    // Who guesses is slowed down and then not heard any more, also with the right password.
    let mut last = 401;
    while last == 401 {
        last = post(web, "house", &basic("bob:guess"), info).await.0;
    }
    assert_eq!(last, 429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_open_to_other_machines_needs_users() {
    let site = Site::bare();
    configure(&site, "", "0.0.0.0:0");
    let gateway = site.start().await;
    let web = SocketAddr::from(([127, 0, 0, 1], gateway.web().port()));
    let (status, reply) = post(web, "house", "", r#"{"cmd":"info"}"#).await;
    assert_eq!(status, 403);
    assert!(reply["msg"].as_str().unwrap().contains("broker.users"), "{reply}");
    assert!(get(web, "/api/meters").await.starts_with("HTTP/1.1 403"));
    gateway.stop().await;

    configure(&site, ", allow_anonymous: true", "0.0.0.0:0");
    let gateway = site.start().await;
    let web = SocketAddr::from(([127, 0, 0, 1], gateway.web().port()));
    assert_eq!(post(web, "house", "", r#"{"cmd":"info"}"#).await.0, 200);
}

/// Exit code, stdout and stderr of `meterbridge command`.
async fn command(site: &Site, arguments: &[&str], password: Option<&str>) -> (i32, String, String) {
    let mut command: Command = program(site, &[&["command"], arguments].concat());
    command.stdin(Stdio::null());
    if let Some(password) = password {
        command.env("METERBRIDGE_PASSWORD", password);
    }
    let running = tokio::process::Command::from(command).output();
    let output = within("the end of meterbridge command", running).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_prints_the_reply() {
    let site = Site::new(HOUSE);
    let (gateway, _meter) = with_house(&site).await;
    let url = format!("http://{}", gateway.web());
    let info = r#"{"cmd":"info","id":5}"#;
    let (code, out, err) = command(&site, &["house", info, "--url", &url], None).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let reply: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&reply["type"], &reply["id"]), (&json!("gem"), &json!(5)));
    // Without a URL it asks where the configuration says.
    let listen = format!("web.listen={}", gateway.web());
    assert_eq!(command(&site, &["house", info, "--set", &listen], None).await.0, 0);
    for (meter, json) in [("house", r#"{"cmd":"getPeriod"}"#), ("no/body", info)] {
        let (code, out, _) = command(&site, &[meter, json, "--url", &url], None).await;
        assert_eq!(code, 1);
        assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["error"], true);
    }
    assert_eq!(command(&site, &["house", "info", "--url", &url], None).await.0, 64);
    // The broker's port is not the web port.
    let wrong = format!("http://{}", gateway.broker());
    assert_eq!(command(&site, &["house", info, "--url", &wrong], None).await.0, 69);
    gateway.stop().await;
    let (code, out, err) = command(&site, &["house", info, "--url", &url], None).await;
    assert_eq!((code, out.as_str()), (69, ""));
    assert!(err.contains(&url), "{err}");
}

/// A proxy may take its path away or leave it; the program's own commands follow the configuration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_path_behind_a_proxy_is_served_beside_the_root() {
    let site = Site::bare();
    configure(&site, "", "127.0.0.1:0\", base_path: \"/energy/");
    let gateway = site.start().await;
    let web = gateway.web();
    for path in ["/energy/healthz", "/healthz", "/energy/metrics", "/energy/api/meters"] {
        assert!(get(web, path).await.starts_with("HTTP/1.1 200"), "{path}");
    }
    assert!(get(web, "/energyhealthz").await.starts_with("HTTP/1.1 404"));
    let listen = format!("web.listen={web}");
    let info = r#"{"cmd":"info"}"#;
    let (code, out, err) = command(&site, &["house", info, "--set", &listen], None).await;
    assert_eq!(code, 0, "{out}{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_logs_in() {
    let site = Site::bare();
    let ann = user(&site, "ann", "secret1");
    configure(&site, &format!(", users: [{ann}]"), "127.0.0.1:0");
    let gateway = site.start().await;
    let url = format!("http://{}", gateway.web());
    let arguments = ["house", r#"{"cmd":"info"}"#, "--url", &url];
    let (code, _, err) = command(&site, &arguments, None).await;
    assert_eq!(code, 1);
    assert!(err.contains("--user"), "{err}");
    let as_ann = [&arguments[..], &["--user", "ann"]].concat();
    let (code, _, err) = command(&site, &as_ann, Some("wrong-secret")).await;
    assert_eq!(code, 1);
    assert!(err.contains("wrong user name or password") && !err.contains("wrong-secret"), "{err}");
    let (code, out, _) = command(&site, &as_ann, Some("secret1")).await;
    assert_eq!(code, 0, "{out}");
}
