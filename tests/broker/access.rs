//! Who is let in, and what for.

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

#[tokio::test]
async fn users_of_the_configuration_and_of_a_file_log_in_and_others_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("passwd");
    mosquitto_passwd(&file, "old", "old pass", "sha512");
    mosquitto_passwd(&file, "new", "pä ss:$", "sha512-pbkdf2");
    mosquitto_passwd(&file, "both", "of the file", "sha512-pbkdf2");
    let strong = PasswordHash::make(b"hunter2").unwrap();
    let access = AccessSettings {
        allow_anonymous: false,
        users: vec![
            User { name: "strong".to_owned(), password_hash: strong },
            user("both", "of the configuration"),
        ],
        password_file: Some(file),
        rules: vec![],
    };
    let broker = broker(access).await;
    for (level, wrong, nobody) in [(4, 4, 5), (5, 0x86, 0x87)] {
        for (name, password, code) in [
            ("strong", "hunter2", 0),
            ("strong", "hunter2", 0),
            ("strong", "Hunter2", wrong),
            ("old", "old pass", 0),
            ("new", "pä ss:$", 0),
            ("new", "", wrong),
            ("both", "of the configuration", 0),
            ("both", "of the file", wrong),
            ("unknown", "hunter2", wrong),
        ] {
            let (_, got) = log_in(&broker, level, "c", Some((name, password))).await;
            assert_eq!(got, code, "{level} {name} {password}");
        }
        assert_eq!(log_in(&broker, level, "c", None).await.1, nobody);
        assert_eq!(log_in(&broker, level, "c", Some(("", ""))).await.1, nobody);
    }
    assert_eq!(count(&broker.stats.refused_logins), 8);
    assert_eq!(count(&broker.stats.refused_anonymous), 4);
    assert_eq!(count(&broker.stats.refused_connects), 12);
}

#[tokio::test]
async fn a_user_name_means_nothing_where_there_are_no_users() {
    for (allow_anonymous, code) in [(true, 0), (false, 5)] {
        let access = AccessSettings { allow_anonymous, ..AccessSettings::default() };
        let broker = broker(access).await;
        assert_eq!(log_in(&broker, 4, "c", Some(("ha", "hunter2"))).await.1, code);
    }
}

#[tokio::test]
async fn anonymous_clients_and_users_can_be_let_in_together() {
    let users = vec![user("ha", "hunter2")];
    let broker = broker(AccessSettings { users, ..AccessSettings::default() }).await;
    welcome(&broker, 4, "a", None).await;
    welcome(&broker, 5, "b", Some(("ha", "hunter2"))).await;
    assert_eq!(log_in(&broker, 5, "c", Some(("ha", "hunter"))).await.1, 0x86);
    // A name without a password, which MQTT allows, is a login with an empty one.
    let mut raw = Raw::open(broker.address).await;
    raw.send(&connect(4, "d", 0x82, 0, &string("ha"))).await;
    assert_eq!(raw.packet().await, (0x20, vec![0, 4]));
}

#[tokio::test]
async fn a_password_file_that_changes_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("passwd");
    mosquitto_passwd(&file, "ha", "hunter2", "sha512-pbkdf2");
    let access = AccessSettings {
        allow_anonymous: false,
        password_file: Some(file.clone()),
        ..AccessSettings::default()
    };
    let broker = broker(access).await;
    welcome(&broker, 4, "a", Some(("ha", "hunter2"))).await;
    mosquitto_passwd(&file, "ann", "hunter3", "sha512");
    mosquitto_passwd(&file, "ha", "changed", "sha512");
    // It is looked at once a second; each new name has its own patience.
    within(async { while log_in(&broker, 4, "b", Some(("ann", "hunter3"))).await.1 != 0 {} }).await;
    welcome(&broker, 4, "c", Some(("ha", "changed"))).await;
    assert_eq!(log_in(&broker, 4, "d", Some(("ha", "hunter2"))).await.1, 4, "the old one is over");
    // Without its file the broker keeps the users it knows.
    std::fs::remove_file(&file).unwrap();
    welcome(&broker, 4, "e", Some(("ann", "hunter3"))).await;
}

