//! Writes pieces to files: which file, when the next begins, and what happens when the disk does not take
//! them. Everything here blocks, and runs where that is allowed.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;

use super::RecordSettings;
use super::file::{BRIDGE, Recording, Taken};
use super::shelf::Shelf;
use super::wav::HEAD;
use crate::bus::Wave;
use crate::metrics::{Held, Metrics};
use crate::model::Waveform;
use crate::streams::shape::Shape;

/// The files of one entry.
#[derive(Debug)]
pub(super) struct Writer {
    name: Arc<str>,
    settings: RecordSettings,
    shelf: Shelf,
    open: Option<(Recording, Held)>,
    /// Why nothing is written, though it should be.
    hindrance: Option<Hindrance>,
    /// When something was written, when everything was brought to the disk.
    written: Instant,
    deep: Instant,
    metrics: Metrics,
}

#[derive(Debug)]
enum Hindrance {
    /// Too little is free.
    Full { _counted: Held },
    /// The disk refused; tried again at this time.
    Failed { again: Instant, pause: Duration, why: String },
}

/// What is so now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) file: Option<PathBuf>,
    pub(super) frames: u64,
    pub(super) gaps: usize,
    pub(super) lost: u64,
    pub(super) hindrance: Option<String>,
}

impl Writer {
    pub(super) fn new(name: &Arc<str>, settings: RecordSettings, metrics: Metrics) -> Writer {
        let shelf = Shelf::new(settings.directory.clone(), name);
        let (name, now) = (Arc::clone(name), Instant::now());
        let (open, hindrance) = (None, None);
        Writer { name, settings, shelf, open, hindrance, written: now, deep: now, metrics }
    }

    /// Ends what could not be ended before: by a gateway that was killed, or on a full disk.
    pub(super) fn settle(&self) {
        let open = self.open.as_ref().map(|(recording, _)| recording.path());
        if let Err(error) = self.shelf.settle(open) {
            let directory = self.shelf.directory().display();
            tracing::warn!(meter = %self.name, %directory, %error, "earlier recordings cannot be looked at");
        }
    }

    /// Takes what has come in since the last time; `off`: nothing more is wanted, and why.
    pub(super) fn work(&mut self, waves: VecDeque<Wave>, off: Option<&str>) -> Status {
        if let Some(why) = off {
            self.close(why);
            self.hindrance = None;
        } else {
            let pieces = waves.iter().filter_map(|wave| match wave {
                Wave::Piece(piece) => Some(piece),
                Wave::Begun(_) | Wave::Ended(..) => None,
            });
            self.look_at_the_disk();
            for piece in pieces {
                self.put(piece);
            }
            self.flush();
        }
        self.status()
    }

    fn put(&mut self, piece: &Arc<Waveform>) {
        if self.is_hindered() {
            self.metrics.record_lost.add(piece.frames());
            return;
        }
        let mut next = piece.first;
        while next < piece.end() {
            match self.take(piece, next) {
                Ok(Taken::Whole) => break,
                Ok(Taken::Full { next: first }) => {
                    self.close("it was full: the next file goes on");
                    // Never less than before, so this ends.
                    next = first;
                }
                Ok(Taken::Apart(why)) => self.close(why),
                Err(error) => {
                    self.fail(&error);
                    self.metrics.record_lost.add(piece.end() - next);
                    return;
                }
            }
        }
        self.written = Instant::now();
    }

    /// Into the open file, or a new one that begins with frame `first`.
    fn take(&mut self, piece: &Waveform, first: u64) -> io::Result<Taken> {
        let recording = match &mut self.open {
            Some((recording, _)) => recording,
            none => {
                fs::create_dir_all(&self.settings.directory)?;
                let (directory, limit) = (&self.settings.directory, self.settings.limit(piece));
                let recording = Recording::begin(directory, &self.name, piece, first, limit)?;
                tracing::info!(meter = %self.name, file = %recording.path().display(), "recording");
                &mut none.insert((recording, self.metrics.recordings.hold())).0
            }
        };
        let before = recording.size();
        let taken = recording.take(piece)?;
        self.metrics.recorded_bytes.add(recording.size().saturating_sub(before));
        if let Some(Hindrance::Failed { .. }) = self.hindrance.take() {
            tracing::info!(meter = %self.name, "recording goes on");
            self.settle();
        }
        Ok(taken)
    }

    fn close(&mut self, why: &str) {
        let Some((recording, _held)) = self.open.take() else { return };
        let (file, frames) = (recording.path().display().to_string(), recording.frames());
        let (gaps, lost) = recording.gaps();
        match recording.close(why) {
            Ok(()) => {
                tracing::info!(meter = %self.name, file, frames, gaps, lost, why, "recording closed");
            }
            Err(error) => {
                self.metrics.record_failures.increment();
                tracing::error!(meter = %self.name, file, %error, "a recording could not be closed; its head may say too little");
            }
        }
    }

