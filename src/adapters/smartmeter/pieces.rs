//! Samples for whoever asks for them: pieces of about a tenth of a second on [`Waveforms`].

use std::sync::Arc;

use crate::bus::{Wave, Waveforms};
use crate::model::{StreamInfo, Waveform};

/// Collects the frames of one stream. Dropped, it tells that the stream is over.
#[derive(Debug)]
pub(super) struct Pieces {
    serial: Arc<str>,
    info: Arc<StreamInfo>,
    waveforms: Waveforms,
    /// Samples in a piece.
    size: usize,
    first: u64,
    /// The frame behind the last that was taken, wanted or not.
    end: u64,
    samples: Vec<f32>,
}

impl Pieces {
    pub(super) fn begin(serial: Arc<str>, info: Arc<StreamInfo>, waveforms: Waveforms) -> Pieces {
        waveforms.send(&serial, &Wave::Begun(Arc::clone(&info)));
        let frames = (info.rate_hz / 10.0).ceil().max(1.0) as usize;
        Pieces {
            size: frames * info.channels.len().max(1),
            serial,
            info,
            waveforms,
            first: 0,
            end: 0,
            samples: Vec::new(),
        }
    }

    /// Takes neighbouring frames; `first` is the number of the first.
    pub(super) fn add(&mut self, first: u64, samples: &[f32]) {
        let frames = (samples.len() / self.info.channels.len().max(1)) as u64;
        let gap = first != self.end;
        self.end = first + frames;
        if !self.waveforms.wanted(&self.serial) {
            self.samples = Vec::new();
            return;
        }
        if gap {
            self.flush();
        }
        if self.samples.is_empty() {
            self.first = first;
        }
        self.samples.extend_from_slice(samples);
        if self.samples.len() >= self.size {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.samples.is_empty() {
            return;
        }
        let (stream, samples) = (Arc::clone(&self.info), Arc::from(self.samples.as_slice()));
        self.samples.clear();
        let piece = Waveform { stream, first: self.first, samples };
        self.waveforms.send(&self.serial, &Wave::Piece(Arc::new(piece)));
    }

    /// Samples come at another rate than the meter has told.
    pub(super) fn tell_of_pace(&self, pace_hz: f64) {
        tracing::warn!(
            serial = &*self.serial,
            told_hz = self.info.rate_hz,
            pace_hz = (pace_hz * 10.0).round() / 10.0,
            "samples come at another rate than the meter has told: times and integrated energy follow it from now on, \
             the frequency is off by as much"
        );
    }

    /// Frames are missing up to this one.
    pub(super) fn skip(&mut self, end: u64) {
        self.flush();
        self.end = self.end.max(end);
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.flush();
        self.waveforms.send(&self.serial, &Wave::Ended(Arc::clone(&self.info), self.end));
    }
}
