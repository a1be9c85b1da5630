//! The ways meters come by: dialling in, being dialled, and who may.

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::meters::{GEM, bytes, counter, gem, gem_ch1, reading, watt_hours};
use crate::record::within;
use crate::subscriber::Subscriber;
use crate::support::{HOUSE, Meter, Running, Site, free_port};

/// A meter that waits to be dialled, and a gateway that is to dial it.
async fn dialled() -> (TcpListener, Site, Running, Subscriber) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let site = Site::new(&format!(
        "\n  - name: house\n    kind: brultech\n    link: {{connect: \"{address}\"}}\n"
    ));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    (listener, site, gateway, subscriber)
}

async fn accept(listener: &TcpListener) -> Meter {
    let (stream, _) = within("the gateway to dial", listener.accept()).await.unwrap();
    Meter::over(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_is_dialled_and_dialled_again_when_it_hangs_up() {
    let (listener, _site, gateway, subscriber) = dialled().await;
    assert!(gateway.addresses.meters.is_empty(), "no port of its own");
    let mut meter = accept(&listener).await;
    meter.send(&[bytes(&gem_ch1(100, 36_000, 0)), bytes(&gem_ch1(110, 46_000, 0))].concat()).await;
    subscriber.packets("house", 2).await;
    // In the middle of a packet.
    meter.send(&bytes(&gem_ch1(120, 50_000, 0))[..300]).await;
    drop(meter);
    let mut meter = accept(&listener).await;
    meter.send(&bytes(&gem_ch1(130, 66_000, 0))).await;
    subscriber.packets("house", 3).await;
    let published = subscriber.payloads(&counter(GEM, "ch1", "pplus"));
    let totals: Vec<i64> = published.iter().map(|payload| reading(payload).1).collect();
    assert_eq!(totals, [36_000, 46_000, 66_000].map(watt_hours));
    assert_eq!(gateway.metric("meterbridge_meter_connections").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_hangs_up_after_each_packet_is_dialled_for_each() {
    let (listener, _site, gateway, subscriber) = dialled().await;
    for n in 0..4_u32 {
        let mut meter = accept(&listener).await;
        meter.send(&bytes(&gem_ch1(100 + 10 * n, 36_000 + u64::from(n) * 5_000, 0))).await;
        drop(meter);
        subscriber.packets("house", n as usize + 1).await;
    }
    assert_eq!(gateway.metric("meterbridge_counter_corrections_total").await, 0);
    let availability = subscriber.payloads("powermeter/house/state/availability");
    assert_eq!(availability.last().map(String::as_str), Some("online"), "{availability:?}");
    assert!(availability.iter().filter(|state| *state == "online").count() == 1, "and stays so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_is_not_there_yet_is_found_when_it_comes() {
    let port = free_port();
    let site = Site::new(&format!(
        "\n  - name: house\n    kind: brultech\n    link: {{connect: \"127.0.0.1:{port}\"}}\n"
    ));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    subscriber.until("powermeter/house/state/availability", "offline").await;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let mut meter = accept(&listener).await;
    meter.send(&bytes(&gem(603, 100))).await;
    subscriber.until("powermeter/house/state/availability", "online").await;
    gateway.stop().await;
    meter.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_meter_may_come_by_several_addresses() {
    let site = Site::new(&HOUSE.replace("127.0.0.1:0", "[127.0.0.1:0, 127.0.0.2:0]"));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let addresses = gateway.addresses.meters.clone();
    assert_eq!(addresses.len(), 2);
    for (n, address) in (0..).zip([addresses[0], addresses[1], addresses[0]]) {
        let packet = gem_ch1(100 + 10 * n, 36_000 + u64::from(n) * 10_000, 0);
        Meter::dial(address).await.send(&bytes(&packet)).await;
        subscriber.packets("house", n as usize + 1).await;
    }
    let totals = subscriber.payloads(&counter(GEM, "ch1", "pplus"));
    assert_eq!(reading(&totals[2]).1, watt_hours(56_000));
}

/// A connection from another address of this machine.
async fn dial_from(local: &str, gateway: &Running) -> Meter {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{local}:0").parse().unwrap()).unwrap();
    let stream: TcpStream = socket.connect(gateway.addresses.meters[0]).await.unwrap();
    Meter::over(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_allowed_networks_may_connect() {
    let listen = "listen: 127.0.0.1:0";
    let allow = format!("{listen}, allow: [127.9.0.0/16, 10.0.0.0/8]");
    let site = Site::new(&HOUSE.replace(listen, &allow));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    dial_from("127.0.0.1", &gateway).await.closed().await;
    assert_eq!(gateway.metric("meterbridge_meter_connections_refused_total").await, 1);
    dial_from("127.9.1.2", &gateway).await.send(&bytes(&gem(603, 100))).await;
    subscriber.packets("house", 1).await;
    assert_eq!(gateway.metric("meterbridge_meter_connections_refused_total").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn above_the_limit_a_connection_is_refused_and_the_others_stay() {
    let listen = "listen: 127.0.0.1:0";
    let site = Site::new(&HOUSE.replace(listen, &format!("{listen}, connections: 2")));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let (mut first, second) = (gateway.dial().await, gateway.dial().await);
    gateway.until_metric("meterbridge_meter_connections", |count| count == 2).await;
    gateway.dial().await.closed().await;
    assert_eq!(gateway.metric("meterbridge_meter_connections_refused_total").await, 1);
    first.send(&bytes(&gem(603, 100))).await;
    subscriber.packets("house", 1).await;
    // A place that was given up can be had.
    drop(second);
    gateway.until_metric("meterbridge_meter_connections", |count| count == 1).await;
    gateway.dial().await.send(&bytes(&gem(603, 110))).await;
    subscriber.packets("house", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_says_nothing_for_the_idle_time_is_closed() {
    let listen = "listen: 127.0.0.1:0";
    let site = Site::new(&HOUSE.replace(listen, &format!("{listen}, idle_timeout: 1s")));
    let gateway = site.start().await;
    let mut meter = gateway.dial().await;
    meter.send(&bytes(&gem(603, 100))[..100]).await;
    meter.closed().await;
    gateway.until_metric("meterbridge_meter_connections", |count| count == 0).await;
}
