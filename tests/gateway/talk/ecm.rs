//! The byte commands of ECMs, alone and several on one line.

use meter_protocols::brultech::Format;
use meterbridge::simulator::Manners;
use serde_json::{Value, json};

use super::{Meters, Scene, dialled};

fn set(setting: &str, value: Value) -> Value {
    json!({"cmd": "set", "setting": setting, "value": value})
}

/// The pieces of commands one after the other, as the unit `id` hears them.
fn words(id: u8, pieces: &[&[u8]]) -> Vec<u8> {
    let mut all = vec![id];
    pieces.iter().for_each(|piece| all.extend_from_slice(piece));
    all
}

/// A request, the commands on the wire for it, and the value that is answered.
type Case = (Value, Vec<Vec<u8>>, Value);

fn cases(all: &Value) -> Vec<Case> {
    // Its settings are read before a change, and after it where they tell it.
    let read = || words(0xFC, &[b"SET", b"RCV", b"\xFC"]);
    let told = |pieces: &[&[u8]]| vec![read(), words(0xFC, pieces), read()];
    let untold = |pieces: &[&[u8]]| vec![read(), words(0xFC, pieces)];
    let of = |setting: &str, channel: u8, value: Value| json!({"cmd": "set", "setting": setting, "channel": channel, "value": value});
    let reset = |what: &str| json!({"cmd": "reset", "what": what, "confirm": true});
    let byte = |value: &Value| [value.as_u64().unwrap() as u8];
    let (pt, ct) = (&all["pt"], &all["ct"]);
    vec![
        (set("interval", json!(7)), told(&[b"SET", b"IV2", b"\x07"]), json!(7)),
        (set("trigger", json!(500)), told(&[b"SET", b"IV3", b"\xF4", b"\x01"]), json!(500)),
        (
            set("pt_type", json!(200)),
            told(&[b"SET", b"PTT", b"\xC8", b"PTR", &byte(&pt[1])]),
            json!(200),
        ),
        (set("pt_range", json!(2)), told(&[b"SET", b"PTT", b"\xC8", b"PTR", b"\x02"]), json!(2)),
        (set("aux_options", json!(0x21)), told(&[b"SET", b"OPT", b"\x21"]), json!(0x21)),
        (
            set("aux_options", json!({"aux1_double": false, "aux5_dc": true})),
            told(&[b"SET", b"OPT", b"\x60"]),
            json!(0x60),
        ),
        (
            of("ct_type", 2, json!(166)),
            told(&[b"SET", b"CT2", b"TYP", b"\xA6", b"RNG", &byte(&ct[1][1])]),
            json!(166),
        ),
        (
            of("ct_range", 1, json!(3)),
            told(&[b"SET", b"CT1", b"TYP", &byte(&ct[0][0]), b"RNG", b"\x03"]),
            json!(3),
        ),
        (of("polarity", 1, json!("toggle")), untold(&[b"SET", b"NG1"]), json!("toggle")),
        (of("polarity", 2, json!("toggle")), untold(&[b"SET", b"NG2"]), json!("toggle")),
        (reset("wh"), untold(&[b"RQS", b"RKW"]), Value::Null),
        (reset("seconds"), untold(&[b"RQS", b"RKS"]), Value::Null),
        (
            reset("all"),
            vec![read(), words(0xFC, &[b"RQS", b"RKW"]), words(0xFC, &[b"RQS", b"RKS"])],
            Value::Null,
        ),
        (reset("reboot"), untold(&[b"RQS", b"RLP"]), Value::Null),
        (set("realtime", json!(false)), untold(&[b"TOG", b"OFF"]), json!(false)),
        (json!({"cmd": "poll"}), vec![words(0xFC, &[b"SPK"])], Value::Null),
        (set("realtime", json!(true)), untold(&[b"TOG", b"XTD"]), json!(true)),
        (json!({"cmd": "get", "setting": "interval"}), vec![read()], json!(7)),
        (json!({"cmd": "get", "setting": "trigger"}), vec![read()], json!(500)),
        (json!({"cmd": "get", "setting": "firmware"}), vec![read()], all["firmware"].clone()),
        (json!({"cmd": "get", "setting": "serial"}), vec![read()], all["serial"].clone()),
    ]
}

/// Sent by `mosquitto_pub`, each byte on the wire counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_an_ecm_is_on_the_wire_as_documented() {
    let meters = Meters::waiting(&[(Format::Ecm1240, 1)], Manners::default()).await;
    let entry = dialled("house", meters.address.unwrap(), "");
    let mut scene = Scene::with(&entry, &["house"]).await;
    let all = scene.ask("house", json!({"cmd": "get", "setting": "all"})).await;
    assert_eq!(all["value"]["serial"], json!(meters.serial(0)), "{all}");
    for key in ["ct", "pt", "interval", "firmware", "unit_id"] {
        assert!(!all["value"][key].is_null(), "{all}");
    }
    for (command, wanted, value) in cases(&all["value"]) {
        let (reply, wire) = scene.publish(&meters, "house", command.clone()).await;
        assert_eq!(
            (&reply["error"], &reply["value"]),
            (&json!(false), &value),
            "{command}: {reply}"
        );
        let wanted = wanted.concat();
        assert_eq!(
            wire,
            wanted,
            "{command}: {} is not {}",
            wire.escape_ascii(),
            wanted.escape_ascii()
        );
    }
    assert_eq!(meters.heard.look(|heard| heard.hasty), 0, "a piece went out before an ack");
    scene.gateway.stop().await;
    meters.stop().await;
}

