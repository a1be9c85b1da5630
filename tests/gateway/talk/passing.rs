//! Connections that come and go while a GEM is being asked, with a GEM that says what the test says:
//! no answer gets lost that need not, and none is taken for another's.

use serde_json::{Value, json};

use super::Scene;
use crate::meters::{bytes, gem};
use crate::support::{HOUSE, Meter, Site};

const CLOCK: &[u8] = b"25-06-30 12:00:00\r\n";

fn get(setting: &str) -> Value {
    json!({"cmd": "get", "setting": setting})
}

/// A gateway and a connection on which the GEM 603 was heard once.
async fn heard_once() -> (Scene, Meter) {
    let mut scene = Scene::at(&Site::new(HOUSE)).await;
    let meter = again(&scene, 603).await;
    scene.online("house").await;
    (scene, meter)
}

/// Another connection of a GEM, with a packet.
async fn again(scene: &Scene, number: u16) -> Meter {
    let mut meter = scene.gateway.dial().await;
    meter.send(&bytes(&gem(number, 100))).await;
    meter
}

async fn hears(meter: &mut Meter, words: &str) {
    assert_eq!(meter.answer(words).await, words);
}

/// The same by a new connection. Whether packets are to be held back there depends on whether the
/// end of the old one was noticed before.
async fn hears_first(meter: &mut Meter, words: &str) {
    let heard = meter.answer(words).await;
    assert_eq!(heard.strip_prefix("^^^SYSPDL").unwrap_or(&heard), words);
}

fn assert_value(reply: &Value, value: &Value) {
    assert_eq!((&reply["error"], &reply["value"]), (&json!(false), value), "{reply}");
}

/// The connection ends before the answer, which comes by the next one: the question is asked again
/// there, behind one whose answer cannot be mistaken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_by_the_next_connection_is_not_taken_for_its_own() {
    let (mut scene, mut first) = heard_once().await;
    let id = scene.send("house", get("packet_format")).await;
    hears(&mut first, "^^^SYSPDL^^^RQSRTF").await;
    drop(first);
    let mut second = again(&scene, 603).await;
    hears_first(&mut second, "^^^RQSDTM").await;
    second.send(b"05\r\n").await;
    second.send(CLOCK).await;
    hears(&mut second, "^^^RQSRTF").await;
    second.send(b"08\r\n").await;
    assert_value(&scene.reply("house", id).await, &json!(8));
    scene.gateway.stop().await;
}

/// A change is not made twice; the next command is kept from its acknowledgement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_was_cut_off_is_told_and_not_repeated() {
    let (mut scene, mut first) = heard_once().await;
    let set = json!({"cmd": "set", "setting": "interval", "value": 7});
    let id = scene.send("house", set.clone()).await;
    hears(&mut first, "^^^SYSPDL^^^SYSIVL007").await;
    drop(first);
    let reply = scene.reply("house", id).await;
    assert_eq!(reply["error"], true, "{reply}");
    assert!(reply["msg"].as_str().unwrap().contains("may have taken the command"), "{reply}");

    let mut second = again(&scene, 603).await;
    let id = scene.send("house", set).await;
    hears_first(&mut second, "^^^RQSDTM").await;
    second.send(b"IVL\r\n").await;
    second.send(CLOCK).await;
    hears(&mut second, "^^^SYSIVL007").await;
    second.send(b"IVL\r\n").await;
    hears(&mut second, "^^^RQSITV").await;
    second.send(b"07\r\n").await;
    assert_value(&scene.reply("house", id).await, &json!(7));
    scene.gateway.stop().await;
}

/// A bridge that closes while packets are being held back: the command goes by the next connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_was_not_sent_goes_by_the_next_connection() {
    let (mut scene, mut first) = heard_once().await;
    let id = scene.send("house", json!({"cmd": "reset", "what": "wh", "confirm": true})).await;
    hears(&mut first, "^^^SYSPDL").await;
    drop(first);
    let mut second = again(&scene, 603).await;
    hears_first(&mut second, "^^^SYSRSTH").await;
    second.send(b"RSTH\r\n").await;
    assert_eq!(scene.reply("house", id).await["error"], false);
    scene.gateway.stop().await;
}

