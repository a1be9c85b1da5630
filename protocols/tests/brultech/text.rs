//! The text formats and HTTP requests, in the same stream as packets.

use meter_protocols::brultech::{Decoder, Format, Frame, TextFormat, TextReading};

use crate::{Event, capture, decode_whole, drain, formats, skipped};

const ASCII: &[u8] = b"n=01100603&m=12&wh_1=278.23&p_1=3139&a_1=28.90&wh_2=.28&p_2=0&a_2=.05&whp_41=12.5&t_1=21.0&t_2=-3.5&c_1=17&v=114.4";
const GET: &[u8] = b"GET /gem?SN=01100603&SC=9700&V=1144&c1=3325793,3050305,.21&c2=519631,97838&c48=1099511627775,0&PL=1,0,16777215,4&T=21.0,,-4.5,256.0,,,,,&Resp= HTTP/1.1\r\nHost: 192.0.2.7\r\nUser-Agent: WizFi\r\n\r\n";

fn texts(events: &[Event]) -> Vec<&TextReading> {
    events
        .iter()
        .filter_map(|event| match event {
            Ok(Frame::Text(reading)) => Some(reading.as_ref()),
            _ => None,
        })
        .collect()
}

#[test]
fn ascii_wh_is_read_whole() {
    let events = decode_whole(&[ASCII, b"\r\n"].concat());
    let [Ok(Frame::Text(reading))] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(reading.format, TextFormat::AsciiWh);
    assert_eq!(reading.serial, "01100603");
    assert_eq!((reading.minutes, reading.seconds), (Some(12), None));
    assert_eq!(reading.volts, Some(114.4));
    assert_eq!(reading.channels.len(), 41);
    let first = &reading.channels[0];
    assert_eq!(
        (first.watt_hours, first.watts, first.amps),
        (Some(278.23), Some(3139.0), Some(28.9))
    );
    assert_eq!(first.absolute_watt_seconds, None);
    assert_eq!(reading.channels[1].watt_hours, Some(0.28));
    assert_eq!(reading.channels[2].watts, None, "not sent");
    assert_eq!(reading.channels[40].polarized_watt_hours, Some(12.5));
    assert_eq!(reading.temperatures[..3], [Some(21.0), Some(-3.5), None]);
    assert_eq!(reading.pulses, [Some(17), None, None, None]);
    assert_eq!(reading.unreadable, 0);
    assert!(events.iter().flatten().all(|frame| !frame.wants_http_reply()));
}

#[test]
fn http_get_is_read_whole() {
    let events = decode_whole(GET);
    let [Ok(frame @ Frame::Text(reading))] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert!(frame.wants_http_reply());
    assert_eq!(reading.format, TextFormat::HttpGet);
    assert_eq!(reading.serial, "01100603");
    assert_eq!((reading.minutes, reading.seconds), (None, Some(9700)));
    assert_eq!(reading.volts, Some(114.4));
    assert_eq!(reading.channels.len(), 48);
    let first = &reading.channels[0];
    assert_eq!(first.absolute_watt_seconds, Some(3_325_793));
    assert_eq!(first.polarized_watt_seconds, Some(3_050_305));
    assert_eq!(first.amps, Some(0.21));
    assert_eq!(reading.channels[1].amps, None, "amperes are sent only if switched on");
    assert_eq!(reading.channels[47].absolute_watt_seconds, Some((1 << 40) - 1));
    assert_eq!(reading.pulses, [Some(1), Some(0), Some(16_777_215), Some(4)]);
    assert_eq!(reading.temperatures[..4], [Some(21.0), None, Some(-4.5), None]);
    assert_eq!(reading.unreadable, 0);
}

#[test]
fn a_request_is_taken_as_soon_as_it_is_whole() {
    let mut decoder = Decoder::new();
    decoder.push(&GET[..GET.len() - 1]);
    assert_eq!(drain(&mut decoder), []);
    decoder.push(b"\n");
    assert_eq!(texts(&drain(&mut decoder)).len(), 1, "the module waits for its answer");
}

