//! The `record` command, as the router hands it over.

use meterbridge::command::{Answer, Command, grammar};
use meterbridge::streams::RecordSettings;

use crate::stage::{SERIAL, Stage, numbered, recordings, settings, side, stream, until, within};

fn command(payload: &str) -> Command {
    grammar::read(format!(r#"{{"cmd":"record"{payload}}}"#).as_bytes()).unwrap().command
}

async fn ask(stage: &Stage, payload: &str) -> Answer {
    let orders = stage.recorders.orders();
    let answer = orders.hand_over("mains", None, &command(payload)).unwrap();
    within("an answer", answer).await.unwrap()
}

#[tokio::test]
async fn recording_is_switched_on_and_off_and_tells_how_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let settings = RecordSettings { always: false, ..settings(dir.path()) };
    let stage = Stage::open(Some(settings)).await;
    let info = stream(1, 1000.0, 1);
    stage.send(&numbered(&info, 0, 100));
    let off = ask(&stage, "").await;
    assert_eq!((&off["recording"], &off["state"]), (&false.into(), &"off".into()));
    assert!(!stage.waveforms.wanted(SERIAL), "nobody makes samples for nobody");

    let on = ask(&stage, r#","payload":{"on":true}"#).await;
    assert_eq!(on["state"], "waiting for samples");
    until("the recorder", || stage.waveforms.wanted(SERIAL)).await;
    stage.send(&numbered(&info, 200, 300));
    stage.send(&numbered(&info, 310, 400));
    let state = ask(&stage, "").await;
    assert_eq!((&state["recording"], &state["state"]), (&true.into(), &"recording".into()));
    assert_eq!((&state["frames"], &state["gaps"]), (&200.into(), &1.into()));
    assert_eq!(state["lost"], 10);
    let file = recordings(dir.path()).remove(0);
    assert_eq!(state["file"], file.display().to_string());

    stage.send(&numbered(&info, 400, 500));
    let off = ask(&stage, r#","payload":{"on":false}"#).await;
    assert_eq!((&off["recording"], &off["file"]), (&false.into(), &().into()));
    let beside = side(&file);
    assert_eq!((&beside["frames"], &beside["ended"]), (&300.into(), &"it was switched off".into()));
    stage.close().await;
}

#[tokio::test]
async fn a_recording_for_a_while_ends_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let settings = RecordSettings { always: false, ..settings(dir.path()) };
    let stage = Stage::open(Some(settings)).await;
    let info = stream(1, 1000.0, 1);
    let on = ask(&stage, r#","payload":{"on":true,"duration":1.5}"#).await;
    assert!(on["until"].as_i64().unwrap() > 0);
    stage.send(&numbered(&info, 0, 100));
    let ended = || {
        let beside = recordings(dir.path()).pop().map(|file| file.with_extension("json"));
        let text = beside.and_then(|beside| std::fs::read_to_string(beside).ok());
        text.is_some_and(|text| !text.contains("\"ended\":null"))
    };
    until("the end", ended).await;
    let beside = side(&recordings(dir.path())[0]);
    assert_eq!((&beside["frames"], &beside["ended"]), (&100.into(), &"its time was over".into()));
    assert_eq!(ask(&stage, "").await["state"], "off");
    stage.close().await;
}

#[tokio::test]
async fn what_is_no_order_or_for_no_recorder_is_refused_in_words() {
    let stage = Stage::open(None).await;
    let orders = stage.recorders.orders();
    let refused = orders.hand_over("mains", Some(SERIAL), &command("")).err().unwrap();
    assert!(refused.to_string().contains("stream.record"), "{refused}");
    stage.close().await;
}
