//! kill -9 under a hundred meters, again and again: what is older than a commit is in the journal,
//! once, and so it is in the histories.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use meter_protocols::brultech::Format;
use meterbridge::history::History;
use meterbridge::journal::{Journal, database};
use meterbridge::model::{Milli, Recorded, Sensor, SensorId, Value};
use meterbridge::simulator::{Direction, Simulation, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{READER, open, records};
use crate::meters::reading;
use crate::process::Process;
use crate::record::within;
use crate::support::{Running, Site, free_port};

const METERS: u32 = 100;
const ROUNDS: usize = 4;
/// Rounds of the long variant:
/// `METERBRIDGE_KILLS=100 cargo test --test gateway kill_9_under -- --nocapture`.
const ROUNDS_VARIABLE: &str = "METERBRIDGE_KILLS";
/// A set waits 0.3 s for others, and then it is on disk as soon as a processor is free: within a
/// second, as is promised, on a machine that has time. This bound is for one that has none.
const BOUND: Duration = Duration::from_secs(5);

/// One running total: sensor, time, thousandths.
type Total = (String, i64, i64);

/// Every running total that is published until the connection breaks, with when it was read.
async fn listen(broker: SocketAddr) -> Vec<(Total, Instant)> {
    let mut stream = BufReader::new(TcpStream::connect(broker).await.unwrap());
    let connect = b"\x10\x10\0\x04MQTT\x04\x02\0\0\0\x04kill";
    let subscribe = b"\x82\x16\0\x01\0\x11/sensor/+/counter\0";
    stream.write_all(&[&connect[..], &subscribe[..]].concat()).await.unwrap();
    let mut heard = Vec::new();
    while let Ok((first, body)) = packet(&mut stream).await {
        if first >> 4 == 3 {
            let length = usize::from(body[0]) * 256 + usize::from(body[1]);
            let topic = std::str::from_utf8(&body[2..2 + length]).unwrap();
            let (time, value, _) = reading(std::str::from_utf8(&body[2 + length..]).unwrap());
            let sensor = topic.split('/').nth(2).unwrap().to_owned();
            heard.push(((sensor, time, value), Instant::now()));
        }
    }
    heard
}

async fn packet(stream: &mut BufReader<TcpStream>) -> std::io::Result<(u8, Vec<u8>)> {
    let first = stream.read_u8().await?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = stream.read_u8().await?;
        length |= usize::from(byte & 0x7F) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((first, body))
}

/// What the journal has, over all rounds.
#[derive(Default)]
struct Found {
    /// Each meter's times, in milliseconds.
    sets: HashSet<(String, i64)>,
    readings: usize,
    done: u64,
    /// What the histories are to have: a reading for each second, the first if there are two.
    series: HashMap<SensorId, BTreeMap<i64, Milli>>,
}

impl Found {
    /// The running totals of one round. No set may be there twice, and no number be left out.
    fn take(&mut self, journal: &Journal) -> HashMap<Total, usize> {
        let mut totals = HashMap::new();
        for record in records(journal, self.done) {
            assert_eq!(record.seq, self.done + 1, "the records have no gap");
            self.done = record.seq;
            let set = (record.set.device.id.to_string(), record.set.at.0);
            assert!(self.sets.insert(set), "a set is there twice: {record:?}");
            for (sensor, value) in record.set.iter() {
                self.readings += 1;
                self.expect(sensor, record.set.at.seconds(), value);
                if let Value::Counter(value) = value {
                    let total = (sensor.id.to_string(), record.set.at.seconds(), value.0);
                    *totals.entry(total).or_insert(0) += 1;
                }
            }
        }
        journal.advance(READER, self.done).unwrap();
        totals
    }

    fn expect(&mut self, sensor: &Sensor, time: i64, value: Value) {
        let value = match (value, sensor.recorded()) {
            (Value::Counter(value), Some(Recorded::Counter)) => value,
            (Value::Gauge(value), Some(Recorded::Gauge)) => value,
            _ => return,
        };
        self.series.entry(sensor.id).or_default().entry(time).or_insert(value);
    }

    /// Every history has what the journal had, in blocks and from the journal, each reading once.
    async fn compare(&self, history: &History) {
        for (sensor, expected) in &self.series {
            let expected: Vec<(i64, Milli)> =
                expected.iter().map(|(at, value)| (*at, *value)).collect();
            let points = within("a history with everything", async {
                loop {
                    let (history, sensor) = (history.clone(), *sensor);
                    let read = move || history.series(sensor, None, 0, i64::MAX / 2).unwrap();
                    // What waits in the journal is read again at the start: until that is through.
                    let points = tokio::task::spawn_blocking(read).await.unwrap().points;
                    if points.len() >= expected.len() {
                        break points;
                    }
                }
            });
            assert_eq!(points.await, expected, "sensor {sensor}");
        }
    }
}

/// The age that the oldest total had which is not in the journal. Only the end may be missing:
/// everything that was heard before the last one that is there is there as well.
fn oldest_missing(
    heard: &[(Total, Instant)],
    mut kept: HashMap<Total, usize>,
    killed: Instant,
) -> Option<Duration> {
    let mut is_kept = |total: &Total| match kept.get_mut(total) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    };
    let end = heard.iter().position(|(total, _)| !is_kept(total))?;
    let later = heard[end + 1..].iter().find(|(total, _)| is_kept(total));
    assert_eq!(later, None, "it is there, and {:?}, heard before it, is not", heard[end]);
    Some(killed.saturating_duration_since(heard[end].1))
}

