//! The recordings of one entry that are in the directory already: how much they take, which are the
//! oldest, and which were never ended.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::side::Side;
use super::wav::HEAD;

/// A directory, as far as it is one entry's.
#[derive(Debug)]
pub(super) struct Shelf {
    directory: PathBuf,
    /// What its files begin with.
    prefix: String,
}

impl Shelf {
    pub(super) fn new(directory: PathBuf, prefix: &str) -> Shelf {
        Shelf { directory, prefix: prefix.to_owned() }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What the entry's files take, what lies beside them left out, and the oldest that is not `open`.
    pub(super) fn look(&self, open: Option<&Path>) -> io::Result<(u64, Option<PathBuf>)> {
        let (mut all, mut oldest) = (0_u64, None::<PathBuf>);
        for (path, length) in self.own()? {
            all = all.saturating_add(length);
            // The time stands in the name, so the first of them is the oldest.
            if Some(&*path) != open && oldest.as_ref().is_none_or(|oldest| path < *oldest) {
                oldest = Some(path);
            }
        }
        Ok((all, oldest))
    }

    /// Takes a recording away, with what lies beside it.
    pub(super) fn remove(&self, recording: &Path) -> io::Result<()> {
        // First what lies beside it: a recording without is known as one still.
        match fs::remove_file(Side::path(recording)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::remove_file(recording),
        }
    }

    /// Ends the files but `open` that nobody could end: the gateway was killed, or the disk was full.
    pub(super) fn settle(&self, open: Option<&Path>) -> io::Result<()> {
        for (path, length) in self.own()? {
            if Some(&*path) == open {
                continue;
            }
            let Ok(mut side) = Side::read(&path) else { continue };
            if side.ended.is_some() {
                continue;
            }
            let ended = frames(&path, length, side.channels.len()).and_then(|frames| {
                side.frames = frames;
                side.ended = Some("it could not be closed".to_owned());
                side.write(&path)
            });
            // One that cannot be ended keeps no other from it.
            match ended {
                Ok(()) => {
                    tracing::info!(file = %path.display(), frames = side.frames, "a recording that was left open is closed");
                }
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "a recording that was left open cannot be closed");
                }
            }
        }
        Ok(())
    }

    /// The entry's recordings, each with its length. Whatever else lies there is somebody else's.
    fn own(&self) -> io::Result<Vec<(PathBuf, u64)>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut own = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if !name.to_str().is_some_and(|name| is_own(name, &self.prefix)) {
                continue;
            }
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => own.push((entry.path(), metadata.len())),
                // Gone, or no file.
                _ => {}
            }
        }
        Ok(own)
    }
}

/// `<prefix>_20261121T214500.123Z.wav`, or with `-1` before its end.
fn is_own(name: &str, prefix: &str) -> bool {
    let time = name
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .and_then(|rest| rest.strip_suffix(".wav"));
    let Some((time, rest)) = time.and_then(|rest| rest.split_at_checked(TIME.len())) else {
        return false;
    };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let fits = time.bytes().zip(TIME.bytes()).all(|(byte, like)| match like {
        b'0' => byte.is_ascii_digit(),
        like => byte == like,
    });
    fits && (rest.is_empty() || rest.strip_prefix('-').is_some_and(is_digits))
}

/// What the head says, and not more than is there. A power failure may have left no head at all.
fn frames(path: &Path, length: u64, channels: usize) -> io::Result<u64> {
    if length < HEAD {
        return Ok(0);
    }
    let mut head = [0; HEAD as usize];
    File::open(path)?.read_exact(&mut head)?;
    let large = head.starts_with(b"RF64");
    let data = if large {
        u64::from_le_bytes([
            head[28], head[29], head[30], head[31], head[32], head[33], head[34], head[35],
        ])
    } else {
        u64::from(u32::from_le_bytes([head[508], head[509], head[510], head[511]]))
    };
    let frame = channels.max(1) as u64 * crate::streams::shape::SAMPLE as u64;
    Ok(data.min(length.saturating_sub(HEAD)) / frame)
}

const TIME: &str = "00000000T000000.000Z";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::record::file::Recording;
    use crate::streams::shape::tests::{piece, stream};

    #[test]
    fn only_the_entrys_own_recordings_are_looked_at() {
        for (name, own) in [
            ("mains_20261121T214500.123Z.wav", true),
            ("mains_20261121T214500.123Z-12.wav", true),
            ("mains_20261121T214500.123Z-.wav", false),
            ("mains_20261121T214500.123Z.json", false),
            ("mains_2_20261121T214500.123Z.wav", false),
            ("house_20261121T214500.123Z.wav", false),
            ("mains_holiday.wav", false),
            ("mains_20261121T214500.123Zä.wav", false),
        ] {
            assert_eq!(is_own(name, "mains"), own, "{name}");
        }
        assert!(is_own("mains_2_20261121T214500.123Z.wav", "mains_2"));
    }

    #[test]
    fn the_oldest_goes_first_and_what_was_killed_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let info = stream(1, 1000.0, 1);
        let begin = |first: u64| {
            let piece = piece(&info, first, first + 10);
            let mut one = Recording::begin(dir.path(), "mains", &piece, first, 99).unwrap();
            one.take(&piece).unwrap();
            one.flush(false).unwrap();
            one
        };
        let (old, new) = (begin(0), begin(2000));
        std::fs::write(dir.path().join("mains_notes.wav"), "mine").unwrap();
        let shelf = Shelf::new(dir.path().to_owned(), "mains");
        let (all, oldest) = shelf.look(None).unwrap();
        assert_eq!((all, oldest.as_deref()), (2 * (512 + 80), Some(old.path())));
        assert_eq!(shelf.look(Some(old.path())).unwrap().1.as_deref(), Some(new.path()));
        // Killed: nobody has closed them.
        let side = Side::read(old.path()).unwrap();
        assert_eq!((side.frames, side.ended), (0, None));
        // Before the head of the first was on the disk the power failed.
        let first = begin(5000);
        std::fs::write(first.path(), "").unwrap();
        shelf.settle(None).unwrap();
        for (recording, frames) in [(&old, 10), (&new, 10), (&first, 0)] {
            let side = Side::read(recording.path()).unwrap();
            assert_eq!(side.frames, frames);
            assert!(side.ended.unwrap().contains("could not be closed"));
        }
        shelf.remove(first.path()).unwrap();
        shelf.remove(old.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }
}
