//! The entries that the page on Brultech meters gives to users of btmon, as they stand there.

use std::net::SocketAddr;
use std::time::Duration;

use meter_protocols::brultech::Format;
use meterbridge::simulator::{Direction, Manners};

use super::{Meters, Scene};
use crate::record::within;
use crate::support::{Site, free_port};

/// The entries under a heading of the page, as in a configuration.
fn entries(heading: &str) -> String {
    let page = include_str!("../../../docs/devices/brultech.md");
    let section = page.split(&format!("### {heading}\n")).nth(1).expect(heading);
    let block = section.split("```yaml\nmeters:").nth(1).expect(heading);
    block.split("```").next().unwrap().to_owned()
}

async fn meters(kind: Format, count: u32, direction: Direction) -> Meters {
    let every = Duration::from_millis(500);
    Meters::start(&[(kind, count)], every, direction, Manners::default()).await
}

/// Runs the entries until each meter was heard twice and each of the commands came twice.
async fn run(mut entries: String, meters: &Meters, names: &[&str], commands: &[&[u8]]) {
    let numbers = [["01100603", "500434"], ["01100604", "500435"]];
    for (n, numbers) in numbers.iter().enumerate().take(meters.meters.len()) {
        numbers.iter().for_each(|number| entries = entries.replace(number, &meters.serial(n)));
    }
    if let Some(path) = &meters.path {
        entries = entries.replace("/dev/ttyUSB0", &path.display().to_string());
    }
    if let Some(address) = meters.address {
        entries = entries.replace("192.0.2.7:5000", &address.to_string());
    }
    let scene = Scene::at(&Site::new(&entries)).await;
    for name in names {
        scene.subscriber.packets(name, 2).await;
    }
    for command in commands {
        let twice = meters.heard.until(|heard| (heard.times(command) >= 2).then_some(()));
        within(&format!("{command:x?} twice"), twice).await;
    }
    scene.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_on_a_serial_port() {
    for (heading, kind) in [("Serial ECM", Format::Ecm1240), ("Serial GEM", Format::Bin48Net)] {
        let meters = meters(kind, 1, Direction::Serial(None)).await;
        run(entries(heading), &meters, &["house"], &[]).await;
        meters.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gem_that_is_dialled() {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let meters = meters(Format::Bin32Net, 1, Direction::Listen(anywhere)).await;
    run(entries("Dialled GEM"), &meters, &["house"], &[]).await;
    meters.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gems_that_dial_in() {
    let port = format!("127.0.0.1:{}", free_port());
    let meters = meters(Format::Bin32Net, 2, Direction::Connect(port.clone())).await;
    let entries = entries("GEMs dialling in").replace("0.0.0.0:8083", &port);
    run(entries, &meters, &["house", "barn"], &[]).await;
    meters.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ecms_on_one_serial_line() {
    for heading in ["ECMs on one line", "Polled ECMs"] {
        let meters = meters(Format::Ecm1240, 2, Direction::Serial(None)).await;
        let mut commands: &[&[u8]] = &[];
        if heading == "Polled ECMs" {
            meters.hush();
            commands = &[b"\xFCSPK", b"\xFDSPK"];
        }
        let entries = entries(heading).replace("poll: 10s", "poll: 1s");
        run(entries, &meters, &["house", "barn"], commands).await;
        meters.stop().await;
    }
}
