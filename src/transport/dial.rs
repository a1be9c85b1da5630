//! Connections that the gateway opens, and opens again.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::{End, LastHeard, converse};
use super::{Backoff, Conversation};
use crate::metrics::Metrics;

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dial {
    /// `host:port`; a name is looked up at each attempt.
    pub address: String,
    /// Nothing heard for so long: the connection is dead and is opened again. `None`: never.
    pub idle: Option<Duration>,
}

/// Keeps a connection to a meter until `stop`.
pub async fn dial<C: Conversation>(
    dial: Dial,
    stop: CancellationToken,
    metrics: Metrics,
    begin: impl Fn() -> C + Send,
) -> Result<(), std::convert::Infallible> {
    let mut pause = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    let mut told = false;
    loop {
        let begun = Instant::now();
        let session = async {
            let stream = connect(&dial.address).await?;
            tracing::debug!(meter = dial.address, "connected");
            let _held = metrics.meter_connections.hold();
            Ok(converse(stream, begin(), dial.idle, &LastHeard::now()).await)
        };
        let outcome: Result<End, String> = tokio::select! {
            ended = session => ended,
            () = stop.cancelled() => return Ok(()),
        };
        if outcome.is_ok() {
            pause.reset();
        }
        // Said once, and again only after it has worked for a while: a meter that is switched off
        // for a month, or that hangs up after each packet, fills no log.
        if !told || begun.elapsed() > STEADY {
            let reason = outcome.map_or_else(|error| error, describe);
            tracing::warn!(meter = dial.address, reason, "not connected; trying again and again");
            told = true;
        }
        let pause = pause.next_pause();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

async fn connect(address: &str) -> Result<TcpStream, String> {
    match timeout(CONNECT_DEADLINE, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            super::prepare(&stream);
            Ok(stream)
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {CONNECT_DEADLINE:?}")),
    }
}

fn describe(end: End) -> String {
    match end {
        End::Closed => "the meter closed the connection".to_owned(),
        End::Idle => "nothing was heard for the idle time".to_owned(),
        End::Failed(error) => error,
    }
}

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
const STEADY: Duration = Duration::from_secs(600);
