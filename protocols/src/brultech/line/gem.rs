//! One exchange with a GEM: hold the packets, fence off late answers, ask, read the answer.

use std::time::Duration;

use super::answer::{Answer, is_undocumented};
use super::doubt::Next;
use super::hold::Held;
use super::shared::Shared;
use super::{ExchangeError, Progress, Reply, ended};
use crate::brultech::GemCommand;

/// An exchange with a GEM.
#[derive(Debug)]
pub(super) struct GemExchange {
    command: GemCommand,
    target: Option<u16>,
    hold: bool,
    stage: Stage,
    /// When it is to be over, whatever happens.
    ends: Duration,
}

#[derive(Debug)]
enum Stage {
    /// Wait for the hold, or begin it.
    Hold,
    /// Packets that were on their way come in.
    Drain(Duration),
    /// Look whether answers are owed.
    Doubt,
    /// A fence is out.
    Fence { target: Option<u16>, until: Duration, answer: Answer, answered: bool },
    /// A fence was answered; let what follows at once pass by.
    Settle(Duration),
    /// The command is out.
    Answer { sent: Duration, answer: Answer },
    /// It is over.
    Over(Result<Reply, ExchangeError>),
}

impl GemExchange {
    pub(super) fn new(
        command: GemCommand,
        target: Option<u16>,
        hold: bool,
        now: Duration,
        shared: &Shared,
    ) -> Self {
        let timing = &shared.timing;
        let mut ends = now + (timing.fence + timing.quiet * SETTLE) * shared.doubts.fences();
        if hold {
            let gap = match shared.hold.state(now, timing) {
                Held::Gap(until) => until.saturating_sub(now),
                Held::Yes => timing.hold_lasts + timing.hold_gap,
                Held::No => Duration::ZERO,
            };
            ends += gap + timing.hold_wait;
        }
        ends += timing.reply;
        let stage = if hold { Stage::Hold } else { Stage::Doubt };
        Self { command, target, hold, stage, ends }
    }

    pub(super) const fn deadline(&self) -> Duration {
        self.ends
    }

    /// Whether the command itself was sent: what goes before it changes nothing.
    pub(super) const fn is_out(&self) -> bool {
        matches!(self.stage, Stage::Answer { .. } | Stage::Over(_))
    }

    pub(super) fn advance(&mut self, shared: &mut Shared, now: Duration) -> Progress {
        if now >= self.ends && !matches!(self.stage, Stage::Over(_) | Stage::Answer { .. }) {
            self.give_up(shared, now);
            return self.over(Err(ExchangeError::NotSent));
        }
        match &mut self.stage {
            Stage::Hold => self.hold(shared, now),
            Stage::Drain(until) if now < *until => Progress::Wait(*until),
            Stage::Drain(_) => self.enter(Stage::Doubt),
            Stage::Doubt => self.doubt(shared, now),
            Stage::Fence { answered: true, .. } => self.settle(shared, now),
            Stage::Fence { until, .. } if now < *until => Progress::Wait(*until),
            Stage::Fence { .. } => self.fence_failed(shared, now),
            Stage::Settle(until) => match shared.quiet_at(*until) {
                quiet if now < quiet => Progress::Wait(quiet),
                _ => self.enter(Stage::Doubt),
            },
            Stage::Answer { .. } if now < self.ends => Progress::Wait(self.ends),
            Stage::Answer { sent, .. } => {
                let waited = now.saturating_sub(*sent);
                self.time_is_up(shared, now, waited)
            }
            Stage::Over(outcome) => Progress::Over(ended(outcome)),
        }
    }

    /// Takes text from between the packets.
    pub(super) fn take(&mut self, bytes: &[u8], now: Duration, shared: &mut Shared) {
        match &mut self.stage {
            // A packet is wanted, and text belongs to something else.
            Stage::Answer { .. } if self.command == GemCommand::Poll => {}
            Stage::Answer { answer, .. } => {
                if let Some(outcome) = answer.take(bytes, &shared.keep_alive) {
                    if outcome.is_ok() {
                        self.learn(shared);
                    }
                    self.stage = Stage::Over(outcome);
                }
            }
            Stage::Fence { until, answer, answered, .. } => {
                // A meter that says anything at all is given more time.
                *until = (now + shared.timing.fence).max(*until);
                for byte in bytes {
                    let outcome = answer.take(std::slice::from_ref(byte), &shared.keep_alive);
                    // A refusal is one of those that come late.
                    *answered |= matches!(outcome, Some(Ok(_)));
                }
            }
            _ => {}
        }
    }

