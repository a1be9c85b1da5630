//! MQTT over TLS: foreign clients, certificates on both sides, renewal, and clients that stall.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use meterbridge::broker::{Broker, BrokerSettings, Message, QoS, TlsSettings};
use meterbridge::tls::TlsFiles;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificates::{Authority, Issued};
use crate::support::{Raw, TestBroker, connect, within};

async fn broker(files: TlsFiles, change: impl FnOnce(&mut BrokerSettings)) -> TestBroker {
    TestBroker::with(|settings| {
        let mut tls = TlsSettings::new(vec!["127.0.0.1:0".parse().unwrap()], files);
        tls.look_every = Duration::from_millis(20);
        settings.tls = Some(tls);
        change(settings);
    })
    .await
}

/// A TLS client that trusts this authority, and shows a certificate if it has one.
async fn dial(
    address: SocketAddr,
    authority: &Authority,
    own: Option<&Issued>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.der())).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![own.der.clone().into()], key).unwrap()
        }
    };
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

/// CONNECT over a TLS client; the code of the CONNACK.
async fn greet(stream: TlsStream<TcpStream>, level: u8, id: &str) -> (Raw, u8) {
    let mut raw = Raw::over(stream);
    raw.send(&connect(level, id, 2, 0, &[])).await;
    let (first, body) = raw.packet().await;
    assert_eq!(first, 0x20);
    raw.level = level;
    (raw, body[1])
}

