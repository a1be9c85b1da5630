//! A simulated SmartMeter samples: ffmpeg reads from the relay, files are written, `record` is obeyed.

mod renamed;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use meterbridge::simulator::{SmartKind, SmartManners, SmartSimulation, SmartSimulator, SmartWays};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::post;
use crate::record::within;
use crate::support::Site;

/// A SmartMeter whose loads never change. Dropping it ends it.
struct Simulated {
    address: std::net::SocketAddr,
    /// RMS by channel, V and mA.
    rms: Vec<f64>,
    _tasks: JoinSet<()>,
}

impl Simulated {
    async fn start() -> Simulated {
        let simulation = SmartSimulation {
            kind: SmartKind::SmartMeter,
            meters: 1,
            interval: Duration::from_secs(5),
            seed: 1,
            steady: true,
        };
        let listen = Some("127.0.0.1:0".parse().unwrap());
        let ways = SmartWays { listen, ..SmartWays::default() };
        let simulator = SmartSimulator::build(&simulation, ways, SmartManners::default());
        let simulator = simulator.await.unwrap();
        let levels = simulator.meters()[0].look(|device| device.levels(0.0));
        let rms = levels.iter().flat_map(|line| [line.voltage_v, line.current_a * 1000.0]);
        let (address, rms) = (simulator.address().unwrap(), rms.collect());
        let mut tasks = JoinSet::new();
        tasks.spawn(simulator.run(CancellationToken::new()));
        Simulated { address, rms, _tasks: tasks }
    }

    fn assert_is_in(&self, samples: &[f32]) {
        for (channel, expected) in self.rms.iter().enumerate() {
            let of = || samples.iter().skip(channel).step_by(6);
            let squares: f64 = of().map(|sample| f64::from(*sample).powi(2)).sum();
            let found = (squares / of().count() as f64).sqrt();
            assert!((found / expected - 1.0).abs() < 1e-3, "{channel}: {found} and not {expected}");
        }
    }
}

/// The samples behind a head of this length; whole frames of six.
fn samples(file: &Path, head: usize) -> Vec<f32> {
    let bytes = std::fs::read(file).unwrap();
    let samples = bytes[head..].chunks_exact(4);
    let mut samples: Vec<f32> =
        samples.map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    samples.truncate(samples.len() / 6 * 6);
    samples
}

fn recordings(site: &Site) -> Vec<PathBuf> {
    let files = std::fs::read_dir(site.path().join("data/recordings")).into_iter().flatten();
    let files = files.map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|end| end == "wav")).collect();
    files.sort();
    files
}

fn site(meter: &Simulated, record: &str) -> Site {
    Site::new(&format!(
        "\n  - name: mains\n    kind: smartmeter\n    link: {{connect: {}}}\n    \
         stream: {{rate: 8000, relay: 127.0.0.1:0, record: {record}}}\n",
        meter.address
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_and_the_recorder_get_what_the_meter_samples() {
    let meter = Simulated::start().await;
    let site = site(&meter, "{keep_free: 0}");
    let gateway = site.start().await;
    let out = site.path().join("out.raw");
    let done = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin"])
        .args(["-f", "f32le", "-ar", "8000", "-ac", "6"])
        .args(["-i", &format!("tcp://{}", gateway.addresses.relays[0])])
        .args(["-t", "5", "-f", "f32le", "-c:a", "pcm_f32le"])
        .arg(&out)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = within("ffmpeg", done).await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let read = samples(&out, 0);
    assert_eq!(read.len(), 5 * 8000 * 6);
    meter.assert_is_in(&read);

    assert_eq!(gateway.metric("meterbridge_recordings").await, 1);
    gateway.stop().await;
    let files = recordings(&site);
    assert_eq!(files.len(), 1);
    let name = files[0].file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.starts_with("mains_20") && name.ends_with("Z.wav"), "{name}");
    let recorded = samples(&files[0], 512);
    // Whole cycles of 50 Hz; all of what ffmpeg had is there.
    let cycles = recorded.len() / (160 * 6) * (160 * 6);
    assert!(cycles >= read.len());
    meter.assert_is_in(&recorded[..cycles]);
    let at = recorded.windows(6 * 100).position(|some| some == &read[..6 * 100]).unwrap();
    assert_eq!(recorded[at..at + read.len()], read[..]);
    let beside = std::fs::read(files[0].with_extension("json")).unwrap();
    let beside: Value = serde_json::from_slice(&beside).unwrap();
    assert_eq!((&beside["meter"], &beside["gaps"]), (&json!("mains"), &json!([])));
    assert_eq!(beside["frames"], recorded.len() / 6);
    assert_eq!(beside["ended"], "the gateway stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recording_is_a_command() {
    let meter = Simulated::start().await;
    let site = site(&meter, "{start: command, keep_free: 0}");
    let gateway = site.start().await;
    let web = gateway.web();
    let record = async |payload: Value| {
        let body = json!({"cmd": "record", "payload": payload, "id": 7});
        let (status, reply) = post(web, "mains", "", &body.to_string()).await;
        assert_eq!((status, &reply["cmd"], &reply["id"]), (200, &json!("record"), &json!(7)));
        reply
    };
    let on = record(json!({"on": true})).await;
    assert_eq!((&on["error"], &on["recording"]), (&json!(false), &json!(true)));
    let state = within("samples", async {
        loop {
            let state = record(json!({})).await;
            if state["frames"].as_u64().unwrap() > 1000 {
                return state;
            }
        }
    })
    .await;
    assert_eq!((&state["state"], &state["gaps"]), (&json!("recording"), &json!(0)));
    let off = record(json!({"on": false})).await;
    assert_eq!((&off["recording"], &off["file"]), (&json!(false), &Value::Null));
    let file = recordings(&site).remove(0);
    assert_eq!(state["file"], file.display().to_string());
    let beside = std::fs::read_to_string(file.with_extension("json")).unwrap();
    assert!(beside.contains("\"ended\":\"it was switched off\""), "{beside}");

    let (status, wrong) =
        post(web, "mains", "", r#"{"cmd":"record","payload":{"on":"yes"}}"#).await;
    assert_eq!((status, &wrong["error"]), (422, &json!(true)));
    assert!(wrong["msg"].as_str().unwrap().contains("true or false"), "{wrong}");
    gateway.stop().await;
}