#[test]
fn a_text_without_line_end_is_taken_when_the_link_is_quiet() {
    let mut decoder = Decoder::new();
    decoder.push(ASCII);
    assert_eq!(drain(&mut decoder), [], "more digits might come");
    decoder.idle();
    assert_eq!(texts(&drain(&mut decoder)).len(), 1);
    decoder.push(b"\r\n");
    decoder.push(ASCII);
    decoder.push(ASCII);
    decoder.push(b"Alive");
    let events = drain(&mut decoder);
    assert_eq!(texts(&events).len(), 2, "one ends where the next begins");
    assert_eq!(skipped(&events), []);
}

#[test]
fn texts_and_packets_in_any_order() {
    let packet = capture(Format::Bin48NetTime);
    let stream =
        [packet, ASCII, packet, GET, packet, ASCII, b"\r\n", packet, GET, GET, packet].concat();
    let events = decode_whole(&stream);
    assert_eq!(formats(&events), [Format::Bin48NetTime; 5]);
    assert_eq!(texts(&events).len(), 5);
    assert_eq!(skipped(&events), []);
}

/// A packet in the middle of a text costs the text, never the packet.
#[test]
fn a_packet_that_interrupts_a_text_is_not_lost() {
    let packet = capture(Format::Ecm1240);
    for text in [ASCII, GET] {
        for at in 1..text.len() {
            let stream = [&text[..at], packet, &text[at..], packet].concat();
            let events = decode_whole(&stream);
            assert_eq!(formats(&events), [Format::Ecm1240; 2], "cut at {at}");
        }
    }
}

#[test]
fn other_requests_are_named_and_their_bodies_passed_over() {
    let requests: &[(&str, &str, &[u8], usize)] = &[
        ("GET", "/post?json={SN:01100603,SC:9700,V:1144,E1:5}", b"\r\n", 0),
        (
            "PUT",
            "/v2/feeds/7.csv",
            b"content-length: 28\r\n\r\nE1,36942\r\nP1,3020\r\nn=1&v=1\r\n",
            28,
        ),
        ("POST", "/seg", b"Content-Length: 30\r\n\r\n(site KEY (node A ? (p_1 31)))\n", 31),
    ];
    for (method, target, rest, body) in requests {
        let head = format!("{method} {target} HTTP/1.1\r\n");
        let stream = [head.as_bytes(), rest, capture(Format::Bin32Net)].concat();
        let events = decode_whole(&stream);
        let Some(Ok(frame @ Frame::Http(request))) = events.first() else {
            panic!("{method} {target}: {events:?}");
        };
        assert!(frame.wants_http_reply());
        assert_eq!((request.method.as_str(), request.target.as_str()), (*method, *target));
        assert_eq!(formats(&events), [Format::Bin32Net]);
        assert_eq!(texts(&events).len(), 0, "what stands in a body is not read");
        let passed: usize = skipped(&events).iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(request.body + passed, *body, "{method}");
    }
}

/// A length that is a lie does not swallow what comes next.
#[test]
fn a_body_ends_where_a_packet_begins_or_the_link_is_quiet() {
    let head = b"PUT /a HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nE1,5\r\n";
    let events = decode_whole(&[head, capture(Format::Bin48Abs)].concat());
    assert!(matches!(&events[0], Ok(Frame::Http(request)) if request.body == 6), "{events:?}");
    assert_eq!(formats(&events), [Format::Bin48Abs]);
    assert_eq!(skipped(&events), []);

    let mut decoder = Decoder::new();
    decoder.push(head);
    assert_eq!(drain(&mut decoder), []);
    decoder.idle();
    assert!(matches!(drain(&mut decoder).as_slice(), [Ok(Frame::Http(_))]));
    decoder.push(ASCII);
    decoder.push(b"\n");
    assert_eq!(texts(&drain(&mut decoder)).len(), 1);
}

#[test]
fn an_endless_head_is_passed_over() {
    for begin in ["GET /", "GET / HTTP/1.1\r\nX: ", "n=01100603&p_1="] {
        let endless = vec![b'1'; 20_000];
        let stream = [begin.as_bytes(), &endless, b"\r\n\r\n", GET].concat();
        let events = crate::decode(stream.chunks(1000));
        assert_eq!(texts(&events).len(), 1, "{begin}");
        assert_eq!(skipped(&events), [(0, begin.len() + 20_004)], "{begin}");
    }
}