    /// A packet of the meter with this number came.
    pub(super) fn packet(&mut self, serial_number: u16) {
        let asked_for = self.command == GemCommand::Poll
            && self.target.is_none_or(|target| target == serial_number);
        if asked_for && matches!(self.stage, Stage::Answer { .. }) {
            self.stage = Stage::Over(Ok(Reply::Packet));
        }
    }

    /// Remembers what is still owed.
    pub(super) fn give_up(&mut self, shared: &mut Shared, now: Duration) {
        match &self.stage {
            Stage::Answer { answer, .. } => {
                shared.doubts.missed(self.target, answer.command(), now)
            }
            Stage::Fence { target, answer, .. } => {
                shared.doubts.missed(*target, answer.command(), now);
            }
            _ => {}
        }
    }

    /// Keeps what a command that was done changes for those after it.
    fn learn(&self, shared: &mut Shared) {
        if let GemCommand::SetKeepAliveText(text) = &self.command {
            text.as_str().clone_into(&mut shared.keep_alive);
        }
    }

    fn enter(&mut self, stage: Stage) -> Progress {
        self.stage = stage;
        Progress::Again
    }

    fn over(&mut self, outcome: Result<Reply, ExchangeError>) -> Progress {
        self.enter(Stage::Over(outcome))
    }

    fn hold(&mut self, shared: &mut Shared, now: Duration) -> Progress {
        match shared.hold.state(now, &shared.timing) {
            Held::Yes => self.enter(Stage::Doubt),
            Held::Gap(until) => Progress::Wait(until),
            Held::No => {
                shared.hold.begin(now);
                self.stage = Stage::Drain(now + shared.timing.hold_wait);
                // All meters of the link are to hold, so it goes to none by number.
                Progress::Send(GemCommand::HoldPackets.encode(None))
            }
        }
    }

    fn doubt(&mut self, shared: &mut Shared, now: Duration) -> Progress {
        // No text that comes late can be taken for a packet.
        if self.command == GemCommand::Poll {
            return self.ask(shared, now);
        }
        match shared.doubts.next(self.target, now, &shared.timing) {
            Next::Clear => self.ask(shared, now),
            Next::Unsettled(until) => {
                let wait = until.saturating_sub(now);
                self.over(Err(ExchangeError::Unsettled { wait }))
            }
            Next::Fence(target, query) => {
                let bytes = query.encode(target);
                let until = now + shared.timing.fence;
                let answer = Answer::new(query);
                self.stage = Stage::Fence { target, until, answer, answered: false };
                Progress::Send(bytes)
            }
        }
    }

    fn settle(&mut self, shared: &mut Shared, now: Duration) -> Progress {
        if let Stage::Fence { target, .. } = &self.stage {
            shared.doubts.settled(*target);
        }
        self.enter(Stage::Settle(now + shared.timing.quiet * SETTLE))
    }

    fn fence_failed(&mut self, shared: &mut Shared, now: Duration) -> Progress {
        self.give_up(shared, now);
        if let Stage::Fence { target, .. } = &self.stage
            && *target != self.target
        {
            shared.doubts.in_vain(*target);
        }
        self.enter(Stage::Doubt)
    }

    fn ask(&mut self, shared: &mut Shared, now: Duration) -> Progress {
        let bytes = self.command.encode(self.target);
        if self.command == GemCommand::HoldPackets {
            shared.hold.begin(now);
            self.stage = Stage::Over(Ok(Reply::Done));
            return Progress::Send(bytes);
        }
        let timing = &shared.timing;
        self.ends = if is_undocumented(&self.command) {
            now + timing.unacknowledged
        } else if self.hold {
            shared.hold.limit(now, timing)
        } else {
            now + timing.reply
        };
        self.stage = Stage::Answer { sent: now, answer: Answer::new(self.command.clone()) };
        Progress::Send(bytes)
    }

    fn time_is_up(&mut self, shared: &mut Shared, now: Duration, waited: Duration) -> Progress {
        // A packet that comes late is a good packet, and no text.
        if self.command != GemCommand::Poll {
            self.give_up(shared, now);
        }
        if is_undocumented(&self.command) {
            self.learn(shared);
            return self.over(Ok(Reply::Unacknowledged));
        }
        match std::mem::replace(&mut self.stage, Stage::Doubt) {
            Stage::Answer { answer, .. } => self.over(Err(answer.failure(waited))),
            _ => self.over(Err(ExchangeError::Silent { waited })),
        }
    }
}

/// A link that is never quiet is trusted again after so many times the quiet.
const SETTLE: u32 = 4;
