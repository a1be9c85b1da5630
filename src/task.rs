//! Named tasks: the only place that starts one. Panics are seen and said, ends are awaited.

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::error::chain;
use crate::metrics::Metrics;
use crate::transport::Backoff;

/// Tasks that are stopped together.
#[derive(Debug, Default)]
pub struct Group {
    tasks: JoinSet<Result<(), String>>,
    names: HashMap<Id, String>,
}

/// The end of a task.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// The task's name.
    pub name: String,
    /// The reason, when it did not end of its own will.
    pub failure: Option<String>,
}

impl Group {
    /// Starts `task` under `name`; its log lines carry the name.
    pub fn spawn<E: Into<Box<dyn Error + Send + Sync>>>(
        &mut self,
        name: impl Into<String>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let name = name.into();
        // Whoever starts it is mostly a task of the same name.
        let span = tracing::info_span!(parent: None, "task", name = %name);
        let named = async move { task.await.map_err(|error| chain(&*error.into())) };
        let handle = self.tasks.spawn(named.instrument(span));
        self.names.insert(handle.id(), name);
    }

    /// Waits for the next task that ends; `None` when there is none.
    pub async fn ended(&mut self) -> Option<Ended> {
        let joined = self.tasks.join_next_with_id().await?;
        let (id, failure) = match joined {
            Ok((id, Ok(()))) => (id, None),
            Ok((id, Err(error))) => (id, Some(error)),
            Err(error) => (error.id(), Some(describe(error))),
        };
        let name = self.names.remove(&id).unwrap_or_else(|| "a task".to_owned());
        Some(Ended { name, failure })
    }

    /// Waits for all tasks until `grace` has passed; whoever is late is named in the log and
    /// ended.
    pub async fn finish(&mut self, grace: Duration) {
        let all = async {
            while let Some(ended) = self.ended().await {
                if let Some(failure) = ended.failure {
                    tracing::error!(task = ended.name, failure, "ended badly");
                }
            }
        };
        if tokio::time::timeout(grace, all).await.is_err() {
            let late: Vec<&str> = self.names.values().map(String::as_str).collect();
            tracing::warn!(late = late.join(", "), "did not end in time and were cut off");
            self.tasks.shutdown().await;
        }
    }
}

/// Runs what `start` makes until `stop`; when it ends early, by an error or a panic, `down` is
/// called and it is started again after a jittered pause.
pub async fn restarting<F, T, E>(
    name: String,
    stop: CancellationToken,
    metrics: Metrics,
    down: impl Fn() + Send,
    start: F,
) -> Result<(), std::convert::Infallible>
where
    F: Fn() -> T + Send,
    T: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let mut pause = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    loop {
        let mut one = Group::default();
        let begin = tokio::time::Instant::now();
        one.spawn(name.clone(), start());
        let Some(ended) = one.ended().await else { return Ok(()) };
        if stop.is_cancelled() {
            return Ok(());
        }
        down();
        metrics.task_restarts.increment();
        if begin.elapsed() > Duration::from_secs(300) {
            pause.reset();
        }
        let pause = pause.next_pause();
        let reason = ended.failure.unwrap_or_else(|| "it returned".to_owned());
        tracing::error!(task = name, reason, ?pause, "ended early and is started again");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

fn describe(error: JoinError) -> String {
    if !error.is_panic() {
        return "it was cut off".to_owned();
    }
    let panic = error.into_panic();
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("it panicked: {}", text.unwrap_or_else(|| "without a message".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_or_panics_is_started_again_and_said_to_be_down() {
        let (starts, downs) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (stop, metrics) = (CancellationToken::new(), Metrics::default());
        let down = {
            let downs = Arc::clone(&downs);
            move || {
                downs.fetch_add(1, Ordering::SeqCst);
            }
        };
        let start = {
            let (starts, stop) = (Arc::clone(&starts), stop.clone());
            move || {
                let (start, stop) = (starts.fetch_add(1, Ordering::SeqCst), stop.clone());
                async move {
                    match start {
                        0 => Err("no luck".to_owned()),
                        1 => panic!("worse"),
                        _ => {
                            stop.cancel();
                            Ok(())
                        }
                    }
                }
            }
        };
        let ended = restarting("meter".into(), stop, metrics.clone(), down, start).await;
        assert_eq!(ended, Ok(()));
        assert_eq!((starts.load(Ordering::SeqCst), downs.load(Ordering::SeqCst)), (3, 2));
        assert_eq!(metrics.task_restarts.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_late_is_cut_off() {
        let mut group = Group::default();
        group.spawn("late", std::future::pending::<Result<(), String>>());
        group.spawn("fine", async { Ok::<(), String>(()) });
        group.finish(Duration::from_secs(1)).await;
        assert_eq!(group.ended().await, None);
    }
}
