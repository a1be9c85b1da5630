//! Asking the gateway that runs: a command for a meter, and whether all is well.

use super::arguments::{HealthOptions, SendOptions};
use super::{Exit, complain, refuse, say, source};
use crate::command::client::{self, Errand, ErrandError};
use crate::config::{self, Source};
use crate::health::{self, HealthError};
use crate::passwd::{self, PasswdError};

/// Sends one command; the reply is the result, also where it tells why not.
pub(super) fn send(options: &SendOptions) -> Exit {
    if let Err(error) = serde_json::from_str::<serde_json::Value>(&options.json) {
        complain(&format!("the command is not JSON: {error}; write '{{\"cmd\":\"info\"}}'"));
        return Exit::Usage;
    }
    let url = match &options.url {
        Some(url) => url.clone(),
        None => {
            let source = Source { without_files: true, ..source(&options.config) };
            let loaded = match config::load(&source) {
                Ok(loaded) => loaded,
                Err(errors) => return refuse(&errors),
            };
            match client::url(&loaded.config) {
                Ok(url) => url,
                Err(error) => {
                    complain(&error.to_string());
                    return Exit::Unavailable;
                }
            }
        }
    };
    let login = match options.user.as_deref().map(login).transpose() {
        Ok(login) => login,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Data;
        }
    };
    let (meter, command) = (options.meter.clone(), options.json.clone());
    match (Errand { url, meter, command, login }).run() {
        Ok(answer) => {
            say(&format!("{}\n", answer.reply));
            if answer.done { Exit::Fine } else { Exit::NotWell }
        }
        Err(error) => {
            complain(&error.to_string());
            match error {
                ErrandError::Login(_) => Exit::NotWell,
                ErrandError::Unreachable(_) | ErrandError::Strange { .. } => Exit::Unavailable,
            }
        }
    }
}

/// A user with the password from the environment, else asked for.
fn login(user: &str) -> Result<(String, String), PasswdError> {
    let password = match std::env::var("METERBRIDGE_PASSWORD") {
        Ok(password) => password,
        Err(_) => passwd::ask_once(user)?,
    };
    Ok((user.to_owned(), password))
}

/// Whether the gateway is well, in its own words.
pub(super) fn health(options: &HealthOptions) -> Exit {
    let ask = |url: Result<String, HealthError>| match url.and_then(|url| health::ask(&url)) {
        Ok(answer) => {
            say(&format!("{answer}\n"));
            Exit::Fine
        }
        Err(error) => {
            complain(&error.to_string());
            Exit::NotWell
        }
    };
    match &options.url {
        Some(url) => ask(Ok(url.clone())),
        // Certificates are the running gateway's business: it may be well with those it has.
        None => {
            let source = Source { without_files: true, ..source(&options.config) };
            match config::load(&source) {
                Ok(loaded) => ask(health::url(&loaded.config)),
                Err(errors) => refuse(&errors),
            }
        }
    }
}
