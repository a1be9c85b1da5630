//! Which device file a configured path means at this moment.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::SerialError;

/// The device of a path: the path itself, or the one device that a pattern such as
/// `/dev/serial/by-id/usb-FTDI_*` fits.
///
/// # Errors
/// When there is no such device, or several fit.
pub fn find(path: &Path) -> Result<PathBuf, SerialError> {
    // A link that leads nowhere is opened all the same, and so is what cannot be looked at: the
    // system then says why.
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        _ => return Ok(path.to_owned()),
    }
    let missing = || SerialError::Missing { path: path.to_owned(), there: there() };
    if !is_pattern(path) {
        return Err(missing());
    }
    let mut found = matches(path).ok_or_else(missing)?;
    match found.len() {
        0 => Err(missing()),
        1 => Ok(found.remove(0)),
        _ => Err(SerialError::Several { pattern: path.to_owned(), found: listed(&found) }),
    }
}

/// Whether a path is a pattern for several.
pub(crate) fn is_pattern(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte))
}

/// What is wrong with the path of a device as such; `None`: nothing.
pub(crate) fn path_fault(path: &Path) -> Option<String> {
    if !path.is_absolute() {
        return Some(
            "is not the path of a device: write one such as /dev/serial/by-id/usb-…, or /dev/ttyUSB0"
                .to_owned(),
        );
    }
    let pattern = path.to_str().filter(|_| is_pattern(path))?;
    let error = glob::Pattern::new(pattern).err()?;
    Some(format!("is not a pattern (at character {}): {}", error.pos + 1, error.msg))
}

/// What a pattern fits, each device once; `None` where it is no pattern.
fn matches(pattern: &Path) -> Option<Vec<PathBuf>> {
    let paths = glob::glob(pattern.to_str()?).ok()?;
    // Several names under by-id may lead to one device.
    let mut devices = BTreeMap::new();
    for path in paths.flatten() {
        let device = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        devices.entry(device).or_insert(path);
    }
    Some(devices.into_values().collect())
}

/// The serial devices that this machine has, in words.
fn there() -> String {
    let names = ["/dev/serial/by-id/*", "/dev/ttyUSB*", "/dev/ttyACM*", "/dev/ttyAMA*"];
    let found =
        names.iter().find_map(|names| matches(Path::new(names)).filter(|found| !found.is_empty()));
    found.map_or_else(
        || {
            "no serial adapter is plugged in, or its driver is not loaded, or this container was \
             not given the device (--device)"
                .to_owned()
        },
        |found| format!("there is {}", listed(&found)),
    )
}

fn listed(paths: &[PathBuf]) -> String {
    const MOST: usize = 8;
    let mut text = paths
        .iter()
        .take(MOST)
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>()
        .join(", ");
    if paths.len() > MOST {
        text.push_str(&format!(" and {} more", paths.len() - MOST));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_pattern_means_the_one_device_it_fits() {
        let dir = tempfile::tempdir().unwrap();
        let pattern = dir.path().join("usb-FTDI_*");
        let [first, second] = ["usb-FTDI_A", "usb-FTDI_B"].map(|name| dir.path().join(name));
        assert!(matches!(find(&pattern), Err(SerialError::Missing { .. })));
        symlink("/dev/null", &first).unwrap();
        assert_eq!(find(&pattern).unwrap(), first);
        // Another name of the same device.
        symlink("/dev/null", dir.path().join("usb-FTDI_A-port0")).unwrap();
        assert_eq!(find(&pattern).unwrap(), first);
        symlink("/dev/zero", &second).unwrap();
        let refusal = find(&pattern).unwrap_err().to_string();
        for part in ["usb-FTDI_*", "fits several", "usb-FTDI_A", "usb-FTDI_B"] {
            assert!(refusal.contains(part), "{refusal}");
        }
        assert_eq!(find(&second).unwrap(), second);
    }

    #[test]
    fn paths_that_are_none() {
        assert_eq!(path_fault(Path::new("/dev/serial/by-id/usb-*")), None);
        assert!(path_fault(Path::new("ttyUSB0")).unwrap().contains("/dev/ttyUSB0"));
        assert!(path_fault(Path::new("")).is_some());
        assert!(path_fault(Path::new("/dev/tty[A")).unwrap().contains("not a pattern"));
    }

    #[test]
    fn a_device_that_is_not_there_is_told_with_those_that_are() {
        let refusal = find(Path::new("/dev/nowhere")).unwrap_err().to_string();
        assert!(refusal.starts_with("there is no /dev/nowhere: "), "{refusal}");
    }
}
