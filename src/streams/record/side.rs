//! What lies beside a recording: when and of what it is, where frames are missing, why it ended.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::{StreamInfo, Timestamp};
use crate::streams::shape::{label, quantity, unit};

/// `<recording>.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Side {
    /// The recording beside it.
    pub(super) file: String,
    /// The meter's `<name>` in topics, as it was.
    pub(super) meter: String,
    /// Its device id.
    pub(super) device: String,
    /// The time of the first frame, seconds since 1970.
    pub(super) start: f64,
    /// The same for people.
    pub(super) start_utc: String,
    /// Frames a second.
    pub(super) rate_hz: f64,
    /// What the samples of a frame are.
    pub(super) channels: Vec<SideChannel>,
    /// Frames in the file, zeros included.
    pub(super) frames: u64,
    /// What was lost and stands as zeros: from the first frame to before the second.
    pub(super) gaps: Vec<(u64, u64)>,
    /// Where the meter began to sample anew: the frame, and the time of it by the meter's own word.
    pub(super) streams: Vec<SideStream>,
    /// Why nothing follows; null while it grows.
    pub(super) ended: Option<String>,
}

/// One sample of a frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SideChannel {
    pub(super) name: String,
    pub(super) quantity: String,
    pub(super) unit: String,
}

/// One run of the meter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SideStream {
    pub(super) first: u64,
    pub(super) start: f64,
}

impl Side {
    pub(super) fn of(stream: &StreamInfo, start: Timestamp, file: String) -> Side {
        let channel = |one| SideChannel {
            name: label(one),
            quantity: quantity(one.kind).to_owned(),
            unit: unit(one.kind).to_owned(),
        };
        Side {
            file,
            meter: stream.name.to_string(),
            device: stream.device.to_string(),
            start: seconds(start),
            start_utc: utc(start),
            rate_hz: stream.rate_hz,
            channels: stream.channels.iter().map(channel).collect(),
            frames: 0,
            gaps: Vec::new(),
            streams: vec![SideStream { first: 0, start: seconds(start) }],
            ended: None,
        }
    }

    /// Where it lies.
    pub(super) fn path(recording: &Path) -> PathBuf {
        recording.with_extension("json")
    }

    /// Writes it as a whole: whoever reads it sees the one before or this one.
    pub(super) fn write(&self, recording: &Path) -> io::Result<()> {
        let (path, draft) = (Self::path(recording), recording.with_extension("json.new"));
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        let mut file = fs::File::create(&draft)?;
        let written = file.write_all(&text).and_then(|()| file.sync_data());
        written.and_then(|()| fs::rename(&draft, path)).inspect_err(|_| {
            // Half of it is of no use to anybody.
            let _ = fs::remove_file(&draft);
        })
    }

    /// Reads it.
    pub(super) fn read(recording: &Path) -> io::Result<Side> {
        Ok(serde_json::from_slice(&fs::read(Self::path(recording))?)?)
    }

    /// Frames that are zeros because they were lost.
    pub(super) fn lost(&self) -> u64 {
        self.gaps.iter().map(|(first, end)| end.saturating_sub(*first)).sum()
    }
}

/// Seconds since 1970, to the millisecond.
pub(super) fn seconds(at: Timestamp) -> f64 {
    at.0 as f64 / 1000.0
}

/// `2026-11-21T21:45:00.123Z`; the number itself for a time that no calendar has.
pub(super) fn utc(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0)
        .map_or_else(|_| at.0.to_string(), |at| at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

/// The same without what file systems dislike: `20261121T214500.123Z`.
pub(super) fn compact(at: Timestamp) -> String {
    utc(at).chars().filter(|c| !matches!(c, '-' | ':')).collect()
}
