//! The directories that samples are written to, and the disks under them.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat, statvfs};

use super::Report;
use super::data_dir::{megabytes, or_here, whose};
use crate::config::Config;
use crate::config::size::ByteSize;

pub(super) fn examine(config: &Config, report: &mut Report) {
    let mut seen: Vec<PathBuf> = Vec::new();
    for (at, meter) in config.meters.iter().enumerate() {
        let Some(record) = meter.stream.as_ref().and_then(|stream| stream.record.as_ref()) else {
            continue;
        };
        let directory = config.data_dir.join(&record.directory);
        if !seen.contains(&directory) {
            let subject = format!("meters[{at}].stream.record.directory {}", directory.display());
            one(&subject, &directory, record.keep_free, report);
            seen.push(directory);
        }
    }
}

fn one(subject: &str, directory: &Path, keep_free: ByteSize, report: &mut Report) {
    // A directory that is not there yet is made in the nearest one that is.
    let Some(there) = directory.ancestors().map(or_here).find(|dir| dir.exists()) else { return };
    let advice =
        "write another stream.record.directory, or give this one to the user of the service";
    if !there.is_dir() {
        return report.problem(subject, format!("{} is a file", there.display()), advice);
    }
    if let Err(errno) = accessat(CWD, there, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
        let words = format!("{} is not writable ({errno}){}", there.display(), whose(there));
        return report.problem(subject, words, advice);
    }
    let Ok(disk) = statvfs(there) else { return };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let words = format!("is writable; {} are free on its disk", megabytes(free));
    if free < keep_free.0 {
        let words = format!("{words}, and {keep_free} are to stay free: nothing is recorded");
        report.problem(subject, words, "make room, or write a smaller stream.record.keep_free");
    } else {
        report.fine(subject, words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_too_full_and_a_file_in_the_way_are_problems() {
        let dir = tempfile::tempdir().unwrap();
        let found = |directory: &Path, keep_free: u64| {
            let mut report = Report::default();
            one("recordings", directory, ByteSize(keep_free), &mut report);
            report.to_string()
        };
        assert!(found(&dir.path().join("not/there"), 0).starts_with("ok"));
        assert!(found(dir.path(), 1 << 62).contains("nothing is recorded"));
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(found(&file, 0).contains("is a file"));
    }
}
