//! Packets and commands interleaved on one link: every packet is counted, every command answered by
//! its own answer or timed out by its own deadline.

use std::time::Duration;

use meter_protocols::brultech::Format;
use meterbridge::simulator::{Direction, Manners};
use serde_json::{Value, json};

use super::{Meters, Scene, dialled};
use crate::record::within;

/// `commands` from two meters' clients at a time while `packets` flow, on one line. The answers come
/// slowly, each with a packet in its middle.
async fn flood(packets: u64, commands: usize) {
    let manners =
        Manners { split_replies: true, slow: Duration::from_millis(2), ..Manners::default() };
    let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let every = Duration::from_millis(if cfg!(debug_assertions) { 100 } else { 20 });
    let meters =
        Meters::start(&[(Format::Bin32Net, 2)], every, Direction::Listen(anywhere), manners).await;
    let address = meters.address.unwrap();
    let names = ["one", "two"];
    let entry = |n: usize| {
        dialled(names[n], address, &format!(", serial_number: \"{}\"", meters.serial(n)))
    };
    let mut scene = Scene::with(&(entry(0) + &entry(1)), &names).await;
    let mut told = Vec::new();
    for n in 0..commands {
        let meter = n % 2;
        // Each asks something whose answer is its own: a wrong one would show.
        let (command, wanted) = match n % 8 {
            0 | 1 => (json!({"cmd": "get", "setting": "serial"}), json!(meters.serial(meter))),
            2 | 3 => {
                let value = 5 + (n / 8) % 200;
                let set = json!({"cmd": "set", "setting": "ct_type", "channel": 3, "value": value});
                (set, json!(value))
            }
            4 | 5 => (json!({"cmd": "get", "setting": "packet_format"}), json!(8)),
            _ => (json!({"cmd": "get", "setting": "temperature_unit"}), json!("celsius")),
        };
        let id = scene.send(names[meter], command.clone()).await;
        told.push((names[meter], id, command, wanted));
        // No more than a few wait, or they would be refused as too many.
        if told.len() >= 8 {
            check(&scene, told.remove(0)).await;
        }
    }
    for one in told {
        check(&scene, one).await;
    }
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
    let counted =
        async { while scene.gateway.metric("meterbridge_packets_total").await < sent() {} };
    within("every packet to be counted", counted).await;
    assert_eq!(scene.gateway.metric("meterbridge_packets_total").await, sent());
    for (name, meter) in names.iter().zip(&meters.meters) {
        let count = meter.look(|state| state.packets_sent);
        scene.subscriber.packets(name, count as usize).await;
    }
    scene.gateway.stop().await;
    meters.stop().await;
}

async fn check(scene: &Scene, (name, id, command, wanted): (&str, u64, Value, Value)) {
    let reply = scene.reply(name, id).await;
    assert_eq!((&reply["error"], &reply["value"]), (&json!(false), &wanted), "{command}: {reply}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_and_commands_interleaved() {
    flood(300, 24).await;
}

/// `cargo test --release --test gateway flood -- --ignored`
#[ignore = "takes minutes"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_packets_and_a_thousand_commands_interleaved() {
    flood(10_000, 1000).await;
}
