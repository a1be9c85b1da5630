//! Histories: what a reading takes on disk, how fast readings come in, and how long a day, a month
//! and a year take to be asked for, beside VictoriaMetrics with the same data where it is installed.
//!
//! `cargo bench --bench history [-- DAYS]` makes readings at 1 Hz for that many days (365) as a GEM's
//! channels have them, packs them into blocks of the highest level, takes these over, and asks.

mod history_load;
mod victoria;

use std::path::Path;
use std::time::{Duration, Instant};

use history_load::Kind;
use meter_protocols::flukso::tmpo::{self, Block, Point};
use meterbridge::history::{BlockKey, History, Settings};
use meterbridge::metrics::Metrics;
use meterbridge::model::SensorId;

/// The begin of a window of the highest level, in 2025.
const BEGIN: i64 = 1_736_441_856 - 1_736_441_856 % (1 << 20);
const DAY: i64 = 86_400;

fn main() {
    let days = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(365);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    ingest(&dir.path().join("ingest"));
    let dir = dir.path().join("year");
    let (history, _task) =
        History::open(&dir, Settings::default(), Metrics::default()).expect("a new history");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    println!("on disk, 14 days at 1 Hz, levels 8 and 20:");
    for kind in Kind::ALL {
        let points: Vec<Point> = kind.points(BEGIN, 14 * DAY).collect();
        let low = packed(&points, 8);
        let high = packed(&points, 20);
        println!("  {:<10} {low:.2} and {high:.2} bytes a reading", kind.name());
    }
    let sensor = SensorId::from([1; 16]);
    let readings = runtime.block_on(fill(&history, sensor, days));
    let size = file_size(&dir);
    println!(
        "{days} days of {}: {readings} readings, {:.1} MB in the file = {:.2} bytes a reading",
        Kind::Mains.name(),
        size as f64 / 1e6,
        size as f64 / readings as f64
    );
    let end = BEGIN + days * DAY;
    let asked = [
        ("a day by hour", end - 10 * DAY, DAY, 3600),
        ("a day by minute", end - 10 * DAY, DAY, 60),
        ("a month by hour", end - 40 * DAY, 30 * DAY, 3600),
        ("a month by day", end - 40 * DAY, 30 * DAY, DAY),
        ("the whole by hour", BEGIN, days * DAY, 3600),
        ("the whole by day", BEGIN, days * DAY, DAY),
    ];
    for (name, from, length, step) in asked {
        // Days begin at midnight.
        let from = from - from.rem_euclid(DAY);
        let bounds: Vec<i64> = (0..=length / step).map(|n| from + n * step).collect();
        let ask = || {
            let buckets = history.buckets(sensor, None, &bounds).expect("an answer");
            buckets.iter().filter(|bucket| bucket.end.is_some()).count()
        };
        let (count, best, median) = timed(ask);
        println!("  {name}: {count} spans, {best:.2?} at best, {median:.2?} in the middle");
    }
    let (count, best, median) = timed(|| {
        history.series(sensor, None, end - 10 * DAY, end - 9 * DAY).expect("a series").points.len()
    });
    println!("  a day, every reading: {count}, {best:.2?} at best, {median:.2?} in the middle");
    victoria::compare(BEGIN, days, &asked);
}

/// The shortest of eleven, and the one in the middle.
fn timed(ask: impl Fn() -> usize) -> (usize, Duration, Duration) {
    let mut count = 0;
    let mut times: Vec<Duration> = (0..11)
        .map(|_| {
            let begin = Instant::now();
            count = ask();
            begin.elapsed()
        })
        .collect();
    times.sort();
    (count, times[0], times[5])
}

/// Bytes a reading of these readings in blocks of a level.
fn packed(points: &[Point], level: u8) -> f64 {
    let blocks =
        points.chunk_by(|one, next| tmpo::window(level, one.at) == tmpo::window(level, next.at));
    // Of the small ones some hundred tell enough.
    let blocks = blocks.take(400).filter_map(|points| Block::new(SECTION, points.to_vec()));
    let (bytes, count) = blocks.fold((0, 0), |(bytes, count), block| {
        (bytes + block.gzip().len(), count + block.points().len())
    });
    bytes as f64 / count as f64
}

async fn fill(history: &History, sensor: SensorId, days: i64) -> usize {
    let mut count = 0;
    let mut points = Kind::Mains.points(BEGIN, days * DAY).peekable();
    while let Some(first) = points.peek() {
        let bid = tmpo::window(20, first.at);
        let mut window = Vec::new();
        while let Some(point) = points.next_if(|point| tmpo::window(20, point.at) == bid) {
            window.push(point);
        }
        count += window.len();
        let block = Block::new(SECTION, window).expect("readings of one window");
        let key = BlockKey { sensor, rid: 0, level: 20, bid };
        history.take_over(key, block.gzip()).await.expect("a good block");
    }
    count
}

/// Records of two hours of ten meters through the journal: closed, merged and written.
fn ingest(dir: &Path) {
    let (readings, seconds, bytes) = history_load::ingest(dir, 10, 7200);
    println!(
        "in: {readings} readings of 10 meters, 2 h at 1 Hz: {:.2} million readings/s, {:.2} bytes a reading in blocks",
        readings as f64 / seconds / 1e6,
        bytes as f64 / readings as f64
    );
}

fn file_size(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).expect("a directory");
    files.filter_map(|file| file.ok()?.metadata().ok()).map(|file| file.len()).sum()
}

const SECTION: &str = r#"{"id":"01010101010101010101010101010101","type":"electricity","subtype":"pplus","port":[1],"data_type":"counter","rid":0}"#;
