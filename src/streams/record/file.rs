//! One recording: samples appended, the head and what lies beside it kept right.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::side::{Side, SideStream, compact, seconds, utc};
use super::wav::{HEAD, Head};
use crate::model::{Timestamp, Waveform};
use crate::streams::timeline::{Place, Timeline};

/// A file that grows.
#[derive(Debug)]
pub(super) struct Recording {
    file: File,
    path: PathBuf,
    timeline: Timeline,
    stream: u64,
    side: Side,
    /// Whether what lies beside it is not what is known.
    side_is_old: bool,
    /// It is full at so many frames.
    limit: u64,
}

/// What came of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// All of it is in the file.
    Whole,
    /// The file is full: frames from this number of the stream on belong to the next one.
    Full { next: u64 },
    /// It does not follow what is in the file, for this reason.
    Apart(&'static str),
}

impl Recording {
    /// Begins a file with frame `first` of a piece. It will be full at `limit` frames, at least one.
    pub(super) fn begin(
        directory: &Path,
        prefix: &str,
        piece: &Waveform,
        first: u64,
        limit: u64,
    ) -> io::Result<Recording> {
        let timeline = Timeline::beginning(piece, first);
        let (file, path) = create(directory, prefix, timeline.start)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let side = Side::of(&piece.stream, timeline.start, name);
        let stream = piece.stream.id;
        let mut recording = Recording {
            file,
            path,
            timeline,
            stream,
            side,
            side_is_old: true,
            limit: limit.max(1),
        };
        let begun = recording.head().and_then(|()| recording.note());
        match begun {
            Ok(()) => Ok(recording),
            Err(error) => {
                recording.discard();
                Err(error)
            }
        }
    }

    /// Adds a piece, or the part of it that has room. After an error the file is as it was before.
    pub(super) fn take(&mut self, piece: &Waveform) -> io::Result<Taken> {
        let before = self.timeline.clone();
        let bridge = (self.timeline.shape.rate_hz * BRIDGE.as_secs_f64()) as u64;
        let (position, skip) = match self.timeline.place(piece, bridge) {
            Place::At { position, skip } => (position, skip),
            Place::Known => return Ok(Taken::Whole),
            Place::Foreign => {
                return Ok(Taken::Apart("the stream goes on with another layout or rate"));
            }
            Place::Far(_) => return Ok(Taken::Apart("nothing came for more than ten minutes")),
        };
        if self.side.gaps.len() >= GAPS && position > before.end {
            self.timeline = before;
            return Ok(Taken::Apart("it has too many gaps"));
        }
        let first = piece.first.saturating_add(skip);
        let room = self.limit.saturating_sub(position);
        let frames = (piece.frames() - skip).min(room);
        let written = self.write(piece, skip, position, frames);
        if let Err(error) = written {
            self.timeline = before;
            // What is behind the head's count is nothing to readers; it is cut off as far as possible.
            let _ = self.file.set_len(HEAD + self.bytes(self.timeline.end));
            return Err(error);
        }
        if frames == 0 {
            self.timeline = before;
            return Ok(Taken::Full { next: first });
        }
        self.timeline.end = position + frames;
        self.remember(piece, skip, position, before.end);
        if frames < piece.frames() - skip {
            return Ok(Taken::Full { next: first + frames });
        }
        Ok(Taken::Whole)
    }

    /// What was lost before `position` stays a hole in the file, which reads as zeros.
    fn write(&self, piece: &Waveform, skip: u64, position: u64, frames: u64) -> io::Result<()> {
        let width = piece.stream.channels.len();
        // As many as a piece has fit into memory.
        let (skip, frames) = (skip as usize * width, frames as usize * width);
        let samples = &piece.samples[skip..skip + frames];
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        self.file.write_all_at(&bytes, HEAD + self.bytes(position))
    }

    fn remember(&mut self, piece: &Waveform, skip: u64, position: u64, end: u64) {
        if position > end {
            self.side.gaps.push((end, position));
            self.side_is_old = true;
        }
        if piece.stream.id != self.stream {
            self.stream = piece.stream.id;
            let start = seconds(piece.stream.time(piece.first.saturating_add(skip)));
            self.side.streams.push(SideStream { first: position, start });
            self.side_is_old = true;
        }
    }

    /// Makes head and file agree. `deep`: down to the disk, and what lies beside it as well.
    pub(super) fn flush(&mut self, deep: bool) -> io::Result<()> {
        if deep {
            self.file.sync_data()?;
        }
        self.head()?;
        if deep || self.side_is_old {
            self.note()?;
        }
        Ok(())
    }

    /// Ends it. A file without a frame is taken away.
    pub(super) fn close(mut self, why: &str) -> io::Result<()> {
        if self.timeline.end == 0 {
            self.discard();
            return Ok(());
        }
        self.side.ended = Some(why.to_owned());
        self.side_is_old = true;
        self.flush(true)
    }

    fn discard(&self) {
        // It has nothing that anybody could miss.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(Side::path(&self.path));
    }

