//! Syntax of topic names and topic filters, and the plain test whether one matches the other.
//!
//! Source: MQTT 5, sections 4.7 (names and filters) and 4.8.2 (shared subscriptions).

use super::wire::WireError;

/// Why a text is no topic filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Nothing between the quotes.
    #[error("topic filter is empty")]
    Empty,
    /// Longer than MQTT's strings, in bytes.
    #[error("topic filter of {0} bytes is longer than 65535")]
    TooLong(usize),
    /// U+0000 may not stand in MQTT strings.
    #[error("topic filter {0:?} holds U+0000")]
    Nul(String),
    /// More levels than the subscription tree is built for.
    #[error("topic filter has {0} levels, more than {MAX_LEVELS}")]
    TooDeep(usize),
    /// `#` with something behind it in the filter.
    #[error("topic filter {0:?} has a # that is not its last level")]
    HashNotLast(String),
    /// `+` or `#` beside other characters of a level.
    #[error("topic filter {0:?} has a wildcard that shares its level with other characters")]
    WildcardInLevel(String),
    /// `$share/` without a group and a filter.
    #[error("shared topic filter {0:?} is not of the form $share/group/filter")]
    Share(String),
}

/// A filter taken apart: the group of a shared subscription, and the filter proper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Filter<'a> {
    pub(crate) share: Option<&'a str>,
    pub(crate) path: &'a str,
}

impl<'a> Filter<'a> {
    /// Checks and takes apart what a client (or the gateway) subscribes to.
    ///
    /// # Errors
    /// The first rule that `text` breaks.
    pub(crate) fn parse(text: &'a str) -> Result<Self, FilterError> {
        let shown = || text.chars().take(100).collect::<String>();
        if text.len() > usize::from(u16::MAX) {
            return Err(FilterError::TooLong(text.len()));
        }
        if text.contains('\0') {
            return Err(FilterError::Nul(shown()));
        }
        let (share, path) = match text.strip_prefix("$share/") {
            None => (None, text),
            Some(rest) => match rest.split_once('/') {
                Some((group, path))
                    if !group.is_empty() && !group.contains(['+', '#']) && !path.is_empty() =>
                {
                    (Some(group), path)
                }
                _ => return Err(FilterError::Share(shown())),
            },
        };
        if path.is_empty() {
            return Err(FilterError::Empty);
        }
        let levels = path.split('/').count();
        if levels > MAX_LEVELS {
            return Err(FilterError::TooDeep(levels));
        }
        for (index, level) in path.split('/').enumerate() {
            if level.len() > 1 && level.contains(['+', '#']) {
                return Err(FilterError::WildcardInLevel(shown()));
            }
            if level == "#" && index + 1 != levels {
                return Err(FilterError::HashNotLast(shown()));
            }
        }
        Ok(Self { share, path })
    }
}

/// Checks what is to be a topic filter, without `$share/…`.
///
/// # Errors
/// The first rule that `text` breaks.
pub fn check_filter(text: &str) -> Result<(), FilterError> {
    match Filter::parse(text)?.share {
        None => Ok(()),
        Some(_) => Err(FilterError::Share(text.chars().take(100).collect())),
    }
}

/// Checks a topic name: not empty, no wildcards, no U+0000, at most 65,535 bytes.
///
/// # Errors
/// `WireError::Topic` with the name.
pub(crate) fn check_topic(topic: &str) -> Result<(), WireError> {
    let fault = if topic.is_empty() {
        "it is empty"
    } else if topic.len() > usize::from(u16::MAX) {
        "it is longer than 65535 bytes"
    } else if topic.bytes().any(|byte| matches!(byte, b'+' | b'#' | 0)) {
        "it holds a wildcard or U+0000"
    } else {
        return Ok(());
    };
    Err(WireError::Topic { topic: topic.chars().take(100).collect(), fault })
}

/// Whether only the broker itself may publish to `topic`.
pub(crate) fn is_reserved(topic: &str) -> bool {
    topic.strip_prefix("$SYS").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a valid filter matches a valid topic, both as UTF-8.
///
/// A wildcard in the first level never matches a topic that starts with `$`.
pub(crate) fn matches(filter: &[u8], topic: &[u8]) -> bool {
    if topic.first() == Some(&b'$') && matches!(filter.first(), Some(b'+' | b'#')) {
        return false;
    }
    let mut levels = topic.split(|byte| *byte == b'/');
    for part in filter.split(|byte| *byte == b'/') {
        if part == b"#" {
            return true;
        }
        match levels.next() {
            Some(level) if part == b"+" || part == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// The text every topic that matches `filter` starts with.
pub(crate) fn literal_prefix(filter: &str) -> &str {
    match filter.find(['+', '#']) {
        // `a/#` matches `a` itself, so the slash before a # is not part of what is certain.
        Some(end) if filter[end..].starts_with('#') => filter[..end].trim_end_matches('/'),
        Some(end) => &filter[..end],
        None => filter,
    }
}

/// Deepest filter taken, one level more than mosquitto's 200 separators need. Each level is a node
/// of the subscription tree.
pub(crate) const MAX_LEVELS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_judged_by_the_standard() {
        for good in
            ["a", "/", "#", "+", "/sensor/#", "+/+", "a/+/b", "a//b", "$SYS/#", "ä/x", "$share/g/#"]
        {
            assert!(Filter::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a#",
            "#/a",
            "a/#/b",
            "a+",
            "+a/b",
            "a\0b",
            "$share/g",
            "$share//a",
            "$share/+/a",
            "$share/g/",
        ] {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Filter::parse("$share/g/a/+").unwrap(),
            Filter { share: Some("g"), path: "a/+" }
        );
        assert!(matches!(Filter::parse(&"/".repeat(300)), Err(FilterError::TooDeep(301))));
        assert!(check_topic("/sensor/x").is_ok());
        for bad in ["", "a/+", "#", "a\0"] {
            assert!(check_topic(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn matching_follows_the_examples_of_the_standard() {
        let table = [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/x", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/x", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
        ];
        for (filter, topic, expected) in table {
            assert_eq!(matches(filter.as_bytes(), topic.as_bytes()), expected, "{filter} {topic}");
            if expected {
                assert!(topic.starts_with(literal_prefix(filter)), "{filter} {topic}");
            }
        }
    }
}
