//! Each command of a GEM, sent by `mosquitto_pub`: its bytes on the wire, all of them and no others,
//! and its answer as JSON.

use meter_protocols::brultech::Format;
use meterbridge::simulator::Manners;
use serde_json::{Value, json};

use super::{Meters, Scene, dialled};

/// Setting, channel, value; the commands without carets and address; what the meter says then.
type Case = (Value, &'static [&'static str], Value);

fn set(setting: &str, value: Value) -> Value {
    json!({"cmd": "set", "setting": setting, "value": value})
}

fn set_channel(setting: &str, channel: Value, value: Value) -> Value {
    json!({"cmd": "set", "setting": setting, "channel": channel, "value": value})
}

fn get(setting: &str) -> Value {
    json!({"cmd": "get", "setting": setting})
}

fn get_channel(setting: &str, channel: Value) -> Value {
    json!({"cmd": "get", "setting": setting, "channel": channel})
}

/// Everything that is set, each with what is read back.
fn changes() -> Vec<Case> {
    vec![
        (set("interval", json!(7)), &["SYSIVL007", "RQSITV"], json!(7)),
        (set("interval", json!(256)), &["SYSIVL256", "RQSITV"], json!(256)),
        (set("packet_format", json!("bin48_net")), &["SYSPKT05", "RQSRTF"], json!(5)),
        (set("packet_format", json!(8)), &["SYSPKT08", "RQSRTF"], json!(8)),
        (set("secondary_format", json!(4)), &["SYSPKF04", "RQSALL"], json!(4)),
        (set("secondary_format", json!(0)), &["SYSPKF00", "RQSALL"], json!(0)),
        (
            set("time", json!("2025-06-30 12:00:58")),
            &["SYSDTM25,06,30,12,00,58\r", "RQSDTM"],
            Value::Null,
        ),
        (set_channel("ct_type", json!(5), json!(210)), &["C05TYP210", "RQSC05"], json!(210)),
        (set_channel("ct_type", json!("ch32"), json!(1)), &["C32TYP001", "RQSC32"], json!(1)),
        (set_channel("ct_range", json!(5), json!(3)), &["C05RNG3", "RQSC05"], json!(3)),
        (set_channel("phase", json!(7), json!("B")), &["C07PHB", "RQSAOP"], json!("B")),
        (set_channel("phase", json!(7), json!("c")), &["C07PHC", "RQSAOP"], json!("C")),
        (set_channel("phase", json!(7), json!("A")), &["C07PHA", "RQSAOP"], json!("A")),
        (set_channel("compensation", json!(7), json!(2)), &["C07PC2", "RQSAOP"], json!(2)),
        (set_channel("compensation", json!(7), json!(0)), &["C07PC0", "RQSAOP"], json!(0)),
        (set_channel("compensation", json!(7), json!(4)), &["C07PC1", "RQSAOP"], json!(1)),
        (set_channel("polarity", json!(9), json!(true)), &["C09PL1", "RQSAOP"], json!(true)),
        (set_channel("polarity", json!(9), json!("toggle")), &["C09TOG", "RQSAOP"], json!(false)),
        (set_channel("polarity", json!(9), json!(false)), &["C09PL0", "RQSAOP"], json!(false)),
        (
            set_channel("temperature_input", json!(3), json!(true)),
            &["TMPEN3", "RQSALL"],
            json!(true),
        ),
        (
            set_channel("temperature_input", json!("t3"), json!(false)),
            &["TMPDS3", "RQSALL"],
            json!(false),
        ),
        (set_channel("pulse_input", json!(2), json!("on")), &["PLSEN2", "RQSALL"], json!(true)),
        (set_channel("pulse_input", json!(2), json!(0)), &["PLSDS2", "RQSALL"], json!(false)),
        (set("temperature_unit", json!("fahrenheit")), &["TMPDGF", "RQSALL"], json!("fahrenheit")),
        (set("temperature_unit", json!("C")), &["TMPDGC", "RQSALL"], json!("celsius")),
        (set("pt_type", json!(137)), &["SYSTPT137", "RQSALL"], json!(137)),
        (set("pt_range", json!(3)), &["SYSVRG03", "RQSALL"], json!(3)),
        (set("max_channels", json!(32)), &["SYSCMX32\r", "RQSALL"], json!(32)),
        (set("keep_alive", json!(2)), &["SYSKAI2"], json!(2)),
        (set("keep_alive", json!("4s")), &["SYSKAI1"], json!("4s")),
        (set("keep_alive", json!(0)), &["SYSKAI0"], json!(0)),
        (set("keep_alive_text", json!("Hello")), &["SYSKASHello\r"], json!("Hello")),
        (set("chunk_size", json!(500)), &["SYSPKS500\r", "RQSALL"], json!(500)),
        (set("chunk_pause", json!(20)), &["SYSPKI20\r", "RQSALL"], json!(20)),
        (set("buffer", json!(1000)), &["SYSBFF1000\r"], json!(1000)),
        (set("line_frequency", json!(50)), &["SYSHZ1"], json!(50)),
        (set("line_frequency", json!(60)), &["SYSHZ0"], json!(60)),
        (set("realtime", json!(true)), &["SYS_ON", "RQSRTL"], json!(true)),
        (set("realtime", json!(false)), &["SYSOFF", "RQSRTL"], json!(false)),
    ]
}

