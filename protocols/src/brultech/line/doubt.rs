//! Answers that may still come late, and the queries that separate them from the next one.
//!
//! A meter answers in the order it was asked. So after a time-out it is first asked something whose
//! answer cannot be mistaken for any that is still missing: the fence. What comes before the fence's
//! answer belongs to the past.

use std::time::Duration;

use super::Timing;
use super::answer::is_undocumented;
use crate::brultech::GemCommand;

/// The meters of a link that owe an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Doubts {
    meters: Vec<Doubt>,
}

/// A meter that owes an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Doubt {
    target: Option<u16>,
    /// Fences whose answer would not be told from one that is owed; a bit for each.
    spoiled: u8,
    /// When it was last asked something that it did not answer.
    missed_at: Duration,
    /// It did not answer a fence either; commands for others do not wait for it again.
    in_vain: bool,
}

/// What to do before a command for one meter.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: no answer is owed that matters.
    Clear,
    /// Put this query to that meter.
    Fence(Option<u16>, GemCommand),
    /// Every fence is used up; wait until then.
    Unsettled(Duration),
}

impl Doubts {
    /// A command was not answered.
    pub(super) fn missed(&mut self, target: Option<u16>, command: &GemCommand, now: Duration) {
        self.add(Doubt { target, spoiled: spoils(command), missed_at: now, in_vain: false });
    }

    /// Takes in what is known from elsewhere.
    pub(super) fn join(&mut self, other: &Doubts) {
        other.meters.iter().for_each(|doubt| self.add(doubt.clone()));
    }

    fn add(&mut self, new: Doubt) {
        let known = self.meters.iter_mut().find(|doubt| doubt.target == new.target);
        if let Some(doubt) = known {
            doubt.spoiled |= new.spoiled;
            doubt.missed_at = doubt.missed_at.max(new.missed_at);
            return;
        }
        if self.meters.len() == METERS {
            self.meters.remove(0);
        }
        self.meters.push(new);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.meters.is_empty()
    }

    /// A meter did not answer a fence that went before another meter's command.
    pub(super) fn in_vain(&mut self, target: Option<u16>) {
        if let Some(doubt) = self.meters.iter_mut().find(|doubt| doubt.target == target) {
            doubt.in_vain = true;
        }
    }

    /// A meter has answered a fence: it owes nothing more.
    pub(super) fn settled(&mut self, target: Option<u16>) {
        self.meters.retain(|doubt| doubt.target != target);
    }

    /// What is to be done before a command for `target`.
    pub(super) fn next(&mut self, target: Option<u16>, now: Duration, timing: &Timing) -> Next {
        self.meters.retain(|doubt| now < doubt.missed_at + timing.forget);
        for doubt in &self.meters {
            let fence = FENCES.iter().find(|(bit, _)| doubt.spoiled & bit == 0);
            match fence {
                Some((_, query)) if doubt.target == target || !doubt.in_vain => {
                    return Next::Fence(doubt.target, query.clone());
                }
                None if doubt.target == target => {
                    return Next::Unsettled(doubt.missed_at + timing.forget);
                }
                _ => {}
            }
        }
        Next::Clear
    }

    /// How many fences may have to be put before a command.
    pub(super) fn fences(&self) -> u32 {
        (self.meters.len() * FENCES.len()) as u32
    }
}

/// Which fences the late answer to a command could be taken for.
const fn spoils(command: &GemCommand) -> u8 {
    match command {
        GemCommand::Time => TIME,
        GemCommand::RealTime | GemCommand::SetRealTime(_) => ON_OFF,
        GemCommand::Serial
        | GemCommand::Interval
        | GemCommand::PacketFormat
        | GemCommand::Ct(_)
        | GemCommand::Firmware(_)
        | GemCommand::Volts
        | GemCommand::Seconds
        | GemCommand::Watts(_)
        | GemCommand::WattSeconds(_)
        | GemCommand::WattsOf(_)
        | GemCommand::WattSecondsOf(_)
        | GemCommand::Values => DIGITS,
        // Nobody knows what they answer with; it may well be the number that was set.
        command if is_undocumented(command) => DIGITS,
        _ => 0,
    }
}

const TIME: u8 = 1;
const DIGITS: u8 = 2;
const ON_OFF: u8 = 4;
/// Queries that change nothing, the one that is hardest to mistake first.
const FENCES: [(u8, GemCommand); 3] =
    [(TIME, GemCommand::Time), (DIGITS, GemCommand::Serial), (ON_OFF, GemCommand::RealTime)];
/// How many meters are remembered on a link.
const METERS: usize = 16;
