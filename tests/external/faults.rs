//! A broker that will not: what is said, and that trying goes on.

use meterbridge::broker::{Broker, BrokerSettings, Login, ProtocolVersion, QoS};
use meterbridge::config::secret::Secret;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{Linked, Mosquitto, Observer, free_port, local, settings, until};

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_explained() {
    let data = tempfile::tempdir().unwrap();
    let port = free_port();
    let silent = TcpListener::bind(local(0)).await.unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let mosquitto = Mosquitto::start("").await;

    let mut unknown = settings(port, data.path());
    unknown.host = "no-such-host.invalid".to_owned();
    let linked = Linked::start(unknown);
    linked.complains("host name is not known").await;
    linked.kill().await;

    let mut plain = settings(mosquitto.port, data.path());
    plain.tls = true;
    plain.ca = Some(certificates(data.path()).0);
    let linked = Linked::start(plain);
    linked.complains("TLS").await;
    linked.kill().await;

    // Somebody who takes the connection and closes it.
    let closing = async {
        loop {
            let _ = silent.accept().await;
        }
    };
    let linked = Linked::start(settings(silent_port, data.path()));
    tokio::select! {
        () = closing => {}
        () = linked.complains("closed the connection instead of answering") => {}
    }
    linked.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_is_explained_and_mended_without_a_restart() {
    let text = "listener PORT 127.0.0.1\nallow_anonymous false\npassword_file DIR/passwd\n";
    let port = free_port();
    let with = |mut settings: meterbridge::broker::ExternalSettings, password: &str| {
        let password = Secret::new(password);
        settings.login = Some(Login { user: "me".to_owned(), password });
        settings
    };
    for version in [ProtocolVersion::V3, ProtocolVersion::V5] {
        let data = tempfile::tempdir().unwrap();
        // The password file comes from mosquitto's own program.
        let passwd = data.path().join("passwd");
        let made = std::process::Command::new("mosquitto_passwd")
            .args(["-b", "-c"])
            .args([passwd.as_os_str(), "me".as_ref(), "right".as_ref()])
            .status();
        assert!(made.unwrap().success());
        let text = text.replace("PORT", &port.to_string());
        let text = text.replace("DIR/passwd", &passwd.display().to_string());
        let mosquitto = Mosquitto::with(port, &text).await;
        let mut settings = settings(port, data.path());
        settings.version = version;
        let linked = Linked::start(with(settings.clone(), "wrong hunter2"));
        linked.complains("refuses the login").await;
        let complaint = linked.stats.status().unwrap_err();
        assert!(complaint.contains("broker.external.password"), "{complaint}");
        assert!(!complaint.contains("hunter2"), "{complaint}");
        until("it tries again", || linked.number("failed_connects") > 2).await;
        linked.kill().await;
        let linked = Linked::start(with(settings, "right"));
        linked.connected().await;
        linked.stop().await;
        drop(mosquitto);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_with_one_client_id_are_told() {
    let data = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mosquitto = Mosquitto::start("").await;
    let listen = vec![local(0)];
    let ours = Broker::bind(BrokerSettings { listen, ..Default::default() }).await.unwrap();
    let our_port = ours.addresses()[0].port();
    let mut task = JoinSet::new();
    task.spawn(ours.run(CancellationToken::new()));
    // Mosquitto 2.0 closes without a word; ours gives the reason, as MQTT 5 can.
    for (port, version, words) in [
        (mosquitto.port, ProtocolVersion::V3, "\"meterbridge\" may be used twice"),
        (mosquitto.port, ProtocolVersion::V5, "\"meterbridge\" may be used twice"),
        (our_port, ProtocolVersion::V5, "another client connected with the client id"),
    ] {
        let start = |data: &tempfile::TempDir| {
            let mut settings = settings(port, data.path());
            settings.version = version;
            Linked::start(settings)
        };
        let (one, other) = (start(&data[0]), start(&data[1]));
        let said = |linked: &Linked| linked.stats.status().err().unwrap_or_default();
        until(words, || said(&one).contains(words) || said(&other).contains(words)).await;
        one.kill().await;
        other.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_broker_does_not_take_stops_nothing() {
    let large = "x".repeat(5000);
    for (version, number) in [(ProtocolVersion::V5, "too_large"), (ProtocolVersion::V3, "given_up")]
    {
        let data = tempfile::tempdir().unwrap();
        let mosquitto = Mosquitto::start("max_packet_size 2000").await;
        let mut observer = Observer::at(mosquitto.port).await;
        let mut settings = settings(mosquitto.port, data.path());
        settings.version = version;
        let linked = Linked::start(settings);
        linked.publish("small", "before", QoS::AtLeastOnce, true);
        linked.send("large", &large);
        linked.send("small", "after");
        while observer.on("small").await.payload != "after" {}
        linked.delivered().await;
        assert_eq!(linked.number(number), 1);
        linked.stop().await;
    }
    let data = tempfile::tempdir().unwrap();
    let linked = Linked::start(settings(free_port(), data.path()));
    linked.send("larger than our own limit", &"x".repeat(2 << 20));
    assert_eq!((linked.number("too_large"), linked.number("outbox_messages")), (1, 0));
    linked.kill().await;
}

/// A certificate for `localhost` and the address, signed by itself, with its key.
fn certificates(directory: &std::path::Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_a_stranger_is_not_trusted() {
    let data = tempfile::tempdir().unwrap();
    let (certificate, key) = certificates(data.path());
    let (certificate_text, key_text) = (certificate.display(), key.display());
    let tls = format!("certfile {certificate_text}\nkeyfile {key_text}");
    let mosquitto = Mosquitto::start(&tls).await;
    for version in [ProtocolVersion::V3, ProtocolVersion::V5] {
        let mut trusting = settings(mosquitto.port, data.path());
        (trusting.tls, trusting.ca) = (true, Some(certificate.clone()));
        trusting.version = version;
        let linked = Linked::start(trusting);
        linked.connected().await;
        linked.send("over/tls", "x");
        linked.delivered().await;
        linked.stop().await;
    }
    let stranger = tempfile::tempdir().unwrap();
    let mut distrusting = settings(mosquitto.port, data.path());
    (distrusting.tls, distrusting.ca) = (true, Some(certificates(stranger.path()).0));
    let linked = Linked::start(distrusting);
    linked.complains("broker.external.ca").await;
    linked.kill().await;
}

#[tokio::test]
async fn an_authority_that_is_none_is_refused_at_the_start() {
    let data = tempfile::tempdir().unwrap();
    let mut settings = settings(1, data.path());
    settings.tls = true;
    for (name, text) in [("empty.pem", ""), ("missing.pem", "-")] {
        let path = data.path().join(name);
        if text != "-" {
            std::fs::write(&path, text).unwrap();
        }
        settings.ca = Some(path);
        let refusal = meterbridge::broker::External::open(settings.clone()).unwrap_err();
        assert!(refusal.to_string().contains(name), "{refusal}");
    }
}
