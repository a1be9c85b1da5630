//! The data directory and the disk under it.

use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat, statfs, statvfs};

use super::{Report, Running};
use crate::process::{self, Identity, Ownership};

pub(super) fn examine(data_dir: &Path, running: &Running, report: &mut Report) {
    let subject = format!("data_dir {}", data_dir.display());
    match running {
        Running::Process(holder) => report.fine("gateway", format!("runs already: {holder}")),
        Running::Hidden => {
            report.fine("gateway", "runs already, as another user than this one".to_owned());
        }
        Running::No => report.fine("gateway", "does not run with this data_dir".to_owned()),
    }
    // A directory that is not there yet is made in the nearest one that is.
    let Some(there) = data_dir.ancestors().map(or_here).find(|dir| dir.exists()) else { return };
    if !there.is_dir() {
        let advice = "move it away, or write another data_dir";
        return report.problem(&subject, format!("{} is a file", there.display()), advice);
    }
    if let Err(errno) = accessat(CWD, there, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
        let words = format!("{} is not writable ({errno}){}", there.display(), whose(there));
        return report.problem(&subject, words, fix(data_dir, there));
    }
    if there == or_here(data_dir) {
        database(data_dir, &subject, report);
    } else {
        report.fine(&subject, format!("is not there yet and will be made in {}", there.display()));
    }
    disk(there, &subject, report);
}

pub(super) fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

pub(super) fn whose(path: &Path) -> String {
    Ownership::of(path).map_or_else(
        |_| String::new(),
        |of| {
            format!(
                ": it belongs to user {}, group {}, mode {:o}, and this is user {}",
                process::user_name(of.user),
                process::group_name(of.group),
                of.mode,
                process::user_name(Identity::of_this_process().user)
            )
        },
    )
}

/// `there`: the directory itself or, where it is not there yet, the one that it would be made in,
/// which is not ours to give away.
fn fix(data_dir: &Path, there: &Path) -> String {
    let (user, dir) = (Identity::of_this_process().user, data_dir.display());
    if there == or_here(data_dir) {
        format!("chown -R {user} {dir} (as root), or write another data_dir")
    } else {
        format!("install -d -o {user} {dir} (as root), or write another data_dir")
    }
}

/// The database's files, whose names SQLite gives.
fn database(data_dir: &Path, subject: &str, report: &mut Report) {
    let size = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    let mut all = 0;
    let files = std::fs::read_dir(data_dir).into_iter().flatten().flatten();
    for path in files.map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.contains(".db") {
            continue;
        }
        all += size(&path);
        if accessat(CWD, &path, Access::READ_OK | Access::WRITE_OK, AtFlags::EACCESS).is_err() {
            let words = format!("{} cannot be read and written{}", path.display(), whose(&path));
            report.problem(subject, words, fix(data_dir, data_dir));
        }
        if name.ends_with("-wal") && size(&path) > LARGE_WAL {
            let words = format!("{name} has grown to {}", megabytes(size(&path)));
            let advice = "it is emptied into the database when nobody reads that for long: end other \
                          programs that have the database open, and restart the gateway";
            report.note(subject, words, advice);
        }
    }
    report.fine(subject, format!("is writable; the databases take {}", megabytes(all)));
}

fn disk(there: &Path, subject: &str, report: &mut Report) {
    let Ok(disk) = statvfs(there) else { return };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let words = format!("{} are free on its disk", megabytes(free));
    let advice = "make room, or write a data_dir on another disk";
    match free {
        _ if disk.f_files > 0 && disk.f_favail == 0 => {
            report.problem(subject, "its disk can hold no more files".to_owned(), advice);
        }
        0..SCARCE => report.problem(subject, words, advice),
        SCARCE..LITTLE => report.note(subject, words, advice),
        _ => report.fine(subject, words),
    }
    // The type is signed on some machines; its lower half is what the manual lists.
    let kind = statfs(there).map_or(0, |system| system.f_type as u64 & 0xFFFF_FFFF);
    if let Some((_, name)) = NETWORK_DRIVES.iter().find(|(known, _)| *known == kind) {
        let advice = "write a data_dir on a disk of this machine: locks and the write-ahead log of \
                      the databases do not work reliably over a network";
        report.problem(subject, format!("lies on a network drive ({name})"), advice);
    }
}

pub(super) fn megabytes(bytes: u64) -> String {
    if bytes < 10_000_000 {
        format!("{:.1} MB", bytes as f64 / 1e6)
    } else {
        format!("{} MB", bytes / 1_000_000)
    }
}

const LARGE_WAL: u64 = 64_000_000;
const SCARCE: u64 = 50_000_000;
const LITTLE: u64 = 500_000_000;
/// statfs(2).
const NETWORK_DRIVES: [(u64, &str); 4] =
    [(0x6969, "NFS"), (0xFF53_4D42, "CIFS"), (0xFE53_4D42, "SMB"), (0x517B, "SMB")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_directory_itself_is_given_to_the_user() {
        let data = Path::new("/data");
        assert!(fix(data, data).starts_with("chown -R"));
        let made = fix(data, Path::new("/"));
        assert!(made.starts_with("install -d") && !made.contains("chown"), "{made}");
        assert!(fix(Path::new("data"), Path::new(".")).starts_with("install -d"));
    }
}
