//! Commands on links that misbehave, and what must not get out.

use std::time::Duration;

use meter_protocols::brultech::Format;
use meterbridge::simulator::{Direction, Manners};
use serde_json::{Value, json};

use super::{Meters, Scene, dialled};
use crate::support::{HOUSE, Site};

/// Meters that dial a gateway with one entry, and send every half second.
async fn dialling(format: Format, manners: Manners) -> (Scene, Meters) {
    let mut scene = Scene::at(&Site::new(HOUSE)).await;
    let direction = Direction::Connect(scene.gateway.addresses.meters[0].to_string());
    let meters =
        Meters::start(&[(format, 1)], Duration::from_millis(500), direction, manners).await;
    scene.online("house").await;
    (scene, meters)
}

fn interval(value: u16) -> Value {
    json!({"cmd": "set", "setting": "interval", "value": value})
}

/// How long a connection for one packet and one answer waits for a command, however busy the machine is.
const OPEN: Duration = Duration::from_millis(1500);

/// Each packet has a connection of its own: a command goes out with the next, without a hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_waits_for_a_meter_that_connects_for_each_packet() {
    let manners = Manners { one_packet: true, linger: Some(OPEN), ..Manners::default() };
    let (mut scene, meters) = dialling(Format::Bin32Net, manners).await;
    scene.subscriber.packets("house", 3).await;
    let reply = scene.ask("house", json!({"cmd": "get", "setting": "serial"})).await;
    assert_eq!(reply["value"], json!(meters.serial(0)), "{reply}");
    assert_eq!(meters.heard.look(|heard| heard.times(b"^^^SYSPDL")), 0);
    scene.gateway.stop().await;
    meters.stop().await;
}

/// Packets are held back while a meter in real-time mode is talked to; none is lost, whatever
/// stands between and inside of the answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_found_between_packets_noise_and_keep_alive_text() {
    let manners = Manners {
        split_replies: true,
        keep_alive: Some(Duration::from_millis(300)),
        slow: Duration::from_millis(100),
        ..Manners::default()
    };
    let (mut scene, meters) = dialling(Format::Bin32Net, manners).await;
    for value in [9, 8] {
        let reply = scene.ask("house", interval(value)).await;
        assert_eq!((&reply["error"], &reply["value"]), (&json!(false), &json!(value)), "{reply}");
    }
    let all = scene.ask("house", json!({"cmd": "get", "setting": "all"})).await;
    assert_eq!(all["value"]["interval"], 8, "{all}");
    assert!(meters.heard.look(|heard| heard.times(b"^^^SYSPDL")) >= 1);
    scene.gateway.stop().await;
    meters.stop().await;
}

/// A DashBox lets packets through and no commands: readings go on, the command is told to be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_swallows_commands_costs_no_packets() {
    let manners = Manners { swallow: true, ..Manners::default() };
    let (mut scene, meters) = dialling(Format::Bin48Net, manners).await;
    let id = scene.send("house", json!({"cmd": "get", "setting": "serial"})).await;
    let reply = scene.reply("house", id).await;
    assert_eq!(reply["error"], true, "{reply}");
    let msg = reply["msg"].as_str().unwrap();
    assert!(msg.contains("did not answer within"), "{msg}");
    let sent = meters.meters[0].look(|state| state.packets_sent);
    scene.subscriber.packets("house", sent as usize).await;
    scene.gateway.stop().await;
    meters.stop().await;
}

/// In pieces with pauses, packets and answers alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_with_pauses_are_put_together() {
    let manners =
        Manners { chunks: Some(100), pause: Duration::from_millis(400), ..Manners::default() };
    let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let direction = Direction::Listen(anywhere);
    let every = Duration::from_secs(20);
    let meters = Meters::start(&[(Format::Bin32Net, 1)], every, direction, manners).await;
    let entry = dialled("house", meters.address.unwrap(), ", poll: 5s");
    meters.hush();
    let mut scene = Scene::with(&entry, &["house"]).await;
    let reply = scene.ask("house", json!({"cmd": "get", "setting": "ct_type"})).await;
    assert_eq!(reply["value"].as_array().map(Vec::len), Some(48), "{reply}");
    scene.subscriber.packets("house", 2).await;
    scene.gateway.stop().await;
    meters.stop().await;
}

