//! Meters on a serial port, which is one end of a pseudo-terminal here: unplugged, plugged in again,
//! shared, taken by others, noisy.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{ControlModes, LocalModes, tcgetattr};

use crate::meters::{
    Capture, ECM_CAPTURE, GEM, GEM_CAPTURES, bytes, counter, ecm, gem, gem_ch1, reading, watt_hours,
};
use crate::process::{Kill, Process, program};
use crate::record::within;
use crate::support::{Running, Site};

/// The meter's end of a serial line, plugged in under a name of its own in the site's directory.
struct Line {
    meter: File,
    name: PathBuf,
}

impl Line {
    fn plug_in(site: &Site, name: &str) -> Self {
        let meter = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&meter).unwrap();
        unlockpt(&meter).unwrap();
        let port = ptsname(&meter, Vec::new()).unwrap().into_string().unwrap();
        let name = site.path().join(name);
        symlink(port, &name).unwrap();
        Self { meter: meter.into(), name }
    }

    fn unplug(self) {
        std::fs::remove_file(&self.name).unwrap();
    }

    /// A terminal holds little, so this waits for the gateway to read.
    async fn send(&self, bytes: &[u8]) {
        let (mut meter, bytes) = (self.meter.try_clone().unwrap(), bytes.to_vec());
        let sending = tokio::task::spawn_blocking(move || meter.write_all(&bytes));
        within("the gateway to read", sending).await.unwrap().unwrap();
    }
}

/// An entry for the port at `path`.
fn on(path: &Path, more: &str) -> String {
    format!("\n  - name: house\n    kind: brultech\n    link: {{serial: {path:?}{more}}}\n")
}

/// A site with a meter at `tty` in its directory, and nothing plugged in.
fn site() -> Site {
    let site = Site::bare();
    site.configure(&on(&site.path().join("tty"), ""));
    site
}

