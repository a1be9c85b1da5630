//! Asking for packets instead of waiting for them: one poller for each connection of a link that
//! has `poll`.
//!
//! A round asks one meter after the other; each has to wait for the line's turn like any command. A
//! meter that does not answer is asked again in the next round, after all others. Packets that come
//! unasked go the same way as those that were asked for.

mod whom;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use meter_protocols::brultech::{
    EcmCommand, ExchangeError, GemCommand, KeepAliveInterval, Reply, Request, TemperatureUnit,
};
use tokio::time::{Instant, sleep_until};

use self::whom::Whom;
use super::call::Call;
use super::exchange::{Connection, Failure};
use super::identity::{ALL_UNITS, Identity, Unit};
use super::settings::LinkSettings;
use super::switchboard::Switchboard;
use crate::metrics::Metrics;
use crate::model::Model;

/// Polls the meters behind a connection until it ends.
pub(super) async fn poll(switchboard: Switchboard, connection: Arc<Connection>, metrics: Metrics) {
    let settings = switchboard.link(connection.link).clone();
    let Some(every) = settings.poll else { return };
    let mut poller =
        Poller { switchboard, connection, metrics, settings, states: HashMap::new(), turn: 0 };
    let mut next = Instant::now();
    let mut pause = every;
    loop {
        let connection = Arc::clone(&poller.connection);
        tokio::select! {
            () = sleep_until(next) => {}
            () = connection.ended.cancelled() => return,
        }
        let begun = Instant::now();
        match poller.round().await {
            Err(Ended) => return,
            Ok(true) => pause = every,
            // Nobody there: every meter may be switched off, or a hub may swallow what is said.
            Ok(false) => pause = (pause * 2).min(LONGEST_PAUSE).max(every),
        }
        next = (begun + pause).max(Instant::now());
    }
}

/// The connection has ended, and so has its polling.
struct Ended;

struct Poller {
    switchboard: Switchboard,
    connection: Arc<Connection>,
    metrics: Metrics,
    settings: LinkSettings,
    states: HashMap<Whom, State>,
    /// Counts rounds, so that silent meters take turns.
    turn: usize,
}

#[derive(Debug, Default)]
struct State {
    /// The set-up sequence is done.
    ready: bool,
    failures: u32,
}

impl Poller {
    /// Asks everybody once. Returns whether anybody answered.
    async fn round(&mut self) -> Result<bool, Ended> {
        let failures = |whom: &Whom| self.states.get(whom).map_or(0, |state| state.failures);
        let (mut present, silent): (Vec<Whom>, Vec<Whom>) =
            self.whom().into_iter().partition(|whom| failures(whom) < GIVEN_UP);
        // Each silent meter costs its whole deadline, so one of them a round has to do.
        present.extend(silent.get(self.turn % silent.len().max(1)).cloned());
        self.turn += 1;
        let mut answered = false;
        for whom in present {
            answered |= self.ask(whom).await?;
        }
        Ok(answered)
    }

    /// Who is to be asked: as configured, or whoever was heard on this line.
    fn whom(&self) -> Vec<Whom> {
        let settings = &self.settings;
        if !settings.units.is_empty() {
            let whom = |unit: &Unit| match *unit {
                Unit::Ecm(byte) => Whom::Unit(byte),
                Unit::Gem(number) => Whom::Gem(number),
            };
            return settings.units.iter().map(whom).collect();
        }
        let heard = self.switchboard.heard_on(&self.connection).into_iter().map(Whom::of);
        let mut all: Vec<Whom> = heard.collect();
        for serial in settings.serials.iter().filter(|_| settings.one_line) {
            let named = Whom::named(serial);
            all.extend(named.filter(|named| !all.contains(named)));
        }
        if all.is_empty() { vec![Whom::Anybody] } else { all }
    }

