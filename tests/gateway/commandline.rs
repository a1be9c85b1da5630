//! The running program: signals, `health`, and simulated meters against it.

use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::meters::{bytes, gem};
use crate::process::{Kill, Process, ends, lines, program};
use crate::subscriber::{Message, Subscriber};
use crate::support::{HOUSE, Meter, Site, free_port, metric};

/// The exit code after a signal; the contract allows ten seconds.
async fn ends_after(mut process: Process, signal: &str) -> Option<i32> {
    process.signal(signal);
    let ended = tokio::time::timeout(Duration::from_secs(10), process.exited());
    ended.await.expect("ten seconds at most").code()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_it_cleanly_with_clients_and_meters_connected() {
    for signal in ["TERM", "INT"] {
        let site = Site::new(HOUSE);
        let process = Process::run(&site, &["run"]).await;
        let subscriber = Subscriber::new(process.broker).await;
        let mut meter = process.dial().await;
        meter.send(&bytes(&gem(603, 100))).await;
        subscriber.packets("house", 1).await;
        assert_eq!(ends_after(process, signal).await, Some(0), "{signal}");
        subscriber.messages.closed("the end of the connection").await;
        let last = |topic: &str| subscriber.last(topic);
        assert_eq!(last("powermeter/house/state/availability").as_deref(), Some("offline"));
        assert_eq!(last("meterbridge/bridge/state").as_deref(), Some("offline"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_it_also_while_nothing_happens() {
    let site = Site::new(" []\n");
    let process = Process::run(&site, &[]).await;
    assert_eq!(ends_after(process, "TERM").await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_0_while_it_runs_and_1_afterwards() {
    let site = Site::new(HOUSE);
    let process = Process::run(&site, &[]).await;
    let web = process.web;
    let ask = |url: String| program(&site, &["health", &url]);
    for url in [format!("http://{web}"), format!("http://{web}/healthz")] {
        let (code, message) = ends(ask(url)).await;
        assert_eq!((code, message.as_str()), (0, ""));
    }
    // Without a URL it asks where the configuration says.
    let listen = format!("web.listen={web}");
    assert_eq!(ends(program(&site, &["health", "--set", &listen])).await.0, 0);
    // The broker's port is not the web port.
    assert_eq!(ends(ask(format!("http://{}", process.broker))).await.0, 1);
    process.kill().await;
    let (code, message) = ends(ask(format!("http://{web}"))).await;
    assert_eq!(code, 1);
    assert!(message.contains(&web.to_string()), "{message}");
}

/// A simulator in a process of its own.
fn simulate(site: &Site, arguments: &[&str]) -> Kill {
    let mut command: Command = program(site, &[&["simulate"], arguments].concat());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    Kill(command.spawn().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simulated_meters_dial_in() {
    let port = free_port();
    let site = Site::new(&HOUSE.replace("127.0.0.1:0", &format!("127.0.0.1:{port}")));
    let process = Process::run(&site, &[]).await;
    let subscriber = Subscriber::new(process.broker).await;
    let to = format!("127.0.0.1:{port}");
    let fast = ["--connect", &to, "--interval", "200ms"];
    let _gem = simulate(&site, &[&["gem", "--meters", "3"], &fast[..]].concat());
    // The entry names no serial number and takes whoever dials first: that is to be a GEM.
    let the_house = |message: &&Message| {
        message.topic.starts_with("powermeter/house/") && message.payload == "online"
    };
    subscriber
        .messages
        .until("a GEM as the house", |all| all.iter().find(the_house).map(drop))
        .await;
    let _ecm1240 = simulate(&site, &[&["ecm1240"], &fast[..]].concat());
    let _ecm1220 = simulate(&site, &[&["ecm1220"], &fast[..]].concat());
    let is_online = |message: &&Message| {
        message.topic.starts_with("powermeter/") && message.payload == "online"
    };
    subscriber
        .messages
        .until("five meters", |all| (all.iter().filter(is_online).count() >= 5).then_some(()))
        .await;
    // Gauges of each come with the second packet: there is a power in the summary.
    subscriber
        .messages
        .until("a power of an ECM-1220", |all| {
            all.iter().find(|message| {
                message.topic.starts_with("powermeter/ecm1220-")
                    && message.topic.ends_with("/state/channels")
                    && message.payload.contains("\"power\"")
            })?;
            Some(())
        })
        .await;
    assert_eq!(metric(process.web, "meterbridge_counter_corrections_total").await, 0);
    assert_eq!(metric(process.web, "meterbridge_skipped_bytes_total").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simulated_meters_wait_to_be_dialled() {
    let port = free_port();
    let site =
        Site::new(&HOUSE.replace("listen: 127.0.0.1:0", &format!("connect: \"127.0.0.1:{port}\"")));
    let listen = format!("127.0.0.1:{port}");
    let mut simulator = simulate(&site, &["gem", "--listen", &listen, "--interval", "200ms"]);
    let log = lines(simulator.0.stderr.take().unwrap());
    log.until("the simulator to wait", |lines| {
        lines.iter().any(|line| line.contains(&listen)).then_some(())
    })
    .await;
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    subscriber.packets("house", 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simulated_meters_that_misbehave_are_heard() {
    let port = free_port();
    let site = Site::new(&HOUSE.replace("127.0.0.1:0", &format!("127.0.0.1:{port}")));
    let process = Process::run(&site, &[]).await;
    let subscriber = Subscriber::new(process.broker).await;
    let to = format!("127.0.0.1:{port}");
    let fast = ["--connect", &to, "--interval", "200ms"];
    let _single = simulate(&site, &[&["gem", "--one-packet"], &fast[..]].concat());
    let pieces = ["ecm1240", "--noise", "--chunks", "20", "--pause", "10ms"];
    let _pieces = simulate(&site, &[&pieces, &fast[..]].concat());
    for start in ["powermeter/house/", "powermeter/ecm1240-"] {
        subscriber
            .messages
            .until(start, |all| {
                let of_it = all.iter().filter(|message| {
                    message.topic.starts_with(start) && message.topic.ends_with("/state/channels")
                });
                (of_it.count() >= 3).then_some(())
            })
            .await;
    }
    assert_eq!(metric(process.web, "meterbridge_counter_corrections_total").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulator_on_a_serial_line_prints_its_path_and_takes_its_link_with_it() {
    let site = Site::new(HOUSE);
    let link = site.path().join("port");
    let arguments = ["simulate", "gem", "--serial", "--interval", "1h", "--link", "port"];
    let mut command: Command = program(&site, &arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut simulator = Kill(command.spawn().unwrap());
    let output = lines(simulator.0.stdout.take().unwrap());
    output.until("the path", |lines| lines.iter().any(|line| line == "port").then_some(())).await;
    let mut port = tokio::fs::OpenOptions::new();
    let mut port = port.read(true).write(true).open(&link).await.unwrap();
    let mut packet = [0; 625];
    port.read_exact(&mut packet).await.unwrap();
    port.write_all(b"^^^RQSSRN").await.unwrap();
    port.flush().await.unwrap();
    let mut answer = [0; 10];
    port.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"00110001\r\n");
    let order = format!("kill -TERM {}", simulator.0.id());
    assert!(Command::new("sh").args(["-c", &order]).status().unwrap().success());
    output.closed("the end of the program").await;
    assert!(simulator.0.wait().unwrap().success());
    assert!(!link.exists() && !link.is_symlink());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_where_everything_is_and_what_was_skipped() {
    let site = Site::new(HOUSE);
    let process = Process::run(&site, &[]).await;
    let mut meter: Meter = process.dial().await;
    meter.send(b"not a packet at all \xFE\xFF\x09").await;
    meter.send(&bytes(&gem(603, 100))).await;
    for part in ["skipped", "online"] {
        process
            .log
            .until(part, |lines| lines.iter().any(|line| line.contains(part)).then_some(()))
            .await;
    }
    assert!(process.output.all().is_empty(), "results only, and there are none");
}
