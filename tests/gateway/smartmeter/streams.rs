//! Streams that the gateway has started.

use serde_json::{Value, json};

use super::device::{Answer, Device, Script};
use super::{command, dialled, heard};
use crate::support::Site;

/// RMS values of a SmartMeter, ten a second.
const STREAM: &str = "    poll: 1h\n    stream: {rate: 10, measures: \"v,i_RMS\"}\n";
const VALUES: [f32; 6] = [230.1, 231.4, 229.3, 4000.0, 950.0, 120.0];

fn asked() -> Value {
    json!({"cmd": "sample", "payload": {
        "type": "TCP", "rate": 10, "measures": "v,i_RMS", "prefix": true, "flowCtr": false
    }})
}

/// A packet with one sample.
fn packet(number: u32) -> Vec<u8> {
    let mut bytes = b"Data:".to_vec();
    bytes.extend(24_u16.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend(VALUES.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

/// The reply to `sample` and packets with these numbers behind it.
fn sampled(numbers: impl Iterator<Item = u32>) -> Answer {
    let reply = r#"{"error":false,"cmd":"sample","measures":"v,v,v,i,i,i_RMS","chunksize":24,"samplingrate":10,"conn_type":"TCP","measurements":6,"prefix":true,"flowCtr":false,"unit":"V,V,V,mA,mA,mA","startTs":"1795226248.000"}"#;
    let mut answer = Answer::line(reply);
    answer.pieces.extend(numbers.map(packet));
    answer
}

fn summary(samples: u32) -> Answer {
    Answer::line(&format!(
        r#"{{"msg":"Received stop command","sample_duration":1664,"samples":{samples},"sent_samples":{samples},"start_ts":"1795226248.000","stop_ts":"1795226249.665","ip":"192.168.0.138","avg_rate":9.6154,"cmd":"stop","error":false}}"#
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_become_readings_and_a_loss_is_counted() {
    let script = Script::of("dialog_sampling.jsonl")
        .with(&asked(), sampled((0..40).filter(|number| !(20..23).contains(number))))
        .with(&json!({"cmd": "stop"}), summary(40));
    let device = Device::start(script).await;
    let site = Site::new(&dialled("mains", device.address, STREAM));
    let gateway = site.start().await;
    heard(gateway.web(), "mains").await;
    device.said("{\"cmd\":\"sample\"", 1).await;
    gateway.until_metric("meterbridge_stream_packets_total", |count| count == 37).await;
    assert_eq!(gateway.metric("meterbridge_stream_lost_packets_total").await, 3);
    assert_eq!(gateway.metric("meterbridge_stream_lost_frames_total").await, 3);
    assert_eq!(gateway.metric("meterbridge_streams").await, 1);
    let voltage = command(gateway.web(), "mains", &json!({"cmd": "getVoltage"})).await;
    assert_eq!(voltage["channels"]["l2"], 231.4, "{voltage}");
    let reply = command(gateway.web(), "mains", &json!({"cmd": "stop"})).await;
    assert_eq!((&reply["error"], &reply["samples"]), (&json!(false), &json!(40)), "{reply}");
    gateway.until_metric("meterbridge_streams", |count| count == 0).await;
    // Whoever stopped it does not want it back at once: it is polled again.
    device.said("{\"cmd\":\"getPower\"}", 1).await;
    let sampled = device.lines.all().iter().filter(|line| line.contains("sample")).count();
    assert_eq!(sampled, 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_asked_for_again_after_each_reconnect() {
    let mut first = sampled(0..12);
    first.closes = true;
    let script = Script::of("dialog_sampling.jsonl").with(&asked(), first);
    let device = Device::start(script).await;
    let site = Site::new(&dialled("mains", device.address, STREAM));
    let gateway = site.start().await;
    device.said("{\"cmd\":\"sample\"", 3).await;
    gateway.until_metric("meterbridge_stream_packets_total", |count| count >= 24).await;
    assert_eq!(gateway.metric("meterbridge_stream_lost_packets_total").await, 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_starts_what_the_configuration_does_not() {
    let payload =
        json!({"cmd": "sample", "payload": {"type": "TCP", "rate": 10, "measures": "v,i_RMS"}});
    let mut script = Script::of("dialog_sampling.jsonl");
    // The gateway leaves nothing to the defaults of a firmware.
    let recorded = script.answers.iter().find(|(said, _)| said.contains("\"sample\""));
    let recorded = recorded.map(|(_, answers)| answers[0].clone()).unwrap();
    script = script.with(&asked(), recorded);
    let device = Device::start(script).await;
    let site = Site::new(&dialled("mains", device.address, "    poll: 1h\n"));
    let gateway = site.start().await;
    heard(gateway.web(), "mains").await;
    let reply = command(gateway.web(), "mains", &payload).await;
    assert_eq!(reply["measures"], "v,v,v,i,i,i_RMS", "{reply}");
    // The recorded device sent its packets behind the reply.
    gateway.until_metric("meterbridge_stream_packets_total", |count| count == 4).await;
    let udp = json!({"cmd": "sample", "payload": {"type": "UDP", "rate": 10, "port": 5000}});
    let reply = command(gateway.web(), "mains", &udp).await;
    assert!(reply["msg"].as_str().unwrap().contains("do not reach the gateway"), "{reply}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_without_numbers_are_taken_when_the_log_is_silent() {
    let mut asked = asked();
    asked["payload"]["prefix"] = false.into();
    let reply =
        sampled(0..0).reply().unwrap().to_string().replace("\"prefix\":true", "\"prefix\":false");
    let mut answer = Answer::line(&reply);
    let frame: Vec<u8> = VALUES.iter().flat_map(|value| value.to_le_bytes()).collect();
    for number in 0..40 {
        answer.pieces.push(frame.clone());
        if number == 17 {
            answer.pieces.push(b"Info:[E]03/02 16:04:02: Lost interrupt!\r\n".to_vec());
        }
    }
    let script = Script::of("dialog_sampling.jsonl").with(&asked, answer);
    let device = Device::start(script).await;
    let raw = STREAM.replace("\"v,i_RMS\"", "\"v,i_RMS\", framed: false");
    let site = Site::new(&dialled("mains", device.address, &raw));
    let gateway = site.start().await;
    gateway.until_metric("meterbridge_stream_frames_total", |count| count == 40).await;
    assert_eq!(gateway.metric("meterbridge_smartmeter_quality_lines_total").await, 1);
    let said: Vec<String> =
        device.lines.all().into_iter().filter(|line| !line.contains("get")).collect();
    assert_eq!(said[0], r#"{"cmd":"log","level":"error"}"#, "{said:?}");
    assert!(said[1].contains("\"sample\""), "{said:?}");
    let voltage = command(gateway.web(), "mains", &json!({"cmd": "getVoltage"})).await;
    assert_eq!(voltage["channels"]["l3"], 229.3, "{voltage}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_whose_begin_was_missed_are_stopped() {
    let mut script = Script::of("dialog_sampling.jsonl").with(&json!({"cmd": "stop"}), summary(9));
    script.greeting.pieces.push(packet(4));
    let device = Device::start(script).await;
    let site = Site::new(&dialled("mains", device.address, "    poll: 1h\n"));
    let gateway = site.start().await;
    device.said("{\"cmd\":\"stop\"}", 1).await;
    heard(gateway.web(), "mains").await;
    assert_eq!(gateway.metric("meterbridge_stream_packets_total").await, 0);
    gateway.stop().await;
}
