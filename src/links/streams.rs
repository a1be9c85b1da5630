//! Where samples go, from the configuration's `stream:` of each meter.

use crate::bus::Whose;
use crate::config::Config;
use crate::config::meter::Meter;
use crate::config::stream::{Record, Start};
use crate::streams::{RecordSettings, Settings};

/// One for each entry whose samples go somewhere.
pub(crate) fn streams(config: &Config) -> Vec<Settings> {
    config.meters.iter().filter_map(|entry| settings(config, entry)).collect()
}

fn settings(config: &Config, entry: &Meter) -> Option<Settings> {
    let stream = entry.stream.as_ref()?;
    Some(Settings {
        name: entry.name.as_str().into(),
        whose: match &entry.serial_number {
            Some(serial) => Whose::Serial(serial.as_str().into()),
            None => Whose::Name(entry.name.as_str().into()),
        },
        relay: stream.relay,
        record: stream.record.as_ref().map(|record| recording(config, record)),
    })
}

fn recording(config: &Config, record: &Record) -> RecordSettings {
    RecordSettings {
        always: record.start == Start::Always,
        // An absolute path stays what it is.
        directory: config.data_dir.join(&record.directory),
        rotate: record.rotate,
        rotate_size: record.rotate_size.0,
        keep_free: record.keep_free.0,
        size: record.size.0,
    }
}
