//! One exchange with an ECM: piece by piece, each acknowledged, and from the beginning again when
//! one is not.

use std::time::Duration;

use super::shared::Shared;
use super::{ExchangeError, Progress, Reply, ended};
use crate::brultech::{EcmCommand, EcmSettings};

/// An exchange with an ECM.
#[derive(Debug)]
pub(super) struct EcmExchange {
    unit: u8,
    command: EcmCommand,
    chunks: Vec<Vec<u8>>,
    stage: Stage,
    /// How often it may be tried again.
    retries: u32,
    /// The last piece was sent, with which a command takes effect.
    out: bool,
    begun: Duration,
    ends: Duration,
}

#[derive(Debug)]
enum Stage {
    /// Let pass what belongs to the past.
    Settle(Duration),
    /// A piece is to go.
    Send(usize),
    /// A piece is out.
    Ack { index: usize, until: Duration, packet: bool },
    /// A piece was acknowledged.
    Acknowledged { index: usize, rest: Vec<u8> },
    /// All pieces are acknowledged; a packet is to come.
    Packet(Duration),
    /// All pieces are acknowledged; settings are to come.
    Settings { bytes: Vec<u8>, until: Duration },
    /// The settings have come, and the unit is to be told so.
    Close(EcmSettings),
    /// It has been told so, and acknowledges.
    Closing { settings: EcmSettings, until: Duration },
    /// Something came that is no acknowledgement; so many pieces were acknowledged.
    Failed(usize),
    /// It is over.
    Over(Result<Reply, ExchangeError>),
}

impl EcmExchange {
    pub(super) fn new(unit: u8, command: EcmCommand, now: Duration, shared: &Shared) -> Self {
        let timing = &shared.timing;
        let chunks = command.chunks(unit);
        let pieces = chunks.len() as u32 + 1;
        let attempt = timing.ack * pieces + timing.reply + timing.quiet * SETTLE;
        let ends = now + attempt * (RETRIES + 1);
        let stage = if shared.unsettled {
            Stage::Settle(now + timing.quiet * SETTLE)
        } else {
            Stage::Send(0)
        };
        Self { unit, command, chunks, stage, retries: RETRIES, out: false, begun: now, ends }
    }

    /// Whether all pieces of the command were sent: with fewer it changes nothing.
    pub(super) const fn is_out(&self) -> bool {
        self.out
    }

    pub(super) const fn deadline(&self) -> Duration {
        self.ends
    }

    pub(super) fn advance(&mut self, shared: &mut Shared, now: Duration) -> Progress {
        if now >= self.ends && !matches!(self.stage, Stage::Over(_) | Stage::Closing { .. }) {
            return self.out_of_time(shared, now);
        }
        match &mut self.stage {
            Stage::Ack { until, .. }
            | Stage::Packet(until)
            | Stage::Settings { until, .. }
            | Stage::Closing { until, .. }
                if now < *until =>
            {
                Progress::Wait(*until)
            }
            Stage::Settle(until) => match shared.quiet_at(*until) {
                quiet if now < quiet => Progress::Wait(quiet),
                _ => self.settled(shared),
            },
            Stage::Send(index) => {
                let index = *index;
                self.send(index, shared, now)
            }
            Stage::Ack { packet: true, .. } => {
                // The packet has overtaken the acknowledgement, which may yet come.
                shared.unsettled = true;
                self.over(Ok(Reply::Packet))
            }
            Stage::Ack { index, .. } => {
                let index = *index;
                self.failed(index, true, shared, now)
            }
            Stage::Acknowledged { index, rest } => {
                let (index, rest) = (*index, std::mem::take(rest));
                self.acknowledged(index, rest, shared, now)
            }
            Stage::Packet(_) => self.out_of_time(shared, now),
            Stage::Settings { .. } => self.settings_failed(shared, now),
            Stage::Close(settings) => {
                let (settings, until) = (*settings, self.ends.min(now + shared.timing.ack));
                self.stage = Stage::Closing { settings, until };
                Progress::Send(vec![self.unit])
            }
            Stage::Closing { settings, .. } => {
                // They are whole; that the unit was slow to hear so is no fault of theirs.
                let settings = *settings;
                shared.unsettled = true;
                self.over(Ok(Reply::EcmSettings(settings)))
            }
            Stage::Failed(index) => {
                let index = *index;
                self.failed(index, false, shared, now)
            }
            Stage::Over(outcome) => Progress::Over(ended(outcome)),
        }
    }

    /// Takes bytes from between the packets.
    pub(super) fn take(&mut self, bytes: &[u8], shared: &Shared, now: Duration) {
        match &mut self.stage {
            Stage::Ack { index, packet, .. } => {
                // A zero keeps some links alive.
                let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                let last = *index + 1 == self.chunks.len();
                self.stage = match &bytes[zeros..] {
                    [] => return,
                    _ if *packet => Stage::Over(Ok(Reply::Packet)),
                    [ACK, rest @ ..] if last || rest.is_empty() => {
                        Stage::Acknowledged { index: *index, rest: rest.to_vec() }
                    }
                    _ => Stage::Failed(*index),
                };
            }
            Stage::Acknowledged { index, rest } => {
                if *index + 1 == self.chunks.len() {
                    rest.extend_from_slice(bytes);
                } else {
                    self.stage = Stage::Failed(*index);
                }
            }
            Stage::Settings { bytes: held, .. } => {
                held.extend_from_slice(bytes);
                self.read_settings(shared, now);
            }
            Stage::Closing { settings, .. } if bytes.contains(&ACK) => {
                self.stage = Stage::Over(Ok(Reply::EcmSettings(*settings)));
            }
            _ => {}
        }
    }

