//! A broker on a free port, and a client that sends whatever bytes a test wants.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use meterbridge::broker::{
    Broker, BrokerError, BrokerSettings, BrokerStats, ByteStream, Door, Link,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running broker. Dropping it cuts it off.
pub(crate) struct TestBroker {
    pub(crate) address: SocketAddr,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) tls_addresses: Vec<SocketAddr>,
    pub(crate) door: Door,
    pub(crate) link: Link,
    pub(crate) stats: Arc<BrokerStats>,
    stop: CancellationToken,
    task: JoinSet<Result<(), BrokerError>>,
}

impl TestBroker {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut BrokerSettings)) -> Self {
        let mut settings = BrokerSettings {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            ..BrokerSettings::default()
        };
        change(&mut settings);
        let broker = Broker::bind(settings).await.unwrap();
        let (addresses, link, stats) = (broker.addresses().to_vec(), broker.link(), broker.stats());
        let (tls_addresses, door) = (broker.tls_addresses().to_vec(), broker.door());
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(broker.run(stop.clone()));
        Self { address: addresses[0], addresses, tls_addresses, door, link, stats, stop, task }
    }

    /// Stops it cleanly and answers what `run` returned.
    /// Publishes with QoS 2, as a client can and the gateway cannot, and leaves.
    pub(crate) async fn publish_with_qos_2(&self, messages: &[(&str, &[u8])], retain: bool) {
        let mut client = self.client(4, "publisher").await;
        for group in messages.chunks(50) {
            let packets = group.iter().zip(1..);
            let packets: Vec<u8> = packets
                .flat_map(|((topic, payload), id)| {
                    publish(4, topic, payload, 0x04 | u8::from(retain), id)
                })
                .collect();
            client.send(&packets).await;
            for _ in group {
                let (first, body) = client.packet().await;
                assert_eq!(first, 0x50, "PUBREC");
                client.send(&[0x62, 2, body[0], body[1]]).await;
            }
            for _ in group {
                assert_eq!(client.packet().await.0, 0x70, "PUBCOMP");
            }
        }
        client.send(&[0xE0, 0]).await;
        client.until_closed().await;
    }

    pub(crate) async fn stop(mut self) -> Result<(), BrokerError> {
        self.stop.cancel();
        within(self.task.join_next()).await.unwrap().unwrap()
    }

    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// A client with this id: 3.1.1 (level 4) or 5, clean, no keep-alive.
    pub(crate) async fn client(&self, level: u8, id: &str) -> Raw {
        let mut raw = Raw::open(self.address).await;
        raw.send(&connect(level, id, 0x02, 0, &[])).await;
        let (first, body) = raw.packet().await;
        assert_eq!((first, body[1]), (0x20, 0), "CONNACK for {id}");
        raw.level = level;
        raw
    }
}

/// Awaits `work`, but not for ever.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it should have happened by now")
}

/// A client on the level of bytes.
pub(crate) struct Raw {
    stream: BufReader<Box<dyn ByteStream>>,
    pub(crate) level: u8,
    /// What stood behind the reason code of a DISCONNECT.
    pub(crate) farewell: Vec<u8>,
}

impl Raw {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) fn over(stream: impl ByteStream + 'static) -> Self {
        let stream: Box<dyn ByteStream> = Box::new(stream);
        Self { stream: BufReader::new(stream), level: 4, farewell: Vec::new() }
    }
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within(self.stream.write_all(bytes)).await.unwrap();
    }

    /// Sends to a broker that may have closed already.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) {
        let _ = within(self.stream.write_all(bytes)).await;
    }

    /// The next packet: first byte and body.
    pub(crate) async fn packet(&mut self) -> (u8, Vec<u8>) {
        within(self.try_packet()).await.expect("a packet, not the end of the connection")
    }

    /// The next packet, `None` at the end of the connection.
    pub(crate) async fn try_packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await.ok()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.stream.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        if first == 0xE0 && self.level == 5 {
            self.farewell = body.split_off(body.len().min(1));
        }
        Some((first, body))
    }

    /// All that comes until the broker closes the connection.
    pub(crate) async fn until_closed(&mut self) -> Vec<(u8, Vec<u8>)> {
        within(async {
            let mut packets = Vec::new();
            while let Some(packet) = self.try_packet().await {
                packets.push(packet);
            }
            packets
        })
        .await
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, options: u8) {
        let properties: &[u8] = if self.level == 5 { &[0] } else { &[] };
        let body = [&[0, 9], properties, &string(filter), &[options]].concat();
        self.send(&packet(0x82, &body)).await;
        let (first, body) = self.packet().await;
        assert_eq!(first, 0x90, "SUBACK");
        assert_eq!(*body.last().unwrap(), options & 0x03, "granted QoS of {filter}");
    }

    pub(crate) async fn publish(&mut self, topic: &str, payload: &[u8], flags: u8, id: u16) {
        self.send(&publish(self.level, topic, payload, flags, id)).await;
    }

    /// The next packet, which must be a PUBLISH: flags, topic, packet id (0 with QoS 0), payload.
    pub(crate) async fn message(&mut self) -> (u8, String, u16, Vec<u8>) {
        let (first, body) = self.packet().await;
        assert_eq!(first >> 4, 3, "PUBLISH, not {first:#x} {body:?}");
        let length = usize::from(body[0]) * 256 + usize::from(body[1]);
        let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
        let mut rest = &body[2 + length..];
        let mut id = 0;
        if first & 0x06 != 0 {
            id = u16::from_be_bytes([rest[0], rest[1]]);
            rest = &rest[2..];
        }
        if self.level == 5 {
            rest = &rest[1 + usize::from(rest[0])..];
        }
        (first & 0x0F, topic, id, rest.to_vec())
    }

    /// Shows that the client is still served, and that nothing else was on its way.
    pub(crate) async fn ping(&mut self) {
        self.send(&[0xC0, 0]).await;
        assert_eq!(self.packet().await, (0xD0, vec![]));
    }
}

pub(crate) fn string(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length % 128).unwrap();
        length /= 128;
        bytes.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// CONNECT with what stands behind the client id (will, user, password) given as bytes.
pub(crate) fn connect(level: u8, id: &str, flags: u8, keep_alive: u16, rest: &[u8]) -> Vec<u8> {
    connect_with(level, id, flags, keep_alive, &[], rest)
}

/// CONNECT with MQTT 5 properties as bytes.
pub(crate) fn connect_with(
    level: u8,
    id: &str,
    flags: u8,
    keep_alive: u16,
    properties: &[u8],
    rest: &[u8],
) -> Vec<u8> {
    let mut body = [string("MQTT"), vec![level, flags], keep_alive.to_be_bytes().to_vec()].concat();
    if level == 5 {
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend_from_slice(properties);
    }
    body.extend(string(id));
    body.extend_from_slice(rest);
    packet(0x10, &body)
}

pub(crate) fn publish(level: u8, topic: &str, payload: &[u8], flags: u8, id: u16) -> Vec<u8> {
    let mut body = string(topic);
    if flags & 0x06 != 0 {
        body.extend(id.to_be_bytes());
    }
    if level == 5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    packet(0x30 | flags, &body)
}