/// mosquitto's own tools over TLS; what they print.
async fn mosquitto(tool: &str, address: SocketAddr, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(tool)
        .args(["-h", "127.0.0.1", "-p", &address.port().to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within(output).await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn mosquitto_clients_on_every_version_of_mqtt_and_tls() {
    let authority = Authority::new();
    let broker = broker(authority.files("server"), |_| {}).await;
    let (address, ca) = (broker.tls_addresses[0], authority.path("ca.pem"));
    for mqtt in ["31", "311", "5"] {
        for tls in ["tlsv1.2", "tlsv1.3"] {
            let common = ["-V", mqtt, "--tls-version", tls, "--cafile", ca.to_str().unwrap()];
            let publish = ["-q", "2", "-t", "a", "-r", "-m", tls];
            let told = mosquitto("mosquitto_pub", address, &[&common[..], &publish].concat()).await;
            assert_eq!(told, (true, String::new()), "{mqtt} {tls}");
            let subscribe = ["-q", "1", "-t", "a", "-C", "1"];
            let told =
                mosquitto("mosquitto_sub", address, &[&common[..], &subscribe].concat()).await;
            assert_eq!(told, (true, format!("{tls}\n")), "{mqtt} {tls}");
        }
    }
    // Without the authority the client goes away, and the broker says why.
    let other = Authority::new();
    let ca = other.path("ca.pem");
    let (fine, _) =
        mosquitto("mosquitto_pub", address, &["--cafile", ca.to_str().unwrap(), "-t", "a", "-n"])
            .await;
    assert!(!fine);
    within(async {
        while broker.stats.tls_handshake_failures.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn tls_and_plain_clients_are_on_one_broker_and_are_told_of_its_end() {
    let authority = Authority::new();
    let broker = broker(authority.files("server"), |_| {}).await;
    let stream = dial(broker.tls_addresses[0], &authority, None).await.unwrap();
    let (mut secure, _) = greet(stream, 5, "secure").await;
    secure.subscribe("a", 1).await;
    let mut plain = broker.client(4, "plain").await;
    let large = vec![b'x'; 1_000_000];
    plain.publish("a", &large, 0, 0).await;
    assert_eq!(secure.message().await.3, large);
    secure.publish("a", &large, 2, 7).await;
    let answers = [secure.packet().await.0, secure.packet().await.0];
    assert!(answers.contains(&0x40) && answers.contains(&0x32), "{answers:x?}");
    broker.begin_stop();
    assert_eq!(secure.until_closed().await, [(0xE0, vec![0x8B])]);
}

/// The record and the body of a ClientHello of TLS 1.1, as OpenSSL would send it.
fn client_hello_1_1() -> Vec<u8> {
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    // No session; AES128-SHA and ECDHE-RSA-AES128-SHA; no compression; RSA with SHA-256.
    hello.extend([0, 0, 4, 0x00, 0x2F, 0xC0, 0x13, 1, 0]);
    hello.extend([0, 8, 0, 13, 0, 4, 0, 2, 4, 1]);
    let length = u8::try_from(hello.len()).unwrap();
    [&[22, 3, 1, 0, length + 4, 1, 0, 0, length], &hello[..]].concat()
}

#[tokio::test]
async fn tls_1_1_and_what_is_no_tls_are_refused() {
    let authority = Authority::new();
    let broker = broker(authority.files("server"), |_| {}).await;
    let mut old = TcpStream::connect(broker.tls_addresses[0]).await.unwrap();
    old.write_all(&client_hello_1_1()).await.unwrap();
    let mut answer = Vec::new();
    let _ = within(old.read_to_end(&mut answer)).await;
    // A fatal alert, protocol_version (RFC 8446, section 6).
    assert_eq!((answer[0], &answer[5..]), (21, &[2, 70][..]), "{answer:x?}");
    let mut plain = Raw::open(broker.tls_addresses[0]).await;
    plain.send(&connect(4, "plain", 2, 0, &[])).await;
    // At most an alert, and nothing of MQTT.
    let answer = plain.until_closed().await;
    assert!(answer.iter().all(|(first, _)| *first == 21), "{answer:x?}");
    assert_eq!(broker.stats.tls_handshake_failures.load(Ordering::Relaxed), 2);
    broker.client(4, "others go on").await.ping().await;
}

#[tokio::test]
async fn a_silent_connection_delays_nobody_and_ends_at_the_deadline() {
    let authority = Authority::new();
    let broker = broker(authority.files("server"), |settings| {
        settings.limits.connect_timeout = Duration::from_secs(5);
        settings.limits.connections_per_address = 4;
    })
    .await;
    let address = broker.tls_addresses[0];
    let mut silent = Raw::open(address).await;
    let mut begun = Raw::open(address).await;
    begun.send(&client_hello_1_1()[..20]).await;
    // Secure, and then silent.
    let mut mute = Raw::over(dial(address, &authority, None).await.unwrap());
    // Meanwhile others come in, by this door as well.
    let stream = dial(address, &authority, None).await.unwrap();
    let (mut other, _) = greet(stream, 4, "other").await;
    // The silent ones hold their places, though.
    assert_eq!(Raw::open(address).await.until_closed().await, []);
    assert_eq!(broker.stats.refused_connections.load(Ordering::Relaxed), 1);
    for waiting in [&mut silent, &mut begun, &mut mute] {
        assert_eq!(waiting.until_closed().await, []);
    }
    assert_eq!(broker.stats.tls_handshake_failures.load(Ordering::Relaxed), 2);
    assert_eq!(broker.stats.connect_timeouts.load(Ordering::Relaxed), 3);
    other.ping().await;
}

#[tokio::test]
async fn clients_have_to_show_a_certificate_where_an_authority_is_named() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    let mut files = authority.files("server");
    files.client_ca = Some(authority.path("ca.pem"));
    let broker = broker(files, |_| {}).await;
    let address = broker.tls_addresses[0];
    let known = authority.issue(2999);
    let stream = dial(address, &authority, Some(&known)).await.unwrap();
    assert_eq!(greet(stream, 5, "known").await.1, 0);
    let (stranger, expired) = (strangers.issue(2999), authority.issue(2021));
    for own in [None, Some(&stranger), Some(&expired)] {
        // With TLS 1.3 the refusal comes after the client's side of the handshake.
        if let Ok(stream) = dial(address, &authority, own).await {
            let mut raw = Raw::over(stream);
            raw.try_send(&connect(4, "stranger", 2, 0, &[])).await;
            assert_eq!(raw.until_closed().await, []);
        }
    }
    assert_eq!(broker.stats.tls_handshake_failures.load(Ordering::Relaxed), 3);
    authority.write("client", &known);
    let paths = ["ca.pem", "client.pem", "client.key"].map(|name| authority.path(name));
    let [ca, certificate, key] = paths.each_ref().map(|path| path.to_str().unwrap());
    let arguments = ["--cafile", ca, "--cert", certificate, "--key", key, "-t", "a", "-n"];
    assert_eq!(mosquitto("mosquitto_pub", address, &arguments).await, (true, String::new()));
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_clients_and_drops_no_old_ones() {
    let authority = Authority::new();
    let broker = broker(authority.files("server"), |_| {}).await;
    let address = broker.tls_addresses[0];
    let shown = async || {
        let stream = dial(address, &authority, None).await.unwrap();
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        (chain[0].to_vec(), stream)
    };
    let (first, stream) = shown().await;
    let (mut old, _) = greet(stream, 4, "old").await;
    old.subscribe("a", 0).await;
    // As renewal tools do it: one file, and then the other.
    let renewed = authority.issue(2998);
    std::fs::write(authority.path("server.pem"), &renewed.certificate).unwrap();
    assert_eq!(shown().await.0, first);
    std::fs::write(authority.path("server.key"), &renewed.key).unwrap();
    within(async { while shown().await.0 != renewed.der {} }).await;
    broker.link.publish(Message { topic: "a", payload: b"x", qos: QoS::AtMostOnce, retain: false });
    assert_eq!(old.message().await.3, b"x");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_at_the_start() {
    let authority = Authority::new();
    let mut files = authority.files("server");
    files.key = authority.files("other").key;
    let tls = Some(TlsSettings::new(vec!["127.0.0.1:0".parse().unwrap()], files));
    let settings = BrokerSettings { listen: Vec::new(), tls, ..BrokerSettings::default() };
    let error = Broker::bind(settings).await.unwrap_err().to_string();
    assert!(error.contains("broker.tls.key: ") && error.contains("does not belong"), "{error}");
}
