//! A Fluksometer's broker is Mosquitto, and people bridge it with `topic # both`.

use std::process::Stdio;
use std::time::Duration;

use rumqttc::{AsyncClient, MqttOptions, QoS};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::device::{DEVICE, Said, parts, session};
use crate::meters::{GEM, bytes, counter, device_id, gem_ch1};
use crate::record::within;
use crate::support::{Running, Site, free_port};

/// Mosquitto with a bridge to the gateway's broker, and a client that speaks as the device does.
struct Device {
    client: AsyncClient,
    _task: JoinSet<()>,
    _process: Child,
    _directory: TempDir,
}

impl Device {
    async fn start(gateway: &Running) -> Device {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nconnection gateway\naddress {}\n\
             topic # both 0\ncleansession true\nrestart_timeout 1\n",
            gateway.broker()
        );
        let file = directory.path().join("mosquitto.conf");
        std::fs::write(&file, text).unwrap();
        // Debian keeps daemons where a plain user's PATH does not look.
        let path = format!("{}:/usr/local/sbin:/usr/sbin", std::env::var("PATH").unwrap());
        let process = Command::new("mosquitto")
            .env("PATH", path)
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("mosquitto is installed");
        let ready = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        within("mosquitto listens", ready).await;
        let mut options = MqttOptions::new("device", "127.0.0.1", port);
        options.set_max_packet_size(1 << 20, 1 << 20).set_keep_alive(Duration::from_secs(60));
        let (client, mut events) = AsyncClient::new(options, 100);
        let mut task = JoinSet::new();
        task.spawn(async move { while events.poll().await.is_ok() {} });
        Device { client, _task: task, _process: process, _directory: directory }
    }

    async fn say(&self, said: &[Said]) {
        for one in said {
            let payload = one.payload.clone();
            self.client.publish(&one.topic, QoS::AtLeastOnce, one.retain, payload).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_both_ways_brings_the_device_and_nothing_of_our_own() {
    let site = Site::new(
        "\n  - name: house\n    kind: brultech\n    link: {listen: 127.0.0.1:0}\n  - name: cellar\n    \
         kind: fluksometer\n    link: {mqtt: embedded}\n",
    );
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut meter = gateway.dial().await;
    for n in 0..2_u32 {
        meter.send(&bytes(&gem_ch1(100 + 10 * n, 36_000 + u64::from(n) * 5_000, 0))).await;
    }
    subscriber.packets("house", 2).await;
    let device = Device::start(&gateway).await;
    let (documents, readings) = parts(session("flm02b"));
    // Retained there: they come with the bridge, however long that takes.
    device.say(&documents).await;
    subscriber.on(&format!("/device/{DEVICE}/config/sensor"), 1).await;
    device.say(&readings).await;
    subscriber.packets("cellar", 1).await;
    subscriber.until("powermeter/cellar/state/availability", "online").await;
    // The device's broker has heard of the other meter by now, and tells nothing of it.
    meter.send(&bytes(&gem_ch1(120, 46_000, 0))).await;
    subscriber.packets("house", 3).await;
    assert_eq!(subscriber.payloads(&counter(GEM, "ch1", "pplus")).len(), 3);
    let devices = subscriber.last("meterbridge/bridge/devices").unwrap();
    assert_eq!(devices.matches(&device_id(GEM)).count(), 1, "{devices}");
    gateway.stop().await;
}