/// Wrong arguments are told in words, and nothing is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_for_an_ecm_is_said_and_never_sent() {
    let meters = Meters::waiting(&[(Format::Ecm1240, 1)], Manners::default()).await;
    let entry = dialled("house", meters.address.unwrap(), "");
    let mut scene = Scene::with(&entry, &["house"]).await;
    let of = |setting: &str, channel: Value, value: Value| json!({"cmd": "set", "setting": setting, "channel": channel, "value": value});
    for (command, says) in [
        (set("interval", json!(256)), "interval 256 is out of range; it goes from 1 to 255"),
        (set("trigger", json!(65_536)), "trigger 65536 is out of range"),
        (set("trigger", json!(1.5)), "no whole number"),
        (set("ct_type", json!(1)), "channel is missing"),
        (of("ct_type", json!(3), json!(1)), "channel 3 is out of range"),
        (of("ct_range", json!("aux1"), json!(1)), "channel is \"aux1\""),
        (of("pt_type", json!(1), json!(1)), "\"channel\" means nothing"),
        (of("polarity", json!(1), json!(true)), "write \"toggle\""),
        (set("aux_options", json!(128)), "aux options 128 is out of range"),
        (set("aux_options", json!({"aux6_dc": true})), "known are aux1_double"),
        (set("packet_format", json!(5)), "an ECM cannot set packet_format"),
        (json!({"cmd": "get", "setting": "values"}), "an ECM cannot get values"),
        (json!({"cmd": "reset", "what": "reboot"}), "\"confirm\":true"),
        (json!({"cmd": "reset", "what": "pulses", "confirm": true}), "an ECM cannot reset"),
        (json!({"cmd": "poll", "now": 1}), "\"now\" means nothing"),
    ] {
        let (reply, wire) = scene.publish(&meters, "house", command.clone()).await;
        assert_eq!(reply["error"], true, "{command} gave {reply}");
        assert!(reply["msg"].as_str().unwrap().contains(says), "{command} gave {reply}");
        assert_eq!(wire, b"", "{command}");
    }
    scene.gateway.stop().await;
    meters.stop().await;
}

/// The command byte is in no packet: it is found by the serial number in the settings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_find_their_ecm_among_several() {
    let meters = Meters::waiting(&[(Format::Ecm1240, 2)], Manners::default()).await;
    let address = meters.address.unwrap();
    let entry =
        |name, n| dialled(name, address, &format!(", serial_number: \"{}\"", meters.serial(n)));
    let mut scene = Scene::with(&(entry("one", 0) + &entry("two", 1)), &["one", "two"]).await;
    for (name, n, id) in [("two", 1, 0xFD_u8), ("one", 0, 0xFC)] {
        let all = scene.ask(name, json!({"cmd": "get", "setting": "all"})).await;
        assert_eq!(all["value"]["serial"], json!(meters.serial(n)), "{all}");
        let value = 40 + n;
        let reply = scene.ask(name, set("interval", json!(value))).await;
        assert_eq!((&reply["error"], &reply["value"]), (&json!(false), &json!(value)), "{reply}");
        let begin = words(id, &[b"SET", b"IV2", &[value as u8]]);
        let heard = meters.heard.look(|heard| heard.commands());
        assert!(heard.iter().any(|command| command.starts_with(&begin)), "{heard:x?}");
    }
    scene.gateway.stop().await;
    meters.stop().await;
}

/// Only one of two ECMs was heard, and the other one is who answers to the usual byte: it is not
/// told what was meant for its neighbour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_never_goes_to_a_neighbour_that_nobody_knew_of() {
    let meters = Meters::waiting(&[(Format::Ecm1240, 2)], Manners::default()).await;
    meters.meters[0].change(|state| state.real_time = false);
    let mut scene = Scene::with(&dialled("house", meters.address.unwrap(), ""), &["house"]).await;
    let reply = scene.ask("house", set("interval", json!(77))).await;
    assert_eq!((&reply["error"], &reply["value"]), (&json!(false), &json!(77)), "{reply}");
    let reply = scene.ask("house", set("realtime", json!(false))).await;
    assert_eq!(reply["error"], false, "{reply}");
    let seconds = |n: usize| meters.meters[n].look(|state| state.interval.as_secs());
    assert_eq!((seconds(0), seconds(1)), (0, 77));
    let heard = meters.heard.look(|heard| heard.commands());
    let told = |id| words(id, &[b"SET", b"IV2", &[77]]);
    assert!(heard.contains(&told(0xFD)) && !heard.contains(&told(0xFC)), "{heard:x?}");
    assert!(!heard.contains(&words(0xFC, &[b"TOG", b"OFF"])), "{heard:x?}");
    scene.gateway.stop().await;
    meters.stop().await;
}
