//! MQTT over WebSocket, through the gateway's web server.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use meterbridge::broker::Numbers;
use meterbridge::broker::{Message as MqttMessage, QoS};
use meterbridge::metrics::Metrics;
use meterbridge::web::{self, MqttAccess, Web, WebLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::sync::CancellationToken;

use crate::support::{Raw, TestBroker, connect, publish, within};

/// A web server in front of a broker. Dropping it cuts it off.
struct TestWeb {
    address: SocketAddr,
    _task: JoinSet<std::io::Result<()>>,
}

impl TestWeb {
    async fn new(broker: &TestBroker) -> Self {
        Self::with(broker, MqttAccess::Open(broker.door.clone()), WebLimits::default()).await
    }

    async fn with(broker: &TestBroker, mqtt: MqttAccess, limits: WebLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let web = Web::new(Metrics::default(), Numbers::Embedded(broker.stats.clone()));
        let web = web.with_mqtt(mqtt).with_limits(limits);
        let mut task = JoinSet::new();
        task.spawn(web::serve(listener, web, CancellationToken::new()));
        Self { address, _task: task }
    }
}

/// A WebSocket client on the level of MQTT bytes.
pub(crate) struct Socket {
    inner: WebSocketStream<TcpStream>,
    received: Vec<u8>,
}

impl Socket {
    /// `subprotocol`: the header's value, if there is one. The status of a refusal otherwise.
    pub(crate) async fn open(address: SocketAddr, subprotocol: Option<&str>) -> Result<Self, u16> {
        let name = "Sec-WebSocket-Protocol";
        let headers: Vec<_> = subprotocol.map(|value| (name, value)).into_iter().collect();
        Self::open_with(address, &headers).await
    }

    /// As a browser does for a page from `origin`.
    async fn open_from(address: SocketAddr, origin: &str) -> Result<Self, u16> {
        let headers = [("Sec-WebSocket-Protocol", "mqtt"), ("Origin", origin)];
        Self::open_with(address, &headers).await
    }

    async fn open_with(address: SocketAddr, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let mut request = format!("ws://{address}/mqtt").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        match within(client_async(request, stream)).await {
            Ok((inner, _)) => Ok(Self { inner, received: Vec::new() }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn client(address: SocketAddr, level: u8, id: &str) -> Self {
        let mut socket = Self::open(address, Some("mqtt")).await.unwrap();
        socket.send(&connect(level, id, 2, 0, &[])).await;
        let connack = socket.packet().await;
        assert_eq!((connack[0], connack[3]), (0x20, 0));
        socket
    }

    async fn send(&mut self, bytes: &[u8]) {
        within(self.inner.send(Message::binary(bytes.to_vec()))).await.unwrap();
    }

    /// The next packet, whole; all that tests send here is shorter than 128 bytes.
    async fn packet(&mut self) -> Vec<u8> {
        while self.received.len() < 2 || self.received.len() < 2 + usize::from(self.received[1]) {
            match within(self.inner.next()).await.unwrap().unwrap() {
                Message::Binary(bytes) => self.received.extend_from_slice(&bytes),
                other => panic!("a binary frame, not {other:?}"),
            }
        }
        let length = 2 + usize::from(self.received[1]);
        self.received.drain(..length).collect()
    }

    /// The code of the close frame that ends the connection; 0 if it ends without one.
    async fn closed(&mut self) -> u16 {
        let mut code = 0;
        while let Some(Ok(message)) = within(self.inner.next()).await {
            if let Message::Close(frame) = message {
                code = frame.map_or(u16::from(CloseCode::Status), |frame| frame.code.into());
            }
        }
        code
    }
}

#[tokio::test]
async fn both_versions_meet_tcp_clients_whatever_the_frames() {
    let broker = TestBroker::start().await;
    let web = TestWeb::new(&broker).await;
    let mut plain = broker.client(4, "plain").await;
    plain.subscribe("a", 0).await;
    for level in [4, 5] {
        // CONNECT byte by byte, the others all in one frame.
        let mut socket = Socket::open(web.address, Some("mqtt")).await.unwrap();
        for byte in connect(level, "socket", 2, 0, &[]) {
            socket.send(&[byte]).await;
            socket.send(&[]).await;
        }
        let connack = socket.packet().await;
        assert_eq!((connack[0], connack[3]), (0x20, 0), "level {level}");
        let properties: &[u8] = if level == 5 { &[0] } else { &[] };
        let subscribe = [
            &[0x82, 6 + u8::try_from(properties.len()).unwrap(), 0, 1],
            properties,
            &[0, 1, b'b', 0],
        ]
        .concat();
        let frame = [subscribe, publish(level, "a", b"up", 0, 0), vec![0xC0, 0]].concat();
        socket.send(&frame).await;
        assert_eq!(socket.packet().await[0], 0x90, "level {level}");
        assert_eq!(socket.packet().await, [0xD0, 0], "level {level}");
        assert_eq!(plain.message().await.3, b"up");
        plain.publish("b", b"down", 0, 0).await;
        assert!(socket.packet().await.ends_with(b"down"), "level {level}");
        socket.send(&[0xE0, 0]).await;
        assert_ne!(socket.closed().await, 0, "a close frame at the end");
    }
    assert_eq!(broker.stats.connection_panics.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn large_packets_go_both_ways() {
    let broker = TestBroker::start().await;
    let web = TestWeb::new(&broker).await;
    let mut plain = broker.client(4, "plain").await;
    plain.subscribe("#", 0).await;
    let mut socket = Socket::client(web.address, 4, "socket").await;
    socket.send(&[0x82, 6, 0, 1, 0, 1, b'b', 0]).await;
    assert_eq!(socket.packet().await[0], 0x90);
    let large = vec![b'x'; 1_000_000];
    for part in publish(4, "b", &large, 0, 0).chunks(300_000) {
        socket.send(part).await;
    }
    assert_eq!(plain.message().await.3, large);
    let mut count = 0;
    while count < large.len() {
        count += within(socket.inner.next()).await.unwrap().unwrap().len();
    }
    plain.ping().await;
}

#[tokio::test]
async fn what_is_not_mqtt_over_websocket_is_refused_and_said() {
    let broker = TestBroker::start().await;
    let web = TestWeb::new(&broker).await;
    for (subprotocol, status) in [
        (None, Some(400)),
        (Some("chat"), Some(400)),
        (Some("mqtt"), None),
        (Some("mqttv3.1"), None),
        (Some("chat, mqtt"), None),
    ] {
        let refused = Socket::open(web.address, subprotocol).await.err();
        assert_eq!(refused, status, "{subprotocol:?}");
    }
    for (access, status) in [(MqttAccess::Off, 404), (MqttAccess::Unguarded, 403)] {
        let web = TestWeb::with(&broker, access, WebLimits::default()).await;
        assert_eq!(Socket::open(web.address, Some("mqtt")).await.err(), Some(status));
    }
    let mut text = Socket::client(web.address, 4, "text").await;
    within(text.inner.send(Message::text("CONNECT"))).await.unwrap();
    assert_eq!(text.closed().await, 1003);
    // A frame with an opcode that does not exist.
    let mut broken = Socket::client(web.address, 4, "broken").await;
    within(broken.inner.get_mut().write_all(&[0x83, 0x80, 0, 0, 0, 0])).await.unwrap();
    assert_eq!(broken.closed().await, 1002);
    assert_eq!(broker.stats.refused_packets.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn pages_from_elsewhere_are_refused_where_nobody_needs_a_login() {
    let broker = TestBroker::start().await;
    let web = TestWeb::new(&broker).await;
    let (own, address) = (format!("http://{}", web.address), web.address);
    let elsewhere = format!("http://localhost:{}", address.port());
    let others = ["https://evil.example", "null", "file://", "http://127.0.0.1", &*elsewhere];
    for other in others {
        assert_eq!(Socket::open_from(address, other).await.err(), Some(403), "{other}");
    }
    let two = [("Sec-WebSocket-Protocol", "mqtt"), ("Origin", &*own), ("Origin", "http://other")];
    assert_eq!(Socket::open_with(address, &two).await.err(), Some(403), "one of two");
    assert_eq!(broker.stats.refused_origins.load(Ordering::Relaxed), 6);
    let mut page = Socket::open_from(address, &own).await.ok().unwrap();
    page.send(&connect(5, "page", 2, 0, &[])).await;
    assert_eq!(page.packet().await[0], 0x20);
    Socket::client(address, 4, "no browser").await;
    // Where a login is needed, a page has to know one.
    let guarded = TestBroker::with(|settings| settings.access.allow_anonymous = false).await;
    let web = TestWeb::new(&guarded).await;
    let mut page = Socket::open_from(web.address, "https://evil.example").await.ok().unwrap();
    page.send(&connect(5, "page", 2, 0, &[])).await;
    assert_eq!(page.packet().await[3], 0x87);
    assert_eq!(guarded.stats.refused_origins.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn pings_are_answered_and_a_close_is_answered_with_a_close() {
    let broker = TestBroker::start().await;
    let web = TestWeb::new(&broker).await;
    let mut socket = Socket::client(web.address, 5, "socket").await;
    within(socket.inner.send(Message::Ping("are you there".into()))).await.unwrap();
    let pong = within(socket.inner.next()).await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong("are you there".into()));
    within(socket.inner.close(None)).await.unwrap();
    assert_ne!(socket.closed().await, 0);
    within(async {
        while broker.stats.connections.load(Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_larger_than_the_largest_packet_ends_its_connection_alone() {
    let broker = TestBroker::with(|settings| settings.limits.packet_size = 10_000).await;
    let web = TestWeb::new(&broker).await;
    let mut other = Socket::client(web.address, 4, "other").await;
    let mut large = Socket::client(web.address, 4, "large").await;
    // Announced only: the broker must not wait for it, let alone make room.
    let header = [0x82, 0xFF, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4];
    within(large.inner.get_mut().write_all(&header)).await.unwrap();
    assert_eq!(large.closed().await, 1009);
    // The same in fragments that never end.
    let mut endless = Socket::client(web.address, 4, "endless").await;
    let fragment = [&[0x02, 0xFE, 0x10, 0x00, 0, 0, 0, 0][..], &[0; 0x1000]].concat();
    let more = [&[0x00, 0xFE, 0x10, 0x00, 0, 0, 0, 0][..], &[0; 0x1000]].concat();
    for frame in [&fragment, &more, &more] {
        within(endless.inner.get_mut().write_all(frame)).await.unwrap();
    }
    assert_eq!(endless.closed().await, 1009);
    other.send(&[0xC0, 0]).await;
    assert_eq!(other.packet().await, [0xD0, 0]);
}

#[tokio::test]
async fn websocket_clients_share_the_limits_of_all() {
    let broker = TestBroker::with(|settings| settings.limits.connections_per_address = 2).await;
    let web = TestWeb::new(&broker).await;
    let mut plain = broker.client(4, "plain").await;
    let mut socket = Socket::client(web.address, 4, "socket").await;
    assert_eq!(Socket::open(web.address, Some("mqtt")).await.err(), Some(503));
    assert_eq!(Raw::open(broker.address).await.until_closed().await, []);
    assert_eq!(broker.stats.refused_connections.load(Ordering::Relaxed), 2);
    plain.ping().await;
    socket.send(&[0xC0, 0]).await;
    assert_eq!(socket.packet().await, [0xD0, 0]);
}

#[tokio::test]
async fn silent_connections_end_at_their_deadlines_and_delay_nobody() {
    let broker = TestBroker::with(|settings| {
        settings.limits.connect_timeout = Duration::from_secs(5);
    })
    .await;
    let access = MqttAccess::Open(broker.door.clone());
    let limits = WebLimits {
        connections: 3,
        connections_per_address: 3,
        header_timeout: Duration::from_secs(5),
    };
    let web = TestWeb::with(&broker, access, limits).await;
    let mut silent = TcpStream::connect(web.address).await.unwrap();
    let mut begun = TcpStream::connect(web.address).await.unwrap();
    begun.write_all(b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: webs").await.unwrap();
    let mut mute = Socket::open(web.address, Some("mqtt")).await.unwrap();
    let mut other = Socket::client(web.address, 4, "other").await;
    // One that has asked once and stays.
    let mut idle = TcpStream::connect(web.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut full = TcpStream::connect(web.address).await.unwrap();
    let mut answer = Vec::new();
    let _ = within(full.read_to_end(&mut answer)).await;
    assert_eq!(answer, b"", "all places of the web server are taken");
    for stream in [&mut silent, &mut begun, &mut idle] {
        let _ = within(stream.read_to_end(&mut answer)).await;
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
    assert_eq!(mute.closed().await, 0);
    assert_eq!(broker.stats.connect_timeouts.load(Ordering::Relaxed), 1);
    other.send(&[0xC0, 0]).await;
    assert_eq!(other.packet().await, [0xD0, 0]);
    Socket::client(web.address, 5, "room again").await;
}

#[tokio::test]
async fn a_broker_that_stops_says_so() {
    let broker = TestBroker::start().await;
    let web = TestWeb::new(&broker).await;
    let mut socket = Socket::client(web.address, 5, "socket").await;
    broker.begin_stop();
    let goodbye = socket.packet().await;
    assert_eq!((goodbye[0], goodbye[2]), (0xE0, 0x8B));
    assert_ne!(socket.closed().await, 0);
    broker.stop().await.unwrap();
    // The web server is still there, the broker is not.
    let mut late = Socket::open(web.address, Some("mqtt")).await.unwrap();
    assert_eq!(late.closed().await, 0);
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_oldest_and_harms_nobody() {
    let broker = TestBroker::with(|settings| settings.limits.queued_messages = 100).await;
    let web = TestWeb::new(&broker).await;
    let mut slow = Socket::client(web.address, 4, "slow").await;
    slow.send(&[0x82, 6, 0, 1, 0, 1, b'b', 0]).await;
    slow.packet().await;
    let mut quick = broker.client(4, "quick").await;
    quick.subscribe("b", 0).await;
    let payload = vec![b'x'; 10_000];
    let message =
        MqttMessage { topic: "b", payload: &payload, qos: QoS::AtMostOnce, retain: false };
    // Far more than the sockets' buffers hold.
    for _ in 0..200 {
        broker.link.publish_all((0..50).map(|_| message));
        for _ in 0..50 {
            quick.message().await;
        }
    }
    assert!(broker.stats.dropped_queue_full.load(Ordering::Relaxed) > 1_000);
    broker.link.publish(MqttMessage { payload: b"last", ..message });
    within(async {
        loop {
            let frame = slow.inner.next().await.unwrap().unwrap();
            if frame.into_data().ends_with(b"last") {
                break;
            }
        }
    })
    .await;
}
