//! kill -9 under load, again and again: what was acknowledged is there afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::disk::{Process, resume};
use crate::support::{Raw, connect, publish, within};

const PUBLISHERS: usize = 4;
const ROUNDS: usize = 10;
/// Rounds of the long variant: `METERBRIDGE_KILLS=100 cargo test --test broker kill_9 -- --nocapture`.
const ROUNDS_VARIABLE: &str = "METERBRIDGE_KILLS";

/// What one publisher was told is safe, over all rounds.
#[derive(Default)]
struct Promised {
    /// Payloads of `queue/<n>` at QoS 1 and 2.
    queued: [BTreeSet<u64>; 2],
    /// The last retained value acknowledged, and the last one sent.
    retained: (u64, u64),
}

/// Publishes as fast as acknowledgements come, until the connection breaks.
async fn publish_until_killed(
    address: SocketAddr,
    me: usize,
    mut next: u64,
    mut promised: Promised,
) -> (usize, u64, Promised) {
    let level = if me.is_multiple_of(2) { 4 } else { 5 };
    let mut raw = Raw::open(address).await;
    raw.try_send(&connect(level, &format!("publisher-{me}"), 2, 0, &[])).await;
    if raw.try_packet().await.is_none() {
        return (me, next, promised);
    }
    const WINDOW: u64 = 20;
    let mut open: BTreeMap<u16, (u64, u8)> = BTreeMap::new();
    loop {
        while (open.len() as u64) < WINDOW {
            next += 1;
            let id = u16::try_from(next % 60_000 + 1).unwrap();
            let (kind, payload) = ((next % 3) as u8, next.to_string());
            let bytes = match kind {
                0 => {
                    promised.retained.1 = next;
                    publish(level, &format!("value/{me}"), payload.as_bytes(), 0x03, id)
                }
                1 => publish(level, &format!("queue/{me}"), payload.as_bytes(), 0x02, id),
                _ => publish(level, &format!("queue/{me}"), payload.as_bytes(), 0x04, id),
            };
            open.insert(id, (next, kind));
            raw.try_send(&bytes).await;
        }
        let Some((first, body)) = raw.try_packet().await else {
            return (me, next, promised);
        };
        let id = u16::from_be_bytes([body[0], body[1]]);
        match first {
            0x40 | 0x50 => {
                let (number, kind) = if first == 0x40 {
                    open.remove(&id).unwrap()
                } else {
                    raw.try_send(&[[0x62, 2], id.to_be_bytes()].concat()).await;
                    open[&id]
                };
                match kind {
                    0 => promised.retained.0 = number,
                    kind => drop(promised.queued[usize::from(kind) - 1].insert(number)),
                }
            }
            0x70 => drop(open.remove(&id)),
            other => panic!("unexpected packet {other:#x}"),
        }
    }
}

/// A client with a kept session, as it is after every kill.
#[derive(Default)]
struct Kept {
    /// QoS 2 exchanges that it has the message of and no PUBREL.
    open: BTreeSet<u16>,
    /// QoS 2 messages it ever took: topic and number.
    taken: BTreeSet<(String, u64)>,
}

