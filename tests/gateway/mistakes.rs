//! The program with a configuration that has mistakes, and what it says of itself while it runs.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::commands::Sender;
use crate::process::{Kill, Process, lines, program};
use crate::record::within;
use crate::subscriber::Subscriber;
use crate::support::{HOUSE, Site, free_port, get};

/// Asks until the answer holds `word`. While one server gives way to the next there is none.
async fn until_page(web: SocketAddr, path: &str, word: &str) -> String {
    within(word, async {
        loop {
            match try_get(web, path).await {
                Ok(answer) if answer.contains(word) => return answer,
                _ => tokio::task::yield_now().await,
            }
        }
    })
    .await
}

async fn try_get(web: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(web).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {web}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_shown_until_they_are_mended() {
    let site = Site::new(HOUSE);
    let right = std::fs::read_to_string(site.config_file()).unwrap();
    let port = free_port();
    let right =
        right.replace("web: {listen: 127.0.0.1:0}", &format!("web: {{listen: 127.0.0.1:{port}}}"));
    let wrong = format!("{right}brokr: <b>\nlog: {{level: loud}}\n");
    std::fs::write(site.config_file(), &wrong).unwrap();
    let config = site.config_file();
    let mut command =
        program(&site, &["run", "--serve-mistakes", "--config", config.to_str().unwrap()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = Kill(command.spawn().unwrap());
    let log = lines(child.0.stderr.take().unwrap());
    let web = SocketAddr::from(([127, 0, 0, 1], port));
    let page = until_page(web, "/", "2 mistakes").await;
    assert!(page.starts_with("HTTP/1.1 503"), "{page}");
    assert!(
        page.contains("brokr") && page.contains("log.level") && !page.contains("<b>"),
        "{page}"
    );
    for path in ["/healthz", "/api/meters", "/any/base/api/info"] {
        let answer = get(web, path).await;
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.contains("\"misconfigured\""),
            "{answer}"
        );
    }
    // One is mended, then the other.
    std::fs::write(site.config_file(), wrong.replace("brokr: <b>\n", "")).unwrap();
    until_page(web, "/", "1 mistake").await;
    std::fs::write(site.config_file(), &right).unwrap();
    until_page(web, "/healthz", "\"ok\"").await;
    assert!(log.all().iter().any(|line| line.contains("brokr")), "{:?}", log.all());
    let order = format!("kill -TERM {}", child.0.id());
    assert!(std::process::Command::new("sh").args(["-c", &order]).status().unwrap().success());
    log.closed("the end of the program").await;
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_told_to_stop_before_ends_as_without_the_page() {
    let site = Site::bare();
    let port = free_port();
    std::fs::write(site.config_file(), "meters: 5\n").unwrap();
    let listen = format!("web.listen=127.0.0.1:{port}");
    let config = site.config_file();
    let mut command = program(&site, &["--config", config.to_str().unwrap(), "--set", &listen]);
    command.env("METERBRIDGE_SERVE_MISTAKES", "true");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = Kill(command.spawn().unwrap());
    let log = lines(child.0.stderr.take().unwrap());
    until_page(SocketAddr::from(([127, 0, 0, 1], port)), "/", "1 mistake").await;
    let order = format!("kill -TERM {}", child.0.id());
    assert!(std::process::Command::new("sh").args(["-c", &order]).status().unwrap().success());
    log.closed("the end of the program").await;
    assert_eq!(child.0.wait().unwrap().code(), Some(78));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_and_a_changed_file_are_told() {
    let site = Site::new(HOUSE);
    let gateway = Process::run(&site, &["run"]).await;
    let subscriber = Subscriber::new(gateway.broker).await;
    let mut sender = Sender::new(gateway.broker, "sender").await;
    sender.send("powermeter/nobody/cmd", r#"{"cmd":"info"}"#, false).await;
    let lines = subscriber.on("meterbridge/bridge/log", 1).await;
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["level"], "warning");
    assert!(line["message"].as_str().unwrap().contains("nobody") && line["ts"].is_i64(), "{line}");

    let info = |wanted: bool| {
        move |text: &String| {
            let info: serde_json::Value = serde_json::from_str(text).unwrap();
            info["restart_required"] == wanted
        }
    };
    assert!(subscriber.last("meterbridge/bridge/info").as_ref().is_some_and(info(false)));
    let text = std::fs::read_to_string(site.config_file()).unwrap();
    std::fs::write(site.config_file(), format!("{text}\n# changed\n")).unwrap();
    let infos = subscriber.on("meterbridge/bridge/info", 2).await;
    assert!(info(true)(&infos[1]), "{infos:?}");
    std::fs::write(site.config_file(), text).unwrap();
    let infos = subscriber.on("meterbridge/bridge/info", 3).await;
    assert!(info(false)(&infos[2]), "{infos:?}");
}
