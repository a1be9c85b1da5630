//! Meters that are asked instead of listened to.

use std::time::Duration;

use meter_protocols::brultech::Format;
use meterbridge::simulator::{Direction, Manners};
use serde_json::json;

use super::{Meters, Scene, dialled};
use crate::record::within;
use crate::support::Site;

/// Waits until this command was heard so often.
async fn heard(meters: &Meters, command: &[u8], times: usize) {
    let what = format!("{times} × {}", command.escape_ascii());
    within(&what, meters.heard.until(|heard| (heard.times(command) >= times).then_some(()))).await;
}

/// Nothing is configured but the interval: whoever is there answers, and is asked from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_of_unknown_kind_is_found_set_up_and_asked() {
    for format in [Format::Bin32Net, Format::Ecm1240] {
        let meters = Meters::waiting(&[(format, 1)], Manners::default()).await;
        meters.hush();
        let scene =
            Scene::with(&dialled("house", meters.address.unwrap(), ", poll: 1s"), &["house"]).await;
        scene.subscriber.packets("house", 3).await;
        if format == Format::Bin32Net {
            let told = meters.told();
            assert_eq!(told, ["^^^SYSOFF", "^^^SYSKAI0", "^^^TMPDGC"], "once a connection");
            assert!(meters.heard.look(|heard| heard.times(b"^^^APISPK")) >= 3);
        } else {
            heard(&meters, b"\xFCSPK", 3).await;
        }
        let real_time = meters.meters[0].look(|state| state.real_time);
        assert!(!real_time, "{format:?}");
        scene.gateway.stop().await;
        meters.stop().await;
    }
}

/// As configured, three GEMs, of which one is not there; and an ECM on the same line that was heard
/// in real time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_unit_is_skipped_and_the_others_do_not_suffer() {
    let meters = Meters::waiting(&[(Format::Bin32Net, 2)], Manners::default()).await;
    meters.hush();
    let (one, two) = (meters.serial(0), meters.serial(1));
    let address = meters.address.unwrap();
    let more = |serial: &str| {
        format!(", poll: 1s, units: [\"{one}\", \"00099\", \"{two}\"], serial_number: \"{serial}\"")
    };
    let entries = dialled("one", address, &more(&one)) + &dialled("two", address, &more(&two));
    let scene = Scene::with(&entries, &["one", "two"]).await;
    heard(&meters, b"^^^NMB00099SYSOFF", 1).await;
    heard(&meters, b"^^^NMB00099APISPK", 2).await;
    scene.subscriber.packets("one", 4).await;
    scene.subscriber.packets("two", 4).await;
    for n in 0..2 {
        let ask = format!("^^^NMB{:05}APISPK", meters.number(n));
        assert!(meters.heard.look(|heard| heard.times(ask.as_bytes())) >= 4);
    }
    assert!(scene.gateway.metric("meterbridge_failed_polls_total").await >= 2);
    scene.gateway.stop().await;
    meters.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_ecms_on_a_line_are_asked_by_their_command_bytes() {
    let meters = Meters::waiting(&[(Format::Ecm1240, 2)], Manners::default()).await;
    meters.hush();
    let address = meters.address.unwrap();
    let entry = |name, n| {
        let more =
            format!(", poll: 1s, units: [fc, fd, fe], serial_number: \"{}\"", meters.serial(n));
        dialled(name, address, &more)
    };
    let mut scene = Scene::with(&(entry("one", 0) + &entry("two", 1)), &["one", "two"]).await;
    scene.subscriber.packets("one", 2).await;
    scene.subscriber.packets("two", 2).await;
    // Who answers to which byte was learnt: no settings have to be read to find out.
    let reply = scene.ask("two", json!({"cmd": "poll"})).await;
    assert_eq!(reply["error"], false, "{reply}");
    assert_eq!(meters.heard.look(|heard| heard.times(b"\xFDSETRCV\xFD")), 0);
    scene.gateway.stop().await;
    meters.stop().await;
}

/// A meter that goes on by itself is used, and kinds on one line are told apart by their packets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_that_come_unasked_on_a_polled_line_are_used() {
    let manners = Manners { swallow: true, ..Manners::default() };
    let kinds = [(Format::Bin48Net, 1), (Format::Ecm1240, 1)];
    let meters = Meters::waiting(&kinds, manners).await;
    let (gem, ecm) = (format!("gem-{}", meters.serial(0)), format!("ecm1240-{}", meters.serial(1)));
    let entry =
        dialled("other", meters.address.unwrap(), ", poll: 1s, serial_number: \"01100001\"");
    let scene = Scene::with(&entry, &[&gem, &ecm]).await;
    scene.subscriber.packets(&gem, 3).await;
    scene.subscriber.packets(&ecm, 3).await;
    scene.gateway.stop().await;
    meters.stop().await;
}

/// Polled and commanded at once, in turns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_and_polls_share_the_line() {
    let manners = Manners { slow: Duration::from_millis(50), ..Manners::default() };
    let meters = Meters::waiting(&[(Format::Bin48NetTime, 1)], manners).await;
    let entry = dialled("house", meters.address.unwrap(), ", poll: 1s");
    let mut scene = Scene::with(&entry, &["house"]).await;
    let mut asked = Vec::new();
    for value in 5..15 {
        let command = json!({"cmd": "set", "setting": "interval", "value": value});
        asked.push((scene.send("house", command).await, value));
    }
    for (id, value) in asked {
        let reply = scene.reply("house", id).await;
        assert_eq!((&reply["error"], &reply["value"]), (&json!(false), &json!(value)), "{reply}");
    }
    scene.subscriber.packets("house", 3).await;
    scene.gateway.stop().await;
    meters.stop().await;
}

/// A meter that dials in and says nothing would not dial in again after a restart of the gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_dials_in_goes_on_saying_something() {
    for (format, set_up) in [
        (Format::Bin32Net, vec!["^^^SYSOFF", "^^^SYSKAI4", "^^^TMPDGC"]),
        (Format::Ecm1240, Vec::new()),
    ] {
        let entry = "\n  - {name: house, kind: brultech, poll: 1s, link: {listen: 127.0.0.1:0}}";
        let mut scene = Scene::at(&Site::new(entry)).await;
        let direction = Direction::Connect(scene.gateway.addresses.meters[0].to_string());
        let every = Duration::from_secs(5);
        let meters = Meters::start(&[(format, 1)], every, direction, Manners::default()).await;
        scene.online("house").await;
        let poll: &[u8] = if format == Format::Ecm1240 { b"\xFCSPK" } else { b"^^^APISPK" };
        heard(&meters, poll, 3).await;
        let told = meters.told();
        let told: Vec<&String> = told.iter().filter(|words| words.starts_with('^')).collect();
        assert_eq!(told, set_up, "{format:?}");
        assert_eq!(meters.heard.look(|heard| heard.times(b"\xFCTOGOFF")), 0);
        scene.gateway.stop().await;
        meters.stop().await;
    }
}
