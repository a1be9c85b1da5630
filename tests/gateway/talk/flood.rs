//! Packets and commands interleaved on one link: every packet is counted, every command answered by
//! its own answer or timed out by its own deadline.

use std::time::Duration;

use meter_protocols::brultech::Format;
use meterbridge::simulator::{Direction, Manners};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Meters, Scene, dialled, find_reply};
use crate::record::within;
use crate::subscriber::Subscriber;
use crate::support::Site;

/// What went over the link.
struct Flood {
    packets: u64,
    commands: usize,
    /// Of so many answers of a meter one comes after the command's deadline, those behind it in
    /// turn.
    late: Option<u32>,
}

/// A command and the only value that answers it.
struct Asked {
    name: &'static str,
    id: u64,
    command: Value,
    wanted: Value,
}

const NAMES: [&str; 2] = ["one", "two"];

/// The CT type of a channel: no two channels of the two meters have the same.
fn ct_type(meter: usize, channel: usize) -> u8 {
    (1 + 2 * channel + meter) as u8
}

/// The `n`th command. Those of one kind follow each other with answers that differ, so that one
/// taken for another would show.
fn command(n: usize, serials: &[String; 2]) -> (Value, Value) {
    let (meter, turn) = (n % 2, n / 2);
    let channel = 1 + turn % 48;
    let get = |setting: &str| json!({"cmd": "get", "setting": setting, "channel": channel});
    let set =
        |setting: &str, value: usize| json!({"cmd": "set", "setting": setting, "value": value});
    match turn % 6 {
        0 | 1 => (get("ct_type"), json!(ct_type(meter, channel))),
        // The long list, with the value of this very command in it.
        2 => (set("pt_type", 1 + n % 255), json!(1 + n % 255)),
        3 => (get("ct"), json!({"type": ct_type(meter, channel), "range": channel % 10})),
        4 => (set("chunk_pause", 1000 + n), json!(1000 + n)),
        _ => (json!({"cmd": "get", "setting": "serial"}), json!(serials[meter])),
    }
}

/// Two meters on a line, and the answers of each with a packet in their middle.
async fn meters(late: Option<u32>) -> Meters {
    let manners = Manners {
        split_replies: true,
        slow: Duration::from_millis(2),
        late: late.map(|every| (every, Duration::from_secs(12))),
        ..Manners::default()
    };
    let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let every = Duration::from_millis(if cfg!(debug_assertions) { 100 } else { 20 });
    let meters =
        Meters::start(&[(Format::Bin32Net, 2)], every, Direction::Listen(anywhere), manners).await;
    for (n, meter) in meters.meters.iter().enumerate() {
        meter.change(|state| {
            // Not before somebody listens.
            state.real_time = false;
            let settings = &mut state.gem().unwrap().settings;
            for channel in 1..=48 {
                settings.0[48 + channel] = ct_type(n, channel);
                settings.set_ct_range(channel - 1, (channel % 10) as u8);
            }
        });
    }
    meters
}

impl Flood {
    /// Has it all happen, and gives how many commands were not answered in time.
    async fn run(self) -> usize {
        let (meters, begun) = (meters(self.late).await, Instant::now());
        let serials = [meters.serial(0), meters.serial(1)];
        let entry = |n: usize| {
            let bound = format!(", serial_number: \"{}\"", serials[n]);
            dialled(NAMES[n], meters.address.unwrap(), &bound)
        };
        let site = Site::new(&(entry(0) + &entry(1)));
        let mut scene = Scene::hearing(&site, "powermeter/+/state/+").await;
        let replies = Subscriber::to(scene.gateway.broker(), "powermeter/+/state/info").await;
        meters.meters.iter().for_each(|meter| meter.change(|state| state.real_time = true));
        for name in NAMES {
            scene.online(name).await;
        }
        let (mut asked, mut unanswered) = (Vec::new(), 0);
        for n in 0..self.commands {
            let (command, wanted) = command(n, &serials);
            let name = NAMES[n % 2];
            let id = scene.send(name, command.clone()).await;
            asked.push(Asked { name, id, command, wanted });
            // No more than a few wait, or their time would be over before their turn.
            if asked.len() >= 4 {
                unanswered += usize::from(!is_answered(&replies, asked.remove(0)).await);
            }
        }
        for one in asked {
            unanswered += usize::from(!is_answered(&replies, one).await);
        }
        let sent = until_sent(&meters, self.packets).await;
        every_packet_is_counted(&scene, &meters).await;
        println!(
            "{sent} packets sent, counted and published; {} commands: {} answered with their own \
             value, {unanswered} timed out; {} s",
            self.commands,
            self.commands - unanswered,
            begun.elapsed().as_secs(),
        );
        scene.gateway.stop().await;
        meters.stop().await;
        unanswered
    }
}

/// Whether the command was answered; then it is by its own answer. Else it is told why not.
async fn is_answered(replies: &Subscriber, asked: Asked) -> bool {
    let Asked { name, id, command, wanted } = asked;
    let reply = tokio::time::timeout(Duration::from_secs(120), async {
        loop {
            if let Some(reply) = find_reply(&replies.seen(), name, id) {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{command} was neither answered nor timed out"));
    if reply["error"] == json!(false) {
        assert_eq!(reply["value"], wanted, "{command}: {reply}");
        return true;
    }
    let msg = reply["msg"].as_str().unwrap();
    let deadlines = ["did not answer within", "has stopped answering", "kept the line busy"];
    assert!(deadlines.iter().any(|words| msg.contains(words)), "{command}: {reply}");
    false
}

async fn until_sent(meters: &Meters, packets: u64) -> u64 {
    let sent = || -> u64 {
        meters.meters.iter().map(|meter| meter.look(|state| state.packets_sent)).sum()
    };
    let enough = async {
        while sent() < packets {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(900), enough).await.unwrap();
    meters.hush();
    // Answers that are on their way bring packets with them.
    loop {
        let before = sent();
        tokio::time::sleep(Duration::from_secs(1)).await;
        if sent() == before {
            return before;
        }
    }
}

async fn every_packet_is_counted(scene: &Scene, meters: &Meters) {
    let counts = meters.meters.iter().map(|meter| meter.look(|state| state.packets_sent));
    let counts: Vec<u64> = counts.collect();
    let sent = counts.iter().sum();
    let counted = async { while scene.gateway.metric("meterbridge_packets_total").await < sent {} };
    within("every packet to be counted", counted).await;
    assert_eq!(scene.gateway.metric("meterbridge_packets_total").await, sent);
    for (name, count) in NAMES.iter().zip(counts) {
        scene.subscriber.packets(name, count as usize).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_and_commands_interleaved() {
    let unanswered = Flood { packets: 300, commands: 24, late: None }.run().await;
    assert_eq!(unanswered, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_commands_and_late_answers_interleaved() {
    let unanswered = Flood { packets: 100, commands: 8, late: Some(5) }.run().await;
    assert!((1..8).contains(&unanswered), "{unanswered}");
}

/// `cargo test --release --test gateway ten_thousand -- --ignored --nocapture`
#[ignore = "takes minutes"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_packets_and_a_thousand_commands_interleaved() {
    let unanswered = Flood { packets: 10_000, commands: 1000, late: Some(75) }.run().await;
    assert!((1..200).contains(&unanswered), "{unanswered}");
}
