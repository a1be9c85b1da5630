//! Where samples go: files and their limits.

use std::time::Duration;

use super::Check;
use crate::config::meter::Meter;
use crate::config::size::ByteSize;
use crate::config::stream::{Over, Record, Stream};

impl Check<'_> {
    /// What an entry says of its recordings. Its relay is one of the listeners.
    pub(super) fn consumers(&mut self, key: &str, meter: &Meter) {
        let Some(stream) = &meter.stream else { return };
        if let Some(record) = &stream.record {
            self.record(&format!("{key}.stream.record"), stream, record);
        }
    }

    fn record(&mut self, key: &str, stream: &Stream, record: &Record) {
        if record.directory.as_os_str().is_empty() {
            self.report(
                &format!("{key}.directory"),
                "is empty: write a directory such as recordings, or one that begins with a slash",
            );
        }
        if record.rotate < SHORTEST {
            self.report(&format!("{key}.rotate"), "is too short: write at least 1s");
        }
        if record.rotate_size < SMALLEST {
            let message = format!("{} is too small: write at least {SMALLEST}", record.rotate_size);
            self.report(&format!("{key}.rotate_size"), message);
        }
        let size = format!("{key}.size");
        if record.size.0 > 0 && self.given(&size) {
            let largest = record.rotate_size.0.min(in_time(stream, record.rotate));
            if record.size.0 < 2 * largest {
                let message = format!(
                    "{} is less than two files may take, and the one that is written stays: write more, or a \
                     smaller rotate_size",
                    record.size
                );
                self.report(&size, message);
            }
        }
    }
}

/// What a file of this length takes at most: six channels of four bytes. A meter's own port has its own
/// rate.
fn in_time(stream: &Stream, rotate: Duration) -> u64 {
    let rate = if stream.over == Over::Port { 8000 } else { stream.rate };
    rotate.as_secs().saturating_mul(u64::from(rate)).saturating_mul(24)
}

const SHORTEST: Duration = Duration::from_secs(1);
/// Some seconds of three lines.
const SMALLEST: ByteSize = ByteSize(1_000_000);
