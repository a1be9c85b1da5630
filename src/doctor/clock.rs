//! The clock: readings are stamped with it, and certificates judged by it.

use std::path::Path;
use std::time::SystemTime;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil};

use super::Report;

pub(super) fn examine(data_dir: &Path, report: &mut Report) {
    let now = Timestamp::now();
    let shown = now.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let advice =
        "set it (`timedatectl set-ntp true`); a machine without a battery clock needs the network";
    if let Some(later) = last_written(data_dir).filter(|last| last.duration_since(now) > SLACK) {
        let words = format!("{shown}: it goes behind; the data directory was written at {later}");
        return report.problem("clock", words, advice);
    }
    if now < written() {
        let words = format!("{shown}: that is before this program was written");
        return report.problem("clock", words, advice);
    }
    match synchronised() {
        Some(by) => report.fine("clock", format!("{shown}, synchronised by {by}")),
        None => {
            let words = format!("{shown}; whether it is synchronised is not told here");
            report.note(
                "clock",
                words,
                "compare it with another; in a container the host keeps it",
            );
        }
    }
}

/// When the newest of the database's files was changed.
fn last_written(data_dir: &Path) -> Option<Timestamp> {
    let files = std::fs::read_dir(data_dir).ok()?.flatten();
    let times = files.filter_map(|file| file.metadata().ok()?.modified().ok());
    Timestamp::try_from(times.max().unwrap_or(SystemTime::UNIX_EPOCH)).ok()
}

/// The service that keeps the clock, as far as it leaves a trace.
fn synchronised() -> Option<&'static str> {
    [
        ("/run/systemd/timesync/synchronized", "systemd-timesyncd"),
        ("/run/chrony/chronyd.pid", "chrony"),
        ("/run/chronyd.pid", "chrony"),
        ("/run/ntpd.pid", "ntpd"),
    ]
    .into_iter()
    .find_map(|(trace, name)| Path::new(trace).exists().then_some(name))
}

/// No clock that is right shows an earlier time.
fn written() -> Timestamp {
    let date = civil::date(2026, 1, 1).to_zoned(TimeZone::UTC);
    date.map_or(Timestamp::UNIX_EPOCH, |date| date.timestamp())
}

const SLACK: SignedDuration = SignedDuration::from_secs(60);
