//! What Linux tells of processes under `/proc`: who this one is, and who holds a device or a port.
//!
//! Comfort for messages: where the system hides something or is another one, less is said. A user
//! other than root sees only processes of its own.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
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

/// Which processes compete for a terminal: those that have it open, less whoever has the far end of
/// a pseudo-terminal too, as a program may that plays the device.
#[must_use]
pub fn rivals_for(terminal: &Path) -> Vec<Holder> {
    let mut holders = holders_of(terminal);
    if let Some(number) = pseudo_terminal(terminal) {
        holders.retain(|holder| !has_far_end(holder.pid, number));
    }
    holders
}

/// The `7` of `/dev/pts/7`.
fn pseudo_terminal(terminal: &Path) -> Option<u32> {
    let device = std::fs::canonicalize(terminal).ok()?;
    device.strip_prefix("/dev/pts").ok()?.to_str()?.parse().ok()
}

/// Linux tells in `fdinfo` of each `ptmx` which pseudo-terminal it is the far end of.
fn has_far_end(pid: u32, number: u32) -> bool {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let leads_to_it = |entry: std::fs::DirEntry| {
        let to = std::fs::read_link(entry.path()).ok()?;
        let told = PathBuf::from(format!("/proc/{pid}/fdinfo")).join(entry.file_name());
        let told = to.ends_with("ptmx").then(|| std::fs::read_to_string(told).ok()).flatten()?;
        let found = told.lines().find_map(|line| line.strip_prefix("tty-index:"))?;
        Some(found.trim().parse() == Ok(number))
    };
    entries.flatten().any(|entry| leads_to_it(entry) == Some(true))
}

/// Which processes listen on a port, at whatever address.
#[must_use]
pub fn listeners_on(port: u16) -> Vec<Holder> {
    socket_holders(|socket| socket.state == LISTENS && socket.local_port == port)
}

/// Which processes have a connection to an address.
#[must_use]
pub fn connected_to(address: SocketAddr) -> Vec<Holder> {
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    socket_holders(|socket| socket.state == ESTABLISHED && socket.remote == address)
}

fn socket_holders(fits: impl Fn(&Socket) -> bool) -> Vec<Holder> {
    let inodes: Vec<PathBuf> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .map(|table| std::fs::read_to_string(table).unwrap_or_default())
        .flat_map(|table| table.lines().filter_map(Socket::read).collect::<Vec<_>>())
        .filter(|socket| fits(socket))
        .map(|socket| PathBuf::from(format!("socket:[{}]", socket.inode)))
        .collect();
    if inodes.is_empty() { Vec::new() } else { holders(|to| inodes.iter().any(|one| one == to)) }
}

/// A line of `/proc/net/tcp` or `tcp6`.
#[derive(Debug, PartialEq, Eq)]
struct Socket {
    local_port: u16,
    remote: SocketAddr,
    state: u8,
    inode: u64,
}

const ESTABLISHED: u8 = 0x01;
const LISTENS: u8 = 0x0A;

impl Socket {
    /// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode`, proc(5).
    fn read(line: &str) -> Option<Socket> {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        Some(Socket {
            local_port: socket_address(fields.get(1)?)?.port(),
            remote: socket_address(fields.get(2)?)?,
            state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
            inode: fields.get(9)?.parse().ok()?,
        })
    }
}

/// Words of 32 bits in the byte order of the machine, then the port.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| {
        let word = ip.get(8 * at..8 * at + 8)?;
        Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
    };
    let ip: IpAddr = if ip.len() == 8 {
        word(0)?.into()
    } else {
        let bytes = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
        IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
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
        let address = listener.local_addr().unwrap();
        assert_eq!(connected_to(address), []);
        let holders = listeners_on(address.port());
        assert!(holders.len() == 1 && holders[0].is_me(), "{holders:?}");
        assert!(!holders[0].name.is_empty());
        let _connection = std::net::TcpStream::connect(address).unwrap();
        assert!(connected_to(address)[0].is_me());
    }

    #[test]
    fn whoever_plays_the_device_is_no_rival() {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let far = openpt(flags).unwrap();
        grantpt(&far).unwrap();
        unlockpt(&far).unwrap();
        let name = ptsname(&far, Vec::new()).unwrap().into_string().unwrap();
        let near = std::fs::File::open(&name).unwrap();
        assert!(holders_of(Path::new(&name))[0].is_me());
        assert_eq!(rivals_for(Path::new(&name)), []);
        drop(far);
        assert!(holders_of(Path::new(&name)).is_empty(), "the name is gone with the far end");
        drop(near);
        assert_eq!(pseudo_terminal(Path::new("/dev/null")), None);
    }

    #[test]
    fn a_line_of_the_socket_table() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 26434 1 0 100 0 0 10 0";
        let socket = Socket::read(line).unwrap();
        assert_eq!((socket.local_port, socket.state, socket.inode), (8080, LISTENS, 26434));
        assert_eq!(Socket::read("  sl  local_address rem_address   st tx_queue"), None);
        assert_eq!(Socket::read(""), None);
        #[cfg(target_endian = "little")]
        for (text, address) in [
            ("0100007F:1F90", "127.0.0.1:8080"),
            ("0000000000000000FFFF00000100007F:1F90", "127.0.0.1:8080"),
            ("00000000000000000000000001000000:1F90", "[::1]:8080"),
        ] {
            assert_eq!(socket_address(text), Some(address.parse().unwrap()));
        }
    }

    #[test]
    fn numbers_without_a_name_stay_numbers() {
        assert_eq!((user_name(0), group_name(0)), ("root".to_owned(), "root".to_owned()));
        assert_eq!(user_name(4_000_000_000), "4000000000");
    }
}
