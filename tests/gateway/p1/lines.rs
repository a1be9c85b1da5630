//! Ports on serial lines and behind dongles, each standard as the simulator speaks it.

use std::net::SocketAddr;
use std::time::Duration;

use meterbridge::simulator::{
    Direction, PortManners, PortSimulation, PortSimulator, SimulatorError, Standard,
};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::Site;

async fn simulated(
    standard: Standard,
    manners: PortManners,
    direction: Direction,
) -> Result<PortSimulator, SimulatorError> {
    let interval = Duration::from_millis(20);
    let simulation = PortSimulation { standard, meters: 1, interval, seed: 1, key: None, manners };
    PortSimulator::build(&simulation, direction).await
}

pub(super) fn run(simulator: PortSimulator) -> JoinSet<()> {
    let mut task = JoinSet::new();
    task.spawn(simulator.run(CancellationToken::new()));
    task
}

pub(super) fn any_port() -> Direction {
    Direction::Listen(SocketAddr::from(([127, 0, 0, 1], 0)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_standard_is_dialled_and_read() {
    for (standard, phases, gas) in [
        (Standard::Dsmr22, 0, true),
        (Standard::Dsmr4, 1, true),
        (Standard::Dsmr5, 3, true),
        (Standard::Belgium, 1, true),
        (Standard::Luxembourg, 3, false),
        (Standard::Sweden, 3, false),
        (Standard::Tic, 0, false),
    ] {
        let simulator = simulated(standard, PortManners::default(), any_port()).await.unwrap();
        let address = simulator.address().unwrap();
        let site = Site::new(&format!(
            "\n  - name: grid\n    kind: p1\n    link: {{connect: \"{address}\"}}\n"
        ));
        let gateway = site.start().await;
        let subscriber = gateway.subscriber().await;
        let _task = run(simulator);
        let channels = subscriber.packets("grid", 2).await;
        let channels: Value = serde_json::from_str(&channels[1]).unwrap();
        assert!(channels["line"]["energy"].as_f64().unwrap() > 100.0, "{standard:?} {channels}");
        let known = ["l1", "l2", "l3"].iter().filter(|phase| channels[**phase].is_object()).count();
        assert_eq!((known, channels["pulse1"]["total"].is_number()), (phases, gas), "{standard:?}");
        assert_eq!(gateway.metric("meterbridge_skipped_bytes_total").await, 0, "{standard:?}");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_port_on_a_serial_line_with_noise_and_halves() {
    let site = Site::bare();
    let tty = site.path().join("tty");
    let manners = PortManners { halves: true, noise: true, ..PortManners::default() };
    let direction = Direction::Serial(Some(tty.clone()));
    let simulator = simulated(Standard::Dsmr22, manners, direction).await.unwrap();
    site.configure(&format!(
        "\n  - name: grid\n    kind: p1\n    link: {{serial: {tty:?}, baud: 9600}}\n"
    ));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let _task = run(simulator);
    let all = subscriber.packets("grid", 30).await;
    let mut before = 0.0;
    for channels in all {
        let channels: Value = serde_json::from_str(&channels).unwrap();
        let energy = channels["line"]["energy"].as_f64().unwrap();
        assert!(energy >= before, "{channels}");
        before = energy;
    }
    assert!(gateway.metric("meterbridge_bad_frames_total").await > 0);
    assert_eq!(gateway.metric("meterbridge_counter_corrections_total").await, 0);
    gateway.stop().await;
}
