//! What Linux tells of processes under `/proc`: who this one is, and who holds a device or a port.
//!
//! Comfort for messages: where the system hides something or is another one, less is said. A user
//! other than root sees only processes of its own.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A process that has something open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name, as the system shortens it.
    pub name: String,
}

/// Whom this process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's number.
    pub user: u32,
    /// The numbers of its groups, each once.
    pub groups: Vec<u32>,
    /// Whether a container is around it.
    pub in_container: bool,
}

impl Holder {
    /// Whether it is this process.
    #[must_use]
    pub fn is_me(&self) -> bool {
        self.pid == std::process::id()
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

impl Identity {
    /// The identity of this process.
    #[must_use]
    pub fn of_this_process() -> Identity {
        let mut groups = vec![rustix::process::getegid().as_raw()];
        let more = rustix::process::getgroups().unwrap_or_default();
        groups.extend(more.into_iter().map(rustix::process::Gid::as_raw));
        groups.sort_unstable();
        groups.dedup();
        let marks = ["/.dockerenv", "/run/.containerenv"];
        let in_container = marks.iter().any(|mark| Path::new(mark).exists());
        Identity { user: rustix::process::geteuid().as_raw(), groups, in_container }
    }
}

/// The name of a user, or its number where it has none.
#[must_use]
pub fn user_name(user: u32) -> String {
    name_in(Path::new("/etc/passwd"), user)
}

/// The name of a group, or its number where it has none.
#[must_use]
pub fn group_name(group: u32) -> String {
    name_in(Path::new("/etc/group"), group)
}

/// Both files have a line `name:password:number:…` for each.
fn name_in(file: &Path, number: u32) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let name = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, found) = (fields.next()?, fields.next()?, fields.next()?);
        (found.parse() == Ok(number)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| number.to_string())
}

/// Which processes have a file open, in the order of their numbers. `file` is followed where it
/// is a link.
#[must_use]
pub fn holders_of(file: &Path) -> Vec<Holder> {
    let Ok(file) = std::fs::canonicalize(file) else { return Vec::new() };
    holders(|target| target == file)
}

/// Which processes listen on a port at an address, or at every address.
#[must_use]
pub fn listeners_at(address: SocketAddr) -> Vec<Holder> {
    let inodes: Vec<PathBuf> = ["tcp", "tcp6"]
        .iter()
        .flat_map(|table| listening(table, address.port()))
        .map(|inode| PathBuf::from(format!("socket:[{inode}]")))
        .collect();
    if inodes.is_empty() {
        Vec::new()
    } else {
        holders(|target| inodes.iter().any(|one| one == target))
    }
}

/// The sockets of a table under `/proc/net` that listen on a port.
fn listening(table: &str, port: u16) -> Vec<u64> {
    let text = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
    text.lines().skip(1).filter_map(|line| listening_socket(line, port)).collect()
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode`, proc(5).
fn listening_socket(line: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (_, local) = fields.get(1)?.rsplit_once(':')?;
    let fits = u16::from_str_radix(local, 16) == Ok(port) && *fields.get(3)? == LISTEN;
    if fits { fields.get(9)?.parse().ok() } else { None }
}

fn holders(fits: impl Fn(&Path) -> bool) -> Vec<Holder> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut found: Vec<Holder> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| has_open(*pid, &fits))
        .map(|pid| Holder { pid, name: name_of(pid) })
        .collect();
    found.sort_by_key(|holder| holder.pid);
    found
}

fn has_open(pid: u32, fits: impl Fn(&Path) -> bool) -> bool {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    entries.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| fits(&to)))
}

fn name_of(pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    // A process may name itself as it likes: nothing of that moves a terminal's cursor.
    name.trim().chars().filter(|c| !c.is_control()).collect()
}

/// Owner, group and permission bits of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// The owner's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
    /// The permission bits, such as `0o660`.
    pub mode: u32,
}

impl Ownership {
    /// That of a file, or of what a link leads to.
    ///
    /// # Errors
    /// The system's, where it does not tell.
    pub fn of(file: &Path) -> std::io::Result<Ownership> {
        let metadata = std::fs::metadata(file)?;
        let mode = metadata.mode() & 0o7777;
        Ok(Ownership { user: metadata.uid(), group: metadata.gid(), mode })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_file_or_a_port_open_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("held");
        assert_eq!(holders_of(&path), []);
        let file = std::fs::File::create(&path).unwrap();
        assert!(holders_of(&path)[0].is_me());
        drop(file);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holders = listeners_at(listener.local_addr().unwrap());
        assert!(holders.len() == 1 && holders[0].is_me(), "{holders:?}");
        assert!(!holders[0].name.is_empty());
    }

    #[test]
    fn a_line_of_the_socket_table() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 26434 1 0 100 0 0 10 0";
        assert_eq!(listening_socket(line, 8080), Some(26434));
        assert_eq!(listening_socket(line, 8081), None);
        assert_eq!(listening_socket(&line.replace(" 0A ", " 01 "), 8080), None);
        assert_eq!(listening_socket("", 8080), None);
    }

    #[test]
    fn numbers_without_a_name_stay_numbers() {
        assert_eq!((user_name(0), group_name(0)), ("root".to_owned(), "root".to_owned()));
        assert_eq!(user_name(4_000_000_000), "4000000000");
    }
}
