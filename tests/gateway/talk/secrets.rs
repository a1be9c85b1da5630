//! A GEM's list of settings holds its set-up password. Nothing of it leaves the process: not by a
//! topic, an HTTP answer, a log line or a file.

use std::path::Path;
use std::time::Duration;

use meter_protocols::brultech::Format;
use meterbridge::simulator::{Manners, PASSWORD};
use serde_json::json;

use super::wire::questions;
use super::{Meters, dialled};
use crate::process::{Process, program};
use crate::record::within;
use crate::subscriber::Subscriber;
use crate::support::{Site, get, metric, post};

/// How the password, or most of it, would look.
fn secrets() -> Vec<String> {
    let plain = String::from_utf8(PASSWORD.to_vec()).unwrap();
    let mut all = vec![plain.clone(), plain[..4].to_owned()];
    for separator in ["", ",", ", ", " "] {
        let hex = PASSWORD.map(|byte| format!("{byte:02x}"));
        let decimal = PASSWORD.map(|byte| byte.to_string());
        // Six digits in a row are in every time stamp sooner or later.
        let most = if separator.is_empty() { 4 } else { 3 };
        for values in [hex, decimal] {
            all.extend(values.windows(most).map(|some| some.join(separator)));
        }
    }
    all
}

fn assert_clean(what: &str, text: &str) {
    let lower = text.to_lowercase();
    for secret in secrets() {
        assert!(!lower.contains(&secret), "{what} has {secret:?}: {text}");
    }
}

fn files(directory: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else if let Ok(bytes) = std::fs::read(&path) {
            all.push((path.display().to_string(), bytes));
        }
    }
}

/// All that can be read, at the finest log level, with these manners of the line.
async fn everything_read(manners: Manners, fails: usize) {
    let meters = Meters::waiting(&[(Format::Bin48Net, 1)], manners).await;
    let more = format!(", poll: 1h, serial_number: \"{}\"", meters.serial(0));
    let site = Site::new(&dialled("house", meters.address.unwrap(), &more));
    let mut command = program(&site, &["run", "--config", site.config_file().to_str().unwrap()]);
    command.env("RUST_LOG", "trace");
    let mut process = Process::start(command).await;
    let subscriber = Subscriber::new(process.broker).await;
    subscriber.until("powermeter/house/state/availability", "online").await;
    meters.until_told(b"^^^APISPK").await;
    let all = json!({"cmd": "get", "setting": "all"});
    let mut said = Vec::new();
    let reads = std::iter::once(all).chain(questions().into_iter().map(|(command, _)| command));
    // With one answer in five that late, the next one is on time, and those behind it may not be.
    let count = if fails > 0 { fails + 1 } else { usize::MAX };
    for (n, command) in reads.take(count).enumerate() {
        let answer = post(process.web, "/api/meters/house/command", &command.to_string()).await;
        assert_eq!(answer.contains("\"error\":true"), n < fails, "{command}: {answer}");
        said.push(answer);
        if n < fails {
            // It comes when nobody waits for it.
            meters.until_told(b"^^^RQSALL").await;
            let bytes = "meterbridge_skipped_bytes_total";
            let fits = async { while metric(process.web, bytes).await < 1000 {} };
            within("the list to come after all", fits).await;
        }
    }
    // A packet at the end, so that everything before it was looked at.
    let before = meters.meters[0].look(|state| state.packets_sent);
    meters.meters[0].change(|state| state.real_time = true);
    subscriber.packets("house", before as usize + 2).await;
    for path in ["/metrics", "/api/meters", "/healthz", "/"] {
        said.push(get(process.web, path).await);
    }
    said.extend(subscriber.seen().into_iter().map(|message| message.payload));
    process.signal("TERM");
    process.exited().await;
    let (log, output) = (process.log.all(), process.output.all());
    assert!(log.iter().any(|line| line.contains("TRACE")), "the log is at its finest: {log:?}");
    said.extend(log);
    said.extend(output);
    said.iter().for_each(|text| assert_clean("what was said", text));
    let mut kept = Vec::new();
    files(&site.path().join("data"), &mut kept);
    assert!(!kept.is_empty(), "the gateway keeps something");
    for (path, bytes) in kept {
        assert_clean(&path, &String::from_utf8_lossy(&bytes));
    }
    meters.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_is_nowhere_after_everything_was_read() {
    everything_read(Manners::default(), 0).await;
}

/// In pieces, with packets and noise in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_is_nowhere_when_its_list_comes_in_pieces() {
    let manners = Manners {
        split_replies: true,
        chunks: Some(83),
        pause: Duration::from_millis(1),
        ..Manners::default()
    };
    everything_read(manners, 0).await;
}

/// Later than anybody waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_is_nowhere_when_its_list_comes_too_late() {
    let manners = Manners {
        // Set-up, keep-alive, degrees and a poll come before the list.
        late: Some((5, Duration::from_secs(5))),
        chunks: Some(100),
        pause: Duration::from_millis(1),
        noise: true,
        ..Manners::default()
    };
    everything_read(manners, 1).await;
}
