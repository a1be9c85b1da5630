//! What is kept of one meter, and what it comes to on top of the configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::config::meter::{Channel, Medium};
use crate::model::Role;

/// What requests have changed of one meter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Its name. The configuration's is that of its entry; `None` where it has no entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Changed<Option<String>>>,
    /// Its channels, by their keys (`ch1`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<String, ChannelRecord>,
    /// Somebody has said that it is wanted.
    #[serde(skip_serializing_if = "is_false")]
    pub accepted: bool,
    /// It is not to be let in.
    #[serde(skip_serializing_if = "is_false")]
    pub blocked: bool,
    /// The serial number that its ids are made from, where that is another meter's: it goes on in
    /// that meter's place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The serial number of the meter that goes on in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
}

/// A value that was changed, and what the configuration had in its place at that time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changed<T> {
    /// The value.
    pub now: T,
    /// The configuration's.
    pub file: T,
}

/// What requests have changed of one channel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChannelRecord {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Changed<Option<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Changed<Role>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multiplier: Option<Changed<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    medium: Option<Changed<Option<Medium>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    constant: Option<Changed<Option<f64>>>,
}

/// What is asked of one channel: an absent key stays as it is, `null` goes back to the
/// configuration's value.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelRequest {
    #[serde(deserialize_with = "present")]
    name: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    role: Option<Option<Role>>,
    #[serde(deserialize_with = "present")]
    multiplier: Option<Option<f64>>,
    #[serde(rename = "type", deserialize_with = "present")]
    medium: Option<Option<Medium>>,
    #[serde(deserialize_with = "present")]
    constant: Option<Option<f64>>,
}

/// Tells a key that is `null` from one that is not there.
fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

impl Record {
    /// What the meter is called, and whether the configuration has overruled what was asked for.
    /// `entry`: the name of its entry, where it has one; `taken`: names that it cannot have.
    pub fn settle_name(
        &mut self,
        entry: Option<&str>,
        taken: impl Fn(&str) -> bool,
    ) -> (Option<String>, bool) {
        let Some(changed) = &self.name else { return (entry.map(str::to_owned), false) };
        let wanted = changed.now.as_deref().filter(|now| !taken(now));
        if wanted.is_some() && changed.file.as_deref() == entry {
            return (changed.now.clone(), false);
        }
        // The file may have caught up with the request.
        let overruled = changed.now.as_deref() != entry;
        self.name = None;
        (entry.map(str::to_owned), overruled)
    }

    /// What becomes of the channel `key`, which the configuration has as `base`. Adds to `overruled`
    /// what was asked for and is something else in the configuration by now.
    pub fn settle_channel(
        &mut self,
        key: &str,
        base: Channel,
        overruled: &mut Vec<String>,
    ) -> Channel {
        let Some(record) = self.channels.get_mut(key) else { return base };
        let settled = record.settle(base, |part| overruled.push(format!("{key}.{part}")));
        if *record == ChannelRecord::default() {
            self.channels.remove(key);
        }
        settled
    }

    /// Takes in what is asked of the channel `key`, which the configuration has as `base`.
    pub fn ask(&mut self, key: &str, request: &ChannelRequest, base: &Channel) {
        let record = self.channels.entry(key.to_owned()).or_default();
        record.ask(request, base);
        if *record == ChannelRecord::default() {
            self.channels.remove(key);
        }
    }
}

