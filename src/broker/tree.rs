//! The subscription tree: who subscribes to what, asked once for each message.
//!
//! One node per level of a filter. Matching walks at most the nodes that exist, whatever the number
//! of subscriptions, and holds no more than references; the router keeps it under a lock that is
//! never held over an `await`.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

use smallvec::SmallVec;

use super::filter::Filter;

/// Subscriptions with a value of type `S` each, at most one per subscriber and filter.
#[derive(Debug)]
pub(crate) struct SubscriptionTree<S> {
    root: Node<S>,
}

/// The subscriptions of one filter.
#[derive(Debug)]
pub(crate) struct Leaf<S> {
    pub(crate) plain: Vec<Entry<S>>,
    /// By name; a client may be in very many.
    pub(crate) groups: BTreeMap<Box<str>, Group<S>>,
}

/// One subscription.
#[derive(Debug)]
pub(crate) struct Entry<S> {
    /// Number of the subscriber.
    pub(crate) key: u64,
    pub(crate) value: S,
}

/// The members of one shared subscription, who take turns.
#[derive(Debug)]
pub(crate) struct Group<S> {
    members: Vec<Entry<S>>,
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Node<S> {
    children: HashMap<Box<str>, Node<S>>,
    plus: Option<Box<Node<S>>>,
    /// Filters that end at this node.
    here: Leaf<S>,
    /// Filters that end in a `#` under this node.
    below: Leaf<S>,
}

impl<S> SubscriptionTree<S> {
    pub(crate) fn new() -> Self {
        Self { root: Node::new() }
    }

    /// Adds or replaces a subscription; answers whether it is new.
    pub(crate) fn insert(&mut self, filter: Filter<'_>, key: u64, value: S) -> bool {
        let mut node = &mut self.root;
        let mut levels = filter.path.split('/');
        let leaf = loop {
            node = match levels.next() {
                None => break &mut node.here,
                Some("#") => break &mut node.below,
                Some("+") => node.plus.get_or_insert_with(|| Box::new(Node::new())),
                Some(level) => node.children.entry(level.into()).or_insert_with(Node::new),
            };
        };
        put(leaf.entries_mut(filter.share), Entry { key, value })
    }

    /// Takes a subscription out; answers whether there was one.
    pub(crate) fn remove(&mut self, filter: Filter<'_>, key: u64) -> bool {
        self.root.remove(filter.path.split('/'), filter.share, key)
    }

    /// The leaves of all filters that match `topic`, empty ones left out.
    pub(crate) fn matching(&self, topic: &str) -> SmallVec<[&Leaf<S>; 8]> {
        let mut found = SmallVec::new();
        let mut open: SmallVec<[(&Node<S>, Option<&str>); 16]> = SmallVec::new();
        let reserved = topic.starts_with('$');
        let mut at_root = true;
        open.push((&self.root, Some(topic)));
        while let Some((node, rest)) = open.pop() {
            // Wildcards in the first level keep away from `$SYS` and its like.
            let wildcards = !(at_root && reserved);
            at_root = false;
            if wildcards && !node.below.is_empty() {
                found.push(&node.below);
            }
            let Some(rest) = rest else {
                if !node.here.is_empty() {
                    found.push(&node.here);
                }
                continue;
            };
            let (level, rest) = match rest.split_once('/') {
                Some((level, rest)) => (level, Some(rest)),
                None => (rest, None),
            };
            if let Some(plus) = node.plus.as_deref().filter(|_| wildcards) {
                open.push((plus, rest));
            }
            if let Some(child) = node.children.get(level) {
                open.push((child, rest));
            }
        }
        found
    }
}

impl<S> Leaf<S> {
    fn new() -> Self {
        Self { plain: Vec::new(), groups: BTreeMap::new() }
    }

    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.groups.is_empty()
    }

    fn entries_mut(&mut self, share: Option<&str>) -> &mut Vec<Entry<S>> {
        let Some(name) = share else {
            return &mut self.plain;
        };
        let none = || Group { members: Vec::new(), turn: AtomicUsize::new(0) };
        &mut self.groups.entry(name.into()).or_insert_with(none).members
    }
}

impl<S> Group<S> {
    /// The member whose turn it is, of those that are `fit`, and of these as long as there is one of
    /// those that are `ready`.
    pub(crate) fn next_member(
        &self,
        fit: impl Fn(&S) -> bool,
        ready: impl Fn(&S) -> bool,
    ) -> Option<&Entry<S>> {
        let start = self.turn.fetch_add(1, Ordering::Relaxed) % self.members.len().max(1);
        let (before, after) = self.members.split_at_checked(start)?;
        let in_turn = || after.iter().chain(before).filter(|entry| fit(&entry.value));
        in_turn().find(|entry| ready(&entry.value)).or_else(|| in_turn().next())
    }
}

impl<S> Node<S> {
    fn new() -> Self {
        Self { children: HashMap::new(), plus: None, here: Leaf::new(), below: Leaf::new() }
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty()
            && self.plus.is_none()
            && self.here.is_empty()
            && self.below.is_empty()
    }

