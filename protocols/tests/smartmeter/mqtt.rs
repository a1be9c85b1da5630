//! Messages on a broker, each with what it means.

use meter_protocols::smartmeter::mqtt::{
    InfoMessage, LineMeasurement, Measurement, Sample, energy_unit_is_wh, switch,
};
use meter_protocols::smartmeter::{Kind, Layout, Quantity, Values, Version};
use serde_json::{Value, json};

use crate::alike::alike;
use crate::capture;

fn measured(one: &Measurement, wants: &Value) -> Value {
    let mut found = json!({
        "power_w": one.power_w, "energy_wh": one.energy_wh, "current_a": one.current_a,
        "voltage_v": one.voltage_v, "ts": one.ts.map(|ts| ts as i64),
    });
    if wants.get("in_use").is_some() {
        found["in_use"] = json!(one.in_use);
    }
    if let Some(lines) = one.lines {
        let line = |line: LineMeasurement| {
            json!({
                "voltage_v": line.voltage_v, "current_a": line.current_a,
                "power_w": line.power_w, "energy_wh": line.energy_wh,
            })
        };
        let [l1, l2, l3] = lines.map(line);
        found["lines"] = json!({"l1": l1, "l2": l2, "l3": l3});
    }
    found
}

/// What a message means, in the words of the examples.
fn meaning(topic: &str, payload: &[u8], wants: &Value) -> Value {
    let kind = topic.split('/').nth(1).and_then(Kind::of_name).unwrap();
    let firmware = if kind == Kind::PowerMeter { "2.3" } else { "2.2" };
    let is_wh = energy_unit_is_wh(kind, Version::of_text(firmware));
    match topic.split('/').skip(3).collect::<Vec<_>>()[..] {
        ["sample"] => match Sample::read(payload, is_wh) {
            Some(Sample::Measurement(one)) => measured(&one, wants),
            _ => Value::Null,
        },
        ["switch"] => switch(payload).map_or(Value::Null, |relay| json!({"relay": relay})),
        ["info"] => match InfoMessage::read(payload, Some(kind)) {
            InfoMessage::State { relay: Some(relay), .. } => json!({"relay": relay}),
            InfoMessage::Answer(answer) => match answer.values {
                Values::Lines(values) => json!({"values": values, "unit": answer.unit}),
                Values::Whole(value) => json!({"values": value, "unit": answer.unit}),
            },
            InfoMessage::Stream(sample) => {
                let layout = sample.layout(Some(kind), None).unwrap();
                let of = |what| -> Vec<f32> {
                    let own = layout.channels.iter().zip(&sample.values);
                    own.filter(|(one, _)| one.what == what).map(|(_, value)| *value).collect()
                };
                json!({"p_w": of(Quantity::Active), "q_var": of(Quantity::Reactive)})
            }
            _ => Value::Null,
        },
        _ => Value::Null,
    }
}

#[test]
fn every_example_means_what_it_says() {
    let mut seen = 0;
    for line in String::from_utf8(capture("mqtt_examples.jsonl")).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let (topic, payload) = (line["topic"].as_str().unwrap(), line["payload"].as_str().unwrap());
        let found = meaning(topic, payload.as_bytes(), &line["expected"]);
        assert!(
            alike(&found, &line["expected"]),
            "{payload}\ngives {found}\nnot {}",
            line["expected"]
        );
        seen += 1;
    }
    assert_eq!(seen, 24);
}

#[test]
fn an_old_powermeter_counts_in_kilowatt_hours() {
    let payload = br#"{"power":1,"energy":19.76,"ts":1614681575}"#;
    let energy = |firmware: Option<&str>| {
        let is_wh = energy_unit_is_wh(Kind::PowerMeter, firmware.and_then(Version::of_text));
        match Sample::read(payload, is_wh) {
            Some(Sample::Measurement(one)) => one.energy_wh,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(energy(Some("1.3")), Some(19760.0));
    assert_eq!(energy(Some("2.3")), Some(19.76));
    assert_eq!(energy(None), None);
}

#[test]
fn a_time_far_off_is_not_believed() {
    let one = Measurement { ts: Some(1_614_681_575.0), ..Measurement::default() };
    assert_eq!(one.time_near(1_614_681_576.0), Some(1_614_681_575.0));
    assert_eq!(one.time_near(1_795_226_248.0), None);
}

#[test]
fn a_stream_over_mqtt_has_the_layout_of_its_reply() {
    let payload = br#"{"unit":"V,V,V,mA,mA,mA","ts":"1614697441.671","values":[230,231.4,null,4000,950,120]}"#;
    let InfoMessage::Stream(sample) = InfoMessage::read(payload, Some(Kind::SmartMeter)) else {
        panic!("it is a stream");
    };
    assert_eq!((sample.ts, sample.values[1]), (Some(1614697441.671), 231.4));
    assert!(sample.values[2].is_nan());
    let told = Layout::of_measures(Some(Kind::SmartMeter), "v,v,v,i,i,i_RMS").unwrap();
    assert_eq!(sample.layout(None, Some(&told)), Some(told));
    let other = Layout::of_measures(Some(Kind::SmartMeter), "v,i_L1").unwrap();
    assert_eq!(sample.layout(None, Some(&other)).unwrap().measures(), "v,v,v,i,i,i_RMS");
}

#[test]
fn what_is_no_message_is_told_as_it_is() {
    let text = |payload: &[u8]| match InfoMessage::read(payload, None) {
        InfoMessage::Text(text) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(text(b"Parse error"), "Parse error");
    assert_eq!(text(b"[1]"), "[1]");
    assert_eq!(text(b""), "");
    assert_eq!(Sample::read(b"Parse error", None), None);
    assert_eq!(Sample::read(b"{\"volt\":230}", None), None);
    assert_eq!(Sample::read(b"on", None), Some(Sample::Sampling(true)));
}
