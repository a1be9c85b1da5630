//! Which name a meter gets: its own entry's, the first free one's, or one of its own.

use serde_json::Value;

use crate::meters::{Capture, ECM_CAPTURE, bytes, counter, device_id, ecm, gem};
use crate::subscriber::Subscriber;
use crate::support::{HOUSE, Running, Site, free_port};

fn serial(number: u16) -> String {
    format!("011{number:05}")
}

/// Sends one packet of the GEM with this number.
async fn hear(gateway: &Running, number: u16) {
    gateway.dial().await.send(&bytes(&gem(number, 100))).await;
}

/// Two entries on one port: one for any meter, one for the GEM 700.
fn shared() -> String {
    let port = free_port();
    format!(
        "
  - name: any
    kind: brultech
    link: {{listen: 127.0.0.1:{port}}}
  - name: bound
    kind: brultech
    link: {{listen: 127.0.0.1:{port}}}
    serial_number: \"{}\"
    channels: {{ch1: {{name: Bound, role: grid}}}}
",
        serial(700)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_entries_on_one_port_are_told_apart_by_serial_number() {
    let site = Site::new(&shared());
    let gateway = site.start().await;
    assert_eq!(gateway.addresses.meters.len(), 1, "one port for both");
    let subscriber = gateway.subscriber().await;
    for (number, name) in [(700, "bound"), (603, "any"), (42, "gem-01100042"), (700, "bound")] {
        let before = subscriber.payloads(&format!("powermeter/{name}/state/channels")).len();
        hear(&gateway, number).await;
        subscriber.packets(name, before + 1).await;
    }
    // Settings go with the entry: only its channel counts both ways.
    let counted = |number: u16, quantity: &str| {
        subscriber.payloads(&counter(&serial(number), "ch1", quantity)).len()
    };
    assert_eq!((counted(700, "pminus"), counted(603, "pminus")), (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_which_entry_survives_a_restart() {
    let site = Site::new(&shared());
    for order in [[603, 42], [42, 603], [42, 603]] {
        let gateway = site.start().await;
        let subscriber = gateway.subscriber().await;
        for number in order {
            hear(&gateway, number).await;
            let name = if number == 603 { "any" } else { "gem-01100042" };
            subscriber.packets(name, 1).await;
        }
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adopted_meters_are_named_by_model_and_serial_number_and_shown_as_new() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    hear(&gateway, 1).await;
    subscriber.packets("house", 1).await;
    hear(&gateway, 603).await;
    gateway.dial().await.send(&Capture::load(ECM_CAPTURE).bytes).await;
    let mut small = ecm(9, 100);
    small.format = meter_protocols::brultech::Format::Ecm1220;
    gateway.dial().await.send(&bytes(&small)).await;
    for name in ["gem-01100603", "ecm1240-500434", "ecm1220-500009"] {
        subscriber.until(&format!("powermeter/{name}/state/availability"), "online").await;
        subscriber.packets(name, 1).await;
    }
    let devices = subscriber
        .messages
        .until("four meters on the list", |all| {
            all.iter()
                .filter(|message| message.topic == "meterbridge/bridge/devices")
                .filter_map(|message| serde_json::from_str::<Vec<Value>>(&message.payload).ok())
                .find(|devices| devices.len() == 4)
        })
        .await;
    let adopted: Vec<(&str, bool)> = devices
        .iter()
        .map(|device| (device["name"].as_str().unwrap(), device["adopted"].as_bool().unwrap()))
        .collect();
    let expected = [
        ("ecm1220-500009", true),
        ("ecm1240-500434", true),
        ("gem-01100603", true),
        ("house", false),
    ];
    assert_eq!(adopted, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unit_id_and_number_make_a_meter_and_not_the_number_alone() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    hear(&gateway, 603).await;
    subscriber.packets("house", 1).await;
    let (mut other_unit, mut high_unit) = (gem(603, 100), ecm(603, 100));
    (other_unit.unit_id, high_unit.unit_id) = (211, 17);
    gateway.dial().await.send(&[bytes(&other_unit), bytes(&high_unit)].concat()).await;
    subscriber.packets("gem-21100603", 1).await;
    subscriber.packets("ecm1240-1700603", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renaming_and_another_role_change_no_id_and_no_total() {
    let site = Site::new(HOUSE);
    let mut packet = gem(603, 100);
    packet.absolute_watt_seconds[0] = 36_000;
    let mut totals = Vec::new();
    for (name, role) in [("house", "load"), ("home", "grid"), ("home", "load")] {
        let renamed = HOUSE.replace("house", name);
        site.configure(&format!("{renamed}    channels: {{ch1: {{role: {role}}}}}\n"));
        let gateway = site.start().await;
        let subscriber = gateway.subscriber().await;
        gateway.dial().await.send(&bytes(&packet)).await;
        subscriber.packets(name, 1).await;
        totals.push(subscriber.last(&counter(&serial(603), "ch1", "pplus")).expect("the same id"));
        let document = format!("/device/{}/config/sensor", device_id(&serial(603)));
        assert!(subscriber.last(&document).is_some());
        gateway.stop().await;
        packet.seconds += 10;
        packet.absolute_watt_seconds[0] += 36_000;
    }
    let values: Vec<i64> = totals.iter().map(|total| crate::meters::reading(total).1).collect();
    assert_eq!(values, [10_000, 20_000, 30_000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_of_ones_own_takes_the_place_of_the_derived_one() {
    let (device, sensor) = ("d".repeat(32), "5".repeat(32));
    let site = Site::new(&format!(
        "{HOUSE}    id: \"{device}\"\n    channels: {{ch1: {{id: \"{sensor}\"}}}}\n"
    ));
    let gateway = site.start().await;
    let subscriber: Subscriber = gateway.subscriber().await;
    hear(&gateway, 603).await;
    subscriber.packets("house", 1).await;
    assert!(subscriber.last(&format!("/sensor/{sensor}/counter")).is_some());
    assert!(subscriber.last(&format!("/device/{device}/config/sensor")).is_some());
    assert_eq!(subscriber.last(&counter(&serial(603), "ch1", "pplus")), None);
    assert!(subscriber.last(&counter(&serial(603), "ch2", "pplus")).is_some());
}