    /// Recursion ends with the filter, whose levels are limited; emptied nodes go on the way back.
    fn remove(
        &mut self,
        mut levels: std::str::Split<'_, char>,
        share: Option<&str>,
        key: u64,
    ) -> bool {
        match levels.next() {
            None => take(&mut self.here, share, key),
            Some("#") => take(&mut self.below, share, key),
            Some("+") => {
                let Some(plus) = &mut self.plus else {
                    return false;
                };
                let removed = plus.remove(levels, share, key);
                if plus.is_empty() {
                    self.plus = None;
                }
                removed
            }
            Some(level) => {
                let Some(child) = self.children.get_mut(level) else {
                    return false;
                };
                let removed = child.remove(levels, share, key);
                if child.is_empty() {
                    self.children.remove(level);
                }
                removed
            }
        }
    }
}

fn put<S>(entries: &mut Vec<Entry<S>>, entry: Entry<S>) -> bool {
    match entries.iter_mut().find(|present| present.key == entry.key) {
        Some(present) => {
            *present = entry;
            false
        }
        None => {
            entries.push(entry);
            true
        }
    }
}

fn take<S>(leaf: &mut Leaf<S>, share: Option<&str>, key: u64) -> bool {
    let entries = match share {
        None => &mut leaf.plain,
        Some(name) => match leaf.groups.get_mut(name) {
            Some(group) => &mut group.members,
            None => return false,
        },
    };
    let Some(index) = entries.iter().position(|entry| entry.key == key) else {
        return false;
    };
    entries.swap_remove(index);
    if let Some(name) = share.filter(|_| entries.is_empty()) {
        leaf.groups.remove(name);
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::broker::filter;

    fn level() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["", "a", "b", "$x", "ä"])
    }

    fn filter_text() -> impl Strategy<Value = String> {
        let level = prop_oneof![3 => level(), 2 => Just("+")];
        (prop::collection::vec(level, 0..4), any::<bool>()).prop_filter_map(
            "empty filter",
            |(mut levels, hash)| {
                if hash {
                    levels.push("#");
                }
                let text = levels.join("/");
                Filter::parse(&text).is_ok().then_some(text)
            },
        )
    }

    fn topic_text() -> impl Strategy<Value = String> {
        prop::collection::vec(level(), 1..5)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("empty topic", |topic| !topic.is_empty())
    }

    fn keys(tree: &SubscriptionTree<()>, topic: &str) -> Vec<u64> {
        let mut keys: Vec<u64> = tree
            .matching(topic)
            .iter()
            .flat_map(|leaf| leaf.plain.iter().map(|entry| entry.key))
            .collect();
        keys.sort_unstable();
        keys
    }

    proptest! {
        #[test]
        fn the_tree_agrees_with_the_plain_test(
            filters in prop::collection::vec(filter_text(), 0..20),
            gone in prop::collection::vec(any::<bool>(), 20),
            topics in prop::collection::vec(topic_text(), 1..10),
        ) {
            let mut tree = SubscriptionTree::new();
            for (key, text) in filters.iter().enumerate() {
                prop_assert!(tree.insert(Filter::parse(text).unwrap(), key as u64, ()));
            }
            for (key, text) in filters.iter().enumerate().filter(|(key, _)| gone[*key]) {
                prop_assert!(tree.remove(Filter::parse(text).unwrap(), key as u64));
                prop_assert!(!tree.remove(Filter::parse(text).unwrap(), key as u64));
            }
            for topic in &topics {
                let expected: Vec<u64> = filters
                    .iter()
                    .enumerate()
                    .filter(|(key, text)| {
                        !gone[*key] && filter::matches(text.as_bytes(), topic.as_bytes())
                    })
                    .map(|(key, _)| key as u64)
                    .collect();
                prop_assert_eq!(keys(&tree, topic), expected, "topic {}", topic);
            }
            for (key, text) in filters.iter().enumerate().filter(|(key, _)| !gone[*key]) {
                prop_assert!(tree.remove(Filter::parse(text).unwrap(), key as u64));
            }
            prop_assert!(tree.root.is_empty(), "emptied nodes are given back");
        }
    }

    #[test]
    fn the_members_of_a_group_take_turns_and_absent_ones_are_passed_over() {
        let mut tree = SubscriptionTree::new();
        for key in [1, 2, 3] {
            tree.insert(Filter::parse("$share/g/a").unwrap(), key, key != 2);
        }
        let leaves = tree.matching("a");
        let group = &leaves[0].groups["g"];
        let turns: Vec<u64> =
            (0..4).filter_map(|_| group.next_member(|_| true, |up| *up)).map(|e| e.key).collect();
        assert_eq!(turns, [1, 3, 3, 1]);
        let unfit = |_: &bool| false;
        assert!(group.next_member(unfit, |up| *up).is_none(), "none that may not have it");
        assert!(leaves[0].plain.is_empty());
    }
}