impl Kept {
    /// Takes everything that waits, acknowledges it, and answers topic, number and QoS.
    async fn collect(&mut self, raw: &mut Raw, round: usize) -> Vec<(String, u64, u8)> {
        let mut all = Vec::new();
        // Of QoS 2, which nothing overtakes; under an id of its own, as the last may still be open.
        let id = u16::try_from(round + 1).unwrap();
        let end = format!("end/{}", raw.level);
        raw.send(&publish(raw.level, &end, round.to_string().as_bytes(), 0x04, id)).await;
        loop {
            let (first, body) = raw.packet().await;
            let answer = match first >> 4 {
                3 => {
                    let length = usize::from(body[0]) * 256 + usize::from(body[1]);
                    let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
                    let (qos, id) = (first >> 1 & 3, [body[2 + length], body[3 + length]]);
                    let rest = &body[4 + length + usize::from(raw.level == 5)..];
                    let number = std::str::from_utf8(rest).unwrap().parse().unwrap();
                    raw.send(&[[if qos == 1 { 0x40 } else { 0x50 }, 2], id].concat()).await;
                    if (&*topic, number) == (&*end, round as u64) {
                        return all;
                    }
                    if qos == 2 && self.open.insert(u16::from_be_bytes(id)) {
                        let new = self.taken.insert((topic.clone(), number));
                        assert!(new, "round {round}: {topic} {number} of QoS 2 came twice");
                    }
                    all.push((topic, number, qos));
                    continue;
                }
                6 => {
                    self.open.remove(&u16::from_be_bytes([body[0], body[1]]));
                    [0x70, 2, body[0], body[1]]
                }
                5 => [0x62, 2, body[0], body[1]],
                7 => continue,
                other => panic!("unexpected packet {other}"),
            };
            raw.send(&answer).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_under_load_loses_nothing_that_was_acknowledged() {
    let rounds = std::env::var(ROUNDS_VARIABLE)
        .map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path()).await;
    for level in [4, 5] {
        let (mut raw, present) =
            resume(process.address, level, &format!("kept-{level}"), 3600).await;
        assert!(!present);
        raw.subscribe("queue/#", 2).await;
        raw.subscribe(&format!("end/{level}"), 2).await;
    }
    process.kill().await;
    let mut next = [0; PUBLISHERS];
    let mut retained = [(0, 0); PUBLISHERS];
    let mut clients = [Kept::default(), Kept::default()];
    let (mut queued, mut kept) = (0, 0);
    for round in 0..rounds {
        let process = Process::start(dir.path()).await;
        let mut publishers = JoinSet::new();
        for me in 0..PUBLISHERS {
            let promised = Promised { retained: retained[me], ..Promised::default() };
            publishers.spawn(publish_until_killed(process.address, me, next[me], promised));
        }
        // From early in the load to well within it.
        tokio::time::sleep(Duration::from_millis(50 + 20 * (round as u64 % 10))).await;
        process.kill().await;
        let mut promised: Vec<Promised> = (0..PUBLISHERS).map(|_| Promised::default()).collect();
        while let Some(ended) = within(publishers.join_next()).await {
            let (me, last, told) = ended.unwrap();
            next[me] = last;
            retained[me] = told.retained;
            promised[me] = told;
        }
        let process = Process::start(dir.path()).await;
        for level in [4, 5] {
            let id = format!("kept-{level}");
            let (mut raw, present) = resume(process.address, level as u8, &id, 3600).await;
            assert!(present, "round {round}: the session is there");
            let found = clients[level - 4].collect(&mut raw, round).await;
            for (me, promised) in promised.iter().enumerate() {
                let topic = format!("queue/{me}");
                for (kind, wanted) in promised.queued.iter().enumerate() {
                    let qos = kind as u8 + 1;
                    let got: Vec<u64> = found
                        .iter()
                        .filter(|(one, _, level)| *one == topic && *level == qos)
                        .map(|(_, payload, _)| *payload)
                        .collect();
                    let set: BTreeSet<u64> = got.iter().copied().collect();
                    let lost: Vec<_> = wanted.difference(&set).collect();
                    assert!(lost.is_empty(), "round {round}, {topic} QoS {qos}: lost {lost:?}");
                    queued += wanted.len();
                }
            }
        }
        let mut reader = Raw::open(process.address).await;
        reader.send(&connect(4, "reader", 2, 0, &[])).await;
        reader.packet().await;
        for (me, (acknowledged, sent)) in retained.iter().enumerate() {
            if *acknowledged > 0 {
                reader.subscribe(&format!("value/{me}"), 0).await;
                let (_, _, _, payload) = reader.message().await;
                let value: u64 = String::from_utf8(payload).unwrap().parse().unwrap();
                assert!(
                    (*acknowledged..=*sent).contains(&value),
                    "round {round}: value/{me} is {value}, acknowledged {acknowledged}"
                );
                kept += 1;
            }
        }
        process.kill().await;
    }
    assert!(queued > rounds * 10, "there was a load: {queued}");
    println!("{rounds} kills: {queued} queued copies and {kept} retained values, all there");
}
