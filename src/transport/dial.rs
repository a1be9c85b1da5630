//! Connections that the gateway opens, and opens again.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::{End, LastHeard, converse};
use super::{Backoff, Conversation};
use crate::mdns;
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
        let (begun, heard) = (Instant::now(), LastHeard::now());
        let session = async {
            let connecting = connect(&dial.address);
            let stream = tokio::select! {
                stream = connecting => stream?,
                () = stop.cancelled() => return Ok(End::Left),
            };
            tracing::debug!(meter = dial.address, "connected");
            let _held = metrics.meter_connections.hold();
            Ok(converse(stream, begin(), dial.idle, &heard, &stop).await)
        };
        let outcome: Result<End, String> = session.await;
        if stop.is_cancelled() {
            return Ok(());
        }
        // A meter that has no room for one more connection closes it without a word.
        if outcome.is_ok() && (heard.anything() || begun.elapsed() > QUICK) {
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
    match timeout(CONNECT_DEADLINE, open(address)).await {
        Ok(Ok(stream)) => {
            super::prepare(&stream);
            Ok(stream)
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {CONNECT_DEADLINE:?}")),
    }
}

/// Names that only the local network knows are looked up there.
async fn open(address: &str) -> std::io::Result<TcpStream> {
    match address.rsplit_once(':') {
        Some((host, port)) if mdns::is_local(host) => {
            let port = port.parse().map_err(std::io::Error::other)?;
            TcpStream::connect(&*mdns::lookup(host, port).await?).await
        }
        _ => TcpStream::connect(address).await,
    }
}

fn describe(end: End) -> String {
    match end {
        End::Closed => "the meter closed the connection".to_owned(),
        End::Idle => "nothing was heard for the idle time".to_owned(),
        End::Failed(reason) | End::Finished(reason) => reason,
        End::Left => "the gateway closed the connection".to_owned(),
    }
}

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
const STEADY: Duration = Duration::from_secs(600);
/// Who closes a connection sooner, and without a word, may not want it.
const QUICK: Duration = Duration::from_secs(5);
