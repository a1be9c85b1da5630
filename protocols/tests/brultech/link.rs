//! A link whose other end is scripted.

use std::time::Duration;

use meter_protocols::brultech::{
    Channel, Decoder, EcmCommand, ExchangeError, Frame, GemCommand, Line, Reply, Request, Step,
    Timing,
};

/// A link as a connection would run it: a decoder before the line, and a clock that is set.
pub(crate) struct Link {
    pub(crate) line: Line,
    decoder: Decoder,
    pub(crate) now: Duration,
    pub(crate) packets: usize,
}

impl Link {
    pub(crate) fn new() -> Self {
        let mut decoder = Decoder::new();
        decoder.keep_between(8192);
        Self { line: Line::new(Timing::default()), decoder, now: Duration::ZERO, packets: 0 }
    }

    pub(crate) fn gem(&mut self, command: GemCommand) {
        self.begin(Request::Gem { command, target: None, hold: false });
    }

    pub(crate) fn gem_of(&mut self, target: u16, command: GemCommand) {
        self.begin(Request::Gem { command, target: Some(target), hold: false });
    }

    pub(crate) fn ecm(&mut self, command: EcmCommand) {
        self.begin(Request::Ecm { unit: 0xFD, command });
    }

    pub(crate) fn begin(&mut self, request: Request) {
        assert!(self.line.begin(request, self.now), "nothing is under way");
    }

    /// The meter sends bytes.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
        self.drain();
    }

    /// Nothing has come for a second.
    pub(crate) fn quiet(&mut self) {
        self.now += Duration::from_secs(1);
        self.decoder.idle();
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(event) = self.decoder.next_frame() {
            if let Ok(Frame::Packet(packet)) = event {
                self.packets += 1;
                self.line.packet(&packet, self.now);
            }
        }
        self.line.take(&self.decoder.take_between(), self.now);
    }

    pub(crate) fn step(&mut self) -> Step {
        self.line.step(self.now)
    }

    pub(crate) fn sends(&mut self, expected: &[u8]) {
        assert_eq!(self.step(), Step::Send(expected.to_vec()), "{}", expected.escape_ascii());
    }

    /// Waits as long as the line says.
    #[track_caller]
    pub(crate) fn waits(&mut self) -> Duration {
        let step = self.step();
        let until = if let Step::Wait(until) = &step { *until } else { None };
        assert!(until > Some(self.now), "{step:?} instead of a wait that ends later");
        let before = std::mem::replace(&mut self.now, until.unwrap_or_default());
        self.now - before
    }

    /// Pieces of a command to an ECM, each acknowledged.
    #[track_caller]
    pub(crate) fn acknowledged(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            self.sends(piece);
            self.hear(b"\xFC");
        }
    }

    #[track_caller]
    pub(crate) fn done(&mut self, expected: Reply) {
        assert_eq!(self.step(), Step::Done(Ok(expected)));
        assert_eq!(self.step(), Step::Idle);
    }

    #[track_caller]
    pub(crate) fn fails(&mut self, expected: ExchangeError) {
        assert_eq!(self.step(), Step::Done(Err(expected)));
        assert_eq!(self.step(), Step::Idle);
    }

    /// One exchange with a GEM, answered at once.
    #[track_caller]
    pub(crate) fn answered(&mut self, command: GemCommand, answer: &[u8], reply: Reply) {
        let bytes = command.encode(None);
        self.gem(command);
        self.sends(&bytes);
        self.hear(answer);
        self.done(reply);
    }
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn silent(waited: u64) -> ExchangeError {
    ExchangeError::Silent { waited: secs(waited) }
}

pub(crate) fn channel(number: i64) -> Channel {
    Channel::new(number).expect("it is in range")
}
