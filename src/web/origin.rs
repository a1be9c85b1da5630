//! Which pages may open a WebSocket to the broker, or send commands.
//!
//! A browser opens a WebSocket for any page, wherever the page is from, and says so in `Origin`. Where
//! clients need no login, that would let every page that somebody opens on this machine read meters
//! and publish. So a page has to come from where it connects to. Programs that are no browsers send no
//! `Origin`, and could send any.

use std::collections::HashSet;

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;

/// Whether the request comes from no page, or from one of this very server.
///
/// # Errors
/// The origin that is another one.
pub(super) fn check(headers: &HeaderMap) -> Result<(), &HeaderValue> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let foreign = |origin: &&HeaderValue| {
        let origin = origin.to_str().ok();
        !origin.zip(host).is_some_and(|(origin, host)| is_same(origin, host))
    };
    headers.get_all(ORIGIN).iter().find(foreign).map_or(Ok(()), Err)
}

/// Whether a page from `origin` (`http://nas:8080`) comes from the server asked as `host` (`nas:8080`).
/// Behind a reverse proxy the page may have come by https. Browsers leave out the scheme's own port.
fn is_same(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let own_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |text: &str| text.strip_suffix(own_port).unwrap_or(text).to_ascii_lowercase();
    !host.is_empty() && bare(authority) == bare(host)
}

/// Origins that were refused, each logged once and only so many of them.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    told: Mutex<HashSet<Box<str>>>,
}

impl Refusals {
    /// Logs the origin, if it is a new one.
    pub(super) fn note(&self, origin: &HeaderValue) {
        let shown: String = String::from_utf8_lossy(origin.as_bytes()).chars().take(100).collect();
        let told = {
            let mut told = self.told.lock();
            if told.len() > MOST_TOLD || !told.insert(shown.as_str().into()) {
                return;
            }
            told.len()
        };
        if told > MOST_TOLD {
            tracing::warn!(
                "mqtt over websocket refused to pages of more than {MOST_TOLD} origins: further ones \
                 are counted and not logged"
            );
        } else {
            tracing::warn!(
                origin = ?shown,
                "mqtt over websocket refused to a page from elsewhere: nobody needs a login here; if \
                 the page is yours, configure broker.users and broker.allow_anonymous: false"
            );
        }
    }
}

/// Whoever makes origins up must not fill log or memory.
const MOST_TOLD: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_the_same_by_scheme_name_and_port() {
        for (origin, host, same) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://NAS", "nas", true),
            ("http://nas", "nas:80", true),
            ("https://nas", "nas:443", true),
            ("https://nas", "nas", true),
            ("http://nas:8080", "nas", false),
            ("http://nas", "nas:8080", false),
            ("http://nas:8080", "nas:8081", false),
            ("http://localhost:8080", "127.0.0.1:8080", false),
            ("http://nas.evil.example", "nas", false),
            ("https://nas", "nas:80", false),
            ("null", "nas", false),
            ("file://", "", false),
            ("chrome-extension://nas", "nas", false),
            ("http://", "", false),
            ("", "", false),
        ] {
            assert_eq!(is_same(origin, host), same, "{origin:?} {host:?}");
        }
    }

    #[test]
    fn made_up_origins_fill_nothing() {
        let refusals = Refusals::default();
        for number in 0..1000 {
            refusals.note(&HeaderValue::from_str(&format!("http://{number}.example")).unwrap());
        }
        assert_eq!(refusals.told.lock().len(), MOST_TOLD + 1);
    }
}
