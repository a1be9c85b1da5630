//! Values that must not be shown: passwords, hashes, addresses that hold a login.
//!
//! They are read like any other value; printing them, by `Display`, by `Debug` or by
//! `meterbridge config`, gives a mask. Only [`Secret::reveal`] and [`SecretUrl::reveal`] give the
//! text itself, so that every use of it can be found by that word.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A password, a password hash or another text that is never shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a text into keeping.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// An address that may hold a login, such as `mqtt://user:password@nas:1883`.
///
/// It is shown with the password masked; the user name stays, because it helps to find a mistake.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// Reads `scheme://host…`, where the scheme is one of `schemes`.
    ///
    /// # Errors
    /// A text that says what is wrong, with the password masked.
    pub fn parse(text: &str, schemes: &[&str]) -> Result<Self, String> {
        let shown = masked(text);
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!(
                "\"{shown}\" is not a URL: write {}://host:port",
                schemes.first().copied().unwrap_or("http")
            ));
        };
        if !schemes.contains(&scheme) {
            return Err(format!(
                "\"{shown}\" starts with {scheme}://, which is not to be had here: write {}",
                schemes.iter().map(|known| format!("{known}://")).collect::<Vec<_>>().join(" or ")
            ));
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        if host.is_empty() || host.starts_with(':') {
            return Err(format!("\"{shown}\" names no host: write {scheme}://host:port"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The whole address, password included, for the one place that dials it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for SecretUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text, &["mqtt", "mqtts", "http", "https"]).map_err(de::Error::custom)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({MASK})")
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0))
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretUrl({})", masked(&self.0))
    }
}

/// `text` with the password of a `user:password@` part, if it has one, replaced by stars.
///
/// The last `@` ends the login, so a password that holds an `@` or a `/` of its own is masked
/// whole; query parameters are masked as well, since tokens travel there.
pub(super) fn masked(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let rest = match rest.rsplit_once('@') {
        Some((login, host)) => match login.split_once(':') {
            Some((user, _)) => format!("{user}:{MASK}@{host}"),
            None => rest.to_owned(),
        },
        None => rest.to_owned(),
    };
    let rest = match rest.split_once('?') {
        Some((path, _)) => format!("{path}?{MASK}"),
        None => rest,
    };
    if scheme.is_empty() { rest } else { format!("{scheme}://{rest}") }
}

const MASK: &str = "***";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** Secret(***)");
        assert_eq!(secret.reveal(), "hunter2");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        let url = SecretUrl::parse("mqtt://me:hunter2@nas", &["mqtt"]).unwrap();
        assert_eq!(serde_json::to_string(&url).unwrap(), "\"mqtt://me:***@nas\"");
        assert_eq!(format!("{url:?}"), "SecretUrl(mqtt://me:***@nas)");
        assert_eq!(url.reveal(), "mqtt://me:hunter2@nas");
    }

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (text, shown) in [
            ("mqtt://nas:1883", "mqtt://nas:1883"),
            ("mqtt://me@nas:1883", "mqtt://me@nas:1883"),
            ("mqtt://me:hunter2@nas:1883", "mqtt://me:***@nas:1883"),
            ("mqtt://me:a@b:c/d@nas", "mqtt://me:***@nas"),
            ("http://flm/api?token=abc", "http://flm/api?***"),
            ("me:hunter2@nas", "me:***@nas"),
        ] {
            assert_eq!(masked(text), shown, "{text}");
        }
    }

    #[test]
    fn a_bad_url_is_explained_without_its_password() {
        for text in ["mqtt:me:hunter2@nas", "ftp://me:hunter2@nas", "mqtt://me:hunter2@"] {
            let message = SecretUrl::parse(text, &["mqtt"]).unwrap_err();
            assert!(!message.contains("hunter2"), "{message}");
            assert!(message.contains("mqtt://"), "{message}");
        }
    }
}