/// What goes to every channel at once.
fn changes_of_all() -> Vec<(Value, String, &'static str)> {
    let every = |value: &str| vec![value; 48].join(",");
    let list = |value: Value| Value::Array(vec![value; 48]);
    vec![
        (set_channel("ct_type", json!("all"), json!(211)), "CHETYP211".into(), "RQSATP"),
        (set_channel("ct_range", json!("all"), json!(4)), "CHERNG4".into(), "RQSARG"),
        (set_channel("phase", json!("all"), json!("A")), "CHEPHA".into(), "RQSAOP"),
        (set_channel("polarity", json!("all"), json!(true)), "CHEPOL1".into(), "RQSAOP"),
        (set_channel("polarity", json!("all"), json!(false)), "CHEPOL0".into(), "RQSAOP"),
        (set("ct_type", list(json!(212))), format!("CHGTYP{}\r", every("212")), "RQSATP"),
        (set("ct_range", list(json!(3))), format!("CHGRNG{}\r", every("3")), "RQSARG"),
        (set("phase", list(json!("C"))), format!("CHGPH{}\r", every("C")), "RQSAOP"),
    ]
}

/// Everything that is only asked.
pub(super) fn questions() -> Vec<(Value, &'static [&'static str])> {
    vec![
        (get("serial"), &["RQSSRN"]),
        (get("firmware"), &["RQSVR1", "RQSVR2", "RQSVR3"]),
        (get("time"), &["RQSDTM"]),
        (get("realtime"), &["RQSRTL"]),
        (get("interval"), &["RQSITV"]),
        (get("packet_format"), &["RQSRTF"]),
        (get("ct_type"), &["RQSATP"]),
        (get("ct_range"), &["RQSARG"]),
        (get("phase"), &["RQSAOP"]),
        (get("compensation"), &["RQSAOP"]),
        (get("polarity"), &["RQSAOP"]),
        (get("net_metering"), &["RQSAOP"]),
        (get_channel("double", json!(1)), &["RQSAOP"]),
        (get_channel("ct", json!(12)), &["RQSC12"]),
        (get_channel("ct_type", json!(12)), &["RQSC12"]),
        (get_channel("ct_range", json!(12)), &["RQSC12"]),
        (get("all"), &["RQSALL"]),
        (get("secondary_format"), &["RQSALL"]),
        (get("pt_type"), &["RQSALL"]),
        (get("pt_range"), &["RQSALL"]),
        (get("temperature_unit"), &["RQSALL"]),
        (get_channel("temperature_input", json!(1)), &["RQSALL"]),
        (get("pulse_input"), &["RQSALL"]),
        (get("max_channels"), &["RQSALL"]),
        (get("chunk_size"), &["RQSALL"]),
        (get("chunk_pause"), &["RQSALL"]),
        (get("volts"), &["APIVLT"]),
        (get("seconds"), &["APISEC"]),
        (get_channel("watts", json!(5)), &["APIWAT05"]),
        (get_channel("watt_seconds", json!(5)), &["APIENR05"]),
        (get_channel("watts", json!("1-8")), &["APIWRG0108"]),
        (get_channel("watt_seconds", json!("1-8")), &["APIEGR0108"]),
        (get("values"), &["APIVAL"]),
    ]
}

