use serde_json::json;

use super::*;
use crate::smartmeter::{Conn, Measures, SampleRequest};

fn of(kind: Kind, value: Value) -> Result<String, String> {
    let name = value["cmd"].as_str().unwrap().to_owned();
    let command = Command::from_json(&name, value.as_object().unwrap(), kind);
    command.map(|command| command.json()).map_err(|error| error.to_string())
}

fn smart(value: Value) -> Result<String, String> {
    of(Kind::SmartMeter, value)
}

fn plug(value: Value) -> Result<String, String> {
    of(Kind::PowerMeter, value)
}

#[test]
fn a_switch_takes_numbers_and_booleans_and_no_text() {
    let switch = |value: Value| plug(json!({"cmd": "switch", "payload": {"value": value}}));
    let sent = |value: i8| Ok(format!(r#"{{"cmd":"switch","payload":{{"value":{value}}}}}"#));
    assert_eq!(switch(json!(1)), sent(1));
    assert_eq!(switch(json!(-1)), sent(-1));
    assert_eq!(switch(json!(true)), sent(1));
    assert_eq!(switch(json!(false)), sent(0));
    assert_eq!(plug(json!({"cmd": "switch", "value": 0})), sent(0));
    let refused = switch(json!("true")).unwrap_err();
    assert!(refused.contains("a text would switch off"), "{refused}");
    assert!(switch(json!(2)).is_err());
    let other = smart(json!({"cmd": "switch", "value": 0})).unwrap_err();
    assert_eq!(other, "a SmartMeter cannot do switch");
}

#[test]
fn what_would_harm_a_meter_is_refused_in_words() {
    let cases = [
        (smart(json!({"cmd": "ade9k", "address": "1"})), "registers of the measuring chip"),
        (
            smart(json!({"cmd": "nosuch"})),
            "a SmartMeter has no command \"nosuch\"; it has info, getPower",
        ),
        (smart(json!({"cmd": "reqSamples", "samples": 10})), "11 to 42"),
        (smart(json!({"cmd": "reqSamples", "samples": 43})), "11 to 42"),
        (plug(json!({"cmd": "reqSamples", "samples": 65})), "11 to 64"),
        (
            smart(json!({"cmd": "mqttServer", "server": "broker.example.local"})),
            "the address \"broker.example.local\" has 20 bytes and a meter keeps 16",
        ),
        (
            smart(json!({"cmd": "mqttServer", "server": "a", "user": "b"})),
            "cannot do mqttServer with",
        ),
        (smart(json!({"cmd": "mdns", "name": "state"})), "topics"),
        (smart(json!({"cmd": "mdns", "name": "kitchen 1"})), "letters, digits"),
        (smart(json!({"cmd": "mdns", "name": "a-name-of-twenty-len"})), "19 bytes"),
        (smart(json!({"cmd": "cts", "value": "true"})), "without quotes"),
        (smart(json!({"cmd": "cts"})), "cts needs \"value\""),
        (smart(json!({"cmd": "calibration", "cal": [9, 1, 1, 1, 1, 1]})), "0.5 to 2.0"),
        (smart(json!({"cmd": "calibration", "cal": [1, 1, 1]})), "six factors"),
        (
            plug(json!({"cmd": "calibration", "calV": 3, "calI": 1})),
            "\"calV\" of calibration is 3;",
        ),
        (smart(json!({"cmd": "dailyRestart", "hour": 24})), "no time of a day"),
        (
            smart(json!({"cmd": "getPower", "line": 1})),
            "getPower has no \"line\"; it has no arguments",
        ),
        (plug(json!({"cmd": "publishInterval", "intv": 0})), "0.01 to 3600"),
        (smart(json!({"cmd": "resetEnergy", "energy": 4})), "three numbers"),
        (smart(json!({"cmd": "log", "level": "loud"})), "all, debug, info"),
    ];
    for (outcome, words) in cases {
        let refused = outcome.unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn passwords_are_in_no_message() {
    let long = "a-password-of-more-than-19-bytes";
    let refused =
        smart(json!({"cmd": "addWifi", "payload": {"ssid": "a", "pwd": long}})).unwrap_err();
    assert_eq!(refused, "the password of the network has 32 bytes and a meter keeps 19");
    let refused =
        smart(json!({"cmd": "addWifi", "payload": {"ssid": "a", "pwd": 4711}})).unwrap_err();
    assert!(!refused.contains("4711"), "{refused}");
    let command = Command::add_wifi("Test", "TestPwd").unwrap();
    assert!(!format!("{command:?}").contains("TestPwd"));
    assert_eq!(
        command.line(),
        "{\"cmd\":\"addWifi\",\"payload\":{\"ssid\":\"Test\",\"pwd\":\"TestPwd\"}}\r\n"
    );
}

#[test]
fn sampling_is_asked_for_as_the_firmware_takes_it() {
    let request = SampleRequest { slot: Some((1, 4)), ..SampleRequest::new(4000) };
    let command = Command::sample(&request, Kind::SmartMeter).unwrap();
    assert_eq!(
        command.json(),
        r#"{"cmd":"sample","payload":{"type":"TCP","rate":4000,"prefix":true,"flowCtr":false,"slot":[1,4]}}"#
    );
    let rms = SampleRequest { measures: Measures::Rms, ..SampleRequest::new(10) };
    let sent = Command::sample(&rms, Kind::SmartMeter).unwrap().json();
    assert!(sent.contains(r#""measures":"v,i_RMS""#), "{sent}");
    let udp = SampleRequest { conn: Conn::Udp(54323), ..SampleRequest::new(8000) };
    for (request, kind) in
        [(&request, Kind::SmartMeter), (&rms, Kind::SmartMeter), (&udp, Kind::PowerMeter)]
    {
        let command = Command::sample(request, kind).unwrap();
        assert_eq!(SampleRequest::of_command(&command, kind).as_ref(), Some(request));
    }
    assert_eq!(SampleRequest::of_command(&Command::stop(), Kind::SmartMeter), None);
    assert!(Command::sample(&udp, Kind::PowerMeter).unwrap().json().contains(r#""port":54323"#));
}

#[test]
fn what_a_meter_cannot_sample_is_refused() {
    let smart = |payload: Value| smart(json!({"cmd": "sample", "payload": payload})).unwrap_err();
    let plug = |payload: Value| plug(json!({"cmd": "sample", "payload": payload})).unwrap_err();
    let cases = [
        (smart(json!({"rate": 4000})), "sample needs \"type\": TCP, UDP, Serial or MQTT"),
        (smart(json!({"type": "TCP"})), "sample needs \"rate\""),
        (smart(json!({"type": "TCP", "rate": 6000})), "divides 32000, for instance 4000"),
        (smart(json!({"type": "TCP", "rate": 6400})), "unevenly"),
        (smart(json!({"type": "TCP", "rate": 0})), "divides 32000"),
        (smart(json!({"type": "TCP", "rate": 100, "measures": "p,q"})), "1 to 50 a second"),
        (smart(json!({"type": "TCP", "rate": 10, "measures": "p,p,p,q,q,q"})), "cannot sample"),
        (smart(json!({"type": "UDP", "rate": 4000})), "1 to 65535"),
        (smart(json!({"type": "MQTT", "rate": 4000})), "over MQTT 1 to 10"),
        (smart(json!({"type": "FFMPEG", "rate": 4000})), "use TCP"),
        (smart(json!({"type": "TCP", "rate": 4000, "prefix": "true"})), "without quotes"),
        (smart(json!({"type": "TCP", "rate": 4000, "slot": [4, 4]})), "less than the second"),
        (smart(json!({"type": "TCP", "rate": 4000, "slot": [0, 60]})), "keeps 38 s"),
        (
            smart(json!({"type": "TCP", "rate": 10, "measures": "v,i_RMS", "time": 1614697441.5})),
            "start it without a time",
        ),
        (
            smart(json!({"type": "TCP", "rate": 4000, "ntpConf": 5})),
            "cannot do sample with ntpConf",
        ),
        (plug(json!({"type": "TCP", "rate": 9000})), "1 to 8000"),
        (plug(json!({"type": "TCP", "rate": 2000, "measures": "v,i_L1"})), "cannot sample"),
    ];
    for (refused, words) in cases {
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn options_go_through_as_they_are() {
    let led = json!({"cmd": "setLED", "payload": {"pattern": [1, 2]}, "id": 4});
    assert_eq!(plug(led), Ok(r#"{"cmd":"setLED","payload":{"pattern":[1,2]}}"#.into()));
    let long = plug(json!({"cmd": "lora", "payload": "x".repeat(500)})).unwrap_err();
    assert!(long.contains("keeps 499"), "{long}");
}

#[test]
fn every_command_has_its_times() {
    assert_eq!(Command::get_power().deadline(), Duration::from_secs(5));
    assert_eq!(Command::get_log().deadline(), Duration::from_secs(10));
    let broker = MqttServer { server: "-".into(), ..MqttServer::default() };
    let broker = Command::mqtt_server(Kind::SmartMeter, &broker).unwrap();
    assert_eq!(broker.deadline(), Duration::from_secs(30));
    assert!(broker.blocked_while_sampling() && !broker.restarts());
    assert!(Command::restart().restarts() && !Command::restart().blocked_while_sampling());
    assert!(Command::get_energy().loses_energy(Kind::SmartMeter));
    assert!(Command::info().has_two_lines());
    assert_eq!(Command::names(Kind::SmartMeter).count(), 27);
}
