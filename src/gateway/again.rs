//! The gateway, and again when it is asked to begin anew.

use tokio_util::sync::CancellationToken;

use super::{Gateway, GatewayError};
use crate::bridge::Reload;
use crate::config::Config;
use crate::config::watch::Watched;
use crate::error::chain;

/// Runs the gateway of `config` until `shutdown`. When it is asked to restart, it ends in order and
/// begins again with what `reload` reads; what cannot begin (a port that somebody else has) is told,
/// and the gateway goes on as it was. `watched` is the file that the configuration came from.
///
/// # Errors
/// As [`Gateway::build`] and [`Gateway::run`].
pub async fn keep_running(
    mut config: Config,
    reload: Reload,
    mut watched: Option<Watched>,
    shutdown: CancellationToken,
) -> Result<(), GatewayError> {
    let mut gateway = Gateway::build(&config).await?;
    loop {
        gateway.reload = Some(reload.clone());
        gateway.watched = watched.clone();
        let Some(new) = gateway.run_once(shutdown.clone()).await? else { return Ok(()) };
        if shutdown.is_cancelled() {
            return Ok(());
        }
        gateway = match Gateway::build(&new).await {
            Ok(gateway) => {
                config = *new;
                watched = watched.map(Watched::again);
                gateway
            }
            Err(error) => {
                tracing::error!(
                    error = chain(&error),
                    "the gateway cannot begin with its new configuration, and goes on with the one before"
                );
                Gateway::build(&config).await?
            }
        };
    }
}