/// Resets, in an order that each can be seen.
fn resets() -> Vec<(Value, &'static str)> {
    let reset = |what: &str| json!({"cmd": "reset", "what": what, "confirm": true});
    let of = |what: &str, channel: u8| json!({"cmd": "reset", "what": what, "channel": channel, "confirm": true});
    vec![
        (of("channel", 4), "SYSRSTC04"),
        (of("pulse", 2), "SYSRSP2"),
        (reset("pulses"), "SYSRSTP"),
        (reset("wh"), "SYSRSTH"),
        (reset("seconds"), "SYSRSTS"),
        (reset("all"), "SYSRSTA"),
    ]
}

/// One command: the reply, and exactly these bytes on the wire.
async fn exchange(
    scene: &mut Scene,
    meters: &Meters,
    command: Value,
    words: &[&str],
    target: &str,
) -> Value {
    let (reply, wire) = scene.publish(meters, "house", command.clone()).await;
    let wanted: String = words.iter().map(|words| format!("^^^{target}{words}")).collect();
    assert_eq!(String::from_utf8(wire).unwrap(), wanted, "{command} gave {reply}");
    assert_eq!(reply["error"], false, "{command} gave {reply}");
    assert_eq!(reply["cmd"], command["cmd"], "{reply}");
    reply
}

/// A GEM, or several on one line, polled once an hour, and how commands name the first.
async fn polled(count: u32, manners: Manners) -> (Scene, Meters, String) {
    let meters = Meters::waiting(&[(Format::Bin48NetTime, count)], manners).await;
    let names = ["house", "barn"];
    let entry = |n: usize| {
        let more = format!(", poll: 1h, serial_number: \"{}\"", meters.serial(n));
        dialled(names[n], meters.address.unwrap(), &more)
    };
    let entries: String = (0..count as usize).map(entry).collect();
    let address = |n| if count > 1 { format!("NMB{:05}", meters.number(n)) } else { String::new() };
    let scene = Scene::with(&entries, &names[..count as usize]).await;
    // The set-up of polling comes first.
    for n in 0..count as usize {
        meters.until_told(format!("^^^{}APISPK", address(n)).as_bytes()).await;
    }
    let target = address(0);
    (scene, meters, target)
}

async fn every_command(count: u32) {
    let (mut scene, meters, target) = polled(count, Manners::default()).await;
    for (command, words) in questions() {
        let reply = exchange(&mut scene, &meters, command.clone(), words, &target).await;
        assert_eq!(reply["setting"], command["setting"], "{reply}");
        assert!(!reply["value"].is_null(), "{reply}");
    }
    for (command, words, value) in changes() {
        let reply = exchange(&mut scene, &meters, command.clone(), words, &target).await;
        assert_eq!(reply["setting"], command["setting"], "{reply}");
        if !value.is_null() {
            assert_eq!(reply["value"], value, "{command} gave {reply}");
        }
        // What is read back stands on the wire behind the change; the rest says that it is not.
        assert_eq!(reply["read_back"].is_null(), words.len() > 1, "{reply}");
    }
    for (command, words, question) in changes_of_all() {
        exchange(&mut scene, &meters, command, &[&words, question], &target).await;
    }
    for (command, words) in resets() {
        let reply = exchange(&mut scene, &meters, command.clone(), &[words], &target).await;
        assert_eq!(reply["what"], command["what"], "{reply}");
    }
    let poll = exchange(&mut scene, &meters, json!({"cmd": "poll"}), &["APISPK"], &target).await;
    assert_eq!(poll["msg"], "a packet has come", "{poll}");
    the_clock_is_set_to_the_gateways(&mut scene, &meters, &target).await;
    scene.gateway.stop().await;
    meters.stop().await;
}

