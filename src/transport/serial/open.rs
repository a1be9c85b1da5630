//! Opening a serial port, and saying in words why it does not open.

use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tokio_serial::{
    DataBits, ErrorKind, FlowControl, Parity, SerialPort, SerialPortBuilder, SerialStream, StopBits,
};

use super::{Framing, SerialError, SerialLine, device, permission};
use crate::process::{self, Holder, Identity, Ownership};

/// A port that is open, under the name it has now, and who else has it open.
pub(super) struct Opened {
    pub(super) stream: SerialStream,
    pub(super) device: PathBuf,
    pub(super) others: Vec<Holder>,
}

/// Finds the device and opens it for this process alone: the line's framing, one stop bit, no flow
/// control. May block for a moment. To be called within a runtime.
pub(super) fn open(line: &SerialLine) -> Result<Opened, SerialError> {
    let device = device::find(&line.device)?;
    let Some(name) = device.to_str() else {
        return Err(failed(&device, "its name is not UTF-8"));
    };
    let builder = settings(name, line);
    let stream =
        SerialStream::open(&builder).map_err(|error| explain(&device, line.baud, &error))?;
    // A driver takes the nearest speed that its hardware has, and says which.
    if let Ok(set) = stream.baud_rate()
        && set.abs_diff(line.baud) > line.baud / TOLERANCE
    {
        return Err(SerialError::Baud { device, baud: line.baud, set: Some(set) });
    }
    let mut others = process::rivals_for(&device);
    others.retain(|holder| !holder.is_me());
    Ok(Opened { stream, device, others })
}

fn settings(name: &str, line: &SerialLine) -> SerialPortBuilder {
    let (bits, parity) = match line.framing {
        Framing::EightNone => (DataBits::Eight, Parity::None),
        Framing::SevenEven => (DataBits::Seven, Parity::Even),
    };
    tokio_serial::new(name, line.baud)
        .data_bits(bits)
        .parity(parity)
        .stop_bits(StopBits::One)
        .flow_control(FlowControl::None)
        .exclusive(true)
}

/// The library's errors are few: the system is asked again for what they leave out.
fn explain(device: &Path, baud: u32, error: &tokio_serial::Error) -> SerialError {
    if error.kind() == ErrorKind::NoDevice {
        return in_use(device);
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(device, flags, Mode::empty()) {
        Ok(file) => file,
        Err(errno) => return explain_errno(device, errno),
    };
    match rustix::termios::tcgetattr(&file) {
        // One of the board's UARTs that the driver lists and has not found.
        Err(Errno::IO) => no_hardware(device),
        Err(_) => SerialError::NotSerial { device: device.to_owned() },
        Ok(_) if error.description == Errno::INVAL.to_string() => {
            SerialError::Baud { device: device.to_owned(), baud, set: None }
        }
        Ok(_) => failed(device, &error.to_string()),
    }
}

fn explain_errno(device: &Path, errno: Errno) -> SerialError {
    match errno {
        Errno::ACCESS | Errno::PERM => match Ownership::of(device) {
            Ok(ownership) => SerialError::Permission {
                words: permission::explain(device, ownership, &Identity::of_this_process()),
            },
            Err(_) => failed(device, ON_THE_WAY),
        },
        Errno::BUSY => in_use(device),
        Errno::NOENT => match std::fs::read_link(device) {
            Ok(target) => {
                failed(device, &format!("it leads to {}, which is not there", target.display()))
            }
            Err(_) => failed(device, "it is not there any more"),
        },
        Errno::ISDIR => SerialError::NotSerial { device: device.to_owned() },
        Errno::NXIO | Errno::NODEV => no_hardware(device),
        other => failed(device, &std::io::Error::from(other).to_string()),
    }
}

fn in_use(device: &Path) -> SerialError {
    // With the far end of a pseudo-terminal in the same process as the near one, all are named.
    let rivals = Some(process::rivals_for(device)).filter(|rivals| !rivals.is_empty());
    let holders = rivals.unwrap_or_else(|| process::holders_of(device));
    let by = match holders.as_slice() {
        [] => "a program of another user".to_owned(),
        some if some.iter().all(Holder::is_me) => {
            "another entry of the configuration: write the same path in both".to_owned()
        }
        some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    SerialError::InUse { device: device.to_owned(), by }
}

fn no_hardware(device: &Path) -> SerialError {
    failed(device, "there is no hardware behind it")
}

fn failed(device: &Path, reason: &str) -> SerialError {
    SerialError::Failed { device: device.to_owned(), reason: reason.to_owned() }
}

const ON_THE_WAY: &str = "permission denied on the way to it: a directory above it is closed to this \
                          user (`namei -l` shows which)";
/// A UART bears a difference of about five percent.
const TOLERANCE: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(device: &Path) -> SerialLine {
        SerialLine { device: device.to_owned(), baud: 19_200, framing: Framing::default() }
    }

    #[tokio::test]
    async fn what_is_no_serial_port_is_named_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        for device in [Path::new("/dev/null"), &file, dir.path()] {
            let line = line(device);
            let refusal = open(&line).err().expect("no port").to_string();
            assert!(refusal.contains("is not a serial port"), "{refusal}");
        }
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/nowhere", &link).unwrap();
        let refusal = open(&line(&link)).err().expect("no port");
        assert!(refusal.to_string().contains("leads to /dev/nowhere"), "{refusal}");
    }

    #[test]
    fn permission_and_hardware_in_words() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refusal = explain_errno(file.path(), Errno::ACCESS).to_string();
        assert!(refusal.contains("belongs to user") && refusal.contains("mode 600"), "{refusal}");
        let refusal = explain_errno(file.path(), Errno::NXIO).to_string();
        assert!(refusal.contains("no hardware"), "{refusal}");
    }
}