    /// One meter: what it needs to be polled, if that was not done yet, and a packet.
    async fn ask(&mut self, whom: Whom) -> Result<bool, Ended> {
        self.metrics.polls.increment();
        let outcome = match &whom {
            Whom::Gem(number) => self.gem(&whom, *number).await,
            Whom::Unit(unit) => self.unit(&whom, *unit).await,
            Whom::Ecm(serial) => self.ecm(&whom, serial).await,
            Whom::Anybody => self.anybody(&whom).await,
        };
        let state = self.states.entry(whom.clone()).or_default();
        let reason = match outcome {
            Err(Fault::Ended) => return Err(Ended),
            Ok(identity) => {
                if std::mem::take(&mut state.failures) > 0 {
                    tracing::info!(meter = %whom, "answers again");
                }
                let found =
                    identity.filter(|meter| whom == Whom::Anybody && meter.model != Model::Gem);
                if let Some(meter) = found {
                    self.states.entry(Whom::of(meter)).or_default().ready = true;
                }
                return Ok(true);
            }
            Err(Fault::Silent(reason) | Fault::Other(reason)) => reason,
        };
        self.metrics.failed_polls.increment();
        // It may have been switched off, and then it has forgotten.
        state.ready = false;
        state.failures = state.failures.saturating_add(1);
        if state.failures == 1 {
            tracing::warn!(meter = %whom, reason, "asked in vain; asked again and again");
        }
        Ok(false)
    }

    /// Whoever is there: a GEM, or else an ECM with the usual command byte.
    async fn anybody(&mut self, whom: &Whom) -> Result<Option<Identity>, Fault> {
        let asked = {
            let _turn = self.connection.turn().await.ok_or(Fault::Ended)?;
            self.gem_exchange(None, GemCommand::Poll).await
        };
        match asked {
            Err(Fault::Silent(_)) => self.unit(whom, ALL_UNITS[0]).await,
            other => other,
        }
    }

    /// A GEM by text commands.
    async fn gem(&mut self, whom: &Whom, number: u16) -> Result<Option<Identity>, Fault> {
        let _turn = self.connection.turn().await.ok_or(Fault::Ended)?;
        let failures = self.states.get(whom).map_or(0, |state| state.failures);
        // A packet that is not answered owes nothing to the questions after it, which an answer in
        // words does. So one that was silent is mostly asked for that alone.
        if !self.is_ready(whom) && failures.is_multiple_of(SET_UP_EVERY) {
            self.set_up(whom, number).await?;
        }
        let heard = self.gem_exchange(Some(number), GemCommand::Poll).await?;
        if !self.is_ready(whom) {
            self.set_up(whom, number).await?;
        }
        Ok(heard)
    }

    async fn set_up(&mut self, whom: &Whom, number: u16) -> Result<(), Fault> {
        self.gem_exchange(Some(number), GemCommand::SetRealTime(false)).await?;
        let fahrenheit = self.settings.is_fahrenheit(number);
        let unit = if fahrenheit { TemperatureUnit::Fahrenheit } else { TemperatureUnit::Celsius };
        let interval = if self.settings.one_line { OFF } else { ALIVE };
        let keep_alive = KeepAliveInterval::new(interval).map(GemCommand::SetKeepAliveInterval);
        // These make polling better, and are no reason to do without.
        for command in keep_alive.into_iter().chain([GemCommand::SetTemperatureUnit(unit)]) {
            if let Err(fault) = self.gem_exchange(Some(number), command.clone()).await {
                fault.unless_ended(&command)?;
            }
        }
        self.set_ready(whom);
        Ok(())
    }

    async fn gem_exchange(
        &self,
        number: Option<u16>,
        command: GemCommand,
    ) -> Result<Option<Identity>, Fault> {
        let shared = self.switchboard.is_shared(&self.connection);
        let target = number.filter(|_| shared);
        self.exchange(Request::Gem { command, target, hold: false }).await
    }

