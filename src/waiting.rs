//! `run --serve-mistakes`: with a configuration that cannot be used, shows what is wrong with it until
//! it is mended, and goes on then.
//!
//! For containers: there an exit code is followed by another start, for ever, and nobody sees why.
//! Elsewhere a service manager shows what the program printed, and the exit code tells it apart.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{self, ConfigErrors, Loaded, Source};
use crate::web::{self, Mistakes};

/// Shows `errors` on the web port, as far as the configuration tells which, and reads the
/// configuration again and again. `print` gets each further set of mistakes. `None`: `shutdown` came
/// first, or there is no port to show anything on.
pub async fn until_mended(
    source: Source,
    errors: ConfigErrors,
    shutdown: CancellationToken,
    print: impl Fn(&str),
) -> Option<Loaded> {
    let listeners = bind(&errors, &print).await?;
    let (mistakes, stop) = (Mistakes::default(), CancellationToken::new());
    let mut lines: Vec<String> = errors.lines().collect();
    mistakes.set(lines.clone());
    let mut server = std::pin::pin!(web::serve_mistakes(listeners, mistakes.clone(), stop.clone()));
    let mended = loop {
        tokio::select! {
            () = shutdown.cancelled() => break None,
            () = &mut server => break None,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let source = source.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || config::load(&source)).await else {
            continue;
        };
        match read {
            Ok(loaded) => break Some(loaded),
            Err(errors) => {
                let now: Vec<String> = errors.lines().collect();
                if now != lines {
                    print(&errors.to_string());
                    mistakes.set(now.clone());
                    lines = now;
                }
            }
        }
    };
    stop.cancel();
    server.await;
    mended
}

async fn bind(errors: &ConfigErrors, print: &impl Fn(&str)) -> Option<Vec<TcpListener>> {
    let web = errors.web();
    if !web.enabled {
        print("no page shows these mistakes: web.enabled is false");
        return None;
    }
    let mut listeners = Vec::new();
    for address in &web.listen.0 {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                if let Ok(address) = listener.local_addr() {
                    print(&format!(
                        "these mistakes are shown at http://{address}/ until they are mended"
                    ));
                }
                listeners.push(listener);
            }
            Err(error) => print(&format!("no page shows these mistakes at {address}: {error}")),
        }
    }
    (!listeners.is_empty()).then_some(listeners)
}

/// How often the configuration is read again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
