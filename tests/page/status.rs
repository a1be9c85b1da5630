//! What the page shows, and that it goes on showing what is true.

use std::process::{Command, Stdio};

use meterbridge::model::{DeviceId, Make};
use serde_json::Value;

use crate::browser::Browser;
use crate::meters::{bytes, gem};
use crate::process::{Kill, Process, lines, program};
use crate::support::{HOUSE, Site, free_port};

const WIDTHS: [u32; 2] = [1280, 375];
const LIVE: &str = "document.getElementById('link').textContent === 'live'";

/// The text of an element, in quotes.
fn text(selector: &str) -> String {
    format!("document.querySelector({selector:?})?.textContent")
}

/// Whether the page's text has this in it.
fn shows(words: &str) -> String {
    format!("document.body.innerText.includes({words:?})")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_is_shown_with_values_that_change() {
    let site = Site::new(" []\n");
    let demo = Process::run(&site, &["demo"]).await;
    for width in WIDTHS {
        let browser = Browser::open(width).await;
        browser.go(&format!("http://{}/", demo.web)).await;
        browser.until(LIVE).await;
        let power = text("[data-meter=demo-gem] .power span");
        browser.until(&format!("/\\d/.test({power} ?? '')")).await;
        let before = browser.eval(&power).await;
        browser.until(&format!("{power} !== {before}")).await;
        browser.until(&shows("Kitchen")).await;
        browser.until(&format!("{} === 'online'", text("[data-meter=demo-gem] .state"))).await;
        // What to type into Home Assistant.
        let connect = browser.eval(&text("#connect")).await;
        let port = demo.broker.port().to_string();
        let connect = connect.as_str().unwrap();
        assert!(connect.contains("127.0.0.1") && connect.contains(&port), "{connect}");
        browser.fits().await;
        browser.eval("document.querySelector('details').open = true").await;
        browser.fits().await;
        browser.picture(&format!("demo-{width}")).await;
        assert_eq!(browser.complaints().await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn meters_come_and_go_without_a_reload() {
    let site = Site::new(
        "
  - name: house
    kind: brultech
    serial_number: \"01100603\"
    timeout: 1s
    link: {listen: 127.0.0.1:0}
    channels:
      ch1: {name: \"<b>A very long name of a channel that_nobody_could_ever_break</b>\", role: grid}
",
    );
    let gateway = site.start().await;
    let browser = Browser::open(375).await;
    browser.go(&format!("http://{}/", gateway.web())).await;
    browser.until(LIVE).await;
    browser.eval("window.marker = 1").await;
    let state = text("[data-meter=house] .state");
    browser.until(&format!("{state} === 'not heard yet'")).await;

    let mut house = gateway.dial().await;
    house.send(&bytes(&gem(603, 100))).await;
    browser.until(&format!("{state} === 'online'")).await;
    browser.until(&shows("that_nobody_could_ever_break</b>")).await;
    // No more of it comes.
    browser.until(&format!("{state} === 'offline'")).await;

    // Another one on the same port belongs to no entry.
    let mut other = gateway.dial().await;
    other.send(&bytes(&gem(604, 100))).await;
    let badge = text("[data-meter=gem-01100604] .badge");
    browser.until(&format!("{badge} === 'new'")).await;
    assert_eq!(browser.eval(&text("#meters-count")).await, "2");

    // Its owner says that it is wanted.
    browser.until("document.querySelector('[data-meter=gem-01100604] button') !== null").await;
    browser.eval("document.querySelector('[data-meter=gem-01100604] button').click()").await;
    browser.until("document.querySelector('[data-meter=gem-01100604] .badge') === null").await;

    // What is deleted in Home Assistant is offered again.
    house.send(&bytes(&gem(603, 101))).await;
    other.send(&bytes(&gem(604, 101))).await;
    browser.until(&shows("3 devices are announced")).await;
    let id = DeviceId::derive(Make::Brultech, "01100604");
    let port = gateway.broker().port().to_string();
    let topic = format!("homeassistant/device/{id}/config");
    let delete = ["-h", "127.0.0.1", "-p", &port, "-t", &topic, "-r", "-n"];
    assert!(Command::new("mosquitto_pub").args(delete).status().unwrap().success());
    browser.until(&shows("gem-01100604 was deleted in Home Assistant")).await;
    browser.picture("deleted-375").await;
    browser.eval("document.querySelector('.deleted button').click()").await;
    browser.until("document.querySelector('.deleted') === null").await;

    // A client of the broker, and an event.
    let _client = gateway.subscriber().await;
    browser.until(&shows("MQTT 3.1.1")).await;
    house.send(&bytes(&gem(603, 50))).await;
    browser.until(&format!("{state} === 'online'")).await;
    assert_eq!(browser.eval("window.marker").await, 1);
    browser.fits().await;
    browser.picture("meters-375").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_under_a_base_path_and_with_a_login() {
    let site = Site::bare();
    let entry = passwd(&site, "ann", "secret1");
    let config = format!(
        "data_dir: {:?}\nbroker: {{listen: 127.0.0.1:0, allow_anonymous: false, users: [{entry}]}}\n\
         web: {{listen: 127.0.0.1:0, base_path: /my/energy/}}\nmeters:{HOUSE}",
        site.path().join("data")
    );
    std::fs::write(site.config_file(), config).unwrap();
    let gateway = site.start().await;
    let browser = Browser::open(1280).await;
    // Without the slash at its end: the page is where its files are all the same.
    browser.go(&format!("http://ann:secret1@{}/my/energy", gateway.web())).await;
    browser.until(LIVE).await;
    browser.until(&shows("house")).await;
    assert_eq!(browser.eval("location.pathname").await, "/my/energy/");
    assert_eq!(browser.eval(&text("#connect dd:nth-of-type(3)")).await, "ann");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

/// The entry of a user, made by the program.
fn passwd(site: &Site, name: &str, password: &str) -> String {
    use std::io::Write;
    let mut child = program(site, &["passwd", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().trim_start_matches("- ").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_port_says_why() {
    let site = Site::new(HOUSE);
    let text = std::fs::read_to_string(site.config_file()).unwrap();
    let text = text.replace("web: {listen: 127.0.0.1:0}", "web: {listen: \"0.0.0.0:0\"}");
    std::fs::write(site.config_file(), text).unwrap();
    let gateway = site.start().await;
    let browser = Browser::open(375).await;
    browser.go(&format!("http://127.0.0.1:{}/", gateway.web().port())).await;
    browser.until(&shows("configure broker.users")).await;
    browser.fits().await;
    browser.picture("closed-375").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_shown_and_give_way_to_the_page_by_themselves() {
    let site = Site::new(HOUSE);
    let port = free_port();
    let text = std::fs::read_to_string(site.config_file()).unwrap();
    let right =
        text.replace("web: {listen: 127.0.0.1:0}", &format!("web: {{listen: 127.0.0.1:{port}}}"));
    let wrong = format!("{right}brokr: {{listen: 1}}\nlog: {{level: {}}}\n", "loud".repeat(40));
    std::fs::write(site.config_file(), &wrong).unwrap();
    let config = site.config_file();
    let mut command =
        program(&site, &["run", "--serve-mistakes", "--config", config.to_str().unwrap()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = Kill(command.spawn().unwrap());
    let log = lines(child.0.stderr.take().unwrap());
    let shown =
        |lines: &[String]| lines.iter().any(|line| line.contains("are shown at")).then_some(());
    log.until("where the mistakes are shown", shown).await;
    for width in WIDTHS {
        let browser = Browser::open(width).await;
        browser.go(&format!("http://127.0.0.1:{port}/")).await;
        let count = browser.eval("document.querySelectorAll('#mistakes li').length").await;
        assert_eq!(count, 2);
        browser.fits().await;
        browser.picture(&format!("mistakes-{width}")).await;
        if width == WIDTHS[1] {
            std::fs::write(site.config_file(), &right).unwrap();
            browser.until(&format!("document.getElementById('link') !== null && {LIVE}")).await;
            browser.until(&shows("house")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_ends_is_noticed_and_found_again() {
    let site = Site::new(HOUSE);
    let text = std::fs::read_to_string(site.config_file()).unwrap();
    let port = free_port();
    let text =
        text.replace("web: {listen: 127.0.0.1:0}", &format!("web: {{listen: 127.0.0.1:{port}}}"));
    std::fs::write(site.config_file(), text).unwrap();
    let gateway = site.start().await;
    let browser = Browser::open(1280).await;
    browser.go(&format!("http://127.0.0.1:{port}/")).await;
    browser.until(LIVE).await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.eval("window.marker = 1").await;
    gateway.stop().await;
    browser.until(&shows("no connection to the gateway")).await;
    let gateway = site.start().await;
    browser.until(LIVE).await;
    assert_eq!(browser.eval("window.marker").await, Value::from(1));
    gateway.stop().await;
}
