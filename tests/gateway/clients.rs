//! Programs that are not ours at `meterbridge demo`: mosquitto_sub over both protocol versions on
//! one port, and what the demo tells a newcomer to type.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::ear::{Ear, Heard};
use crate::process::{Kill, Process, ends, lines, program};
use crate::readers::payload;
use crate::record::Record;
use crate::support::{Site, get, metric};

/// The demo in an empty directory, on ports of its own.
async fn demo(site: &Site) -> Process {
    let data_dir = format!("data_dir={}", site.path().join("data").display());
    let arguments = [
        "demo",
        "--set",
        "broker.listen=127.0.0.1:0",
        "--set",
        "web.listen=127.0.0.1:0",
        "--set",
        &data_dir,
    ];
    Process::start(program(site, &arguments)).await
}

/// mosquitto_sub, and the lines it prints.
fn mosquitto_sub(broker: SocketAddr, version: &str, filters: &[&str]) -> (Kill, Record<String>) {
    let (host, port) = (broker.ip().to_string(), broker.port().to_string());
    let mut child = Command::new("mosquitto_sub")
        .args(["-h", &host, "-p", &port, "-V", version, "-v"])
        .args(filters.iter().flat_map(|filter| ["-t", filter]))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("mosquitto_sub is there: package mosquitto-clients");
    let lines = lines(child.stdout.take().unwrap());
    (Kill(child), lines)
}

/// All readings; blocks of history are no lines.
const READINGS: [&str; 2] = ["/sensor/+/gauge", "/sensor/+/counter"];

/// Waits for a gauge in watts and a counter in watt-hours.
async fn sees_readings(lines: &Record<String>, version: &str) {
    for (end, unit) in [("/gauge", "W"), ("/counter", "Wh"), ("/gauge", "V"), ("/gauge", "°C")] {
        lines
            .until(&format!("{unit} over {version}"), |lines| {
                lines.iter().find_map(|line| {
                    let (topic, payload) = line.split_once(' ')?;
                    assert!(topic.starts_with("/sensor/"), "{line}");
                    (topic.ends_with(end) && payload::read(payload).unwrap().unit == unit)
                        .then_some(())
                })
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_sub_sees_the_demo_over_both_versions_on_one_port() {
    let site = Site::bare();
    let process = demo(&site).await;
    let (_old, old) = mosquitto_sub(process.broker, "mqttv311", &READINGS);
    let (_new, new) = mosquitto_sub(process.broker, "5", &READINGS);
    sees_readings(&old, "MQTT 3.1.1").await;
    sees_readings(&new, "MQTT 5").await;
    let (_late, late) = mosquitto_sub(process.broker, "5", &["/device/+/config/sensor"]);
    late.until("the retained document", |lines| {
        let (_, document) = lines.first()?.split_once(' ')?;
        serde_json::from_str::<serde_json::Value>(document).is_ok().then_some(())
    })
    .await;

    let (_meter, meter) =
        mosquitto_sub(process.broker, "5", &["powermeter/demo-gem/state/channels"]);
    meter.until("two packets", |lines| (lines.len() >= 2).then_some(())).await;
    assert!(metric(process.web, "meterbridge_packets_total").await >= 2);
    assert_eq!(metric(process.web, "meterbridge_skipped_bytes_total").await, 0);
    assert!(metric(process.web, "meterbridge_meters_online").await >= 1);
    let url = format!("http://{}", process.web);
    let (code, message) = ends(program(&site, &["health", &url])).await;
    assert_eq!(code, 0, "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_demo_tells_to_type_works() {
    let site = Site::bare();
    let process = demo(&site).await;
    let advice = process
        .output
        .until("the advice", |lines| {
            lines.iter().any(|line| line.contains("Ctrl-C")).then(|| lines.to_vec())
        })
        .await;
    let commands: Vec<&String> =
        advice.iter().filter(|line| line.contains("mosquitto_sub ")).collect();
    assert!(commands.len() >= 2, "{advice:#?}");
    for line in commands {
        let (line, _) = line.rsplit_once("-v ").expect("-v and what it shows");
        let command = format!("exec {} -v -C 1", line.trim());
        let mut child = Command::new("sh")
            .args(["-c", &command])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = lines(child.stdout.take().unwrap());
        let mut child = Kill(child);
        output.closed(&command).await;
        assert!(child.0.wait().unwrap().success(), "{command}");
        assert_eq!(output.len(), 1, "{command}");
    }
    let recorded = advice.iter().find(|line| line.contains("ffmpeg ")).expect("a line for ffmpeg");
    let file = site.path().join("lines.wav");
    let command = recorded.trim().replace("-t 10", "-t 1").replace("lines.wav", "");
    let command = format!("exec {command} -loglevel error -y {}", file.display());
    let ended = Command::new("sh").args(["-c", &command]).stdin(Stdio::null()).status();
    assert!(ended.unwrap().success(), "{command}");
    // A second of it: what stands behind the header is 1,000 times six floats.
    let bytes = std::fs::read(&file).unwrap();
    let samples = &bytes[bytes.len() - 24_000..];
    let voltage = |row: &[u8]| f64::from(f32::from_le_bytes(row[..4].try_into().unwrap()));
    let squares: f64 = samples.chunks(24).map(|row| voltage(row).powi(2)).sum();
    let rms = (squares / 1000.0).sqrt();
    assert!((rms - 230.1).abs() < 0.01, "{rms} V");
    let metrics = format!("http://{}/metrics", process.web);
    assert!(advice.iter().any(|line| line.contains(&metrics)), "{advice:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_has_the_same_meters_each_time() {
    let site = Site::bare();
    let mut devices = Vec::new();
    for _ in 0..2 {
        let process = demo(&site).await;
        let ear = Ear::at(process.broker).await;
        let documents = |all: &[Heard]| {
            let is_document = |heard: &&Heard| heard.topic.ends_with("/config/sensor");
            let topics = all.iter().filter(is_document).map(|heard| heard.topic.clone());
            let topics: BTreeSet<String> = topics.collect();
            (topics.len() == crate::demo::METERS.len()).then_some(topics)
        };
        devices.push(ear.heard.until("a document of each meter", documents).await);
        process.kill().await;
    }
    assert_eq!(devices[0], devices[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_numbers_are_in_the_form_that_prometheus_reads() {
    let site = Site::new(crate::support::HOUSE);
    let gateway = site.start().await;
    let answer = get(gateway.web(), "/metrics").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    let mut names = std::collections::HashSet::new();
    for line in body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.split_once(' ').expect(line);
        assert!(name.starts_with("meterbridge_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(names.insert(name.to_owned()), "{name} is there twice");
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        assert!(body.contains(&format!("# TYPE {name} {kind}\n")), "{name} is no {kind}");
    }
    assert!(get(gateway.web(), "/nowhere").await.starts_with("HTTP/1.1 404"));
}
