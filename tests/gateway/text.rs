//! Meters that are set to a text format: HTTP is answered so that their modules stay up, text is
//! counted and passed over, and what comes behind it is heard.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::meters::{bytes, gem, gem_ch1};
use crate::record::within;
use crate::subscriber::Subscriber;
use crate::support::{HOUSE, Meter, Running, Site};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
/// Text format 3, with and without the slash that some firmware leaves out.
const READING: &str = "GET /gem?SN=01100603&SC=9700&V=1144&c1=3325793,3050305,.28&c2=519631,97838\
    &PL=1,2,3,4&T=21.0,,,,,,,&Resp= HTTP/1.1\r\nHost: gateway\r\n\r\n";
const WITHOUT_SLASH: &str =
    "GET gem?SN=01100603&SC=9701&V=1144&c1=1,0&Resp= HTTP/1.1\r\nHost: gateway\r\n\r\n";
/// A PUT with a body, as formats 6 and 13 send it.
const PUT: &str = "PUT /feed.csv HTTP/1.1\r\nHost: gateway\r\nContent-Length: 19\r\n\r\n\
    E1,36942\r\nP1,3020\r\n";
/// Text format 2.
const ASCII: &str = "n=01100603&m=5&wh_1=12.5&p_1=60&a_1=.28&t_1=21.0&c_1=7&v=114.4\r\n";

async fn started() -> (Site, Running, Subscriber) {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    (site, gateway, subscriber)
}

/// A binary packet behind it all is heard, and nothing but it was published.
async fn assert_goes_on(
    meter: &mut Meter,
    gateway: &Running,
    subscriber: &Subscriber,
    passed: u64,
) {
    let before = subscriber.seen();
    assert!(before.iter().all(|message| !message.topic.starts_with("/sensor/")), "{before:?}");
    meter.send(&bytes(&gem_ch1(100, 36_000, 0))).await;
    subscriber.packets("house", 1).await;
    assert_eq!(gateway.metric("meterbridge_ignored_packets_total").await, passed);
    assert_eq!(gateway.metric("meterbridge_packets_total").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_readings_and_other_requests_are_answered() {
    let (_site, gateway, subscriber) = started().await;
    let mut meter = gateway.dial().await;
    for request in [READING, WITHOUT_SLASH, PUT] {
        meter.send(request.as_bytes()).await;
        assert_eq!(meter.answer("\r\n\r\n").await, OK, "{request}");
    }
    assert_goes_on(&mut meter, &gateway, &subscriber, 3).await;
    assert_eq!(gateway.metric("meterbridge_skipped_bytes_total").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_pieces_is_answered_once_and_several_at_once_one_by_one() {
    let (_site, gateway, subscriber) = started().await;
    let mut meter = gateway.dial().await;
    meter.trickle(READING.as_bytes()).await;
    assert_eq!(meter.answer("\r\n\r\n").await, OK);
    meter.send(READING.repeat(3).as_bytes()).await;
    for _ in 0..3 {
        assert_eq!(meter.answer("\r\n\r\n").await, OK);
    }
    assert_goes_on(&mut meter, &gateway, &subscriber, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_text_is_counted_and_passed_over() {
    let (_site, gateway, subscriber) = started().await;
    let mut meter = gateway.dial().await;
    meter.send(ASCII.as_bytes()).await;
    meter.send(ASCII.as_bytes()).await;
    gateway.until_metric("meterbridge_ignored_packets_total", |count| count == 2).await;
    assert_goes_on(&mut meter, &gateway, &subscriber, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_in_the_middle_of_a_request_is_heard() {
    let (_site, gateway, subscriber) = started().await;
    let mut meter = gateway.dial().await;
    let (begin, _) = READING.split_at(60);
    meter.send(&[begin.as_bytes(), &bytes(&gem(603, 100)), PUT.as_bytes()].concat()).await;
    assert_eq!(meter.answer("\r\n\r\n").await, OK);
    subscriber.packets("house", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_takes_no_answers_stops_nobody() {
    let (_site, gateway, subscriber) = started().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut deaf = socket.connect(gateway.addresses.meters[0]).await.unwrap();
    // Until the gateway, whose answers nobody takes, gives this peer up.
    let flood = "GET / HTTP/1.1\r\n\r\n".repeat(1_000);
    let flooding = within("the flood to be stemmed", async {
        while deaf.write_all(flood.as_bytes()).await.is_ok() {}
    });
    let hearing = async {
        let mut meter = gateway.dial().await;
        for n in 0..3 {
            meter.send(&bytes(&gem_ch1(100 + n, 36_000, 0))).await;
            subscriber.packets("house", n as usize + 1).await;
        }
    };
    tokio::join!(flooding, hearing);
    gateway.until_metric("meterbridge_meter_connections", |count| count == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_strays_here_gets_an_answer_too() {
    let (_site, gateway, _subscriber) = started().await;
    let mut stream = TcpStream::connect(gateway.addresses.meters[0]).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: gateway:8083\r\nUser-Agent: browser\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = vec![0; OK.len()];
    within("an answer", stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, OK.as_bytes());
}