#[tokio::test]
async fn who_guesses_is_slowed_down_and_locks_nobody_else_out() {
    let access = AccessSettings {
        allow_anonymous: false,
        users: vec![user("ha", "hunter2"), user("ann", "hunter3")],
        ..AccessSettings::default()
    };
    let broker = broker(access).await;
    let mut codes = Vec::new();
    let mut guesses = tokio::task::JoinSet::new();
    for n in 0..12_u8 {
        let address = broker.address;
        guesses.spawn(async move {
            let mut raw = Raw::open(address).await;
            let login = [string("ha"), string(&n.to_string())].concat();
            raw.send(&connect(5, "guess", 0xC2, 0, &login)).await;
            raw.packet().await.1[1]
        });
    }
    while let Some(code) = within(guesses.join_next()).await {
        codes.push(code.unwrap());
    }
    let tested = codes.iter().filter(|code| **code == 0x86).count();
    let unheard = codes.iter().filter(|code| **code == 0x9F).count();
    assert_eq!(tested + unheard, codes.len(), "{codes:?}");
    assert!((3..=6).contains(&tested), "{codes:?}");
    assert_eq!(count(&broker.stats.refused_throttled), unheard as u64);
    welcome(&broker, 5, "b", Some(("ann", "hunter3"))).await;
    let elsewhere = tokio::net::TcpSocket::new_v4().unwrap();
    elsewhere.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let stream = elsewhere.connect(broker.address).await.unwrap();
    let mut raw = Raw::over(stream);
    let login = [string("ha"), string("hunter2")].concat();
    raw.send(&connect(5, "ha", 0xC2, 0, &login)).await;
    assert_eq!(raw.packet().await.1[1], 0);
}

/// What the contract shows.
fn rules() -> Vec<AccessRule> {
    vec![
        rule(
            Who::User("ha".to_owned()),
            &["#"],
            &["powermeter/+/cmd"],
            &["powermeter/+/state/info"],
        ),
        rule(Who::AnyUser, &["home/%u/#"], &["home/%u/#", "client/%c"], &[]),
        rule(Who::Anonymous, &["/sensor/#"], &[], &["/sensor/secret/#"]),
    ]
}

async fn guarded() -> TestBroker {
    let users = vec![user("ha", "1"), user("ann", "2"), user("#", "3"), user("a/b", "4")];
    broker(AccessSettings { users, rules: rules(), ..AccessSettings::default() }).await
}

#[tokio::test]
async fn subscriptions_are_judged_by_what_their_client_may_read() {
    let broker = guarded().await;
    for (level, refused) in [(4, 0x80), (5, 0x87)] {
        let logins = [
            ("ha", "1", "#", 2),
            ("ha", "1", "powermeter/+/state/info", refused),
            ("ha", "1", "powermeter/a/state/info", refused),
            ("ha", "1", "powermeter/a/state/#", 2),
            ("ha", "1", "$share/g/powermeter/a/state/info", refused),
            ("ha", "1", "$SYS/#", refused),
            ("ann", "2", "home/ann/#", 2),
            ("ann", "2", "home/#", 2),
            ("ann", "2", "home/ha/#", refused),
            ("ann", "2", "/sensor/#", refused),
            ("ann", "2", "$share/g/home/ann/x", 2),
            ("#", "3", "home/ann/x", refused),
            ("#", "3", "home/#", refused),
            ("a/b", "4", "home/a/b/c", refused),
            ("", "", "/sensor/1/gauge", 2),
            ("", "", "/sensor/secret/a", refused),
            ("", "", "home/ann/x", refused),
        ];
        for (name, password, filter, code) in logins {
            let mut raw = welcome(&broker, level, "c", Some((name, password))).await;
            assert_eq!(subscribe(&mut raw, filter, 2).await, code, "{level} {name} {filter}");
            raw.ping().await;
        }
    }
    assert_eq!(count(&broker.stats.refused_subscribes), 22);
}

#[tokio::test]
async fn deliveries_and_retained_messages_pass_only_what_may_be_read() {
    let broker = guarded().await;
    let topics = [
        "/sensor/1/gauge",
        "/sensor/secret/a",
        "home/ann/x",
        "home/ha/x",
        "powermeter/a/state/info",
        "powermeter/a/state/sample",
    ];
    for topic in topics {
        say(&broker, topic, true);
    }
    let place = |topic: &str| topics.iter().position(|known| *known == topic).unwrap();
    let may_read: [(&str, &str, &str, &[usize]); 4] = [
        ("ha", "1", "#", &[0, 1, 2, 3, 5]),
        ("ann", "2", "#", &[2]),
        ("ann", "2", "home/+/x", &[2]),
        ("", "", "#", &[0]),
    ];
    for level in [4, 5] {
        for (name, password, filter, expected) in may_read {
            let mut raw = welcome(&broker, level, "reader", Some((name, password))).await;
            assert_eq!(subscribe(&mut raw, filter, 0).await, 0);
            let mut retained = BTreeSet::new();
            while retained.len() < expected.len() {
                retained.insert(place(&raw.message().await.1));
            }
            // One that overlaps brings nothing that the first does not.
            if level == 5 && !name.is_empty() {
                raw.subscribe("+/ann/#", 0x20).await;
            }
            for topic in topics {
                say(&broker, topic, false);
            }
            let topic = topics[expected[0]];
            let message = Message { topic, payload: b"end", qos: QoS::AtMostOnce, retain: false };
            broker.link.publish(message);
            let mut live = vec![];
            loop {
                let (flags, topic, _, payload) = raw.message().await;
                match (flags & 1, &payload[..]) {
                    (_, b"end") => break,
                    (0, _) => live.push(place(&topic)),
                    (_, _) => assert!(!retained.insert(place(&topic)), "{topic}"),
                }
            }
            assert_eq!(live, expected, "{level} {name} {filter}");
            assert_eq!(retained.into_iter().collect::<Vec<_>>(), expected, "{level} {name}");
        }
    }
    assert!(count(&broker.stats.withheld) > 0);
}

