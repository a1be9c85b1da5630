//! The access list: what a client may publish, subscribe to and be sent.
//!
//! A client's rights are put together once, when it connects. A SUBSCRIBE is judged as a whole, by
//! comparing sets of topics; only where its filter reaches beyond the rights do its deliveries pass
//! a [`Screen`], message by message. A client without rules has neither, and costs nothing.

use std::sync::Arc;

use super::sets::{common, covers};
use crate::broker::filter::matches;

/// Whom an entry of the access list is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Clients that did not log in.
    Anonymous,
    /// Every client that did.
    AnyUser,
    /// The user of this name.
    User(String),
}

/// One entry of the access list. `%u` in a filter stands for the client's user name, `%c` for its
/// client id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// Whom it is for.
    pub who: Who,
    /// Topics that may be read.
    pub read: Vec<String>,
    /// Topics that may be published to.
    pub write: Vec<String>,
    /// Topics that may be neither, whatever grants them.
    pub deny: Vec<String>,
}

/// What one client may do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    read: Vec<Box<str>>,
    write: Vec<Box<str>>,
    deny: Vec<Box<str>>,
}

/// What a SUBSCRIBE gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// There is nothing in it that the client may read.
    Refused,
    /// The client may read all of it.
    Granted,
    /// The client may read some of it: that which passes.
    Screened(Arc<Screen>),
}

/// Lets through what a client may read, of the topics of one subscription.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Screen {
    /// `None`: everything that is not denied.
    granted: Option<Box<[Box<str>]>>,
    denied: Box<[Box<str>]>,
}

impl Rights {
    /// The rights of a client by all entries that are for it.
    pub(super) fn new(rules: &[AccessRule], user: Option<&str>, client_id: &str) -> Self {
        let mut rights = Self::default();
        let is_for = |who: &Who| match (who, user) {
            (Who::Anonymous, None) | (Who::AnyUser, Some(_)) => true,
            (Who::User(name), Some(user)) => name == user,
            _ => false,
        };
        for rule in rules.iter().filter(|rule| is_for(&rule.who)) {
            let fill = |pattern: &String| fill_in(pattern, user, client_id);
            // A name that cannot stand for itself grants nothing, and denies all it might stand for.
            let granted = |filled: Filled| filled.exact.then_some(filled.filter);
            rights.read.extend(rule.read.iter().map(fill).filter_map(granted));
            rights.write.extend(rule.write.iter().map(fill).filter_map(granted));
            rights.deny.extend(rule.deny.iter().map(fill).map(|filled| filled.filter));
        }
        rights
    }

    pub(crate) fn may_publish(&self, topic: &str) -> bool {
        any_matches(&self.write, topic.as_bytes()) && !any_matches(&self.deny, topic.as_bytes())
    }

    pub(crate) fn may_read(&self, topic: &[u8]) -> bool {
        any_matches(&self.read, topic) && !any_matches(&self.deny, topic)
    }

    /// Judges a subscription. `filter`: without the `$share/…/` of a shared one.
    ///
    /// What several entries grant together is seen only message by message, and what several deny
    /// together likewise.
    pub(crate) fn judge(&self, filter: &str) -> Judgement {
        let denied: Vec<&Box<str>> =
            self.deny.iter().filter(|deny| common(deny, filter).is_some()).collect();
        let mut granted = Vec::new();
        let mut whole = false;
        for grant in &self.read {
            let Some(part) = common(grant, filter) else { continue };
            if !denied.iter().any(|deny| covers(deny, &part)) {
                whole |= covers(grant, filter);
                granted.push(grant.clone());
            }
        }
        match (granted.is_empty(), whole, denied.is_empty()) {
            (true, _, _) => Judgement::Refused,
            (false, true, true) => Judgement::Granted,
            (false, whole, _) => Judgement::Screened(Arc::new(Screen {
                granted: (!whole).then(|| granted.into()),
                denied: denied.into_iter().cloned().collect(),
            })),
        }
    }
}

impl Screen {
    /// Whether a message under `topic` may be sent to the client.
    pub(crate) fn passes(&self, topic: &[u8]) -> bool {
        self.granted.as_deref().is_none_or(|granted| any_matches(granted, topic))
            && !any_matches(&self.denied, topic)
    }
}

fn any_matches(filters: &[Box<str>], topic: &[u8]) -> bool {
    filters.iter().any(|filter| matches(filter.as_bytes(), topic))
}

/// A pattern with its placeholders filled in.
struct Filled {
    filter: Box<str>,
    /// Otherwise a name could not stand as it is, and its level has become a `+`.
    exact: bool,
}

/// Puts user name and client id in the place of `%u` and `%c`.
fn fill_in(pattern: &str, user: Option<&str>, client_id: &str) -> Filled {
    if !pattern.contains("%u") && !pattern.contains("%c") {
        return Filled { filter: pattern.into(), exact: true };
    }
    let mut exact = true;
    let levels: Vec<String> = pattern
        .split('/')
        .enumerate()
        .map(|(index, level)| {
            fill_level(level, index == 0, user, client_id).unwrap_or_else(|| {
                exact = false;
                "+".to_owned()
            })
        })
        .collect();
    Filled { filter: levels.join("/").into(), exact }
}