    /// An ECM by its command byte.
    async fn unit(&mut self, whom: &Whom, unit: u8) -> Result<Option<Identity>, Fault> {
        let _turn = self.connection.turn().await.ok_or(Fault::Ended)?;
        if !self.is_ready(whom) {
            if self.settings.one_line {
                let command = EcmCommand::SetRealTime(false);
                self.exchange(Request::Ecm { unit, command }).await?;
            }
            self.set_ready(whom);
        }
        let heard = self.exchange(Request::Ecm { unit, command: EcmCommand::Poll }).await?;
        if let Some(meter) = heard.as_ref().filter(|meter| meter.model != Model::Gem) {
            self.switchboard.note_unit(&self.connection, &meter.serial, unit);
        }
        Ok(heard)
    }

    /// An ECM whose command byte is to be found.
    async fn ecm(&mut self, whom: &Whom, serial: &Arc<str>) -> Result<Option<Identity>, Fault> {
        let Some(meter) = self.switchboard.meter(serial) else {
            // Named in the configuration and not heard yet: it may be the one that answers.
            return self.unit(whom, ALL_UNITS[0]).await;
        };
        let mut call = Call::new(&self.switchboard, meter.clone(), CALL_LIMIT);
        let other = |error: crate::command::CommandError| Fault::Other(error.to_string());
        if !self.is_ready(whom) {
            // One that dials in and is silent has no reason to dial in again, and no keep-alive.
            if self.settings.one_line {
                call.ecm(EcmCommand::SetRealTime(false)).await.map_err(other)?;
            }
            self.set_ready(whom);
        }
        call.ecm(EcmCommand::Poll).await.map_err(other)?;
        Ok(Some(meter))
    }

    /// Asks. Returns whose packet came meanwhile.
    async fn exchange(&self, request: Request) -> Result<Option<Identity>, Fault> {
        match self.connection.exchange(request).await {
            Ok(answered) => {
                if answered.reply == Reply::Unacknowledged {
                    tracing::debug!("not acknowledged");
                }
                Ok(answered.packet_of)
            }
            Err(Failure::NotSent | Failure::CutOff) => Err(Fault::Ended),
            Err(Failure::Exchange(error)) => Err(match error {
                ExchangeError::Silent { .. }
                | ExchangeError::NotAcknowledged { .. }
                | ExchangeError::NotSent
                | ExchangeError::Unsettled { .. } => Fault::Silent(error.to_string()),
                other => Fault::Other(other.to_string()),
            }),
        }
    }

    fn is_ready(&self, whom: &Whom) -> bool {
        self.states.get(whom).is_some_and(|state| state.ready)
    }

    fn set_ready(&mut self, whom: &Whom) {
        self.states.entry(whom.clone()).or_default().ready = true;
    }
}

/// Why a meter gave no packet.
enum Fault {
    /// The connection has ended.
    Ended,
    /// There was no answer at all.
    Silent(String),
    /// There was another than expected.
    Other(String),
}

impl Fault {
    fn unless_ended(self, command: &GemCommand) -> Result<(), Fault> {
        match self {
            Fault::Ended => Err(Fault::Ended),
            Fault::Silent(reason) | Fault::Other(reason) => {
                tracing::debug!(?command, reason, "a step of the set-up for polling failed");
                Ok(())
            }
        }
    }
}

/// Keep-alive intervals as the vendor counts them: off, and 32 s. The module of a GEM that dials in
/// does so when the GEM says something, and after a restart of the gateway nobody else would begin.
const OFF: i64 = 0;
const ALIVE: i64 = 4;
/// A meter that was silent so often is asked only after the others, one such a round.
const GIVEN_UP: u32 = 2;
/// A meter that is silent is told to be quiet at first, and then each time after so many rounds.
const SET_UP_EVERY: u32 = 4;
/// The longest time between two rounds while nobody answers, unless `poll` is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// For a meter whose command byte has to be looked for.
const CALL_LIMIT: Duration = Duration::from_secs(20);
