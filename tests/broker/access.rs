//! Who is let in, and what for.

mod logins;
mod restart;
mod rights;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use meterbridge::broker::{AccessRule, AccessSettings, Message, PasswordHash, QoS, User, Who};

use crate::support::{Raw, TestBroker, connect, packet, string, within};

/// Hashes at the least cost there is: the cost is not what is tested here.
fn user(name: &str, password: &str) -> User {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("passwd");
    mosquitto_passwd(&file, name, password, "sha512-pbkdf2");
    let line = std::fs::read_to_string(file).unwrap();
    let hash = line.trim().split_once(':').unwrap().1;
    User { name: name.to_owned(), password_hash: hash.parse().unwrap() }
}

fn mosquitto_passwd(file: &Path, name: &str, password: &str, form: &str) {
    let there = if file.exists() { &[][..] } else { &["-c"] };
    let done = Command::new("mosquitto_passwd")
        .args(there)
        .args(["-H", form, "-b"])
        .arg(file)
        .args([name, password])
        .status();
    assert!(done.is_ok_and(|status| status.success()), "mosquitto_passwd is needed for this test");
}

fn rule(who: Who, read: &[&str], write: &[&str], deny: &[&str]) -> AccessRule {
    let texts = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
    AccessRule { who, read: texts(read), write: texts(write), deny: texts(deny) }
}

async fn broker(access: AccessSettings) -> TestBroker {
    TestBroker::with(|settings| settings.access = access).await
}

/// Connects, and answers the code of CONNACK.
async fn log_in(
    broker: &TestBroker,
    level: u8,
    id: &str,
    login: Option<(&str, &str)>,
) -> (Raw, u8) {
    log_in_with(broker, level, id, 0x02, &[], login).await
}

async fn log_in_with(
    broker: &TestBroker,
    level: u8,
    id: &str,
    flags: u8,
    will: &[u8],
    login: Option<(&str, &str)>,
) -> (Raw, u8) {
    let mut raw = Raw::open(broker.address).await;
    let (more, credentials) = match login {
        None => (0, vec![]),
        Some((name, password)) => (0xC0, [string(name), string(password)].concat()),
    };
    raw.send(&connect(level, id, flags | more, 0, &[will, &credentials].concat())).await;
    let (first, body) = raw.packet().await;
    assert_eq!(first, 0x20, "CONNACK");
    raw.level = level;
    (raw, body[1])
}

async fn welcome(broker: &TestBroker, level: u8, id: &str, login: Option<(&str, &str)>) -> Raw {
    let (raw, code) = log_in(broker, level, id, login).await;
    assert_eq!(code, 0, "{id}");
    raw
}

/// The code of SUBACK.
async fn subscribe(raw: &mut Raw, filter: &str, qos: u8) -> u8 {
    let properties: &[u8] = if raw.level == 5 { &[0] } else { &[] };
    let body = [&[0, 9], properties, &string(filter), &[qos]].concat();
    raw.send(&packet(0x82, &body)).await;
    let (first, body) = raw.packet().await;
    assert_eq!(first, 0x90, "SUBACK");
    *body.last().unwrap()
}

fn say(broker: &TestBroker, topic: &str, retain: bool) {
    broker.link.publish(Message { topic, payload: b"x", qos: QoS::AtLeastOnce, retain });
}

fn count(number: &AtomicU64) -> u64 {
    number.load(Ordering::Relaxed)
}