/// Waits until the port is open. What comes before that is not for the gateway.
async fn opened(gateway: &Running) {
    gateway.until_metric("meterbridge_meter_connections", |count| count == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_capture_comes_by_the_wire() {
    for name in GEM_CAPTURES.into_iter().chain([ECM_CAPTURE]) {
        let capture = Capture::load(name);
        let site = site();
        let line = Line::plug_in(&site, "tty");
        let gateway = site.start().await;
        let subscriber = gateway.subscriber().await;
        opened(&gateway).await;
        line.send(&capture.bytes).await;
        subscriber.packets("house", 1).await;
        assert_eq!(gateway.metric("meterbridge_packets_total").await, 1, "{name}");
        let total = subscriber.last(&counter(capture.serial(), "ch1", "pplus")).unwrap();
        assert_eq!(reading(&total).1, watt_hours(capture.absolute(1)), "{name}");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_port_is_set_as_configured_and_by_default() {
    for (baud, expected) in [("", 19_200), (", baud: 115200", 115_200)] {
        let site = Site::bare();
        let line = Line::plug_in(&site, "tty");
        site.configure(&on(&line.name, baud));
        let gateway = site.start().await;
        opened(&gateway).await;
        // What the other end set is seen from here.
        let set = tcgetattr(&line.meter).unwrap();
        assert_eq!((set.input_speed(), set.output_speed()), (expected, expected));
        let control = set.control_modes;
        assert!(control.contains(ControlModes::CS8));
        assert!(
            !control
                .intersects(ControlModes::PARENB | ControlModes::CSTOPB | ControlModes::CRTSCTS)
        );
        assert!(!set.local_modes.intersects(LocalModes::ECHO | LocalModes::ICANON));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_is_plugged_in_unplugged_and_plugged_in_again() {
    let site = site();
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    subscriber.until("powermeter/house/state/availability", "offline").await;
    let line = Line::plug_in(&site, "tty");
    opened(&gateway).await;
    line.send(&bytes(&gem_ch1(100, 36_000, 0))).await;
    subscriber.packets("house", 1).await;
    // In the middle of a packet.
    line.send(&bytes(&gem_ch1(110, 40_000, 0))[..300]).await;
    line.unplug();
    gateway.until_metric("meterbridge_meter_connections", |count| count == 0).await;
    let line = Line::plug_in(&site, "tty");
    opened(&gateway).await;
    line.send(&bytes(&gem_ch1(120, 46_000, 0))).await;
    subscriber.packets("house", 2).await;
    let published = subscriber.payloads(&counter(GEM, "ch1", "pplus"));
    let totals: Vec<i64> = published.iter().map(|payload| reading(payload).1).collect();
    assert_eq!(totals, [36_000, 46_000].map(watt_hours));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_once_that_a_port_is_lost_and_that_it_is_back() {
    let site = site();
    let line = Line::plug_in(&site, "tty");
    let process = Process::run(&site, &[]).await;
    let count = |words: &'static str| {
        let log = &process.log;
        move |times: usize| async move {
            let seen = |lines: &[String]| {
                (lines.iter().filter(|line| line.contains(words)).count() == times).then_some(())
            };
            log.until(words, seen).await;
        }
    };
    let (open, hung_up, missing) =
        (count("serial port is open"), count("hung up"), count("there is no "));
    open(1).await;
    line.unplug();
    hung_up(1).await;
    missing(1).await;
    let _line = Line::plug_in(&site, "tty");
    open(2).await;
    let told = process.log.all().iter().filter(|line| line.contains("again and again")).count();
    assert_eq!(told, 2, "{:#?}", process.log.all());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pattern_finds_the_one_device_and_refuses_to_choose() {
    let site = Site::bare();
    site.configure(&on(&site.path().join("usb-FTDI_*"), ""));
    let first = Line::plug_in(&site, "usb-FTDI_A");
    let second = Line::plug_in(&site, "usb-FTDI_B");
    let process = Process::run(&site, &[]).await;
    let find = |lines: &[String]| lines.iter().find(|line| line.contains("fits several")).cloned();
    let refusal = process.log.until("a refusal to choose", find).await;
    assert!(refusal.contains("usb-FTDI_A") && refusal.contains("usb-FTDI_B"), "{refusal}");
    first.unplug();
    let find = |lines: &[String]| lines.iter().find(|line| line.contains("is open")).cloned();
    let found = process.log.until("the port to be open", find).await;
    assert!(found.contains("usb-FTDI_B"), "{found}");
    drop(second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_another_program_has_is_not_taken_from_it() {
    let site = site();
    let line = Line::plug_in(&site, "tty");
    let gateway = site.start().await;
    opened(&gateway).await;
    let other = Site::bare();
    other.configure(&on(&line.name, ""));
    let process = Process::start(program(&other, &["run"])).await;
    let find = |lines: &[String]| lines.iter().find(|line| line.contains("is in use by")).cloned();
    let refusal = process.log.until("a port in use", find).await;
    let me = format!("process {}", std::process::id());
    assert!(refusal.contains(&me), "{refusal}");
    // As soon as it is free it is had.
    gateway.stop().await;
    let find = |lines: &[String]| lines.iter().find(|line| line.contains("is open")).cloned();
    process.log.until("the port to be open", find).await;
}

/// A program that came first and claimed nothing cannot be shut out: it is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_reads_along_is_named() {
    let site = site();
    let line = Line::plug_in(&site, "tty");
    let port = File::open(&line.name).unwrap();
    let reader = Kill(std::process::Command::new("sleep").arg("1000").stdin(port).spawn().unwrap());
    let process = Process::run(&site, &["run"]).await;
    let find = |lines: &[String]| lines.iter().find(|line| line.contains("open too")).cloned();
    let told = process.log.until("who reads along", find).await;
    let name = format!("sleep (process {}) has the serial port open too", reader.0.id());
    // This very process has both ends of the line, and is no rival.
    assert!(told.contains(&name) && !told.contains(&std::process::id().to_string()), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_meters_on_one_line_and_noise_between_them() {
    let site = Site::bare();
    let path = site.path().join("tty");
    let second = format!(
        "    serial_number: {GEM:?}\n  - name: shed\n    kind: brultech\n    \
         link: {{serial: {path:?}, baud: 19200}}\n"
    );
    site.configure(&(on(&path, "") + &second));
    let line = Line::plug_in(&site, "tty");
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    opened(&gateway).await;
    let mut noise = vec![0; 20_000];
    fastrand::Rng::with_seed(19_200).fill(&mut noise);
    for n in 0..3 {
        line.send(&noise).await;
        line.send(&bytes(&gem_ch1(100 + 10 * n, 36_000, 0))).await;
        line.send(&noise).await;
        line.send(&bytes(&ecm(434, 100 + 10 * n))).await;
        line.send(&bytes(&gem(700, 100 + 10 * n))).await;
    }
    for name in ["house", "shed", "gem-01100700"] {
        subscriber.packets(name, 3).await;
    }
    assert_eq!(gateway.metric("meterbridge_meter_connections").await, 1, "one line, one port");
    assert_eq!(gateway.metric("meterbridge_skipped_bytes_total").await, 6 * 20_000);
}

/// Somebody else's device, or the wrong speed: told once, and it costs the others nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_all_noise_is_told_and_delays_nobody() {
    let site = Site::bare();
    let other = "  - {name: barn, kind: brultech, link: {listen: 127.0.0.1:0}}\n";
    site.configure(&(on(&site.path().join("tty"), "") + other));
    let line = Line::plug_in(&site, "tty");
    let mut process = Process::run(&site, &["run"]).await;
    let find = |lines: &[String]| lines.iter().find(|line| line.contains("is open")).cloned();
    process.log.until("the port to be open", find).await;
    let mut noisy = line.meter.try_clone().unwrap();
    let noise = std::thread::spawn(move || {
        let mut noise = vec![0; 4096];
        fastrand::Rng::with_seed(115_200).fill(&mut noise);
        // Until the gateway has gone and the terminal with it.
        while noisy.write_all(&noise).is_ok() {}
    });
    let subscriber = crate::subscriber::Subscriber::new(process.broker).await;
    let mut barn = process.dial().await;
    for n in 0..20 {
        barn.send(&bytes(&gem_ch1(100 + n, 36_000, 0))).await;
        subscriber.packets("barn", n as usize + 1).await;
    }
    let find =
        |lines: &[String]| lines.iter().find(|line| line.contains("no packet among")).cloned();
    let told = process.log.until("a word about the noise", find).await;
    assert!(told.contains("baud rate"), "{told}");
    process.signal("TERM");
    assert!(process.exited().await.success());
    // Nobody reads any more: what is full stays full until it is hung up.
    drop(line);
    drop(noise);
}
