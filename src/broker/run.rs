//! The broker at work: its tasks, and the order in which they end.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::listener::Listener;
use super::ports::TlsPorts;
use super::store::WriterLost;
use super::sys::System;
use super::{Broker, BrokerError, Shared, door};

impl Broker {
    /// Serves until `shutdown` is cancelled, then sends every client what is queued for it and says
    /// goodbye, within a few seconds.
    ///
    /// # Errors
    /// [`BrokerError::Fault`] if a listener or the clock of sessions ends by itself.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), BrokerError> {
        let stop = shutdown.child_token();
        // Writes to disk for as long as anybody may have something to write.
        let (mut writer, stop_writer) = (JoinSet::new(), CancellationToken::new());
        if let Some(database) = self.database.take() {
            let store = Arc::clone(&self.shared.store);
            writer.spawn(store.run(database, stop_writer.clone()));
        }
        let shared = Arc::clone(&self.shared);
        let mut tasks = self.begin(&stop);
        spawn_clocks(&mut tasks, &shared, &stop);
        let mut fault = None;
        loop {
            let why = tokio::select! {
                Some(lost) = writer.join_next() => Some(loss(lost)),
                ended = tasks.join_next() => match ended {
                    None => break,
                    Some(Err(error)) => Some(error.to_string()),
                    Some(Ok(())) if stop.is_cancelled() => None,
                    Some(Ok(())) => Some("a listener ended".to_owned()),
                },
            };
            if let Some(why) = why {
                fault.get_or_insert(BrokerError::Fault(why));
                stop.cancel();
            }
        }
        stop_writer.cancel();
        let last_words = async { while writer.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_COMMIT, last_words).await.is_err() {
            tracing::error!("the disk did not take the broker's last changes in time");
        }
        fault.map_or(Ok(()), Err)
    }

    /// Lets clients in, on all ports and through the door.
    fn begin(self, stop: &CancellationToken) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let connections = self.connections;
        for socket in self.listeners {
            let listener = Listener::new(socket, None, Arc::clone(&connections));
            tasks.spawn(listener.run(stop.clone()));
        }
        if let Some(TlsPorts { credentials, look_every, listeners, .. }) = self.tls {
            for socket in listeners {
                let tls = Some(Arc::clone(&credentials));
                let listener = Listener::new(socket, tls, Arc::clone(&connections));
                tasks.spawn(listener.run(stop.clone()));
            }
            let look = async move { credentials.keep_fresh(look_every).await };
            tasks.spawn(until(stop.clone(), look));
        }
        tasks.spawn(door::attend(self.arrivals, connections, stop.clone()));
        tasks
    }
}

/// What happens by the clock: deadlines of sessions, expiry of retained messages, `$SYS`.
fn spawn_clocks(tasks: &mut JoinSet<()>, shared: &Shared, stop: &CancellationToken) {
    let Shared { clients, router, stats, .. } = shared;
    let system = System::new(Arc::clone(clients), Arc::clone(router), Arc::clone(stats));
    tasks.spawn(until(stop.clone(), system.run()));
    let clients = Arc::clone(clients);
    tasks.spawn(until(stop.clone(), async move { clients.keep_deadlines().await }));
    let router = Arc::clone(router);
    tasks.spawn(until(stop.clone(), async move {
        loop {
            tokio::time::sleep(PURGE_INTERVAL).await;
            router.purge();
        }
    }));
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// Why there is nobody to write to disk any more, which never happens while clients are served.
fn loss(ended: Result<Result<(), WriterLost>, JoinError>) -> String {
    match ended {
        Ok(Ok(())) => "nothing is written to disk any more".to_owned(),
        Ok(Err(lost)) => lost.to_string(),
        Err(error) => error.to_string(),
    }
}

/// How long the end of the broker waits for its disk.
const LAST_COMMIT: Duration = Duration::from_secs(1);
const PURGE_INTERVAL: Duration = Duration::from_secs(60);
