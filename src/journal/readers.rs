//! How far everybody is who reads the journal, for metrics and health.

use std::fmt::Write;
use std::sync::Arc;

use parking_lot::Mutex;

use super::cursors::Cursor;

/// The cursors as they were a moment ago; clones are the same list.
#[derive(Debug, Clone, Default)]
pub struct Readers(Arc<Mutex<Vec<Reader>>>);

/// One cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// Its name.
    pub name: String,
    /// Records that it has not done with.
    pub lag: u64,
    /// Records that were taken from it for the size limit.
    pub missed: u64,
}

impl Readers {
    /// All of them, by name.
    pub fn list(&self) -> Vec<Reader> {
        self.0.lock().clone()
    }

    pub(super) fn set(&self, cursors: &[Cursor], last: u64) {
        let reader = |cursor: &Cursor| Reader {
            name: cursor.name.clone(),
            lag: last.saturating_sub(cursor.done),
            missed: cursor.missed,
        };
        *self.0.lock() = cursors.iter().map(reader).collect();
    }

    /// Appends the numbers in Prometheus' text format.
    pub(crate) fn render(&self, out: &mut String) {
        let readers = self.list();
        if readers.is_empty() {
            return;
        }
        let mut series = |name: &str, kind: &str, help: &str, value: fn(&Reader) -> u64| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for reader in &readers {
                let _ = writeln!(out, "{name}{{cursor=\"{}\"}} {}", reader.name, value(reader));
            }
        };
        series(
            "meterbridge_journal_lag",
            "gauge",
            "Records that a reader of the journal has not done with.",
            |reader| reader.lag,
        );
        series(
            "meterbridge_journal_missed_total",
            "counter",
            "Records that a reader of the journal has missed, because they went for the size limit.",
            |reader| reader.missed,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn renders_a_line_for_each_cursor() {
        let readers = Readers::default();
        let mut text = String::new();
        readers.render(&mut text);
        assert_eq!(text, "");
        let cursor = |name: &str, done, missed| Cursor {
            name: name.into(),
            done,
            missed,
            used: Timestamp(0),
        };
        readers.set(&[cursor("history", 7, 0), cursor("influx", 2, 3)], 9);
        readers.render(&mut text);
        assert!(text.contains(
            "# TYPE meterbridge_journal_lag gauge\nmeterbridge_journal_lag{cursor=\"history\"} 2\n\
             meterbridge_journal_lag{cursor=\"influx\"} 7\n"
        ));
        assert!(text.contains("meterbridge_journal_missed_total{cursor=\"influx\"} 3\n"), "{text}");
    }
}
