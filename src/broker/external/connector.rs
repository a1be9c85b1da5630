//! Dialling again and again: when to try, what to say, and which message a broker cannot bear.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::Shared;
use super::connection::{self, Report, Suspect};
use super::fault::Fault;
use super::guest;
use super::stats::ExternalStats;
use super::transport::Dialler;
use crate::transport::Backoff;

/// Dials again and again.
pub(super) struct Connector {
    shared: Arc<Shared>,
    dialler: Dialler,
    shutdown: CancellationToken,
    pause: Backoff,
    /// The last complaint, and how often it came since it was logged.
    said: (String, u32),
    /// Connections in a row that ended soon after they were made.
    short: u32,
    /// The message that was the oldest under way at the end of so many connections in a row.
    suspect: Option<(Suspect, u32)>,
}

impl Connector {
    pub(super) fn new(shared: Arc<Shared>, dialler: Dialler, shutdown: CancellationToken) -> Self {
        let (first, longest) = shared.settings.pauses;
        let pause = Backoff::new(first, longest);
        let said = (String::new(), 0);
        Self { shared, dialler, shutdown, pause, said, short: 0, suspect: None }
    }

    pub(super) async fn run(mut self) -> Result<(), Infallible> {
        while !self.shutdown.is_cancelled() {
            let (result, report) = self.attempt().await;
            self.shared.live.close(&self.shared.stats);
            self.shared.outbox.disconnect();
            if self.shutdown.is_cancelled() {
                if let Err(fault) = result {
                    tracing::warn!(%fault, "the broker was not there at the end");
                }
                break;
            }
            let Err(fault) = result else { break };
            let lasted = report.accepted.map(|at| at.elapsed());
            self.judge(report);
            self.complain(fault, lasted);
            tokio::select! {
                () = tokio::time::sleep(self.pause.next_pause()) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
        self.shared.stats.set_disconnected("the gateway is stopping".to_owned());
        Ok(())
    }

    /// One connection in a task of its own, so that a panic ends the connection and no more.
    async fn attempt(&self) -> (Result<(), Fault>, Report) {
        let (shared, dialler) = (Arc::clone(&self.shared), self.dialler.clone());
        let shutdown = self.shutdown.clone();
        let suspect = self.suspect.as_ref().filter(|(_, times)| *times >= DOUBTS);
        let careful = suspect.map(|(suspect, _)| suspect.seq);
        let mut task = JoinSet::new();
        let one = async move { connect(&shared, &dialler, &shutdown, careful).await };
        task.spawn(one.in_current_span());
        match task.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => (Err(Fault::Panic(error.to_string())), Report::default()),
            None => (Ok(()), Report::default()),
        }
    }

    /// Finds the message at which the broker ends every connection, for example because it is too
    /// large for it. One that was the oldest under way at several ends in a row is sent alone from
    /// then on, and given up when connections end at it all the same.
    fn judge(&mut self, report: Report) {
        if report.accepted.is_none() {
            return;
        }
        let Some(suspect) = report.oldest else {
            self.suspect = None;
            return;
        };
        let before = match &self.suspect {
            Some((known, times)) if suspect.is(known) => *times,
            _ => 0,
        };
        if before + 1 < DOUBTS + STRIKES || !report.alone {
            self.suspect = Some((suspect, before + 1));
            return;
        }
        tracing::error!(
            topic = &*suspect.topic,
            bytes = suspect.size,
            "message given up: the broker ends the connection each time it is sent; see the \
             broker's log and its limits"
        );
        ExternalStats::count(&self.shared.stats.given_up);
        self.shared.outbox.give_up(suspect.seq);
        self.suspect = None;
    }

    /// Says why there is no connection: when the reason changes, and now and then.
    fn complain(&mut self, fault: Fault, lasted: Option<Duration>) {
        let stats = &self.shared.stats;
        match lasted {
            Some(lasted) if lasted >= LONG => {
                self.pause.reset();
                self.short = 0;
            }
            Some(_) => self.short += 1,
            None => ExternalStats::count(&stats.failed_connects),
        }
        if matches!(fault, Fault::TakenOver(_)) {
            ExternalStats::count(&stats.take_overs);
        }
        let mut reason = fault.to_string();
        if self.shared.guest {
            reason = guest::in_words_of_a_link(&reason);
        }
        let told = matches!(fault, Fault::TakenOver(_));
        if self.short >= SHORT_ONES && lasted.is_some() && !told && !self.shared.guest {
            let client_id = &self.shared.settings.client_id;
            reason.push_str(&format!(
                "; this happens again and again: give each gateway a broker.external.client_id of \
                 its own (\"{client_id}\" may be used twice), or see the broker's log"
            ));
        }
        let address = format!("{}:{}", self.shared.settings.host, self.shared.settings.port);
        if self.said.0 != reason || self.said.1 >= REPEATS {
            tracing::warn!(broker = address, reason, "no connection to the broker; trying again");
            self.said = (reason.clone(), 0);
        } else {
            self.said.1 += 1;
        }
        stats.set_disconnected(reason);
    }
}

async fn connect(
    shared: &Shared,
    dialler: &Dialler,
    shutdown: &CancellationToken,
    careful: Option<i64>,
) -> (Result<(), Fault>, Report) {
    let begin = async {
        let mut stream = dialler.dial().await?;
        let connection = connection::open(shared, &mut stream, careful).await?;
        Ok((stream, connection))
    };
    let begun = tokio::select! {
        begun = begin => begun,
        () = shutdown.cancelled() => return (Ok(()), Report::default()),
    };
    let (stream, connection) = match begun {
        Ok(begun) => begun,
        Err(fault) => return (Err(fault), Report::default()),
    };
    let (settings, terms) = (&shared.settings, connection.terms());
    tracing::info!(
        broker = format!("{}:{}", settings.host, settings.port),
        client_id = settings.client_id,
        session_kept = terms.session_present,
        "connected to the broker"
    );
    if terms.without_qos_1 {
        tracing::warn!("the broker takes QoS 0 only: messages may be lost on the way to it");
    }
    if terms.without_retain {
        tracing::warn!(
            "the broker keeps no retained messages: who subscribes later finds no meters"
        );
    }
    ExternalStats::count(&shared.stats.connects);
    shared.stats.set_connected();
    shared.outbox.connect();
    if careful.is_none() {
        shared.live.open();
    }
    connection.run(stream, shutdown).await
}

/// A connection that held for so long was a good one.
const LONG: Duration = Duration::from_secs(60);
const SHORT_ONES: u32 = 3;
const DOUBTS: u32 = 3;
const STRIKES: u32 = 2;
/// Attempts between two log lines with the same reason: about five minutes.
const REPEATS: u32 = 12;
