//! Who may come in: doors, certificates, password files, secrets; and keys without effect.

use meterbridge::config::{self, Config, WebSocketMqtt};

use crate::{HASH, given};

/// The web port is opened for its pages; that must not open the broker.
#[test]
fn mqtt_by_the_web_port_needs_a_word_on_who_may() {
    use WebSocketMqtt::{Off, Open, Unguarded};
    let open = "web: {listen: 0.0.0.0:8080}\n";
    for (text, offer, anonymous) in [
        ("", Open, true),
        ("broker: {websocket: false}\n", Off, true),
        ("web: {enabled: false}\n", Off, true),
        (open, Unguarded, true),
        (&format!("{open}broker: {{websocket: false}}\n"), Off, true),
        (&format!("{open}broker: {{allow_anonymous: true}}\n"), Open, true),
        (&format!("{open}broker: {{allow_anonymous: false}}\n"), Open, false),
    ] {
        let config = given(text).config();
        let got = (config.mqtt_over_websocket(), config.anonymous_allowed());
        assert_eq!(got, (offer, anonymous), "{text}");
    }
    let mut users = given(open).config();
    users.broker.users.push(config::broker::User::default());
    assert_eq!((users.mqtt_over_websocket(), users.anonymous_allowed()), (Open, false));
}

#[test]
fn the_files_of_tls_are_looked_at() {
    let given = given("broker:\n  tls: {listen: 127.0.0.1:8883, key: ./}\n");
    assert_eq!(
        given.mistakes(),
        [
            "config.yaml:2:3: broker.tls.certificate: is missing: write the PEM file that holds the server's certificate"
        ]
    );
    let given = given.set("broker.tls.certificate=none.pem");
    assert_eq!(
        given.mistakes(),
        [
            "config.yaml:2:33: broker.tls.key: ./: cannot be read: it is not a file",
            "--set broker.tls.certificate: broker.tls.certificate: none.pem: cannot be read: there is no such file"
        ]
    );
    assert_eq!(given.without_files().mistakes(), [""; 0]);
}

#[test]
fn secrets_are_never_shown() {
    let there = given(concat!(
        "broker:\n",
        "  users: [{name: ha, password_hash: hunter2}, {name: ha, password_hash: [hunter2]}, hunter2]\n",
        "  external: {url: \"ftp://me:hunter2@nas\", password: hunter2, version: 9}\n",
        "  password: hunter2\n",
        "meters:\n  - {name: a, kind: fluksometer, link: {mqtt: \"me:hunter2@flm\"}}\n",
    ));
    let there = there
        .env("METERBRIDGE__BROKER__EXTERNAL__PASSWORD", "{hunter2")
        .env("METERBRIDGE__BROKER__USERS", "hunter2")
        .set("broker.external.passwort=hunter2");
    for mistake in there.mistakes() {
        assert!(!mistake.contains("hunter2"), "{mistake}");
    }
    let mut config = Config::default();
    config.broker.users = vec![config::broker::User {
        name: "ha".into(),
        password_hash: config::secret::Secret::new("hunter2"),
    }];
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_password_file_is_read_when_the_configuration_is_checked() {
    let there = given("");
    let text = |file: &str| {
        std::fs::write(there.path("passwd"), file).unwrap();
        let path = there.path("passwd").display().to_string();
        let acl = "[{user: ann, read: [a]}]";
        given(&format!("broker: {{password_file: {path}, acl: {acl}}}\n")).mistakes()
    };
    assert_eq!(text(&format!("ann:{HASH}\n")), [""; 0]);
    let mistakes = text(&format!("ha:{HASH}\nhunter2\nann:hunter2\n"));
    let [file, user] = &mistakes[..] else { panic!("{mistakes:#?}") };
    assert!(user.contains("broker.acl[0].user: \"ann\" is no user"), "{user}");
    let words = "passwd, line 2 has no \":\" between name and hash; and 1 more";
    assert!(file.ends_with(words), "{file}");
}

#[test]
fn what_has_no_effect_is_told() {
    let notes = |text: &str| -> Vec<String> {
        let notes = config::load(&given(text).source).unwrap().notes();
        notes.iter().map(|note| note[note.find("config.yaml").unwrap()..].to_owned()).collect()
    };
    let external = "mode: external, external: {url: \"mqtt://nas\"}";
    assert_eq!(notes(&format!("broker: {{{external}, websocket: true}}\n")), [""; 0]);
    assert_eq!(
        notes(&format!(
            "broker:\n  {{{external},\n  listen: 0.0.0.0:1883, limits: {{connections: 3, inflight: 3}}}}\n"
        )),
        [
            "config.yaml:3:3: broker.listen: has no effect with broker.mode: external",
            "config.yaml:3:34: broker.limits.connections: has no effect with broker.mode: external",
        ]
    );
    assert_eq!(
        notes("broker: {external: {url: \"mqtt://nas\"}}\n"),
        ["config.yaml:1:10: broker.external: has no effect with broker.mode: embedded"]
    );
}
