//! The access list: subscribing, being sent, publishing, wills, sessions.

use super::*;

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
