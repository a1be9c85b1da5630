#[path = "../../../protocols/tests/smartmeter/alike.rs"]
mod alike;

use super::*;

use self::alike::alike;

const CAPTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/protocols/tests/captures/smartmeter");

fn capture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{CAPTURES}/{name}")).unwrap()
}

/// The lines on `out`, and what `err` says.
fn decoded(name: &str, bytes: &[u8], options: &SmartmeterOptions) -> (Vec<Value>, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    smartmeter(bytes, Some(Path::new(name)), options, &mut out, &mut err).unwrap();
    let lines = String::from_utf8(out).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (lines, String::from_utf8(err).unwrap())
}

#[test]
fn each_capture_gives_what_is_expected_of_it() {
    let expected: Value = serde_json::from_slice(&capture("expected.json")).unwrap();
    let mut seen = 0;
    for (name, expected) in expected.as_object().unwrap() {
        if name == "segment_cuts" {
            continue;
        }
        let (lines, err) = decoded(name, &capture(name), &SmartmeterOptions::default());
        let summary = lines.last().unwrap();
        for (key, value) in expected.as_object().unwrap() {
            let is_note = key.ends_with("note");
            let same = summary.get(key).is_some_and(|found| alike(found, value));
            assert!(is_note || same, "{name}: {key} is {:?}, not {value}", summary.get(key));
        }
        let is_told = name.ends_with(".f32") || name.starts_with("udp");
        assert_eq!(err.lines().count(), if is_told { 2 } else { 0 }, "{name}: {err}");
        seen += 1;
    }
    assert_eq!(seen, 12);
}

#[test]
fn dialogs_give_their_messages() {
    let (lines, err) =
        decoded("dialog", &capture("dialog_sampling.jsonl"), &SmartmeterOptions::default());
    assert_eq!(err, "");
    assert_eq!(lines[0]["name"], "smartmeter001");
    assert!(lines.contains(&json!({"text": "Setup done"})));
    let summary = lines.last().unwrap();
    assert_eq!((&summary["samples"], &summary["packets"]), (&json!(16), &json!(16)));
    assert_eq!(summary["rms"]["v_rms_l2"], 231.4);
    let (lines, err) =
        decoded("dialog", &capture("dialog_smartmeter.jsonl"), &SmartmeterOptions::default());
    assert_eq!(err, "");
    assert_eq!(lines.last().unwrap()["samples"], 0);
    assert!(!lines.iter().any(|line| line.to_string().contains("TestPwd")), "{lines:?}");
    let rows = lines.iter().find_map(|line| line.get("rows")?.as_array());
    assert_eq!(rows.map(Vec::len), Some(3));
    let (_, err) =
        decoded("dialog", &capture("dialog_cut_mid_reply.jsonl"), &SmartmeterOptions::default());
    assert!(err.contains("the link ended in its midst"), "{err}");
}

#[test]
fn what_is_assumed_can_be_said() {
    let options = SmartmeterOptions {
        layout: Layout::of_measures(None, "v,i,p,q"),
        rate_hz: Some(50.0),
        kind: Some(Kind::PowerMeter),
    };
    let (lines, err) = decoded("x.f32", &capture("sp_4k_raw.f32"), &options);
    assert_eq!(err, "");
    assert_eq!((&lines[0]["rate_hz"], &lines[0]["samples"]), (&json!(50), &json!(1000)));
    assert_eq!(lines[0]["channels"], json!(["v", "i", "p", "q"]));
}

#[test]
fn samples_on_stdin_are_known_by_what_they_are_not() {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let bytes = capture("3p_8k_raw.f32");
    smartmeter(&bytes[..], None, &SmartmeterOptions::default(), &mut out, &mut err).unwrap();
    let summary: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((&summary["rate_hz"], &summary["samples"]), (&json!(8000), &json!(800)));
}

#[test]
fn a_stream_that_is_joined_in_its_midst_is_known_by_its_voltages() {
    let stream = capture("3p_4k_framed.bin");
    let (lines, err) = decoded("x.bin", &stream[5000..], &SmartmeterOptions::default());
    let summary = lines.last().unwrap();
    assert_eq!(summary["channels"].as_array().map(Vec::len), Some(6));
    assert_eq!((&summary["rate_hz"], &summary["chunk"]), (&json!(4000), &json!(1008)));
    assert_eq!(summary["missing_packets"], json!([]));
    assert!(err.contains("passed over"), "{err}");
}

#[test]
fn another_layout_has_a_summary_of_its_own() {
    let stream = [capture("3p_4k_framed.bin"), capture("pm_vipq_2k_framed.bin")].concat();
    let (lines, err) = decoded("x.bin", &stream, &SmartmeterOptions::default());
    assert_eq!(err, "");
    let samples: Vec<&Value> =
        lines.iter().filter_map(|line| line.get("rms").and(line.get("samples"))).collect();
    assert_eq!(samples, [960, 400]);
}

#[test]
fn nothing_is_nothing() {
    for bytes in [&b""[..], b"\n", b"{\"x\":1}\n", b"{"] {
        let (lines, _) = decoded("x", bytes, &SmartmeterOptions::default());
        assert_eq!(lines.last().unwrap()["samples"], 0, "{}", bytes.escape_ascii());
    }
}