/// One of two connections may be dead without anybody knowing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_connections_the_one_that_was_heard_last_is_used() {
    let (mut scene, mut first) = heard_once().await;
    let mut second = again(&scene, 603).await;
    scene.subscriber.packets("house", 2).await;
    for (meter, count) in [(&mut first, 3), (&mut second, 4)] {
        meter.send(&bytes(&gem(603, 100 + count))).await;
        scene.subscriber.packets("house", count as usize).await;
        let id = scene.send("house", get("interval")).await;
        hears(meter, "^^^SYSPDL^^^RQSITV").await;
        meter.send(b"0A\r\n").await;
        assert_value(&scene.reply("house", id).await, &json!(10));
    }
    scene.gateway.stop().await;
}

/// The meter comes back by a new connection while an answer is awaited on the old one: what it says
/// there answers nothing, and the next command goes there, behind what is still owed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_takes_over_owes_what_the_old_one_owed() {
    let (mut scene, mut first) = heard_once().await;
    let asked = scene.send("house", get("interval")).await;
    hears(&mut first, "^^^SYSPDL^^^RQSITV").await;
    let mut second = again(&scene, 603).await;
    second.send(b"07\r\n").await;
    let next = scene.send("house", get("interval")).await;
    let reply = scene.reply("house", asked).await;
    assert!(reply["msg"].as_str().unwrap().contains("did not answer within"), "{reply}");
    // Two packets, no end: nothing speaks for a bridge that closes at once.
    hears(&mut second, "^^^SYSPDL^^^RQSDTM").await;
    second.send(b"07\r\n").await;
    second.send(CLOCK).await;
    hears(&mut second, "^^^RQSITV").await;
    second.send(b"08\r\n").await;
    assert_value(&scene.reply("house", next).await, &json!(8));
    scene.gateway.stop().await;
}

/// Two GEMs behind one bridge, of which one does not answer: it costs the other one fence, and its
/// late serial number is not the other's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_meter_answers_for_nobody_else_behind_its_bridge() {
    let (mut scene, mut bridge) = heard_once().await;
    bridge.send(&bytes(&gem(604, 100))).await;
    scene.online("gem-01100604").await;
    let id = scene.send("gem-01100604", get("serial")).await;
    hears(&mut bridge, "^^^SYSPDL^^^NMB00604RQSSRN").await;
    let reply = scene.reply("gem-01100604", id).await;
    assert!(reply["msg"].as_str().unwrap().contains("did not answer within"), "{reply}");

    let id = scene.send("house", get("serial")).await;
    // The hold has run out; packets are let through before the next one.
    bridge.send(&bytes(&gem(603, 110))).await;
    hears(&mut bridge, "^^^SYSPDL^^^NMB00604RQSDTM").await;
    hears(&mut bridge, "^^^NMB00603RQSSRN").await;
    bridge.send(b"1100604\r\n").await;
    let reply = scene.reply("house", id).await;
    assert!(reply["msg"].as_str().unwrap().contains("another meter answered"), "{reply}");
    scene.gateway.stop().await;
}

/// A command is given when half of a packet has come, and its answer has a packet in its middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_and_a_packet_cross() {
    let (mut scene, mut meter) = heard_once().await;
    let packet = bytes(&gem(603, 110));
    meter.send(&packet[..200]).await;
    let id = scene.send("house", get("interval")).await;
    hears(&mut meter, "^^^SYSPDL").await;
    meter.send(&packet[200..]).await;
    scene.subscriber.packets("house", 2).await;
    hears(&mut meter, "^^^RQSITV").await;
    meter.send(b"Alive0").await;
    meter.send(&bytes(&gem(603, 120))).await;
    meter.send(b"A\r").await;
    meter.send(b"\n").await;
    assert_value(&scene.reply("house", id).await, &json!(10));
    scene.subscriber.packets("house", 3).await;
    scene.gateway.stop().await;
}
