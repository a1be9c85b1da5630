//! What comes out: a client of the broker that counts measurements.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::loaded::message;

/// What was heard of each meter.
pub(crate) struct Readings(Arc<Mutex<HashMap<String, Heard>>>);

struct Heard {
    count: u64,
    last: Instant,
    longest: Duration,
    payload: String,
}

impl Readings {
    /// Subscribes to what is said of every channel.
    pub(crate) fn subscribe(broker: SocketAddr) -> Readings {
        let mut stream = TcpStream::connect(broker).expect("the broker listens");
        let filter = b"powermeter/+/state/channels";
        // CONNECT 3.1.1, clean session, no keep-alive, client id "load"; SUBSCRIBE at QoS 0.
        let mut words = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04load\x82".to_vec();
        words.extend([filter.len() as u8 + 5, 0, 1, 0, filter.len() as u8]);
        words.extend_from_slice(filter);
        words.push(0);
        stream.write_all(&words).expect("the broker reads");
        let mut acknowledged = [0; 9];
        stream.read_exact(&mut acknowledged).expect("CONNACK and SUBACK");
        assert_eq!(acknowledged, *b"\x20\x02\x00\x00\x90\x03\x00\x01\x00");
        let heard = Arc::new(Mutex::new(HashMap::new()));
        let own = Arc::clone(&heard);
        std::thread::spawn(move || listen(stream, &own));
        Readings(heard)
    }

    /// In words: how many, how regular, and what the last one says.
    pub(crate) fn report(&self, meters: usize) -> String {
        let heard = self.0.lock().expect("nobody panics with it");
        let count: u64 = heard.values().map(|one| one.count).sum();
        let least = heard.values().map(|one| one.count).min().unwrap_or(0);
        let longest = heard.values().map(|one| one.longest).max().unwrap_or_default();
        let last = heard.values().next().map_or("", |one| &one.payload);
        format!(
            "measurements: {count} of {} meters (of {meters}), {least} or more of each, \
             longest pause {:.0} ms\n  one of them: {last}",
            heard.len(),
            longest.as_secs_f64() * 1000.0,
        )
    }
}

fn listen(mut stream: TcpStream, heard: &Mutex<HashMap<String, Heard>>) {
    let (mut buffer, mut held) = (vec![0; 1 << 20], 0);
    while let Ok(read @ 1..) = stream.read(&mut buffer[held..]) {
        let (now, end) = (Instant::now(), held + read);
        let mut begin = 0;
        while let Some((topic, payload, next)) = message(&buffer[begin..end]) {
            let name = String::from_utf8_lossy(topic).into_owned();
            let mut heard = heard.lock().expect("nobody panics with it");
            let first =
                || Heard { count: 0, last: now, longest: Duration::ZERO, payload: "".into() };
            let one = heard.entry(name).or_insert_with(first);
            one.count += 1;
            one.longest = one.longest.max(now - one.last);
            one.last = now;
            one.payload = String::from_utf8_lossy(payload).into_owned();
            begin += next;
        }
        buffer.copy_within(begin..end, 0);
        held = end - begin;
    }
}
