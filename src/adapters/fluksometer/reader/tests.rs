use super::*;
use crate::adapters::fleet::{ChannelSettings, LinkId, MeterSettings};
use crate::model::{Channel, Quantity, Recorded, Role};

const DEVICE: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
const MAIN: &str = "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1";
const NOW: i64 = 1_800_000_000;

fn reader(ours: bool) -> Reader {
    let claims = Claims::default();
    Reader::new(0, "k".into(), ours, claims, Authored::default(), Metrics::default())
}

fn at(seconds: i64) -> Timestamp {
    Timestamp((NOW + seconds) * 1000)
}

fn said(topic: &str, payload: &str) -> Received {
    let (topic, payload) = (topic.into(), bytes::Bytes::copy_from_slice(payload.as_bytes()));
    Received { topic, payload, retained: false, to_retain: false }
}

fn document(what: &str, text: &str) -> Received {
    said(&format!("/device/{DEVICE}/config/{what}"), text)
}

fn section(rest: &str) -> String {
    format!("{{\"1\":{{\"id\":\"{MAIN}\",\"enable\":1,{rest}}}}}")
}

const ANALOG: &str = r#""class":"analog","type":"electricity","function":"main","port":[1]"#;
const CLAMP: &str = r#""type":"electricity","subtype":"pplus","port":[2]"#;

/// A reader that knows a device with this one sensor.
fn knowing(ours: bool, rest: &str) -> Reader {
    let mut reader = reader(ours);
    reader.take(&document("sensor", &section(rest)), at(0));
    reader.flush(at(2));
    reader
}

fn gauge(payload: &str) -> Received {
    said(&format!("/sensor/{MAIN}/gauge"), payload)
}

#[test]
fn an_unknown_device_waits_for_its_tap_and_one_of_a_gateway_is_never_taken() {
    let mut reader = reader(true);
    reader.take(&document("sensor", &section(CLAMP)), at(0));
    assert!(reader.flush(at(1)).0.is_empty() && reader.is_holding());
    reader.take(&said(&format!("/device/{DEVICE}/test/tap"), "# serial: FL03000000\n"), at(1));
    let (frames, asks) = reader.flush(at(1));
    assert_eq!((frames.len(), asks.len()), (1, 1));
    assert_eq!(frames[0].layout.model, crate::model::Model::Flm03);

    let mut other = super::tests::reader(true);
    let tap = "# serial: 1\n# firmware: Brultech GreenEye Monitor by meterbridge 0.1.0\n";
    other.take(&document("sensor", &section(CLAMP)), at(0));
    other.take(&said(&format!("/device/{DEVICE}/test/tap"), tap), at(0));
    other.take(&document("sensor", &section(ANALOG)), at(1));
    assert!(other.flush(at(9)).0.is_empty() && !other.is_holding());
}

#[test]
fn readings_wait_for_documents_and_come_by_the_second() {
    let mut reader = reader(false);
    for second in [0, 1] {
        reader.take(&gauge(&format!("[{},15{second},\"W\"]", NOW + second)), at(second));
    }
    let counter = format!("[{},2149218,\"Wh\"]", NOW + 1);
    reader.take(&said(&format!("/sensor/{MAIN}/counter"), &counter), at(1));
    reader.take(&document("sensor", &section(ANALOG)), at(1));
    let (frames, _) = reader.flush(at(3));
    let groups: Vec<(i64, usize)> = frames
        .iter()
        .filter_map(|frame| frame.now.as_ref())
        .map(|group| (group.time, group.readings.len()))
        .collect();
    assert_eq!(groups, [(NOW, 1), (NOW + 1, 2)]);
    assert!(reader.flush(at(4)).0.is_empty());
}