fn check_file(site: &Site) {
    let file = rusqlite::Connection::open(database::file(&site.path().join("data"))).unwrap();
    let verdict: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_under_a_hundred_meters_loses_nothing_older_than_a_commit() {
    let rounds = std::env::var(ROUNDS_VARIABLE)
        .map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
    let port = free_port();
    let site = Site::new(&format!(
        "\n  - name: house\n    kind: brultech\n    link: {{listen: 127.0.0.1:{port}}}\n"
    ));
    drop(open(&site));
    let (stop, mut simulator) = (CancellationToken::new(), JoinSet::new());
    let (interval, format) = (Duration::from_secs(1), Format::Bin48NetTime);
    let simulation = Simulation { format, meters: METERS, interval, seed: 7 };
    let direction = Direction::Connect(format!("127.0.0.1:{port}"));
    simulator.spawn(run(simulation, direction, stop.clone()));

    let (mut found, mut compared, mut worst) = (Found::default(), 0, Duration::ZERO);
    for round in 0..rounds {
        let arguments = ["run", "--set", "homeassistant.discovery=none"];
        let process = Process::run(&site, &arguments).await;
        let mut listener = JoinSet::new();
        listener.spawn(listen(process.broker));
        // From the first readings to well within the load.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(300..3000))).await;
        let killed = Instant::now();
        process.kill().await;
        let heard = within("the end of the subscriber", listener.join_next()).await;
        let heard = heard.unwrap().unwrap();
        check_file(&site);
        compared += heard.len();
        let (journal, _) = open(&site);
        if let Some(age) = oldest_missing(&heard, found.take(&journal), killed) {
            assert!(age < BOUND, "round {round}: a reading {age:?} old is lost");
            worst = worst.max(age);
        }
    }
    stop.cancel();
    simulator.join_next().await.unwrap().unwrap().unwrap();
    let gateway = site.build().await.unwrap();
    let history = gateway.history().cloned().expect("histories are recorded");
    let gateway = Running::start(gateway);
    found.compare(&history).await;
    gateway.stop().await;
    assert!(compared > rounds * 1000, "there was a load: {compared}");
    println!(
        "{rounds} kills: {} sets with {} readings in the journal, none twice; {compared} totals \
         heard live, the oldest that is missing was {worst:?} old",
        found.sets.len(),
        found.readings
    );
}