/// One level, read from left to right once, so that a name that looks like a placeholder is none.
/// `None`: a name is missing, or holds what means something in a filter.
fn fill_level(level: &str, first: bool, user: Option<&str>, client_id: &str) -> Option<String> {
    let mut filled = String::new();
    let mut rest = level;
    while let Some(at) = rest.find('%') {
        let (before, behind) = rest.split_at(at);
        filled.push_str(before);
        let name = match behind.get(..2) {
            Some("%u") => user.unwrap_or_default(),
            Some("%c") => client_id,
            _ => {
                filled.push('%');
                rest = &behind[1..];
                continue;
            }
        };
        let reserved = first && filled.is_empty() && name.starts_with('$');
        if name.is_empty() || name.contains(['+', '#', '/', '\0']) || reserved {
            return None;
        }
        filled.push_str(name);
        rest = &behind[2..];
    }
    filled.push_str(rest);
    Some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(who: Who, read: &[&str], write: &[&str], deny: &[&str]) -> AccessRule {
        let texts = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        AccessRule { who, read: texts(read), write: texts(write), deny: texts(deny) }
    }

    fn rules() -> Vec<AccessRule> {
        let ha = Who::User("ha".to_owned());
        vec![
            rule(ha, &["#"], &["powermeter/+/cmd"], &["powermeter/+/state/info"]),
            rule(Who::AnyUser, &["home/%u/#"], &["from/%c"], &[]),
            rule(Who::Anonymous, &["/sensor/#", "both/a/#"], &[], &["/sensor/secret/#"]),
        ]
    }

    fn verdict(user: Option<&str>, filter: &str) -> &'static str {
        match Rights::new(&rules(), user, "c").judge(filter) {
            Judgement::Refused => "refused",
            Judgement::Granted => "granted",
            Judgement::Screened(_) => "screened",
        }
    }

    #[test]
    fn entries_are_for_those_they_name() {
        for (user, filter, expected) in [
            (Some("ha"), "#", "screened"),
            (Some("ha"), "powermeter/house/state/info", "refused"),
            (Some("ha"), "powermeter/+/state/info", "refused"),
            (Some("ha"), "powermeter/+/state/sample", "granted"),
            (Some("ha"), "powermeter/#", "screened"),
            (Some("ha"), "$SYS/#", "refused"),
            (Some("ann"), "home/ann/#", "granted"),
            (Some("ann"), "home/ann", "granted"),
            (Some("ann"), "home/#", "screened"),
            (Some("ann"), "home/bob/#", "refused"),
            (Some("ann"), "/sensor/#", "refused"),
            (None, "/sensor/1/gauge", "granted"),
            (None, "/sensor/#", "screened"),
            (None, "/sensor/secret/a", "refused"),
            (None, "#", "screened"),
            (None, "home/ann/#", "refused"),
        ] {
            assert_eq!(verdict(user, filter), expected, "{user:?} {filter}");
        }
    }

    #[test]
    fn a_filter_whose_readable_parts_are_all_denied_is_refused() {
        let rules = [rule(Who::Anonymous, &["a/b", "a/c/#"], &["a/#"], &["a/+", "a/c/#"])];
        let rights = Rights::new(&rules, None, "c");
        assert_eq!(rights.judge("#"), Judgement::Refused);
        assert!(rights.may_publish("a/x/y") && !rights.may_publish("a/b"), "deny wins");
    }

    #[test]
    fn a_screen_lets_through_what_is_granted_and_not_denied() {
        let Judgement::Screened(screen) = Rights::new(&rules(), None, "c").judge("#") else {
            panic!("not screened");
        };
        for (topic, passes) in [
            ("/sensor/1/gauge", true),
            ("/sensor", true),
            ("/sensor/secret/x", false),
            ("both/a/b", true),
            ("both/b", false),
            ("$SYS/x", false),
        ] {
            assert_eq!(screen.passes(topic.as_bytes()), passes, "{topic}");
        }
    }

    #[test]
    fn a_name_cannot_widen_what_it_stands_in() {
        let rules = [rule(
            Who::AnyUser,
            &["home/%u/#", "%u/a", "x%cy", "%%u/%"],
            &["home/%u/%c"],
            &["not/%u/a"],
        )];
        for (user, client, read, write, deny) in [
            ("ann", "c1", "home/ann/# ann/a xc1y %ann/%", "home/ann/c1", "not/ann/a"),
            ("+", "c1", "xc1y", "", "not/+/a"),
            ("#", "c1", "xc1y", "", "not/+/a"),
            ("a/b", "c1", "xc1y", "", "not/+/a"),
            ("", "c1", "xc1y", "", "not/+/a"),
            ("ann", "#", "home/ann/# ann/a %ann/%", "", "not/ann/a"),
            ("%c", "c1", "home/%c/# %c/a xc1y %%c/%", "home/%c/c1", "not/%c/a"),
            ("$SYS", "c1", "home/$SYS/# xc1y %$SYS/%", "home/$SYS/c1", "not/$SYS/a"),
        ] {
            let rights = Rights::new(&rules, Some(user), client);
            assert_eq!(rights.read.join(" "), read, "{user} {client}");
            assert_eq!(rights.write.join(" "), write, "{user} {client}");
            assert_eq!(rights.deny.join(" "), deny, "{user} {client}");
        }
    }
}