    /// An ECM's packet came.
    pub(super) fn packet(&mut self, shared: &Shared, now: Duration) {
        if self.command != EcmCommand::Poll {
            return;
        }
        match &mut self.stage {
            Stage::Packet(_) => self.stage = Stage::Over(Ok(Reply::Packet)),
            // Both came in one read.
            Stage::Acknowledged { index, .. } if *index + 1 == self.chunks.len() => {
                self.stage = Stage::Over(Ok(Reply::Packet));
            }
            // Text and packets of one read come in turn, so the packet may be seen first.
            Stage::Ack { index, until, packet } if *index + 1 == self.chunks.len() => {
                *packet = true;
                *until = (*until).min(now + shared.timing.quiet);
            }
            _ => {}
        }
    }

    /// Remembers that bytes may still come.
    pub(super) const fn give_up(&self, shared: &mut Shared) {
        shared.unsettled |= !matches!(self.stage, Stage::Over(_) | Stage::Send(0));
    }

    fn enter(&mut self, stage: Stage) -> Progress {
        self.stage = stage;
        Progress::Again
    }

    fn over(&mut self, outcome: Result<Reply, ExchangeError>) -> Progress {
        self.enter(Stage::Over(outcome))
    }

    fn settled(&mut self, shared: &mut Shared) -> Progress {
        shared.unsettled = false;
        self.enter(Stage::Send(0))
    }

    fn send(&mut self, index: usize, shared: &mut Shared, now: Duration) -> Progress {
        let Some(chunk) = self.chunks.get(index) else {
            return self.over(Err(ExchangeError::NotSent));
        };
        let bytes = chunk.clone();
        let last = index + 1 == self.chunks.len();
        self.out |= last;
        let unacknowledged =
            matches!(self.command, EcmCommand::SetRealTime(_) | EcmCommand::Reboot);
        self.stage = if last && unacknowledged {
            // The last piece of real-time mode is not acknowledged, by the vendor's word, and a unit
            // that starts again may be too quick for it; others differ.
            shared.unsettled = true;
            Stage::Over(Ok(Reply::Done))
        } else {
            Stage::Ack { index, until: now + shared.timing.ack, packet: false }
        };
        Progress::Send(bytes)
    }

    fn acknowledged(
        &mut self,
        index: usize,
        rest: Vec<u8>,
        shared: &mut Shared,
        now: Duration,
    ) -> Progress {
        if index + 1 < self.chunks.len() {
            return self.enter(Stage::Send(index + 1));
        }
        let until = now + shared.timing.reply;
        match self.command {
            EcmCommand::Poll => self.enter(Stage::Packet(until)),
            EcmCommand::Settings => {
                self.stage = Stage::Settings { bytes: rest, until };
                self.read_settings(shared, now);
                Progress::Again
            }
            _ => {
                shared.unsettled |= !rest.is_empty();
                self.over(Ok(Reply::Done))
            }
        }
    }

    /// Reads the settings once they are whole. Whole ones that are damaged end their time.
    fn read_settings(&mut self, shared: &Shared, now: Duration) {
        let Stage::Settings { bytes, until } = &mut self.stage else {
            return;
        };
        let Some(whole) = bytes.get(..EcmSettings::LENGTH) else {
            return;
        };
        match EcmSettings::decode(whole) {
            Some(settings) => self.stage = Stage::Close(settings),
            None => *until = (*until).min(now + shared.timing.quiet),
        }
    }

    fn settings_failed(&mut self, shared: &mut Shared, now: Duration) -> Progress {
        let damaged = matches!(&self.stage, Stage::Settings { bytes, .. } if !bytes.is_empty());
        if damaged && self.retries == 0 {
            shared.unsettled = true;
            return self.over(Err(ExchangeError::Damaged));
        }
        if damaged {
            return self.again(1, shared, now);
        }
        self.out_of_time(shared, now)
    }

    /// A piece was not acknowledged.
    fn failed(
        &mut self,
        acknowledged: usize,
        silent: bool,
        shared: &mut Shared,
        now: Duration,
    ) -> Progress {
        shared.unsettled = true;
        // With its last piece a command takes effect, and a toggle that did so twice did nothing.
        let last = acknowledged + 1 == self.chunks.len();
        let repeatable = !(last && matches!(self.command, EcmCommand::TogglePolarity(_)));
        let absent = silent && acknowledged == 0;
        // A unit that is not there is not asked as often as one that stammers.
        let costs = if absent { RETRIES } else { 1 };
        if repeatable && self.retries >= costs {
            return self.again(costs, shared, now);
        }
        if absent {
            return self.out_of_time(shared, now);
        }
        let chunks = self.chunks.len();
        self.over(Err(ExchangeError::NotAcknowledged { acknowledged, chunks }))
    }

    fn again(&mut self, costs: u32, shared: &mut Shared, now: Duration) -> Progress {
        self.retries = self.retries.saturating_sub(costs);
        shared.unsettled = true;
        shared.heard = now;
        self.enter(Stage::Settle(now + shared.timing.quiet * SETTLE))
    }

    fn out_of_time(&mut self, shared: &mut Shared, now: Duration) -> Progress {
        self.give_up(shared);
        let error = match &self.stage {
            Stage::Send(0) => ExchangeError::NotSent,
            Stage::Settle(_) if self.retries == RETRIES => ExchangeError::NotSent,
            _ => ExchangeError::Silent { waited: now.saturating_sub(self.begun) },
        };
        self.over(Err(error))
    }
}

/// What an ECM acknowledges with, whatever its own command byte is.
const ACK: u8 = 0xFC;
/// How often a command is tried again.
const RETRIES: u32 = 2;
/// A link that is never quiet is trusted again after so many times the quiet.
const SETTLE: u32 = 4;
