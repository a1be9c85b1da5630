//! The journal through its two sides.

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::keeper::Entry;
use super::*;
use crate::bus::Queue;
use crate::command::directory::tests::device;
use crate::model::{Milli, Reading, Timestamp, Update, Value};

/// A set that is told from others by its number.
fn set(device: &Arc<Device>, n: i64) -> Arc<ReadingSet> {
    let readings = vec![
        Reading { sensor: 0, value: Value::Counter(Milli(n)) },
        Reading { sensor: 0, value: Value::Gauge(Milli(-n)) },
    ];
    let pulses = [None, Some(7), None, None];
    Arc::new(ReadingSet { device: Arc::clone(device), at: Timestamp(n), pulses, readings })
}

fn house() -> Arc<Device> {
    Arc::new(device("house"))
}

struct Site {
    dir: TempDir,
    settings: Settings,
    metrics: Metrics,
}

impl Site {
    fn new() -> Site {
        let (dir, settings) = (tempfile::tempdir().unwrap(), Settings::default());
        Site { dir, settings, metrics: Metrics::default() }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn open(&self) -> (Journal, Writer) {
        Journal::open(self.path(), self.settings, self.metrics.clone()).unwrap()
    }

    /// Commits the sets `numbers`, live ones.
    fn write(&self, writer: &mut Writer, numbers: std::ops::RangeInclusive<i64>) -> u64 {
        let house = house();
        let entries: Vec<Entry> =
            numbers.map(|n| Entry { live: true, set: set(&house, n) }).collect();
        writer.keeper().write(&entries).unwrap()
    }

    fn change(&self, statements: &str) {
        let file = Connection::open(database::file(self.path())).unwrap();
        file.execute_batch(statements).unwrap();
    }

    fn count(&self, table: &str) -> i64 {
        let file = Connection::open(database::file(self.path())).unwrap();
        file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }
}

fn numbers(records: &[Record]) -> Vec<(u64, i64)> {
    records.iter().map(|record| (record.seq, record.set.at.0)).collect()
}

#[tokio::test]
async fn what_comes_by_the_bus_is_read_in_order_and_equal() {
    let site = Site::new();
    let (journal, writer) = site.open();
    assert_eq!(journal.cursor("reader").unwrap(), 0);
    let queue = queue(&site.metrics);
    let (house, barn) = (house(), Arc::new(device("barn")));
    let sets = [set(&house, 1), set(&barn, 2), set(&house, 3)];
    queue.push_now(Update::Readings(Arc::clone(&sets[0])));
    queue.push_now(Update::Availability { name: "house".into(), online: true });
    queue.push_now(Update::Backlog(Arc::clone(&sets[1])));
    queue.push_now(Update::Readings(Arc::clone(&sets[2])));
    queue.close();
    let mut committed = journal.committed();
    writer.run(queue).await.unwrap();
    assert_eq!(*committed.borrow_and_update(), 3);
    assert!(committed.changed().await.is_err(), "the journal is complete");

    let (again, _writer) = site.open();
    for journal in [journal, again] {
        let records = journal.read(0, 10).unwrap();
        assert_eq!(
            records.iter().map(|record| record.live).collect::<Vec<_>>(),
            [true, false, true]
        );
        for (record, set) in records.iter().zip(&sets) {
            assert_eq!(record.set, *set);
        }
        assert_eq!(numbers(&journal.read(1, 1).unwrap()), [(2, 2)]);
        assert_eq!(journal.read(3, 10).unwrap(), []);
    }
}

#[test]
fn a_cursor_goes_on_where_it_was_and_a_new_one_begins_at_the_end() {
    let site = Site::new();
    let (journal, mut writer) = site.open();
    journal.cursor("reader").unwrap();
    site.write(&mut writer, 1..=5);
    journal.advance("reader", 3).unwrap();
    journal.advance("reader", 2).unwrap();
    assert!(matches!(journal.advance("nobody", 1), Err(JournalError::NoCursor { .. })));
    drop(writer);
    let (journal, mut writer) = site.open();
    assert_eq!(*journal.committed().borrow(), 5);
    assert_eq!((journal.cursor("reader").unwrap(), journal.cursor("late").unwrap()), (3, 5));
    assert_eq!(site.write(&mut writer, 6..=6), 6);
}

#[test]
fn records_go_when_all_have_passed_them_and_numbers_are_not_given_twice() {
    let site = Site::new();
    let (journal, mut writer) = site.open();
    journal.cursor("one").unwrap();
    journal.cursor("other").unwrap();
    site.write(&mut writer, 1..=5000);
    journal.advance("one", 5000).unwrap();
    journal.advance("other", 2500).unwrap();
    writer.keeper().tidy(Timestamp::now()).unwrap();
    assert_eq!(numbers(&journal.read(0, 1).unwrap()), [(2501, 2501)]);
    assert_eq!(site.metrics.journal_needed.get(), 2501);
    journal.advance("other", 5000).unwrap();
    writer.keeper().tidy(Timestamp::now()).unwrap();
    assert_eq!((site.count("journal"), site.metrics.journal_bytes.get()), (0, 0));
    drop(writer);
    let (_, mut writer) = site.open();
    assert_eq!(site.write(&mut writer, 1..=1), 5001);
}

#[test]
fn what_is_there_is_known_after_a_crash() {
    let site = Site::new();
    let (journal, mut writer) = site.open();
    journal.cursor("reader").unwrap();
    for n in 0..30 {
        site.write(&mut writer, n * 1000 + 1..=(n + 1) * 1000);
    }
    journal.advance("reader", 1234).unwrap();
    for numbers in [30_001..=30_001, 30_002..=55_000, 55_001..=55_002] {
        writer.keeper().tidy(Timestamp::now()).unwrap();
        site.write(&mut writer, numbers);
        let extent = writer.keeper().extent;
        assert_eq!((extent.first, extent.rows()), (1235, site.count("journal").unsigned_abs()));
        assert_eq!(site.open().1.keeper().extent, extent);
    }
}

#[test]
fn above_its_size_the_oldest_go_and_whoever_needed_them_is_told_how_many() {
    let mut site = Site::new();
    site.settings.size = 1_000_000;
    let (journal, mut writer) = site.open();
    journal.cursor("slow").unwrap();
    journal.cursor("quick").unwrap();
    for n in 0..40 {
        site.write(&mut writer, n * 1000 + 1..=(n + 1) * 1000);
    }
    journal.advance("quick", 40_000).unwrap();
    let before = site.metrics.journal_bytes.get();
    assert!(before > 1_000_000, "{before}");
    while writer.keeper().tidy(Timestamp::now()).unwrap() {}
    assert!(site.metrics.journal_bytes.get() <= 1_000_000);
    let first = journal.read(0, 1).unwrap()[0].seq;
    let list = site.metrics.readers.list();
    let slow = Reader { name: "slow".into(), lag: 40_000 - (first - 1), missed: first - 1 };
    let quick = Reader { name: "quick".into(), lag: 0, missed: 0 };
    assert_eq!(list, [quick, slow]);
    assert_eq!(site.metrics.journal_cut.get(), first - 1);
    assert_eq!(journal.cursor("slow").unwrap(), first - 1);
}

#[test]
fn after_an_outage_of_a_reader_the_file_gives_back_what_it_took() {
    let site = Site::new();
    let (journal, mut writer) = site.open();
    journal.cursor("reader").unwrap();
    let device = house();
    let readings = (0..300).map(|sensor| Reading { sensor, value: Value::Gauge(Milli(1 << 40)) });
    let readings: Vec<Reading> = readings.collect();
    let said = ReadingSet { device, at: Timestamp(1), pulses: [None; 4], readings };
    let group = vec![Entry { live: true, set: Arc::new(said) }; 1000];
    for _ in 0..16 {
        writer.keeper().write(&group).unwrap();
    }
    let pages = |writer: &mut Writer, what: &str| {
        let connection = &writer.keeper().connection;
        connection.query_row(&format!("PRAGMA {what}"), [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let before = pages(&mut writer, "page_count");
    assert!(before > 6000, "{before} pages");
    journal.advance("reader", 16_000).unwrap();
    while writer.keeper().tidy(Timestamp::now()).unwrap() {}
    let after = pages(&mut writer, "page_count");
    assert!(after < 4200, "{before} pages before, {after} after");
}

#[test]
fn a_cursor_that_nobody_asks_for_is_let_go_after_a_day() {
    let site = Site::new();
    let (journal, mut writer) = site.open();
    journal.cursor("gone").unwrap();
    site.write(&mut writer, 1..=10);
    drop((journal, writer));
    let (journal, mut writer) = site.open();
    journal.cursor("reader").unwrap();
    let hours = |hours: i64| Timestamp(Timestamp::now().0 + hours * 3_600_000);
    writer.keeper().tidy(hours(23)).unwrap();
    assert_eq!((site.count("journal"), site.count("journal_cursor")), (10, 2));
    writer.keeper().tidy(hours(25)).unwrap();
    assert_eq!((site.count("journal"), site.count("journal_cursor")), (0, 1));
}

#[test]
fn without_a_reader_nothing_is_written() {
    let site = Site::new();
    let (journal, mut writer) = site.open();
    writer.keeper().tidy(Timestamp::now()).unwrap();
    let queue = queue(&site.metrics);
    queue.push_now(Update::Readings(set(&house(), 1)));
    queue.close();
    run(writer, queue);
    assert_eq!(*journal.committed().borrow(), 0);
    assert_eq!(site.metrics.journal_lost.get(), 0);
}

#[test]
fn a_description_goes_with_the_last_record_it_belongs_to() {
    let site = Site::new();
    let (journal, mut writer) = site.open();
    journal.cursor("reader").unwrap();
    let (before, after) = (house(), Arc::new(Device { new: true, ..device("house") }));
    let entry = |device, n| Entry { live: true, set: set(device, n) };
    let entries = [entry(&before, 1), entry(&after, 2), entry(&before, 3), entry(&after, 4)];
    writer.keeper().write(&entries).unwrap();
    assert_eq!(site.count("journal_device"), 2);
    drop((journal, writer));
    let (journal, mut writer) = site.open();
    journal.cursor("reader").unwrap();
    let told: Vec<bool> =
        journal.read(0, 9).unwrap().iter().map(|record| record.set.device.new).collect();
    assert_eq!(told, [false, true, false, true]);
    writer.keeper().write(&[entry(&after, 5)]).unwrap();
    journal.advance("reader", 4).unwrap();
    writer.keeper().tidy(Timestamp::now()).unwrap();
    assert_eq!(site.count("journal_device"), 1);
    assert!(journal.read(4, 9).unwrap()[0].set.device.new);
}

#[test]
fn a_record_that_cannot_be_read_is_passed_over_and_counted() {
    let site = Site::new();
    let (journal, mut writer) = site.open();
    journal.cursor("reader").unwrap();
    site.write(&mut writer, 1..=4);
    site.change(
        "UPDATE journal SET body = x'ff' WHERE seq = 1; UPDATE journal SET device = 77 WHERE seq = 2;
         UPDATE journal SET body = 'text' WHERE seq = 3",
    );
    assert_eq!(numbers(&journal.read(0, 1).unwrap()), [(4, 4)]);
    assert_eq!(site.metrics.journal_unreadable.get(), 3);
}

#[test]
fn a_damaged_file_and_a_newer_one_are_refused_with_what_to_do() {
    let site = Site::new();
    drop(site.open());
    site.change("PRAGMA user_version = 99");
    let refusal = |site: &Site| {
        let opened = Journal::open(site.path(), site.settings, Metrics::default());
        opened.map(drop).unwrap_err().to_string()
    };
    let newer = refusal(&site);
    assert!(newer.contains("schema version 99"), "{newer}");
    std::fs::write(database::file(site.path()), vec![7; 8192]).unwrap();
    let damaged = refusal(&site);
    assert!(damaged.contains("damaged") && damaged.contains(".recover"), "{damaged}");
}

fn run(writer: Writer, queue: Arc<Queue<Update>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(writer.run(queue)).unwrap();
}

#[test]
fn what_the_disk_does_not_take_is_tried_again_and_what_is_left_at_the_end_is_counted() {
    let site = Site::new();
    let (journal, writer) = site.open();
    journal.cursor("reader").unwrap();
    site.change("ALTER TABLE journal RENAME TO away");
    let queue = queue(&site.metrics);
    queue.push_now(Update::Readings(set(&house(), 1)));
    queue.close();
    run(writer, queue);
    assert_eq!((site.metrics.journal_lost.get(), site.metrics.journal_failures.get()), (1, 2));
    site.change("ALTER TABLE away RENAME TO journal");
    let (journal, mut writer) = site.open();
    assert_eq!(site.write(&mut writer, 2..=2), 1);
    assert_eq!(numbers(&journal.read(0, 9).unwrap()), [(1, 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_for_a_while_costs_nothing() {
    let site = Site::new();
    let (journal, writer) = site.open();
    journal.cursor("reader").unwrap();
    site.change("ALTER TABLE journal RENAME TO away");
    let queue = queue(&site.metrics);
    let house = house();
    let mut committed = journal.committed();
    let script = async {
        for n in 1..=3000 {
            queue.push(Update::Readings(set(&house, n))).await;
        }
        while site.metrics.journal_failures.get() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        site.change("ALTER TABLE away RENAME TO journal");
        committed.wait_for(|last| *last == 3000).await.unwrap();
        queue.close();
    };
    let (outcome, ()) = tokio::join!(writer.run(Arc::clone(&queue)), script);
    outcome.unwrap();
    assert_eq!(site.metrics.journal_lost.get(), 0);
    let expected: Vec<(u64, i64)> = (1..=3000_i64).map(|n| (n.unsigned_abs(), n)).collect();
    assert_eq!(numbers(&journal.read(0, 5000).unwrap()), expected);
}

#[tokio::test]
async fn what_does_not_fit_while_a_disk_hangs_is_lost_and_counted_and_nothing_else() {
    let site = Site::new();
    let (journal, writer) = site.open();
    journal.cursor("reader").unwrap();
    let holder = Connection::open(database::file(site.path())).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (queue, house) = (queue(&site.metrics), house());
    let mut pushed = 0;
    let script = async {
        while site.metrics.journal_lost.get() < 100 {
            pushed += 1;
            queue.push_now(Update::Readings(set(&house, pushed)));
            if pushed % 500 == 0 {
                tokio::task::yield_now().await;
            }
        }
        holder.execute_batch("ROLLBACK").unwrap();
        queue.close();
    };
    let (outcome, ()) = tokio::join!(writer.run(Arc::clone(&queue)), script);
    outcome.unwrap();
    let records = journal.read(0, usize::MAX).unwrap();
    assert_eq!(records.len() as u64 + site.metrics.journal_lost.get(), pushed.unsigned_abs());
    assert!(records.windows(2).all(|pair| pair[0].set.at < pair[1].set.at));
    assert_eq!(records.last().unwrap().set.at.0, pushed);
}

#[tokio::test(start_paused = true)]
async fn a_group_waits_a_little_and_one_that_is_always_safe_does_not_wait() {
    for (commit, waited, synchronous) in [(Commit::Group, 300, 1), (Commit::Always, 0, 2)] {
        let mut site = Site::new();
        site.settings.commit = commit;
        let (journal, mut writer) = site.open();
        journal.cursor("reader").unwrap();
        let connection = &writer.keeper().connection;
        let kept = connection.query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0));
        assert_eq!(kept.unwrap(), synchronous);
        let (queue, house) = (queue(&site.metrics), house());
        for n in 1..=9 {
            queue.push_now(Update::Readings(set(&house, n)));
        }
        let (begin, mut committed) = (tokio::time::Instant::now(), journal.committed());
        let script = async {
            committed.wait_for(|last| *last == 9).await.unwrap();
            // Timers are good to a millisecond.
            let late = begin.elapsed().as_millis() as u64;
            assert!((waited..=waited + 2).contains(&late), "{late}");
            queue.close();
        };
        let (outcome, ()) = tokio::join!(writer.run(Arc::clone(&queue)), script);
        outcome.unwrap();
        assert_eq!(site.metrics.journal_commits.get(), 1);
    }
}

#[test]
fn a_fluksometer_and_its_documents_read_back_equal() {
    let own = crate::model::OwnDocuments {
        on_our_broker: true,
        sensor: "{\"1\":{}}".into(),
        flx: "{}".into(),
        kube: "".into(),
        tap: "x\ny".into(),
    };
    let mut device = device("kel\u{e9}r \"7\"");
    device.make = crate::model::Make::Fluksometer;
    device.own = Some(Arc::new(own));
    device.sensors[0].channel = crate::model::Channel::Kube(3);
    device.sensors[1].own = Some(Arc::new(crate::model::OwnSection {
        rid: 7,
        record: Some(crate::model::Recorded::Gauge),
        text: "{\"id\":1}".into(),
    }));
    let site = Site::new();
    let (journal, mut writer) = site.open();
    journal.cursor("reader").unwrap();
    let said = set(&Arc::new(device), 1);
    writer.keeper().write(&[Entry { live: false, set: Arc::clone(&said) }]).unwrap();
    drop((journal, writer));
    let (journal, _writer) = site.open();
    assert_eq!(journal.read(0, 1).unwrap(), [Record { seq: 1, live: false, set: said }]);
}

#[test]
fn a_full_queue_counts_sets_and_nothing_else() {
    let metrics = Metrics::default();
    let queue = queue(&metrics);
    queue.push_now(Update::Availability { name: "house".into(), online: true });
    let house = house();
    for n in 0..16_384 {
        queue.push_now(Update::Readings(set(&house, n)));
    }
    assert_eq!(metrics.journal_lost.get(), 0);
    queue.push_now(Update::Backlog(set(&house, 0)));
    assert_eq!(metrics.journal_lost.get(), 1);
}