    fn head(&self) -> io::Result<()> {
        let shape = &self.timeline.shape;
        let (start, about) = (utc(self.timeline.start), shape.described());
        let (title, about, start) = (self.side.meter.as_str(), about.as_str(), start.as_str());
        let head = Head { shape, frames: self.timeline.end, title, start, about };
        self.file.write_all_at(&head.bytes(), 0)
    }

    fn note(&mut self) -> io::Result<()> {
        self.side.frames = self.timeline.end;
        self.side.write(&self.path)?;
        self.side_is_old = false;
        Ok(())
    }

    fn bytes(&self, frames: u64) -> u64 {
        frames.saturating_mul(self.timeline.shape.frame_bytes() as u64)
    }

    /// Its length.
    pub(super) fn size(&self) -> u64 {
        HEAD + self.bytes(self.timeline.end)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn frames(&self) -> u64 {
        self.timeline.end
    }

    pub(super) fn gaps(&self) -> (usize, u64) {
        (self.side.gaps.len(), self.side.lost())
    }
}

/// A file that was not there before.
fn create(directory: &Path, prefix: &str, start: Timestamp) -> io::Result<(File, PathBuf)> {
    let time = compact(start);
    let mut last = None;
    for again in 0..SAME_MOMENT {
        let suffix = if again == 0 { String::new() } else { format!("-{again}") };
        let path = directory.join(format!("{prefix}_{time}{suffix}.wav"));
        match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| ErrorKind::AlreadyExists.into()))
}

/// A longer pause is a new file: a meter that comes back after hours would else write hours of zeros.
pub(super) const BRIDGE: Duration = Duration::from_secs(600);
/// Gaps of one file.
const GAPS: usize = 10_000;
/// Files that may begin in the same millisecond.
const SAME_MOMENT: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::shape::tests::{piece, stream};

    fn begin(dir: &Path, first: u64, limit: u64) -> Recording {
        let info = stream(1, 1000.0, 1);
        Recording::begin(dir, "mains", &piece(&info, first, first + 1), first, limit).unwrap()
    }

    fn floats(path: &Path) -> Vec<f32> {
        let bytes = fs::read(path).unwrap();
        let samples = bytes[HEAD as usize..].chunks_exact(4);
        samples.map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
    }

    #[test]
    fn what_was_lost_is_zeros_and_listed() {
        let dir = tempfile::tempdir().unwrap();
        let info = stream(1, 1000.0, 1);
        let mut recording = begin(dir.path(), 5, 1000);
        assert_eq!(recording.take(&piece(&info, 5, 7)).unwrap(), Taken::Whole);
        assert_eq!(recording.take(&piece(&info, 9, 10)).unwrap(), Taken::Whole);
        let path = recording.path().to_owned();
        assert_eq!(path.file_name().unwrap(), "mains_20231114T221320.005Z.wav");
        recording.flush(false).unwrap();
        // As it is if the plug were pulled now.
        let head = fs::read(&path).unwrap();
        assert_eq!(head[508..512], (5 * 8_u32).to_le_bytes());
        assert!(Side::read(&path).unwrap().ended.is_none());

        let again = StreamInfo { id: 2, start: Timestamp(info.start.0 + 20), ..(*info).clone() };
        recording.take(&piece(&again.into(), 0, 1)).unwrap();
        assert_eq!((recording.frames(), recording.gaps()), (16, (2, 12)));
        recording.close("asked to").unwrap();
        let mut expected = [vec![500., 501., 600., 601.], vec![0.; 4], vec![900., 901.]].concat();
        expected.extend([vec![0.; 20], vec![0., 1.]].concat());
        assert_eq!(floats(&path), expected);
        let side = Side::read(&path).unwrap();
        assert_eq!((side.frames, &side.gaps), (16, &vec![(2, 4), (5, 15)]));
        assert_eq!(side.streams.last(), Some(&SideStream { first: 15, start: 1_700_000_000.02 }));
        assert_eq!(side.ended.as_deref(), Some("asked to"));
        assert_eq!(side.channels[1].name, "i");
    }

    #[test]
    fn a_full_file_says_what_belongs_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let info = stream(1, 1000.0, 1);
        let mut recording = begin(dir.path(), 0, 4);
        assert_eq!(recording.take(&piece(&info, 0, 3)).unwrap(), Taken::Whole);
        assert_eq!(recording.take(&piece(&info, 2, 9)).unwrap(), Taken::Full { next: 4 });
        assert_eq!(recording.take(&piece(&info, 9, 12)).unwrap(), Taken::Full { next: 9 });
        assert_eq!((recording.frames(), recording.gaps()), (4, (0, 0)));
        assert_eq!(recording.size(), HEAD + 32);
        let other = stream(2, 2000.0, 1);
        assert!(matches!(recording.take(&piece(&other, 0, 1)).unwrap(), Taken::Apart(_)));
        let far = piece(&info, 700_000, 700_001);
        assert!(matches!(recording.take(&far).unwrap(), Taken::Apart(_)));
    }

    #[test]
    fn files_of_the_same_moment_do_not_overwrite_each_other_and_empty_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (begin(dir.path(), 0, 9), begin(dir.path(), 0, 9));
        assert_ne!(one.path(), other.path());
        one.close("").unwrap();
        other.close("").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    use crate::model::StreamInfo;
}
