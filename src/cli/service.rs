//! Running a service as a process: signals, the exit code, and where logs go.

use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::{Exit, complain};
use crate::config::Config;
use crate::error::chain;
use crate::log;

/// Runs a service until it ends by itself or is told to stop by SIGTERM or Ctrl-C; the token it
/// gets is cancelled then, and it ends in its own order. A second signal ends the process at once.
pub fn serve<E, F>(service: impl FnOnce(CancellationToken) -> F) -> Exit
where
    E: std::error::Error,
    F: Future<Output = Result<(), E>>,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return Exit::Unavailable;
        }
    };
    let shutdown = CancellationToken::new();
    let result = runtime.block_on(async {
        // Before the service says that it runs: a signal may come at once.
        let mut signals = Signals::install();
        let mut service = std::pin::pin!(service(shutdown.clone()));
        tokio::select! {
            result = &mut service => return result,
            () = signals.next() => shutdown.cancel(),
        }
        tokio::select! {
            result = &mut service => result,
            () = signals.next() => Ok(()),
        }
    });
    // What the service left behind must not keep the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => Exit::Fine,
        Err(error) => {
            complain(&chain(&error));
            Exit::Unavailable
        }
    }
}

/// SIGTERM and Ctrl-C. `None` where they cannot be caught: they end the process then, which is what
/// they ask for.
struct Signals(Option<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)>);

impl Signals {
    fn install() -> Signals {
        use tokio::signal::unix::{SignalKind, signal};
        let terminate = signal(SignalKind::terminate()).ok();
        Signals(terminate.zip(signal(SignalKind::interrupt()).ok()))
    }

    /// Resolves with the next of them.
    async fn next(&mut self) {
        let Some((terminate, interrupt)) = &mut self.0 else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// Logs go to stderr, at `log.level` or as `RUST_LOG` says.
pub fn start_logging(config: &Config) {
    let level = config.log.level.as_str();
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => {
            EnvFilter::try_new(&directives).unwrap_or_else(|error| {
                complain(&format!("RUST_LOG=\"{directives}\": {error}; logging at {level}"));
                EnvFilter::new(level)
            })
        }
        _ => EnvFilter::new(level),
    };
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // Fails only where a logger is there already, as in tests; that one is as good.
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi);
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(log::layer())
        .try_init();
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_service_that_ends_gives_its_exit_code() {
        assert_eq!(serve(|_| async { Ok::<(), io::Error>(()) }), Exit::Fine);
        let busy = || io::Error::from(io::ErrorKind::AddrInUse);
        assert_eq!(serve(|_| async move { Err(busy()) }), Exit::Unavailable);
    }
}
