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

/// A request, what is on the wire for it, and the value that is answered.
type Case = (Value, Vec<&'static [&'static [u8]]>, Value);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_an_ecm_is_on_the_wire_as_documented() {
    let meters = Meters::waiting(&[(Format::Ecm1240, 1)], Manners::default()).await;
    let entry = dialled("house", meters.address.unwrap(), "");
    let mut scene = Scene::with(&entry, &["house"]).await;
    let read: &[&[u8]] = &[b"SET", b"RCV"];
    let cases: Vec<Case> = vec![
        (set("interval", json!(7)), vec![&[b"SET", b"IV2", b"\x07"]], json!(7)),
        (set("trigger", json!(500)), vec![&[b"SET", b"IV3", b"\xF4", b"\x01"]], json!(500)),
        (set("pt_type", json!(200)), vec![&[b"SET", b"PTT", b"\xC8", b"PTR"]], json!(200)),
        (set("aux_options", json!(0x21)), vec![&[b"SET", b"OPT", b"\x21"]], json!(0x21)),
        (
            set("aux_options", json!({"aux1_double": false, "aux5_dc": true})),
            vec![&[b"SET", b"OPT", b"\x60"]],
            json!(0x60),
        ),
        (
            json!({"cmd": "set", "setting": "ct_type", "channel": 2, "value": 167}),
            vec![&[b"SET", b"CT2", b"TYP", b"\xA7", b"RNG"]],
            json!(167),
        ),
        (
            json!({"cmd": "set", "setting": "ct_range", "channel": 1, "value": 3}),
            vec![&[b"SET", b"CT1", b"TYP"]],
            json!(3),
        ),
        (
            json!({"cmd": "set", "setting": "polarity", "channel": 2, "value": "toggle"}),
            vec![&[b"SET", b"NG2"]],
            json!("toggle"),
        ),
        (
            json!({"cmd": "reset", "what": "all", "confirm": true}),
            vec![&[b"RQS", b"RKW"], &[b"RQS", b"RKS"]],
            Value::Null,
        ),
        (set("realtime", json!(false)), vec![&[b"TOG", b"OFF"]], json!(false)),
        (json!({"cmd": "poll"}), vec![&[b"SPK"]], Value::Null),
        (set("realtime", json!(true)), vec![&[b"TOG", b"XTD"]], json!(true)),
    ];
    let all = scene.ask("house", json!({"cmd": "get", "setting": "all"})).await;
    assert_eq!(all["value"]["serial"], json!(meters.serial(0)), "{all}");
    for key in ["ct", "pt", "interval", "firmware", "unit_id"] {
        assert!(!all["value"][key].is_null(), "{all}");
    }
    for (command, pieces, value) in cases {
        let before = meters.heard.look(|heard| heard.commands().len());
        let reply = scene.ask("house", command.clone()).await;
        assert_eq!(
            (&reply["error"], &reply["value"]),
            (&json!(false), &value),
            "{command}: {reply}"
        );
        let heard = meters.heard.look(|heard| heard.commands().split_off(before));
        for pieces in pieces.iter().chain([&read].into_iter().filter(|_| value.is_number())) {
            let begin = words(0xFC, pieces);
            let found = heard.iter().any(|command| command.starts_with(&begin));
            assert!(found, "{command}: {begin:x?} not in {heard:x?}");
        }
    }
    assert_eq!(meters.heard.look(|heard| heard.hasty), 0, "a piece went out before an ack");
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
