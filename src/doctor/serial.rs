//! Serial devices. None is opened: that could disturb whoever has it.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat, major, minor};

use super::{Report, Running};
use crate::config::Config;
use crate::config::link::Link;
use crate::process::{self, Identity, Ownership};
use crate::transport::{self, SerialError};

pub(super) fn examine(config: &Config, running: &Running, report: &mut Report) {
    let mut seen: Vec<&Path> = Vec::new();
    let mut devices: HashMap<PathBuf, String> = HashMap::new();
    for (at, meter) in config.meters.iter().enumerate() {
        let Link::Serial { device, .. } = &meter.link else { continue };
        if !seen.contains(&device.as_path()) {
            seen.push(device);
            let subject = format!("meters[{at}].link.serial {}", device.display());
            let known = line(&subject, device, running, report)
                .and_then(|device| devices.insert(device, subject.clone()));
            if let Some(first) = known {
                let words = format!("is the same port as {first}: only one of them can open it");
                report.problem(subject, words, "write the same path in both entries");
            }
        }
    }
}

/// Looks at one port; the device itself, where one was found.
fn line(subject: &str, path: &Path, running: &Running, report: &mut Report) -> Option<PathBuf> {
    let device = match transport::find_device(path) {
        Ok(device) => device,
        Err(error) => {
            let advice = match error {
                SerialError::Several { .. } => "write one of them under serial:",
                _ => "plug the adapter in, or correct the path; the gateway finds it when it comes",
            };
            report.problem(subject, error.to_string(), advice);
            return None;
        }
    };
    let metadata = match device.metadata() {
        Ok(metadata) => metadata,
        Err(error) => {
            unseen(subject, &device, &error, report);
            return None;
        }
    };
    if !metadata.file_type().is_char_device() || !is_terminal(metadata.rdev()) {
        let words = "is not a serial port".to_owned();
        report.problem(subject, words, "write one of those under /dev/serial/by-id");
        return None;
    }
    let target = std::fs::canonicalize(&device).ok();
    if is_empty_socket(metadata.rdev()) {
        let words = "there is no hardware behind it".to_owned();
        report.problem(subject, words, "write another port; `dmesg | grep tty` lists those found");
        return target;
    }
    if accessat(CWD, &device, Access::READ_OK | Access::WRITE_OK, AtFlags::EACCESS).is_err() {
        let words = Ownership::of(&device).map_or_else(
            |error| error.to_string(),
            |of| transport::explain_permission(&device, of, &Identity::of_this_process()),
        );
        report.problem(subject, words, "as it says; then start the gateway again");
        return target;
    }
    used(subject, &device, running, report);
    target
}

/// A device that the system does not show.
fn unseen(subject: &str, device: &Path, error: &std::io::Error, report: &mut Report) {
    if let Ok(leads) = std::fs::read_link(device)
        && error.kind() == ErrorKind::NotFound
    {
        let words = format!("leads to {}, which is not there", leads.display());
        return report.problem(subject, words, "plug the adapter in, or correct the path");
    }
    let advice = format!("`namei -l {}` shows what is in the way", device.display());
    report.problem(subject, format!("cannot be looked at: {error}"), advice);
}

fn used(subject: &str, device: &Path, running: &Running, report: &mut Report) {
    let (ours, others): (Vec<_>, Vec<_>) =
        process::rivals_for(device).into_iter().partition(|holder| running.is(holder));
    let to = match std::fs::canonicalize(device) {
        Ok(target) if target != device => format!(" ({})", target.display()),
        _ => String::new(),
    };
    if !others.is_empty() {
        let names: Vec<String> = others.iter().map(ToString::to_string).collect();
        let words = format!("is in use by {}{to}", names.join(", "));
        let advice = "stop that program: of two readers each gets a part of the bytes";
        return report.problem(subject, words, advice);
    }
    let state = if ours.is_empty() {
        "is there and may be used"
    } else {
        "the running gateway has it open"
    };
    report.fine(subject, format!("{state}{to}"));
}

/// Whether a character device is a terminal, without opening it: as the kernel sorts them, or the
/// near end of a pseudo-terminal, which it does not list.
fn is_terminal(device: u64) -> bool {
    let (major, minor) = (major(device), minor(device));
    let class = PathBuf::from(format!("/sys/dev/char/{major}:{minor}/subsystem"));
    match std::fs::canonicalize(&class) {
        Ok(class) => class.ends_with("tty"),
        // Without /sys nothing is known against it.
        Err(_) => PSEUDO.contains(&major) || !Path::new("/sys/dev/char").exists(),
    }
}

/// Whether it is one of the board's UARTs that the driver lists and has not found (`PORT_UNKNOWN`).
fn is_empty_socket(device: u64) -> bool {
    let kind = format!("/sys/dev/char/{}:{}/type", major(device), minor(device));
    std::fs::read_to_string(kind).is_ok_and(|kind| kind.trim() == "0")
}

/// Unix98 pseudo-terminals, Documentation/admin-guide/devices.txt of Linux.
const PSEUDO: std::ops::RangeInclusive<u32> = 136..=143;