#[test]
fn what_is_over_an_hour_old_is_for_histories() {
    let mut reader = knowing(false, ANALOG);
    for second in [-9000, -8000, 0] {
        reader.take(&gauge(&format!("[{},1,\"W\"]", NOW + second)), at(3));
    }
    let (frames, _) = reader.flush(at(3));
    let past: Vec<i64> =
        frames.iter().flat_map(|one| &one.past).map(|group| group.time - NOW).collect();
    let now: Vec<i64> =
        frames.iter().filter_map(|one| one.now.as_ref()).map(|group| group.time - NOW).collect();
    // The first says how things stand.
    assert_eq!((past, now), (vec![-8000], vec![-9000, 0]));
}

#[test]
fn what_the_gateway_publishes_in_the_place_of_a_device_comes_back_without_effect() {
    let odd = r#""class":"cosem","type":"electricity","function":"smart-main","port":"ttyS0""#;
    let mut reader = knowing(true, odd);
    let own = reader.devices.values().next().and_then(|one| one.layout.clone());
    let own = own.and_then(|layout| layout.own.clone()).unwrap();
    assert!(own.on_our_broker && own.sensor.contains(r#""port":[1]"#), "{}", own.sensor);
    assert!(own.kube.contains("max_nodes") && own.tap.is_empty());
    let before = reader.devices.values().next().unwrap().documents.clone();
    for (what, text) in [("sensor", &own.sensor), ("flx", &own.flx), ("kube", &own.kube)] {
        reader.take(&document(what, text), at(3));
    }
    assert_eq!(reader.devices.values().next().unwrap().documents, before);
    assert!(reader.flush(at(3)).0.is_empty());
}

#[test]
fn documents_that_are_fit_are_left_alone_on_our_broker() {
    let mut reader = reader(true);
    let kube = r#"{"main":{"encryption":0,"max_nodes":0,"key":"00"}}"#;
    let flx = r#"{"2":{"enable":1,"class":"ct","name":"Mains"},"main":{"phase":"1p"}}"#;
    let sensor = section(&format!("{CLAMP},\"data_type\":\"counter\",\"rid\":0"));
    for (what, text) in [("kube", kube), ("flx", flx), ("sensor", &sensor)] {
        reader.take(&document(what, text), at(0));
    }
    let (frames, _) = reader.flush(at(2));
    let own = frames[0].layout.own.clone().unwrap();
    assert_eq!((&*own.sensor, &*own.flx, &*own.kube), ("", "", ""));
}

#[test]
fn a_device_is_named_and_its_section_kept_as_it_is() {
    let reader = knowing(false, &format!("{ANALOG},\"rid\":3,\"counter\":7"));
    let layout = reader.devices.values().next().unwrap().layout.clone().unwrap();
    let mut settings = MeterSettings::adopted("cellar".into(), LinkId(0));
    let channel = ChannelSettings { role: Role::Grid, ..ChannelSettings::default() };
    settings.channels.insert(Channel::Ch(1), channel);
    let device = layout.device(&DEVICE.into(), &settings, (false, false));
    let sensor = &device.sensors[0];
    assert_eq!((device.id.to_string().as_str(), sensor.id.to_string().as_str()), (DEVICE, MAIN));
    assert_eq!(
        (&*sensor.name, sensor.role, sensor.quantity),
        ("main", Role::Grid, Quantity::PPlus)
    );
    let own = sensor.own.as_ref().unwrap();
    assert_eq!((own.rid, own.record), (3, Some(Recorded::Counter)));
    let text = format!("{{\"id\":\"{MAIN}\",{ANALOG},\"rid\":3}}");
    assert_eq!(own.text, text);
}

#[test]
fn nobody_fills_memory_with_devices_or_readings() {
    let mut reader = reader(true);
    for n in 0..2000_u32 {
        let topic = format!("/device/{n:032x}/config/sensor");
        reader.take(&said(&topic, "{}"), at(0));
        for _ in 0..3 {
            reader.take(&said(&format!("/sensor/{n:032x}/gauge"), "[1,2,\"W\"]"), at(0));
        }
    }
    assert!(reader.devices.len() <= MOST_DEVICES && reader.early.len() <= MOST_EARLY);
}