/// Wrong commands are refused in words before anything is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_and_never_sent() {
    let meters = Meters::waiting(&[(Format::Bin48Net, 1)], Manners::default()).await;
    let entry = dialled("house", meters.address.unwrap(), "");
    let mut scene = Scene::with(&entry, &["house"]).await;
    let set =
        |setting: &str, value: Value| json!({"cmd": "set", "setting": setting, "value": value});
    for (command, words) in [
        (json!({"cmd": "get"}), "setting is missing"),
        (json!({"cmd": "get", "setting": "intervall"}), "no setting is called \"intervall\""),
        (json!({"cmd": "get", "setting": "trigger"}), "a GEM cannot get trigger"),
        (json!({"cmd": "get", "setting": "keep_alive"}), "cannot get keep_alive"),
        (json!({"cmd": "get", "setting": "interval", "channel": 1}), "is not of a channel"),
        (json!({"cmd": "get", "setting": "ct_type", "channel": 49}), "from 1 to 48"),
        (set("interval", json!(0)), "interval 0 is out of range; it goes from 1 to 256"),
        (set("interval", json!("5")), "no whole number"),
        (set("interval", Value::Null), "value is missing"),
        (set("ct_type", json!(210)), "channel is missing"),
        (
            json!({"cmd": "set", "setting": "phase", "channel": 1, "value": "D"}),
            "write \"A\", \"B\" or \"C\"",
        ),
        (set("packet_format", json!(2)), "would end this meter's readings"),
        (set("packet_format", json!("bin99")), "known are list"),
        (set("keep_alive_text", json!("far too long")), "1 to 8 printable"),
        (set("time", json!("noon")), "2025-06-30"),
        (
            json!({"cmd": "set", "setting": "double", "channel": 1, "value": true}),
            "read and not set",
        ),
        (json!({"cmd": "reset", "what": "all"}), "\"confirm\":true"),
        (json!({"cmd": "reset", "what": "channel", "confirm": true}), "channel is missing"),
        (json!({"cmd": "reset", "what": "all", "Confirm": true}), "\"Confirm\" means nothing"),
        (json!({"cmd": "fly"}), "unknown command"),
    ] {
        let reply = scene.ask("house", command.clone()).await;
        assert_eq!(reply["error"], true, "{command} gave {reply}");
        let msg = reply["msg"].as_str().unwrap();
        assert!(msg.contains(words), "{command} gave {msg}");
    }
    assert_eq!(meters.heard.look(|heard| heard.bytes()), b"");
    scene.gateway.stop().await;
    meters.stop().await;
}

/// A change and its reading back, each with the connection of another packet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_made_and_read_back_over_connections_for_one_packet() {
    let manners = Manners { one_packet: true, linger: Some(OPEN), ..Manners::default() };
    let (mut scene, meters) = dialling(Format::Bin48NetTime, manners).await;
    scene.subscriber.packets("house", 3).await;
    let before = meters.heard.look(|heard| heard.connections);
    let set = json!({"cmd": "set", "setting": "pt_type", "value": 137});
    let reply = scene.ask("house", set).await;
    assert_eq!((&reply["error"], &reply["value"]), (&json!(false), &json!(137)), "{reply}");
    assert!(meters.heard.look(|heard| heard.connections) > before);
    scene.gateway.stop().await;
    meters.stop().await;
}

/// A module that posts by HTTP is answered, also while its meter is being told something, and the
/// meter can be told to use a format that is published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_posts_by_http_takes_commands() {
    let manners = Manners { http: true, ..Manners::default() };
    let meters = Meters::waiting(&[(Format::Bin32Net, 1)], manners).await;
    let bound = format!(", serial_number: \"{}\"", meters.serial(0));
    let entry = dialled("house", meters.address.unwrap(), &bound);
    let mut scene = Scene::at(&Site::new(&entry)).await;
    scene.gateway.until_metric("meterbridge_ignored_packets_total", |count| count >= 2).await;
    for value in [9, 1] {
        let reply = scene.ask("house", interval(value)).await;
        assert_eq!((&reply["error"], &reply["value"]), (&json!(false), &json!(value)), "{reply}");
    }
    let (sent, unanswered) =
        meters.meters[0].look(|state| (state.packets_sent, state.http_unanswered));
    assert!(sent >= 2);
    assert_eq!(unanswered, 0);
    scene.gateway.stop().await;
    meters.stop().await;
}
