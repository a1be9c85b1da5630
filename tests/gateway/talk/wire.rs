//! Each command's bytes on the wire, and each answer as JSON.

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
            &["SYSDTM25,06,30,12,00,58", "RQSDTM"],
            Value::Null,
        ),
        (set_channel("ct_type", json!(5), json!(210)), &["C05TYP210", "RQSC05"], json!(210)),
        (set_channel("ct_type", json!("ch32"), json!(1)), &["C32TYP001", "RQSC32"], json!(1)),
        (set_channel("ct_range", json!(5), json!(3)), &["C05RNG3", "RQSC05"], json!(3)),
        (set_channel("phase", json!(7), json!("B")), &["C07PHB", "RQSAOP"], json!("B")),
        (set_channel("compensation", json!(7), json!(2)), &["C07PC2", "RQSAOP"], json!(2)),
        (set_channel("compensation", json!(7), json!(4)), &["C07PC1", "RQSAOP"], json!(1)),
        (set_channel("polarity", json!(9), json!(true)), &["C09PL1", "RQSAOP"], json!(true)),
        (set_channel("polarity", json!(9), json!("toggle")), &["C09TOG", "RQSAOP"], json!(false)),
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
        (set("max_channels", json!(32)), &["SYSCMX32", "RQSALL"], json!(32)),
        (set("keep_alive", json!(2)), &["SYSKAI2"], json!(2)),
        (set("keep_alive", json!("4s")), &["SYSKAI1"], json!("4s")),
        (set("keep_alive", json!(0)), &["SYSKAI0"], json!(0)),
        (set("keep_alive_text", json!("Hello")), &["SYSKASHello"], json!("Hello")),
        (set("chunk_size", json!(500)), &["SYSPKS500", "RQSALL"], json!(500)),
        (set("chunk_pause", json!(20)), &["SYSPKI20", "RQSALL"], json!(20)),
        (set("buffer", json!(1000)), &["SYSBFF1000"], json!(1000)),
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
        (set_channel("polarity", json!("all"), json!(false)), "CHEPOL0".into(), "RQSAOP"),
        (set("ct_type", list(json!(212))), format!("CHGTYP{}", every("212")), "RQSATP"),
        (set("ct_range", list(json!(3))), format!("CHGRNG{}", every("3")), "RQSARG"),
        (set("phase", list(json!("C"))), format!("CHGPH{}", every("C")), "RQSAOP"),
    ]
}

/// Everything that is only asked.
fn questions() -> Vec<(Value, &'static [&'static str])> {
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
        (get("net_metering"), &["RQSAOP"]),
        (get_channel("double", json!(1)), &["RQSAOP"]),
        (get_channel("ct", json!(12)), &["RQSC12"]),
        (get("all"), &["RQSALL"]),
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

/// One command: the reply, and exactly these commands on the wire.
async fn exchange(
    scene: &mut Scene,
    meters: &Meters,
    command: Value,
    words: &[&str],
    target: &str,
) -> Value {
    let before = meters.told().len();
    let reply = scene.ask("house", command.clone()).await;
    let wanted: Vec<String> = words.iter().map(|words| format!("^^^{target}{words}")).collect();
    assert_eq!(meters.told().split_off(before), wanted, "{command} gave {reply}");
    assert_eq!(reply["error"], false, "{command} gave {reply}");
    assert_eq!(reply["cmd"], command["cmd"], "{reply}");
    reply
}

async fn every_command(count: u32, short: bool) {
    // The ECM's packets would come by the same line; here they are all GEMs.
    let manners = Manners { short_settings: short, ..Manners::default() };
    let meters = Meters::waiting(&[(Format::Bin48NetTime, count)], manners).await;
    let address = meters.address.unwrap();
    let serial = meters.serial(0);
    let mut entries =
        dialled("house", address, &format!(", poll: 1h, serial_number: \"{serial}\""));
    if count > 1 {
        let other = meters.serial(1);
        let more = format!(", poll: 1h, serial_number: \"{other}\"");
        entries.push_str(&dialled("barn", address, &more));
    }
    let target = if count > 1 { format!("NMB{:05}", meters.number(0)) } else { String::new() };
    let mut scene = Scene::with(&entries, &["house"]).await;
    // The set-up of polling comes first.
    let last = if count > 1 { meters.number(1) } else { meters.number(0) };
    let set_up = if count > 1 { format!("^^^NMB{last:05}TMPDGC") } else { "^^^TMPDGC".to_owned() };
    meters.until_told(set_up.as_bytes()).await;
    if count > 1 {
        scene.online("barn").await;
    }

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
    }
    for (command, words, question) in changes_of_all() {
        exchange(&mut scene, &meters, command, &[&words, question], &target).await;
    }
    for (command, words) in resets() {
        exchange(&mut scene, &meters, command, &[words], &target).await;
    }
    let before = meters.heard.look(|heard| heard.times(format!("^^^{target}APISPK").as_bytes()));
    let reply = scene.ask("house", json!({"cmd": "poll"})).await;
    assert_eq!(reply["msg"], "a packet has come", "{reply}");
    let after = meters.heard.look(|heard| heard.times(format!("^^^{target}APISPK").as_bytes()));
    assert_eq!(after, before + 1);
    scene.gateway.stop().await;
    meters.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_a_gem_alone_is_on_the_wire_as_documented() {
    every_command(1, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_a_gem_among_others_has_its_address() {
    every_command(2, false).await;
}
