//! The parts that are started again when they fail.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::adapters::brultech::{Adapter, Left, Operator};
use crate::bridge::Bridge;
use crate::command::router::Router;
use crate::error::chain;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use crate::task::{self, Group};

/// Runs the router of commands, and again should it fail.
pub(super) fn spawn_router(
    group: &mut Group,
    router: Router,
    stop: &CancellationToken,
    metrics: &Metrics,
) {
    let (router, token) = (Arc::new(router), stop.clone());
    let start = move || {
        let (router, stop) = (Arc::clone(&router), token.clone());
        async move { router.run(stop).await }
    };
    let name = "commands".to_owned();
    group.spawn("commands", task::restarting(name, stop.clone(), metrics.clone(), || {}, start));
}

/// Runs what takes requests for the gateway itself, and again should it fail.
pub(super) fn spawn_bridge(
    group: &mut Group,
    bridge: Bridge,
    stop: &CancellationToken,
    metrics: &Metrics,
) {
    let (bridge, token) = (Arc::new(bridge), stop.clone());
    let start = move || {
        let (bridge, stop) = (Arc::clone(&bridge), token.clone());
        async move { bridge.run(stop).await }
    };
    let name = "requests".to_owned();
    group.spawn("requests", task::restarting(name, stop.clone(), metrics.clone(), || {}, start));
}

/// Runs the operator of commands and polling, and again should it fail.
pub(super) fn spawn_operator(
    group: &mut Group,
    operator: Operator,
    stop: &CancellationToken,
    metrics: &Metrics,
) {
    let (operator, token) = (Arc::new(operator), stop.clone());
    let start = move || {
        let (operator, stop) = (Arc::clone(&operator), token.clone());
        async move { operator.run(stop).await }
    };
    let name = "brultech commands".to_owned();
    let task = task::restarting(name, stop.clone(), metrics.clone(), || {}, start);
    group.spawn("brultech commands", task);
}

/// Runs the adapter, and again should it fail; each time with the state that is on disk.
pub(super) fn spawn_adapter(
    group: &mut Group,
    adapter: Adapter,
    data_dir: &Path,
    stop: &CancellationToken,
    metrics: &Metrics,
) {
    let adapter = Arc::new(adapter);
    let kept = {
        let data_dir = data_dir.to_owned();
        move || Store::open(&data_dir).and_then(|store| Left::load(&store))
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
    let name = "brultech".to_owned();
    group.spawn("brultech", task::restarting(name, stop.clone(), metrics.clone(), down, start));
}