#[tokio::test]
async fn shared_messages_go_to_a_member_that_may_read_them() {
    let broker = guarded().await;
    let mut ha = welcome(&broker, 5, "ha", Some(("ha", "1"))).await;
    let mut ann = welcome(&broker, 5, "ann", Some(("ann", "2"))).await;
    assert_eq!(subscribe(&mut ha, "$share/g/home/#", 0).await, 0);
    assert_eq!(subscribe(&mut ann, "$share/g/home/#", 0).await, 0);
    for _ in 0..4 {
        say(&broker, "home/ha/x", false);
        assert_eq!(ha.message().await.1, "home/ha/x");
    }
    ha.ping().await;
    ann.ping().await;
}

#[tokio::test]
async fn a_publish_that_is_not_allowed_is_dropped_and_acknowledged() {
    let broker = guarded().await;
    let mut all = broker.link.subscribe("#").unwrap();
    for (level, code) in [(4, &[][..]), (5, &[0x87][..])] {
        let mut ann = welcome(&broker, level, "c", Some(("ann", "2"))).await;
        for topic in ["home/ha/x", "home", "client/d", "powermeter/a/cmd", "$SYS/x", "/sensor/a"] {
            ann.publish(topic, b"no", 0, 0).await;
            ann.publish(topic, b"no", 0x02, 7).await;
            assert_eq!(ann.packet().await, (0x40, [&[0, 7], code].concat()), "{topic}");
            ann.publish(topic, b"no", 0x04, 8).await;
            assert_eq!(ann.packet().await, (0x50, [&[0, 8], code].concat()), "{topic}");
            if level == 4 {
                ann.send(&[0x62, 2, 0, 8]).await;
                assert_eq!(ann.packet().await, (0x70, vec![0, 8]));
            }
        }
        for topic in ["home/ann/x", "client/c"] {
            ann.publish(topic, b"yes", 0x02, 9).await;
            assert_eq!(ann.packet().await.0, 0x40);
            let received = within(all.recv()).await.unwrap();
            assert_eq!((&*received.topic, &received.payload[..]), (topic, &b"yes"[..]));
        }
        let mut nobody = welcome(&broker, level, "n", None).await;
        nobody.publish("/sensor/a", b"no", 0x02, 7).await;
        assert_eq!(nobody.packet().await, (0x40, [&[0, 7], code].concat()));
    }
    assert_eq!(count(&broker.stats.refused_publishes), 38);
}

#[tokio::test]
async fn a_will_that_may_not_be_published_is_dropped() {
    let broker = guarded().await;
    let mut all = broker.link.subscribe("#").unwrap();
    for level in [4, 5] {
        for topic in ["home/ha/x", "home/ann/x"] {
            let properties: &[u8] = if level == 5 { &[0] } else { &[] };
            let will = [properties, &string(topic), &string("gone")].concat();
            let login = Some(("ann", "2"));
            let (raw, code) = log_in_with(&broker, level, "c", 0x06, &will, login).await;
            assert_eq!(code, 0);
            drop(raw);
        }
        assert_eq!(&*within(all.recv()).await.unwrap().topic, "home/ann/x");
    }
    assert_eq!(count(&broker.stats.refused_wills), 2);
}

#[tokio::test]
async fn a_session_is_seen_by_its_own_user_only() {
    let broker = guarded().await;
    let (mut ha, _) = log_in_with(&broker, 4, "c", 0, &[], Some(("ha", "1"))).await;
    assert_eq!(subscribe(&mut ha, "home/ha/#", 1).await, 1);
    // While it is connected nobody else can have its id.
    assert_eq!(log_in(&broker, 4, "c", Some(("ann", "2"))).await.1, 2);
    ha.ping().await;
    ha.send(&[0xE0, 0]).await;
    ha.until_closed().await;
    within(async {
        while count(&broker.stats.clients) != 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    say(&broker, "home/ha/x", false);
    let mut ann = Raw::open(broker.address).await;
    let login = [string("ann"), string("2")].concat();
    ann.send(&connect(4, "c", 0xC0, 0, &login)).await;
    assert_eq!(ann.packet().await, (0x20, vec![0, 0]), "no session present");
    ann.ping().await;
}
