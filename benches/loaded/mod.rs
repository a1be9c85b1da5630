//! What a gateway under load says, and what it takes of the machine.

use std::time::Duration;

use super::process::Process;

/// Processor time since the start, and resident memory.
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) memory_mb: f64,
}

impl Usage {
    /// Up to now.
    pub(crate) fn of(process: &Process) -> Usage {
        let stat = process.proc("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
        let ticks = |place: usize| fields.get(place).and_then(|field| field.parse().ok());
        // utime and stime, in hundredths of a second on every Linux there is.
        let ticks: u64 = ticks(12).unwrap_or(0) + ticks(13).unwrap_or(0);
        Usage { cpu: Duration::from_millis(ticks * 10), memory_mb: process.memory_mb() }
    }
}

/// Topic, payload and whole length of the PUBLISH at the beginning of `bytes`. Those of QoS 1
/// cannot come: the subscription is for QoS 0.
pub(crate) fn message(bytes: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let (mut length, mut place) = (0_usize, 1);
    loop {
        let byte = *bytes.get(place)?;
        length |= usize::from(byte & 0x7F) << (7 * (place - 1));
        place += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let body = bytes.get(place..place + length)?;
    let topic = 2 + usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
    Some((body.get(2..topic)?, body.get(topic..)?, place + length))
}
