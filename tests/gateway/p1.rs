//! Smart meters by their customer port: telegrams in, the right numbers on MQTT and HTTP out; what is
//! wrong or cut costs itself only; gas has a time of its own; totals never fall.

mod encrypted;
mod lines;
mod requests;

use jiff::Timestamp;
use jiff::tz::Offset;
use meter_protocols::dsmr::{Object, Telegram, TicFrame};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::commands::Sender;
use crate::meters::reading;
use crate::process::Process;
use crate::subscriber::Subscriber;
use crate::support::Site;

const PORT: &str = "
  - name: grid
    kind: p1
    link: {listen: 127.0.0.1:0}
";
/// What `4B384547303034303436333935353037` is in letters.
const SERIAL: &str = "K8EG004046395507";

/// A telegram with these lines, and its checksum.
fn telegram(lines: &[&str]) -> Vec<u8> {
    let object = |line: &&str| {
        let (code, values) = line.split_once('(').unwrap();
        let values = values.strip_suffix(')').unwrap().split(")(").map(str::to_owned).collect();
        Object { code: code.parse().unwrap(), values }
    };
    let telegram = Telegram {
        identification: "KFM5KAIFA-METER".into(),
        objects: lines.iter().map(object).collect(),
        checksum: Some(0),
    };
    let mut bytes = Vec::new();
    telegram.encode(&mut bytes);
    bytes
}

/// A DSMR 5 telegram with this import of tariff 1 in Wh, and more lines.
fn house(import: u64, more: &[&str]) -> Vec<u8> {
    let import = format!("1-0:1.8.1({:06}.{:03}*kWh)", import / 1000, import % 1000);
    let lines = [
        "1-3:0.2.8(50)",
        "0-0:96.1.1(4B384547303034303436333935353037)",
        &import,
        "1-0:1.8.2(000010.000*kWh)",
        "1-0:2.8.1(000001.500*kWh)",
        "1-0:2.8.2(000000.500*kWh)",
        "1-0:1.7.0(00.000*kW)",
        "1-0:2.7.0(01.312*kW)",
    ];
    telegram(&[&lines, more].concat())
}

