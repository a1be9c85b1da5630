//! Talking to Brultech meters: commands from MQTT to the wire and back, and polling, against
//! simulated meters on real sockets.

mod ecm;
mod flood;
mod links;
mod pages;
mod passing;
mod polling;
mod secrets;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use meter_protocols::brultech::Format;
use meterbridge::simulator::{
    Direction, Heard, Manners, SimulatedMeter, Simulation, Simulator, Watched,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::commands::Sender;
use crate::record::within;
use crate::subscriber::{Message, Subscriber};
use crate::support::{Running, Site, post};

/// Simulated meters that run.
pub(crate) struct Meters {
    pub(crate) meters: Vec<SimulatedMeter>,
    pub(crate) heard: Watched<Heard>,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) path: Option<std::path::PathBuf>,
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl Meters {
    /// Meters of these formats, each so many times, on one line.
    pub(crate) async fn start(
        kinds: &[(Format, u32)],
        interval: Duration,
        direction: Direction,
        manners: Manners,
    ) -> Self {
        let simulations: Vec<Simulation> = kinds
            .iter()
            .map(|(format, meters)| Simulation {
                format: *format,
                meters: *meters,
                interval,
                seed: 1,
            })
            .collect();
        let all: Vec<&Simulation> = simulations.iter().collect();
        let simulator = Simulator::of(&all, direction, manners).await.unwrap();
        let (meters, heard) = (simulator.meters(), simulator.heard());
        let (address, path) = (simulator.address(), simulator.path().map(ToOwned::to_owned));
        let (stop, mut task) = (CancellationToken::new(), JoinSet::new());
        task.spawn(simulator.run(stop.clone()));
        Self { meters, heard, address, path, stop, task }
    }

    /// Meters that wait to be dialled.
    pub(crate) async fn waiting(kinds: &[(Format, u32)], manners: Manners) -> Self {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start(kinds, Duration::from_millis(500), Direction::Listen(anywhere), manners).await
    }

    pub(crate) fn serial(&self, n: usize) -> String {
        self.meters[n].look(|state| state.serial())
    }

    pub(crate) fn number(&self, n: usize) -> u16 {
        self.meters[n].look(|state| state.serial_number)
    }

    /// Turns real-time mode off by hand.
    pub(crate) fn hush(&self) {
        self.meters.iter().for_each(|meter| meter.change(|state| state.real_time = false));
    }

    /// The commands heard, without those that poll and hold, and without line ends.
    pub(crate) fn told(&self) -> Vec<String> {
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let all: Vec<String> = self.heard.look(|heard| heard.commands().iter().map(text).collect());
        let background =
            |command: &String| command.ends_with("APISPK") || command.ends_with("SYSPDL");
        all.into_iter().filter(|command| !background(command)).collect()
    }

    /// Waits until this command was heard.
    pub(crate) async fn until_told(&self, command: &[u8]) {
        let what = format!("the meter to hear {}", command.escape_ascii());
        let heard = self.heard.until(|heard| (heard.times(command) > 0).then_some(()));
        within(&what, heard).await;
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        within("the simulator to end", self.task.join_next()).await;
    }
}

/// A gateway, somebody who hears everything, and somebody who sends commands.
pub(crate) struct Scene {
    pub(crate) gateway: Running,
    pub(crate) subscriber: Subscriber,
    sender: Sender,
    next_id: u64,
}

impl Scene {
    pub(crate) async fn at(site: &Site) -> Self {
        Self::hearing(site, "#").await
    }

    /// With somebody who hears no more than this.
    pub(crate) async fn hearing(site: &Site, filter: &str) -> Self {
        let gateway = site.start().await;
        let subscriber = Subscriber::to(gateway.broker(), filter).await;
        let sender = Sender::new(gateway.broker(), "talker").await;
        Self { gateway, subscriber, sender, next_id: 0 }
    }

    /// A gateway with these meters, once every one of them is online.
    pub(crate) async fn with(entries: &str, names: &[&str]) -> Self {
        let mut scene = Self::at(&Site::new(entries)).await;
        for name in names {
            scene.online(name).await;
        }
        scene
    }

    /// Waits until the meter is online, also for those who look for it to send it a command.
    pub(crate) async fn online(&mut self, name: &str) {
        self.subscriber.until(&format!("powermeter/{name}/state/availability"), "online").await;
        let (web, path) = (self.gateway.web(), format!("/api/meters/{name}/command"));
        let online = async {
            while !post(web, &path, r#"{"cmd":"info"}"#).await.contains(r#""online":true"#) {}
        };
        within("the meter to be known as online", online).await;
    }

    /// Sends a command; the reply has the number returned as its `id`.
    pub(crate) async fn send(&mut self, name: &str, mut command: Value) -> u64 {
        self.next_id += 1;
        command["id"] = json!(self.next_id);
        self.sender.send(&format!("powermeter/{name}/cmd"), command.to_string(), false).await;
        self.next_id
    }

    /// Sends a command with `mosquitto_pub`; gives the reply, and what was on the wire for it.
    pub(crate) async fn publish(
        &mut self,
        meters: &Meters,
        name: &str,
        mut command: Value,
    ) -> (Value, Vec<u8>) {
        let before = meters.heard.look(|heard| heard.bytes().len());
        self.next_id += 1;
        command["id"] = json!(self.next_id);
        let broker = self.gateway.broker();
        let status = tokio::process::Command::new("mosquitto_pub")
            .args(["-h", &broker.ip().to_string(), "-p", &broker.port().to_string()])
            .args(["-t", &format!("powermeter/{name}/cmd"), "-m", &command.to_string()])
            .status();
        assert!(within("mosquitto_pub", status).await.unwrap().success());
        let reply = self.reply(name, self.next_id).await;
        (reply, meters.heard.look(|heard| heard.bytes()).split_off(before))
    }

    pub(crate) async fn reply(&self, name: &str, id: u64) -> Value {
        let what = format!("the reply {id} of {name}");
        self.subscriber.messages.until(&what, |all| find_reply(all, name, id)).await
    }

    pub(crate) async fn ask(&mut self, name: &str, command: Value) -> Value {
        let id = self.send(name, command).await;
        self.reply(name, id).await
    }
}

pub(crate) fn find_reply(all: &[Message], name: &str, id: u64) -> Option<Value> {
    let topic = format!("powermeter/{name}/state/info");
    // The newest are the likeliest.
    all.iter()
        .rev()
        .filter(|message| message.topic == topic)
        .filter_map(|message| serde_json::from_str::<Value>(&message.payload).ok())
        .find(|reply| reply["id"] == id)
}

/// An entry for meters that are dialled.
pub(crate) fn dialled(name: &str, address: SocketAddr, more: &str) -> String {
    format!("\n  - {{name: {name}, kind: brultech, link: {{connect: \"{address}\"}}{more}}}")
}