    /// Once for as long as it lasts; what is written already stays.
    fn fail(&mut self, error: &io::Error) {
        self.metrics.record_failures.increment();
        let pause = match &self.hindrance {
            Some(Hindrance::Failed { pause, .. }) => (*pause * 2).min(LONGEST_PAUSE),
            _ => FIRST_PAUSE,
        };
        if pause == FIRST_PAUSE {
            let directory = self.settings.directory.display();
            tracing::error!(
                meter = %self.name, %directory, %error,
                "samples cannot be written: recording pauses, and is tried again"
            );
        }
        let why = format!("samples cannot be written: {error}");
        self.close(&why);
        let again = Instant::now() + pause;
        self.hindrance = Some(Hindrance::Failed { again, pause, why });
    }

    fn is_hindered(&self) -> bool {
        match &self.hindrance {
            None => false,
            Some(Hindrance::Full { .. }) => true,
            Some(Hindrance::Failed { again, .. }) => Instant::now() < *again,
        }
    }

    /// Pauses while too little is free; lets the oldest go where all take too much.
    fn look_at_the_disk(&mut self) {
        self.prune();
        let Some(free) = self.free() else { return };
        let keep = self.settings.keep_free;
        let is_full = matches!(self.hindrance, Some(Hindrance::Full { .. }));
        if !is_full && free < keep {
            let directory = self.settings.directory.display();
            tracing::warn!(
                meter = %self.name, %directory, free, keep_free = keep,
                "the disk is nearly full: recording pauses until more is free"
            );
            self.close("the disk was nearly full");
            self.hindrance = Some(Hindrance::Full { _counted: self.metrics.record_paused.hold() });
        } else if is_full && free >= keep.saturating_add(keep / 20) {
            tracing::info!(meter = %self.name, free, "enough of the disk is free again: recording goes on");
            self.hindrance = None;
        }
    }

    /// Bytes that are free where the files go, or would go.
    fn free(&self) -> Option<u64> {
        let mut there = self.settings.directory.ancestors();
        let disk = there.find_map(|directory| {
            let here = directory.as_os_str().is_empty();
            statvfs(if here { std::path::Path::new(".") } else { directory }).ok()
        })?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn prune(&mut self) {
        let limit = self.settings.size;
        if limit == 0 || self.open.is_some() && self.deep.elapsed() < DEEP {
            return;
        }
        let open = self.open.as_ref().map(|(recording, _)| recording.path().to_owned());
        loop {
            let gone = match self.shelf.look(open.as_deref()) {
                Ok((all, Some(oldest))) if all > limit => {
                    self.shelf.remove(&oldest).map(|()| Some((all, oldest)))
                }
                Ok(_) => Ok(None),
                Err(error) => Err(error),
            };
            match gone {
                Ok(None) => break,
                Ok(Some((all, oldest))) => {
                    self.metrics.record_removed.increment();
                    tracing::info!(meter = %self.name, file = %oldest.display(), all, size = limit, "the oldest recording is removed: all take more than stream.record.size");
                }
                Err(error) => {
                    self.metrics.record_failures.increment();
                    tracing::error!(meter = %self.name, %error, "old recordings cannot be removed");
                    break;
                }
            }
        }
    }

    fn flush(&mut self) {
        let deep = self.deep.elapsed() >= DEEP;
        if deep {
            self.deep = Instant::now();
        }
        let Some((recording, _)) = &mut self.open else { return };
        if let Err(error) = recording.flush(deep) {
            self.fail(&error);
        } else if self.written.elapsed() > BRIDGE {
            self.close("nothing came for more than ten minutes");
        }
    }

    pub(super) fn status(&self) -> Status {
        let hindrance = self.hindrance.as_ref().map(|hindrance| match hindrance {
            Hindrance::Full { .. } => "the disk is nearly full".to_owned(),
            Hindrance::Failed { why, .. } => why.clone(),
        });
        let Some((recording, _)) = &self.open else {
            return Status { hindrance, ..Status::default() };
        };
        let (gaps, lost) = recording.gaps();
        let file = Some(recording.path().to_owned());
        Status { file, frames: recording.frames(), gaps, lost, hindrance }
    }
}

impl RecordSettings {
    /// Frames after which a file is full.
    fn limit(&self, piece: &Waveform) -> u64 {
        let shape = Shape::of(&piece.stream);
        let in_time = (self.rotate.as_secs_f64() * shape.rate_hz) as u64;
        let in_size = self.rotate_size.saturating_sub(HEAD) / shape.frame_bytes() as u64;
        in_time.min(in_size).max(1)
    }
}

/// How often everything is brought to the disk.
const DEEP: Duration = Duration::from_secs(10);
/// How soon a disk that refused is tried again, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
