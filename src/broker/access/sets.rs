//! Topic filters as sets of topics: whether one lies within another, and what two have in common.
//!
//! The access list grants and denies sets of topics, and a subscription asks for one. A wildcard in
//! the first level stands for no topic that begins with `$`, here as in matching.

/// Whether every topic that `narrow` matches is matched by `wide` as well.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    if begins_with_wildcard(wide) && narrow.starts_with('$') {
        return false;
    }
    // No topic is empty, so there is a first level always, and a second one behind an empty first.
    let wide = if wide == "+/#" { "#" } else { wide };
    let narrow = if narrow == "/#" { "/+/#" } else { narrow };
    let mut levels = narrow.split('/');
    for level in wide.split('/') {
        if level == "#" {
            return true;
        }
        match levels.next() {
            None | Some("#") => return false,
            Some(inner) if level == "+" || level == inner => {}
            Some(_) => return false,
        }
    }
    levels.next().is_none()
}

/// The filter of the topics that both match; `None` if there are none.
pub(super) fn common(one: &str, other: &str) -> Option<String> {
    let apart = |one: &str, other: &str| begins_with_wildcard(one) && other.starts_with('$');
    if apart(one, other) || apart(other, one) {
        return None;
    }
    let (mut ones, mut others) = (one.split('/'), other.split('/'));
    let mut levels = Vec::new();
    loop {
        match (ones.next(), others.next()) {
            (Some("#"), rest) => {
                levels.extend(rest.into_iter().chain(others));
                break;
            }
            (rest, Some("#")) => {
                levels.extend(rest.into_iter().chain(ones));
                break;
            }
            (Some("+"), Some(level)) | (Some(level), Some("+")) => levels.push(level),
            (Some(level), Some(same)) if level == same => levels.push(level),
            (None, None) => break,
            _ => return None,
        }
    }
    Some(levels.join("/"))
}

fn begins_with_wildcard(filter: &str) -> bool {
    filter.starts_with(['+', '#'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::broker::filter::{Filter, matches};

    fn filter_text() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "", "$x", "+", "+"]);
        (prop::collection::vec(level, 0..4), any::<bool>()).prop_filter_map(
            "no filter",
            |(mut levels, hash)| {
                if hash {
                    levels.push("#");
                }
                let text = levels.join("/");
                Filter::parse(&text).is_ok().then_some(text)
            },
        )
    }

    /// Every topic of up to five levels made of the words of the filters and one that is in none.
    fn topics() -> Vec<String> {
        let words = ["a", "b", "", "$x", "z"];
        let mut all: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut last = all.clone();
        for _ in 1..5 {
            last = last
                .iter()
                .flat_map(|topic| words.iter().map(move |word| format!("{topic}/{word}")))
                .collect();
            all.extend_from_slice(&last);
        }
        all.retain(|topic| !topic.is_empty());
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn both_agree_with_matching_topic_by_topic(one in filter_text(), other in filter_text()) {
            let is_in = |filter: &str, topic: &str| matches(filter.as_bytes(), topic.as_bytes());
            let (mut within, both) = (true, common(&one, &other));
            for topic in topics() {
                let (left, right) = (is_in(&one, &topic), is_in(&other, &topic));
                within &= left || !right;
                let shared = both.as_deref().is_some_and(|both| is_in(both, &topic));
                prop_assert_eq!(shared, left && right, "{:?} {}", &both, topic);
            }
            prop_assert_eq!(covers(&one, &other), within);
        }
    }

    #[test]
    fn no_topic_is_empty() {
        assert!(covers("+/#", "#"));
        assert!(covers("/+/#", "/#"));
        assert!(!covers("a/+/#", "a/#"), "it matches a itself");
    }

    #[test]
    fn what_is_common_is_a_filter() {
        for (one, other, expected) in [
            ("#", "a/b", Some("a/b")),
            ("a/#", "a", Some("a")),
            ("a/#", "a/+/#", Some("a/+/#")),
            ("+/b", "a/+", Some("a/b")),
            ("a/b/#", "a/#", Some("a/b/#")),
            ("a/+", "a", None),
            ("#", "$SYS/#", None),
            ("$SYS/+", "$SYS/x", Some("$SYS/x")),
        ] {
            assert_eq!(common(one, other).as_deref(), expected, "{one} {other}");
            assert_eq!(common(other, one).as_deref(), expected, "{other} {one}");
        }
    }
}
