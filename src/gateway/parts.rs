//! The parts that are started again when they fail.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::adapters::fleet::{Adapter, Left, Meter};
use crate::error::chain;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use crate::task::{self, Group};

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
