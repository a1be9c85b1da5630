//! The parts that are started again when they fail.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::adapters::fleet::{Adapter, Left, Meter};
use crate::broker::Link;
use crate::bus::Queue;
use crate::error::chain;
use crate::history;
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::model::Update;
use crate::store::{Store, StoreError};
use crate::streams::{Recorder, Recorders, Relay};
use crate::task::{self, Group};
use crate::web::Live;

/// Runs a part until `stop`, and again should it fail.
pub(super) fn spawn_part<T, F, E>(
    group: &mut Group,
    name: &str,
    part: T,
    run: impl Fn(Arc<T>, CancellationToken) -> F + Send + 'static,
    stop: &CancellationToken,
    metrics: &Metrics,
) where
    T: Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    let (part, token) = (Arc::new(part), stop.clone());
    let start = move || run(Arc::clone(&part), token.clone());
    let (stop, metrics) = (stop.clone(), metrics.clone());
    group.spawn(name, task::restarting(name.to_owned(), stop, metrics, || {}, start));
}

/// Tells whoever looks at the status page what happens.
pub(super) fn spawn_live(
    group: &mut Group,
    hub: (Arc<Live>, Arc<Queue<Update>>, Link),
    stop: &CancellationToken,
    metrics: &Metrics,
) {
    let follow = |hub: Arc<(Arc<Live>, Arc<Queue<Update>>, Link)>, _| {
        let (live, updates, link) = &*hub;
        Arc::clone(live).follow(Arc::clone(updates), link.clone())
    };
    spawn_part(group, "live", hub, follow, stop, metrics);
}

/// Makes histories of the journal, and publishes their blocks.
pub(super) fn spawn_history(
    group: &mut Group,
    task: history::Task,
    (journal, link): (Journal, Link),
    stop: &CancellationToken,
    metrics: &Metrics,
) {
    let run = move |task: Arc<history::Task>, _| {
        let (journal, link) = (journal.clone(), link.clone());
        async move { task.run(journal, link).await }
    };
    spawn_part(group, "history", task, run, stop, metrics);
}

/// Writes samples to files. They end after the last sample, not with the links.
pub(super) fn spawn_recorders(group: &mut Group, recorders: &mut Recorders, metrics: &Metrics) {
    let end = recorders.end_token();
    for recorder in recorders.take() {
        let name = recorder.name();
        let run = |recorder: Arc<Recorder>, _| recorder.run();
        spawn_part(group, &name, recorder, run, &end, metrics);
    }
}

/// Hands samples to readers.
pub(super) fn spawn_relays(
    group: &mut Group,
    relays: Vec<Relay>,
    stop: &CancellationToken,
    metrics: &Metrics,
) {
    for relay in relays {
        let name = relay.name();
        let run = |relay: Arc<Relay>, stop| relay.run(stop);
        spawn_part(group, &name, relay, run, stop, metrics);
    }
}

/// Runs the adapter, and again should it fail; each time with the state that is on disk.
pub(super) fn spawn_adapter<M: Meter>(
    group: &mut Group,
    adapter: Adapter<M>,
    data_dir: &Path,
    stop: &CancellationToken,
    metrics: &Metrics,
) {
    let adapter = Arc::new(adapter);
    let kept = {
        let data_dir = data_dir.to_owned();
        move || Store::open(&data_dir).and_then(|store| Left::load(&store, M::MAKE))
    };
    let down = {
        let (adapter, kept) = (Arc::clone(&adapter), kept.clone());
        move || match kept() {
            Ok(left) => adapter.announce_offline(&left),
            Err(error) => tracing::error!(error = chain(&error), "who is offline cannot be told"),
        }
    };
    let start = move || {
        let (adapter, kept) = (Arc::clone(&adapter), kept.clone());
        async move {
            let kept = kept()?;
            adapter.announce_offline(&kept);
            let Ok(()) = adapter.run(kept).await;
            Ok::<(), StoreError>(())
        }
    };
    let name = M::MAKE.as_str().to_owned();
    group.spawn(&*name, task::restarting(name.clone(), stop.clone(), metrics.clone(), down, start));
}