fn sensor_id(serial: &str, channel: &str, quantity: &str) -> String {
    let digest = Sha256::digest(format!("meterbridge/p1/{serial}/{channel}/{quantity}"));
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn counter(channel: &str, quantity: &str) -> String {
    format!("/sensor/{}/counter", sensor_id(SERIAL, channel, quantity))
}

fn gauge(channel: &str, quantity: &str) -> String {
    format!("/sensor/{}/gauge", sensor_id(SERIAL, channel, quantity))
}

/// Unix seconds as a meter prints them in winter.
fn winter(seconds: i64) -> String {
    let local = Offset::constant(1).to_datetime(Timestamp::from_second(seconds).unwrap());
    format!("{}W", local.strftime("%y%m%d%H%M%S"))
}

fn last(subscriber: &Subscriber, topic: &str) -> (i64, String) {
    let payload = subscriber.last(topic).unwrap_or_else(|| panic!("nothing on {topic}"));
    let (_, value, unit) = reading(&payload);
    (value, unit)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_telegram_gives_its_values_with_import_and_export_apart() {
    let site = Site::new(PORT);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let phases = [
        "1-0:32.7.0(231.5*V)",
        "1-0:52.7.0(230.1*V)",
        "1-0:31.7.0(002*A)",
        "1-0:51.7.0(003*A)",
        "1-0:21.7.0(00.000*kW)",
        "1-0:22.7.0(01.312*kW)",
    ];
    gateway.dial().await.send(&house(71_250, &phases)).await;
    subscriber.packets("grid", 1).await;
    for (topic, value, unit) in [
        (counter("line", "pplus"), 81_250_000, "Wh"),
        (counter("line", "pminus"), 2_000_000, "Wh"),
        (gauge("line", "pplus"), 0, "W"),
        (gauge("line", "pminus"), 1_312_000, "W"),
        (gauge("l1", "vrms"), 231_500, "V"),
        (gauge("l2", "irms"), 3_000, "A"),
        (gauge("l1", "pminus"), 1_312_000, "W"),
    ] {
        assert_eq!(last(&subscriber, &topic), (value, unit.to_owned()), "{topic}");
    }
    assert_eq!(subscriber.payloads(&counter("l1", "pplus")), Vec::<String>::new());
    let json =
        |topic: &str| -> Value { serde_json::from_str(&subscriber.last(topic).unwrap()).unwrap() };
    let sample = json("powermeter/grid/state/sample");
    assert_eq!(sample["power"], json!(-1312));
    assert_eq!((&sample["volt"], &sample["current"]), (&json!(231.5), &json!(5)));
    assert_eq!(sample["energy"], json!(81.25));
    let channels = json("powermeter/grid/state/channels");
    assert_eq!(channels["line"], json!({"power": -1312, "energy": 81.25, "energy_export": 2}));
    assert_eq!(channels["l1"], json!({"power": -1312, "current": 2, "voltage": 231.5}));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_checksum_and_half_a_telegram_cost_themselves_only() {
    let site = Site::new(PORT);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut meter = gateway.dial().await;
    let mut wrong = house(900_000_000, &[]);
    let at = wrong.iter().position(|byte| *byte == b'9').unwrap();
    wrong[at] = b'8';
    let whole = house(71_250, &[]);
    meter.send(&wrong).await;
    meter.send(&whole).await;
    // Cut in the midst of a line, and the next one follows at once.
    meter.send(&[&whole[..whole.len() / 2], &house(71_260, &[])].concat()).await;
    meter.send(b"\xff\x00!noise/").await;
    meter.trickle(&house(71_270, &[])).await;
    subscriber.packets("grid", 3).await;
    let totals: Vec<i64> = subscriber
        .payloads(&counter("line", "pplus"))
        .iter()
        .map(|payload| reading(payload).1)
        .collect();
    assert_eq!(totals, [81_250_000, 81_260_000, 81_270_000]);
    assert_eq!(gateway.metric("meterbridge_packets_total").await, 3);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gas_has_its_own_time_and_a_rate_from_the_second_reading_on() {
    let site = Site::new(PORT);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut meter = gateway.dial().await;
    let now = Timestamp::now().as_second();
    let (first, second) = (now - 3900, now - 300);
    let gas = |at: i64, litres: u64| {
        let value =
            format!("0-1:24.2.1({})({:05}.{:03}*m3)", winter(at), litres / 1000, litres % 1000);
        house(71_250, &["0-1:24.1.0(003)", "0-1:96.1.0(30303033)", &value])
    };
    for bytes in [gas(first, 9_400), gas(first, 9_400), gas(second, 9_650), gas(second, 9_650)] {
        meter.send(&bytes).await;
    }
    subscriber.packets("grid", 4).await;
    let (counter, gauge) = (counter("pulse1", "pulse"), gauge("pulse1", "pulse"));
    assert_eq!(
        subscriber.on(&counter, 2).await,
        [format!("[{first},9400,\"L\"]"), format!("[{second},9650,\"L\"]")]
    );
    assert_eq!(subscriber.on(&gauge, 1).await, [format!("[{second},6000,\"L/day\"]")]);
    // What the meter says of itself stays at the time of its arrival.
    let channels: Value = serde_json::from_str(&subscriber.packets("grid", 4).await[3]).unwrap();
    assert!(channels["ts"].as_i64().unwrap() >= now, "{channels}");
    assert_eq!(channels["pulse1"]["total"], json!(9650));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_marks_tell_the_two_hours_of_the_same_name_apart() {
    // A capture from another year: its gas is told at its arrival, once for each value.
    let site = Site::new(PORT);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut meter = gateway.dial().await;
    let gas = |at: &str, litres: u64| {
        house(71_250, &["0-1:24.1.0(003)", &format!("0-1:24.2.1({at})(00000.{litres:03}*m3)")])
    };
    let before = Timestamp::now().as_second();
    meter.send(&gas("211031023000S", 100)).await;
    meter.send(&gas("211031023000W", 100)).await;
    meter.send(&gas("211031023000W", 200)).await;
    subscriber.packets("grid", 3).await;
    let told = subscriber.on(&counter("pulse1", "pulse"), 2).await;
    let told: Vec<(i64, i64, String)> = told.iter().map(|payload| reading(payload)).collect();
    assert!(told.iter().all(|(at, ..)| *at >= before), "{told:?}");
    assert_eq!(told.iter().map(|one| one.1).collect::<Vec<_>>(), [100_000, 200_000]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_never_fall_not_over_a_reset_and_not_over_a_kill() {
    let site = Site::new(PORT);
    let gateway = Process::run(&site, &[]).await;
    let subscriber = Subscriber::new(gateway.broker).await;
    gateway.dial().await.send(&house(71_250, &[])).await;
    subscriber.packets("grid", 1).await;
    gateway.kill().await;

    let gateway = Process::run(&site, &[]).await;
    let subscriber = Subscriber::new(gateway.broker).await;
    let mut meter = gateway.dial().await;
    // Another counter in the same case: lower than before.
    meter.send(&house(0, &[])).await;
    subscriber.event("reset", Some("line")).await;
    meter.send(&house(7, &[])).await;
    subscriber.packets("grid", 2).await;
    let totals = subscriber.on(&counter("line", "pplus"), 2).await;
    let totals: Vec<i64> = totals.iter().map(|payload| reading(payload).1).collect();
    assert_eq!(totals, [81_250_000, 81_257_000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn meters_of_all_countries_share_a_port_and_are_told_apart_by_their_numbers() {
    let site = Site::new(PORT);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut meter = gateway.dial().await;
    meter.send(&house(1, &[])).await;
    subscriber.packets("grid", 1).await;
    // DSMR 2.2, without a checksum.
    let old = "/ABC5DEMO-2-2\r\n\r\n0-0:96.1.1(30303030)\r\n1-0:1.8.1(00183.031*kWh)\r\n\
               1-0:1.7.0(0000.47*kW)\r\n!\r\n";
    meter.send(old.as_bytes()).await;
    subscriber.packets("p1-0000", 1).await;
    // Sweden: no number but in the header, all tariffs together.
    let swedish =
        "/ELL5\\253833635_A\r\n\r\n1-0:1.8.0(00006678.394*kWh)\r\n1-0:1.7.0(0001.727*kW)\r\n!\r\n";
    meter.send(swedish.as_bytes()).await;
    subscriber.packets("p1-ELL5_253833635_A", 1).await;
    // France.
    let group = |label: &str, value: &str| (label.to_owned(), value.to_owned());
    let mut bytes = Vec::new();
    let groups = vec![
        group("ADCO", "012345678901"),
        group("HCHC", "000001000"),
        group("HCHP", "000000234"),
        group("PAPP", "00430"),
    ];
    TicFrame { groups }.encode(&mut bytes);
    meter.send(&bytes).await;
    subscriber.packets("p1-012345678901", 1).await;
    let total = |serial| format!("/sensor/{}/counter", sensor_id(serial, "line", "pplus"));
    assert_eq!(last(&subscriber, &total("0000")).0, 183_031_000);
    assert_eq!(last(&subscriber, &total("ELL5\\253833635_A")).0, 6_678_394_000);
    assert_eq!(last(&subscriber, &total("012345678901")).0, 1_234_000);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_answered_from_readings_and_the_rest_is_refused_in_words() {
    let site = Site::new(PORT);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let phases = ["1-0:32.7.0(231.0*V)", "1-0:52.7.0(230.0*V)", "1-0:21.7.0(00.300*kW)"];
    gateway.dial().await.send(&house(71_250, &phases)).await;
    subscriber.packets("grid", 1).await;
    let mut sender = Sender::new(gateway.broker(), "asker").await;
    let mut asked = 0;
    let mut ask = async |command: Value| -> Value {
        asked += 1;
        sender.send("powermeter/grid/cmd", command.to_string(), false).await;
        let replies = subscriber.on("powermeter/grid/state/info", asked).await;
        serde_json::from_str(&replies[asked - 1]).unwrap()
    };
    assert_eq!(ask(json!({"cmd": "getPower"})).await["activePower"], json!(-1312));
    assert_eq!(ask(json!({"cmd": "getPower", "channel": "l1"})).await["activePower"], json!(300));
    let voltage = ask(json!({"cmd": "getVoltage"})).await;
    assert_eq!((&voltage["voltage"], &voltage["channels"]["l2"]), (&json!(231), &json!(230)));
    let energy = ask(json!({"cmd": "getEnergy"})).await;
    assert_eq!((&energy["energy"], &energy["energyExport"]), (&json!(81_250), &json!(2000)));
    let info = ask(json!({"cmd": "info"})).await;
    assert_eq!((&info["make"], &info["serial"]), (&json!("p1"), &json!(SERIAL)));
    for command in
        [json!({"cmd": "set", "setting": "interval", "value": 5}), json!({"cmd": "poll"})]
    {
        let reply = ask(command).await;
        assert_eq!(reply["error"], true);
        assert!(reply["msg"].as_str().unwrap().contains("customer port"), "{reply}");
    }
    gateway.stop().await;
}
