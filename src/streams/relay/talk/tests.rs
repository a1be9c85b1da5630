//! What a client says, and what it is answered.

use super::*;
use crate::streams::shape::tests::{piece, stream};

fn talk() -> Talk {
    Talk::new("mains".into(), "127.0.0.1".parse().unwrap())
}

/// The lines of an answer, which has nothing else.
fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    let one = |line: &str| serde_json::from_str(line.strip_prefix("Info:").unwrap()).unwrap();
    text.split_terminator("\r\n").map(one).collect()
}

fn said(talk: &mut Talk, text: &str, running: Option<&Arc<StreamInfo>>) -> Vec<u8> {
    talk.hear(text.as_bytes(), running, Timestamp(1_700_000_010_000))
}

const SAMPLE_IT: &str = r#"{"cmd":"sample","payload":{"type":"TCP","rate":1000}}"#;

#[test]
fn samples_begin_with_their_layout_and_end_with_a_summary() {
    let (mut talk, info) = (talk(), stream(1, 1000.0, 1));
    assert_eq!(said(&mut talk, SAMPLE_IT, Some(&info)), b"");
    assert!(talk.listens() && talk.awaits_samples());
    let mut out = Portion::default();
    talk.take(&piece(&info, 100, 300), &mut out).unwrap();
    let end = out.bytes.windows(2).position(|two| two == b"\r\n").unwrap() + 2;
    let reply = &lines(&out.bytes[..end])[0];
    // 1024 bytes of 8: packets begin at multiples of 128.
    let expected = json!({
        "error": false, "cmd": "sample", "measures": "v,i", "chunksize": 1024,
        "samplingrate": 1000, "conn_type": "TCP", "measurements": 2, "prefix": true,
        "flowCtr": false, "unit": "V,mA", "startTs": "1700000000.128",
    });
    assert_eq!(reply.to_string(), expected.to_string());
    assert_eq!(&out.bytes[end..end + 11], b"Data:\x00\x04\x00\x00\x00\x00");
    assert_eq!(out.bytes.len(), end + 11 + 1024);

    let again = &lines(&said(&mut talk, SAMPLE_IT, Some(&info)))[0];
    assert_eq!((&again["error"], &again["state"]), (&json!(true), &json!("busy")));

    let rest = said(&mut talk, r#"{"cmd":"stop"}"#, Some(&info));
    // 128 to 300 are 172 frames, 44 of them not yet a packet.
    assert_eq!(&rest[..11], b"Data:\x60\x01\x01\x00\x00\x00");
    let summary = &lines(&rest[11 + 44 * 8..])[0];
    assert_eq!((&summary["samples"], &summary["sent_samples"]), (&json!(172), &json!(172)));
    assert_eq!(summary["start_ts"], "1700000000.128");
    let idle = lines(&said(&mut talk, r#"{"cmd":"stop"}"#, None));
    assert_eq!(idle, [json!({"error": true, "cmd": "stop"})]);
}

#[test]
fn a_client_that_wants_to_be_asked_is() {
    let (mut talk, info) = (talk(), stream(1, 1000.0, 3));
    let wish = r#"{"cmd":"sample","payload":{"type":"TCP","rate":8000,"flowCtr":true,"measures":"v,i_L3"}}"#;
    assert_eq!(said(&mut talk, wish, Some(&info)), b"");
    let mut out = Portion::default();
    talk.take(&piece(&info, 0, 200), &mut out).unwrap();
    let reply = &lines(&out.bytes)[0];
    assert_eq!((&reply["measures"], &reply["measurements"]), (&json!("v,i_L3"), &json!(2)));
    assert!(reply["msg"].as_str().unwrap().contains("1000 Hz"));
    assert!(!talk.listens(), "nothing before it says so");
    let clear = said(&mut talk, r#"{"cmd":"cts","value":true}"#, Some(&info));
    assert!(clear.ends_with(&200.0_f32.to_le_bytes()) || clear.len() > 1024);
    assert!(talk.listens());
    said(&mut talk, r#"{"cmd":"cts","value":false}"#, Some(&info));
    assert!(!talk.listens());
    said(&mut talk, r#"{"cmd":"reqSamples","samples":40}"#, Some(&info));
    assert!(talk.listens(), "as a meter does");
}

#[test]
fn whatever_is_said_is_answered_as_a_meter_would() {
    let (mut talk, info) = (talk(), stream(1, 1000.0, 3));
    assert_eq!(said(&mut talk, "!", None), b"");
    assert_eq!(said(&mut talk, "?", None), b"Info:Setup done\r\n");
    let told = lines(&said(&mut talk, r#"{"cmd":"info"} junk"#, Some(&info)));
    assert_eq!((&told[0]["type"], &told[0]["name"]), (&json!("smartmeter"), &json!("mains")));
    assert_eq!(told[1], json!({"error": false}));
    for (wrong, words) in [
        (r#"{"cmd":"sample"}"#, "type and rate"),
        (r#"{"cmd":"sample","payload":{"type":"UDP","rate":1}}"#, "UDP"),
        (r#"{"cmd":"sample","payload":{"type":"TCP","rate":1,"prefix":"false"}}"#, "quotes"),
        (r#"{"cmd":"sample","payload":{"type":"TCP","rate":1,"measures":"p,q"}}"#, "v_l1"),
        (r#"{"cmd":"restart"}"#, "only hands samples on"),
        (r#"{"payload":1}"#, "cmd"),
        (r#"{"cmd":"cts"}"#, "value"),
    ] {
        let reply = &lines(&said(&mut talk, wrong, Some(&info)))[0];
        assert_eq!(reply["error"], true, "{wrong}");
        assert!(reply["msg"].as_str().unwrap().contains(words), "{wrong}: {reply}");
    }
    let reply = &lines(&said(&mut talk, SAMPLE_IT, None))[0];
    assert!(reply["msg"].as_str().unwrap().contains("does not sample now"));
    assert!(!talk.is_busy() && !talk.makes_no_sense());
    for _ in 0..=BAD_LINES {
        let log = said(&mut talk, "GET / \"HTTP\u{1b}", None);
        assert!(log.starts_with(b"Info:[E]") && log.ends_with(b": GET / _HTTP?\r\n"));
    }
    assert!(talk.makes_no_sense());
}
