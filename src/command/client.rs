//! `meterbridge command`: one command through the running gateway, over its web port.
//!
//! Like `meterbridge health` a short-lived process: one request over a plain socket.

use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use serde_json::Value;

use crate::health::{self, HealthError, Target};

/// A command and where to send it.
#[derive(Clone)]
pub struct Errand {
    /// Where the gateway is: `http://127.0.0.1:8080`.
    pub url: String,
    /// The meter's name.
    pub meter: String,
    /// The command, JSON.
    pub command: String,
    /// User and password, where the gateway wants a login.
    pub login: Option<(String, String)>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether the command was done.
    pub done: bool,
    /// The reply, one line of JSON.
    pub reply: String,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum ErrandError {
    /// The gateway cannot be asked.
    #[error(transparent)]
    Unreachable(#[from] HealthError),
    /// The gateway wants a login, or another.
    #[error("{0}; give a user with --user NAME, the password is asked for")]
    Login(String),
    /// Somebody answers, but not as a gateway does.
    #[error("{url}: not the answer of a gateway: {begin:?}")]
    Strange {
        /// What was asked.
        url: String,
        /// The beginning of the answer.
        begin: String,
    },
}

impl Errand {
    /// Sends the command and waits for the reply.
    ///
    /// # Errors
    /// When there is none.
    pub fn run(&self) -> Result<Answer, ErrandError> {
        let base = self.url.trim_end_matches('/');
        let url = format!("{base}/api/meters/{}/command", escaped(&self.meter));
        let target = Target::parse(&url).ok_or_else(|| HealthError::Url(self.url.clone()))?;
        let sent = target.exchange(self.request(&target).as_bytes(), Instant::now() + DEADLINE);
        let unreachable = |source| HealthError::Unreachable { url: url.clone(), source };
        let answer = String::from_utf8_lossy(&sent.map_err(unreachable)?).into_owned();
        let strange = || ErrandError::Strange {
            url: url.clone(),
            begin: answer.chars().filter(|one| !one.is_control()).take(80).collect(),
        };
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(strange)?;
        let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
        let reply: Value = serde_json::from_str(body.trim()).map_err(|_| strange())?;
        let Some(error) = reply["error"].as_bool() else { return Err(strange()) };
        if status == Some("401") {
            let words = reply["msg"].as_str().unwrap_or("a login is needed").to_owned();
            return Err(ErrandError::Login(words));
        }
        Ok(Answer { done: status == Some("200") && !error, reply: body.trim().to_owned() })
    }

    /// HTTP 1.0, so that the answer comes in one piece.
    fn request(&self, target: &Target) -> String {
        let login = self.login.as_ref().map_or_else(String::new, |(user, password)| {
            let pair = Base64::encode_string(format!("{user}:{password}").as_bytes());
            format!("Authorization: Basic {pair}\r\n")
        });
        let (host, path, length) = (target.host(), target.path(), self.command.len());
        format!(
            "POST {path} HTTP/1.0\r\nHost: {host}\r\n{login}Content-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{}",
            self.command
        )
    }
}

/// The gateway of this configuration, as [`Errand::url`] wants it.
///
/// # Errors
/// [`HealthError::NoWebServer`] if it has no web server.
pub fn url(config: &crate::config::Config) -> Result<String, HealthError> {
    health::base_url(config)
}

/// A name as one step of a path.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A command's own deadline, and some of those that may be before it.
const DEADLINE: Duration = Duration::from_secs(180);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_step_of_the_path() {
        assert_eq!(escaped("gem-01"), "gem-01");
        assert_eq!(escaped("a/b c?\r\né"), "a%2Fb%20c%3F%0D%0A%C3%A9");
    }
}
