//! Commands that are nonsense, come in crowds, or meet a meter or a gateway that goes away.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{EVENT, INFO, Sender, Stage, feed, reply};
use crate::api::post;
use crate::meters::{bytes, gem_ch1};
use crate::process::Process;
use crate::record::within;
use crate::subscriber::Subscriber;
use crate::support::{HOUSE, Site};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_answered_in_words_and_costs_nothing() {
    let site = Site::new(HOUSE);
    let mut stage = Stage::at(&site).await;
    let mut meter = stage.gateway.dial().await;
    feed(&mut meter, &stage.subscriber).await;
    // Whoever hears everything would hear what is no text, too.
    stage.subscriber = Subscriber::to(stage.gateway.broker(), INFO).await;
    let mut noise = vec![0; 4096];
    fastrand::Rng::with_seed(1).fill(&mut noise);
    let megabyte = vec![b'x'; 1 << 20];
    let nested = format!("{{\"cmd\":\"set\",\"value\":{}1{}}}", "[".repeat(800), "]".repeat(800));
    let cases: [(&[u8], &str); 14] = [
        (&noise, "not UTF-8"),
        (&megabyte[..(1 << 20) - 100], "1048476 bytes"),
        (&[0; 16], "not JSON"),
        (nested.as_bytes(), "not JSON: recursion limit"),
        (br#"{"cmd":"info","cmd":"poll"}"#, "\"cmd\" stands twice"),
        (br#"{"cmd":"set","value":1,"value":2}"#, "\"value\" stands twice"),
        (br#"{"cmd":"info"}{"cmd":"info"}"#, "not JSON"),
        (br#"[{"cmd":"info"}]"#, "a JSON object"),
        (br#""info""#, "a JSON object"),
        (br#"{"cmd":null}"#, "a text \"cmd\""),
        (br#"{"CMD":"info"}"#, "a text \"cmd\""),
        (br#"{"cmd":""}"#, "unknown command \"\""),
        (br#"{"cmd":"INFO"}"#, "unknown command \"INFO\""),
        (br#"{"cmd":"getPower","channel":{"a":[1]}}"#, "is not one of ch1"),
    ];
    for (payload, words) in cases {
        let before = stage.subscriber.payloads(INFO).len();
        stage.sender.send("powermeter/house/cmd", payload, false).await;
        let answer = reply(&stage.subscriber.on(INFO, before + 1).await[before]);
        assert_eq!(answer["error"], true, "{answer}");
        assert!(answer["msg"].as_str().unwrap().contains(words), "{words}: {answer}");
    }
    // Ids come back to the letter, also those that no program could count with.
    for id in
        ["-0", "1e999", "123456789012345678901234567890", "{\"a\":[1,{\"id\":2}]}", "\"\\u00e9\""]
    {
        let before = stage.subscriber.payloads(INFO).len();
        let command = format!("{{\"id\":{id},\"cmd\":\"getVoltage\"}}");
        stage.sender.send("powermeter/house/cmd", command, false).await;
        let answer = stage.subscriber.on(INFO, before + 1).await.remove(before);
        assert!(answer.ends_with(&format!(",\"id\":{id}}}")), "{answer}");
    }
    assert_eq!(stage.subscriber.payloads(INFO).len(), cases.len() + 5, "one reply for each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_are_nearly_commands_are_none() {
    let site = Site::new(HOUSE);
    let mut stage = Stage::at(&site).await;
    let info = r#"{"cmd":"info","id":"stray"}"#;
    for topic in [
        "powermeter/house/cmd/more",
        "powermeter/house/Cmd",
        "Powermeter/house/cmd",
        "/powermeter/house/cmd",
        "powermeter/cmd/cmd/cmd",
    ] {
        stage.sender.send(topic, info, false).await;
    }
    // A level may be empty; nobody is called so.
    stage.sender.send("powermeter//cmd", info, false).await;
    let event = reply(&stage.subscriber.on(EVENT, 1).await[0]);
    assert_eq!((&event["kind"], &event["meter"]), (&json!("no_such_meter"), &json!("")));
    assert_eq!(stage.ask(r#"{"cmd":"info","id":"real"}"#).await["id"], "real");
}

/// Of a crowd for one meter seventeen are taken in, one under way and sixteen waiting; all others are
/// told at once, and those that wait are told when the gateway stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_is_answered_one_by_one_also_when_the_gateway_stops() {
    let site = Site::new(HOUSE);
    let mut stage = Stage::at(&site).await;
    let mut meter = stage.gateway.dial().await;
    feed(&mut meter, &stage.subscriber).await;
    let count = 300;
    for id in 0..count {
        let command = json!({"cmd": "get", "setting": "serial", "id": id}).to_string();
        stage.sender.send("powermeter/house/cmd", command, false).await;
    }
    let told = stage.subscriber.on(INFO, count - 17).await;
    let busy = |text: &&String| text.contains("too many commands wait");
    assert_eq!(told.iter().filter(busy).count(), count - 17, "{told:#?}");
    stage.gateway.begin_stop();
    let replies = stage.subscriber.on(INFO, count).await;
    assert!(replies[count - 17..].iter().all(|text| text.contains("could not do it")));
    let ids: BTreeSet<u64> =
        replies.iter().map(|text| reply(text)["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), count);
    stage.gateway.stopped().await;
}

/// A caller over HTTP hears of the end as well, before the connection is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_over_http_is_answered_when_the_gateway_stops() {
    let site = Site::new(HOUSE);
    let mut stage = Stage::at(&site).await;
    let mut meter = stage.gateway.dial().await;
    feed(&mut meter, &stage.subscriber).await;
    let web = stage.gateway.web();
    let mut call = tokio::task::JoinSet::new();
    call.spawn(async move { post(web, "house", "", r#"{"cmd":"get","setting":"serial"}"#).await });
    // It is under way.
    meter.answer("^^^").await;
    stage.gateway.begin_stop();
    let (status, reply) = within("the answer", call.join_next()).await.unwrap().unwrap();
    assert_eq!((status, &reply["msg"]), (503, &json!("the gateway could not do it")));
    stage.gateway.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_leaves_in_the_middle_of_a_command_is_told() {
    let site = Site::new(&format!("{HOUSE}    timeout: 1s\n"));
    let mut stage = Stage::at(&site).await;
    let mut meter = stage.gateway.dial().await;
    feed(&mut meter, &stage.subscriber).await;
    let get = |id: u64| json!({"cmd": "get", "setting": "serial", "id": id}).to_string();
    stage.sender.send("powermeter/house/cmd", get(1), false).await;
    meter.answer("^^^").await;
    drop(meter);
    let answer = reply(&stage.subscriber.on(INFO, 1).await[0]);
    assert_eq!((&answer["error"], &answer["id"]), (&json!(true), &json!(1)), "{answer}");
    let msg = answer["msg"].as_str().unwrap().to_owned();
    assert!(msg.contains("connection ended") || msg.contains("did not connect"), "{msg}");
    stage.subscriber.until("powermeter/house/state/availability", "offline").await;
    // The directory of meters hears of it by a queue of its own.
    let mut info = Value::Null;
    while info["online"] != false {
        info = stage.ask(r#"{"cmd":"info"}"#).await;
        assert_eq!(info["error"], false, "{info}");
    }
    // Its readings are old now, and it has no connection to be asked on.
    for command in [get(2).as_str(), r#"{"cmd":"getPower"}"#, r#"{"cmd":"poll"}"#] {
        assert_eq!(stage.ask(command).await["msg"], "the meter is offline");
    }
    // It comes back.
    let mut meter = stage.gateway.dial().await;
    meter.send(&bytes(&gem_ch1(200, 20_000, 0))).await;
    stage.subscriber.packets("house", 3).await;
    let mut power = Value::Null;
    while power["error"] != false {
        power = stage.ask(r#"{"cmd":"getPower"}"#).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retained_command_is_named_in_the_log() {
    let site = Site::new(HOUSE);
    let process = Process::run(&site, &["run"]).await;
    let mut sender = Sender::new(process.broker, "keeper").await;
    sender.send("powermeter/house/cmd", r#"{"cmd":"info"}"#, true).await;
    let find = |lines: &[String]| lines.iter().find(|line| line.contains("retained")).cloned();
    let line = process.log.until("a line about it", find).await;
    assert!(line.contains("publish it without retain"), "{line}");
    assert!(line.contains("powermeter/house/cmd"), "{line}");
}
