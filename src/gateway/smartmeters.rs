//! SmartMeters and PowerMeters: their adapter, and what every connection to one of them shares.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::parts::{spawn_adapter, spawn_part};
use crate::adapters::fleet::{Adapter, Left, LinkId, Mailbox};
use crate::adapters::smartmeter::{
    Context, Ears, Frame, Listener, Meter, OnBroker, Operator, Plan, Roster, Switchboard, Told,
};
use crate::broker::{FilterError, Link};
use crate::bus::Waveforms;
use crate::command::desk::Routes;
use crate::ledger::LedgerQueue;
use crate::metrics::Metrics;
use crate::model::Make;
use crate::publish::Authored;
use crate::registry::change::ChangesIn;
use crate::task::Group;

/// The adapter and its operator, wired and not started yet.
pub(super) struct Smartmeters {
    adapter: Adapter<Meter>,
    operator: Operator,
    /// What connections share.
    pub(super) shared: Shared,
}

/// What connections share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) switchboard: Switchboard,
    pub(super) roster: Roster,
    pub(super) mailbox: Mailbox<Frame>,
    waveforms: Waveforms,
    told: Told,
    metrics: Metrics,
}

impl Smartmeters {
    /// Makes them, and lets commands find them. Answers also who makes changes to them.
    pub(super) fn new(
        plan: &Plan,
        left: &Left,
        waveforms: Waveforms,
        routes: &mut Routes,
        (ledger, metrics): (LedgerQueue, Metrics),
    ) -> (Smartmeters, ChangesIn) {
        let switchboard = Switchboard::default();
        let (operator, jobs) = Operator::new(switchboard.clone());
        let reach = switchboard.clone();
        routes.add_reaching(Make::Smartmeter, jobs, Arc::new(move |serial| reach.reaches(serial)));
        let owners = left.owners(&plan.meters);
        let roster = Roster::new(plan.entries.clone(), owners, waveforms.clone());
        let (adapter, mailbox, changes) =
            Adapter::new(plan.meters.clone(), ledger, metrics.clone());
        let told = Told::default();
        let shared = Shared { switchboard, roster, mailbox, waveforms, told, metrics };
        (Smartmeters { adapter, operator, shared }, changes)
    }

    /// Who listens to devices on the gateway's broker, from here on; `None`: no entry is for any.
    ///
    /// # Errors
    /// When a topic cannot be listened to.
    pub(super) fn listener(
        &self,
        plan: &Plan,
        left: &Left,
        (link, authored): (Link, Authored),
    ) -> Result<Option<Listener>, FilterError> {
        let Shared { switchboard, roster, mailbox, waveforms, metrics, .. } = self.shared.clone();
        let on_broker =
            OnBroker { link, authored, switchboard, roster, mailbox, waveforms, metrics };
        Listener::new(plan, left, on_broker)
    }

    /// Starts the adapter.
    pub(super) fn start(
        self,
        adapters: &mut Group,
        data_dir: &Path,
        stop: &CancellationToken,
    ) -> Shared {
        let metrics = &self.shared.metrics;
        let run = |operator: Arc<Operator>, stop| async move { operator.run(stop).await };
        spawn_part(adapters, "smartmeter commands", self.operator, run, stop, metrics);
        spawn_adapter(adapters, self.adapter, data_dir, stop, metrics);
        self.shared
    }
}

impl Shared {
    /// Ears for a connection that was just opened: a serial line, or one that the device has dialled.
    pub(super) fn ears(
        &self,
        link: LinkId,
        peer: String,
        (serial_line, listens): (bool, bool),
    ) -> Ears {
        let context = Context {
            link,
            peer,
            serial_line,
            listens,
            roster: self.roster.clone(),
            waveforms: self.waveforms.clone(),
            metrics: self.metrics.clone(),
            told: self.told.clone(),
        };
        Ears::new(Arc::new(context), self.switchboard.clone(), self.mailbox.clone())
    }
}
