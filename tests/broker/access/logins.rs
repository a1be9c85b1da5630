//! Users, password files, guesses.

use super::*;

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