/// Without a value: two digits of everything, and what is read back follows it.
async fn the_clock_is_set_to_the_gateways(scene: &mut Scene, meters: &Meters, target: &str) {
    let command = json!({"cmd": "set", "setting": "time"});
    let (reply, wire) = scene.publish(meters, "house", command).await;
    assert_eq!(reply["error"], false, "{reply}");
    let wire = String::from_utf8(wire).unwrap();
    let shape: String =
        wire.chars().map(|one| if one.is_ascii_digit() { '0' } else { one }).collect();
    let wanted = format!("^^^{target}SYSDTM00,00,00,00,00,00\r^^^{target}RQSDTM");
    let wanted: String =
        wanted.chars().map(|one| if one.is_ascii_digit() { '0' } else { one }).collect();
    assert_eq!(shape, wanted);
    assert!(reply["value"].as_str().unwrap().starts_with("20"), "{reply}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_a_gem_alone_is_on_the_wire_as_documented() {
    every_command(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_a_gem_among_others_has_its_address() {
    every_command(2).await;
}

/// Older firmware has a shorter list, and does not tell some of what newer firmware does; where no
/// answer is documented it gives none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_gem_is_read_as_far_as_it_goes() {
    let manners = Manners { short_settings: true, terse: true, ..Manners::default() };
    let (mut scene, meters, target) = polled(1, manners).await;
    let all = exchange(&mut scene, &meters, get("all"), &["RQSALL"], &target).await;
    assert_eq!(all["value"]["values"], 374, "{all}");
    assert_eq!(all["value"]["secondary_format"], Value::Null, "{all}");
    assert_eq!(all["value"]["ct_types"].as_array().map(Vec::len), Some(48), "{all}");
    let refused = scene.ask("house", get("secondary_format")).await;
    assert!(refused["msg"].as_str().unwrap().contains("its firmware is older"), "{refused}");
    // No answer came, so the clock is read first: what it tells cannot be mistaken.
    let set = set_channel("ct_type", json!(5), json!(210));
    let words = ["C05TYP210", "RQSDTM", "RQSC05"];
    let reply = exchange(&mut scene, &meters, set, &words, &target).await;
    assert_eq!(reply["value"], 210, "{reply}");
    scene.gateway.stop().await;
    meters.stop().await;
}

/// Meters that send by themselves are told to hold their packets first: all of a line at once, so
/// without an address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_are_held_back_before_a_command() {
    let meters = Meters::waiting(&[(Format::Bin32Net, 2)], Manners::default()).await;
    let address = meters.address.unwrap();
    let entry =
        |name, n| dialled(name, address, &format!(", serial_number: \"{}\"", meters.serial(n)));
    let mut scene = Scene::with(&(entry("house", 0) + &entry("barn", 1)), &["house", "barn"]).await;
    let (reply, wire) = scene.publish(&meters, "house", get("interval")).await;
    assert_eq!(reply["error"], false, "{reply}");
    let wanted = format!("^^^SYSPDL^^^NMB{:05}RQSITV", meters.number(0));
    assert_eq!(String::from_utf8(wire).unwrap(), wanted);
    scene.gateway.stop().await;
    meters.stop().await;
}