impl ChannelRecord {
    fn settle(&mut self, base: Channel, mut overruled: impl FnMut(&'static str)) -> Channel {
        let rest = base.clone();
        let ChannelRecord { name, role, multiplier, medium, constant } = self;
        let name = settle(name, base.name, |one, other| one == other, || overruled("name"));
        let role = settle(role, base.role, |one, other| one == other, || overruled("role"));
        let multiplier = settle(
            multiplier,
            base.multiplier,
            |one, other| near(*one, *other),
            || {
                overruled("multiplier");
            },
        );
        let medium = settle(medium, base.medium, |one, other| one == other, || overruled("type"));
        let both_near = |one: &Option<f64>, other: &Option<f64>| match (one, other) {
            (Some(one), Some(other)) => near(*one, *other),
            (one, other) => one.is_none() && other.is_none(),
        };
        let constant = settle(constant, base.constant, both_near, || overruled("constant"));
        Channel { name, role, multiplier, medium, constant, ..rest }
    }

    fn ask(&mut self, request: &ChannelRequest, base: &Channel) {
        ask(&mut self.name, request.name.clone().map(|name| name.map(Some)), &base.name);
        ask(&mut self.role, request.role, &base.role);
        ask(&mut self.multiplier, request.multiplier, &base.multiplier);
        ask(&mut self.medium, request.medium.map(|medium| medium.map(Some)), &base.medium);
        ask(&mut self.constant, request.constant.map(|one| one.map(Some)), &base.constant);
    }
}

impl ChannelRequest {
    /// Whether a multiplier is asked for.
    pub fn scales(&self) -> bool {
        matches!(self.multiplier, Some(Some(_)))
    }
}

fn settle<T: Clone>(
    changed: &mut Option<Changed<T>>,
    base: T,
    same: impl Fn(&T, &T) -> bool,
    overruled: impl FnOnce(),
) -> T {
    match changed {
        Some(one) if same(&one.file, &base) => one.now.clone(),
        Some(one) => {
            // The file may have caught up with the request.
            if !same(&one.now, &base) {
                overruled();
            }
            *changed = None;
            base
        }
        None => base,
    }
}

fn ask<T: Clone + PartialEq>(
    changed: &mut Option<Changed<T>>,
    request: Option<Option<T>>,
    base: &T,
) {
    match request {
        None => {}
        Some(Some(now)) if now != *base => *changed = Some(Changed { now, file: base.clone() }),
        Some(_) => *changed = None,
    }
}

/// A number that went to disk as decimal text and came back.
fn near(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-12 * one.abs().max(other.abs())
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> ChannelRequest {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_request_lies_over_the_configuration_until_that_is_edited() {
        let mut record = Record::default();
        let base = Channel { multiplier: 1.1, ..Channel::default() };
        let asked = request(r#"{"name":"Mains","role":"grid","multiplier":2.2}"#);
        record.ask("ch1", &asked, &base);
        let text = serde_json::to_string(&record).unwrap();
        let mut record: Record = serde_json::from_str(&text).unwrap();

        let mut overruled = Vec::new();
        let settled = record.settle_channel("ch1", base.clone(), &mut overruled);
        assert_eq!((settled.name.as_deref(), settled.role), (Some("Mains"), Role::Grid));
        assert!(overruled.is_empty());

        let edited = Channel { role: Role::Solar, ..base.clone() };
        let settled = record.settle_channel("ch1", edited, &mut overruled);
        assert_eq!((settled.role, settled.multiplier), (Role::Solar, 2.2));
        assert_eq!(overruled, ["ch1.role"]);
        // What was overruled stays so.
        assert_eq!(record.settle_channel("ch1", base.clone(), &mut overruled).role, Role::Load);
        assert_eq!(overruled.len(), 1);

        let mut caught_up = record.clone();
        let edited = Channel { name: Some("Mains".into()), ..base.clone() };
        caught_up.settle_channel("ch1", edited, &mut overruled);
        assert_eq!((overruled.len(), caught_up == record), (1, false));

        record.ask("ch1", &request(r#"{"name":null,"multiplier":1.1}"#), &base);
        assert_eq!(record, Record::default());
    }

    #[test]
    fn a_name_holds_while_the_entry_is_called_the_same() {
        let name = Changed { now: Some("main".to_owned()), file: Some("house".to_owned()) };
        let record = Record { name: Some(name), ..Record::default() };
        let settle =
            |entry, taken: &[&str]| record.clone().settle_name(entry, |name| taken.contains(&name));
        assert_eq!(settle(Some("house"), &[]), (Some("main".into()), false));
        assert_eq!(settle(Some("home"), &[]), (Some("home".into()), true));
        assert_eq!(settle(None, &[]), (None, true));
        assert_eq!(settle(Some("main"), &[]), (Some("main".into()), false));
        assert_eq!(settle(Some("house"), &["main"]), (Some("house".into()), true));
    }

    #[test]
    fn a_request_with_an_unknown_key_or_role_is_refused() {
        for text in [r#"{"rol":"grid"}"#, r#"{"role":"sun"}"#, r#"{"multiplier":"2"}"#] {
            assert!(serde_json::from_str::<ChannelRequest>(text).is_err(), "{text}");
        }
    }
}
